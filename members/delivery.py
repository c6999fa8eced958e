"""One attempt to send a welcome e-mail, and what the mail server's answer means."""

import re
import smtplib
from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext as _

from .models import WelcomeEmail

ADDRESS = re.compile(r"[^\s<>\"'(),:;]+@[^\s<>\"'(),:;]+")


class DeliveryError(Exception):
    """REASON is for people and holds no address; CODE is stable."""

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
            subject=_("Welcome to the library"),
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
        mail.message()
    except Exception as error:
        raise RenderingFault(
            f"The welcome e-mail could not be written: {type(error).__name__}.", "rendering"
        ) from error
    try:
        mail.send()
    except Exception as error:
        raise classify(error) from None


def classify(error: Exception) -> DeliveryError:
    """Which kind of failure this is, by the reply codes of RFC 5321, 4.2."""
    match error:
        case smtplib.SMTPAuthenticationError() | smtplib.SMTPNotSupportedError():
            code = getattr(error, "smtp_code", 0)
            if 400 <= code < 500:
                return _by_reply(code, error.smtp_error)  # type: ignore[union-attr]
            return ConfigurationFault("The mail server refuses our login.", str(code or "login"))
        case smtplib.SMTPRecipientsRefused():
            return _by_reply(*next(iter(error.recipients.values())))
        case smtplib.SMTPSenderRefused() if error.smtp_code >= 500 and error.smtp_code != 552:
            return ConfigurationFault(
                f"The mail server refuses our sender address ({error.smtp_code}).",
                str(error.smtp_code),
            )
        case smtplib.SMTPResponseException():
            return _by_reply(error.smtp_code, error.smtp_error)
        case smtplib.SMTPServerDisconnected():
            return TryAgain("The mail server hung up.", "disconnected")
        case TimeoutError():
            return TryAgain("The mail server did not answer in time.", "timeout")
        case OSError():
            return TryAgain("The mail server cannot be reached.", "unreachable")
        case _:
            return TryAgain(f"Sending broke off: {type(error).__name__}.", "unknown")


def _by_reply(code: int, answer: bytes | str) -> DeliveryError:
    said = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    said = ADDRESS.sub("…@…", " ".join(said.split()))[:300]
    if 400 <= code < 500:
        return TryAgain(f"The mail server asks us to wait ({code} {said}).", str(code))
    return MailRefused(f"The mail server refuses the mail ({code} {said}).", str(code))
