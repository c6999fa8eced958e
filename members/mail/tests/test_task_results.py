"""Welcome e-mails of failed tasks, sent again from the task results."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from django_celery_results.models import TaskResult

from members.models import WelcomeEmail
from project.admin.lists import CappedPaginator
from project.base.tests.reads import rows_read

from .operators import RESULTS, State, result_of, text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("delay")]


def test_a_failed_task_is_sent_again_from_its_page_and_from_the_list(operator, owed):
    ann, bob = owed("ann", state=State.FAILED), owed("bob", state=State.FAILED)
    first, second = result_of(ann, "a"), result_of(bob, "b")
    retry = reverse("admin:django_celery_results_taskresult_retry", args=[first.pk])
    page = reverse("admin:django_celery_results_taskresult_change", args=[first.pk])
    assert retry in text(operator.get(page))
    assert "Send again: 1 e-mail" in text(operator.get(retry))
    assert operator.post(retry, {"confirmed": 1}).headers["Location"] == page
    form = {"action": "retry", "_selected_action": [first.pk, second.pk]}
    assert "Waiting: 1. It is already waiting" in text(operator.post(RESULTS, form))
    operator.post(RESULTS, {**form, "confirmed": 1})
    assert set(WelcomeEmail.objects.values_list("state", flat=True)) == {"queued"}
    assert LogEntry.objects.count() == 2


def test_an_old_failure_does_not_send_what_was_sent_since(operator, owed):
    welcome = owed(state=State.SENT)
    result = result_of(welcome)  # whose task ran twice, for its message came back
    page = reverse("admin:django_celery_results_taskresult_change", args=[result.pk])
    assert "It has been sent." in text(operator.get(page))
    retry = reverse("admin:django_celery_results_taskresult_retry", args=[result.pk])
    operator.post(retry, {"confirmed": 1})
    welcome.refresh_from_db()
    assert welcome.state == State.SENT


def test_a_result_of_an_earlier_attempt_says_that_others_followed(operator, owed):
    welcome = owed(state=State.FAILED)
    result = result_of(welcome, "first")
    result_of(welcome, "second")
    page = reverse("admin:django_celery_results_taskresult_change", args=[result.pk])
    html = text(operator.get(page))
    assert html.count("A later task has since retried it, or the member was deleted.") == 2
    assert "ann" not in html
    retry = reverse("admin:django_celery_results_taskresult_retry", args=[result.pk])
    assert "None of these has a welcome e-mail." in text(operator.get(retry))
    operator.post(retry, {"confirmed": 1})
    welcome.refresh_from_db()
    assert welcome.state == State.FAILED, "the latest attempt is another's"


def add_results(number: int, days: int) -> None:
    """One after the other, over this many days; one in ten failed."""
    states = ["FAILURE", *["SUCCESS"] * 9]
    rows = [TaskResult(task_id=str(n), status=states[n % 10]) for n in range(number)]
    TaskResult.objects.bulk_create(rows)
    start, each = timezone.now() - timedelta(days=days), timedelta(days=days) / number
    for n, row in enumerate(TaskResult.objects.order_by("pk").only("pk")):
        TaskResult.objects.filter(pk=row.pk).update(date_created=start + n * each)


@pytest.mark.parametrize(("state", "most", "shown"), [("SUCCESS", 20, "20+"), ("FAILURE", 20, "5")])
def test_results_of_a_state_and_a_period_are_counted(operator, monkeypatch, state, most, shown):
    monkeypatch.setattr(CappedPaginator, "MAX_ROWS", most)
    add_results(100, days=730)
    page = operator.get(RESULTS, {"state": state, "created": "365"})
    assert f"{shown} task results" in page.context_data["cl"].shown


@pytest.mark.mysql
@pytest.mark.django_db(transaction=True)
def test_results_of_a_state_and_a_period_are_counted_without_those_before(operator, monkeypatch):
    monkeypatch.setattr(CappedPaginator, "MAX_ROWS", 100)
    add_results(3_000, days=1_000)
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE TABLE {TaskResult._meta.db_table}")
    page = operator.get(RESULTS, {"state": "SUCCESS", "created": "365"})
    paginator = page.context_data["cl"].paginator
    del paginator._counted
    assert rows_read(lambda: paginator.capped) < 500
