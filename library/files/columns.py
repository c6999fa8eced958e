"""Which column of a catalogue file holds which field."""

import re
import textwrap
from collections.abc import Mapping, Sequence

from .entries import FIELDS, label

# Headers of each field, in order of preference; case, "_" and "-" do not matter.
SYNONYMS: Mapping[str, Sequence[str]] = {
    "title": (
        *("title", "book title", "original title", "name"),
        *("название", "заглавие", "название книги", "наименование", "заголовок"),
    ),
    "author": (
        *("author", "authors", "author name", "writer", "creator", "creators"),
        *("автор", "авторы", "автор(ы)", "автор книги"),
    ),
    "publication_year": (
        *("publication year", "year", "original publication year", "year of publication"),
        *("published", "pub year", "publish year", "year published"),
        *("год", "год издания", "год публикации", "год выпуска"),
    ),
    "isbn": ("isbn", "isbn13", "isbn 13", "isbn10", "isbn 10"),
}


class UnreadableFileError(Exception):
    """The whole file cannot be read; says why in one line."""


def plain(name: str) -> str:
    """The header as compared."""
    return " ".join(re.sub(r"[_-]", " ", name.casefold()).split())


def choose_columns(header: list[str], given: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """The indexes of each field's columns: the given ones, or those that its synonyms name."""
    names = [plain(name) for name in header]
    present = textwrap.shorten(", ".join(header), 300)
    chosen = {}
    for name in FIELDS:
        wanted = [plain(column) for column in given.get(name, ())]
        if absent := [
            c for c, w in zip(given.get(name, ()), wanted, strict=True) if w not in names
        ]:
            raise UnreadableFileError(f"There is no column “{absent[0]}”; the file has: {present}.")
        if not wanted:
            wanted = [synonym for synonym in SYNONYMS[name] if synonym in names]
            wanted = wanted if name == "isbn" else wanted[:1]
        if not wanted:
            raise UnreadableFileError(
                f"No column looks like the {label(name)}: name it with --column {name}=COLUMN. "
                f"The file has: {present}."
            )
        for column in wanted:
            if names.count(column) > 1:
                raise UnreadableFileError(f"Two columns are called “{column}”: rename one of them.")
        chosen[name] = [names.index(column) for column in wanted]
    return chosen
