"""The sweep finds imports that no worker has; old files and rows are deleted."""

import os
import time
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock, call

import pytest
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.utils import timezone

from library.files.models import Import
from project.imports.engine import begin
from project.imports.tasks import purge_imports
from project.jobs import tasks
from project.jobs.models import HEARTBEAT_TIMEOUT, State
from project.jobs.tasks import sweep_jobs, work

from .imports import examined, lines, uploaded

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("files")]


@pytest.mark.parametrize(
    ("values", "due"),
    [
        ({"state": State.UPLOADED}, True),
        ({"state": State.QUEUED}, True),
        ({"state": State.EXAMINED}, False),
        ({"state": State.DONE}, False),
        ({"state": State.CANCELLED}, False),
        ({"state": State.RUNNING, "heartbeat_at": HEARTBEAT_TIMEOUT * 2}, True),
        ({"state": State.RUNNING, "heartbeat_at": HEARTBEAT_TIMEOUT / 2}, False),
        ({"state": State.QUEUED, "enqueued_at": timedelta(seconds=5)}, False),
        ({"state": State.QUEUED, "enqueued_at": timedelta(seconds=90)}, True),
    ],
)
def test_the_sweep_finds_what_no_worker_works_on(monkeypatch, values, due):
    now = timezone.now()
    times = {k: now - v if isinstance(v, timedelta) else v for k, v in values.items()}
    job = Import.objects.create(name="a.csv", kind="csv", **times)
    delay = Mock()
    monkeypatch.setattr(work, "delay", delay)
    sweep_jobs()
    assert delay.call_args_list == ([call("import", job.pk)] if due else [])
    sweep_jobs()
    assert delay.call_count == due  # its message is on its way


def test_a_broker_that_is_down_is_no_failure(monkeypatch):
    job = uploaded(*lines(1))
    monkeypatch.setattr(work, "delay", Mock(side_effect=OSError))
    tasks.enqueue(job)
    job.refresh_from_db()
    assert job.enqueued_at is None


def aged(job: Import, days: int) -> Import:
    Import.objects.filter(pk=job.pk).update(uploaded_at=timezone.now() - timedelta(days=days))
    return job


def test_an_upload_that_broke_off_is_deleted_after_a_day(settings, tmp_path):
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    old, young = (TemporaryUploadedFile("a.csv", "text/csv", 0, None) for _ in range(2))
    for upload, hours in [(old, 25), (young, 23)]:
        then = time.time() - hours * 3600
        os.utime(upload.temporary_file_path(), (then, then))
    purge_imports()
    assert [path.name for path in tmp_path.iterdir()] == [Path(young.temporary_file_path()).name]
    old.close(), young.close()


def test_old_files_and_rows_are_deleted_and_counts_stay(settings):
    settings.IMPORT_KEEP_DAYS = 7
    old, young = aged(examined(*lines(1)), 8), aged(examined(*lines(2)), 6)
    path = old.file.path
    assert purge_imports() == "1 imports purged."
    old.refresh_from_db()
    young.refresh_from_db()
    assert (old.file.name, old.found["new"], old.state) == ("", 1, State.CANCELLED)
    assert not Path(path).exists()
    assert not old.pages.exists()
    assert young.file and young.pages.exists()


def test_what_is_confirmed_meanwhile_is_not_purged(monkeypatch):
    confirmed = aged(examined(*lines(1)), 99)
    aged(examined(*lines(2)), 99)
    purge = Import.purge

    def confirm_another(job: Import) -> None:
        begin(confirmed)
        purge(job)

    monkeypatch.setattr(Import, "purge", confirm_another)
    assert purge_imports() == "1 imports purged."
    confirmed.refresh_from_db()
    assert confirmed.state == State.QUEUED
    assert confirmed.file and confirmed.pages.exists()


def test_the_file_of_a_running_import_is_kept(settings):
    job = aged(uploaded(*lines(1)), 99)
    purge_imports()
    job.refresh_from_db()
    assert job.file
