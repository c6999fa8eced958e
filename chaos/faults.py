"""What can happen to the works: each fault lasts as long as its context."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from math import inf

from .works import Works

MYSQL, REDIS = os.environ.get("CHAOS_MYSQL", ""), os.environ.get("CHAOS_REDIS", "")


def docker(*words: str) -> None:
    subprocess.run(["docker", *words], check=True, capture_output=True)


@contextmanager
def none(works: Works) -> Iterator[None]:
    yield


@contextmanager
def web_killed(works: Works) -> Iterator[None]:
    for web in works.webs:
        (web.folder / "die-before-publishing").touch()
    yield


def replace_workers(works: Works) -> None:
    """Kill them while the mail server is slow, and start others when it is no longer."""
    for worker in works.workers:
        worker.kill()
    works.sink.set("ok")
    for worker in works.workers:
        worker.start()


@contextmanager
def workers_killed(works: Works) -> Iterator[None]:
    works.sink.set("slow")
    yield
    replace_workers(works)


@contextmanager
def workers_killed_in_batches(works: Works) -> Iterator[None]:
    with redis_flushed(works):  # so that the sweeper hands the backlog out
        yield
        works.sink.set("slow")
    time.sleep(9)  # by now hints count as lost
    replace_workers(works)


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
    webs_die: bool = False
    needs: str = ""


FAULTS = [
    Fault("none", none, quick=True),
    Fault("web killed between commit and publish", web_killed, quick=True, webs_die=True),
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
