"""Which column of a catalogue file holds which field."""

import textwrap
from collections.abc import Mapping, Sequence

from django.conf import settings
from django.utils.translation import gettext_noop

from project.base.files.delimited import plain
from project.base.files.rows import UnreadableFileError

from .entries import FIELDS

# Headers of each field, in order of preference, as plain() writes them.
SYNONYMS: Mapping[str, Sequence[str]] = {
    "title": (
        *("title", "book title", "original title", "name"),
        *("название", "заглавие", "название книги", "наименование", "заголовок"),
        *("titel", "buchtitel", "haupttitel", "titel des buches"),
    ),
    "author": (
        *("author", "authors", "author name", "writer", "creator", "creators"),
        *("автор", "авторы", "автор(ы)", "автор книги"),
        *("autor", "autoren", "autorin", "autor/in", "autor(en)", "verfasser", "verfasserin"),
    ),
    "publication_year": (
        *("publication year", "year", "original publication year", "year of publication"),
        *("published", "pub year", "publish year", "year published"),
        *("год", "год издания", "год публикации", "год выпуска"),
        *("jahr", "erscheinungsjahr", "veröffentlichungsjahr", "publikationsjahr"),
    ),
    "isbn": (
        *("isbn", "isbn13", "isbn 13", "isbn10", "isbn 10"),
        *("isbn nr", "isbn nr.", "isbn nummer", "номер isbn"),
    ),
}
NO_COLUMN = {
    "title": gettext_noop("No column looks like the title."),
    "author": gettext_noop("No column looks like the author."),
    "publication_year": gettext_noop("No column looks like the publication year."),
    "isbn": gettext_noop("No column looks like the ISBN."),
}


class MissingColumnError(UnreadableFileError):
    def __init__(self, name: str) -> None:
        super().__init__(NO_COLUMN[name])
        self.name = name


def known_headers(given: Mapping[str, Sequence[str]] | None = None) -> frozenset[str]:
    lists = (*(given or {}).values(), *SYNONYMS.values())
    return frozenset(plain(name) for names in lists for name in names)


def choose_columns(
    header: list[str], given: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[int]]:
    """The indexes of each field's columns: the given ones, or those that its synonyms name."""
    chosen = {}
    for name in FIELDS:
        chosen[name] = columns_of(name, header, (given or {}).get(name, ()))
        if not chosen[name] and (name != "isbn" or settings.REQUIRE_ISBN):
            raise MissingColumnError(name)
    return chosen


def columns_of(name: str, header: list[str], given: Sequence[str] = ()) -> list[int]:
    """The indexes of this field's columns; only an ISBN may have several."""
    names = [plain(column) for column in header]
    wanted = [plain(column) for column in given]
    for column, text in zip(given, wanted, strict=True):
        if text not in names:
            raise UnreadableFileError(
                gettext_noop("There is no column “%(column)s”; the file has: %(present)s."),
                column=column,
                present=present(header),
            )
    if not wanted:
        wanted = [synonym for synonym in SYNONYMS[name] if synonym in names]
        wanted = wanted if name == "isbn" else wanted[:1]
    for column in wanted:
        if names.count(column) > 1:
            raise UnreadableFileError(
                gettext_noop("Two columns are called “%(column)s”: rename one of them."),
                column=column,
            )
    return [names.index(column) for column in wanted]


def present(header: list[str]) -> str:
    return textwrap.shorten(", ".join(header), 300)
