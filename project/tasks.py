"""Maintenance: heartbeats, and purging what is kept for a while."""

import time
from datetime import timedelta
from pathlib import Path

from celery import shared_task
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone
from django_celery_results.models import GroupResult, TaskResult

from project.admin.passwords import mail_password_links  # noqa: F401  # a task too
from project.api import idempotency
from project.base.results import mark_lost
from project.imports.tasks import purge_imports  # noqa: F401  # tasks too
from project.jobs.tasks import sweep_jobs, work  # noqa: F401

PURGE_BATCH_SIZE = 2000
MAX_PURGE_SECONDS = 60  # the rest waits for the next run
# Longer than any task takes: the longest gets half an hour (project.jobs.tasks.MAX_TASK_SECONDS).
MAX_TASK_AGE = timedelta(hours=1)


def heartbeat_file() -> Path:
    return settings.DATA_DIR / "heartbeat"


def touch_heartbeat() -> None:
    heartbeat_file().touch()


@shared_task(ignore_result=True)
def heartbeat() -> None:
    """Show that this worker consumes its queue (project/worker.py)."""
    touch_heartbeat()


@shared_task(ignore_result=True)
def purge_results() -> str:
    """Delete results older than CELERY_RESULT_EXPIRES, and mark what runs too long to be alive.

    In small batches, each its own transaction: one statement for millions of rows times out and
    holds its locks meanwhile (celery/django-celery-results#117).
    """
    mark_lost(timezone.now() - MAX_TASK_AGE)
    expired = timezone.now() - settings.CELERY_RESULT_EXPIRES
    stop = timezone.now() + timedelta(seconds=MAX_PURGE_SECONDS)
    deleted = 0
    for model in (TaskResult, GroupResult):
        while timezone.now() < stop:
            rows = model._default_manager.filter(date_done__lt=expired).order_by("date_done")
            batch = list(rows.values_list("pk", flat=True)[:PURGE_BATCH_SIZE])
            deleted += model._default_manager.filter(pk__in=batch).delete()[0]
            if len(batch) < PURGE_BATCH_SIZE:
                break
            time.sleep(0.05)  # let others use the table
    return f"{deleted} results deleted."


@shared_task(ignore_result=True)
def clear_sessions() -> None:
    """Delete the sessions that have ended, which nothing else does."""
    call_command("clearsessions")


@shared_task(ignore_result=True)
def purge_idempotency_keys() -> str:
    return f"{idempotency.purge()} keys deleted."
