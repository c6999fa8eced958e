"""The kept connection: one handshake for many mails, and never a mail twice."""

import socket
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from members import smtp
from members.delivery import ConfigurationFault, MailRefused, TryAgain, deliver

from .mail_server import MailServer, mail_server

pytestmark = pytest.mark.django_db


@contextmanager
def counted(settings, **answers):
    """A mail server, and the list of connections made to it."""
    opened = []
    connect = smtp.Backend.open

    def noted(backend):
        if new := connect(backend):
            opened.append(backend)
        return new

    with mail_server(settings, **answers) as server, patch.object(smtp.Backend, "open", noted):
        yield server, opened


def test_many_mails_go_over_one_connection(owed, settings):
    with counted(settings) as (server, opened):
        for name in ("ann", "bob", "cat"):
            deliver(owed(name))
    assert len(opened) == 1
    assert [mail["To"][:3] for mail in server.taken] == ["ann", "bob", "cat"]


def test_a_refused_address_does_not_cost_the_connection(owed, settings):
    with counted(settings, rcpt="550 no such user") as (server, opened):
        for name in ("ann", "bob"):
            with pytest.raises(MailRefused):
                deliver(owed(name))
        server.rcpt = "250 OK"
        deliver(owed("cat"))
    assert len(opened) == 1
    assert len(server.taken) == 1


def test_an_idle_connection_is_renewed(owed, settings, monkeypatch):
    with counted(settings) as (server, opened):
        deliver(owed("ann"))
        monkeypatch.setattr(smtp.kept, "used_at", smtp.kept.used_at - smtp.IDLE - 1)
        deliver(owed("bob"))
    assert len(opened) == 2
    assert len(server.taken) == 2


def test_a_connection_carries_so_many_mails_and_no_more(owed, settings, monkeypatch):
    monkeypatch.setattr(smtp, "MOST", 2)
    with counted(settings) as (_, opened):
        for name in ("ann", "bob", "cat"):
            deliver(owed(name))
    assert len(opened) == 2


def test_a_connection_that_the_server_closed_is_renewed_unnoticed(owed, settings):
    with counted(settings) as (server, opened):
        deliver(owed("ann"))
        smtp.kept.backend.connection.sock.shutdown(socket.SHUT_RDWR)
        deliver(owed("bob"))
    assert len(opened) == 2
    assert len(server.taken) == 2


class Tired(MailServer):
    """Takes one mail of each connection, and answers the sender of a second."""

    answer: str | None = "421 enough for today"

    async def handle_MAIL(self, server, session, envelope, address, options) -> str:  # noqa: N802
        if getattr(session, "served", False):
            if self.answer is None:
                server.transport.abort()
                return ""
            return self.answer
        session.served = True
        envelope.mail_from = address
        return "250 OK"


@pytest.mark.parametrize("answer", ["421 enough for today", "451 too many mails", None])
def test_a_connection_that_wears_out_under_a_mail_costs_no_attempt(owed, settings, answer):
    with (
        patch("members.tests.mail_server.MailServer", Tired),
        counted(settings) as (server, opened),
    ):
        server.answer = answer
        deliver(owed("ann"))
        deliver(owed("bob"))
    assert len(opened) == 2
    assert [mail["To"][:3] for mail in server.taken] == ["ann", "bob"]


@pytest.mark.parametrize(("data", "code"), [(None, "disconnected"), ("451 later", "451")])
def test_a_mail_that_was_handed_over_is_never_repeated_by_itself(owed, settings, data, code):
    with counted(settings) as (server, _):
        deliver(owed("ann"))
        server.data = data
        with pytest.raises(TryAgain) as caught:
            deliver(owed("bob"))
        assert caught.value.code == code
        assert len(server.taken) == 2
        server.data = "250 OK"
        deliver(owed("cat"))
    assert [mail["To"][:3] for mail in server.taken] == ["ann", "bob", "cat"]


def test_an_interrupted_conversation_is_not_gone_on_with(owed, settings):
    with counted(settings) as (server, opened):
        deliver(owed("ann"))
        with (
            patch("smtplib.SMTP.data", side_effect=KeyboardInterrupt),
            pytest.raises(KeyboardInterrupt),
        ):
            deliver(owed("bob"))
        deliver(owed("cat"))
    assert len(opened) == 2
    assert [mail["To"][:3] for mail in server.taken] == ["ann", "cat"]


def test_other_settings_get_another_connection(owed, settings):
    with mail_server(settings):
        deliver(owed("ann"))
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "desk", "secret"
        with pytest.raises(ConfigurationFault):
            deliver(owed("bob"))


def test_a_worker_process_that_ends_takes_its_leave(owed, settings):
    with mail_server(settings):
        deliver(owed("ann"))
        with patch("smtplib.SMTP.quit") as leave:
            smtp.close_kept()
        leave.assert_called_once_with()
        assert smtp.kept.backend is None


def test_where_mails_go_to_no_server_nothing_is_kept(owed, mailoutbox):
    deliver(owed())
    assert len(mailoutbox) == 1
    assert smtp.kept.backend is None
