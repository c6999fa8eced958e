from datetime import timedelta

import pytest
from celery.beat import Scheduler
from django.contrib.sessions.models import Session
from django.utils import timezone
from django_celery_results.models import GroupResult, TaskResult

from project import tasks
from project.celery import app

pytestmark = pytest.mark.django_db


def results(count, age):
    TaskResult.objects.bulk_create(TaskResult(task_id=f"{age}-{n}") for n in range(count))
    rows = TaskResult.objects.filter(task_id__startswith=f"{age}-")
    rows.update(date_done=timezone.now() - timedelta(days=age))


def test_sessions_that_have_ended_are_deleted_and_others_stay():
    for key, seconds in (("ended", -1), ("lasting", 60)):
        ends = timezone.now() + timedelta(seconds=seconds)
        Session.objects.create(session_key=key, expire_date=ends)
    tasks.clear_sessions()
    assert Session.objects.get().session_key == "lasting"


def test_results_are_kept_for_30_days():
    results(3, age=29)
    results(2, age=31)
    assert tasks.purge_results() == "2 results deleted."
    assert TaskResult.objects.count() == 3


def test_results_of_groups_are_kept_as_long():
    for age in (29, 31):
        GroupResult.objects.create(group_id=str(age))
        rows = GroupResult.objects.filter(group_id=str(age))
        rows.update(date_done=timezone.now() - timedelta(days=age))
    tasks.purge_results()
    assert GroupResult.objects.get().group_id == "29"


def test_results_are_purged_in_batches(monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(tasks, "PURGE_BATCH_SIZE", 10)
    results(25, age=40)
    with django_assert_num_queries(8):  # lost; a look and a deletion for 10, 10 and 5; groups
        tasks.purge_results()
    assert not TaskResult.objects.exists()


def test_a_purge_that_takes_too_long_leaves_the_rest_for_later(monkeypatch):
    monkeypatch.setattr(tasks, "MAX_PURGE_SECONDS", 0)
    results(5, age=40)
    assert tasks.purge_results() == "0 results deleted."


def test_our_purge_replaces_celerys_cleanup():
    entry = Scheduler(app, lazy=False).schedule["celery.backend_cleanup"]
    assert entry.task == "project.tasks.purge_results"
    assert entry.task in app.tasks


def test_a_heartbeat_touches_its_file(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    tasks.heartbeat()
    assert (tmp_path / "heartbeat").exists()
