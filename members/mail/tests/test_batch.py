"""Many mails in one task: one after the other, each recorded as it ends."""

from collections.abc import Callable
from datetime import timedelta
from unittest.mock import patch

import pytest
from django.core import mail
from django.db import OperationalError
from django.utils import timezone

from members.mail import tasks
from members.mail.delivery import deliver
from members.mail.models import DispatchQuerySet, WelcomeEmailQuerySet
from members.mail.reasons import ConfigurationError, RefusedError, TemporaryError
from members.mail.tasks import BATCH_SIZE, AttemptFailedError, enqueue, send_welcome_emails
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
            return send_welcome_emails(*ids)
        except AttemptFailedError as error:
            return f"Failed. {error}"


def failing(error: Exception) -> Callable:
    def fail() -> None:
        raise error

    return fail


def left() -> dict[str, tuple[str, int]]:
    rows = WelcomeEmail.objects.values_list("member__username", "state", "attempts")
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


@pytest.mark.parametrize("number", [1, 2, 40])
def test_a_mail_costs_one_statement_and_a_batch_two_more(
    owed, clock, number, django_assert_num_queries
):
    ids = [owed(f"member{n}").pk for n in range(number)]
    Dispatch.objects.current()
    run([owed().pk])  # the heartbeat
    with django_assert_num_queries(2 + number):  # claim, read; record each
        run(ids)


def test_messages_hold_so_many_mails_and_no_more(delay):
    assert enqueue(*range(BATCH_SIZE * 2 + 1))
    calls = [list(call.args) for call in delay.call_args_list]
    assert [len(ids) for ids in calls] == [BATCH_SIZE, BATCH_SIZE, 1]
    assert sum(calls, []) == list(range(BATCH_SIZE * 2 + 1))


def test_nothing_to_enqueue_is_no_message(delay):
    assert enqueue()
    delay.assert_not_called()


def test_a_mail_is_recorded_before_the_next_goes_out(ids):
    states = []
    run(ids, dict.fromkeys(NAMES, lambda: states.append([state for state, _ in left().values()])))
    assert [row.count(State.SENT) for row in states] == [0, 1, 2, 3]


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


def test_a_fault_of_our_settings_gives_the_others_back(ids, delay):
    fault = ConfigurationError("The mail server refuses our login (535).", "535")
    words = run(ids, {"bob": failing(fault)})
    assert words.endswith("Returned to the queue because sending is paused: 2.")
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


def both(*acts: Callable) -> Callable:
    return lambda: [act() for act in acts]


def pause() -> None:
    Dispatch.objects.pause("Wait.", Dispatch.OPERATOR)


def test_a_pause_stops_those_that_are_not_sent_yet(ids, clock):
    words = run(ids, {"bob": both(pause, lambda: clock.forward(1))})
    assert words == "Welcome e-mails sent: 2. Returned to the queue because sending is paused: 2."
    assert sent_to() == ["ann", "bob"]
    assert left()["cat"] == left()["dan"] == (State.QUEUED, 0)
    assert set(WelcomeEmail.objects.filter(state="queued").values_list("enqueued_at")) == {(None,)}


def test_a_batch_looks_around_once_a_second(ids, clock, django_assert_num_queries):
    Dispatch.objects.current()
    run([ids.pop()])
    with django_assert_num_queries(2 + 3):
        run(ids, {"ann": lambda: clock.forward(0.99)})


def test_who_is_erased_meanwhile_gets_no_mail(ids, clock):
    gone = WelcomeEmail.objects.get(pk=ids[2]).member
    assert run(ids, {"bob": both(gone.delete, lambda: clock.forward(1))}) == (
        "Welcome e-mails sent: 3."
    )
    assert sent_to() == ["ann", "bob", "dan"]


def steal(*ids: int) -> Callable:
    """The sweeper freed them, and another worker has them now."""
    at = timezone.now() + timedelta(minutes=6)
    return lambda: WelcomeEmail.objects.filter(pk__in=ids).update(task_id="other", claimed_at=at)


def test_who_lost_his_claim_goes_on_with_nothing(ids, clock):
    assert run(ids, {"bob": steal(*ids[1:])}) == "Welcome e-mails sent: 2."
    assert sent_to() == ["ann", "bob"], "the mail in flight is the one that may come twice"
    rows = WelcomeEmail.objects.filter(pk__in=ids[1:])
    assert set(rows.values_list("state", "task_id", "attempts")) == {("sending", "other", 1)}


def test_what_is_given_back_is_not_taken_from_another(ids):
    words = run(ids, {"bob": both(steal(ids[2]), failing(ConfigurationError("No.", "535")))})
    assert words.endswith("Returned to the queue because sending is paused: 2.")
    assert left()["cat"] == (State.SENDING, 1)
    assert left()["dan"] == (State.QUEUED, 0)


