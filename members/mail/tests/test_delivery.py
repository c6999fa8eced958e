"""What the mail server's answer means for the row, and what the mail looks like."""

import smtplib
import socket
import ssl
from email import message_from_bytes
from email.policy import default as policy

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.core.exceptions import ImproperlyConfigured

from members.mail.delivery import deliver, render
from members.mail.reasons import (
    ConfigurationError,
    PolicyError,
    RefusedError,
    RenderingError,
    TemporaryError,
    classify,
)
from members.models import Member, WelcomeEmail

from .mail_server import mail_server

ANN = "ann@example.org"


def refused(code: int, answer: bytes = b"no") -> smtplib.SMTPRecipientsRefused:
    return smtplib.SMTPRecipientsRefused({ANN: (code, answer)})


def to_data(code: int, answer: bytes) -> smtplib.SMTPDataError:
    return smtplib.SMTPDataError(code, answer)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (refused(421), TemporaryError, "421"),
        (refused(450), TemporaryError, "450"),
        (refused(451), TemporaryError, "451"),
        (refused(452), TemporaryError, "452"),
        (refused(499), TemporaryError, "499"),
        (refused(500), RefusedError, "500"),
        (refused(550), RefusedError, "550"),
        (refused(552), RefusedError, "552"),
        (refused(599), RefusedError, "599"),
        (refused(600), TemporaryError, "600"),
        (refused(530), ConfigurationError, "530"),
        (refused(538), ConfigurationError, "538"),
        (to_data(451, b"later"), TemporaryError, "451"),
        (to_data(554, b"spam"), RefusedError, "554"),
        (to_data(-1, b""), TemporaryError, "-1"),
        (smtplib.SMTPSenderRefused(451, b"later", ANN), TemporaryError, "451"),
        (smtplib.SMTPSenderRefused(552, b"too big", ANN), RefusedError, "552"),
        (smtplib.SMTPSenderRefused(553, b"not you", ANN), ConfigurationError, "sender"),
        (smtplib.SMTPSenderRefused(530, b"log in", ANN), ConfigurationError, "530"),
        (smtplib.SMTPConnectError(421, b"busy"), TemporaryError, "421"),
        (smtplib.SMTPConnectError(554, b"not you"), ConfigurationError, "connection"),
        (smtplib.SMTPHeloError(550, b"who?"), ConfigurationError, "connection"),
        (smtplib.SMTPResponseException(454, b"TLS later"), TemporaryError, "454"),
        (smtplib.SMTPResponseException(502, b"no STARTTLS"), ConfigurationError, "connection"),
        (smtplib.SMTPAuthenticationError(535, b"no"), ConfigurationError, "535"),
        (smtplib.SMTPAuthenticationError(534, b"no"), ConfigurationError, "534"),
        (smtplib.SMTPAuthenticationError(454, b"later"), TemporaryError, "454"),
        (smtplib.SMTPNotSupportedError("no AUTH"), ConfigurationError, "not-supported"),
        (smtplib.SMTPException("no method"), ConfigurationError, "not-supported"),
        (smtplib.SMTPServerDisconnected("gone"), TemporaryError, "disconnected"),
        (TimeoutError(), TemporaryError, "timeout"),
        (SoftTimeLimitExceeded(), TemporaryError, "timeout"),
        (ConnectionRefusedError(), TemporaryError, "unreachable"),
        (ConnectionResetError(), TemporaryError, "unreachable"),
        (socket.gaierror(-2, "no such name"), TemporaryError, "unreachable"),
        (ssl.SSLCertVerificationError(), ConfigurationError, "tls"),
        (ssl.SSLError(), TemporaryError, "unreachable"),
        (ImproperlyConfigured(), ConfigurationError, "settings"),
        (RuntimeError(ANN), TemporaryError, "unknown"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Exception) else None,
)
def test_classification(error, kind, code):
    verdict = classify(error)
    assert (type(verdict), verdict.code) == (kind, code)
    assert verdict.reason.endswith(".")
    assert ANN not in verdict.reason


