"""Celery tasks: ids in, a sentence for the operator out, safe to run twice."""

import logging
from datetime import datetime

from celery import Task, shared_task
from django.utils import timezone
from django.utils.translation import gettext as _

from project.breaker import broker

from .delivery import ConfigurationFault, MailRefused, RenderingFault, TryAgain, deliver
from .models import WelcomeEmail

logger = logging.getLogger(__name__)


class AttemptFailed(Exception):
    """What operators read where an attempt has failed. It never holds an address."""


@shared_task(bind=True, throws=(AttemptFailed,))
def send_welcome_email(self: Task, welcome_id: int) -> str:
    """Send one welcome e-mail; a second run while it is claimed or sent does nothing.

    Its words are in LANGUAGE_CODE, the language of a worker.
    """
    welcome = WelcomeEmail.objects.claim(welcome_id, self.request.id)
    if welcome is None:
        return _("Skipped: welcome e-mail %(id)d is gone, not due, sent or being sent.") % {
            "id": welcome_id
        }
    try:
        deliver(welcome)
    except TryAgain as error:
        at = welcome.record_retry(error.reason, error.code)
        then = next_attempt(at) if at else _("Given up: this was the last attempt.")
        number = _("Attempt %(number)d failed.") % {"number": welcome.attempts}
        raise AttemptFailed(f"{error.reason} {number} {then}") from None
    except (MailRefused, RenderingFault) as error:
        welcome.record_failed(error.reason, error.code)
        raise AttemptFailed(f"{error.reason} {_('Not tried again.')}") from None
    except ConfigurationFault as error:
        at = welcome.record_not_tried(error.reason, error.code, error.wait)
        logger.error("Welcome e-mails cannot be sent: %s", error.reason)
        raise AttemptFailed(f"{error.reason} {next_attempt(at)}") from None
    welcome.record_sent()
    return _("Sent welcome e-mail %(id)d to member %(member)d.") % {
        "id": welcome.pk,
        "member": welcome.member_id,
    }


def next_attempt(at: datetime) -> str:
    return _("Next attempt at %(time)s UTC.") % {"time": f"{at:%H:%M:%S}"}


@shared_task(ignore_result=True)
def sweep_welcome_emails() -> str:
    """Hint at every due row of which no hint is on its way, and free the rows of dead workers."""
    freed = WelcomeEmail.objects.free_stuck()
    due = WelcomeEmail.objects.take_due()
    hint(*due)
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
