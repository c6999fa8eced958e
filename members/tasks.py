"""Celery tasks: ids in, a sentence for the operator out, safe to run twice."""

import logging
import time
from datetime import datetime, timedelta

from celery import Task, shared_task
from django.db import DatabaseError
from django.utils import timezone
from django.utils.translation import gettext as _

from project.breaker import broker
from project.database import persistently

from . import pace
from .delivery import ConfigurationFault, MailRefused, RenderingFault, TryAgain, deliver
from .models import Dispatch, WelcomeEmail

logger = logging.getLogger(__name__)


class AttemptFailed(Exception):
    """What operators read where an attempt has failed. It never holds an address."""


@shared_task(bind=True, throws=(AttemptFailed,))
def send_welcome_email(self: Task, welcome_id: int) -> str:
    """Send one welcome e-mail; a second run while it is claimed or sent does nothing.

    Its words are in LANGUAGE_CODE, the language of a worker.
    """
    wait = pace.take_turn()
    if wait > pace.PATIENCE:
        later = WelcomeEmail.objects.put_off(welcome_id, timedelta(seconds=wait))
        return " ".join([_("Put off, as MAIL_RATE asks."), next_attempt(later)])
    time.sleep(wait)
    welcome = persistently(
        lambda: WelcomeEmail.objects.claim(welcome_id, self.request.id), patience=30
    )
    if welcome is None:
        pulse()
        return _(
            "Skipped: welcome e-mail %(id)d is gone, not due, sent or being sent, "
            "or sending is paused."
        ) % {"id": welcome_id}
    try:
        deliver(welcome)
    except TryAgain as error:
        at = welcome.record_retry(error.reason, error.code)
        pulse()
        then = next_attempt(at) if at else _("Given up: this was the last attempt.")
        number = _("Attempt %(number)d failed.") % {"number": welcome.attempts}
        raise AttemptFailed(" ".join([error.reason, number, then])) from None
    except (MailRefused, RenderingFault) as error:
        welcome.record_failed(error.reason, error.code)
        pulse()
        if welcome.is_probe and isinstance(error, MailRefused):
            Dispatch.objects.recovered()  # the server takes mails from us, if not this one
        raise AttemptFailed(" ".join([error.reason, _("Not tried again.")])) from None
    except ConfigurationFault as error:
        # In this order, or the sweeper might hand the row out once more.
        Dispatch.objects.pause(error.reason, error.code, lasts=error.wait)
        welcome.record_not_tried(error.reason, error.code)
        pulse()
        logger.error("Welcome e-mails cannot be sent: %s", error.reason)
        until = f"{timezone.now() + error.wait:%H:%M:%S}"
        then = _("All sending pauses until %(time)s UTC.") % {"time": until}
        raise AttemptFailed(" ".join([error.reason, then])) from None
    welcome.record_sent()
    if welcome.is_probe:
        Dispatch.objects.recovered()
    pulse(success=True)
    return _("Sent welcome e-mail %(id)d to member %(member)d.") % {
        "id": welcome.pk,
        "member": welcome.member_id,
    }


def next_attempt(at: datetime) -> str:
    return _("Next attempt at %(time)s UTC.") % {"time": f"{at:%H:%M:%S}"}


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
    freed = WelcomeEmail.objects.free_stuck() if lately else 0
    WelcomeEmail.objects.mend_clocks()
    # After a fault's pause one mail is enough to learn whether it is over.
    probing = Dispatch.objects.not_free().exists()
    due = WelcomeEmail.objects.take_due(most=1) if probing else WelcomeEmail.objects.take_due()
    hint(*due)
    Dispatch.objects.seen("worker", "sweep")
    return f"{timezone.now():%H:%M:%S} UTC: {len(due)} due, {freed} freed."


def hint(*welcome_ids: int) -> None:
    """Tell the workers; a broker that cannot be told is no failure, for the sweeper looks too."""
    for position, welcome_id in enumerate(welcome_ids):
        try:
            with broker:
                send_welcome_email.delay(welcome_id)
        except Exception as error:  # kombu, redis and the operating system raise what they like
            logger.warning("The broker takes no hints now, the sweeper will: %r", error)
            WelcomeEmail.objects.filter(pk__in=welcome_ids[position:]).update(hinted_at=None)
            return
