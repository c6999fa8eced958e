"""Celery tasks of imports: ids in, a sentence for the operator out, safe to run twice."""

import logging
from contextlib import suppress
from datetime import timedelta

from celery import Task, shared_task
from django.conf import settings
from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from project.base.breaker import broker
from project.base.files.rows import Problem, UnreadableFileError

from .jobs import NotFinishedError, examine, run, take_back
from .models import MAX_CLAIMS, Import, LostClaimError, State

logger = logging.getLogger(__name__)

MAX_TASK_SECONDS = 1800
ENQUEUE_INTERVAL = timedelta(seconds=60)
MAX_IMPORTS_PER_SWEEP = 100
BROKE_OFF = gettext_noop(
    "The work broke off %(times)d times; the task results say why. What was written is kept."
)
WORK = {
    State.UPLOADED: examine,
    State.QUEUED: run,
    State.RUNNING: run,
    State.UNDOING: take_back,
}


@shared_task(name="library.tasks.work_on_import", bind=True, soft_time_limit=MAX_TASK_SECONDS)
def work_on_import(self: Task, import_id: int) -> str:
    """Examine or write this import; nothing, if it is not due or another worker has it."""
    job = Import.objects.claim(import_id, self.request.id or "")
    if job is None:
        return _("Skipped: import %(id)d has nothing to do, or another worker has it.") % {
            "id": import_id
        }
    try:
        if job.claims > MAX_CLAIMS:
            job.finish(State.FAILED, error=Problem(BROKE_OFF, {"times": MAX_CLAIMS}).as_json())
        else:
            WORK[State(job.state)](job)
    except LostClaimError:
        return _("Stopped: import %(id)d was cancelled or taken over.") % {"id": import_id}
    except UnreadableFileError as error:
        job.finish(State.FAILED, error=error.problem.as_json())
    except NotFinishedError:
        job.record(claim="", heartbeat_at=None)
        enqueue(import_id)
    except BaseException:
        # The sweep tries again, at once and not after the heartbeat's time.
        with suppress(DatabaseError, LostClaimError):
            job.record(claim="", heartbeat_at=None)
        raise
    return _("Import %(id)d: %(state)s.") % {"id": import_id, "state": State(job.state).label}


@shared_task(name="library.tasks.sweep_imports", ignore_result=True)
def sweep_imports() -> str:
    """Enqueue what waits without a message, and what a dead worker left behind."""
    since = timezone.now() - ENQUEUE_INTERVAL
    due = Import.objects.unattended().filter(Q(enqueued_at=None) | Q(enqueued_at__lt=since))
    ids = list(due.order_by("pk").values_list("pk", flat=True)[:MAX_IMPORTS_PER_SWEEP])
    for pk in ids:
        enqueue(pk)
    return f"{len(ids)} due."


def enqueue(import_id: int) -> None:
    """Tell the workers; if the broker cannot be told, the sweep will."""
    try:
        with broker:
            work_on_import.delay(import_id)
    except Exception as error:  # kombu, redis and the operating system raise what they like
        logger.warning("The broker takes no messages now, the sweeper will see to it: %r", error)
    else:
        Import.objects.filter(pk=import_id).update(enqueued_at=timezone.now())


@shared_task(name="library.tasks.purge_imports", ignore_result=True)
def purge_imports() -> str:
    """Delete the files and rows of old imports; their counts stay."""
    old = timezone.now() - timedelta(days=settings.IMPORT_KEEP_DAYS)
    jobs = Import.objects.filter(uploaded_at__lt=old).exclude(file="")
    purged = 0
    for job in jobs.exclude(state__in=Import.WORKING):
        job.pages.all().delete()
        job.file.delete(save=False)
        state = State.CANCELLED if job.state == State.EXAMINED else State(job.state)
        Import.objects.filter(pk=job.pk).update(file="", state=state, reading={})
        purged += 1
    return f"{purged} imports purged."
