"""Many mails in one task: one after the other, each recorded as it ends."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from unittest.mock import patch

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.core import mail
from django.db import DataError, OperationalError, connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from members.mail import tasks
from members.mail.delivery import deliver
from members.mail.reasons import ConfigurationError, RefusedError, TemporaryError, in_readers_words
from members.mail.tasks import MAX_MAILS_PER_TASK, AttemptFailedError, enqueue, send_welcome_emails
from members.models import Dispatch, WelcomeEmail

State = WelcomeEmail.State
pytestmark = pytest.mark.django_db

NAMES = ("ann", "bob", "cat", "dan")


@pytest.fixture
def ids(owed) -> list[int]:
    return [owed(name).pk for name in NAMES]


def run(ids: list[int], before: dict[str, Callable] | None = None) -> str:
    """What the task says; BEFORE the mail of a member something else happens."""

    def happen(welcome: WelcomeEmail) -> None:
        if act := (before or {}).get(welcome.member.username):
            act()
        deliver(welcome)

    with patch("members.mail.tasks.deliver", happen):
        try:
            return in_readers_words(send_welcome_emails(*ids))
        except AttemptFailedError as error:
            return f"Failed. {in_readers_words(*error.args)}"


def failing(error: Exception) -> Callable:
    def fail(*args: object) -> None:
        raise error

    return fail


def left() -> dict[str, tuple[str, int]]:
    rows = WelcomeEmail.objects.values_list("member__username", "state", "attempts").order_by("pk")
    return {name: (state, attempts) for name, state, attempts in rows}


def sent_to() -> list[str]:
    return [message.to[0].partition("@")[0] for message in mail.outbox]


def test_each_member_gets_a_mail_of_its_own(ids):
    assert run(ids) == "Welcome e-mails sent: 4."
    assert sent_to() == list(NAMES)
    assert set(left().values()) == {(State.SENT, 1)}
    for welcome in WelcomeEmail.objects.all():
        [attempt] = welcome.journal
        assert (attempt["state"], welcome.last_error) == ("sent", "")
        assert welcome.sent_at


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", [1, 2, 40])
def test_a_mail_costs_one_statement_and_a_batch_four_more(owed, clock, number):
    """Each is a round trip and a flush to disk, which takes longer than everything else."""
    ids = [owed(f"member{n}").pk for n in range(number)]
    Dispatch.objects.current()
    with CaptureQueriesContext(connection) as queries:
        run(ids)
    statements = Counter(query["sql"].split()[0] for query in queries)
    once = {"SELECT": 1, "UPDATE": 3}  # what is due; the first claim and the heartbeat
    assert statements == Counter(once) + Counter(UPDATE=number)


def test_messages_hold_so_many_mails_and_no_more(delay):
    enqueue(*range(MAX_MAILS_PER_TASK * 2 + 1))
    calls = [list(call.args) for call in delay.call_args_list]
    assert [len(ids) for ids in calls] == [MAX_MAILS_PER_TASK, MAX_MAILS_PER_TASK, 1]
    assert sum(calls, []) == list(range(MAX_MAILS_PER_TASK * 2 + 1))


def test_nothing_to_enqueue_is_no_message(delay):
    enqueue()
    delay.assert_not_called()


def test_a_mail_is_recorded_before_the_next_goes_out(ids):
    """And that one alone is claimed: a worker that is killed costs one mail a copy."""
    seen = []
    run(ids, dict.fromkeys(NAMES, lambda: seen.append([state for state, _ in left().values()])))
    for number, states in enumerate(seen):
        waiting = [State.QUEUED] * (3 - number)
        assert states == [State.SENT] * number + [State.SENDING, *waiting]


def test_a_mail_is_recorded_once(ids):
    run(ids[:2], {"bob": failing(RefusedError("No such user.", "550"))})
    ann, bob = WelcomeEmail.objects.filter(pk__in=ids[:2]).order_by("pk")
    assert ann.sent_at == bob.claimed_at, "by the statement that claimed the next, not again later"


def test_a_mail_that_waits_longer_goes_first(owed):
    now = timezone.now()
    late, early = owed("late"), owed("early", next_attempt_at=now - timedelta(hours=1))
    run([late.pk, early.pk])
    assert sent_to() == ["early", "late"]


def test_one_that_fails_stops_no_other(ids):
    refused = RefusedError("No such user.", "550")
    busy = TemporaryError("The mail server asks us to wait.", "451")
    words = run(ids, {"bob": failing(refused), "cat": failing(busy)})
    bob, cat = ids[1:3]
    later = WelcomeEmail.objects.get(pk=cat).next_attempt_at
    assert words == (
        f"Failed. Welcome e-mails sent: 2. Welcome e-mail {bob}: No such user. It won’t be retried. "
        f"Welcome e-mail {cat}: The mail server asks us to wait. Attempt 1 failed. "
        f"Next attempt at {later:%H:%M:%S} UTC."
    )
    assert left() == {
        "ann": (State.SENT, 1),
        "bob": (State.FAILED, 1),
        "cat": (State.QUEUED, 1),
        "dan": (State.SENT, 1),
    }


def test_what_went_wrong_before_is_not_forgotten(ids):
    WelcomeEmail.objects.filter(pk=ids[0]).update(attempts=1, journal=[{"state": "queued"}])
    run(ids)
    assert [len(w.journal) for w in WelcomeEmail.objects.order_by("pk")] == [2, 1, 1, 1]


SKIPPED = "Skipped (deleted, not due, paused, already sent or being sent)"


def test_a_fault_of_our_settings_leaves_the_others_waiting(ids, delay):
    fault = ConfigurationError("The mail server refuses our login (535).", "535")
    words = run(ids, {"bob": failing(fault)})
    assert f"{SKIPPED}: 2." in words
    assert left() == {"ann": (State.SENT, 1)} | dict.fromkeys(NAMES[1:], (State.QUEUED, 0))
    assert Dispatch.objects.pausing().exists()
    delay.assert_not_called()


class Clock:
    """Stands still but for what a mail takes, and for sleep."""

    def __init__(self, monkeypatch) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        monkeypatch.setattr(tasks, "monotonic", lambda: self.now)
        monkeypatch.setattr(tasks, "sleep", self.sleep)
        monkeypatch.setattr(tasks, "_next_turn", 0.0)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def forward(self, seconds: float) -> None:
        self.now += seconds

    def lasting(self, seconds: float) -> dict[str, Callable]:
        return dict.fromkeys(NAMES, lambda: self.forward(seconds))


@pytest.fixture
def clock(monkeypatch) -> Clock:
    return Clock(monkeypatch)


def pause() -> None:
    Dispatch.objects.pause("Wait.", Dispatch.OPERATOR)


def test_a_pause_stops_those_that_are_not_sent_yet(ids, clock):
    words = run(ids, {"bob": lambda: [pause(), clock.forward(1)]})
    assert words == f"Welcome e-mails sent: 2. {SKIPPED}: 2."
    assert sent_to() == ["ann", "bob"]
    assert left()["cat"] == left()["dan"] == (State.QUEUED, 0)
    assert set(WelcomeEmail.objects.filter(state="queued").values_list("enqueued_at")) == {(None,)}


def test_a_batch_looks_once_a_second_whether_sending_is_paused(
    ids, clock, django_assert_num_queries
):
    Dispatch.objects.current()
    with django_assert_num_queries(4 + len(ids)):
        run(ids, {"ann": lambda: clock.forward(0.99)})


def test_who_is_erased_meanwhile_gets_no_mail(ids):
    gone = WelcomeEmail.objects.get(pk=ids[2]).member
    assert run(ids, {"bob": gone.delete}) == f"Welcome e-mails sent: 3. {SKIPPED}: 1."
    assert sent_to() == ["ann", "bob", "dan"]


def steal(*ids: int, **columns) -> Callable:
    """Another worker has them now."""
    columns = {"state": State.SENDING, "attempts": 1, "task_id": "other"} | columns
    return lambda: WelcomeEmail.objects.filter(pk__in=ids).update(**columns)


def test_what_another_worker_has_meanwhile_is_its_own(ids):
    assert run(ids, {"bob": steal(*ids[2:])}) == f"Welcome e-mails sent: 2. {SKIPPED}: 2."
    assert sent_to() == ["ann", "bob"]
    rows = WelcomeEmail.objects.filter(pk__in=ids[2:])
    assert set(rows.values_list("state", "task_id", "attempts")) == {("sending", "other", 1)}


@pytest.mark.parametrize("changed", [{"attempts": 1}, {"claimed_at": timezone.now()}])
def test_what_another_worker_tried_meanwhile_is_read_anew(ids, changed):
    """Or its attempt would be missing in the journal, and its wait too short."""
    run(ids, {"bob": steal(ids[2], **{"state": State.QUEUED, "attempts": 0} | changed)})
    assert sent_to() == ["ann", "bob", "dan"]
    assert WelcomeEmail.objects.get(pk=ids[2]).enqueued_at is None, "the sweeper enqueues it"


def test_what_is_not_begun_in_time_is_left_to_the_next_task(ids, clock, delay):
    words = run(ids, clock.lasting(tasks.MAX_BATCH_SECONDS / 2))
    assert words == "Welcome e-mails sent: 2. Left for the next task: 2."
    assert left()["cat"] == (State.QUEUED, 0)
    assert WelcomeEmail.objects.take_due(9) == ids[2:], "the next sweep enqueues them"


def test_what_begins_just_in_time_is_sent(ids, clock, delay):
    assert run(ids[:2], {"ann": lambda: clock.forward(tasks.MAX_BATCH_SECONDS - 0.01)}) == (
        "Welcome e-mails sent: 2."
    )
    delay.assert_not_called()


def test_an_attempt_ends_well_before_its_claim(settings):
    longest = timedelta(seconds=settings.CELERY_TASK_SOFT_TIME_LIMIT)
    assert longest * 2 < WelcomeEmail.objects.all().CLAIM_TIMEOUT


def test_a_process_keeps_the_pace_of_mail_rate(ids, clock, settings):
    settings.MAIL_INTERVAL = 0.5
    start = clock.now
    at = []
    run(ids, dict.fromkeys(NAMES, lambda: at.append(clock.now - start)))
    assert at == [0, 0.5, 1, 1.5]
    assert sum(clock.slept) == 1.5


def test_a_mail_is_recorded_before_the_wait_for_the_next(ids, clock, settings, monkeypatch):
    settings.MAIL_INTERVAL = 0.5
    seen = []
    monkeypatch.setattr(tasks, "sleep", lambda _: seen.append(set(left().values())))
    run(ids[:2])
    assert seen == [{(State.SENT, 1), (State.QUEUED, 0)}]


def test_the_pace_is_kept_from_task_to_task(ids, clock, settings):
    settings.MAIL_INTERVAL = 0.5
    run(ids[:1])
    clock.forward(0.2)
    run(ids[1:2])
    assert clock.slept == [pytest.approx(0.3)]


def test_without_a_rate_nobody_sleeps(ids, clock):
    run(ids)
    assert clock.slept == []


def test_time_that_was_not_used_is_not_made_up_for(ids, clock, settings):
    settings.MAIL_INTERVAL = 0.5
    run(ids[:1])
    clock.forward(60)
    run(ids[1:])
    assert clock.slept == [0.5, 0.5]


def test_nobody_sleeps_for_a_turn_that_comes_too_late(ids, clock, settings):
    settings.MAIL_INTERVAL = tasks.MAX_BATCH_SECONDS
    assert run(ids) == "Welcome e-mails sent: 1. Left for the next task: 3."
    bob = WelcomeEmail.objects.get(pk=ids[1])
    assert (bob.state, bob.attempts, bob.enqueued_at) == (State.QUEUED, 0, None)
    assert clock.slept == []


def test_after_a_sleep_for_the_rate_a_pause_is_noticed(ids, clock, settings):
    settings.MAIL_INTERVAL = 10
    assert run(ids, {"ann": pause}) == f"Welcome e-mails sent: 1. {SKIPPED}: 3."
    assert clock.slept == [10], "what is not sent takes no turn"


def test_whatever_breaks_a_task_what_is_not_begun_waits(ids):
    with pytest.raises(ZeroDivisionError):
        run(ids, {"cat": lambda: 1 / 0})
    assert left() == {
        "ann": (State.SENT, 1),
        "bob": (State.SENT, 1),
        "cat": (State.SENDING, 1),
        "dan": (State.QUEUED, 0),
    }


@contextmanager
def failing_once(error: Exception, sql: str, at: int = 1, does: bool = False) -> Iterator[None]:
    """The statement that contains this fails the at-th time; if it `does`, its answer is lost."""
    statements = []

    def execute(execute, statement, *args):
        if sql in statement:
            statements.append(statement)
            if len(statements) == at:
                if does:
                    execute(statement, *args)
                raise error
        return execute(statement, *args)

    with connection.execute_wrapper(execute):
        yield
    assert len(statements) > at


@pytest.fixture
def no_wait(monkeypatch) -> None:
    Dispatch.objects.current()
    monkeypatch.setattr("project.base.database.time.sleep", lambda seconds: None)
    monkeypatch.setattr("project.base.database.connection.close", lambda: None)


AWAY = OperationalError(2006, "gone away")
LOCKED = OperationalError(1213, "Deadlock found when trying to get lock")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [AWAY, LOCKED, SoftTimeLimitExceeded()])
@pytest.mark.parametrize("does", [False, True])
@pytest.mark.parametrize(
    ("sql", "at"),
    [
        ("SELECT", 1),  # the batch is read
        ("UPDATE", 1),  # the first mail is claimed
        ("UPDATE", 2),  # it is recorded, with the claim of the second
        ("UPDATE", 5),  # the last is recorded
    ],
)
def test_a_batch_goes_on_once_the_database_is_back(ids, clock, no_wait, sql, at, does, error):
    with failing_once(error, sql, at, does):
        assert run(ids) == "Welcome e-mails sent: 4."
    assert sent_to() == list(NAMES)
    assert set(left().values()) == {(State.SENT, 1)}
    assert [len(w.journal) for w in WelcomeEmail.objects.all()] == [1] * 4


@pytest.mark.django_db(transaction=True)
def test_a_claim_that_fails_takes_no_record_with_it(ids, clock):
    with failing_once(DataError(1406), "UPDATE", 2), pytest.raises(DataError):
        run(ids)
    assert left() == {"ann": (State.SENT, 1)} | dict.fromkeys(NAMES[1:], (State.QUEUED, 0))


@pytest.mark.parametrize("member", [0, 1])
def test_of_two_rows_the_one_that_is_erased_holds_up_no_other(ids, member):
    """The one that was just sent, or the one whose turn it is."""
    gone = WelcomeEmail.objects.get(pk=ids[member]).member
    run(ids, {"ann": gone.delete})
    kept = [name for name in NAMES if name != NAMES[member]]
    assert left() == dict.fromkeys(kept, (State.SENT, 1))
    assert sent_to() == [name for name in NAMES if name in kept or not member]


def test_whatever_breaks_a_task_what_was_sent_is_recorded(ids, clock):
    look = patch.object(QuerySet, "exists", failing(ZeroDivisionError()))
    with look, pytest.raises(ZeroDivisionError):
        run(ids, {"ann": lambda: clock.forward(1)})
    assert left() == {"ann": (State.SENT, 1)} | dict.fromkeys(NAMES[1:], (State.QUEUED, 0))
