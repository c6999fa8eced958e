"""Which columns of a catalogue file hold what."""

import re
import textwrap
from collections.abc import Mapping, Sequence

from .entries import FIELDS, label

# Headers that name a field, in order of preference; compared without case, "_" and "-".
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
    """Why a file as a whole cannot be read, in one line."""


def plain(name: str) -> str:
    """A header as it is compared."""
    return " ".join(re.sub(r"[_-]", " ", name.casefold()).split())


def choose_columns(header: list[str], given: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Where the texts of each field stand: in the columns given, else in those that its
    synonyms name."""
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
                f"No column is known as the {label(name)}: name it by --column {name}=COLUMN. "
                f"The file has: {present}."
            )
        for column in wanted:
            if names.count(column) > 1:
                raise UnreadableFileError(f"Two columns are called “{column}”: rename one of them.")
        chosen[name] = [names.index(column) for column in wanted]
    return chosen
