"""What a catalogue file says about one book, and how that becomes a book."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError

from library.isbn import normalise
from library.models import Book

FIELDS = ("title", "author", "publication_year", "isbn")

YEAR = re.compile(r"([+-]?[0-9]+)([.,]0*)?")
DECIMAL = re.compile(r"([0-9]{7,13})[.,]0+")
SHORT_ISBN10 = re.compile(r"[0-9]{6,8}[0-9Xx]")
ROUNDED = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]+")


class RefusedError(Exception):
    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons


@dataclass
class Entry:
    """One row of a file: the texts as given; there may be several ISBN columns."""

    row: int
    original: list[str]
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    problem: str = ""
    raw: str = ""  # the line itself, if it could not be parsed


def book_of(entry: Entry, repairs: Counter[str]) -> Book:
    """The entry as an unsaved book; adds what had to be repaired to repairs.

    Raises RefusedError with every reason why it cannot be a book.
    """
    if entry.problem:
        raise RefusedError([entry.problem])
    made: list[str] = []
    reasons: list[str] = []
    book = Book(title=_stripped(entry, "title", made), author=_stripped(entry, "author", made))
    for name, read in (("publication_year", _year), ("isbn", _isbn)):
        try:
            setattr(book, name, read(entry.texts[name], made))
        except RefusedError as refused:
            reasons += refused.reasons
    missing = [name for name in ("title", "author") if not getattr(book, name)]
    reasons = [f"no {label(name)}" for name in missing] + reasons
    try:
        book.clean_fields(
            exclude={"isbn", *(name for name in FIELDS if getattr(book, name) in (None, ""))}
        )
    except ValidationError as error:
        reasons += [
            f"{label(name)}: {message}"
            for name, messages in error.message_dict.items()
            for message in messages
        ]
    if reasons:
        raise RefusedError(reasons)
    repairs.update(made)
    return book


def _stripped(entry: Entry, name: str, made: list[str]) -> str:
    given = entry.texts[name][0]
    text = given.strip()
    if text != given:
        made.append(f"{label(name)}: spaces at the ends removed")
    return text


def _year(texts: Sequence[str], made: list[str]) -> int:
    text = texts[0].strip()
    if not text:
        raise RefusedError([f"no {label('publication_year')}"])
    year = YEAR.fullmatch(text)
    if not year or len(text) > 20:
        raise RefusedError([f"{label('publication_year')}: “{text[:50]}” is not a year"])
    if year[2]:
        made.append("year written as 2008.0")
    return int(year[1])


def _isbn(texts: Sequence[str], made: list[str]) -> str:
    """The one valid ISBN among the texts; wrong ones are ignored beside it."""
    found: dict[str, list[str]] = {}
    reasons = []
    for text in filter(None, (text.strip() for text in texts)):
        repairs: list[str] = []
        try:
            found.setdefault(_isbn_of(text, repairs), repairs)
        except ValidationError as error:
            reasons += [f"ISBN “{text[:50]}”: {message}" for message in error.messages]
    if len(found) > 1:
        raise RefusedError([f"two different ISBNs: {' and '.join(found)}"])
    if not found:
        raise RefusedError(reasons or ["no ISBN"])
    (number, repairs), *_ = found.items()
    made += repairs
    if reasons:
        made.append("wrong ISBN in another column ignored")
    return number


def _isbn_of(text: str, repairs: list[str]) -> str:
    if ROUNDED.fullmatch(text):
        raise ValidationError("a spreadsheet has rounded it; its last digits are lost")
    if decimal := DECIMAL.fullmatch(text):
        text = decimal[1]
        repairs.append("ISBN written as 9780306406157.0")
    if not SHORT_ISBN10.fullmatch(text):
        return normalise(text)
    full = text.zfill(10)
    try:
        number = normalise(full)
    except ValidationError as error:
        raise ValidationError(
            f"{len(text)} digits are not an ISBN, not even with leading zeros restored "
            f"({full}): {' '.join(error.messages)}"
        ) from None
    repairs.append("ISBN: leading zeros restored")
    return number


def label(name: str) -> str:
    return str(Book._meta.get_field(name).verbose_name)  # type: ignore[union-attr]
