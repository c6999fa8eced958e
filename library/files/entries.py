"""What a catalogue file says about one book, and how that becomes a book."""

import re
from collections import Counter
from collections.abc import Sequence

from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from library.isbn import normalise
from library.models import Book
from project.imports.records import Column, Entry, RefusedError, refuse_invalid

COLUMNS = (
    Column(
        "title",
        (
            *("title", "book title", "original title", "name"),
            *("название", "заглавие", "название книги", "заглавие книги", "заголовок"),
            *("наименование", "наименование книги", "название документа", "название издания"),
            *("titel", "buchtitel", "haupttitel", "titel des buches"),
        ),
        gettext_noop("No column looks like the title."),
    ),
    Column(
        "author",
        (
            *("author", "authors", "author name", "writer", "creator", "creators"),
            *("автор", "авторы", "автор книги", "авторы книги"),
            *("фамилия автора", "фио автора", "ф.и.о. автора", "имя автора"),
            *("autor", "autoren", "autorin", "verfasser", "verfasserin"),
        ),
        gettext_noop("No column looks like the author."),
    ),
    Column(
        "publication_year",
        (
            *("publication year", "year", "original publication year", "year of publication"),
            *("published", "pub year", "publish year", "year published"),
            *("год", "год издания", "год изд", "год публикации", "год выпуска"),
            *("год издания книги", "дата издания", "дата публикации"),
            *(
                "jahr",
                "erscheinungsjahr",
                "ersch. jahr",
                "veröffentlichungsjahr",
                "publikationsjahr",
            ),
        ),
        gettext_noop("No column looks like the publication year."),
    ),
    Column(
        "isbn",
        (
            *("isbn", "isbn13", "isbn 13", "isbn10", "isbn 10"),
            *("isbn nr", "isbn nummer", "номер isbn", "код isbn", "isbn/issn"),
        ),
        gettext_noop("No column looks like the ISBN."),
        several=True,
    ),
)
FIELDS = tuple(column.name for column in COLUMNS)

YEAR = re.compile(r"([+-]?[0-9]+)([.,]0*)?")
# As catalogues write a year that they have inferred, guessed or abbreviated.
WRITTEN_YEAR = re.compile(
    r"[\[(]?\s*(?:(?:c|ca|ок|cop)\.\s*|©\s*|(?:circa|около|um)\s+)?[\[(]?\s*([0-9]{3,4})\s*\??\s*[\])]?"
    r"\s*(?:г\.?|год)?\s*[\])]?\.?",
    re.IGNORECASE,
)
FULL_DATE = re.compile(r"(?:[0-9]{1,2}[./]){2}([0-9]{4})|([0-9]{4})-[0-9]{2}-[0-9]{2}(?:[T ].*)?")
BC_YEAR = re.compile(
    r"[-−–][0-9]+(?:[.,]0*)?|(?:c\.|ca\.|ок\.)?\s*[0-9]+\s*(?:г\.?\s*)?"
    r"(?:b\.?\s?c\.?(?:\s?e\.?)?|до\s+(?:н\.?\s*э|р\.?\s*х)\.?|v\.?\s?chr\.?)",
    re.IGNORECASE,
)
MAX_YEAR_LENGTH = 40  # characters
DECIMAL = re.compile(r"([0-9]{7,13})[.,]0+")
SHORT_ISBN10 = re.compile(r"[0-9]{6,8}[0-9Xx]")
SEVERAL_ISBNS = re.compile(r"[;/|\n]|,(?=\s|97[89])")
ISBN_NOTE = re.compile(r"(.*[0-9Xx])\s*\([^()]*\)")  # such as "(hardback)"
ROUNDED = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]+")

# Repairs; they are counted by these sentences, and translated where they are read.
SPACES = {
    "title": gettext_noop("title: spaces at the ends removed"),
    "author": gettext_noop("author: spaces at the ends removed"),
}
DECIMAL_YEAR = gettext_noop("year written as 2008.0")
YEAR_WORDS = gettext_noop("year written as [1869], c. 1868 or 1972 г.")
YEAR_OF_DATE = gettext_noop("year taken from a full date")
DECIMAL_ISBN = gettext_noop("ISBN written as 9780306406157.0")
ZEROS_RESTORED = gettext_noop("ISBN: leading zeros restored")
ISBN_NOTE_IGNORED = gettext_noop("ISBN: note in brackets ignored")
WRONG_ISBN_IGNORED = gettext_noop("wrong ISBN beside a valid one ignored")


