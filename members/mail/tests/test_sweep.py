"""The sweeper keeps every promise that a lost message would break."""

from datetime import timedelta
from unittest.mock import DEFAULT, patch

import pytest
from celery.schedules import schedule
from django.conf import settings
from django.db import connection
from django.utils import timezone

from members.mail import tasks
from members.mail.tasks import sweep_welcome_emails
from members.models import Dispatch, WelcomeEmail
from project.celery import app

State = WelcomeEmail.State
pytestmark = pytest.mark.django_db


@pytest.fixture
def now(monkeypatch) -> "timezone.datetime":
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    return now


def ago(**duration) -> "timezone.datetime":
    return timezone.now() - timedelta(**duration)


MICROSECOND = timedelta(microseconds=1)


def enqueued(delay) -> list[int]:
    ids = [pk for call in delay.call_args_list for pk in call.args]
    assert len(ids) == len(set(ids)), "each row once"
    return ids


def columns(welcome: WelcomeEmail, *names: str) -> tuple:
    return WelcomeEmail.objects.values_list(*names).get(pk=welcome.pk)


def test_it_runs_every_thirty_seconds_and_is_dropped_after_sixty():
    entry = settings.CELERY_BEAT_SCHEDULE["sweep"]
    assert entry["task"] == sweep_welcome_emails.name == "members.tasks.sweep_welcome_emails"
    assert entry["task"] in app.tasks
    assert entry["schedule"] == schedule(30)
    assert entry["options"] == {"expires": 60}


def test_a_sweep_is_dropped_before_it_takes_waiting_messages_for_lost_ones():
    expires = settings.CELERY_BEAT_SCHEDULE["sweep"]["options"]["expires"]
    assert timedelta(seconds=expires) < WelcomeEmail.objects.all().ENQUEUE_TIMEOUT


def test_a_due_row_without_a_message_is_enqueued_once(owed, delay):
    welcome = owed(enqueued_at=None)
    assert sweep_welcome_emails().endswith("UTC: 1 due, 0 freed.")
    assert sweep_welcome_emails().endswith("UTC: 0 due, 0 freed.")
    delay.assert_called_once_with(welcome.pk)


def test_a_message_counts_as_lost_after_two_minutes(owed, delay, now):
    long_ago = now - timedelta(hours=1)
    owed("fresh", enqueued_at=now - timedelta(minutes=2) + MICROSECOND, next_attempt_at=long_ago)
    lost = owed("lost", enqueued_at=now - timedelta(minutes=2), next_attempt_at=long_ago)
    sweep_welcome_emails()
    assert enqueued(delay) == [lost.pk]
    assert columns(lost, "enqueued_at") == (now,)


def test_a_row_is_enqueued_from_its_time_on(owed, delay, now):
    due = owed("due", enqueued_at=None, next_attempt_at=now)
    owed("later", enqueued_at=None, next_attempt_at=now + MICROSECOND)
    sweep_welcome_emails()
    assert enqueued(delay) == [due.pk]


@pytest.mark.parametrize("state", [s for s in State if s != State.QUEUED])
def test_other_rows_are_left_alone(owed, delay, state):
    owed(state=state, enqueued_at=None, claimed_at=timezone.now())
    sweep_welcome_emails()
    delay.assert_not_called()


def test_who_waits_longest_goes_first(owed, delay):
    ids = [
        owed(f"member{n}", enqueued_at=None, next_attempt_at=ago(minutes=n)).pk for n in range(3)
    ]
    sweep_welcome_emails()
    assert enqueued(delay) == ids[::-1]


def test_a_sweep_enqueues_so_many_rows_in_batches(owed, delay, monkeypatch):
    monkeypatch.setattr(tasks, "MAX_MAILS_PER_TASK", 2)
    monkeypatch.setattr(tasks, "MAX_ROWS_PER_SWEEP", 5)
    ids = {owed(f"member{n}", enqueued_at=None).pk for n in range(7)}
    assert sweep_welcome_emails().endswith("UTC: 5 due, 0 freed.")
    assert [len(call.args) for call in delay.call_args_list] == [2, 2, 1]
    assert sweep_welcome_emails().endswith("UTC: 2 due, 0 freed.")
    assert set(enqueued(delay)) == ids


def test_the_limits_of_a_sweep():
    assert (tasks.MAX_MAILS_PER_TASK, tasks.MAX_ROWS_PER_SWEEP) == (50, 10_000)


