"""A real worker process, killed and stopped at bad moments.

On SQLite and the filesystem broker, or on the MySQL and Redis of DATABASE_URL and REDIS_URL.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from members.conftest import mysql_database, redis_database
from members.mail.tasks import ABOUT, FINAL, SENT

from .mail_server import MailServer, mail_server

pytestmark = pytest.mark.worker

# The other process: it runs each line of code that it is sent, and answers by a line.
PRELUDE = """
import json, sys, time
import django
django.setup()
from datetime import timedelta
from unittest.mock import patch
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from django_celery_results.models import TaskResult
from members.models import Member, WelcomeEmail
from members.registration import register_member
from members.mail.tasks import enqueue, sweep_welcome_emails
from project.celery import app

if not connection.introspection.table_names():  # on MySQL
    call_command("migrate", verbosity=0)

def register(name):
    register_member(Member(username=name, email=f"{name}@example.org"))

def wait_until_sent():
    deadline = time.monotonic() + 20
    while WelcomeEmail.objects.exclude(state="sent").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    results = TaskResult.objects.filter(status="SUCCESS")  # each is written after its row
    while results.count() < Member.objects.count() and time.monotonic() < deadline:
        time.sleep(0.1)
    return list(WelcomeEmail.objects.order_by("pk").values("state", "attempts", "last_error_code"))

def answer(value):
    answers.append(value)

for line in sys.stdin:
    answers = []
    exec(json.loads(line))
    print(json.dumps(answers, default=str), flush=True)
"""


class Desk:
    """The tool on a machine of its own, as far as one can have that in a folder."""

    def __init__(self, folder: Path, **places: str) -> None:
        self.log = folder / "worker.log"
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "DATA_DIR": str(folder),
            "SECRET_KEY": "x",
            **places,
        }
        self.other: subprocess.Popen[str] | None = None

    def mail_to(self, port: int) -> None:
        self.environment["EMAIL_URL"] = f"smtp://127.0.0.1:{port}"

    def run(self, code: str) -> Any:
        """What CODE answers, in a process that is neither web nor worker."""
        self.other = self.other or subprocess.Popen(
            [sys.executable, "-c", PRELUDE],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.other.stdin and self.other.stdout
        self.other.stdin.write(json.dumps(code) + "\n")
        self.other.stdin.flush()
        line = self.other.stdout.readline()
        assert line, "the other process failed; its traceback is above"
        return next(iter(json.loads(line)), None)

    def end(self) -> None:
        if self.other:
            self.other.communicate(timeout=20)  # it ends with its input

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "celery", "--app", "project", "--quiet", "worker"]
        options = ["--concurrency=1", "--without-gossip", "--without-mingle", "--loglevel=info"]
        with open(self.log, "wb") as log:
            process = subprocess.Popen(
                [*command, *options],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.wait_for(lambda: b" ready." in self.log.read_bytes())
            yield process
        finally:
            kill(process)

    def wait_for(self, condition) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)


def kill(process: subprocess.Popen[bytes]) -> None:
    """The worker and its children, at once and without a word."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


