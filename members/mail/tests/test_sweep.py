"""The sweeper keeps every promise that a lost message would break."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from members.mail.tasks import sweep_welcome_emails
from members.models import Dispatch, WelcomeEmail

State = WelcomeEmail.State
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def swept_lately(db):
    Dispatch.objects.seen("sweep")


def ago(**duration) -> "timezone.datetime":
    return timezone.now() - timedelta(**duration)


def hinted(delay) -> set[int]:
    ids = {call.args[0] for call in delay.call_args_list}
    assert len(ids) == delay.call_count, "one hint for each row"
    return ids


def test_a_due_row_without_a_hint_is_enqueued_at_once(owed, delay):
    welcome = owed(enqueued_at=None)
    assert sweep_welcome_emails().endswith("UTC: 1 due, 0 freed.")
    assert sweep_welcome_emails().endswith("UTC: 0 due, 0 freed.")
    assert hinted(delay) == {welcome.pk}


def test_a_backlog_is_not_doubled(owed, delay):
    owed(enqueued_at=ago(seconds=110))
    sweep_welcome_emails()
    delay.assert_not_called()


def test_a_lost_hint_is_repeated(owed, delay):
    welcome = owed(enqueued_at=ago(minutes=3), next_attempt_at=ago(minutes=3))
    sweep_welcome_emails()
    assert hinted(delay) == {welcome.pk}


def test_a_sweep_is_dropped_before_it_takes_waiting_hints_for_lost_ones():
    expires = settings.CELERY_BEAT_SCHEDULE["sweep"]["options"]["expires"]
    assert timedelta(seconds=expires) < WelcomeEmail.objects.all().HINT_LASTS


@pytest.mark.parametrize("state", [s for s in State if s != State.QUEUED])
def test_other_rows_are_left_alone(owed, delay, state):
    owed(state=state, enqueued_at=None, claimed_at=timezone.now())
    sweep_welcome_emails()
    delay.assert_not_called()


def test_a_row_is_not_enqueued_at_before_its_time(owed, delay):
    owed(enqueued_at=None, next_attempt_at=timezone.now() + timedelta(seconds=10))
    sweep_welcome_emails()
    delay.assert_not_called()


def test_a_row_whose_worker_died_is_freed_and_sent_again(owed, delay):
    welcome = owed(state=State.SENDING, attempts=1, claimed_at=ago(minutes=6))
    assert sweep_welcome_emails().endswith("UTC: 0 due, 1 freed.")
    welcome.refresh_from_db()
    assert (welcome.state, welcome.last_error_code) == (State.QUEUED, "worker-lost")
    WelcomeEmail.objects.update(next_attempt_at=timezone.now())
    sweep_welcome_emails()
    assert hinted(delay) == {welcome.pk}


def test_after_an_outage_a_worker_gets_time_to_record_what_it_sent(owed, delay):
    """It waited for the database as the sweeper did; a row that is freed first goes out twice."""
    owed(state=State.SENDING, attempts=1, claimed_at=ago(minutes=6))
    Dispatch.objects.update(sweep_at=ago(minutes=6))
    assert sweep_welcome_emails().endswith("UTC: 0 due, 0 freed.")
    assert sweep_welcome_emails().endswith("UTC: 0 due, 1 freed.")


@pytest.mark.parametrize(
    "columns",
    [
        {"next_attempt_at": timezone.now() + timedelta(hours=3), "enqueued_at": None},
        {"enqueued_at": timezone.now() + timedelta(hours=3)},
        {"state": State.SENDING, "attempts": 1, "claimed_at": timezone.now() + timedelta(hours=3)},
    ],
    ids=lambda columns: list(columns)[-1],
)
def test_a_time_that_a_wrong_clock_wrote_keeps_no_mail_back(owed, delay, columns):
    welcome = owed(**columns)
    sweep_welcome_emails()
    WelcomeEmail.objects.filter(last_error_code="worker-lost").update(next_attempt_at=ago())
    sweep_welcome_emails()
    assert hinted(delay) == {welcome.pk}


def test_a_row_that_is_being_sent_is_not_freed(owed, delay):
    welcome = owed(state=State.SENDING, attempts=1, claimed_at=ago(minutes=4))
    sweep_welcome_emails()
    welcome.refresh_from_db()
    assert welcome.state == State.SENDING


def test_a_claim_outlasts_every_attempt(settings):
    longest = timedelta(seconds=settings.CELERY_TASK_SOFT_TIME_LIMIT + settings.EMAIL_TIMEOUT)
    assert longest < WelcomeEmail.objects.all().CLAIM_LASTS


def test_a_mail_that_kills_every_worker_is_given_up(owed, delay):
    last = len(WelcomeEmail.WAITS) + 1
    welcome = owed(state=State.SENDING, attempts=last, claimed_at=ago(minutes=6))
    sweep_welcome_emails()
    welcome.refresh_from_db()
    assert (welcome.state, welcome.last_error_code) == (State.FAILED, "worker-lost")


def test_a_dead_broker_leaves_the_rows_to_the_next_sweep(owed, delay):
    delay.side_effect = ConnectionError
    for username in ("ann", "bob", "cat"):
        owed(username, enqueued_at=None)
    sweep_welcome_emails()
    assert delay.call_count == 1
    assert WelcomeEmail.objects.filter(enqueued_at=None).count() == 3


def test_a_sweep_is_bounded(owed, delay):
    for username in ("ann", "bob", "cat"):
        owed(username, enqueued_at=None)
    assert len(WelcomeEmail.objects.take_due(most=2)) == 2
    assert len(WelcomeEmail.objects.take_due(most=2)) == 1


def test_a_sweep_costs_the_same_for_any_number(owed, delay, django_assert_num_queries):
    for username in ("ann", "bob", "cat"):
        owed(username, enqueued_at=None)
    with django_assert_num_queries(7):  # last sweep, stuck, clocks, paused, due, hinted, seen
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