def test_what_is_not_begun_in_time_is_left_to_the_next_task(ids, clock, delay):
    words = run(ids, clock.lasting(tasks.MAX_BATCH_SECONDS / 2))
    assert words == "Welcome e-mails sent: 2. Left for the next task: 2."
    assert left()["cat"] == (State.QUEUED, 0)
    delay.assert_called_once_with(*ids[2:])
    assert WelcomeEmail.objects.take_due(9) == [], "no sweep enqueues them a second time"


def test_what_begins_just_in_time_is_sent(ids, clock, delay):
    assert run(ids[:2], {"ann": lambda: clock.forward(tasks.MAX_BATCH_SECONDS - 0.01)}) == (
        "Welcome e-mails sent: 2."
    )
    delay.assert_not_called()


def test_a_batch_ends_well_before_its_claim(settings):
    longest = tasks.MAX_BATCH_SECONDS + settings.CELERY_TASK_SOFT_TIME_LIMIT
    assert timedelta(seconds=longest) < WelcomeEmail.objects.all().CLAIM_TIMEOUT


def test_a_process_keeps_the_pace_of_mail_rate(ids, clock, settings):
    settings.MAIL_INTERVAL = 0.5
    start = clock.now
    at = []
    run(ids, dict.fromkeys(NAMES, lambda: at.append(clock.now - start)))
    assert at == [0, 0.5, 1, 1.5]
    assert sum(clock.slept) == 1.5


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


def test_those_whose_turn_is_far_off_are_put_off(ids, clock, delay, settings):
    settings.MAIL_INTERVAL = tasks.MAX_BATCH_SECONDS
    words = run(ids)
    assert words.startswith(
        "Welcome e-mails sent: 1. Postponed to keep to MAIL_RATE: 3. Next attempt at"
    )
    bob = WelcomeEmail.objects.get(pk=ids[1])
    assert timedelta(seconds=29) < bob.next_attempt_at - timezone.now() <= timedelta(seconds=30)
    assert (bob.state, bob.attempts, bob.enqueued_at) == (State.QUEUED, 0, None)
    delay.assert_not_called()


def test_who_sleeps_for_the_rate_notices_a_pause(ids, clock, settings):
    settings.MAIL_INTERVAL = 10
    assert run(ids, {"ann": pause}) == (
        "Welcome e-mails sent: 1. Returned to the queue because sending is paused: 3."
    )
    assert clock.slept == [1.0], "and not only when its turn has come"


def test_whatever_breaks_a_task_what_is_not_begun_goes_back(ids):
    with pytest.raises(ZeroDivisionError):
        run(ids, {"cat": lambda: 1 / 0})
    assert left() == {
        "ann": (State.SENT, 1),
        "bob": (State.SENT, 1),
        "cat": (State.SENDING, 1),
        "dan": (State.QUEUED, 0),
    }


def test_a_claim_whose_answer_was_lost_is_asked_for_again(ids):
    at = timezone.now()
    first = WelcomeEmail.objects.claim(ids, "task", at)
    again = WelcomeEmail.objects.claim(ids, "task", at)
    assert [w.pk for w in first] == [w.pk for w in again] == ids
    assert {w.attempts for w in again} == {1}


def test_two_tasks_share_no_mail(ids):
    assert [w.pk for w in WelcomeEmail.objects.claim(ids[:3], "a", timezone.now())] == ids[:3]
    assert [w.pk for w in WelcomeEmail.objects.claim(ids, "b", timezone.now())] == ids[3:]


def test_two_tasks_of_one_moment_share_no_mail(ids):
    at = timezone.now()
    assert [w.pk for w in WelcomeEmail.objects.claim(ids[:1], "a", at)] == ids[:1]
    assert [w.pk for w in WelcomeEmail.objects.claim(ids, "b", at)] == ids[1:]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("model", "asks"),
    [
        (WelcomeEmailQuerySet, "claim"),
        (WelcomeEmailQuerySet, "give_back"),
        (WelcomeEmailQuerySet, "all"),
        (DispatchQuerySet, "exists"),
    ],
)
def test_a_batch_waits_until_the_database_is_back(ids, clock, monkeypatch, model, asks):
    ask = getattr(model, asks)
    faults = []

    def away_once(self, *args, **kwargs):
        if asks != "all" or clock.now > 1000:
            faults.append(asks)
            if len(faults) == 1:
                raise OperationalError(2006, "gone away")
        return ask(self, *args, **kwargs)

    monkeypatch.setattr("project.base.database.time.sleep", lambda seconds: None)
    monkeypatch.setattr("project.base.database.connection.close", lambda: None)
    monkeypatch.setattr(model, asks, away_once)
    run(ids, {"bob": both(pause, lambda: clock.forward(1))})
    assert len(faults) > 1
    assert sent_to() == ["ann", "bob"]
    assert left()["cat"] == left()["dan"] == (State.QUEUED, 0)
