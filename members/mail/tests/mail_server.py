import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from typing import Any

from aiosmtpd.controller import Controller

from members.mail.delivery import connection


class MailServer(Controller):
    """A mail server on this machine that keeps what it takes and answers what a test wants.

    The answers are to RCPT and to DATA; None drops the connection instead. Options are those of
    aiosmtpd.
    """

    def __init__(
        self, rcpt: str | None = "250 OK", data: str | None = "250 OK", **options: Any
    ) -> None:
        super().__init__(self, hostname="127.0.0.1", port=0, **options)
        self.rcpt = rcpt
        self.data = data
        self.taken: list[Message] = []
        self.encrypted: list[bool] = []
        self.connections = 0

    def factory(self):
        self.connections += 1
        return super().factory()

    def _trigger_server(self) -> None:
        # The base class greets itself at the port that it was told, which is any here.
        self.port = self.server.sockets[0].getsockname()[1]
        if self.ssl_context:  # the base class would ask for a certificate that it trusts
            blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
            with socket.create_connection(("127.0.0.1", self.port)) as greeted:
                blind.wrap_socket(greeted).recv(1024)
        else:
            super()._trigger_server()
        self.connections = 0

    async def handle_RCPT(self, server, session, envelope, address, options) -> str:  # noqa: N802
        if self.rcpt is None:
            server.transport.abort()
        elif self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt or ""

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802
        self.taken.append(message_from_bytes(envelope.content))
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        if self.data is None:
            server.transport.abort()
        return self.data or ""


@contextmanager
def mail_server(
    settings=None, server: type[MailServer] = MailServer, **options: Any
) -> Iterator[MailServer]:
    """Run it, and point Django's settings at it where they are given."""
    running = server(**options)
    running.start()
    if settings:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", running.port
        settings.EMAIL_TIMEOUT = 2
    try:
        yield running
    finally:
        connection.close()
        running.stop(no_assert=True)
