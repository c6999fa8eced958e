"""Reasons are kept in one language and read in another."""

import smtplib
import ssl

import pytest
from django.urls import reverse
from django.utils import timezone, translation

from members.mail.reasons import classify, in_words
from members.models import Dispatch, WelcomeEmail

FAULTS = [
    smtplib.SMTPRecipientsRefused({"ann@example.org": (550, b"5.1.1 (no) such user")}),
    smtplib.SMTPDataError(451, b"later"),
    smtplib.SMTPAuthenticationError(535, b"no"),
    smtplib.SMTPDataError(554, b"5.7.1 (no) relaying"),
    smtplib.SMTPSenderRefused(550, b"5.1.8 (no) such domain", "desk@example.org"),
    smtplib.SMTPConnectError(554, b"no"),
    smtplib.SMTPServerDisconnected("gone"),
    ssl.SSLCertVerificationError("expired"),
    TimeoutError(),
    OSError(),
    ValueError(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_reason_is_kept_in_english_and_read_in_russian(fault):
    with translation.override("ru"):
        reason = classify(fault).reason
        words = in_words(reason)
    assert reason.isascii()
    assert words[0] in "ВНОПС" and "(" not in words.partition(" (")[0]
    assert words.partition(" (")[2] == reason.partition(" (")[2], "what the server said stays"


def test_what_an_operator_wrote_is_nobodys_to_translate():
    with translation.override("ru"):
        assert in_words("") == ""
        assert Dispatch(pause_reason="sent", pause_code=Dispatch.OPERATOR).reason == "sent"
        assert Dispatch(pause_reason="The mail server hung up.", pause_code="x").reason[0] == "П"


@pytest.mark.django_db
def test_operators_read_reasons_in_their_language(client, staff, owed):
    welcome = owed(state=WelcomeEmail.State.SENDING, attempts=1, claimed_at=timezone.now())
    welcome.fail("The mail server refuses the mail (550 no such user).", "550")
    client.force_login(staff)
    pages = [
        reverse("admin:members_welcomeemail_changelist"),
        reverse("admin:members_welcomeemail_change", args=[welcome.pk]),
        reverse("admin:members_member_change", args=[welcome.member_id]),
    ]
    for page in pages:
        with translation.override(None):  # a request leaves its language behind
            html = client.get(page, headers={"Accept-Language": "ru"}).content.decode()
        assert "Почтовый сервер не принимает письмо (550 no such user)." in html
        assert "The mail server" not in html
