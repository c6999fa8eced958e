"""Celery tasks: ids in, a sentence for the operator out, safe to run twice.

Their names are those under which results of years are stored.
"""

import logging
import time
from collections.abc import Iterator

from celery import Task, shared_task
from django.db import DatabaseError
from django.utils import timezone

from project.base.breaker import broker

from .batch import Batch
from .models import Dispatch, WelcomeEmail
from .reasons import Sentence

logger = logging.getLogger(__name__)


class AttemptFailedError(Exception):
    """What operators read where at least one attempt failed. It never holds an address."""


BATCH_SIZE = 50  # mails of one task
# A sweep enqueues about as many rows as go out before the next, so many in one statement.
MAX_ROWS_PER_SWEEP, ROWS_PER_STATEMENT = 10_000, 2_000


@shared_task(name="members.tasks.send_welcome_emails", bind=True, throws=(AttemptFailedError,))
def send_welcome_emails(self: Task, *welcome_ids: int) -> str:
    """Send these, one for a new member and up to BATCH_SIZE of a backlog.

    A second run while they are claimed or sent does nothing. Its words are English, and are read
    in the reader's language (report.py).
    """
    batch = Batch(welcome_ids, self.request.id)
    batch.run()
    show_heartbeat(success=bool(batch.sent), recovered=batch.is_answered)
    enqueue(*batch.left)
    report = " ".join(sentences(batch, alone=len(welcome_ids) == 1))
    if batch.failures:
        raise AttemptFailedError(report)
    return report


def sentences(batch: Batch, alone: bool) -> Iterator[str]:
    """What the operator reads of it. A mail that is alone needs no number."""
    if alone and batch.sent:
        welcome = batch.sent[0]
        names = {"id": welcome.pk, "member": welcome.member_id}
        yield Sentence.SENT_ONE % names
    elif batch.sent:
        yield Sentence.SENT % {"count": len(batch.sent)}
    for welcome, sentence in batch.failures:
        if not alone:
            yield Sentence.ABOUT % {"id": welcome.pk}
        yield sentence
    yield from batch.notes
    if batch.skipped:
        why = Sentence.SKIPPED
        if Dispatch.objects.pausing().exists():
            why = Sentence.SKIPPED_PAUSED
        yield why % {"count": batch.skipped}


HEARTBEAT_SECONDS = 5  # one UPDATE in so long, not one for each mail
_heartbeats: dict[tuple[bool, bool], float] = {}


def show_heartbeat(success: bool, recovered: bool) -> None:
    """Show that this worker works, and that mails come through."""
    now, kind = time.monotonic(), (success, recovered)
    if now - _heartbeats.get(kind, -HEARTBEAT_SECONDS) < HEARTBEAT_SECONDS:
        return
    _heartbeats[kind] = now
    try:
        Dispatch.objects.heartbeat("worker", *(["success"] if success else []))
        if recovered:
            Dispatch.objects.recover()
    except DatabaseError as error:  # what became of the mail stands in its row already
        logger.warning("The heartbeat cannot be recorded: %r", error)


@shared_task(name="members.tasks.sweep_welcome_emails", ignore_result=True)
def sweep_welcome_emails() -> str:
    """Free the rows of dead workers, and enqueue every due row of which no message is on its way."""
    freed = WelcomeEmail.objects.free_stuck()
    due = enqueue_due()
    Dispatch.objects.heartbeat("worker", "sweep")
    return f"{timezone.now():%H:%M:%S} UTC: {due} due, {freed} freed."


def enqueue_due() -> int:
    due = 0
    while due < MAX_ROWS_PER_SWEEP:
        limit = min(ROWS_PER_STATEMENT, MAX_ROWS_PER_SWEEP - due)
        ids = WelcomeEmail.objects.take_due(limit)
        due += len(ids)
        if not enqueue(*ids) or len(ids) < limit:
            break
    return due


def enqueue(*welcome_ids: int) -> bool:
    """Tell the workers; a broker that cannot be told is no failure, for the sweeper looks too."""
    for start in range(0, len(welcome_ids), BATCH_SIZE):
        try:
            with broker:
                send_welcome_emails.delay(*welcome_ids[start : start + BATCH_SIZE])
        except Exception as error:  # kombu, redis and the operating system raise what they like
            logger.warning(
                "The broker takes no messages now, the sweeper will see to it: %r", error
            )
            WelcomeEmail.objects.filter(pk__in=welcome_ids[start:]).update(enqueued_at=None)
            return False
    return True
