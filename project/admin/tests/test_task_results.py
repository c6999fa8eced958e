import json
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_results.models import TaskResult

from members.models import Member, WelcomeEmail
from members.registration import register_member
from project.jobs import tasks as jobs

LIST = reverse("admin:django_celery_results_taskresult_changelist")
pytestmark = pytest.mark.django_db


@pytest.fixture
def staff_client(client, staff):
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


def test_the_list_says_what_ran_for_whom_and_how_it_ended(staff_client):
    result()
    html = staff_client.get(LIST).content.decode()
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


def test_a_task_that_sent_many_links_to_all_of_them(staff_client):
    row = batch()
    html = staff_client.get(LIST).content.decode()
    mails = reverse("admin:members_welcomeemail_changelist")
    assert f'<a href="{mails}?q=batch">3 e-mails</a>' in html
    page = staff_client.get(address(row)).content.decode()
    found = staff_client.get(mails, {"q": "batch"}).content.decode()
    for name in ("bob", "cat", "dan"):
        welcome = Member.objects.get(username=name).welcome_email
        place = reverse("admin:members_welcomeemail_change", args=[welcome.pk])
        assert f'href="{place}"' in page and f"{place}?" in found


def test_of_a_task_that_failed_for_some_these_are_sent_again(staff_client):
    row = batch(status="FAILURE", result='{"exc_message": ["Welcome e-mails sent: 2."]}')
    WelcomeEmail.objects.update(state="sent")
    assert "It has been sent." in staff_client.get(address(row)).content.decode()
    WelcomeEmail.objects.filter(member__username="cat").update(state="failed")
    retry = reverse("admin:django_celery_results_taskresult_retry", args=[row.pk])
    assert retry in staff_client.get(address(row)).content.decode()
    staff_client.post(retry, {"confirmed": 1})
    waiting = WelcomeEmail.objects.filter(state="queued")
    assert [welcome.member.username for welcome in waiting] == ["cat"]


def test_an_error_is_told_in_words_with_the_trace_folded(staff_client):
    row = result(
        status="FAILURE",
        result='{"exc_type": "AttemptFailed", "exc_message": ["The mail server hung up."]}',
        traceback="Traceback <most recent>",
    )
    html = staff_client.get(address(row)).content.decode()
    assert '<span class="badge text-bg-danger">failed</span>' in html
    assert "The mail server hung up." in html
    assert (
        "<details><summary>Show the trace</summary><pre>Traceback &lt;most recent&gt;</pre>" in html
    )


@pytest.mark.parametrize("stored", ["no json", "[]", "7", "null", '{"a": 1}', None])
def test_any_stored_result_can_be_shown(staff_client, stored):
    assert staff_client.get(address(result(result=stored))).status_code == 200


def test_a_task_of_which_the_row_is_gone_can_be_shown(staff_client):
    row = result()
    Member.objects.all().delete()
    assert staff_client.get(address(row)).status_code == 200
    assert staff_client.get(LIST).status_code == 200


def test_nobody_adds_changes_or_deletes_results(staff_client):
    row = result()
    assert (
        staff_client.get(reverse("admin:django_celery_results_taskresult_add")).status_code == 403
    )
    assert staff_client.post(address(row), {"status": "FAILURE"}).status_code == 403
    delete = reverse("admin:django_celery_results_taskresult_delete", args=[row.pk])
    assert staff_client.post(delete, {"post": "yes"}).status_code == 403


def test_filters_and_search_work_together(staff_client):
    result(1)
    failed = result(2, status="FAILURE")
    html = staff_client.get(
        LIST, {"state": "FAILURE", "created": "7", "q": "task-2"}
    ).content.decode()
    assert address(failed) in html
    assert html.count('class="badge') == 1


@pytest.mark.parametrize("rows", [3, 40])
def test_the_list_costs_the_same_for_many_rows(staff_client, rows, django_assert_max_num_queries):
    for number in range(rows):
        result(number)
    with django_assert_max_num_queries(5) as queries:
        staff_client.get(LIST)
    selects = [query["sql"] for query in queries if "taskresult" in query["sql"]]
    assert not any("traceback" in sql or "DISTINCT" in sql for sql in selects)
    assert sum("COUNT" in sql for sql in selects) == 1
    mails = [query["sql"] for query in queries if "welcomeemail" in query["sql"]]
    assert mails and all(" IN (" in sql for sql in mails), "those of one page"


def rows_of(staff_client, **query) -> list[int]:
    return [row.pk for row in staff_client.get(LIST, query).context["cl"].result_list]


