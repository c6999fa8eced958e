"""The faults. Each lasts as long as its context."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

from .stack import Stack

MYSQL, REDIS = os.environ.get("CHAOS_MYSQL", ""), os.environ.get("CHAOS_REDIS", "")


def docker(*words: str) -> None:
    subprocess.run(["docker", *words], check=True, capture_output=True)


@contextmanager
def none(stack: Stack) -> Iterator[None]:
    yield


@contextmanager
def web_killed(stack: Stack) -> Iterator[None]:
    for web in stack.webs:
        (web.folder / "die-before-publishing").touch()
    yield


def replace_workers(stack: Stack) -> None:
    """Kill the workers while the mail server is slow, then start them with a fast one."""
    for worker in stack.workers:
        worker.kill()
    stack.sink.set("ok")
    for worker in stack.workers:
        worker.start()


@contextmanager
def workers_killed(stack: Stack) -> Iterator[None]:
    stack.sink.set("slow")
    yield
    replace_workers(stack)


@contextmanager
def workers_killed_in_batches(stack: Stack) -> Iterator[None]:
    with redis_flushed(stack):  # so that the sweeper enqueues the backlog
        yield
        stack.sink.set("slow")
    time.sleep(9)  # by now messages count as lost
    replace_workers(stack)


@contextmanager
def workers_asleep(stack: Stack) -> Iterator[None]:
    """One worker stops in the middle of its mails, and continues after others took them over."""
    stack.sink.set("slow")
    yield
    stack.workers[0].signal(signal.SIGSTOP)
    stack.sink.set("ok")
    time.sleep(25)  # longer than a claim lasts
    stack.workers[0].signal(signal.SIGCONT)


@contextmanager
def container_by(name: str, first: str, then: str) -> Iterator[None]:
    docker(first, name)
    yield
    docker(then, name)


@contextmanager
def redis_full(stack: Stack) -> Iterator[None]:
    from redis import Redis

    with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        redis.config_set("maxmemory", 1)
        yield
        redis.config_set("maxmemory", 0)


@contextmanager
def mysql_takes_no_writes(stack: Stack) -> Iterator[None]:
    def switch(value: str) -> None:
        login = 'MYSQL_PWD="$MYSQL_ROOT_PASSWORD" mysql --user=root --host=127.0.0.1'
        statement = f"SET GLOBAL super_read_only = {value}; SET GLOBAL read_only = {value}"
        docker("exec", MYSQL, "sh", "-c", f"{login} --execute='{statement}'")

    switch("ON")
    yield
    switch("OFF")


@contextmanager
def redis_restarted(stack: Stack) -> Iterator[None]:
    docker("restart", "--timeout", "1", REDIS)
    yield


@contextmanager
def redis_flushed(stack: Stack) -> Iterator[None]:
    from redis import Redis

    for worker in stack.workers:
        worker.signal(signal.SIGSTOP)  # so that the queue is not empty
    yield
    with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        redis.flushall()
    for worker in stack.workers:
        worker.signal(signal.SIGCONT)


@contextmanager
def mysql_connections_killed(stack: Stack) -> Iterator[None]:
    from django.db import connection

    connection.close()  # or it would be killed too
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.1):
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT id FROM information_schema.processlist"
                    " WHERE id <> CONNECTION_ID() AND db = DATABASE()"
                )
                for (number,) in cursor.fetchall():
                    with suppress(Exception):  # it has already ended
                        cursor.execute(f"KILL {number}")
        connection.close()

    thread = threading.Thread(target=kill)
    thread.start()
    yield
    stop.set()
    thread.join()


@contextmanager
def mysql_restarted(stack: Stack) -> Iterator[None]:
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
def beat_killed(stack: Stack) -> Iterator[None]:
    stack.beat.kill()
    with redis_flushed(stack):
        yield
    time.sleep(2)
    stack.beat.start()


@contextmanager
def garbage_queued(stack: Stack) -> Iterator[None]:
    """Unknown tasks, and our own with ids that no row has."""
    from celery import Celery

    stranger = Celery(broker=os.environ["REDIS_URL"])
    for name, args in (
        ("no.such.task", []),
        ("members.tasks.send_welcome_emails", [10**18, -1]),
        ("members.tasks.send_welcome_emails", []),
        ("members.tasks.sweep_welcome_emails", []),
    ):
        stranger.send_task(name, args)
    stranger.close()
    yield


def mail_server(mode: str) -> Callable[[Stack], AbstractContextManager[None]]:
    @contextmanager
    def fault(stack: Stack) -> Iterator[None]:
        stack.sink.set(mode)
        yield
        stack.sink.set("ok")

    return fault


@dataclass
class Fault:
    name: str
    cause: Callable[[Stack], AbstractContextManager[None]]
    quick: bool = False
    killed: int = 0  # worker processes that die, or sleep past their claim, with a mail in flight
    answers_lost: bool = False  # the mail server accepts mails without saying so
    refuses: bool = False  # the mail server rejects recipients for good
    mysql_away: bool = False
    webs_die: bool = False
    needs: str = ""

    @property
    def answers_all(self) -> bool:
        """Whether every registration gets a response."""
        return not (self.mysql_away or self.webs_die)


FAULTS = [
    Fault("none", none, quick=True),
    Fault("web killed between commit and publish", web_killed, quick=True, webs_die=True),
    # Two workers of two processes each.
    Fault("workers killed in the middle of SMTP", workers_killed, quick=True, killed=4),
    Fault("workers killed in the middle of batches", workers_killed_in_batches, killed=4),
    Fault("a worker asleep for longer than its claims", workers_asleep, killed=2),
    Fault("Redis stopped", lambda _: container_by(REDIS, "stop", "start"), needs="redis"),
    Fault(
        "Redis silent", lambda _: container_by(REDIS, "pause", "unpause"), quick=True, needs="redis"
    ),
    Fault("Redis full", redis_full),
    Fault("Redis restarted", redis_restarted, needs="redis"),
    Fault("Redis flushed", redis_flushed, quick=True),
    Fault("garbage in the queue", garbage_queued),
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
    *(
        Fault(
            f"mail server answers {code}",
            mail_server(code),
            quick=code in ("451", "535", "550", "554"),
            refuses=code in ("550", "552"),
        )
        for code in ("421", "450", "451", "535", "550", "552", "554")
    ),
    Fault("mail server hangs", mail_server("hang")),
    Fault("mail server closes after DATA", mail_server("close"), quick=True, answers_lost=True),
    Fault("mail server refuses connections", mail_server("refuse")),
]
