"""Three webs, two workers and a beat on a real MySQL and Redis, while one thing after another fails.

DATABASE_URL and REDIS_URL name servers that hold nothing of value: Redis is flushed. CHAOS_MYSQL
and CHAOS_REDIS are the names of their containers (docker stop, start, pause, restart); without
them these faults are left out. CHAOS=quick takes the most telling faults only.
"""

import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from project.tests.chaos.sink import Sink

QUICK = os.environ.get("CHAOS") == "quick"
MYSQL, REDIS = os.environ.get("CHAOS_MYSQL", ""), os.environ.get("CHAOS_REDIS", "")
LOAD = 3 if QUICK else 4  # seconds of registrations while a fault lasts
PATIENCE = 90  # seconds after a fault until every mail is sent or explained
PASSWORD = "chaos-" + os.urandom(8).hex()


def docker(*words: str) -> None:
    subprocess.run(["docker", *words], check=True, capture_output=True)


@contextmanager
def empty_database() -> Iterator[str]:
    import MySQLdb

    parts = urlsplit(os.environ["DATABASE_URL"])
    name = f"test_chaos_{os.getpid()}"

    def server() -> "MySQLdb.Connection":
        return MySQLdb.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=parts.username or "",
            password=parts.password or "",
        )

    server().query(f"CREATE DATABASE {name}")
    try:
        # A server that is silent for longer than this has failed (database.bound_waits).
        yield parts._replace(path=f"/{name}", query="read_timeout=3&write_timeout=3").geturl()
    finally:
        server().query(f"DROP DATABASE {name}")


class Process:
    """One role of the tool, with a folder of its own."""

    def __init__(self, name: str, folder: Path, command: list[str], **environment: str) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self.log = self.folder / "log"
        self.command = command
        self.environment = os.environ | environment | {"DATA_DIR": str(self.folder)}
        self.start()

    def start(self) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.command],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()

    def wait_for(self, line: bytes) -> None:
        deadline = time.monotonic() + 60
        while line not in self.log.read_bytes():
            assert time.monotonic() < deadline, f"{self.name}: {self.log.read_text()[-3000:]}"
            time.sleep(0.1)