@pytest.fixture(scope="module")
def only_desk(migrated, tmp_path_factory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    with ExitStack() as stack:
        places = {"DATABASE_URL": "", "REDIS_URL": ""}
        if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
            places["DATABASE_URL"] = stack.enter_context(mysql_database())
            places["REDIS_URL"] = stack.enter_context(redis_database())
        else:
            migrated(folder)
        desk = Desk(folder, **places)
        stack.callback(desk.end)
        yield desk


@pytest.fixture
def desk(only_desk) -> Iterator[Desk]:
    """As if new: to start another takes seconds."""
    yield only_desk
    only_desk.run("app.control.purge(); call_command('flush', interactive=False, verbosity=0)")


def test_registered_while_the_worker_is_away_and_while_it_is_there(desk):
    with mail_server() as server:
        desk.mail_to(server.port)
        desk.run('register("ann")')
        assert server.taken == []
        with desk.worker():
            rows, results = desk.run(
                'register("bob"); answer([wait_until_sent(), list(TaskResult.objects.values())])'
            )
    assert rows == [{"state": "sent", "attempts": 1, "last_error_code": ""}] * 2
    assert sorted(mail["To"] for mail in server.taken) == ["ann@example.org", "bob@example.org"]
    results.sort(key=lambda result: result["task_args"])
    for number, result in enumerate(results, start=1):
        assert result["status"] == "SUCCESS"
        assert result["task_name"] == "members.tasks.send_welcome_emails"
        assert json.loads(result["task_args"]) == f"({number},)", "ids only"
        assert json.loads(result["task_kwargs"]) == "{}"
        assert json.loads(result["result"]) == [[SENT, {"count": 1}]]
        assert result["date_started"] and result["date_done"]
    assert len(results) == 2
    assert "example.org" not in json.dumps(results)


def test_a_refused_address_is_explained_without_being_named(desk):
    with mail_server(rcpt="550 5.1.1 <ann@example.org> has no mailbox here") as server:
        desk.mail_to(server.port)
        desk.run('register("ann")')
        with desk.worker():
            [result] = desk.run(
                "while not TaskResult.objects.filter(status='FAILURE'): time.sleep(0.1)\n"
                "answer(list(TaskResult.objects.values()))"
            )
    [report] = json.loads(result["result"])["exc_message"]
    reason = "The mail server refuses the mail (550 5.1.1 <…@…> has no mailbox here)."
    assert report == [[ABOUT, {"id": 1}], [reason, {}], [FINAL, {}]]
    assert "example.org" not in json.dumps(result)
    assert "SMTP" not in result["traceback"], "what caused it may hold the address"


class Hanging(MailServer):
    """Takes a mail, and then says nothing more."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802
        self.reached.set()
        await asyncio.sleep(60)
        return "250 OK"


def test_a_worker_killed_while_it_sends_loses_nothing(desk):
    hanging = Hanging()
    hanging.start()
    try:
        desk.mail_to(hanging.port)
        desk.run('register("ann")')
        with desk.worker() as worker:
            assert hanging.reached.wait(20)
            kill(worker)
    finally:
        hanging.stop(no_assert=True)
    # Time passes.
    [row], results = desk.run(
        "past = timezone.now() - timedelta(minutes=6)\n"
        "WelcomeEmail.objects.update(claimed_at=past)\n"
        "TaskResult.objects.update(date_started=past)\n"
        "sweep_welcome_emails()\n"
        "rows = WelcomeEmail.objects.values('state', 'attempts', 'last_error_code')\n"
        "answer([list(rows), list(TaskResult.objects.values_list('status', flat=True))])\n"
        "WelcomeEmail.objects.update(next_attempt_at=timezone.now())\n"
        "sweep_welcome_emails()\n"
    )
    assert row == {"state": "queued", "attempts": 1, "last_error_code": "worker-lost"}
    assert results == ["LOST"]
    with mail_server() as server:
        desk.mail_to(server.port)
        with desk.worker():
            rows = desk.run("answer(wait_until_sent())")
    assert rows == [{"state": "sent", "attempts": 2, "last_error_code": ""}]
    assert len(server.taken) == 1


class Third(Hanging):
    """Says nothing more from the third mail on."""

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802
        if len(self.taken) == 2:
            return await super().handle_DATA(server, session, envelope)
        return await MailServer.handle_DATA(self, server, session, envelope)


def test_a_worker_killed_in_a_batch_has_none_sent_twice(desk):
    third = Third()
    third.start()
    try:
        desk.mail_to(third.port)
        desk.run(
            "with patch('members.registration.enqueue'):\n"
            "    for name in ('ann', 'bob', 'cat', 'dan'): register(name)\n"
            "enqueue(*WelcomeEmail.objects.values_list('pk', flat=True))\n"
        )
        with desk.worker() as worker:
            assert third.reached.wait(20)
            kill(worker)
    finally:
        third.stop(no_assert=True)
    # Time passes.
    [*sent, cat, dan] = desk.run(
        "past = timezone.now() - timedelta(minutes=6)\n"
        "WelcomeEmail.objects.filter(state='sending').update(claimed_at=past)\n"
        "sweep_welcome_emails()\n"
        "rows = WelcomeEmail.objects.order_by('pk')\n"
        "answer(list(rows.values('state', 'attempts', 'last_error_code')))\n"
    )
    assert sent == [{"state": "sent", "attempts": 1, "last_error_code": ""}] * 2
    assert cat == {"state": "queued", "attempts": 1, "last_error_code": "worker-lost"}
    assert dan == {"state": "queued", "attempts": 0, "last_error_code": ""}


def test_a_sweep_that_waited_too_long_is_dropped(desk):
    with mail_server() as server:
        desk.mail_to(server.port)
        # The row's message is lost: only the sweep could bring it about.
        desk.run(
            'register("ann")\n'
            "app.control.purge()\n"
            "WelcomeEmail.objects.update(enqueued_at=None)\n"
            "sweep_welcome_emails.apply_async(expires=0.1)\n"
        )
        time.sleep(0.1)
        with desk.worker():
            desk.wait_for(lambda: b"revoked" in desk.log.read_bytes())
            state, results = desk.run(
                "answer([WelcomeEmail.objects.get().state, TaskResult.objects.count()])"
            )
    assert (state, results) == ("queued", 0)
