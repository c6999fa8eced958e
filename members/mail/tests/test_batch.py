"""Many mails in one task: together on the way, each by itself in what becomes of it."""

from collections.abc import Callable
from datetime import timedelta
from unittest.mock import patch

import pytest
from django.core import mail
from django.utils import timezone

from members import batch, pace
from members.delivery import ConfigurationFault, MailRefused, TryAgain, deliver
from members.models import Dispatch, WelcomeEmail
from members.tasks import TOGETHER, AttemptFailed, hint, send_welcome_emails

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

    with patch("members.batch.deliver", happen):
        try:
            return send_welcome_emails(*ids)
        except AttemptFailed as error:
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
    assert run(ids) == "Sent 4 welcome e-mails."
    assert sent_to() == list(NAMES)
    assert set(left().values()) == {(State.SENT, 1)}
    for welcome in WelcomeEmail.objects.all():
        [attempt] = welcome.journal
        assert (attempt["state"], welcome.last_error) == ("sent", "")
        assert welcome.sent_at


@pytest.mark.parametrize("number", [2, 40])
def test_many_cost_as_many_statements_as_one(owed, number, django_assert_num_queries):
    ids = [owed(f"member{n}").pk for n in range(number)]
    Dispatch.objects.current()
    run([owed().pk])  # the pulse
    with django_assert_num_queries(3):  # claim, read, record
        run(ids)


def test_hints_go_out_in_groups(delay):
    assert hint(*range(TOGETHER + 1))
    assert [len(call.args) for call in delay.call_args_list] == [TOGETHER, 1]


def test_one_that_fails_stops_no_other(ids):
    refused = MailRefused("No such user.", "550")
    busy = TryAgain("The mail server asks us to wait.", "451")
    words = run(ids, {"bob": failing(refused), "cat": failing(busy)})
    bob, cat = ids[1:3]
    later = WelcomeEmail.objects.get(pk=cat).next_attempt_at
    assert words == (
        f"Failed. Sent 2 welcome e-mails. Welcome e-mail {bob}: No such user. Not tried again. "
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
    fault = ConfigurationFault("The mail server refuses our login (535).", "535")
    words = run(ids, {"bob": failing(fault)})
    assert words.endswith("Given back, for sending is paused: 2.")
    assert left() == {"ann": (State.SENT, 1)} | dict.fromkeys(NAMES[1:], (State.QUEUED, 0))
    assert Dispatch.objects.pausing().exists()
    delay.assert_not_called()


@pytest.fixture
def always_looking(monkeypatch):
    """As if the mail server took a second for each mail."""
    clock = iter(range(1000))
    monkeypatch.setattr(batch, "monotonic", lambda: next(clock))
    monkeypatch.setattr(batch, "RECORD_EVERY", 1.5)


def test_a_pause_stops_those_that_are_not_sent_yet(ids, always_looking):
    words = run(ids, {"bob": lambda: Dispatch.objects.pause("Wait.", Dispatch.OPERATOR)})
    assert words == "Sent 2 welcome e-mails. Given back, for sending is paused: 2."
    assert sent_to() == ["ann", "bob"]
    assert left()["dan"] == (State.QUEUED, 0)


def test_who_is_erased_meanwhile_gets_no_mail(ids, always_looking):
    gone = WelcomeEmail.objects.get(pk=ids[2]).member
    assert run(ids, {"bob": gone.delete}) == "Sent 3 welcome e-mails."
    assert sent_to() == ["ann", "bob", "dan"]


def test_a_slow_mail_server_is_recorded_mail_by_mail(ids, always_looking):
    states = []
    run(ids, {"cat": lambda: states.append(left())})
    assert states[0]["ann"] == states[0]["bob"] == (State.SENT, 1)
    assert states[0]["dan"] == (State.SENDING, 1)


def test_what_is_not_begun_in_time_is_left_to_the_next_task(ids, delay, monkeypatch):
    clock = iter([0, 0, 1, 31])  # begins, looks and stops, first mail, second mail
    monkeypatch.setattr(batch, "RECORD_EVERY", 60)
    monkeypatch.setattr(batch, "monotonic", lambda: next(clock))
    assert run(ids) == "Sent 1 welcome e-mail. Left to the next task: 3."
    assert left()["bob"] == (State.QUEUED, 0)
    delay.assert_called_once_with(*ids[1:])
    assert WelcomeEmail.objects.take_due(most=9) == [], "no sweep doubles the hint"


def test_those_whose_turn_is_far_off_are_put_off(ids, delay, monkeypatch):
    turns = iter([0.0, 60.0])
    monkeypatch.setattr(pace, "take_turn", lambda: next(turns))
    words = run(ids)
    assert words.startswith("Sent 1 welcome e-mail. Put off, as MAIL_RATE asks: 3. Next attempt at")
    bob = WelcomeEmail.objects.get(pk=ids[1])
    assert bob.next_attempt_at - timezone.now() > timedelta(seconds=50)
    assert (bob.state, bob.attempts, bob.hinted_at) == (State.QUEUED, 0, None)
    delay.assert_not_called()


def test_whatever_breaks_a_task_what_was_sent_is_recorded(ids, monkeypatch):
    turns = iter([0.0, 0.0])
    monkeypatch.setattr(pace, "take_turn", lambda: next(turns))  # and then breaks
    with pytest.raises(StopIteration):
        run(ids)
    assert left() == {
        "ann": (State.SENT, 1),
        "bob": (State.SENT, 1),
        "cat": (State.QUEUED, 0),
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
