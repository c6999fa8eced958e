import pytest
from django.urls import reverse
from django_celery_results.models import TaskResult

from members.models import Member, WelcomeEmail
from members.registration import register_member

LIST = reverse("admin:django_celery_results_taskresult_changelist")
pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(client, staff):
    client.force_login(staff)
    return client


def result(number: int = 1, **columns) -> TaskResult:
    member = register_member(Member(username=f"ann{number}", email=f"ann{number}@example.org"))
    defaults = {
        "task_id": f"task-{number}",
        "task_name": "members.tasks.send_welcome_emails",
        "task_args": f'"({member.welcome_email.pk},)"',
        "status": "SUCCESS",
        "result": '"Sent welcome e-mail 1 to member 1."',
    }
    row = TaskResult.objects.create(**defaults | columns)
    WelcomeEmail.objects.filter(member=member).update(task_id=row.task_id)
    return row


def address(row: TaskResult) -> str:
    return reverse("admin:django_celery_results_taskresult_change", args=[row.pk])


def test_the_list_says_what_ran_for_whom_and_how_it_ended(desk):
    result()
    html = desk.get(LIST).content.decode()
    assert "Send welcome e-mails" in html
    assert '<span class="badge text-bg-success">done</span>' in html
    member = Member.objects.get()
    assert f'<a href="{reverse("admin:members_member_change", args=[member.pk])}">ann1</a>' in html
    assert "Sent welcome e-mail 1 to member 1." in html


def batch(**columns) -> TaskResult:
    ids = [
        register_member(Member(username=name, email=f"{name}@example.org")).welcome_email.pk
        for name in ("bob", "cat", "dan")
    ]
    row = result(task_id="batch", task_args=f'"({", ".join(map(str, ids))})"', **columns)
    Member.objects.get(username="ann1").delete()
    WelcomeEmail.objects.update(task_id="batch")
    return row


def test_a_task_that_sent_many_links_to_all_of_them(desk):
    row = batch()
    html = desk.get(LIST).content.decode()
    mails = reverse("admin:members_welcomeemail_changelist")
    assert f'<a href="{mails}?q=batch">3 e-mails</a>' in html
    page = desk.get(address(row)).content.decode()
    found = desk.get(mails, {"q": "batch"}).content.decode()
    for name in ("bob", "cat", "dan"):
        welcome = Member.objects.get(username=name).welcome_email
        place = reverse("admin:members_welcomeemail_change", args=[welcome.pk])
        assert f'href="{place}"' in page and f"{place}?" in found


def test_of_a_task_that_failed_for_some_these_are_sent_again(desk):
    row = batch(status="FAILURE", result='{"exc_message": ["Sent 2 welcome e-mails."]}')
    WelcomeEmail.objects.update(state="sent")
    assert "It has been sent since." in desk.get(address(row)).content.decode()
    WelcomeEmail.objects.filter(member__username="cat").update(state="failed")
    retry = reverse("admin:django_celery_results_taskresult_retry", args=[row.pk])
    assert retry in desk.get(address(row)).content.decode()
    desk.post(retry, {"confirmed": 1})
    waiting = WelcomeEmail.objects.filter(state="queued")
    assert [welcome.member.username for welcome in waiting] == ["cat"]


def test_an_error_is_told_in_words_with_the_trace_folded(desk):
    row = result(
        status="FAILURE",
        result='{"exc_type": "AttemptFailed", "exc_message": ["The mail server hung up."]}',
        traceback="Traceback <most recent>",
    )
    html = desk.get(address(row)).content.decode()
    assert '<span class="badge text-bg-danger">failed</span>' in html
    assert "The mail server hung up." in html
    assert (
        "<details><summary>Show the trace</summary><pre>Traceback &lt;most recent&gt;</pre>" in html
    )


@pytest.mark.parametrize("stored", ["no json", "[]", "7", "null", '{"a": 1}', None])
def test_any_stored_result_can_be_shown(desk, stored):
    assert desk.get(address(result(result=stored))).status_code == 200


def test_a_task_of_which_the_row_is_gone_can_be_shown(desk):
    row = result()
    Member.objects.all().delete()
    assert desk.get(address(row)).status_code == 200
    assert desk.get(LIST).status_code == 200


def test_nobody_adds_changes_or_deletes_results(desk):
    row = result()
    assert desk.get(reverse("admin:django_celery_results_taskresult_add")).status_code == 403
    assert desk.post(address(row), {"status": "FAILURE"}).status_code == 403
    delete = reverse("admin:django_celery_results_taskresult_delete", args=[row.pk])
    assert desk.post(delete, {"post": "yes"}).status_code == 403


def test_filters_and_search_work_together(desk):
    result(1)
    failed = result(2, status="FAILURE")
    html = desk.get(LIST, {"state": "FAILURE", "created": "7", "q": "task-2"}).content.decode()
    assert address(failed) in html
    assert html.count('class="badge') == 1


@pytest.mark.parametrize("rows", [3, 40])
def test_the_list_costs_the_same_for_many_rows(desk, rows, django_assert_max_num_queries):
    for number in range(rows):
        result(number)
    with django_assert_max_num_queries(7) as queries:
        desk.get(LIST)
    selects = [query["sql"] for query in queries if "taskresult" in query["sql"]]
    assert not any("traceback" in sql or "DISTINCT" in sql for sql in selects)
    assert sum("COUNT" in sql for sql in selects) == 1
