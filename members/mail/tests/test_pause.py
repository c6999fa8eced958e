"""The switch: what stops all sending, and what lets it go on."""

from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
from django.core import mail
from django.db import OperationalError
from django.utils import timezone

from members.conftest import claim
from members.mail.reasons import ConfigurationError, RefusedError, TemporaryError
from members.mail.tasks import AttemptFailedError, send_welcome_emails, sweep_welcome_emails
from members.models import Dispatch, WelcomeEmail

State = WelcomeEmail.State
FAULT = ConfigurationError("The mail server refuses our login (535).", "535")
pytestmark = pytest.mark.django_db


class Clock:
    def __init__(self) -> None:
        self.now = timezone.now()

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **duration) -> None:
        self.now += timedelta(**duration)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timezone, "now", clock)
    return clock


def attempt(welcome: WelcomeEmail, failure: Exception | None = None) -> str:
    """The sentence that the task leaves."""
    with patch("members.mail.batch.deliver", side_effect=failure):
        try:
            sentence = send_welcome_emails(welcome.pk)
        except AttemptFailedError as error:
            sentence = str(error)
    welcome.refresh_from_db()
    return sentence


def is_paused() -> bool:
    return Dispatch.objects.pausing().exists()


def test_while_sending_is_paused_no_mail_goes_out_and_none_loses_an_attempt(owed, delay):
    welcome = owed()
    Dispatch.objects.pause("The backlog is looked through.", Dispatch.OPERATOR)
    assert attempt(welcome).startswith("Skipped, for sending is paused")
    assert (welcome.state, welcome.attempts) == (State.QUEUED, 0)
    sweep_welcome_emails()
    delay.assert_not_called()


def test_after_the_pause_the_mails_go_out_at_the_next_sweep(owed, delay):
    welcome = owed()
    Dispatch.objects.pause("", Dispatch.OPERATOR)
    attempt(welcome)  # its hint came during the pause, and is used up
    Dispatch.objects.resume()
    sweep_welcome_emails()
    delay.assert_called_once_with(welcome.pk)
    assert attempt(welcome).startswith("Sent")


def test_members_register_while_sending_is_paused(api, delay, django_capture_on_commit_callbacks):
    Dispatch.objects.pause("", Dispatch.OPERATOR)
    body = {"username": "ann", "email": "ann@example.org"}
    with django_capture_on_commit_callbacks(execute=True):
        assert api.post("/api/v1/members/register/", body).status_code == 201
    assert WelcomeEmail.objects.get().state == State.QUEUED


def test_a_fault_of_our_settings_pauses_all_and_burns_no_attempt(owed, clock, caplog):
    ann, bob = owed("ann"), owed("bob")
    sentence = attempt(ann, FAULT)
    assert (ann.state, ann.attempts, ann.last_error_code) == (State.QUEUED, 0, "535")
    until = clock.now + timedelta(minutes=5)
    assert sentence == f"{FAULT.reason} All sending pauses until {until:%H:%M:%S} UTC."
    dispatch = Dispatch.objects.current()
    assert (dispatch.pause_reason, dispatch.pause_code) == (FAULT.reason, "535")
    assert (dispatch.paused_at, dispatch.resume_at) == (clock.now, until)
    assert attempt(bob).startswith("Skipped")
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert errors == [f"Welcome e-mails cannot be sent: {FAULT.reason}"]


def test_after_a_fault_one_mail_is_tried_before_all_others(owed, clock, delay):
    ann, bob, cat = owed("ann"), owed("bob"), owed("cat")
    attempt(ann, FAULT)
    clock.forward(minutes=5)
    sweep_welcome_emails()
    assert delay.call_count == 1
    probe = claim(bob, "probe")
    assert probe and probe.is_probe
    assert claim(cat, "next") is None, "before the probe's result"
    assert is_paused()


def test_a_probe_that_succeeds_lets_all_others_go(owed, clock):
    ann, bob = owed("ann"), owed("bob")
    attempt(ann, FAULT)
    clock.forward(minutes=5)
    assert attempt(bob).startswith("Sent")
    assert Dispatch.objects.current().paused_at is None
    assert attempt(ann).startswith("Sent"), "nor does it wait for a time of its own"


