"""Why a mail was not sent, what to do next, and what tasks report.

All of it is kept in English and read in the reader's language.
"""

import re
import smtplib
import ssl
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

# Of a mail that is cancelled from the beginning.
KNOWN_ALREADY = {
    "last_error": _("Imported as already known, so no welcome e-mail is sent."),
    "last_error_code": "known",
}


class DeliveryError(Exception):
    """`reason` is for people and holds no address; `code` is stable."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class TemporaryError(DeliveryError):
    """The server or the way to it has a passing trouble."""


class RefusedError(DeliveryError):
    """The server will never take this mail."""


class RenderingError(DeliveryError):
    """Our template is broken."""


class ConfigurationError(DeliveryError):
    """No mail can go out before somebody changes our settings."""

    pause = timedelta(minutes=5)


class PolicyError(ConfigurationError):
    """The server takes no mail from us, or, as may turn out, not this one."""


def in_words(reason: str) -> str:
    """`reason` in the active language; in brackets stands what a server said, as it was said."""
    sentence, bracket, said = reason.partition(" (")
    return gettext(sentence) + bracket + said if reason else ""


def in_readers_words(report: Iterable[Any]) -> str:
    """What a task tells: sentences with their values, and reasons, which have none."""
    return " ".join(gettext(text) % values if values else in_words(text) for text, values in report)


def classify(error: Exception, *names: str) -> DeliveryError:
    """What to do after this error of smtplib or the network (RFC 5321, 4.2; RFC 4954, 6).

    The answer of the server is told without the `names` of the member: it outlives the member
    in a task result.
    """
    match error:
        case (
            TimeoutError()
            | SoftTimeLimitExceeded()
            | smtplib.SMTPServerDisconnected(__context__=TimeoutError())
        ):
            return TemporaryError(_("The mail server did not answer in time."), "timeout")
        case smtplib.SMTPRecipientsRefused():
            return _by_reply(*next(iter(error.recipients.values())), *names)
        case smtplib.SMTPDataError() | smtplib.SMTPSenderRefused(smtp_code=552):  # too large
            return _by_reply(error.smtp_code, error.smtp_error, *names)
        case smtplib.SMTPResponseException():
            about = ABOUT.get(type(error), "connection")
            return _by_reply(error.smtp_code, error.smtp_error, *names, about=about)
        case smtplib.SMTPServerDisconnected():
            return TemporaryError(_("The mail server hung up."), "disconnected")
        case smtplib.SMTPException():  # no such extension, no login that both sides know
            reason = _("The mail server does not offer the login or encryption of our settings.")
            return ConfigurationError(reason, "not-supported")
        case ssl.SSLCertVerificationError():
            return ConfigurationError(_("The mail server's certificate is not valid."), "tls")
        case OSError():
            return TemporaryError(_("The mail server cannot be reached."), "unreachable")
        case ImproperlyConfigured():
            return ConfigurationError(_("EMAIL_URL names a place that cannot be used."), "settings")
        case _:
            return TemporaryError(_told(_("Sending broke off"), type(error).__name__), "unknown")


# What a reply is about, where it is not about the mail; else the greeting, EHLO or STARTTLS.
ABOUT: dict[type, str] = {
    smtplib.SMTPSenderRefused: "sender",
    smtplib.SMTPAuthenticationError: "login",
}
LOGIN_WANTED = {530, 534, 535, 538}
ENHANCED_CODE = re.compile(r"5\.(\d+\.\d+)\b")  # RFC 3463
SENDER_REFUSED = {"1.7", "1.8"}
# Of class X.7 (policy), what is about the recipient: a closed list, a mailbox or a domain that
# has changed hands (RFC 3463, RFC 7293).
RECIPIENT_POLICIES = {"7.2", "7.17", "7.18"}
# Where a server gives no enhanced code.
OUR_FAULT = re.compile(
    r"relay(ing)?( access)?( is)? (denied|prohibited|not (permitted|allowed))"
    r"|unable to relay|(do|does) not relay|not (permitted|allowed) to relay|allowed rcpthosts"
    r"|authenticat(ion|e)( is)? (required|needed|first)|must authenticate"
    r"|sender (address )?(rejected|refused)",
    re.IGNORECASE,
)


def _by_reply(code: int, answer: bytes | str, *names: str, about: str = "") -> DeliveryError:
    if isinstance(answer, bytes):
        answer = answer.decode("utf-8", "replace")
    answer = " ".join(answer.split())
    said = f"{code} {_redact(answer, *names)}"
    if not 500 <= code < 600:
        return TemporaryError(_told(_("The mail server asks us to wait"), said), str(code))
    if about == "connection":
        return ConfigurationError(_told(_("The mail server refuses us"), code), about)
    if about == "login" or code in LOGIN_WANTED:
        return ConfigurationError(_told(_("The mail server refuses our login"), code), str(code))
    enhanced = ENHANCED_CODE.match(answer)
    detail = enhanced[1] if enhanced else ""
    if about == "sender" or detail in SENDER_REFUSED:
        reason = _told(_("The mail server refuses our sender address"), said)
        return ConfigurationError(reason, "sender")
    is_policy = detail.startswith("7.") and detail not in RECIPIENT_POLICIES
    if is_policy or (not enhanced and OUR_FAULT.search(said)):
        return PolicyError(_told(_("The mail server does not take our mail"), said), "policy")
    return RefusedError(_told(_("The mail server refuses the mail"), said), str(code))


def _told(sentence: str, said: str | int) -> str:
    """As in_words() expects it."""
    return f"{sentence} ({said})."


ADDRESS = re.compile(r"[^\s<>\"'(),:;]+@[^\s<>\"'(),:;]+")
MAX_ANSWER = 300  # characters of what the server said


def _redact(said: str, *names: str) -> str:
    said = ADDRESS.sub("…@…", said)
    for name in names:
        said = re.sub(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", "…", said, flags=re.IGNORECASE)
    return said[:MAX_ANSWER]
