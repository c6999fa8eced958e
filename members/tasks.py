"""Celery tasks: ids in, a sentence for the operator out, safe to run twice."""

import logging

from celery import Task, shared_task
from django.utils import timezone

from .delivery import ConfigurationFault, MailRefused, RenderingFault, TryAgain, deliver
from .models import WelcomeEmail

logger = logging.getLogger(__name__)


class AttemptFailed(Exception):
    """What operators read where an attempt has failed. It never holds an address."""


@shared_task(bind=True, throws=(AttemptFailed,))
def send_welcome_email(self: Task, welcome_id: int) -> str:
    """Send one welcome e-mail; a second run while it is claimed or sent does nothing."""
    welcome = WelcomeEmail.objects.claim(welcome_id, self.request.id)
    if welcome is None:
        return f"Skipped: welcome e-mail {welcome_id} is gone, not due, sent or being sent."
    try:
        deliver(welcome)
    except TryAgain as error:
        at = welcome.record_retry(error.reason, error.code)
        then = f"next attempt at {at:%H:%M:%S} UTC" if at else "given up after 24 hours"
        raise AttemptFailed(f"{error.reason} Attempt {welcome.attempts}, {then}.") from None
    except (MailRefused, RenderingFault) as error:
        welcome.record_failed(error.reason, error.code)
        raise AttemptFailed(f"{error.reason} Not tried again.") from None
    except ConfigurationFault as error:
        at = welcome.record_not_tried(error.reason, error.code, error.wait)
        logger.error("Welcome e-mails cannot be sent: %s", error.reason)
        raise AttemptFailed(f"{error.reason} Next attempt at {at:%H:%M:%S} UTC.") from None
    welcome.record_sent()
    return f"Sent welcome e-mail {welcome.pk} to member {welcome.member_id}."


@shared_task(ignore_result=True)
def sweep_welcome_emails() -> str:
    """Hint at every due row of which no hint is on its way, and free the rows of dead workers."""
    freed = WelcomeEmail.objects.requeue_stuck()
    due = WelcomeEmail.objects.take_due()
    hint(*due)
    return f"{timezone.now():%H:%M:%S} UTC: {len(due)} due, {freed} freed."


def hint(*welcome_ids: int) -> None:
    """Tell the workers; a broker that cannot be told is no failure, for the sweeper looks too."""
    for position, welcome_id in enumerate(welcome_ids):
        try:
            send_welcome_email.delay(welcome_id)
        except Exception as error:  # kombu, redis and the operating system raise what they like
            logger.warning("The broker takes no hints now, the sweeper will: %r", error)
            WelcomeEmail.objects.filter(pk__in=welcome_ids[position:]).update(hinted_at=None)
            return
