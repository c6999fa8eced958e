"""Beat and workers show their pulse, and nothing that happens to the database stops them."""

import threading
import time
from unittest.mock import patch

import pytest
from celery import signals
from django.db import OperationalError

from members.models import Dispatch
from project import celery
from project.celery import WatchedScheduler


@pytest.fixture
def clock() -> WatchedScheduler:
    return WatchedScheduler.__new__(WatchedScheduler)


@pytest.mark.django_db
@pytest.mark.parametrize("part", ["beat", "worker"])
def test_a_pulse_is_recorded(part):
    with patch("django.db.connection.close"):  # a thread of its own has a connection of its own
        celery._record_pulse(part)
    assert getattr(Dispatch.objects.get(), f"{part}_at")


def test_a_worker_shows_its_pulse_as_soon_as_it_is_ready(monkeypatch):
    shown = []
    monkeypatch.setattr(celery, "record_pulse", shown.append)
    signals.worker_ready.send(None)
    assert shown == ["worker"]


def test_a_database_that_fails_stops_no_clock(caplog):
    with patch(
        "members.mail.dispatch.DispatchQuerySet.heartbeat", side_effect=OperationalError(2006)
    ):
        celery._record_pulse("beat")
    assert "The pulse of beat cannot be recorded" in caplog.text


def test_a_database_that_hangs_stops_no_clock_and_is_asked_once(clock, monkeypatch):
    release, asked = threading.Event(), []

    def hang(part: str) -> None:
        asked.append(1)
        release.wait(10)

    monkeypatch.setattr("project.celery._record_pulse", hang)
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
    monkeypatch.setattr("project.celery._record_pulse", asked.append)
    for _ in range(3):
        clock.show_pulse()
        clock.pulse.join()
    assert len(asked) == 1
