"""Celery tasks: ids in, a sentence for the operator out, safe to run twice.

Their names are those under which results of years are stored.
"""

import logging
from collections import deque
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from functools import partial
from time import monotonic, sleep
from typing import Any

from celery import Task, shared_task
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from project.base.broker import publish
from project.base.database import persistently

from .delivery import deliver
from .models import Dispatch, WelcomeEmail
from .reasons import (
    ConfigurationError,
    DeliveryError,
    PolicyError,
    RefusedError,
    Sentence,
    TemporaryError,
)

logger = logging.getLogger(__name__)


class AttemptFailedError(Exception):
    """What operators read where at least one attempt failed. It never holds an address."""


BATCH_SIZE = 50  # mails of one task
# What has not begun by then is given back: a claim must not outlast its time.
MAX_BATCH_SECONDS = 30.0
LOOK_SECONDS = 1.0  # after which a batch looks whether it may go on
HEARTBEAT_SECONDS = 5  # one UPDATE in so long, not one for each mail
DATABASE_RETRY_SECONDS = 30
# A sweep enqueues about as many rows as go out before the next, so many in one statement.
MAX_ROWS_PER_SWEEP, ROWS_PER_STATEMENT = 10_000, 2_000

# Of this process: when it may send its next mail (MAIL_RATE), and its heartbeats.
_next_turn = 0.0
_heartbeats: dict[tuple[bool, bool], float] = {}


@shared_task(name="members.tasks.send_welcome_emails", bind=True, throws=(AttemptFailedError,))
def send_welcome_emails(self: Task, *welcome_ids: int) -> str:
    """Send these, one for a new member and up to BATCH_SIZE of a backlog.

    A second run while they are claimed or sent does nothing. Its words are English, and are read
    in the reader's language (reasons.py).
    """
    batch = Batch(welcome_ids, self.request.id)
    batch.run()
    show_heartbeat(success=bool(batch.sent), recovered=batch.is_answered)
    enqueue(*batch.left)
    report = " ".join(batch.report())
    if batch.failures:
        raise AttemptFailedError(report)
    return report


