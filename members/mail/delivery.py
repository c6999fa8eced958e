"""One attempt to send a welcome e-mail, and what the mail server's answer means."""

import logging
import re
import smtplib
import ssl
import uuid
from datetime import timedelta
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _  # reasons are kept in English

from . import smtp
from .models import Member, WelcomeEmail

logger = logging.getLogger(__name__)

ADDRESS = re.compile(r"[^\s<>\"'(),:;]+@[^\s<>\"'(),:;]+")


class DeliveryError(Exception):
    """REASON is for people (members.reasons) and holds no address; CODE is stable."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class TryAgain(DeliveryError):
    """The server or the way to it has a passing trouble."""


class MailRefused(DeliveryError):
    """The server will never take this mail."""


class ConfigurationFault(DeliveryError):
    """No mail can go out before somebody changes our settings."""

    wait = timedelta(minutes=5)


class RenderingFault(DeliveryError):
    """Our template is broken."""


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
        sentence = _("The welcome e-mail could not be written")
        raise RenderingFault(f"{sentence} ({name}).", "rendering") from None
    try:
        smtp.send(mail, content)
    except Exception as error:
        raise classify(error, *names_of(welcome.member)) from None


def names_of(member: Member) -> list[str]:
    """What a mail server may call a member by."""
    return [member.email, member.email.rpartition("@")[0], member.username]


def classify(error: Exception, *names: str) -> DeliveryError:
    """Which kind of failure this is, by the reply codes of RFC 5321, 4.2 and RFC 4954, 6.

    The answer of the server is told without the NAMES: it outlives the member in a task result.
    """
    match error:
        case smtplib.SMTPRecipientsRefused():
            return _by_reply(*next(iter(error.recipients.values())), *names)
        case smtplib.SMTPSenderRefused() if _is_final(error.smtp_code) and error.smtp_code != 552:
            return _our_fault(_("The mail server refuses our sender address"), error.smtp_code)
        case smtplib.SMTPConnectError() | smtplib.SMTPHeloError() if _is_final(error.smtp_code):
            return _our_fault(_("The mail server refuses us"), error.smtp_code)
        case smtplib.SMTPAuthenticationError() if _is_final(error.smtp_code):
            return _our_fault(_("The mail server refuses our login"), error.smtp_code)
        case smtplib.SMTPResponseException():
            return _by_reply(error.smtp_code, error.smtp_error, *names)
        case smtplib.SMTPNotSupportedError():
            reason = _("The mail server does not offer the login or encryption of our settings.")
            return ConfigurationFault(reason, "not-supported")
        case smtplib.SMTPServerDisconnected(__context__=TimeoutError()):
            return _too_slow()
        case smtplib.SMTPServerDisconnected():
            return TryAgain(_("The mail server hung up."), "disconnected")
        case ssl.SSLCertVerificationError():
            return ConfigurationFault(_("The mail server's certificate is not valid."), "tls")
        case TimeoutError() | SoftTimeLimitExceeded():
            return _too_slow()
        case OSError():
            return TryAgain(_("The mail server cannot be reached."), "unreachable")
        case ImproperlyConfigured():
            return ConfigurationFault(_("EMAIL_URL names a place that cannot be used."), "settings")
        case _:
            sentence = _("Sending broke off")
            return TryAgain(f"{sentence} ({type(error).__name__}).", "unknown")


def _too_slow() -> TryAgain:
    return TryAgain(_("The mail server did not answer in time."), "timeout")


LOGIN_WANTED = {530, 534, 535, 538}


def _by_reply(code: int, answer: bytes | str, *names: str) -> DeliveryError:
    if code in LOGIN_WANTED:
        return _our_fault(_("The mail server refuses our login"), code)
    said = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    said = ADDRESS.sub("…@…", " ".join(said.split()))
    for name in names:
        said = re.sub(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", "…", said, flags=re.IGNORECASE)
    said = said[:300]
    final = _is_final(code)
    # Not inside the f-string, where xgettext sees no string to translate.
    reason = (
        _("The mail server refuses the mail") if final else _("The mail server asks us to wait")
    )
    kind = MailRefused if final else TryAgain
    return kind(f"{reason} ({code} {said}).", str(code))


def _our_fault(reason: str, code: int) -> ConfigurationFault:
    return ConfigurationFault(f"{reason} ({code}).", str(code))


def _is_final(code: int) -> bool:
    return 500 <= code < 600
