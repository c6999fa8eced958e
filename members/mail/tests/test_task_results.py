"""Welcome e-mails of failed tasks, sent again from the task results."""

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from members.models import WelcomeEmail

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
