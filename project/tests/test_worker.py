"""A worker that consumes nothing ends itself."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from members.conftest import redis_database
from project import celery, tasks, worker

redis_needed = pytest.mark.redis


class Rounds(threading.Event):
    """The event that watch() waits for: each round may change something, the last one stops it."""

    def __init__(self, *rounds) -> None:
        super().__init__()
        self.left = list(rounds)

    def wait(self, timeout=None) -> bool:
        assert timeout == worker.WATCH_INTERVAL_SECONDS
        if not self.left:
            return True
        self.left.pop(0)()
        return False


@pytest.fixture
def process(settings, tmp_path, monkeypatch):
    settings.DATA_DIR = tmp_path
    settings.WORKER_DEAF_AFTER = 30
    settings.CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 7
    monkeypatch.setattr(worker, "broker_answers", lambda: True)
    process = SimpleNamespace(done=[], age=1000.0)
    monkeypatch.setattr(worker.os, "kill", lambda pid, number: process.done.append((pid, number)))
    monkeypatch.setattr(worker.time, "sleep", process.done.append)
    return process


def silence():
    pass


def heartbeat():
    """Each at a later moment than the one before."""
    tasks.touch_heartbeat()
    at = worker.heartbeat_at() + 1
    os.utime(tasks.heartbeat_file(), (at, at))


ENDED = [(os.getpid(), signal.SIGTERM), 12, (os.getpid(), signal.SIGKILL)]


def test_the_queue_of_a_worker_that_is_gone_expires(settings, monkeypatch):
    """Each container has another name, so nobody would ever read it."""
    settings.REDIS_URL = "redis://nowhere"
    monkeypatch.setattr(celery.threading, "Thread", Mock())
    app = Celery(set_as_current=False)
    celery.add_heartbeat_queue("celery@gone", SimpleNamespace(app=app))
    assert app.amqp.queues["heartbeat.celery@gone"].expires == 600


def test_a_deaf_worker_is_told_to_end_and_then_killed(process, caplog):
    worker.watch(Rounds(*[silence] * 6))
    assert process.done == ENDED
    assert "The worker is deaf: no heartbeat for 30 s. It ends." in caplog.text


def test_up_to_the_limit_it_is_left_alone(process):
    worker.watch(Rounds(*[silence] * 5))
    assert process.done == []


def test_heartbeats_of_an_earlier_worker_do_not_count(process):
    tasks.touch_heartbeat()
    worker.watch(Rounds(*[silence] * 6))
    assert process.done == ENDED


def test_each_heartbeat_counts_from_the_beginning(process):
    worker.watch(Rounds(*[*[silence] * 5, heartbeat] * 3, *[silence] * 5))
    assert process.done == []


def test_after_its_last_heartbeat_it_may_become_deaf(process):
    worker.watch(Rounds(heartbeat, *[silence] * 6))
    assert process.done == ENDED


def test_while_the_broker_is_away_no_worker_is_deaf(process, monkeypatch):
    answers = [True] * 5 + [False] + [True] * 5
    monkeypatch.setattr(worker, "broker_answers", lambda: answers.pop(0))
    worker.watch(Rounds(*[silence] * 11))
    assert process.done == []


def test_a_worker_that_is_stopped_is_not_watched(process):
    stopping = threading.Event()
    stopping.set()
    worker.watch(stopping)
    assert process.done == []


def test_a_stop_ends_the_watch():
    from celery import signals

    try:
        signals.worker_shutting_down.send(None)
        assert celery.stopping.is_set()
    finally:
        celery.stopping.clear()


@redis_needed
@pytest.mark.redis
def test_the_broker_is_asked(settings):
    settings.REDIS_URL = os.environ["REDIS_URL"]
    assert worker.broker_answers() is True
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert worker.broker_answers() is False


# Heartbeats while every process is busy


def request(age, limit=None):
    return SimpleNamespace(
        time_start=time.time() - age, task=SimpleNamespace(soft_time_limit=limit)
    )


@pytest.mark.parametrize(
    ("ages", "busy"),
    [
        ([], False),
        ([5], False),  # another process is free
        ([5, 5], True),
        ([500, 5], True),  # the second will be free in time
        ([500, 500], False),  # both are past their limits: nothing will ever come through
        ([115, 115], True),
        ([121, 121], False),
    ],
)
def test_a_worker_is_busy_as_long_as_its_tasks_may_last(ages, busy, settings, monkeypatch):
    settings.CELERY_TASK_SOFT_TIME_LIMIT = 120
    monkeypatch.setattr(worker.state, "active_requests", [request(age) for age in ages])
    assert worker.is_busy(processes=2) is busy


def test_a_task_may_have_a_time_limit_of_its_own(settings, monkeypatch):
    settings.CELERY_TASK_SOFT_TIME_LIMIT = 120
    monkeypatch.setattr(worker.state, "active_requests", [request(500, limit=600)])
    assert worker.is_busy(processes=1)


@pytest.fixture
def consumer():
    class Connection:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    return SimpleNamespace(
        hostname="celery@here",
        pool=SimpleNamespace(num_processes=2),
        app=SimpleNamespace(connection_for_write=lambda transport_options: Connection()),
    )


@pytest.mark.parametrize("busy", [True, False])
def test_only_a_busy_worker_needs_no_heartbeat_from_its_queue(process, consumer, busy, monkeypatch):
    monkeypatch.setattr(worker, "is_busy", lambda processes: busy and processes == 2)
    sent = []
    monkeypatch.setattr(
        worker.tasks.heartbeat, "apply_async", lambda **options: sent.append(options)
    )
    worker.Heartbeat(SimpleNamespace()).beat(consumer)
    assert tasks.heartbeat_file().exists() is busy
    [options] = sent
    assert (options["queue"], options["expires"]) == ("heartbeat.celery@here", 60)
    assert options["retry"] is False


@pytest.mark.parametrize("url", ["", "redis://127.0.0.1:1/0"])
def test_only_a_worker_with_a_broker_sends_itself_heartbeats(settings, url):
    settings.REDIS_URL = url
    assert worker.Heartbeat(SimpleNamespace()).include_if(None) is bool(url)


def test_heartbeats_come_at_once_then_every_15_seconds_until_the_consumer_stops(
    process, consumer, monkeypatch
):
    beats, timers = [], []

    def call_repeatedly(seconds, function, args):
        timers.append((seconds, function, args))
        return SimpleNamespace(cancel=timers.clear)

    consumer.timer = SimpleNamespace(call_repeatedly=call_repeatedly)
    monkeypatch.setattr(worker.tasks.heartbeat, "apply_async", lambda **options: beats.append(1))
    step = worker.Heartbeat(SimpleNamespace())
    for end in (step.stop, step.shutdown):
        step.start(consumer)
        [(seconds, beat, args)] = timers
        assert seconds == 15
        beat(*args)
        end(consumer)
        end(consumer)  # a shutdown follows a stop
        assert timers == []
    assert len(beats) == 4


def test_a_task_that_has_not_begun_keeps_no_process_busy(monkeypatch):
    waiting = SimpleNamespace(time_start=None, task=SimpleNamespace(soft_time_limit=None))
    monkeypatch.setattr(worker.state, "active_requests", [waiting])
    assert not worker.is_busy(processes=1)


def test_a_broker_that_refuses_does_not_answer(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert worker.broker_answers() is False


@pytest.mark.parametrize("error", [OperationalError("away"), ConnectionRefusedError()])
def test_a_heartbeat_that_the_broker_does_not_take_stops_nothing(
    process, consumer, error, monkeypatch, caplog
):
    def refuse(**options):
        raise error

    monkeypatch.setattr(worker.tasks.heartbeat, "apply_async", refuse)
    worker.Heartbeat(SimpleNamespace()).beat(consumer)
    assert "The broker accepts no heartbeat" in caplog.text


# A real worker, with shorter times

WORKER = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
import django
django.setup()
from project import worker
from project.celery import app
worker.HEARTBEAT_INTERVAL_SECONDS, worker.WATCH_INTERVAL_SECONDS = 0.5, 0.2
from django.conf import settings
settings.WORKER_DEAF_AFTER = 2
app.worker_main(["worker", "--loglevel=info", "--without-gossip", "--without-mingle"])
"""


@redis_needed
@pytest.mark.redis
@pytest.mark.worker
def test_a_worker_whose_processes_stand_still_ends(tmp_path):
    log = tmp_path / "log"
    with redis_database() as url, open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=os.environ
            | {
                "DATABASE_URL": "",
                "REDIS_URL": url,
                "DATA_DIR": str(tmp_path),
                "SECRET_KEY": "x",
                "REMAP_SIGTERM": "SIGQUIT",
                "WORKER_GRACEFUL_TIMEOUT": "1",
            },
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            wait_for(lambda: (tmp_path / "heartbeat").exists(), log)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            for child in children.read_text().split():
                os.kill(int(child), signal.SIGSTOP)
            wait_for(lambda: process.poll() is not None, log)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert "The worker is deaf: no heartbeat for 2 s. It ends." in log.read_text()


def wait_for(condition, log):
    end = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < end, log.read_text()[-3000:]
        time.sleep(0.05)
