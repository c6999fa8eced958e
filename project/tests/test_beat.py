"""Beat and workers show that they are alive, and no database trouble stops them."""

import logging
import threading
import time
from unittest.mock import patch

import pytest
from celery import signals
from celery.beat import PersistentScheduler
from django.db import OperationalError, connection

from members.models import Dispatch
from project import celery, tasks
from project.celery import WatchedScheduler


@pytest.fixture
def beat() -> WatchedScheduler:
    return WatchedScheduler.__new__(WatchedScheduler)


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The parts whose heartbeat was recorded."""
    asked: list[str] = []
    monkeypatch.setattr(celery, "_record_heartbeat", asked.append)
    return asked


def test_each_tick_shows_and_ticks(beat, asked, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    with patch.object(PersistentScheduler, "tick", return_value=7.5) as tick:
        for _ in range(2):
            assert beat.tick("argument") == 7.5
            assert tasks.heartbeat_file().exists()
            tasks.heartbeat_file().unlink()
            beat.heartbeat.join()
        tick.assert_called_with("argument")
    assert asked == ["beat"]


def test_beat_runs_this_scheduler(settings):
    assert settings.CELERY_BEAT_SCHEDULER == "project.celery:WatchedScheduler"
    # Beat is healthy if it ticked within a minute (project/healthcheck.py).
    assert settings.CELERY_BEAT_MAX_LOOP_INTERVAL <= 30


@pytest.mark.django_db
@pytest.mark.parametrize("part", ["beat", "worker"])
def test_a_heartbeat_is_recorded(part):
    with patch("django.db.connection.close") as close:
        celery._record_heartbeat(part)
    assert getattr(Dispatch.objects.get(), f"{part}_at")
    assert close.called, "the ending thread would leave its connection open"


def test_a_worker_shows_itself_as_soon_as_it_is_ready(monkeypatch):
    shown = []
    monkeypatch.setattr(celery, "record_heartbeat", shown.append)
    signals.worker_ready.send(None)
    assert shown == ["worker"]


@pytest.mark.parametrize("error", [OperationalError(2006), RuntimeError("any")])
def test_a_database_that_fails_does_not_stop_beat(caplog, error):
    with (
        patch("members.mail.models.DispatchQuerySet.heartbeat", side_effect=error),
        patch("django.db.connection.close") as close,
    ):
        celery._record_heartbeat("beat")
    assert "The heartbeat of beat cannot be recorded" in caplog.text
    assert close.called


def test_a_database_that_hangs_does_not_stop_beat_and_is_asked_once(beat, monkeypatch):
    release, asked = threading.Event(), []

    def hang(part: str) -> None:
        asked.append(1)
        release.wait(10)

    monkeypatch.setattr("project.celery._record_heartbeat", hang)
    start = time.monotonic()
    for _ in range(3):
        beat.heartbeat_at = float("-inf")
        beat.record_heartbeat()
    assert time.monotonic() - start < 5
    assert beat.heartbeat.daemon, "beat could not end"
    release.set()
    beat.heartbeat.join()
    assert len(asked) == 1


def test_a_heartbeat_is_recorded_every_fifteen_seconds(beat, asked, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(celery.time, "monotonic", lambda: now[0])
    for now[0] in (1000.0, 1014.9, 1015.0, 1016.0, 1031.0):
        beat.record_heartbeat()
        beat.heartbeat.join()
    assert len(asked) == 3


# What the log leaves out


def record(level: int, name: str | None) -> logging.LogRecord:
    record = logging.LogRecord("celery.app.trace", level, "", 0, "Task …", (), None)
    if name:
        record.data = {"name": name}
    return record


@pytest.mark.parametrize(
    ("level", "name", "news"),
    [
        (logging.INFO, "project.tasks.heartbeat", False),
        (logging.INFO, "members.tasks.sweep_welcome_emails", False),
        (logging.INFO, "members.tasks.send_welcome_emails", True),
        (logging.INFO, None, True),
        (logging.WARNING, "project.tasks.heartbeat", True),
        (logging.ERROR, "members.tasks.sweep_welcome_emails", True),
    ],
)
def test_routine_is_logged_only_when_it_fails(level, name, news):
    assert celery.is_news(record(level, name)) is news


def test_routine_tasks_exist():
    celery.app.loader.import_default_modules()
    assert set(celery.app.tasks) >= celery.ROUTINE


def test_both_loggers_leave_routine_out():
    loggers = [logging.getLogger(f"celery.{name}") for name in ("worker.strategy", "app.trace")]
    celery.keep_routine_out_of_the_log()
    try:
        assert all(celery.is_news in logger.filters for logger in loggers)
    finally:
        for logger in loggers:
            logger.removeFilter(celery.is_news)


# The connection between tasks


@pytest.fixture
def old_connection(transactional_db, monkeypatch):
    """The connection between two tasks: kept for a minute, checked before use."""
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 60)
    monkeypatch.setitem(connection.settings_dict, "CONN_HEALTH_CHECKS", True)
    connection.close()
    connection.connect()
    yield connection.connection
    connection.close()


def start_a_task():
    signals.task_prerun.send(None)
    connection.ensure_connection()
    return connection.connection


@pytest.mark.mysql
def test_a_connection_is_kept_from_task_to_task(old_connection):
    assert start_a_task() is old_connection
    assert start_a_task() is old_connection


@pytest.mark.mysql
def test_an_old_connection_is_replaced(old_connection):
    connection.close_at = time.monotonic() - 1
    assert start_a_task() is not old_connection


@pytest.mark.mysql
def test_a_connection_that_failed_is_replaced(old_connection):
    connection.errors_occurred = True
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute(f"KILL {old_connection.thread_id()}")
    other.close()
    assert start_a_task() is not old_connection
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@pytest.mark.mysql
def test_a_connection_that_the_server_closed_is_replaced(old_connection):
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute(f"KILL {old_connection.thread_id()}")
    other.close()
    signals.task_prerun.send(None)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert connection.connection is not old_connection


@pytest.mark.django_db
def test_a_task_inside_a_transaction_closes_nothing():
    with patch("django.db.close_old_connections") as close:
        signals.task_prerun.send(None)
    assert not close.called


def test_celery_does_not_close_connections_itself(settings):
    assert settings.CELERY_DB_REUSE_MAX > 10**6


def test_a_worker_starts_its_processes_without_a_connection():
    with patch("django.db.connections.close_all") as close:
        celery.start_without_a_connection()
    assert close.called
    receivers = [receiver() for _, receiver in signals.celeryd_after_setup.receivers]
    assert celery.start_without_a_connection in receivers