def test_the_latest_comes_first(staff_client):
    first, second, third = result(1), result(2), result(3)
    TaskResult.objects.filter(pk=first.pk).update(date_created=timezone.now() + timedelta(hours=1))
    TaskResult.objects.filter(pk=third.pk).update(date_created=second.date_created)
    assert rows_of(staff_client) == [first.pk, third.pk, second.pk]


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "STARTED", "RETRY", "REVOKED", "PENDING"])
def test_a_state_shows_its_results_alone(staff_client, state):
    states = ["SUCCESS", "FAILURE", "STARTED", "RETRY", "REVOKED", "PENDING"]
    found = {name: result(number, status=name).pk for number, name in enumerate(states)}
    assert rows_of(staff_client, state=state) == [found[state]]


def test_created_is_not_when_it_was_done(staff_client):
    row = result()
    TaskResult.objects.update(date_created=timezone.now() - timedelta(days=8))
    assert rows_of(staff_client, created="7") == []
    assert rows_of(staff_client, created="30") == [row.pk]


@pytest.mark.parametrize(("words", "found"), [("task-1", True), ("task", False), ("ask-1", False)])
def test_the_search_takes_a_whole_task_id(staff_client, words, found):
    row = result()
    assert rows_of(staff_client, q=words) == ([row.pk] if found else [])


@pytest.mark.parametrize(
    ("status", "badge"),
    [
        ("SUCCESS", 'success">done'),
        ("FAILURE", 'danger">failed'),
        ("STARTED", 'info">running'),
        ("RETRY", 'warning">trying again'),
        ("REVOKED", 'secondary">revoked'),
        ("PENDING", 'secondary">waiting'),
        ("<new>", 'secondary">&lt;new&gt;'),
    ],
)
def test_each_state_has_its_word_and_colour(staff_client, status, badge):
    result(status=status)
    assert f'<span class="badge text-bg-{badge}</span>' in staff_client.get(LIST).content.decode()


@pytest.mark.parametrize(
    ("status", "finished", "duration"),
    [
        ("SUCCESS", True, "1.50 s"),
        ("FAILURE", True, "1.50 s"),
        ("STARTED", False, "–"),
        ("RETRY", False, "–"),
    ],
)
def test_only_what_has_ended_has_an_end_and_a_duration(status, finished, duration):
    row, page = result(status=status), admin.site._registry[TaskResult]
    row.date_done = timezone.now()
    row.date_started = row.date_done - timedelta(seconds=1.5)
    assert (page.finished(row) != "–") is finished
    assert page.duration(row) == duration
    row.date_started = row.date_done + timedelta(seconds=1)  # another machine's clock
    assert page.duration(row) in ("0.00 s", "–")
    row.date_started = None
    assert page.duration(row) == "–"


def test_what_runs_has_no_outcome_yet():
    row = result(status="STARTED", result=json.dumps({"pid": 8337, "hostname": "celery@desk"}))
    assert admin.site._registry[TaskResult].outcome(row) == "–"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("members.tasks.send_welcome_emails", "Send welcome e-mails"),
        ("celery.backend_cleanup", "Purge old task results"),
        ("other.task", "other.task"),
        (None, "unknown"),
    ],
)
def test_a_task_is_told_by_its_name(name, told):
    assert admin.site._registry[TaskResult].task(TaskResult(task_name=name)) == told


@pytest.mark.parametrize("task", ["library.tasks.work", "members.tasks.send_welcome_emails"])
@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ('"A sentence."', "A sentence."),
        ('{"exc_type": "OperationalError", "exc_message": [2013, "Lost"]}', "2013 Lost"),
        ("[2013]", "2013"),
        ('{"exc_type": "AttemptFailed", "exc_message": ["One", 2]}', "One 2"),
        ('{"exc_type": "AttemptFailed", "exc_message": "Words."}', "Words."),
        ('{"exc_type": "AttemptFailed", "exc_message": []}', "AttemptFailed"),
        ('{"exc_message": ""}', "–"),
        ("no json", "no json"),
        ("7", "–"),
        (None, "–"),
        ('{"title": "Dune", "publication_year": 1965}', "Dune · 1965"),
        ("{}", "–"),
    ],
)
def test_an_outcome_is_a_sentence_or_values(stored, told, task):
    row = TaskResult(result=stored, task_name=task)
    assert admin.site._registry[TaskResult].outcome(row) == told


def test_arguments_are_told_without_the_quotes_of_their_store():
    page = admin.site._registry[TaskResult]
    assert page.arguments(TaskResult(task_args='"(1, 2)"')) == "(1, 2)"
    assert page.arguments(TaskResult()) == "–"


def test_two_mails_of_one_task_are_two(staff_client):
    result(1), result(2)
    WelcomeEmail.objects.update(task_id="task-1")
    assert '?q=task-1">2 e-mails</a>' in staff_client.get(LIST).content.decode()