@pytest.mark.parametrize("make", [refused, to_data], ids=["RCPT", "DATA"])
@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        # Ours: policy, authentication, relaying, with the enhanced code or by the words.
        ("554 5.7.1 <ann@example.org>: Relay access denied", PolicyError, "policy"),
        ("550 5.7.1 Unauthenticated email is not accepted", PolicyError, "policy"),
        ("550 5.7.26 This mail is unauthenticated (SPF)", PolicyError, "policy"),
        ("550 5.7.0 Local policy violation", PolicyError, "policy"),
        ("553 5.7.1 Sender address rejected: not owned by user", PolicyError, "policy"),
        ("550 5.7.8 bad credentials", PolicyError, "policy"),
        ("550 5.7.9 too weak", PolicyError, "policy"),
        ("525 5.7.13 account disabled", PolicyError, "policy"),
        ("554 5.7.1\nseveral lines", PolicyError, "policy"),
        ("554 Relay access denied", PolicyError, "policy"),
        ("554 <ann@example.org>: Relay access denied", PolicyError, "policy"),
        ("550 relaying denied", PolicyError, "policy"),
        ("553 that domain isn't in my list of allowed rcpthosts (#5.7.1)", PolicyError, "policy"),
        ("550 relay not permitted", PolicyError, "policy"),
        ("550 Relaying is prohibited", PolicyError, "policy"),
        ("551 we do not relay", PolicyError, "policy"),
        ("550 Unable to relay for ann@example.org", PolicyError, "policy"),
        ("550 you are not allowed to relay", PolicyError, "policy"),
        ("550 Authentication required", PolicyError, "policy"),
        ("550 Please authenticate first", PolicyError, "policy"),
        ("550 You must authenticate", PolicyError, "policy"),
        ("553 Sender address rejected", PolicyError, "policy"),
        ("550 sender refused", PolicyError, "policy"),
        ("530 5.7.0 Must issue a STARTTLS command first", ConfigurationError, "530"),
        ("530 5.5.1 Authentication Required", ConfigurationError, "530"),
        ("535 5.7.8 Username and Password not accepted", ConfigurationError, "535"),
        ("550 5.1.7 bad sender", ConfigurationError, "sender"),
        ("550 5.1.8 sender domain not found", ConfigurationError, "sender"),
        # The recipient's.
        ("550 5.1.1 no such user", RefusedError, "550"),
        ("550 5.1.1 User unknown in relay recipient table: relay denied", RefusedError, "550"),
        ("550 User unknown in relay recipient table", RefusedError, "550"),
        ("550 5.1.2 no such host", RefusedError, "550"),
        ("556 5.1.10 null MX", RefusedError, "556"),
        ("550 5.2.1 mailbox disabled", RefusedError, "550"),
        ("552 5.2.2 mailbox full", RefusedError, "552"),
        ("550 5.4.1 access denied by the recipient's server", RefusedError, "550"),
        ("550 5.7.2 closed list", RefusedError, "550"),
        ("550 5.7.17 mailbox owner has changed", RefusedError, "550"),
        ("550 5.7.18 domain owner has changed", RefusedError, "550"),
        ("550 15.7.1 no code of RFC 3463", RefusedError, "550"),
        ("550 version 5.7.1 of the server says no", RefusedError, "550"),
        ("550 5.71 is none either", RefusedError, "550"),
        ("550 no such user", RefusedError, "550"),
        # Of this moment.
        ("450 4.7.1 greylisted", TemporaryError, "450"),
        ("451 4.7.1 greylisted", TemporaryError, "451"),
        ("421 4.7.0 too many messages", TemporaryError, "421"),
        ("450 5.7.1 relay access denied", TemporaryError, "450"),
        ("454 4.7.1 Relay access denied", TemporaryError, "454"),
    ],
)
def test_whose_fault_a_reply_is(make, reply, kind, code):
    number, said = reply.split(" ", 1)
    verdict = classify(make(int(number), said.encode()), ANN, "ann")
    assert (type(verdict), verdict.code) == (kind, code)
    assert f"({number}" in verdict.reason
    assert "ann" not in verdict.reason


def test_a_member_whose_name_is_an_enhanced_code_or_a_word_decides_nothing():
    assert type(classify(refused(550, b"5.1.1 no"), "5.1.1")) is RefusedError
    assert type(classify(refused(554, b"5.7.1 denied"), "5.7.1")) is PolicyError
    assert type(classify(refused(550, b"relay denied is unknown"), "relay")) is RefusedError


def test_operators_read_what_the_server_said_of_our_settings():
    fault = classify(refused(554, b"5.7.1 <ann@example.org>: Relay access denied"), ANN)
    assert fault.reason == (
        "The mail server does not take our mail (554 5.7.1 <…@…>: Relay access denied)."
    )
    fault = classify(smtplib.SMTPSenderRefused(550, b"5.1.8 not <desk@x.org>", "desk@x.org"))
    assert fault.reason == "The mail server refuses our sender address (550 5.1.8 not <…@…>)."


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
        ({"rcpt": "421 busy"}, TemporaryError, "421"),
        ({"rcpt": "450 greylisted"}, TemporaryError, "450"),
        ({"rcpt": "550 no such user"}, RefusedError, "550"),
        ({"rcpt": "552 mailbox full"}, RefusedError, "552"),
        ({"rcpt": None}, TemporaryError, "disconnected"),
        ({"data": "451 later"}, TemporaryError, "451"),
        ({"data": "554 spam"}, RefusedError, "554"),
        ({"rcpt": "554 5.7.1 <ann@example.org>: Relay access denied"}, PolicyError, "policy"),
        ({"rcpt": "554 Relay access denied"}, PolicyError, "policy"),
        ({"rcpt": "530 5.7.0 Authentication required"}, ConfigurationError, "530"),
        ({"rcpt": "550 5.1.1 no such user"}, RefusedError, "550"),
        ({"rcpt": "450 4.7.1 greylisted"}, TemporaryError, "450"),
        ({"data": "550-5.7.26 This mail\r\n550 5.7.26 has no SPF"}, PolicyError, "policy"),
        ({"data": None}, TemporaryError, "disconnected"),
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
        with pytest.raises(TemporaryError) as caught:
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

    monkeypatch.setattr("members.mail.delivery.render_to_string", fail)
    with pytest.raises(RenderingError) as caught:
        deliver(owed())
    assert "ValueError" in caught.value.reason
    assert "ValueError" in caplog.text
    assert ANN not in caught.value.reason + caplog.text


@pytest.mark.django_db
def test_the_servers_answer_names_the_member_by_no_name(settings):
    member = Member.objects.create(username="reader1", email="annabel@example.org")
    welcome = WelcomeEmail.objects.create(member=member)
    answer = "550 5.1.1 annabel@example.org: no Annabel here, nor Reader1; annabelle is another"
    with mail_server(settings, rcpt=answer), pytest.raises(RefusedError) as caught:
        deliver(welcome)
    assert caught.value.reason == (
        "The mail server refuses the mail (550 5.1.1 …@…: no … here, nor …; annabelle is another)."
    )