@dataclass
class Outcome:
    fault: str
    accepted: list[str] = field(default_factory=list)
    asked: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    mails: int = 0
    duplicates: int = 0
    lost: int = 0
    failed: int = 0
    recovery: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Load:
    """Members who register through the API and, by a clerk's hand, in the admin."""

    number = 0
    lock = threading.Lock()

    def __init__(self, ports: list[int], outcome: Outcome, cookie: str) -> None:
        self.ports, self.outcome, self.cookie = ports, outcome, cookie
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=self.register, args=(way,)) for way in (self.api, self.admin)
        ]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def register(self, way: Callable[[http.client.HTTPConnection, str], tuple[int, bool]]) -> None:
        while not self.stopping.wait(0.1):
            with self.lock:
                Load.number += 1
                name = f"m{Load.number:06d}"
            start = time.monotonic()
            connection = http.client.HTTPConnection(
                "127.0.0.1", self.ports[Load.number % len(self.ports)], timeout=30
            )
            self.outcome.asked += 1
            try:
                status, accepted = way(connection, name)
            except (OSError, http.client.HTTPException) as error:
                self.outcome.statuses[type(error).__name__] += 1
                continue
            finally:
                connection.close()
                took = time.monotonic() - start
                self.outcome.slowest = max(self.outcome.slowest, took)
            self.outcome.statuses[str(status)] += 1
            if accepted:
                self.outcome.accepted.append(name)

    def api(self, connection: http.client.HTTPConnection, name: str) -> tuple[int, bool]:
        body = f'{{"username": "{name}", "email": "{name}@example.org"}}'
        connection.request(
            "POST", "/api/v1/members/register/", body, {"Content-Type": "application/json"}
        )
        return self.answer(connection, 201)

    def admin(self, connection: http.client.HTTPConnection, name: str) -> tuple[int, bool]:
        token = re.search("csrftoken=([^;]+)", self.cookie)
        assert token
        body = urlencode(
            {
                "username": name,
                "email": f"{name}@example.org",
                "csrfmiddlewaretoken": token[1],
            }
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": self.cookie}
        connection.request("POST", "/admin/members/member/add/", body, headers)
        return self.answer(connection, 302)

    def answer(self, connection: http.client.HTTPConnection, good: int) -> tuple[int, bool]:
        response = connection.getresponse()
        response.read()
        if response.status == 503 and not response.getheader("Retry-After"):
            self.outcome.wrong.append("a 503 without Retry-After")
        elif response.status < 500 and response.status != good:
            self.outcome.wrong.append(f"an answer {response.status} instead of {good}")
        return response.status, response.status == good


class Works:
    def __init__(self, folder: Path, sink: Sink) -> None:
        self.sink = sink
        self.webs = [
            Process(
                f"web{port}",
                folder,
                ["gunicorn", "--config", "python:project.gunicorn"],
                PORT=str(port),
                WEB_CONCURRENCY="1",
            )
            for port in free_ports(3)
        ]
        celery = ["celery", "--app", "project"]
        self.workers = [
            Process(
                f"worker{number}",
                folder,
                [*celery, "worker", "-n", f"w{number}@chaos", "--concurrency", "2"]
                + ["--without-gossip", "--without-mingle", "--loglevel", "info"],
            )
            for number in (1, 2)
        ]
        self.beat = Process("beat", folder, [*celery, "beat", "--pidfile=", "--loglevel", "info"])
        self.processes = [*self.webs, *self.workers, self.beat]
        for web in self.webs:
            web.wait_for(b"Booting worker")
        for worker in self.workers:
            worker.wait_for(b" ready.")
        self.ports = [int(web.name[3:]) for web in self.webs]
        self.cookie = self.log_in()

    def log_in(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=30)
        connection.request("GET", "/admin/login/")
        token = cookie_of(connection, "csrftoken")
        form = {"username": "chaos", "password": PASSWORD, "csrfmiddlewaretoken": token}
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": f"csrftoken={token}",
        }
        connection.request("POST", "/admin/login/", urlencode(form), headers)
        response = connection.getresponse()
        response.read()
        cookies = " ".join(response.headers.get_all("Set-Cookie") or [])
        found = {n: re.search(f"{n}=([^;]+)", cookies) for n in ("sessionid", "csrftoken")}
        assert response.status == 302 and found["sessionid"], cookies
        new = found["csrftoken"]
        return f"sessionid={found['sessionid'][1]}; csrftoken={new[1] if new else token}"


def cookie_of(connection: http.client.HTTPConnection, name: str) -> str:
    response = connection.getresponse()
    response.read()
    match = re.search(f"{name}=([^;]+)", " ".join(response.headers.get_all("Set-Cookie") or []))
    assert match
    return match[1]


def free_ports(number: int) -> list[int]:
    import socket

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


# --- The faults: each lasts as long as its context ---


@contextmanager
def none(works: Works) -> Iterator[None]:
    yield


@contextmanager
def web_killed(works: Works) -> Iterator[None]:
    for web in works.webs:
        (web.folder / "die-before-publishing").touch()
    yield


@contextmanager
def workers_killed(works: Works) -> Iterator[None]:
    works.sink.set("slow")
    yield
    for worker in works.workers:
        worker.kill()
    works.sink.set("ok")
    for worker in works.workers:
        worker.start()


@contextmanager
def workers_killed_in_batches(works: Works) -> Iterator[None]:
    with redis_flushed(works):  # so that the sweeper hands the backlog out
        yield
        works.sink.set("slow")
    time.sleep(9)  # by now hints count as lost
    for worker in works.workers:
        worker.kill()
    works.sink.set("ok")
    for worker in works.workers:
        worker.start()


