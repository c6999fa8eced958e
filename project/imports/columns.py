"""Which column of a file holds which field."""

import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress

from django.utils.translation import gettext_noop

from project.base.files.headers import plain
from project.base.files.rows import UnreadableFileError

from .records import Column, Records


class MissingColumnError(UnreadableFileError):
    def __init__(self, column: Column) -> None:
        super().__init__(column.missing)
        self.name = column.name


def known_headers(
    records: Records, given: Mapping[str, Sequence[str]] | None = None
) -> frozenset[str]:
    lists = (*(given or {}).values(), *(column.headers for column in records.columns))
    return frozenset(plain(name) for names in lists for name in names)


def choose_columns(
    records: Records, header: list[str], given: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[int]]:
    """The indexes of each field's columns: the given ones, or those that its headers name."""
    chosen = {}
    for column in records.columns:
        found = indexes_of(column, header, (given or {}).get(column.name, ()))
        if not found and records.requires(column):
            raise MissingColumnError(column)
        chosen[column.name] = found
    return chosen


def guess_columns(
    records: Records, header: list[str], given: Mapping[str, Sequence[str]]
) -> dict[str, list[int]]:
    """Of each field, as far as the header says."""
    guessed: dict[str, list[int]] = {name: [] for name in records.fields}
    for column in records.columns:
        with suppress(UnreadableFileError):
            guessed[column.name] = indexes_of(column, header, given.get(column.name, ()))
    return guessed


def indexes_of(column: Column, header: list[str], given: Sequence[str] = ()) -> list[int]:
    names = [plain(name) for name in header]
    wanted = [plain(name) for name in given]
    for name, text in zip(given, wanted, strict=True):
        if text not in names:
            raise UnreadableFileError(
                gettext_noop("There is no column “%(column)s”; the file has: %(present)s."),
                column=name,
                present=present(header),
            )
    if not wanted:
        wanted = [known for known in column.headers if known in names]
        wanted = wanted if column.several else wanted[:1]
    for name in wanted:
        if names.count(name) > 1:
            raise UnreadableFileError(
                gettext_noop("Two columns are called “%(column)s”: rename one of them."),
                column=name,
            )
    return [names.index(name) for name in wanted]


def present(header: list[str]) -> str:
    return textwrap.shorten(", ".join(header), 300)
