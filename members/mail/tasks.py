"""Celery tasks: ids in, a report for the operator out, safe to run twice."""

import logging
from itertools import chain
from time import monotonic, sleep
from typing import Any

from celery import Task, shared_task
from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext_noop as _

from project.base.broker import publish
from project.base.database import persistently

from .delivery import deliver
from .models import Dispatch, WelcomeEmail
from .reasons import ConfigurationError, DeliveryError, PolicyError, TemporaryError

logger = logging.getLogger(__name__)

MAX_MAILS_PER_TASK = 50
MAX_BATCH_SECONDS = 30.0  # after which other tasks have their turn
LOOK_SECONDS = 1.0  # after which a batch looks whether sending is paused
MAX_ROWS_PER_SWEEP = 10_000  # about as many as go out before the next

# Sentences and their values, as in_readers_words() takes them.
Report = list[list[Any]]
SENT = _("Welcome e-mails sent: %(count)s.")
LEFT = _("Left for the next task: %(count)s.")
SKIPPED = _("Skipped (deleted, not due, paused, already sent or being sent): %(count)s.")
ABOUT = _("Welcome e-mail %(id)s:")
AGAIN = _("Attempt %(number)s failed. Next attempt at %(time)s UTC.")
PAUSED = _("Sending is paused until %(time)s UTC.")
FINAL = _("It won’t be retried.")

_next_turn = 0.0  # when this process may send its next mail (MAIL_RATE)


class AttemptFailedError(Exception):
    """At least one attempt failed. Its argument is the report, which never holds an address."""


# Results of years are stored under the names of the tasks.
@shared_task(name="members.tasks.send_welcome_emails", bind=True, throws=(AttemptFailedError,))
def send_welcome_emails(self: Task, *welcome_ids: int) -> Report:
    """Send these, one for a new member and up to MAX_MAILS_PER_TASK of a backlog.

    Each is claimed when its turn has come; until then it is anybody's.
    """
    due = WelcomeEmail.objects.due(timezone.now()).filter(pk__in=welcome_ids)
    due = due.select_related("member").order_by("next_attempt_at", "pk")
    stop_at, look_at = monotonic() + MAX_BATCH_SECONDS, monotonic() + LOOK_SECONDS
    sent, left, failures = 0, 0, []
    last: WelcomeEmail | None = None  # sent, and recorded with the claim of the next
    try:
        for welcome in persistently(lambda: list(due)):
            now = monotonic()
            if max(now, _next_turn) >= stop_at:
                left += 1
                continue
            if now < _next_turn:
                sleep(_next_turn - now)
            if monotonic() >= look_at:
                if persistently(Dispatch.objects.pausing().exists):
                    break
                look_at = monotonic() + LOOK_SECONDS
            is_claimed, last = welcome.claim(self.request.id, last), None
            if not is_claimed:
                continue
            if failure := attempt(welcome, others_pass=bool(sent)):
                failures.append(failure)
                look_at = 0.0  # it may have paused all sending
                continue
            sent, last = sent + 1, welcome
            if settings.MAIL_INTERVAL:  # the next has to wait
                last.sent()
                last = None
    finally:
        if last:
            last.sent()
    skipped = len(welcome_ids) - sent - left - len(failures)
    if left or skipped:
        # Their message is used up: the sweeper need not take it for one on its way.
        waiting = WelcomeEmail.objects.filter(pk__in=welcome_ids, state=WelcomeEmail.State.QUEUED)
        waiting.update(enqueued_at=None)
    if sent:
        Dispatch.objects.came_through()
    counts = {SENT: sent, LEFT: left, SKIPPED: skipped}
    report = [[text, {"count": count}] for text, count in counts.items() if count]
    if failures:
        raise AttemptFailedError([*report, *chain(*failures)])
    return report


def attempt(welcome: WelcomeEmail, others_pass: bool) -> Report:
    """Send it, but don’t record that yet; what to tell if it fails."""
    global _next_turn
    _next_turn = monotonic() + settings.MAIL_INTERVAL
    try:
        deliver(welcome)
    except DeliveryError as error:
        outcome = record_failure(welcome, error, others_pass)
        return [[ABOUT, {"id": welcome.pk}], [error.reason, {}], outcome]
    return []


def record_failure(welcome: WelcomeEmail, error: DeliveryError, others_pass: bool) -> list[Any]:
    reason, code = error.reason, error.code
    is_fault = isinstance(error, ConfigurationError)
    if isinstance(error, PolicyError):  # unless others come through
        success_at = timezone.now() if others_pass else Dispatch.objects.current().success_at
        is_fault = not welcome.fails_alone(code, success_at)
    if is_fault:
        # In this order, or the sweeper might hand the row out once more.
        Dispatch.objects.pause(reason, code, lasts=ConfigurationError.pause)
        welcome.not_tried(reason, code)
        logger.error("Welcome e-mails cannot be sent: %s", reason)
        return [PAUSED, {"time": f"{timezone.now() + ConfigurationError.pause:%H:%M:%S}"}]
    if isinstance(error, TemporaryError | PolicyError):
        if at := welcome.retry(reason, code):
            return [AGAIN, {"number": welcome.attempts, "time": f"{at:%H:%M:%S}"}]
    else:  # refused, or cannot be written
        welcome.fail(reason, code)
    return [FINAL, {}]


@shared_task(name="members.tasks.sweep_welcome_emails", ignore_result=True)
def sweep_welcome_emails() -> str:
    """Free the rows of dead workers, and enqueue every due row of which no message is on its way."""
    freed = WelcomeEmail.objects.free_stuck()
    due = enqueue_due()
    Dispatch.objects.heartbeat("worker", "sweep")
    return f"{timezone.now():%H:%M:%S} UTC: {due} due, {freed} freed."


def enqueue_due() -> int:
    ids = WelcomeEmail.objects.take_due(MAX_ROWS_PER_SWEEP)
    enqueue(*ids)
    return len(ids)


def enqueue(*welcome_ids: int) -> None:
    """Tell the workers; a broker that cannot be told is no failure, for the sweeper looks too."""
    for start in range(0, len(welcome_ids), MAX_MAILS_PER_TASK):
        if not publish(send_welcome_emails, *welcome_ids[start : start + MAX_MAILS_PER_TASK]):
            WelcomeEmail.objects.filter(pk__in=welcome_ids[start:]).update(enqueued_at=None)
            return
