"""send_welcome_emails(): one attempt, and where it leaves the row."""

from collections.abc import Callable
from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
from django.core import mail
from django.utils import timezone

from members.conftest import claim
from members.mail.reasons import RefusedError, RenderingError, TemporaryError
from members.mail.tasks import AttemptFailedError, send_welcome_emails
from members.models import WelcomeEmail

State = WelcomeEmail.State
pytestmark = pytest.mark.django_db

LATER = TemporaryError("The mail server asks us to wait (451 later).", "451")


def attempt(welcome: WelcomeEmail, failure: Exception | None = None) -> str:
    """Run the task; the sentence that it leaves for the operator."""
    with patch("members.mail.batch.deliver", side_effect=failure) as deliver:
        try:
            sentence = send_welcome_emails.apply(args=[welcome.pk], throw=True).result
        except AttemptFailedError as error:
            sentence = str(error)
    assert deliver.called
    welcome.refresh_from_db()
    return sentence


@pytest.fixture
def seconds_until(monkeypatch) -> Callable[[datetime], float]:
    """How long until then, by a clock that stands still."""
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    return lambda moment: (moment - now).total_seconds()


def test_a_mail_is_sent_once_and_recorded(owed):
    welcome = owed()
    sentence = send_welcome_emails.apply(args=[welcome.pk], task_id="first").get()
    assert sentence == f"Sent welcome e-mail {welcome.pk} to member {welcome.member_id}."
    again = send_welcome_emails.apply(args=[welcome.pk]).get()
    assert again == "Skipped, for it is gone, not due, sent or being sent: 1."
    assert [message.to for message in mail.outbox] == [["ann@example.org"]]
    welcome.refresh_from_db()
    assert (welcome.state, welcome.attempts, welcome.task_id) == (State.SENT, 1, "first")
    assert welcome.sent_at and welcome.claimed_at


@pytest.mark.parametrize("state", [s for s in State if s != State.QUEUED])
def test_only_a_waiting_mail_is_sent(owed, state):
    welcome = owed(state=state)
    assert send_welcome_emails(welcome.pk).startswith("Skipped")
    assert mail.outbox == []


def test_a_mail_is_not_sent_before_its_time(owed):
    welcome = owed(next_attempt_at=timezone.now() + timedelta(seconds=10))
    assert send_welcome_emails(welcome.pk).startswith("Skipped")


def test_a_clock_slightly_ahead_does_not_delay_the_first_attempt(owed):
    welcome = owed(next_attempt_at=timezone.now() + timedelta(seconds=3))
    assert send_welcome_emails(welcome.pk).startswith("Sent")


def test_the_mail_of_a_removed_member_is_no_error(owed):
    welcome = owed()
    welcome.member.delete()
    assert send_welcome_emails(welcome.pk or 1).startswith("Skipped")


def test_a_member_removed_right_after_the_claim_is_no_error(owed):
    welcome = owed()
    with patch.object(
        WelcomeEmail.objects._queryset_class, "claimed", lambda self, *_: self.none()
    ):
        assert claim(welcome) is None


def test_of_two_claims_one_succeeds(owed):
    welcome = owed()
    assert claim(welcome, "a")
    assert claim(welcome, "b") is None
    welcome.refresh_from_db()
    assert (welcome.task_id, welcome.attempts) == ("a", 1)


def test_the_timetable(owed, seconds_until):
    welcome = owed()
    waits = []
    while welcome.state == State.QUEUED:
        WelcomeEmail.objects.update(next_attempt_at=timezone.now())
        sentence = attempt(welcome, LATER)
        assert sentence.startswith(f"{LATER.reason} Attempt {welcome.attempts} failed.")
        if welcome.state == State.QUEUED:
            waits.append(seconds_until(welcome.next_attempt_at))
            assert f"Next attempt at {welcome.next_attempt_at:%H:%M:%S} UTC." in sentence
            assert welcome.enqueued_at is None, "the sweeper hints at it when it is due"
    assert waits[:6] == [10, 30, 60, 300, 900, 3600]
    assert set(waits[6:]) == {3600}
    assert 23 * 3600 < sum(waits) <= 24 * 3600
    assert welcome.state == State.FAILED
    assert sentence.endswith("Given up: this was the last attempt.")
    assert (welcome.last_error, welcome.last_error_code) == (LATER.reason, "451")


def test_an_outage_of_days_costs_no_attempts(owed, seconds_until):
    welcome = owed(queued_at=timezone.now() - timedelta(days=3))
    attempt(welcome, LATER)
    assert welcome.state == State.QUEUED
    assert seconds_until(welcome.next_attempt_at) == 10


@pytest.mark.parametrize("kind", [RefusedError, RenderingError])
def test_what_will_never_do_is_not_tried_again(owed, kind):
    welcome = owed()
    sentence = attempt(welcome, kind("Never.", "550"))
    assert sentence == "Never. Not tried again."
    assert (welcome.state, welcome.last_error, welcome.last_error_code) == (
        State.FAILED,
        "Never.",
        "550",
    )


def test_success_clears_the_last_error(owed):
    welcome = owed(last_error="before", last_error_code="451")
    attempt(welcome)
    assert (welcome.state, welcome.last_error, welcome.last_error_code) == (State.SENT, "", "")


def test_a_worker_that_lost_its_claim_records_nothing(owed):
    welcome = owed()
    mine = claim(welcome, "slow")
    WelcomeEmail.objects.update(claimed_at=timezone.now() + timedelta(minutes=6), task_id="next")
    mine.fail("too late", "550")
    WelcomeEmail.objects.record([mine])
    welcome.refresh_from_db()
    assert (welcome.state, welcome.task_id) == (State.SENDING, "next")


def test_a_failed_attempt_shows_no_trace_of_what_caused_it(owed):
    """Not even the chained exceptions, whose text may hold the address."""
    welcome = owed()
    with patch(
        "members.mail.delivery.EmailMultiAlternatives.send", side_effect=OSError("ann@x.org")
    ):
        result = send_welcome_emails.apply(args=[welcome.pk])
    assert isinstance(result.result, AttemptFailedError)
    assert "ann@" not in result.traceback + str(result.result)
    assert "OSError" not in result.traceback
    assert "TemporaryError" not in result.traceback


def test_sending_again_starts_the_timetable_anew(owed):
    bob = owed("bob", state=State.FAILED, attempts=29, last_error="Never.", last_error_code="550")
    owed("cat", state=State.HELD)
    assert WelcomeEmail.objects.send_again() == [bob.pk]
    bob.refresh_from_db()
    assert (bob.state, bob.attempts, bob.last_error) == (State.QUEUED, 0, "")
    assert WelcomeEmail.objects.take_due(most=9) == [bob.pk]
