"""What a killed process had sent is not sent again, and what it had not begun does not wait."""

import fcntl
from unittest.mock import Mock, patch

import pytest
from django.db import OperationalError
from django.utils import timezone

from members import ledger
from members.ledger import Ledger, of_the_dead
from members.models import WelcomeEmail
from members.tasks import send_welcome_emails, sweep_welcome_emails

State = WelcomeEmail.State
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def machine(settings, tmp_path):
    settings.DATA_DIR = tmp_path


def files() -> list[str]:
    return [path.suffix for path in ledger.folder().glob("*")]


@pytest.fixture
def killed(owed) -> list[int]:
    """Three claimed mails, of which one was sent when the process died."""
    at = timezone.now()
    ids = [owed(name).pk for name in ("ann", "bob", "cat")]
    WelcomeEmail.objects.claim(ids, "task", at)
    book = Ledger(at, ids)
    book.sent(ids[0])
    book.file.close()
    return ids


def test_a_finished_batch_leaves_nothing(owed):
    send_welcome_emails(owed().pk)
    assert files() == []


def test_what_the_dead_had_sent_is_recorded_and_the_rest_goes_on(killed, delay):
    assert sweep_welcome_emails().endswith("3 freed.")
    ann, bob, cat = WelcomeEmail.objects.order_by("pk")
    assert (ann.state, ann.attempts, ann.last_error) == (State.SENT, 1, "")
    assert (bob.state, bob.attempts, bob.last_error_code) == (State.QUEUED, 1, "worker-lost")
    assert (cat.state, cat.attempts, cat.last_error_code) == (State.QUEUED, 0, "")
    delay.assert_called_once_with(cat.pk)
    assert files() == []


def test_what_another_has_taken_since_is_left_to_it(killed, delay):
    WelcomeEmail.objects.update(claimed_at=timezone.now(), task_id="next")
    assert sweep_welcome_emails().endswith("0 freed.")
    assert set(WelcomeEmail.objects.values_list("state", flat=True)) == {State.SENDING}


def test_the_living_are_left_alone(owed):
    with Ledger(timezone.now(), [owed().pk]):
        assert list(of_the_dead()) == []
        assert files() == [".claim"]


def test_while_the_database_fails_the_ledger_is_kept(killed, delay):
    with (
        patch("members.models.welcome.persistently", side_effect=OperationalError(2006)),
        pytest.raises(OperationalError),
    ):
        sweep_welcome_emails()
    assert files() == [".claim"]
    assert sweep_welcome_emails().endswith("3 freed.")


def test_a_batch_that_could_not_be_recorded_keeps_its_ledger(owed):
    with (
        patch("members.models.welcome.persistently", side_effect=OperationalError(2006)),
        pytest.raises(OperationalError),
    ):
        send_welcome_emails(owed().pk)
    sweep_welcome_emails()
    assert WelcomeEmail.objects.get().state == State.SENT


@pytest.mark.parametrize(
    "content", ["", "[", '["today", [1]]\n', "7\n", '["2026-01-01", [1]]\n?\n']
)
def test_a_torn_ledger_is_thrown_away(content):
    ledger.folder().mkdir()
    (ledger.folder() / "torn.claim").write_text(content)
    assert list(of_the_dead()) == []
    assert files() == []


def test_a_disk_that_cannot_be_written_stops_no_mail(owed, settings, tmp_path, caplog):
    (tmp_path / "sending").write_text("a file where the folder should be")
    assert send_welcome_emails(owed().pk).startswith("Sent")
    assert "Mails are sent without a ledger" in caplog.text


def test_a_disk_that_fills_up_stops_no_mail_and_hands_none_to_others(owed):
    """A ledger that is closed and still there would be taken for a dead process's."""
    with Ledger(timezone.now(), [owed().pk]) as book:
        real, book.file = book.file, Mock(write=Mock(side_effect=OSError(28, "No space left")))
        book.sent(1)
        real.close()
        assert list(of_the_dead()) == []
        book.sent(2)
    assert files() == []


def test_a_lock_that_cannot_be_had_stops_no_mail(owed, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", Mock(side_effect=OSError("No locks available")))
    assert send_welcome_emails(owed().pk).startswith("Sent")
    assert files() == []
