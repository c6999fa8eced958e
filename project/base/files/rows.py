"""What every reader yields, and the limits of all of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from django.utils.translation import gettext, gettext_noop

MAX_COLUMNS = 500
MAX_CELL_LENGTH = 10_000  # characters
MAX_LINE_LENGTH = 2**20  # characters


@dataclass(frozen=True)
class Problem:
    """A sentence and its parameters; it is stored as both, and translated where it is read."""

    text: str
    params: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return gettext(self.text) % self.params

    def as_json(self) -> list[Any]:
        params = {
            name: storable(value) if isinstance(value, str) else value
            for name, value in self.params.items()
        }
        return [self.text, params]


def storable(text: str) -> str:
    """The text with a ? for what is no character, which MySQL's JSON refuses."""
    return text.encode("utf-8", "replace").decode()


class UnreadableFileError(Exception):
    """The whole file cannot be read; says why in one line."""

    def __init__(self, text: str, **params: Any) -> None:
        self.problem = Problem(text, params)

    def __str__(self) -> str:
        return str(self.problem)


class WrongEncodingError(UnreadableFileError):
    """The header shows that the encoding is another one."""


@dataclass
class Row:
    """The header is row 1, as in a spreadsheet."""

    number: int
    cells: list[str]
    problem: Problem | None = None
    raw: str = ""  # the line itself, if it could not be parsed


class Table(Protocol):
    """A file of rows under a header."""

    header: list[str]
    encoding: str  # "" if the format settles it
    delimiter: str  # "" if the format has none
    total: int  # of the same unit as position(); 0 if unknown

    def __iter__(self) -> Iterator[Row]: ...

    def position(self) -> int: ...


def check_header(header: list[str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise UnreadableFileError(
            gettext_noop("The file has %(columns)d columns; at most %(most)d are read."),
            columns=len(header),
            most=MAX_COLUMNS,
        )


def checked(row: Row, columns: int) -> Row:
    """The row with its problem, if its cells do not fit the header; no cells if it is blank."""
    if not any(cell.strip() for cell in row.cells):
        return Row(row.number, [])
    if len(row.cells) != columns:
        text = gettext_noop("it has %(cells)d cells, the header has %(columns)d")
        row.problem = Problem(text, {"cells": len(row.cells), "columns": columns})
    elif any(len(cell) > MAX_CELL_LENGTH for cell in row.cells):
        text = gettext_noop("a cell has more than %(most)d characters")
        row.problem = Problem(text, {"most": MAX_CELL_LENGTH})
    return row
