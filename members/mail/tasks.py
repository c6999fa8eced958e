"""Celery tasks: ids in, a sentence for the operator out, safe to run twice."""

import logging
import time
from collections.abc import Iterator
from functools import partial

from celery import Task, shared_task
from django.db import DatabaseError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from project.breaker import broker
from project.database import persistently

from .batch import Batch
from .ledger import of_the_dead
from .models import Dispatch, WelcomeEmail

logger = logging.getLogger(__name__)


class AttemptFailed(Exception):
    """What operators read where an attempt has failed. It never holds an address."""


TOGETHER = 50  # mails of one task: what a commit costs is shared by so many
# A sweep hints at MOST_DUE rows, about as many as go out before the next, AT_ONCE in a statement.
MOST_DUE, AT_ONCE = 10_000, 2_000


@shared_task(bind=True, throws=(AttemptFailed,))
def send_welcome_emails(self: Task, *welcome_ids: int) -> str:
    """Send these, one for a new member and up to TOGETHER of a backlog.

    A second run while they are claimed or sent does nothing. Its words are in LANGUAGE_CODE, the
    language of a worker.
    """
    claim = partial(WelcomeEmail.objects.claim, welcome_ids, self.request.id, at := timezone.now())
    batch = Batch(persistently(claim, patience=30), at)
    skipped = len(welcome_ids) - len(batch.waiting)
    batch.run()
    pulse(success=bool(batch.sent))
    hint(*batch.left)
    report = " ".join(sentences(batch, skipped, alone=len(welcome_ids) == 1))
    if batch.failures:
        raise AttemptFailed(report)
    return report


def sentences(batch: Batch, skipped: int, alone: bool) -> Iterator[str]:
    """What the operator reads of it. A mail that is ALONE needs no number."""
    if alone and batch.sent:
        welcome = batch.sent[0]
        names = {"id": welcome.pk, "member": welcome.member_id}
        yield _("Sent welcome e-mail %(id)d to member %(member)d.") % names
    elif batch.sent:
        number = len(batch.sent)
        yield ngettext("Sent %d welcome e-mail.", "Sent %d welcome e-mails.", number) % number
    for welcome, sentence in batch.failures:
        if not alone:
            yield _("Welcome e-mail %(id)d:") % {"id": welcome.pk}
        yield sentence
    yield from batch.notes
    if skipped:
        why = _("Skipped, for it is gone, not due, sent or being sent: %(count)d.")
        if Dispatch.objects.not_free().exists():
            why = _("Skipped, for sending is paused: %(count)d.")
        yield why % {"count": skipped}


PULSE = 5  # seconds: one UPDATE in so long, not one for each mail
_pulses: dict[bool, float] = {}


def pulse(success: bool = False) -> None:
    """Show that this worker works, and that mails come through."""
    now = time.monotonic()
    if now - _pulses.get(success, -PULSE) >= PULSE:
        _pulses[success] = now
        try:
            Dispatch.objects.seen("worker", *(["success"] if success else []))
        except DatabaseError as error:  # what became of the mail stands in its row already
            logger.warning("The pulse cannot be recorded: %r", error)


@shared_task(ignore_result=True)
def sweep_welcome_emails() -> str:
    """Hint at every due row of which no hint is on its way, and free the rows of dead workers."""
    swept = Dispatch.objects.current().sweep_at
    lately = swept and timezone.now() - swept < WelcomeEmail.objects.all().QUIET
    freed = settle_the_dead() + (WelcomeEmail.objects.free_stuck() if lately else 0)
    WelcomeEmail.objects.mend_clocks()
    # After a fault's pause one mail is enough to learn whether it is over.
    probing = Dispatch.objects.not_free().exists()
    due, most = 0, 1 if probing else MOST_DUE
    while due < most:
        ids = WelcomeEmail.objects.take_due(min(most, AT_ONCE))
        due += len(ids)
        if not hint(*ids) or len(ids) < AT_ONCE:
            break
    Dispatch.objects.seen("worker", "sweep")
    return f"{timezone.now():%H:%M:%S} UTC: {due} due, {freed} freed."


def settle_the_dead() -> int:
    """Record what processes of this machine had sent when they were killed, and free the rest."""
    freed = 0
    for legacy in of_the_dead():
        ids = [*legacy.sent, *legacy.in_flight, *legacy.untouched]
        welcomes = list(WelcomeEmail.objects.claimed(ids, legacy.claimed_at))
        now = timezone.now()
        for welcome in welcomes:
            if welcome.pk in legacy.sent:
                welcome.sent(now)
            elif welcome.pk in legacy.untouched:
                welcome.give_back()
            else:
                welcome.lost()
        WelcomeEmail.objects.record(welcomes)
        freed += len(welcomes)
    return freed


def hint(*welcome_ids: int) -> bool:
    """Tell the workers; a broker that cannot be told is no failure, for the sweeper looks too."""
    for start in range(0, len(welcome_ids), TOGETHER):
        try:
            with broker:
                send_welcome_emails.delay(*welcome_ids[start : start + TOGETHER])
        except Exception as error:  # kombu, redis and the operating system raise what they like
            logger.warning("The broker takes no hints now, the sweeper will: %r", error)
            WelcomeEmail.objects.filter(pk__in=welcome_ids[start:]).update(hinted_at=None)
            return False
    return True
