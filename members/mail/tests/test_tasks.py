"""send_welcome_emails(): one attempt, and where it leaves the row."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
from django.core import mail
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from members.conftest import claim
from members.mail import tasks
from members.mail.actions import CANCEL, HOLD, RELEASE, SEND_AGAIN
from members.mail.reasons import RefusedError, RenderingError, TemporaryError, in_readers_words
from members.mail.tasks import AttemptFailedError, send_welcome_emails
from members.models import WelcomeEmail, new_message_id
from project.celery import app

State = WelcomeEmail.State
pytestmark = pytest.mark.django_db

LATER = TemporaryError("The mail server asks us to wait (451 later).", "451")


def attempt(welcome: WelcomeEmail, failure: Exception | None = None) -> str:
    """Run the task; the sentence that it leaves for the operator."""
    with patch("members.mail.tasks.deliver", side_effect=failure) as deliver:
        try:
            report = send_welcome_emails.apply(args=[welcome.pk], throw=True).result
        except AttemptFailedError as error:
            [report] = error.args
    assert deliver.called
    welcome.refresh_from_db()
    return in_readers_words(report)


@pytest.fixture
def seconds_until(monkeypatch) -> Callable[[datetime], float]:
    """How long until then, by a clock that stands still."""
    now = timezone.now() + timedelta(minutes=1)  # what is created later is due by then
    monkeypatch.setattr(timezone, "now", lambda: now)
    return lambda moment: (moment - now).total_seconds()


SENT, SKIPPED = ([[text, {"count": 1}]] for text in (tasks.SENT, tasks.SKIPPED))


def test_a_mail_is_sent_once_and_recorded(owed):
    welcome = owed()
    assert send_welcome_emails.apply(args=[welcome.pk], task_id="first").get() == SENT
    assert send_welcome_emails.apply(args=[welcome.pk]).get() == SKIPPED
    assert [message.to for message in mail.outbox] == [["ann@example.org"]]
    welcome.refresh_from_db()
    assert (welcome.state, welcome.attempts, welcome.task_id) == (State.SENT, 1, "first")
    assert welcome.sent_at and welcome.claimed_at


@pytest.mark.parametrize("state", [s for s in State if s != State.QUEUED])
def test_only_a_waiting_mail_is_sent(owed, state):
    welcome = owed(state=state)
    assert send_welcome_emails(welcome.pk) == SKIPPED
    assert mail.outbox == []


def test_a_mail_is_sent_from_its_time_on(owed, monkeypatch):
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    later = owed("bob", next_attempt_at=now + timedelta(microseconds=1))
    assert send_welcome_emails(later.pk) == SKIPPED
    assert send_welcome_emails(owed("ann", next_attempt_at=now).pk) == SENT


def test_the_message_of_a_mail_that_is_skipped_is_used_up(owed):
    """Else the sweeper would take it for one on its way, when the mail is due."""
    later = owed("bob", next_attempt_at=timezone.now() + timedelta(seconds=10))
    ann, cat = owed("ann"), owed("cat", state=State.HELD)
    send_welcome_emails(ann.pk, later.pk, cat.pk)
    rows = dict(WelcomeEmail.objects.values_list("member__username", "enqueued_at"))
    assert rows["bob"] is None
    assert rows["ann"] and rows["cat"]


def test_the_mail_of_a_removed_member_is_no_error(owed):
    welcome = owed()
    welcome.member.delete()
    assert send_welcome_emails(welcome.pk or 1) == SKIPPED


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
        assert sentence.startswith(f"Welcome e-mail {welcome.pk}: {LATER.reason} ")
        if welcome.state == State.QUEUED:
            waits.append(seconds_until(welcome.next_attempt_at))
            assert (
                f"Attempt {welcome.attempts} failed. Next attempt at {welcome.next_attempt_at:%H:%M:%S} UTC."
                in sentence
            )
            assert welcome.enqueued_at is None, "the sweeper enqueues it when it is due"
    assert waits == [10, 30, 60, 300, 900, *[3600] * 23]
    assert welcome.attempts == 29
    assert welcome.state == State.FAILED
    assert sentence.endswith("It won’t be retried.")
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
    assert sentence == f"Welcome e-mail {welcome.pk}: Never. It won’t be retried."
    assert (welcome.state, welcome.last_error, welcome.last_error_code) == (
        State.FAILED,
        "Never.",
        "550",
    )


def test_success_clears_the_last_error(owed):
    welcome = owed(last_error="before", last_error_code="451")
    attempt(welcome)
    assert (welcome.state, welcome.last_error, welcome.last_error_code) == (State.SENT, "", "")


ENDS = {
    "fail": lambda welcome: welcome.fail("too late", "550"),
    "retry": lambda welcome: welcome.retry("too late", "451"),
    "not_tried": lambda welcome: welcome.not_tried("too late", "535"),
    "sent": lambda welcome: welcome.sent(),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("theirs", ["task_id", "claimed_at"])
def test_who_lost_his_claim_overwrites_nothing(owed, end, theirs):
    welcome = owed()
    mine = claim(welcome, "slow")
    other = {"task_id": "next", "claimed_at": timezone.now() + timedelta(minutes=6)}
    WelcomeEmail.objects.update(**{theirs: other[theirs]})
    before = WelcomeEmail.objects.values().get()
    ENDS[end](mine)
    assert WelcomeEmail.objects.values().get() == before


@pytest.mark.parametrize("end", ENDS)
def test_an_end_is_recorded_in_its_own_row_alone(owed, end):
    welcome, other = claim(owed("ann"), "task"), owed("bob")
    WelcomeEmail.objects.filter(pk=other.pk).update(
        state=State.SENDING, task_id="task", claimed_at=welcome.claimed_at
    )
    ENDS[end](welcome)
    other.refresh_from_db()
    assert (other.state, other.journal) == (State.SENDING, [])
    welcome.refresh_from_db()
    assert len(welcome.journal) == 1


@pytest.mark.parametrize("end", [end for end in ENDS if end != "sent"])
@pytest.mark.parametrize("state", [s for s in State if s != State.SENDING])
def test_what_was_freed_meanwhile_keeps_what_was_decided(owed, end, state):
    welcome = claim(owed(), "slow")
    WelcomeEmail.objects.update(state=state)
    ENDS[end](welcome)
    welcome.refresh_from_db()
    assert (welcome.state, welcome.journal) == (state, [])


@pytest.mark.parametrize("state", State)
def test_what_the_mail_server_took_is_sent_whatever_was_decided_meanwhile(owed, state):
    welcome = claim(owed(), "slow")
    WelcomeEmail.objects.update(state=state)
    assert welcome.sent()
    welcome.refresh_from_db()
    assert (welcome.state, len(welcome.journal)) == (State.SENT, 1)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", ENDS)
def test_an_end_is_recorded_once_the_database_is_back(owed, end, monkeypatch):
    """What went out and is not recorded would go out again."""
    welcome = claim(owed(), "t")
    faults = [OperationalError(2006, "gone away"), OperationalError(1290, "read only")]

    def fails_twice(execute, *args):
        if faults:
            raise faults.pop()
        return execute(*args)

    monkeypatch.setattr("project.base.database.time.sleep", lambda seconds: None)
    monkeypatch.setattr("project.base.database.connection.close", lambda: None)
    with connection.execute_wrapper(fails_twice):
        ENDS[end](welcome)
    assert faults == []
    welcome.refresh_from_db()
    assert welcome.state != State.SENDING


def test_one_is_recorded_and_the_next_claimed_without_a_trace_in_each_other(owed):
    before = timezone.now() - timedelta(days=1)
    tried = {"attempts": 2, "claimed_at": before, "sent_at": before, "journal": [{"state": "sent"}]}
    ann, bob, cat = (
        owed("ann"),
        owed("bob", **tried, last_error="No.", last_error_code="451"),
        owed("cat"),
    )
    ann = claim(ann, "t")
    assert ann and bob.claim("t", ann)
    rows = {w.pk: w for w in WelcomeEmail.objects.all()}
    sent, claimed, other = (rows[w.pk] for w in (ann, bob, cat))
    assert (sent.state, sent.attempts, sent.claimed_at) == (State.SENT, 1, ann.claimed_at)
    assert (sent.task_id, sent.sent_at, len(sent.journal)) == ("t", claimed.claimed_at, 1)
    assert (claimed.state, claimed.attempts, claimed.task_id) == (State.SENDING, 3, "t")
    assert (claimed.sent_at, claimed.journal) == (before, [{"state": "sent"}])
    assert (bob.attempts, bob.claimed_at, bob.task_id) == (3, claimed.claimed_at, "t")
    assert (claimed.last_error, claimed.last_error_code) == ("No.", "451")
    assert (other.state, other.task_id, other.journal) == (State.QUEUED, None, [])


@pytest.mark.parametrize("state", [s for s in State if s != State.QUEUED])
def test_only_what_waits_is_claimed(owed, state):
    ann, bob = claim(owed("ann"), "t"), owed("bob", state=state)
    assert not bob.claim("t", ann)
    ann.refresh_from_db()
    assert ann.state == State.SENT
    assert WelcomeEmail.objects.get(pk=bob.pk).state == state


def test_a_row_that_is_gone_is_no_error(owed):
    welcome = claim(owed(), "t")
    WelcomeEmail.objects.all().delete()
    assert not welcome.sent()


def test_the_journal_tells_of_each_attempt(owed, seconds_until):
    welcome = claim(owed(), "t")
    before = welcome.claimed_at
    welcome.fail("No.", "550")
    welcome.refresh_from_db()
    [attempt] = welcome.journal
    assert (attempt["task"], attempt["state"]) == ("t", "failed")
    assert (attempt["reason"], attempt["code"]) == ("No.", "550")
    started = datetime.fromisoformat(attempt["started"])
    assert (started - before).total_seconds() == pytest.approx(0, abs=0.001)
    assert seconds_until(datetime.fromisoformat(attempt["ended"])) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("end", ["fail", "retry", "not_tried"])
def test_a_long_reason_is_cut_to_its_column(owed, end):
    welcome = claim(owed(), "t")
    getattr(welcome, end)("x" * 501, "550")
    welcome.refresh_from_db()
    assert welcome.last_error == "x" * 500


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


def test_their_names_are_those_of_stored_results_and_waiting_messages():
    assert send_welcome_emails.name == "members.tasks.send_welcome_emails"
    assert app.tasks["members.tasks.send_welcome_emails"] is not None


def test_sending_again_starts_the_timetable_anew(owed):
    bob = owed("bob", state=State.FAILED, attempts=29, last_error="Never.", last_error_code="550")
    owed("cat", state=State.HELD)
    assert SEND_AGAIN.apply(WelcomeEmail.objects.all()) == [bob.pk]
    bob.refresh_from_db()
    assert (bob.state, bob.attempts) == (State.QUEUED, 0)
    assert (bob.last_error, bob.last_error_code) == ("", "")
    assert bob.queued_at == bob.next_attempt_at == bob.enqueued_at


def test_what_is_sent_again_or_released_is_enqueued_once(owed):
    """By whoever does so, not by a sweep in between."""
    bob = owed("bob", state=State.FAILED, next_attempt_at=timezone.now() - timedelta(days=1))
    cat = owed("cat", state=State.HELD, enqueued_at=None)
    assert SEND_AGAIN.apply(WelcomeEmail.objects.all()) == [bob.pk]
    assert RELEASE.apply(WelcomeEmail.objects.all()) == [cat.pk]
    assert WelcomeEmail.objects.take_due(9) == []


def test_all_attempts_and_a_sending_again_carry_one_message_id(owed, seconds_until):
    """A mailbox that got the mail before may then tell that this is the same."""
    welcome = owed()
    before = welcome.message_id
    WelcomeEmail.objects.update(next_attempt_at=timezone.now())
    attempt(welcome, LATER)
    SEND_AGAIN.apply(WelcomeEmail.objects.all())
    attempt(welcome)
    assert (welcome.state, welcome.message_id) == (State.SENT, before)
    assert owed("bob").message_id != before


@pytest.mark.parametrize(
    ("sender", "domain"),
    [
        ("desk@example.org", "example.org"),
        ("The desk <desk@mail.example.org>", "mail.example.org"),
        ("", "localhost"),
    ],
)
def test_a_message_id_is_of_the_senders_domain(settings, sender, domain):
    settings.DEFAULT_FROM_EMAIL = sender
    assert re.fullmatch(rf"<welcome\.[0-9a-f]{{32}}@{re.escape(domain)}>", new_message_id())


def test_a_mail_is_sent_when_the_server_took_it_and_not_when_it_was_claimed(owed, monkeypatch):
    welcome = claim(owed(), "t")
    now = welcome.claimed_at + timedelta(seconds=40)
    monkeypatch.setattr(timezone, "now", lambda: now)
    welcome.sent()
    welcome.refresh_from_db()
    assert welcome.sent_at == now


def test_the_limits_of_a_journal_and_of_patience():
    assert (WelcomeEmail.MAX_JOURNAL, WelcomeEmail.RECORD_RETRY_SECONDS) == (60, 1800)


@pytest.mark.parametrize("end", [[RELEASE], [CANCEL, HOLD]])
def test_what_is_held_keeps_its_place_in_the_timetable(owed, end):
    later = timezone.now() + timedelta(hours=1)
    welcome = owed(attempts=5, next_attempt_at=later, last_error="No.", last_error_code="451")
    HOLD.apply(WelcomeEmail.objects.all())
    for action in end:
        action.apply(WelcomeEmail.objects.all())
    welcome.refresh_from_db()
    assert (welcome.attempts, welcome.next_attempt_at) == (5, later)
    assert (welcome.last_error, welcome.last_error_code) == ("No.", "451")


@pytest.mark.mysql
def test_a_row_is_locked_between_the_question_and_the_action(owed):
    owed()
    with CaptureQueriesContext(connection) as queries:
        HOLD.apply(WelcomeEmail.objects.all())
    assert any("FOR UPDATE" in query["sql"] for query in queries)