@contextmanager
def workers_asleep(works: Works) -> Iterator[None]:
    """One worker stops in the middle of its mails, and goes on after others have taken them over."""
    works.sink.set("slow")
    yield
    works.workers[0].signal(signal.SIGSTOP)
    works.sink.set("ok")
    time.sleep(25)  # longer than a claim lasts
    works.workers[0].signal(signal.SIGCONT)


@contextmanager
def container_by(name: str, first: str, then: str) -> Iterator[None]:
    docker(first, name)
    yield
    docker(then, name)


@contextmanager
def redis_full(works: Works) -> Iterator[None]:
    from redis import Redis

    with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        redis.config_set("maxmemory", 1)
        yield
        redis.config_set("maxmemory", 0)


@contextmanager
def mysql_takes_no_writes(works: Works) -> Iterator[None]:
    def switch(value: str) -> None:
        login = 'MYSQL_PWD="$MYSQL_ROOT_PASSWORD" mysql --user=root --host=127.0.0.1'
        statement = f"SET GLOBAL super_read_only = {value}; SET GLOBAL read_only = {value}"
        docker("exec", MYSQL, "sh", "-c", f"{login} --execute='{statement}'")

    switch("ON")
    yield
    switch("OFF")


@contextmanager
def redis_restarted(works: Works) -> Iterator[None]:
    docker("restart", "--timeout", "1", REDIS)
    yield


@contextmanager
def redis_flushed(works: Works) -> Iterator[None]:
    from redis import Redis

    for worker in works.workers:
        worker.signal(signal.SIGSTOP)  # so that the queue is not empty
    yield
    with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        redis.flushall()
    for worker in works.workers:
        worker.signal(signal.SIGCONT)


@contextmanager
def mysql_connections_killed(works: Works) -> Iterator[None]:
    from django.db import connection

    connection.close()  # ours would be among them
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.1):
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT id FROM information_schema.processlist"
                    " WHERE id <> CONNECTION_ID() AND db = DATABASE()"
                )
                for (number,) in cursor.fetchall():
                    with suppress(Exception):  # it has ended by itself
                        cursor.execute(f"KILL {number}")
        connection.close()

    thread = threading.Thread(target=kill)
    thread.start()
    yield
    stop.set()
    thread.join()


@contextmanager
def mysql_restarted(works: Works) -> Iterator[None]:
    from django.db import connection

    connection.close()
    docker("restart", MYSQL)
    yield
    while True:
        try:
            connection.ensure_connection()
            return
        except Exception:
            time.sleep(0.2)


@contextmanager
def beat_killed(works: Works) -> Iterator[None]:
    works.beat.kill()
    with redis_flushed(works):
        yield
    time.sleep(2)
    works.beat.start()


@contextmanager
def clocks_moved(works: Works) -> Iterator[None]:
    from django.utils import timezone

    from members.models import WelcomeEmail

    for worker in works.workers:
        worker.signal(signal.SIGSTOP)
    yield
    rows = WelcomeEmail.objects.filter(state="queued")
    hour = timedelta(hours=3)
    for pk, columns in zip(
        rows.values_list("pk", flat=True),
        [
            {"next_attempt_at": timezone.now() + hour},
            {"next_attempt_at": timezone.now() - hour},
            {"hinted_at": timezone.now() + hour},
            {"hinted_at": timezone.now() - hour},
            {"state": "sending", "attempts": 1, "claimed_at": timezone.now() + hour},
            {"state": "sending", "attempts": 1, "claimed_at": timezone.now() - hour},
        ],
        strict=False,
    ):
        WelcomeEmail.objects.filter(pk=pk).update(**columns)
    for worker in works.workers:
        worker.signal(signal.SIGCONT)


def mail_server(mode: str) -> Callable[[Works], object]:
    @contextmanager
    def fault(works: Works) -> Iterator[None]:
        works.sink.set(mode)
        yield
        works.sink.set("ok")

    return fault


