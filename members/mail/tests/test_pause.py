"""The switch: what stops all sending, and what lets it go on."""

from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from django.utils import timezone

from members.conftest import claim
from members.mail import tasks
from members.mail.reasons import (
    ConfigurationError,
    PolicyError,
    RefusedError,
    TemporaryError,
    in_readers_words,
)
from members.mail.tasks import AttemptFailedError, send_welcome_emails, sweep_welcome_emails
from members.models import Dispatch, WelcomeEmail

State = WelcomeEmail.State
FAULT = ConfigurationError("The mail server refuses our login (535).", "535")
pytestmark = pytest.mark.django_db


class Clock:
    def __init__(self) -> None:
        self.now = timezone.now() + timedelta(minutes=1)  # rows are due by the true one

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
    """What the task tells."""
    with patch("members.mail.tasks.deliver", side_effect=failure):
        try:
            report = send_welcome_emails(welcome.pk)
        except AttemptFailedError as error:
            [report] = error.args
    welcome.refresh_from_db()
    return in_readers_words(report)


SENT, SKIPPED = "Welcome e-mails sent: 1.", tasks.SKIPPED % {"count": 1}


def is_paused() -> bool:
    return Dispatch.objects.pausing().exists()


def test_while_sending_is_paused_no_mail_goes_out_and_none_loses_an_attempt(owed, delay):
    welcome = owed()
    Dispatch.objects.pause("The backlog is looked through.", Dispatch.OPERATOR)
    assert attempt(welcome) == SKIPPED
    assert (welcome.state, welcome.attempts) == (State.QUEUED, 0)
    sweep_welcome_emails()
    delay.assert_not_called()


def test_after_the_pause_the_mails_go_out_at_the_next_sweep(owed, delay):
    welcome = owed()
    Dispatch.objects.pause("", Dispatch.OPERATOR)
    attempt(welcome)  # its message came during the pause, and is used up
    Dispatch.objects.resume()
    sweep_welcome_emails()
    delay.assert_called_once_with(welcome.pk)
    assert attempt(welcome) == SENT


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
    told = f"Welcome e-mail {ann.pk}: {FAULT.reason} Sending is paused until {until:%H:%M:%S} UTC."
    assert sentence == told
    dispatch = Dispatch.objects.current()
    assert (dispatch.pause_reason, dispatch.pause_code) == (FAULT.reason, "535")
    assert (dispatch.paused_at, dispatch.resume_at) == (clock.now, until)
    assert attempt(bob) == SKIPPED
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert errors == [f"Welcome e-mails cannot be sent: {FAULT.reason}"]


def test_after_a_faults_pause_the_next_mails_are_simply_tried(owed, clock, delay):
    ann, bob = owed("ann"), owed("bob")
    attempt(ann, FAULT)
    clock.forward(minutes=5, microseconds=-1)
    sweep_welcome_emails()
    delay.assert_not_called()
    assert attempt(bob) == SKIPPED
    clock.forward(microseconds=1)
    sweep_welcome_emails()
    delay.assert_called_once_with(bob.pk, ann.pk)
    assert attempt(bob) == SENT
    assert attempt(ann) == SENT, "nor does it wait for a time of its own"
    assert (ann.attempts, bob.attempts) == (1, 1)


def test_the_first_fault_after_it_pauses_again_and_burns_no_attempt(owed, clock):
    ann, bob = owed("ann"), owed("bob")
    for mail_of in (ann, bob, ann):
        attempt(mail_of, FAULT)
        assert (mail_of.state, mail_of.attempts) == (State.QUEUED, 0)
        assert Dispatch.objects.pausing().get().resume_at == clock.now + timedelta(minutes=5)
        clock.forward(minutes=5)
    assert [attempt["code"] for attempt in ann.journal] == ["535", "535"]


def test_the_mail_that_met_the_fault_goes_behind_all_others(owed, clock, delay):
    """One that itself is what the server minds would else keep all others waiting for ever."""
    ann, bob = owed("ann"), owed("bob")
    clock.forward(seconds=1)
    attempt(ann, FAULT)
    cat = owed("cat", next_attempt_at=clock.now - timedelta(microseconds=1))
    clock.forward(minutes=5)
    with patch("members.mail.tasks.deliver") as deliver:
        send_welcome_emails(ann.pk, bob.pk, cat.pk)
    assert [call.args[0] for call in deliver.call_args_list] == [bob, cat, ann]