def test_a_probe_whose_address_is_refused_shows_that_our_settings_are_right(owed, clock):
    ann, bob = owed("ann"), owed("bob")
    attempt(ann, FAULT)
    clock.forward(minutes=5)
    attempt(bob, RefusedError("No such user.", "550"))
    assert bob.state == State.FAILED
    assert attempt(ann).startswith("Sent")


@pytest.mark.parametrize("failure", [FAULT, TemporaryError("Unreachable.", "unreachable")])
def test_a_probe_that_fails_keeps_the_pause(owed, clock, failure):
    ann, bob = owed("ann"), owed("bob")
    attempt(ann, FAULT)
    clock.forward(minutes=5)
    attempt(bob, failure)
    assert is_paused()
    assert attempt(ann).startswith("Skipped")
    clock.forward(minutes=5)
    assert attempt(ann).startswith("Sent")


def test_the_next_pause_is_probed_by_another_mail(owed, clock, delay):
    """A mail that itself is what the server minds would else keep all others waiting for ever."""
    ann, bob = owed("ann"), owed("bob")
    clock.forward(seconds=1)
    attempt(ann, FAULT)
    clock.forward(minutes=5)
    sweep_welcome_emails()
    delay.assert_called_once_with(bob.pk)


def test_a_probe_whose_worker_died_is_followed_by_another(owed, clock):
    ann, bob = owed("ann"), owed("bob")
    attempt(ann, FAULT)
    clock.forward(minutes=5)
    assert claim(bob, "dies")
    clock.forward(minutes=5)
    assert attempt(ann).startswith("Sent")


def test_a_hint_at_a_mail_that_cannot_be_sent_takes_no_probe(owed, clock):
    ann, bob = owed("ann"), owed("bob", state=State.SENT)
    attempt(ann, FAULT)
    clock.forward(minutes=5)
    assert attempt(bob).startswith("Skipped")
    assert attempt(ann).startswith("Sent")


def test_neither_a_fault_nor_a_success_ends_what_an_operator_paused(owed):
    welcome = claim(owed(), "under way")
    Dispatch.objects.pause("Wait for me.", Dispatch.OPERATOR)
    Dispatch.objects.pause(FAULT.reason, FAULT.code, lasts=timedelta(minutes=5))
    Dispatch.objects.recovered()
    welcome.sent(timezone.now())
    WelcomeEmail.objects.record([welcome])
    dispatch = Dispatch.objects.current()
    assert (dispatch.pause_reason, dispatch.resume_at) == ("Wait for me.", None)
    assert is_paused()


def test_an_operators_pause_of_some_length_ends_for_all_at_once(owed, clock):
    ann, bob = owed("ann"), owed("bob")
    Dispatch.objects.pause("Lunch.", Dispatch.OPERATOR, lasts=timedelta(hours=1))
    clock.forward(hours=1)
    assert claim(ann, "a")
    assert claim(bob, "b")


def test_a_claim_asks_about_the_pause_in_the_same_statement(owed, django_assert_num_queries):
    welcome = owed()
    with django_assert_num_queries(2):  # claim, read
        claim(welcome, "a")


def test_parts_at_work_show_their_pulse(owed, clock, delay):
    sweep_welcome_emails()
    dispatch = Dispatch.objects.current()
    assert (dispatch.sweep_at, dispatch.worker_at) == (clock.now, clock.now)
    assert (dispatch.success_at, dispatch.beat_at) == (None, None)
    clock.forward(seconds=1)
    attempt(owed("ann"), RefusedError("No.", "550"))
    assert Dispatch.objects.current().worker_at == clock.now, "a failure shows a worker at work"
    assert Dispatch.objects.current().success_at is None
    attempt(owed("bob"))
    assert Dispatch.objects.current().success_at == clock.now


def test_the_pulse_costs_no_statement_for_each_mail(owed, django_assert_num_queries):
    ann, bob = owed("ann"), owed("bob")
    Dispatch.objects.current()
    send_welcome_emails(ann.pk)
    with django_assert_num_queries(3):  # claim, read, record
        send_welcome_emails(bob.pk)


def test_a_pulse_that_cannot_be_recorded_fails_no_mail(owed):
    welcome = owed()
    with patch("members.models.dispatch.DispatchQuerySet.seen", side_effect=OperationalError(2006)):
        assert send_welcome_emails(welcome.pk).startswith("Sent")
    assert len(mail.outbox) == 1
