"""The persistent connection: one handshake for many mails, and never a mail twice."""

import smtplib
import socket
from select import select
from time import monotonic
from unittest.mock import patch

import pytest
from celery import signals

from members.mail import delivery
from members.mail.delivery import deliver
from members.mail.reasons import RefusedError, TemporaryError

from .mail_server import MailServer, mail_server

pytestmark = pytest.mark.django_db


def names(server: MailServer) -> list[str]:
    return [mail["To"].partition("@")[0] for mail in server.taken]


def test_many_mails_go_over_one_connection(owed, settings):
    with mail_server(settings) as server:
        for name in ("ann", "bob", "cat"):
            deliver(owed(name))
    assert server.connections == 1
    assert names(server) == ["ann", "bob", "cat"]


def test_a_refused_address_does_not_cost_the_connection(owed, settings):
    with mail_server(settings, rcpt="550 no such user") as server:
        for name in ("ann", "bob"):
            with pytest.raises(RefusedError):
                deliver(owed(name))
        server.rcpt = "250 OK"
        deliver(owed("cat"))
    assert server.connections == 1
    assert names(server) == ["cat"]


def test_a_connection_carries_so_many_mails_and_no_more(owed, settings, monkeypatch):
    monkeypatch.setattr(delivery, "MAX_MAILS_PER_CONNECTION", 2)
    with mail_server(settings) as server:
        used = []
        for name in ("ann", "bob", "cat", "dan", "eve"):
            deliver(owed(name))
            used.append(server.connections)
    assert used == [1, 1, 2, 2, 3]


def test_the_limit_of_a_connection():
    assert delivery.MAX_MAILS_PER_CONNECTION == 100


def test_a_refused_mail_is_one_of_them(owed, settings, monkeypatch):
    monkeypatch.setattr(delivery, "MAX_MAILS_PER_CONNECTION", 1)
    with mail_server(settings, rcpt="550 no such user") as server:
        for name in ("ann", "bob"):
            with pytest.raises(RefusedError):
                deliver(owed(name))
    assert server.connections == 2


class Leaving(MailServer):
    """Ends each connection after the first mail, as servers do at their limits."""

    farewell = b""

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802
        reply = await super().handle_DATA(server, session, envelope)
        server.loop.call_later(0.05, self.leave, server.transport)
        return reply

    def leave(self, transport) -> None:
        if self.farewell:
            transport.write(self.farewell)
        else:
            transport.close()


@pytest.mark.parametrize("farewell", [b"", b"421 4.4.2 idle for too long\r\n"])
def test_a_server_that_ends_the_connection_costs_no_mail_an_attempt(owed, settings, farewell):
    with mail_server(settings, Leaving) as server:
        server.farewell = farewell
        for name in ("ann", "bob"):
            deliver(owed(name))
            select([delivery.connection.backend.connection.sock], [], [], 5)
    assert server.connections == 2
    assert names(server) == ["ann", "bob"]


def test_a_connection_that_was_closed_is_renewed_unnoticed(owed, settings):
    with mail_server(settings) as server:
        deliver(owed("ann"))
        delivery.connection.backend.connection.close()
        deliver(owed("bob"))
    assert server.connections == 2
    assert names(server) == ["ann", "bob"]


def test_a_connection_that_nobody_used_for_long_is_not_trusted(owed, settings, monkeypatch):
    """A firewall forgets an idle connection without a word."""
    now = monotonic()
    monkeypatch.setattr(delivery, "monotonic", lambda: now)
    with mail_server(settings) as server:
        used = []
        for name, idle in (("ann", 0), ("bob", 29), ("cat", 29), ("dan", 30)):
            now += idle
            deliver(owed(name))
            used.append(server.connections)
    assert used == [1, 1, 1, 2]


def test_the_farewell_to_a_server_that_fell_silent_ends_with_the_timeout(
    owed, settings, monkeypatch
):
    monkeypatch.setattr(delivery, "MAX_IDLE_SECONDS", 0)
    with mail_server(settings) as server:
        settings.EMAIL_TIMEOUT = 0.2
        deliver(owed("ann"))
        far, near = socket.socketpair()
        near.settimeout(delivery.connection.backend.connection.sock.gettimeout())
        delivery.connection.backend.connection.sock = near
        delivery.connection.backend.connection.file = None
        started = monotonic()
        deliver(owed("bob"))
        assert monotonic() - started < 5
        far.close()
    assert names(server) == ["ann", "bob"]


def test_a_connection_that_was_opened_anew_counts_from_the_beginning(owed, settings, monkeypatch):
    monkeypatch.setattr(delivery, "MAX_MAILS_PER_CONNECTION", 2)
    with mail_server(settings) as server:
        deliver(owed("ann"))
        delivery.connection.close()
        for name in ("bob", "cat"):
            deliver(owed(name))
    assert server.connections == 2


class Tired(MailServer):
    """Takes one mail of each connection."""

    async def handle_MAIL(self, server, session, envelope, address, options) -> str:  # noqa: N802
        if getattr(session, "served", False):
            return "421 enough for today"
        session.served = True
        envelope.mail_from = address
        return "250 OK"


def test_a_connection_that_the_server_ends_is_not_used_again(owed, settings):
    with mail_server(settings, Tired) as server:
        deliver(owed("ann"))
        with pytest.raises(TemporaryError):
            deliver(owed("bob"))
        deliver(owed("cat"))
    assert server.connections == 2
    assert names(server) == ["ann", "cat"]


@pytest.mark.parametrize(("data", "code"), [(None, "disconnected"), ("451 later", "451")])
def test_a_mail_that_was_handed_over_is_never_repeated_by_itself(owed, settings, data, code):
    with mail_server(settings) as server:
        deliver(owed("ann"))
        server.data = data
        with pytest.raises(TemporaryError) as caught:
            deliver(owed("bob"))
        assert caught.value.code == code
        assert len(server.taken) == 2
        server.data = "250 OK"
        deliver(owed("cat"))
    assert names(server) == ["ann", "bob", "cat"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError])
def test_an_interrupted_conversation_is_not_gone_on_with(owed, settings, error):
    with mail_server(settings) as server:
        deliver(owed("ann"))
        with (
            patch("smtplib.SMTP.data", side_effect=error),
            pytest.raises((KeyboardInterrupt, TemporaryError)),
        ):
            deliver(owed("bob"))
        deliver(owed("cat"))
    assert server.connections == 2
    assert names(server) == ["ann", "cat"]


def test_a_worker_process_that_ends_takes_its_leave(owed, settings):
    with mail_server(settings):
        deliver(owed("ann"))
        sock = delivery.connection.backend.connection.sock
        with patch("smtplib.SMTP.quit", autospec=True, side_effect=smtplib.SMTP.quit) as leave:
            signals.worker_process_shutdown.send(sender=None)
        leave.assert_called_once()
        assert sock.fileno() == -1
        assert delivery.connection.backend is None


def test_a_farewell_to_nobody_is_no_error(owed, settings):
    with mail_server(settings):
        settings.EMAIL_TIMEOUT = 0.2
        deliver(owed("ann"))
        smtp = delivery.connection.backend.connection
        far, near = socket.socketpair()  # whose other end says nothing
        near.settimeout(smtp.sock.gettimeout())
        smtp.sock, smtp.file = near, None
        delivery.connection.close()
        assert near.fileno() == -1
        far.close()


def test_where_mails_go_to_no_server_nothing_is_kept(owed, mailoutbox):
    deliver(owed())
    assert len(mailoutbox) == 1
    assert delivery.connection.backend is None