@dataclass
class Fault:
    name: str
    cause: Callable[[Works], object]
    quick: bool = False
    repeats: float = 0  # mails at most of which the mail server's answer was lost
    mysql_away: bool = False
    needs: str = ""


FAULTS = [
    Fault("none", none, quick=True),
    Fault("web killed between commit and publish", web_killed, quick=True),
    # Two workers of two processes each.
    Fault("workers killed in the middle of SMTP", workers_killed, quick=True, repeats=4),
    Fault("workers killed in the middle of batches", workers_killed_in_batches, repeats=4),
    Fault("a worker asleep for longer than its claims", workers_asleep, repeats=2),
    Fault("Redis stopped", lambda _: container_by(REDIS, "stop", "start"), needs="redis"),
    Fault(
        "Redis silent", lambda _: container_by(REDIS, "pause", "unpause"), quick=True, needs="redis"
    ),
    Fault("Redis full", redis_full),
    Fault("Redis restarted", redis_restarted, needs="redis"),
    Fault("Redis flushed", redis_flushed, quick=True),
    Fault("MySQL connections killed", mysql_connections_killed, quick=True, mysql_away=True),
    Fault("MySQL restarted", mysql_restarted, quick=True, mysql_away=True, needs="mysql"),
    Fault(
        "MySQL silent",
        lambda _: container_by(MYSQL, "pause", "unpause"),
        mysql_away=True,
        needs="mysql",
    ),
    Fault("MySQL takes no writes", mysql_takes_no_writes, mysql_away=True, needs="mysql"),
    Fault("beat killed, and Redis flushed", beat_killed),
    Fault("clocks of rows moved", clocks_moved),
    *(
        Fault(f"mail server answers {code}", mail_server(code), quick=code in ("451", "535", "550"))
        for code in ("421", "450", "451", "535", "550", "552")
    ),
    Fault("mail server hangs", mail_server("hang")),
    Fault("mail server closes after DATA", mail_server("close"), quick=True, repeats=inf),
    Fault("mail server refuses connections", mail_server("refuse")),
]


def drill(works: Works, fault: Fault) -> Outcome:
    from members.models import Member, WelcomeEmail

    outcome = Outcome(fault.name)
    first = Member.objects.order_by("pk").values_list("pk", flat=True).last() or 0
    before = works.sink.taken.copy()
    with Load(works.ports, outcome, works.cookie):
        time.sleep(0.5)
        with fault.cause(works):
            time.sleep(LOAD)
        healed = time.monotonic()
        time.sleep(0.5)
    rows = WelcomeEmail.objects.filter(member__pk__gt=first)
    while rows.exclude(state__in=["sent", "failed"]).exists():
        if time.monotonic() - healed > PATIENCE:
            left = rows.exclude(state__in=["sent", "failed"]).values_list("state", "last_error")
            outcome.wrong.append(f"{len(left)} not settled: {Counter(left).most_common(3)}")
            break
        time.sleep(0.2)
    outcome.recovery = time.monotonic() - healed
    judge(works, fault, outcome, first, before)
    return outcome