def book_of(entry: Entry, repairs: Counter[str]) -> Book:
    """The entry as an unsaved book; adds what had to be repaired to repairs.

    Raises RefusedError with every reason why it cannot be a book, in the active language.
    """
    if entry.problem:
        raise RefusedError(str(entry.problem))
    made: list[str] = []
    reasons: list[str] = []
    book = Book(title=_stripped(entry, "title", made), author=_stripped(entry, "author", made))
    for name, read in (("publication_year", _year), ("isbn", _isbn)):
        try:
            setattr(book, name, read(entry.texts[name], made))
        except RefusedError as refused:
            reasons += refused.reasons
    if not book.author:
        reasons.insert(0, _("no author"))
    if not book.title:
        reasons.insert(0, _("no title"))
    given = [name for name in FIELDS if getattr(book, name) not in (None, "") and name != "isbn"]
    refuse_invalid(book, reasons, given)
    repairs.update(made)
    return book


def _stripped(entry: Entry, name: str, made: list[str]) -> str:
    given = entry.texts[name][0]
    text = given.strip()
    if text != given:
        made.append(SPACES[name])
    return text


def _year(texts: Sequence[str], made: list[str]) -> int:
    text = texts[0].strip()
    if not text:
        raise RefusedError(_("no publication year"))
    if len(text) <= MAX_YEAR_LENGTH:
        if BC_YEAR.fullmatch(text):
            raise RefusedError(
                _("publication year: “%(text)s” is BC, and years start at 1") % {"text": text}
            )
        if (year := YEAR.fullmatch(text)) and len(text) <= 20:
            made += [DECIMAL_YEAR] if year[2] else []
            return int(year[1])
        for pattern, repair in ((WRITTEN_YEAR, YEAR_WORDS), (FULL_DATE, YEAR_OF_DATE)):
            if year := pattern.fullmatch(text):
                made.append(repair)
                return int(year[year.lastindex or 0])
    raise RefusedError(_("publication year: “%(text)s” is not a year") % {"text": text[:50]})


def _isbn(texts: Sequence[str], made: list[str]) -> str | None:
    """The one valid ISBN in the texts; wrong ones are ignored beside it."""
    found: dict[str, list[str]] = {}
    reasons = []
    parts = (part.strip() for text in texts for part in SEVERAL_ISBNS.split(text))
    for text in filter(None, parts):
        repairs: list[str] = []
        try:
            found.setdefault(_isbn_of(text, repairs), repairs)
        except ValidationError as error:
            named = _("ISBN “%(text)s”: %(reason)s")
            reasons += [named % {"text": text[:50], "reason": each} for each in error.messages]
    if len(found) > 1:
        first, second, *_others = found
        raise RefusedError(
            _("two different ISBNs: %(first)s and %(second)s") % {"first": first, "second": second}
        )
    if not found and (reasons or settings.REQUIRE_ISBN):
        raise RefusedError(*(reasons or [_("no ISBN")]))
    if not found:
        return None
    ((number, mended),) = found.items()
    made += mended
    if reasons:
        made.append(WRONG_ISBN_IGNORED)
    return number


def _isbn_of(text: str, repairs: list[str]) -> str:
    if ROUNDED.fullmatch(text):
        raise ValidationError(_("a spreadsheet has rounded it; its last digits are lost"))
    if decimal := DECIMAL.fullmatch(text):
        text = decimal[1]
        repairs.append(DECIMAL_ISBN)
    if note := ISBN_NOTE.fullmatch(text):
        text = note[1]
        repairs.append(ISBN_NOTE_IGNORED)
    if not SHORT_ISBN10.fullmatch(text):
        return normalise(text)
    full = text.zfill(10)
    try:
        number = normalise(full)
    except ValidationError as error:
        raise ValidationError(
            _("%(digits)d digits are not an ISBN, not even with leading zeros restored (%(full)s):")
            % {"digits": len(text), "full": full}
            + f" {' '.join(error.messages)}"
        ) from None
    repairs.append(ZEROS_RESTORED)
    return number
