"""What the mail server's answer means for the row, and what the mail looks like."""

import smtplib
import socket
import ssl
from email import message_from_bytes
from email.policy import default as policy

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.core.exceptions import ImproperlyConfigured

from members.delivery import (
    ConfigurationFault,
    MailRefused,
    RenderingFault,
    TryAgain,
    classify,
    deliver,
    render,
)
from members.models import Member, WelcomeEmail

from .mail_server import mail_server

ANN = "ann@example.org"


def refused(code: int, answer: bytes = b"no") -> smtplib.SMTPRecipientsRefused:
    return smtplib.SMTPRecipientsRefused({ANN: (code, answer)})


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (refused(421), TryAgain, "421"),
        (refused(450), TryAgain, "450"),
        (refused(451), TryAgain, "451"),
        (refused(452), TryAgain, "452"),
        (refused(550), MailRefused, "550"),
        (refused(552), MailRefused, "552"),
        (refused(530), ConfigurationFault, "530"),
        (smtplib.SMTPDataError(451, b"later"), TryAgain, "451"),
        (smtplib.SMTPDataError(554, b"spam"), MailRefused, "554"),
        (smtplib.SMTPDataError(-1, b""), TryAgain, "-1"),
        (smtplib.SMTPSenderRefused(451, b"later", ANN), TryAgain, "451"),
        (smtplib.SMTPSenderRefused(552, b"too big", ANN), MailRefused, "552"),
        (smtplib.SMTPSenderRefused(553, b"not you", ANN), ConfigurationFault, "553"),
        (smtplib.SMTPSenderRefused(530, b"log in", ANN), ConfigurationFault, "530"),
        (smtplib.SMTPConnectError(421, b"busy"), TryAgain, "421"),
        (smtplib.SMTPConnectError(554, b"not you"), ConfigurationFault, "554"),
        (smtplib.SMTPHeloError(550, b"who?"), ConfigurationFault, "550"),
        (smtplib.SMTPAuthenticationError(535, b"no"), ConfigurationFault, "535"),
        (smtplib.SMTPAuthenticationError(534, b"no"), ConfigurationFault, "534"),
        (smtplib.SMTPAuthenticationError(454, b"later"), TryAgain, "454"),
        (smtplib.SMTPNotSupportedError("no AUTH"), ConfigurationFault, "not-supported"),
        (smtplib.SMTPServerDisconnected("gone"), TryAgain, "disconnected"),
        (TimeoutError(), TryAgain, "timeout"),
        (SoftTimeLimitExceeded(), TryAgain, "timeout"),
        (ConnectionRefusedError(), TryAgain, "unreachable"),
        (ConnectionResetError(), TryAgain, "unreachable"),
        (socket.gaierror(-2, "no such name"), TryAgain, "unreachable"),
        (ssl.SSLCertVerificationError(), ConfigurationFault, "tls"),
        (ssl.SSLError(), TryAgain, "unreachable"),
        (ImproperlyConfigured(), ConfigurationFault, "settings"),
        (RuntimeError(ANN), TryAgain, "unknown"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Exception) else None,
)
def test_classification(error, kind, code):
    verdict = classify(error)
    assert (type(verdict), verdict.code) == (kind, code)
    assert verdict.reason.endswith(".")
    assert ANN not in verdict.reason


@pytest.mark.parametrize(
    "answer",
    [
        b"5.1.1 <ann@example.org>: Recipient address rejected",
        b"5.1.1 ann@example.org... User unknown",
        b'5.7.1 "ann@example.org" (see mailto:ann@example.org)',
        b"5.1.1 Bounced\r\nto=ann@example.org\x00 \xff\xfe",
        b"ann@example.org " * 200,
    ],
)
def test_no_reason_holds_an_address_or_exceeds_its_column(answer):
    reason = classify(refused(550, answer)).reason
    assert "ann" not in reason
    assert len(reason) <= WelcomeEmail._meta.get_field("last_error").max_length


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("answers", "kind", "code"),
    [
        ({"rcpt": "421 busy"}, TryAgain, "421"),
        ({"rcpt": "450 greylisted"}, TryAgain, "450"),
        ({"rcpt": "550 no such user"}, MailRefused, "550"),
        ({"rcpt": "552 mailbox full"}, MailRefused, "552"),
        ({"rcpt": None}, TryAgain, "disconnected"),
        ({"data": "451 later"}, TryAgain, "451"),
        ({"data": "554 spam"}, MailRefused, "554"),
        ({"data": None}, TryAgain, "disconnected"),
    ],
)
def test_answers_of_a_real_server(owed, settings, answers, kind, code):
    with mail_server(settings, **answers), pytest.raises(kind) as caught:
        deliver(owed())
    assert caught.value.code == code


@pytest.mark.django_db
def test_a_silent_server_is_given_up_after_the_timeout(owed, settings):
    with socket.create_server(("127.0.0.1", 0)) as silent, mail_server(settings):
        settings.EMAIL_PORT = silent.getsockname()[1]
        settings.EMAIL_TIMEOUT = 0.2
        with pytest.raises(TryAgain) as caught:
            deliver(owed())
    assert caught.value.code == "timeout"


def test_there_is_a_timeout(settings):
    assert 0 < settings.EMAIL_TIMEOUT < settings.CELERY_TASK_SOFT_TIME_LIMIT


@pytest.mark.django_db
def test_the_mail_as_it_arrives(owed, settings):
    welcome = owed()
    with mail_server(settings) as server:
        deliver(welcome)
        deliver(welcome)
    first, second = (message_from_bytes(bytes(m), policy=policy) for m in server.taken)
    assert first["To"] == ANN
    assert first["Subject"] == "Welcome to the library"
    assert first["Auto-Submitted"] == "auto-generated"
    assert first["Message-ID"] == second["Message-ID"] == welcome.message_id
    text, html = first.iter_parts()
    assert "Hello ann," in text.get_content()
    assert "Hello ann," in html.get_content()


@pytest.mark.django_db
def test_the_mail_is_in_the_language_of_the_library(owed, settings):
    settings.LANGUAGE_CODE = "ru"
    html = render(owed()).alternatives[0].content
    assert '<html lang="ru">' in html


def test_user_text_is_escaped_in_html_and_kept_out_of_the_subject():
    # No such name passes validation; a row written by other means may hold one.
    name = "<script>&\r\nBcc: all@example.org"
    mail = render(WelcomeEmail(member=Member(username=name, email=ANN)))
    assert "&lt;script&gt;&amp;" in mail.alternatives[0].content
    assert "<script>" not in mail.alternatives[0].content
    assert "<script>&" in mail.body, "the plain text is not HTML"
    assert "script" not in mail.subject
    assert mail.message()["Bcc"] is None


@pytest.mark.django_db
def test_a_mail_that_cannot_be_written_is_our_fault(owed, monkeypatch, caplog):
    def fail(*args):
        raise ValueError(ANN)

    monkeypatch.setattr("members.delivery.render_to_string", fail)
    with pytest.raises(RenderingFault) as caught:
        deliver(owed())
    assert "ValueError" in caught.value.reason
    assert "ValueError" in caplog.text
    assert ANN not in caught.value.reason + caplog.text