def judge(works: Works, fault: Fault, outcome: Outcome, first: int, before: Counter[str]) -> None:
    from members.models import Member, WelcomeEmail

    taken = works.sink.taken - before
    members = set(Member.objects.filter(pk__gt=first).values_list("username", flat=True))
    rows = {
        row["member__username"]: row
        for row in WelcomeEmail.objects.filter(member__pk__gt=first).values(
            "member__username", "state", "attempts", "last_error"
        )
    }
    wrong = outcome.wrong
    if missing := set(outcome.accepted) - members:
        wrong.append(f"accepted and not there: {sorted(missing)[:3]}")
    if members != set(rows):
        wrong.append(f"without a welcome row: {sorted(members ^ set(rows))[:3]}")
    for name, row in rows.items():
        mails = taken[f"{name}@example.org"]
        outcome.mails += mails
        outcome.duplicates += max(0, mails - 1)
        if row["state"] == "sent" and not mails:
            outcome.lost += 1
        if row["state"] == "failed":
            outcome.failed += 1
            if not row["last_error"]:
                wrong.append(f"{name} failed without a reason")
        if mails > row["attempts"]:
            wrong.append(f"{name} got {mails} mails in {row['attempts']} attempts")
    if outcome.duplicates > fault.repeats:
        wrong.append(f"{outcome.duplicates} mails came twice")
    if outcome.lost:
        wrong.append(f"{outcome.lost} lost")
    if not outcome.accepted:
        wrong.append("no registration was accepted")
    for status, count in outcome.statuses.items():
        if status.startswith("5") and not (status == "503" and fault.mysql_away):
            wrong.append(f"{count} answers {status}")
        if not status.isdigit() and fault.cause is not web_killed:
            wrong.append(f"{count} times {status}")


def report(outcomes: list[Outcome]) -> None:
    heads = [
        "asked",
        "accepted",
        "mails",
        "failed",
        "duplicates",
        "lost",
        "slowest s",
        "recovery s",
    ]
    print(f"\n| {'fault':38} | " + " | ".join(heads) + " |")
    print("|---|" + "--:|" * len(heads))
    for o in outcomes:
        numbers = [o.asked, len(o.accepted), o.mails, o.failed, o.duplicates, o.lost]
        seconds = [f"{o.slowest:.2f}", f"{o.recovery:.1f}"]
        cells = [str(n).rjust(len(h)) for n, h in zip([*numbers, *seconds], heads, strict=True)]
        print(f"| {o.fault:38} | " + " | ".join(cells) + " |")


def main() -> int:
    start = time.monotonic()
    redis_url = urlsplit(os.environ["REDIS_URL"])._replace(path="/14").geturl()
    sink = Sink()
    outcomes = []
    with empty_database() as database_url, tempfile.TemporaryDirectory() as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "project.tests.chaos.settings",
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "DATA_DIR": folder,
            "SECRET_KEY": os.urandom(16).hex(),
            "EMAIL_URL": f"smtp://desk:secret@127.0.0.1:{sink.port}",
            "THROTTLE_REGISTER": "100000/min",
            "DJANGO_SUPERUSER_USERNAME": "chaos",
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            "WORKER_CONCURRENCY": "2",
        }
        import django
        from redis import Redis

        django.setup()
        from django.core.management import call_command

        with Redis.from_url(redis_url) as redis:
            redis.flushdb()
        call_command("prepare", verbosity=0)
        works = Works(Path(folder), sink)
        print(f"Ready after {time.monotonic() - start:.0f} s", flush=True)
        try:
            for fault in FAULTS:
                only = os.environ.get("CHAOS_ONLY")
                if (QUICK and not fault.quick) or (only and only not in fault.name):
                    continue
                if {"mysql": not MYSQL, "redis": not REDIS}.get(fault.needs):
                    print(f"Left out, for CHAOS_{fault.needs.upper()} is not set: {fault.name}")
                    continue
                outcome = drill(works, fault)
                outcomes.append(outcome)
                print(
                    f"{time.monotonic() - start:4.0f} s {fault.name}: {dict(outcome.statuses)}",
                    *outcome.wrong,
                    sep="\n         WRONG " if outcome.wrong else "",
                    flush=True,
                )
        finally:
            for process in works.processes:
                process.signal(signal.SIGCONT)
                process.kill()
            if keep := os.environ.get("CHAOS_LOGS"):
                for process in works.processes:
                    Path(keep, f"{process.name}.log").write_bytes(process.log.read_bytes())
            from django.db import connection

            connection.close()
    report(outcomes)
    print(f"\n{sink.connections} connections to the mail server, {time.monotonic() - start:.0f} s")
    wrong = [o.fault for o in outcomes if o.wrong]
    print("Wrong: " + ", ".join(wrong) if wrong else "Every promise was kept.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
