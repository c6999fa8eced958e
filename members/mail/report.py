"""What a task reports: kept in English, as reasons are, and read in the reader's language."""

import re
from enum import StrEnum

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from .reasons import in_words


class Sentence(StrEnum):
    SENT_ONE = _("Sent welcome e-mail %(id)s to member %(member)s.")
    SENT = _("Welcome e-mails sent: %(count)s.")
    ABOUT = _("Welcome e-mail %(id)s:")
    SKIPPED = _("Skipped (deleted, not due, already sent or being sent): %(count)s.")
    SKIPPED_PAUSED = _("Skipped because sending is paused: %(count)s.")
    LEFT = _("Left for the next task: %(count)s.")
    PUT_OFF = _("Postponed to keep to MAIL_RATE: %(count)s.")
    PAUSED = _("Returned to the queue because sending is paused: %(count)s.")
    PAUSED_UNTIL = _("Sending is paused until %(time)s UTC.")
    FINAL = _("It won’t be retried.")
    FAILED = _("Attempt %(number)s failed.")
    LAST = _("That was the last attempt.")
    NEXT = _("Next attempt at %(time)s UTC.")


PATTERNS = {
    sentence: re.compile(re.sub(r"%\\\((\w+)\\\)s", r"(?P<\1>[0-9:]+)", re.escape(sentence)))
    for sentence in Sentence
}
_ANY = "|".join(re.sub(r"\?P<\w+>", "?:", pattern.pattern) for pattern in PATTERNS.values())
SENTENCES = re.compile(f"({_ANY})")


def in_readers_words(report: str) -> str:
    """The sentences that a task has put together, and between them the reasons of failures."""
    parts = SENTENCES.split(report)  # each second one is a sentence
    parts[0::2] = [in_words(reason.strip()) for reason in parts[0::2]]
    parts[1::2] = [_translated(sentence) for sentence in parts[1::2]]
    return " ".join(filter(None, parts))


def _translated(text: str) -> str:
    found = {sentence: pattern.fullmatch(text) for sentence, pattern in PATTERNS.items()}
    return next(gettext(sentence) % match.groupdict() for sentence, match in found.items() if match)


def only_skipped(report: str) -> bool:
    """The task had nothing to do."""
    skips = (Sentence.SKIPPED, Sentence.SKIPPED_PAUSED)
    return any(PATTERNS[sentence].fullmatch(report) for sentence in skips)
