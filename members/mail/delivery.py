"""One attempt to send a welcome e-mail."""

import logging
import uuid
from typing import Any

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext, gettext_noop

from . import smtp
from .models import WelcomeEmail
from .reasons import RenderingError, classify

logger = logging.getLogger(__name__)


def render(welcome: WelcomeEmail) -> EmailMultiAlternatives:
    """The mail as the member gets it: plain text, and HTML with every value escaped."""
    with translation.override(settings.LANGUAGE_CODE):
        context = {"member": welcome.member}
        mail = EmailMultiAlternatives(
            subject=gettext("Welcome to the library"),
            body=render_to_string("members/welcome.txt", context),
            to=[welcome.member.email],
            headers={"Message-ID": welcome.message_id, "Auto-Submitted": "auto-generated"},
        )
        mail.attach_alternative(render_to_string("members/welcome.html", context), "text/html")
    return mail


def write(mail: EmailMultiAlternatives) -> bytes:
    message: Any = mail.message()
    # The email package would compile a pattern to see that its own is in no part.
    message.set_boundary(f"={uuid.uuid4().hex}=")
    return message.as_bytes(linesep="\r\n")


def deliver(welcome: WelcomeEmail) -> None:
    """Send it, or raise the DeliveryError that says what to do next."""
    try:
        mail = render(welcome)
        content = write(mail)
    except Exception as error:
        name = type(error).__name__
        logger.error("Welcome e-mail %d could not be written: %s", welcome.pk, name)
        sentence = gettext_noop("The welcome e-mail could not be written")
        raise RenderingError(f"{sentence} ({name}).", "rendering") from None
    member = welcome.member
    # What a mail server may call the member by.
    names = [member.email, member.email.rpartition("@")[0], member.username]
    try:
        smtp.send(mail, content)
    except Exception as error:
        raise classify(error, *names) from None
