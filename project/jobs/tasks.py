"""Celery tasks of long work: ids in, a sentence for the operator out (with its values), safe to run twice.

Their names are those under which results of years are stored.
"""

import logging
from contextlib import suppress
from datetime import timedelta
from typing import Any

from celery import Task, shared_task
from django.apps import apps
from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone, translation
from django.utils.translation import gettext_noop

from project.base.broker import publish
from project.base.files.rows import Problem, UnreadableFileError
from project.base.results import mark_lost

from .models import HEARTBEAT_TIMEOUT, MAX_CLAIMS, Job, LostClaimError, NotFinishedError, State

logger = logging.getLogger(__name__)

MAX_TASK_SECONDS = 1800
ENQUEUE_INTERVAL = timedelta(seconds=60)
MAX_JOBS_PER_SWEEP = 100
BROKE_OFF = gettext_noop(
    "The work was interrupted %(times)d times; the task results say why. What was written is kept."
)

# What the task returns.
SKIPPED = gettext_noop("Skipped: %(name)s %(id)d has nothing to do, or another worker has it.")
STOPPED = gettext_noop("Stopped: %(name)s %(id)d was cancelled or taken over.")
ENDED = gettext_noop("%(name)s %(id)d: %(state)s.")


class BrokeOffError(Exception):
    """Only the kind of error that ended the work."""


def job_models() -> dict[str, type[Job]]:
    """By the names that messages and batches have."""
    models = (model for model in apps.get_models() if issubclass(model, Job))
    return {str(model._meta.model_name): model for model in models}


@shared_task(name="library.tasks.work", bind=True, soft_time_limit=MAX_TASK_SECONDS)
def work(self: Task, model: str, pk: int) -> list[Any]:
    """Do what this job waits for; nothing, if it is not due or another worker has it.

    Returns a sentence and its values, which the page of task results translates for its reader.
    """
    jobs = job_models()[model]
    job = jobs.objects.claim(pk, self.request.id or "")
    with translation.override(None):
        name = {"name": str(jobs._meta.verbose_name), "id": pk}
    if job is None:
        return [[SKIPPED, name]]
    try:
        try:
            if job.claims > MAX_CLAIMS:
                job.finish(State.FAILED, error=Problem(BROKE_OFF, {"times": MAX_CLAIMS}).as_json())
            else:
                job.work()
        except UnreadableFileError as error:
            job.finish(State.FAILED, error=error.problem.as_json())
        except NotFinishedError:
            job.record(claim="", heartbeat_at=None)
            enqueue(job)
    except LostClaimError:
        return [[STOPPED, name]]
    except BaseException as error:
        # The sweep tries again, at once and not after the heartbeat's time.
        with suppress(DatabaseError, LostClaimError):
            job.record(claim="", heartbeat_at=None)
        if job.holds_addresses and isinstance(error, Exception):
            # A database tells the value that it refuses, and results and logs outlive members.
            raise BrokeOffError(type(error).__name__).with_traceback(error.__traceback__) from None
        raise
    with translation.override(None):
        return [[ENDED, {**name, "state": str(State(job.state).label)}]]


def work_now(job: Job) -> None:
    """Small work, in the request that asks for it."""
    work.apply(args=(job._meta.model_name, job.pk), throw=True)
    job.refresh_from_db()


@shared_task(name="library.tasks.sweep_jobs", ignore_result=True)
def sweep_jobs() -> str:
    """Enqueue what waits without a message, and what a dead worker left behind."""
    now = timezone.now()
    since = now - ENQUEUE_INTERVAL
    due = 0
    for jobs in job_models().values():
        waiting = jobs.objects.unattended().filter(Q(enqueued_at=None) | Q(enqueued_at__lt=since))
        waiting = waiting.only("pk", "claim", "task_id").order_by("pk")[:MAX_JOBS_PER_SWEEP]
        dead = [job.task_id for job in waiting if job.claim]
        for job in waiting:
            enqueue(job)
            due += 1
        mark_lost(now - HEARTBEAT_TIMEOUT, task_id__in=dead)
    return f"{due} due."


def enqueue(job: Job) -> None:
    """Tell the workers; if the broker cannot be told, the sweep will."""
    if publish(work, str(job._meta.model_name), job.pk):
        type(job).objects.filter(pk=job.pk).update(enqueued_at=timezone.now())