def test_a_dead_broker_leaves_the_rows_to_the_next_sweep(owed, delay, monkeypatch):
    monkeypatch.setattr(tasks, "MAX_MAILS_PER_TASK", 2)
    delay.side_effect = [DEFAULT, ConnectionError, DEFAULT, DEFAULT]
    for number in range(6):
        owed(f"member{number}", enqueued_at=None)
    sweep_welcome_emails()
    assert delay.call_count == 2, "it is not asked a third time"
    assert WelcomeEmail.objects.filter(enqueued_at=None).count() == 4


def test_a_sweep_shows_its_heartbeat(owed, delay, now):
    sweep_welcome_emails()
    assert Dispatch.objects.values_list("sweep_at", "worker_at", "beat_at").get() == (
        now,
        now,
        None,
    )


# --- Claims of workers that died ---


def stuck(owed, *names: str, task: str = "dead", **changes) -> list[WelcomeEmail]:
    """The mails of one claim, in the order of sending."""
    claim = {"state": State.SENDING, "attempts": 1, "task_id": task, "claimed_at": ago(minutes=6)}
    return [owed(name, **{**claim, **changes}) for name in names]


def test_a_claim_is_stuck_after_five_minutes(owed, delay, now):
    limit = now - timedelta(minutes=5)
    [young] = stuck(owed, "young", task="a", claimed_at=limit + MICROSECOND)
    [old] = stuck(owed, "old", task="b", claimed_at=limit)
    assert sweep_welcome_emails().endswith("UTC: 0 due, 1 freed.")
    assert columns(young, "state", "attempts") == (State.SENDING, 1)
    assert columns(old, "state", "attempts", "last_error_code", "next_attempt_at") == (
        State.QUEUED,
        1,
        "worker-lost",
        now + timedelta(seconds=10),
    )


def test_each_stuck_attempt_counts(owed, delay):
    claimed = stuck(owed, "ann", "bob", task=None)
    assert sweep_welcome_emails().endswith("UTC: 0 due, 2 freed.")
    for welcome in claimed:
        assert columns(welcome, "state", "attempts", "last_error_code") == (
            *(State.QUEUED, 1),
            "worker-lost",
        )


def test_the_attempt_at_which_a_worker_died_began_with_its_claim(owed, delay):
    [welcome] = stuck(owed, "ann")
    sweep_welcome_emails()
    [[attempt]] = columns(welcome, "journal")
    started = columns(welcome, "claimed_at")[0].isoformat(timespec="milliseconds")
    assert attempt["started"] == started.replace("+00:00", "Z")


def test_a_mail_that_kills_every_worker_is_given_up(owed, delay):
    last = len(WelcomeEmail.RETRY_WAITS) + 1
    [welcome] = stuck(owed, "ann", attempts=last)
    sweep_welcome_emails()
    assert columns(welcome, "state", "last_error_code") == (State.FAILED, "worker-lost")


def test_before_its_last_attempt_it_is_not(owed, delay):
    [welcome] = stuck(owed, "ann", attempts=len(WelcomeEmail.RETRY_WAITS))
    sweep_welcome_emails()
    assert columns(welcome, "state") == (State.QUEUED,)


def test_an_attempt_that_ends_at_this_moment_is_no_error(owed, delay):
    [welcome] = stuck(owed, "ann")
    retry = WelcomeEmail.retry

    def recorded_meanwhile(welcome, *args):
        WelcomeEmail.objects.update(state=State.SENT)
        return retry(welcome, *args)

    with patch.object(WelcomeEmail, "retry", recorded_meanwhile):
        sweep_welcome_emails()
    assert columns(welcome, "state", "journal") == (State.SENT, [])


# --- What it costs ---


def test_a_sweep_costs_the_same_for_any_number(owed, delay, django_assert_num_queries):
    Dispatch.objects.current()
    for number in range(30):
        owed(f"member{number}", enqueued_at=None)
    with django_assert_num_queries(7):  # stuck, due, enqueued, heartbeat in a transaction
        sweep_welcome_emails()


def test_a_sweep_asks_an_index():
    due = WelcomeEmail.objects.filter(
        state=State.QUEUED, next_attempt_at__lte=timezone.now()
    ).order_by("next_attempt_at")
    stuck = WelcomeEmail.objects.filter(
        state=State.SENDING, claimed_at__lte=timezone.now()
    ).order_by("claimed_at")
    if connection.vendor == "sqlite":
        assert "members_welcome_waiting" in due.explain()
        assert "members_welcome_claimed" in stuck.explain()
    else:  # its optimizer reads a table of no rows as it likes
        assert "members_welcome_waiting" in str(due.explain(format="JSON"))
        assert "members_welcome_claimed" in str(stuck.explain(format="JSON"))