class Batch:
    """When run() returns, each of these mails is sent, explained or given back."""

    def __init__(self, ids: Collection[int], task_id: str | None) -> None:
        self.task_id, self.claimed_at = task_id, timezone.now()
        claim = partial(WelcomeEmail.objects.claim, ids, task_id, self.claimed_at)
        self.waiting = deque(persistently(claim, DATABASE_RETRY_SECONDS))
        self.is_alone, self.skipped = len(ids) == 1, len(ids) - len(self.waiting)
        self.sent: list[WelcomeEmail] = []
        self.failures: list[tuple[WelcomeEmail, str]] = []  # each with its sentence
        self.notes: list[str] = []
        self.left: list[int] = []  # given back, and due
        self.is_answered = False  # by a server that takes mails from us

    def run(self) -> None:
        global _next_turn
        self.look_at = monotonic() + LOOK_SECONDS
        stop_at = monotonic() + MAX_BATCH_SECONDS
        try:
            while self.waiting:
                now = monotonic()
                wait = max(0.0, _next_turn - now)
                if now >= self.look_at:
                    self._look_around()
                    self.look_at = now + LOOK_SECONDS
                elif wait and now + wait >= stop_at:
                    at = timezone.now() + timedelta(seconds=wait)
                    self._give_back(Sentence.PUT_OFF, at)
                    self.notes.append(next_attempt(at))
                elif now >= stop_at:
                    self.left = [welcome.pk for welcome in self.waiting]
                    self._give_back(Sentence.LEFT, enqueued_at=timezone.now())
                elif wait:
                    sleep(min(wait, LOOK_SECONDS))
                else:
                    _next_turn = now + settings.MAIL_INTERVAL
                    self._send(self.waiting.popleft())
        finally:
            self._give_back(Sentence.LEFT)

    def _send(self, welcome: WelcomeEmail) -> None:
        welcome.began = timezone.now()
        try:
            deliver(welcome)
        except DeliveryError as error:
            self._failed(welcome, error)
        else:
            self.is_answered = True
            self.sent.append(welcome)
            if not welcome.sent():
                self.look_at = 0.0  # the row is no longer ours, so the others may not be

    def _failed(self, welcome: WelcomeEmail, error: DeliveryError) -> None:
        reason, code = error.reason, error.code
        is_fault = isinstance(error, ConfigurationError)
        if isinstance(error, PolicyError):  # unless others come through
            success_at = timezone.now() if self.sent else Dispatch.objects.current().success_at
            is_fault = not welcome.fails_alone(code, success_at)
        if is_fault:
            # In this order, or the sweeper might hand the row out once more.
            Dispatch.objects.pause(reason, code, lasts=ConfigurationError.pause)
            welcome.not_tried(reason, code)
            logger.error("Welcome e-mails cannot be sent: %s", reason)
            until = timezone.now() + ConfigurationError.pause
            told = Sentence.PAUSED_UNTIL % {"time": f"{until:%H:%M:%S}"}
            self._give_back(Sentence.PAUSED)
        elif isinstance(error, TemporaryError | PolicyError):
            at = welcome.retry(reason, code)
            told = f"{Sentence.FAILED % {'number': welcome.attempts}} "
            told += next_attempt(at) if at else Sentence.LAST
        else:  # refused, or cannot be written
            self.is_answered |= isinstance(error, RefusedError)
            welcome.fail(reason, code)
            told = Sentence.FINAL
        self.failures.append((welcome, f"{reason} {told}"))

    def _give_back(self, note: Any, *args: datetime, enqueued_at: datetime | None = None) -> None:
        if not self.waiting:
            return
        self.notes.append(note % {"count": len(self.waiting)})
        give_back = partial(self._rows().give_back, *args, enqueued_at=enqueued_at)
        persistently(give_back, WelcomeEmail.RECORD_RETRY_SECONDS)
        self.waiting.clear()

    def _look_around(self) -> None:
        """Keep what is still ours, and nothing while sending is paused."""
        ids = self._rows().values_list("pk", flat=True)
        mine = persistently(lambda: set(ids.all()), DATABASE_RETRY_SECONDS)
        self.waiting = deque(welcome for welcome in self.waiting if welcome.pk in mine)
        if persistently(Dispatch.objects.pausing().exists, DATABASE_RETRY_SECONDS):
            self._give_back(Sentence.PAUSED)

    def _rows(self) -> Any:
        """The rows that wait, as far as they are still ours."""
        claimed = WelcomeEmail.objects.claimed(self.task_id, self.claimed_at)
        return claimed.filter(pk__in=[welcome.pk for welcome in self.waiting])

    def report(self) -> Iterator[str]:
        """What the operator reads of it. A mail that is alone needs no number."""
        if self.is_alone and self.sent:
            [welcome] = self.sent
            yield Sentence.SENT_ONE % {"id": welcome.pk, "member": welcome.member_id}
        elif self.sent:
            yield Sentence.SENT % {"count": len(self.sent)}
        for welcome, sentence in self.failures:
            about = "" if self.is_alone else Sentence.ABOUT % {"id": welcome.pk}
            yield f"{about} {sentence}".strip()
        yield from self.notes
        if self.skipped:
            is_paused = Dispatch.objects.pausing().exists()
            why = Sentence.SKIPPED_PAUSED if is_paused else Sentence.SKIPPED
            yield why % {"count": self.skipped}


def next_attempt(at: datetime) -> str:
    return Sentence.NEXT % {"time": f"{at:%H:%M:%S}"}


def show_heartbeat(success: bool, recovered: bool) -> None:
    """Show that this worker works, and that mails come through."""
    now, kind = monotonic(), (success, recovered)
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
        if not publish(send_welcome_emails, *welcome_ids[start : start + BATCH_SIZE]):
            WelcomeEmail.objects.filter(pk__in=welcome_ids[start:]).update(enqueued_at=None)
            return False
    return True
