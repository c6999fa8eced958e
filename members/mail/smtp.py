"""One connection to the mail server, kept by each worker process from mail to mail.

Ten thousand registrations are not ten thousand handshakes, logins and TIME_WAIT sockets.
"""

import select
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

IDLE = 15  # seconds; some servers hang up after so few, and a firewall forgets without a word
MOST = 100  # mails over one connection, of which servers limit the number too
FAREWELL = 2  # seconds that a server has to answer QUIT


WHOLE_ANSWERS = (
    smtplib.SMTPSenderRefused,
    smtplib.SMTPRecipientsRefused,
    smtplib.SMTPDataError,
)


class Noticing:
    """smtplib's client, which knows whether it began to hand a mail over."""

    handed_over = False

    def data(self, msg: Any) -> tuple[int, bytes]:
        self.handed_over = True
        return super().data(msg)  # type: ignore[misc]


class NoticingSMTP(Noticing, smtplib.SMTP):
    pass


class NoticingSMTPSSL(Noticing, smtplib.SMTP_SSL):
    pass


class Backend(EmailBackend):
    connection: Any

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        return NoticingSMTPSSL if self.use_ssl else NoticingSMTP


class KeptConnection(threading.local):
    """Used like Django's backend; what is broken, idle or worn out is replaced before it is used.

    A mail is sent a second time only where the old connection failed before anything of the mail
    was handed over, so never twice.
    """

    backend: Backend | None = None
    server: tuple[Any, ...] = ()
    used_at = 0.0
    mails = 0

    def send(self, mail: EmailMessage, content: bytes) -> None:
        if self.is_usable():
            try:
                self.send_now(mail, content)
                return
            except (smtplib.SMTPException, OSError) as error:
                if not self.is_stale(error):
                    raise
        self.open()
        self.send_now(mail, content)

    def open(self) -> None:
        self.close()
        backend = Backend(fail_silently=False)
        backend.open()
        self.backend, self.server, self.mails = backend, place(), 0

    def send_now(self, mail: EmailMessage, content: bytes) -> None:
        assert self.backend and self.backend.connection
        connection = self.backend.connection
        connection.handed_over = False
        try:
            # As pairs, which are not parsed once more.
            recipients = [sanitize_address(("", address), "utf-8") for address in mail.to]
            connection.sendmail(envelope_sender(mail.from_email), recipients, content)
        except WHOLE_ANSWERS:
            raise  # smtplib has reset the session, or closed it after a 421
        except BaseException:
            connection.close()  # a time limit too: nobody knows what the server would say next
            raise
        finally:
            self.used_at, self.mails = time.monotonic(), self.mails + 1

    def is_usable(self) -> bool:
        if not self.backend or self.server != place():
            return False
        if self.mails >= MOST or time.monotonic() - self.used_at > IDLE:
            return False
        sock = getattr(self.backend.connection, "sock", None)
        # A server that has something to say now has said goodbye, or hung up.
        return sock is not None and not readable(sock)

    def is_stale(self, error: Exception) -> bool:
        """Whether it is the old connection that failed, with nothing handed over yet."""
        if self.backend is None or self.backend.connection.handed_over:
            return False
        match error:
            case smtplib.SMTPRecipientsRefused():
                return any(code == 421 for code, _ in error.recipients.values())
            case smtplib.SMTPServerDisconnected() | smtplib.SMTPSenderRefused():
                return True
        return False

    def close(self) -> None:
        """Take leave of the server, if it listens."""
        connection = self.backend.connection if self.backend else None
        self.backend = None
        if connection is not None and connection.sock:
            with suppress(smtplib.SMTPException, OSError):
                connection.sock.settimeout(FAREWELL)
                connection.quit()
            connection.close()


@cache
def envelope_sender(address: str) -> str:
    return sanitize_address(address, "utf-8")


def place() -> tuple[Any, ...]:
    return (
        settings.EMAIL_HOST,
        settings.EMAIL_PORT,
        settings.EMAIL_HOST_USER,
        settings.EMAIL_HOST_PASSWORD,
        settings.EMAIL_USE_TLS,
        settings.EMAIL_USE_SSL,
        settings.EMAIL_TIMEOUT,
    )


def readable(sock: Any) -> bool:
    try:
        return bool(select.select([sock], [], [], 0)[0])
    except (OSError, ValueError):
        return True


kept = KeptConnection()


@signals.worker_process_shutdown.connect
def close_kept(**kwargs: Any) -> None:
    kept.close()


def send(mail: EmailMessage, content: bytes) -> None:
    """By the kept connection where mails go to a server, else as the settings' backend does.

    CONTENT is the mail as it is written already, which costs more than to send it.
    """
    if settings.EMAIL_BACKEND == "django.core.mail.backends.smtp.EmailBackend":
        kept.send(mail, content)
    else:
        mail.send()
