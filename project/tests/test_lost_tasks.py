"""A task whose worker was killed does not run for ever in the list of task results."""

from datetime import timedelta

import pytest
from celery import states
from django.urls import reverse
from django.utils import timezone
from django_celery_results.models import TaskResult

from library.files.models import Import
from members.mail.tasks import send_welcome_emails, sweep_welcome_emails
from members.models import Member, WelcomeEmail
from project.base.results import LOST
from project.celery import app
from project.jobs.models import State
from project.jobs.tasks import sweep_jobs
from project.tasks import MAX_TASK_AGE, purge_results

pytestmark = pytest.mark.django_db
LIST = reverse("admin:django_celery_results_taskresult_changelist")


@pytest.fixture(autouse=True)
def quiet_broker(monkeypatch):
    for door in ("project.jobs.tasks.publish", "members.mail.tasks.publish"):
        monkeypatch.setattr(door, lambda *message: True)


def running(task_id: str = "task", **age: int) -> TaskResult:
    started = timezone.now() - timedelta(**age)
    where = '{"pid": 7, "hostname": "celery@here"}'
    name = "library.tasks.work"
    return TaskResult.objects.create(
        task_id=task_id, task_name=name, status="STARTED", result=where, date_started=started
    )


def job(silent: int, **columns) -> Import:
    heartbeat_at = timezone.now() - timedelta(seconds=silent)
    values = {"state": State.RUNNING, "claim": "c", "task_id": "task", "heartbeat_at": heartbeat_at}
    return Import.objects.create(name="a.csv", kind="csv", **values | columns)


def sending(minutes: int) -> WelcomeEmail:
    member = Member.objects.create(username="ann", email="ann@example.org")
    claimed_at = timezone.now() - timedelta(minutes=minutes)
    state = WelcomeEmail.State.SENDING
    return WelcomeEmail.objects.create(
        member=member, state=state, attempts=1, task_id="task", claimed_at=claimed_at
    )


def is_lost(row: TaskResult) -> bool:
    row.refresh_from_db()
    return row.status == LOST


def test_a_job_that_a_dead_worker_left_behind_tells_of_its_task():
    task, other = running(minutes=2), running("other", minutes=2)
    job(silent=61)
    sweep_jobs()
    assert is_lost(task)
    assert not is_lost(other)


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"silent": 59}, id="its heartbeat is young"),
        pytest.param({"silent": 61, "claim": ""}, id="it gave the job back"),
    ],
)
def test_a_long_task_that_lives_is_not_lost(columns):
    task = running(minutes=29)
    job(**columns)
    sweep_jobs()
    purge_results()
    assert not is_lost(task)


def test_a_mail_that_a_dead_worker_was_sending_tells_of_its_task():
    task, other = running(minutes=6), running("other", minutes=6)
    sending(minutes=6)
    sweep_welcome_emails()
    assert is_lost(task)
    assert not is_lost(other)


def test_a_task_that_sends_a_mail_is_not_lost():
    task = running(minutes=6)
    sending(minutes=4)
    sweep_welcome_emails()
    assert not is_lost(task)


def test_a_task_whose_message_is_delivered_again_is_not_lost():
    """It keeps its id, and so its row."""
    task = running(seconds=1)
    job(silent=3600)
    sending(minutes=60)
    sweep_jobs()
    sweep_welcome_emails()
    assert not is_lost(task)


def test_what_held_no_job_and_no_mail_is_lost_after_an_hour():
    old, young = running(minutes=61), running("young", minutes=59)
    ended = running("ended", minutes=61)
    TaskResult.objects.filter(pk=ended.pk).update(status="SUCCESS")
    purge_results()
    assert is_lost(old)
    assert not is_lost(young)
    assert not is_lost(ended)


def test_no_task_may_run_for_an_hour():
    limits = [
        task.soft_time_limit or app.conf.task_soft_time_limit
        for name, task in app.tasks.items()
        if not name.startswith("celery.")
    ]
    assert max(limits) + WelcomeEmail.RECORD_RETRY_SECONDS <= MAX_TASK_AGE.total_seconds()


def test_a_task_that_ends_after_all_says_so():
    task = running(minutes=61)
    purge_results()
    app.backend.store_result(task.task_id, "done", states.SUCCESS)
    task.refresh_from_db()
    assert (task.status, task.result) == ("SUCCESS", '"done"')


@pytest.mark.parametrize(
    ("language", "state", "outcome"),
    [
        ("en", "lost", "The worker stopped answering before the task ended."),
        ("ru", "прервано", "Исполнитель перестал отвечать до конца задачи."),
    ],
)
def test_the_list_tells_it_from_a_task_that_runs(admin_client, language, state, outcome):
    running("mails", minutes=61)
    TaskResult.objects.update(task_name=send_welcome_emails.name)
    running("job", minutes=61), running("young", minutes=1)
    purge_results()
    admin_client.cookies["django_language"] = language
    html = admin_client.get(LIST, {"state": LOST}).content.decode()
    assert f'<span class="badge text-bg-danger">{state}</span>' in html
    assert html.count(outcome) == 2
    assert "text-bg-info" not in html, "only the lost ones"


def test_its_page_does_not_claim_to_know_when_it_ended(admin_client):
    task = running(minutes=61)
    purge_results()
    page = reverse("admin:django_celery_results_taskresult_change", args=[task.pk])
    html = admin_client.get(page).content.decode()
    assert "celery@here" not in html
    assert "0.00 s" not in html
