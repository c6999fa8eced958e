"""How fast welcome e-mails go out, and what a registration and a sweep of a million rows cost.

    python benchmarks/mail.py send [1000 [3]]   one worker process against bare smtplib loops, in so many rounds
    python benchmarks/mail.py register [200]    milliseconds and statements, broker there or not
    python benchmarks/mail.py sweep [1000000]   memory, seconds and plan of a sweep

Writes to the MySQL and Redis of DATABASE_URL and REDIS_URL: use empty ones.
"""

import os
import re
import resource
import smtplib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
os.environ.setdefault("SECRET_KEY", "benchmark")
os.environ |= {"THROTTLE_ANON": "", "THROTTLE_REGISTER": "", "ALLOWED_HOSTS": "testserver"}

SINK = """
import sys, time
from chaos.sink import Sink
sink = Sink()
print(sink.port, flush=True)
for line in sys.stdin:
    print(sum(sink.taken.values()), sink.connections, flush=True)
"""


class Sink:
    """A mail server in its own process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SINK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parent.parent,
        )
        self.port = int(self.line())

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()

    def taken(self) -> tuple[int, int]:
        assert self.process.stdin
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        mails, connections = self.line().split()
        return int(mails), int(connections)


def send(number: int = 1000, rounds: int = 3) -> None:
    """All of them in turn, several times: on a busy machine only neighbours compare."""
    sink = Sink()
    os.environ["EMAIL_URL"] = f"smtp://127.0.0.1:{sink.port}"
    import django

    django.setup()
    from django.conf import settings
    from redis import Redis

    from members.models import WelcomeEmail

    def loop(contents: Callable[[Any], bytes], records: bool = False) -> float:
        clear()
        fill(number)
        welcomes = list(WelcomeEmail.objects.select_related("member").order_by("pk"))
        return bare_loop(sink.port, welcomes, contents, records)

    clear()
    fill(1)
    ready = write(WelcomeEmail.objects.select_related("member")[0])
    runs: dict[str, Callable[[], float]] = {
        "one worker process": lambda: worker(sink, number),
        "loop that writes and records each mail": lambda: loop(write, records=True),
        "loop that writes each mail": lambda: loop(write),
        "loop that repeats one ready mail": lambda: loop(lambda welcome: ready),
    }
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        with Redis.from_url(settings.REDIS_URL) as redis:
            redis.flushdb()
        for name, run in runs.items():
            speeds[name].append(run())
    ours, *_ = speeds.values()
    for name, speed in speeds.items():
        ratio = median(mine / other for mine, other in zip(ours, speed, strict=True))
        each = ", ".join(f"{one:.0f}" for one in speed)
        print(
            f"{name:40} {median(speed):6.0f} mails/s ({each}); the worker makes {ratio:.2f} of it"
        )
    sink.process.kill()


def worker(sink: Sink, number: int) -> float:
    from members.mail.tasks import enqueue
    from members.models import WelcomeEmail

    clear()
    fill(number)
    before, connections = sink.taken()
    enqueue(*WelcomeEmail.objects.order_by("pk").values_list("pk", flat=True))
    with tempfile.TemporaryDirectory() as folder:
        with open(Path(folder, "log"), "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "--app", "project", "--quiet", "worker"]
                + ["--concurrency", "1", "--without-gossip", "--without-mingle"]
                + ["--loglevel", "warning"],
                env=os.environ | {"DATA_DIR": folder},
                stdout=log,
                stderr=log,
            )
        first = wait_for(sink, before + number // 10)  # without the start and the first imports
        done = wait_for(sink, before + number)
        while WelcomeEmail.objects.exclude(state="sent").exists():
            time.sleep(0.1)
        process.terminate()
        process.wait()
    print(f"{sink.taken()[1] - connections} connections to the mail server")
    return number * 9 / 10 / (done - first)


def write(welcome: Any) -> bytes:
    from members.mail.delivery import render

    message: Any = render(welcome).message()
    return message.as_bytes(linesep="\r\n")


def bare_loop(
    port: int, welcomes: list[Any], contents: Callable[[Any], bytes], records: bool
) -> float:
    from django.utils import timezone

    start = time.perf_counter()
    with smtplib.SMTP("127.0.0.1", port) as server:
        for welcome in welcomes:
            server.sendmail("library@localhost", [welcome.member.email], contents(welcome))
            if records:
                row = type(welcome).objects.filter(pk=welcome.pk)
                row.update(state="sent", sent_at=timezone.now())
    return len(welcomes) / (time.perf_counter() - start)


def wait_for(sink: Sink, mails: int) -> float:
    while sink.taken()[0] < mails:
        time.sleep(0.02)
    return time.perf_counter()


def clear() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SET FOREIGN_KEY_CHECKS = 0")
        cursor.execute("TRUNCATE members_welcomeemail")
        cursor.execute("TRUNCATE members_member")
        cursor.execute("TRUNCATE django_celery_results_taskresult")
        cursor.execute("SET FOREIGN_KEY_CHECKS = 1")


def fill(number: int) -> None:
    from django.utils import timezone

    from members.models import Member, WelcomeEmail

    now = timezone.now()
    for start in range(0, number, 5000):
        names = [f"bench{n}" for n in range(start, min(start + 5000, number))]
        Member.objects.bulk_create(Member(username=n, email=f"{n}@example.org") for n in names)
        members = Member.objects.filter(username__in=names)
        WelcomeEmail.objects.bulk_create(
            WelcomeEmail(member=m, next_attempt_at=now, enqueued_at=None) for m in members
        )


REGISTER = """
import sys, time, statistics
import django
django.setup()
from django.db import connection, reset_queries
from django.test import Client
from django.test.utils import CaptureQueriesContext
client, number, word = Client(), int(sys.argv[1]), sys.argv[2]
took = []
for n in range(number + 3):
    body = {"username": f"{word}{n}", "email": f"{word}{n}@example.org"}
    start = time.perf_counter()
    if n == number:
        with CaptureQueriesContext(connection) as queries:
            answer = client.post("/api/v1/members/register/", body, "application/json")
        statements = [q["sql"] for q in queries]
    else:
        answer = client.post("/api/v1/members/register/", body, "application/json")
    assert answer.status_code == 201, answer.content
    took.append((time.perf_counter() - start) * 1000)
