"""What a task reports: kept in English, as reasons are, and read in the reader's language."""

import re
from enum import StrEnum

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from .reasons import in_words


class Sentence(StrEnum):
    SENT_ONE = _("Sent welcome e-mail %(id)d to member %(member)d.")
    SENT = _("Welcome e-mails sent: %(count)d.")
    ABOUT = _("Welcome e-mail %(id)d:")
    SKIPPED = _("Skipped (deleted, not due, already sent or being sent): %(count)d.")
    SKIPPED_PAUSED = _("Skipped because sending is paused: %(count)d.")
    LEFT = _("Left for the next task: %(count)d.")
    PUT_OFF = _("Postponed to keep to MAIL_RATE: %(count)d.")
    PAUSED = _("Returned to the queue because sending is paused: %(count)d.")
    PAUSED_UNTIL = _("Sending is paused until %(time)s UTC.")
    FINAL = _("It won’t be retried.")
    FAILED = _("Attempt %(number)d failed.")
    LAST = _("That was the last attempt.")
    NEXT = _("Next attempt at %(time)s UTC.")


PLACEHOLDER = re.compile(r"%\\\((\w+)\\\)([ds])")  # in an escaped sentence
PATTERNS = {
    sentence: re.compile(
        PLACEHOLDER.sub(
            lambda found: rf"(?P<{found[1]}>{'[0-9]+' if found[2] == 'd' else '[0-9:]+'})",
            re.escape(sentence),
        )
    )
    for sentence in Sentence
}
ANY = re.compile("|".join(re.sub(r"\?P<\w+>", "?:", p.pattern) for p in PATTERNS.values()))


def in_readers_words(report: str) -> str:
    """The sentences that a task has put together, and between them the reasons of failures."""
    parts, end = [], 0
    for found in ANY.finditer(report):
        parts += [_reason(report[end : found.start()]), _translated(found[0])]
        end = found.end()
    return " ".join(filter(None, [*parts, _reason(report[end:])]))


def _reason(text: str) -> str:
    return in_words(text.strip())


def _translated(text: str) -> str:
    for sentence, pattern in PATTERNS.items():
        if found := pattern.fullmatch(text):
            values = {
                name: int(value) if f"%({name})d" in sentence else value
                for name, value in found.groupdict().items()
            }
            return gettext(sentence) % values
    return text


def only_skipped(report: str) -> bool:
    """The task had nothing to do."""
    skips = (Sentence.SKIPPED, Sentence.SKIPPED_PAUSED)
    return any(PATTERNS[sentence].fullmatch(report) for sentence in skips)
