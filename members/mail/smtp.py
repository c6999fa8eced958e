"""One connection to the mail server, kept by each worker process from mail to mail.

Ten thousand registrations are not ten thousand handshakes, logins and TIME_WAIT sockets.
"""

import smtplib
import threading
import time
from contextlib import suppress
from functools import cache
from typing import Any

from celery import signals
from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend
from django.core.mail.message import sanitize_address

MAX_MAILS_PER_CONNECTION = 100  # servers limit their number too
NOOP_AFTER_SECONDS = 1.0  # of rest; mail after mail, a question before each would be one in five
QUIT_TIMEOUT = 2  # seconds

# The server has answered and waits for the next command.
ANSWERS = (smtplib.SMTPSenderRefused, smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)


class KeptConnection(threading.local):
    backend: EmailBackend | None = None
    mails = 0
    used_at = 0.0

    def send(self, mail: EmailMessage, content: bytes) -> None:
        if not self.is_usable():
            self.open()
        assert self.backend and self.backend.connection
        self.mails += 1
        try:
            # As pairs, which are not parsed once more.
            recipients = [sanitize_address(("", address), "utf-8") for address in mail.to]
            self.backend.connection.sendmail(envelope_sender(mail.from_email), recipients, content)
        except ANSWERS:
            raise
        except BaseException:  # a time limit too: nobody knows what the server would say next
            self.backend.connection.close()
            raise
        finally:
            self.used_at = time.monotonic()

    def is_usable(self) -> bool:
        """Whether it still stands; after a rest it is asked by NOOP, within EMAIL_TIMEOUT."""
        if not (self.backend and self.backend.connection and self.backend.connection.sock):
            return False
        if self.mails >= MAX_MAILS_PER_CONNECTION:
            return False
        if time.monotonic() - self.used_at < NOOP_AFTER_SECONDS:
            return True
        try:
            code, _answer = self.backend.connection.noop()
        except OSError:  # SMTPException among them
            return False
        return code == 250

    def open(self) -> None:
        self.close()
        backend = EmailBackend(fail_silently=False)
        backend.open()
        self.backend, self.mails = backend, 0

    def close(self) -> None:
        """Take leave of the server, if it listens."""
        connection: Any = self.backend.connection if self.backend else None
        self.backend = None
        if connection is not None and connection.sock:
            with suppress(OSError):
                connection.sock.settimeout(QUIT_TIMEOUT)
                connection.quit()
            connection.close()


@cache
def envelope_sender(address: str) -> str:
    return sanitize_address(address, "utf-8")


kept = KeptConnection()


@signals.worker_process_shutdown.connect
def close_kept(**kwargs: Any) -> None:
    kept.close()


def send(mail: EmailMessage, content: bytes) -> None:
    """By the kept connection where mails go to a server, else as the settings' backend does.

    `content` is the mail as it is written already, which costs more than to send it.
    """
    if settings.EMAIL_BACKEND == "django.core.mail.backends.smtp.EmailBackend":
        kept.send(mail, content)
    else:
        mail.send()
