"""One attempt to send a welcome e-mail, over one connection that a worker process keeps.

Ten thousand registrations are not ten thousand handshakes, logins and TIME_WAIT sockets.
"""

import logging
import smtplib
import threading
from select import select
from time import monotonic
from typing import Any

from celery import signals
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.smtp import EmailBackend
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext, gettext_noop

from .models import WelcomeEmail
from .reasons import RenderingError, classify

logger = logging.getLogger(__name__)

MAX_MAILS_PER_CONNECTION = 100  # servers limit their number too
MAX_IDLE_SECONDS = 30.0  # firewalls forget an idle connection without a word


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


def deliver(welcome: WelcomeEmail) -> None:
    """Send it, or raise the DeliveryError that says what to do next."""
    try:
        mail = render(welcome)
    except Exception as error:
        name = type(error).__name__
        logger.error("Welcome e-mail %d could not be written: %s", welcome.pk, name)
        sentence = gettext_noop("The welcome e-mail could not be written")
        raise RenderingError(f"{sentence} ({name}).", "rendering") from None
    try:
        if settings.EMAIL_BACKEND == "django.core.mail.backends.smtp.EmailBackend":
            connection.send(mail)
        else:
            mail.send()
    except Exception as error:
        member = welcome.member
        # What a mail server may call the member by.
        names = [member.email, member.email.rpartition("@")[0], member.username]
        raise classify(error, *names) from None


class PersistentConnection(threading.local):
    backend: EmailBackend | None = None
    mails = 0
    used_at = 0.0

    def send(self, mail: EmailMultiAlternatives) -> None:
        if not self.is_usable():
            self.close()
            backend = EmailBackend()
            backend.open()
            self.backend, self.mails = backend, 0
        self.mails += 1
        try:
            self.backend.send_messages([mail])  # type: ignore[union-attr]
        except (smtplib.SMTPSenderRefused, smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError):
            raise  # the server has answered, and waits for the next command
        except BaseException:  # a time limit too: nobody knows what it would say next
            self.backend.connection.close()  # type: ignore[union-attr]
            raise
        finally:
            self.used_at = monotonic()

    def is_usable(self) -> bool:
        """Nobody is asked, which would cost a round trip: a server that hangs up has said so."""
        smtp: Any = self.backend and self.backend.connection
        is_fresh = monotonic() < self.used_at + MAX_IDLE_SECONDS
        is_open = bool(smtp and smtp.sock) and self.mails < MAX_MAILS_PER_CONNECTION
        return is_fresh and is_open and not select([smtp.sock], [], [], 0)[0]

    def close(self, **signal: Any) -> None:
        """Say QUIT to the server, if it listens."""
        if self.backend:
            self.backend.close()
            self.backend = None


connection = PersistentConnection()
signals.worker_process_shutdown.connect(connection.close)
