"""MAIL_RATE: no more mails in a time than the mail server's owner allows."""

import pytest
from django.core import mail

from members import batch, pace
from members.models import WelcomeEmail
from members.tasks import send_welcome_emails

from .conftest import redis_database


@pytest.fixture(autouse=True)
def first_turn(monkeypatch):
    monkeypatch.setattr(pace, "_own_turn", 0.0)


def test_without_a_rate_nothing_waits(settings):
    settings.MAIL_INTERVAL = 0
    assert pace.take_turn() == 0


def turns(number: int) -> list[float]:
    return [pace.take_turn() for _ in range(number)]


def test_without_redis_the_processes_of_a_worker_share_the_rate(settings):
    settings.REDIS_URL = ""
    settings.MAIL_INTERVAL, settings.CELERY_WORKER_CONCURRENCY = 3, 2
    assert turns(4) == pytest.approx([0, 6, 12, 18], abs=0.2)
    assert turns(2) == pytest.approx([24, 24], abs=0.2), "beyond patience no turn is taken"


def test_a_redis_that_fails_stops_no_mail(settings, unused_tcp_port):
    settings.REDIS_URL = f"redis://127.0.0.1:{unused_tcp_port}/0"
    settings.MAIL_INTERVAL, settings.CELERY_WORKER_CONCURRENCY = 1, 2
    assert turns(2) == pytest.approx([0, 2], abs=0.2)


@pytest.fixture
def unused_tcp_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as closed:
        return closed.getsockname()[1]


@pytest.mark.redis
def test_all_workers_share_one_rate(settings):
    with redis_database() as url:
        settings.REDIS_URL, settings.MAIL_INTERVAL = url, 5
        assert turns(5) == pytest.approx([0, 5, 10, 15, 20], abs=2)
        pace.client.cache_clear()  # another process
        assert turns(2) == pytest.approx([25, 25], abs=2)
    pace.client.cache_clear()


@pytest.mark.django_db
def test_a_mail_waits_for_its_turn(owed, monkeypatch):
    waited = []
    monkeypatch.setattr(pace, "take_turn", lambda: 1.5)
    monkeypatch.setattr(batch, "sleep", waited.append)
    assert send_welcome_emails(owed().pk).startswith("Sent")
    assert waited == [1.5]


@pytest.mark.django_db
def test_a_mail_whose_turn_is_far_off_leaves_its_worker_to_others(owed, monkeypatch):
    welcome = owed()
    monkeypatch.setattr(pace, "take_turn", lambda: 60.0)
    assert send_welcome_emails(welcome.pk).startswith(
        "Put off, as MAIL_RATE asks: 1. Next attempt at"
    )
    welcome.refresh_from_db()
    assert (welcome.state, welcome.attempts) == (WelcomeEmail.State.QUEUED, 0)
    assert welcome.hinted_at is None and mail.outbox == []
