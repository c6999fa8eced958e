"""Why a mail was not sent: kept in English, read in the reader's language."""

from django.utils.translation import gettext


def in_words(reason: str) -> str:
    """REASON in the active language; in brackets stands what a server said, as it was said."""
    sentence, bracket, said = reason.partition(" (")
    return gettext(sentence) + bracket + said if reason else ""
