"""Beat shows its pulse, and nothing that happens to the database stops its clock."""

import threading
import time
from unittest.mock import patch

import pytest
from django.db import OperationalError

from members.models import Dispatch
from project.celery import WatchedScheduler, record_beat


@pytest.fixture
def clock() -> WatchedScheduler:
    return WatchedScheduler.__new__(WatchedScheduler)


@pytest.mark.django_db
def test_a_pulse_is_recorded():
    with patch("django.db.connection.close"):  # a thread of its own has a connection of its own
        record_beat()
    assert Dispatch.objects.get().beat_at


def test_a_database_that_fails_stops_no_clock(caplog):
    with patch("members.models.dispatch.DispatchQuerySet.seen", side_effect=OperationalError(2006)):
        record_beat()
    assert "Beat's pulse cannot be recorded" in caplog.text


def test_a_database_that_hangs_stops_no_clock_and_is_asked_once(clock, monkeypatch):
    release, asked = threading.Event(), []

    def hang() -> None:
        asked.append(1)
        release.wait(10)

    monkeypatch.setattr("project.celery.record_beat", hang)
    start = time.monotonic()
    for _ in range(3):
        clock.pulse_at = float("-inf")
        clock.show_pulse()
    assert time.monotonic() - start < 5
    release.set()
    clock.pulse.join()
    assert len(asked) == 1


def test_a_pulse_is_shown_every_fifteen_seconds(clock, monkeypatch):
    asked = []
    monkeypatch.setattr("project.celery.record_beat", lambda: asked.append(1))
    for _ in range(3):
        clock.show_pulse()
        clock.pulse.join()
    assert len(asked) == 1