print(f"{statistics.median(took[3:]):6.1f} ms median, {max(took[1:]):.1f} longest, "
      f"the first {took[0]:.0f}; {len(statements)} statements")
if "-v" in sys.argv:
    print(*statements, sep="\\n")
"""


def register(number: int = 200) -> None:
    import socket

    import django

    django.setup()
    clear()
    refused = socket.create_server(("127.0.0.1", 0))
    port = refused.getsockname()[1]
    silent = socket.create_server(("127.0.0.1", 0), backlog=50)
    refused.close()
    for word, url in (
        ("there", os.environ["REDIS_URL"]),
        ("refuses", f"redis://127.0.0.1:{port}/0"),
        ("silent", f"redis://127.0.0.1:{silent.getsockname()[1]}/0"),
    ):
        print(f"broker {word:8}", end="", flush=True)
        subprocess.run(
            [sys.executable, "-c", REGISTER, str(number), word],
            env=os.environ | {"REDIS_URL": url},
            cwd=Path(__file__).resolve().parent.parent,
            stderr=subprocess.DEVNULL,
            check=True,
        )


def sweep(number: int = 1_000_000) -> None:
    import django

    django.setup()
    from unittest.mock import patch

    from django.db import connection, reset_queries
    from django.test.utils import CaptureQueriesContext

    from members.mail import tasks
    from members.models import WelcomeEmail

    if WelcomeEmail.objects.count() < number:
        clear()
        start = time.perf_counter()
        fill(number)
        print(f"{number} queued rows made in {time.perf_counter() - start:.0f} s")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE TABLE members_welcomeemail")
    before = memory()
    with patch("members.mail.tasks.send_welcome_emails.delay", lambda *ids: True):
        for _ in range(10):
            start = time.perf_counter()
            with CaptureQueriesContext(connection) as queries:
                said = tasks.sweep_welcome_emails()
            took = (time.perf_counter() - start) * 1000
            statements = [query["sql"] for query in queries]
            reset_queries()  # or they pile up
            print(
                f"{took:7.1f} ms, {len(statements)} statements, {memory() - before:+d} KiB: {said}"
            )
    for sql in {re.sub(r"\d", "", sql)[:400]: sql for sql in statements}.values():
        if "members_welcomeemail" in sql and not sql.startswith("EXPLAIN"):
            short = sql if len(sql) < 400 else f"{sql[:200]} … {sql[-60:]}"
            print(f"\n{short}")
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN FORMAT=TRADITIONAL {sql}".replace("%", "%%"))
                names = [column[0] for column in cursor.description]
                for row in cursor.fetchall():
                    plan = dict(zip(names, row, strict=True))
                    print({k: plan[k] for k in ("table", "type", "key", "rows", "Extra")})


def memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    what, *numbers = sys.argv[1:] or ["help"]
    tasks = {"send": send, "register": register, "sweep": sweep}
    if what not in tasks:
        sys.exit(__doc__)
    tasks[what](*map(int, numbers))