def test_a_success_after_it_ends_the_alarm(owed, clock):
    ann, bob = owed("ann"), owed("bob")
    attempt(ann, FAULT)
    clock.forward(minutes=5)
    attempt(bob)
    dispatch = Dispatch.objects.current()
    assert (dispatch.paused_at, dispatch.resume_at) == (None, None)
    assert (dispatch.pause_reason, dispatch.pause_code) == ("", "")


@pytest.mark.parametrize(
    "failure",
    [FAULT, TemporaryError("Unreachable.", "unreachable"), RefusedError("No such user.", "550")],
)
def test_a_failure_after_it_does_not(owed, clock, failure):
    ann, bob = owed("ann"), owed("bob")
    attempt(ann, FAULT)
    clock.forward(minutes=5)
    attempt(bob, failure)
    assert Dispatch.objects.current().pause_code == "535"


def test_a_mail_that_was_on_its_way_does_not_end_the_pause(owed, clock):
    ann, bob = owed("ann"), owed("bob")

    def meanwhile(welcome):
        Dispatch.objects.pause(FAULT.reason, FAULT.code, lasts=timedelta(minutes=5))
        clock.forward(minutes=4, seconds=59)

    with patch("members.mail.tasks.deliver", meanwhile):
        send_welcome_emails(ann.pk)
    assert is_paused()
    assert attempt(bob) == SKIPPED


def test_neither_a_fault_nor_a_success_ends_what_an_operator_paused(owed, clock):
    welcome = claim(owed(), "under way")
    Dispatch.objects.pause("Wait for me.", Dispatch.OPERATOR)
    Dispatch.objects.pause(FAULT.reason, FAULT.code, lasts=timedelta(minutes=5))
    welcome.sent()
    clock.forward(days=1)
    Dispatch.objects.came_through()
    dispatch = Dispatch.objects.current()
    assert (dispatch.pause_reason, dispatch.resume_at) == ("Wait for me.", None)
    assert is_paused()


def test_a_fault_pauses_once_an_operator_has_resumed(owed, clock):
    Dispatch.objects.pause("Wait for me.", Dispatch.OPERATOR)
    Dispatch.objects.resume()
    assert Dispatch.objects.values_list(
        "paused_at", "resume_at", "pause_reason", "pause_code"
    ).get() == (None, None, "", "")
    Dispatch.objects.pause(FAULT.reason, FAULT.code, lasts=timedelta(minutes=5))
    assert Dispatch.objects.current().pause_code == "535"


def test_an_operator_may_pause_during_a_faults_pause(owed, clock):
    attempt(owed(), FAULT)
    Dispatch.objects.pause("Wait for me.", Dispatch.OPERATOR)
    clock.forward(minutes=5)
    assert is_paused()


def test_a_claim_asks_about_the_pause_in_the_same_statement(owed, django_assert_num_queries):
    welcome = owed()
    with django_assert_num_queries(2):  # read, claim
        claim(welcome, "a")


# --- One mail that the server does not take, while it takes others ---

POLICY = PolicyError("The mail server does not take our mail (550 5.7.1 no).", "policy")


def test_a_mail_that_alone_meets_a_fault_of_policy_counts_as_its_own_failure(owed, clock):
    ann, bob = owed("ann"), owed("bob")
    attempt(ann, POLICY)
    assert (ann.attempts, is_paused()) == (0, True), "the first time it may be ours"
    clock.forward(minutes=5)
    attempt(bob)
    assert f"{POLICY.reason} Attempt 1 failed. Next attempt at" in attempt(ann, POLICY)
    assert (ann.state, ann.attempts, is_paused()) == (State.QUEUED, 1, False)
    assert ann.next_attempt_at == clock.now + timedelta(seconds=10)


def test_it_is_given_up_in_the_end(owed, clock):
    ann, bob = owed("ann"), owed("bob")
    attempt(ann, POLICY)
    clock.forward(minutes=5)
    attempt(bob)
    for _ in range(len(WelcomeEmail.RETRY_WAITS) + 1):
        assert ann.state == State.QUEUED
        clock.forward(hours=1)
        attempt(ann, POLICY)
    assert (ann.state, ann.last_error_code) == (State.FAILED, "policy")
    assert not is_paused()