def test_what_went_wrong_comes_first(staff_client):
    row = batch(status="FAILURE")
    WelcomeEmail.objects.exclude(member__username="dan").update(state="sent")
    html = staff_client.get(address(row)).content.decode()
    assert html.index(">dan</a>") < html.index(">bob</a>") < html.index(">cat</a>")


# Who may send again from here


def retry_of(row: TaskResult) -> str:
    return reverse("admin:django_celery_results_taskresult_retry", args=[row.pk])


@pytest.fixture
def failed() -> TaskResult:
    row = result(status="FAILURE")
    WelcomeEmail.objects.update(state="failed")
    return row


def states() -> set[str]:
    return set(WelcomeEmail.objects.values_list("state", flat=True))


@pytest.mark.parametrize(
    ("names", "page"),
    [
        (["view_taskresult"], 403),
        (["view_taskresult", "view_welcomeemail"], 403),
        (["change_welcomeemail"], 403),
        (["view_taskresult", "change_welcomeemail"], 302),
    ],
)
def test_who_sends_again_may_see_results_and_change_mails(client, failed, names, page):
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(clerk)
    if "view_taskresult" in names:
        offered = client.get(address(failed)).content.decode()
        assert (retry_of(failed) in offered) is (page == 302)
        assert ('value="retry"' in client.get(LIST).content.decode()) is (page == 302)
    if page == 403:
        client.post(LIST, {"action": "retry", "_selected_action": failed.pk, "confirmed": 1})
        assert states() == {"failed"}
    assert client.post(retry_of(failed), {"confirmed": 1}).status_code == page
    assert states() == ({"queued"} if page == 302 else {"failed"})


def test_nobody_sends_again_without_signing_in(client, failed):
    answer = client.post(retry_of(failed), {"confirmed": 1})
    assert answer.headers["Location"].startswith(reverse("admin:login"))
    assert states() == {"failed"}


def test_another_site_makes_nobody_send_again(staff, failed):
    client = Client(enforce_csrf_checks=True)
    client.force_login(staff)
    assert client.post(retry_of(failed), {"confirmed": 1}).status_code == 403
    assert states() == {"failed"}


@pytest.mark.parametrize("status", ["SUCCESS", "STARTED", "RETRY"])
def test_only_a_task_that_failed_is_sent_again(staff_client, failed, status):
    TaskResult.objects.update(status=status)
    assert retry_of(failed) not in staff_client.get(address(failed)).content.decode()
    assert "why-retry" not in staff_client.get(address(failed)).content.decode()
    assert staff_client.post(retry_of(failed), {"confirmed": 1}).status_code == 404
    staff_client.post(LIST, {"action": "retry", "_selected_action": failed.pk, "confirmed": 1})
    assert states() == {"failed"}


def test_a_failed_task_whose_mails_moved_on_says_so_instead_of_a_button(staff_client, failed):
    WelcomeEmail.objects.update(task_id="later")
    html = staff_client.get(address(failed)).content.decode()
    assert retry_of(failed) not in html
    assert "A later task has since retried it, or the member was deleted." in html
    assert "disabled" in html.partition("why-retry")[0].rpartition("<button")[2]


def test_a_failed_task_of_another_kind_has_no_button(staff_client, failed):
    WelcomeEmail.objects.update(task_id="later")
    TaskResult.objects.update(task_name="celery.backend_cleanup")
    html = staff_client.get(address(failed)).content.decode()
    assert "why-retry" not in html and retry_of(failed) not in html
    assert "Tried by a later task since" not in html


def test_the_page_is_headed_by_its_name_and_not_by_the_packages(staff_client):
    row = result()
    assert "Send welcome e-mails, " in staff_client.get(address(row)).content.decode()
    assert "&lt;Task:" not in staff_client.get(address(row)).content.decode()


@pytest.mark.parametrize(
    ("language", "told"),
    [("en", "Import of members 7: ready to confirm."), ("ru", "Импорт читателей 7: ждёт")],
)
def test_what_an_import_came_to_is_told_in_the_readers_language(staff_client, language, told):
    values = {"name": "import of members", "id": 7, "state": "ready to confirm"}
    report = json.dumps([[jobs.ENDED, values]])
    row = TaskResult.objects.create(
        task_id="t", task_name="library.tasks.work", status="SUCCESS", result=report
    )
    staff_client.cookies["django_language"] = language
    for page in (LIST, address(row)):
        assert told in staff_client.get(page).content.decode()


def test_a_duration_is_written_as_the_reader_writes_numbers(staff_client):
    row = result()
    started = row.date_done - timedelta(seconds=1.5)
    TaskResult.objects.update(date_started=started)  # saved, it would be done now
    staff_client.cookies["django_language"] = "ru"
    assert "1,50 с" in staff_client.get(address(row)).content.decode()
