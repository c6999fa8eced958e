"""Celery tasks of long work: ids in, a sentence for the operator out, safe to run twice."""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from celery import Task, shared_task
from django.apps import apps
from django.conf import settings
from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from project.base.broker import publish
from project.base.files.rows import Problem, UnreadableFileError

from .bulk import changes
from .bulk.models import BulkChange
from .files import jobs as imports
from .files.models import Import
from .jobs import MAX_CLAIMS, WORKING, Job, LostClaimError, NotFinishedError, State

logger = logging.getLogger(__name__)

MAX_TASK_SECONDS = 1800
ENQUEUE_INTERVAL = timedelta(seconds=60)
MAX_JOBS_PER_SWEEP = 100
BROKE_OFF = gettext_noop(
    "The work broke off %(times)d times; the task results say why. What was written is kept."
)
WORK: dict[type[Job], dict[State, Callable[[Any], None]]] = {
    Import: {
        State.UPLOADED: imports.examine,
        State.QUEUED: imports.run,
        State.RUNNING: imports.run,
        State.UNDOING: Import.take_back,
    },
    BulkChange: {
        State.QUEUED: changes.run,
        State.RUNNING: changes.run,
        State.UNDOING: BulkChange.take_back,
    },
}


@shared_task(name="library.tasks.work", bind=True, soft_time_limit=MAX_TASK_SECONDS)
def work(self: Task, model: str, pk: int) -> str:
    """Do what this job waits for; nothing, if it is not due or another worker has it."""
    jobs: Any = apps.get_model("library", model)
    job = jobs.objects.claim(pk, self.request.id or "")
    name = {"name": jobs._meta.verbose_name, "id": pk}
    if job is None:
        return _("Skipped: %(name)s %(id)d has nothing to do, or another worker has it.") % name
    try:
        if job.claims > MAX_CLAIMS:
            job.finish(State.FAILED, error=Problem(BROKE_OFF, {"times": MAX_CLAIMS}).as_json())
        else:
            WORK[jobs][State(job.state)](job)
    except LostClaimError:
        return _("Stopped: %(name)s %(id)d was cancelled or taken over.") % name
    except UnreadableFileError as error:
        job.finish(State.FAILED, error=error.problem.as_json())
    except NotFinishedError:
        job.record(claim="", heartbeat_at=None)
        enqueue(job)
    except BaseException:
        # The sweep tries again, at once and not after the heartbeat's time.
        with suppress(DatabaseError, LostClaimError):
            job.record(claim="", heartbeat_at=None)
        raise
    return _("%(name)s %(id)d: %(state)s.") % {**name, "state": State(job.state).label}


def work_now(job: Job) -> None:
    """Small work, in the request that asks for it."""
    work.apply(args=(job._meta.model_name, job.pk), throw=True)
    job.refresh_from_db()


@shared_task(name="library.tasks.sweep_jobs", ignore_result=True)
def sweep_jobs() -> str:
    """Enqueue what waits without a message, and what a dead worker left behind."""
    since = timezone.now() - ENQUEUE_INTERVAL
    due = 0
    for jobs in WORK:
        waiting = jobs.objects.unattended().filter(Q(enqueued_at=None) | Q(enqueued_at__lt=since))
        for job in waiting.only("pk").order_by("pk")[:MAX_JOBS_PER_SWEEP]:
            enqueue(job)
            due += 1
    return f"{due} due."


def enqueue(job: Job) -> None:
    """Tell the workers; if the broker cannot be told, the sweep will."""
    if publish(work, str(job._meta.model_name), job.pk):
        type(job).objects.filter(pk=job.pk).update(enqueued_at=timezone.now())


@shared_task(name="library.tasks.purge_imports", ignore_result=True)
def purge_imports() -> str:
    """Delete the files and rows of old imports; their counts stay."""
    old = timezone.now() - timedelta(days=settings.IMPORT_KEEP_DAYS)
    jobs = Import.objects.filter(uploaded_at__lt=old).exclude(file="")
    purged = 0
    for job in jobs.exclude(state__in=WORKING):
        job.pages.all().delete()
        job.file.delete(save=False)
        state = State.CANCELLED if job.state == State.EXAMINED else State(job.state)
        Import.objects.filter(pk=job.pk).update(file="", state=state, reading={})
        purged += 1
    return f"{purged} imports purged."