def test_a_success_of_the_same_batch_shows_it_too(owed, clock):
    ann, bob = owed("ann"), owed("bob")
    attempt(ann, POLICY)
    clock.forward(minutes=5)

    def deliver(welcome):
        if welcome.pk == ann.pk:
            raise POLICY

    with patch("members.mail.tasks.deliver", deliver), pytest.raises(AttemptFailedError):
        send_welcome_emails(ann.pk, bob.pk)
    ann.refresh_from_db()
    assert (ann.attempts, is_paused()) == (1, False)


@pytest.mark.parametrize(
    ("success", "fault"),
    [
        (None, POLICY),  # no mail has come through
        (timedelta(minutes=4, seconds=59), POLICY),  # it was on its way before the pause
        (timedelta(minutes=5), FAULT),  # a login is nobody's own
        (timedelta(minutes=5), PolicyError("Another.", "other")),
    ],
)
def test_else_it_is_ours(owed, clock, success, fault):
    ann = owed()
    attempt(ann, POLICY)
    if success:
        Dispatch.objects.update(success_at=clock.now + success)
    clock.forward(minutes=6)
    attempt(ann, fault)
    assert (ann.attempts, is_paused()) == (0, True)


def test_what_came_through_long_before_shows_nothing(owed, clock):
    attempt(owed("bob"))
    clock.forward(hours=1)
    ann = owed("ann")
    for _ in range(2):
        attempt(ann, POLICY)
        assert (ann.attempts, is_paused()) == (0, True)
        clock.forward(minutes=5)


def at(minutes: float) -> datetime:
    return datetime(2026, 1, 31, 12, tzinfo=UTC) + timedelta(minutes=minutes)


def journal(*attempts: tuple[str, float]) -> list[dict]:
    """Of codes and minutes; each attempt lasted one."""
    return [
        {"code": code, "started": at(end - 1).isoformat(), "ended": at(end).isoformat()}
        for code, end in attempts
    ]


@pytest.mark.parametrize(
    ("attempts", "success_at", "alone"),
    [
        ([("policy", 0)], None, False),
        ([], at(60), False),
        ([("451", 0)], at(60), False),
        ([("policy", 0)], at(5) - timedelta(microseconds=1), False),
        ([("policy", 0)], at(5), True),
        ([("policy", 0), ("policy", 6)], at(5), True),  # the first began the pause
        ([("policy", 0), ("451", 6), ("policy", 12)], at(16), False),  # another matter since
        ([("policy", 0), ("451", 6), ("policy", 12)], at(17), True),
        ([("policy", 0), ("451", 6)], at(60), False),
    ],
)
def test_whether_a_mail_fails_alone(attempts, success_at, alone):
    welcome = WelcomeEmail(journal=journal(*attempts))
    assert welcome.fails_alone("policy", success_at) is alone


# --- Heartbeats ---


def test_parts_at_work_show_their_heartbeat(owed, clock, delay):
    sweep_welcome_emails()
    dispatch = Dispatch.objects.current()
    assert (dispatch.sweep_at, dispatch.worker_at) == (clock.now, clock.now)
    assert (dispatch.success_at, dispatch.beat_at) == (None, None)
    clock.forward(seconds=1)
    attempt(owed("ann"), RefusedError("No.", "550"))
    assert Dispatch.objects.current().success_at is None
    attempt(owed("bob"))
    assert Dispatch.objects.current().success_at == clock.now
    assert Dispatch.objects.current().worker_at == clock.now


def test_successes_are_noted_every_five_seconds(owed, clock):
    Dispatch.objects.current()
    attempt(owed("ann"))
    first = clock.now
    for seconds, noted in ((4.9, first), (0.1, first + timedelta(seconds=5))):
        clock.forward(seconds=seconds)
        Dispatch.objects.came_through()
        assert Dispatch.objects.current().success_at == noted


def test_sending_is_paused_before_the_mail_is_due_again(owed, monkeypatch):
    """Else a sweep in between would enqueue it, and a worker try it, once more."""
    seen = []
    not_tried = WelcomeEmail.not_tried

    def look(welcome, *how):
        seen.append(is_paused())
        not_tried(welcome, *how)

    monkeypatch.setattr(WelcomeEmail, "not_tried", look)
    attempt(owed(), FAULT)
    assert seen == [True]
