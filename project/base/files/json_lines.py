"""JSON lines: one object per line, whose keys are the columns."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

from django.utils.translation import gettext_noop

from .delimited import Lines
from .rows import Problem, Row, UnreadableFileError, check_header, checked

MAX_TOP_SIZE = 2**20  # characters from which the keys are taken
NO_OBJECT = gettext_noop("it is not a JSON object of text and numbers")


class JsonLinesFile:
    """The keys of the first lines are the header; what a line lacks is blank."""

    delimiter = ""

    def __init__(self, file: BinaryIO, encoding: str = "", total: int = 0) -> None:
        self.file, self.total = file, total
        self.lines = Lines(file, encoding)
        self.encoding = self.lines.encoding
        top, size = [], 0
        while size < MAX_TOP_SIZE and (line := next(self.lines, "")):
            top.append(line)
            size += len(line)
        self.lines.push_back(*top)
        if not any(line.strip() for line in top):
            raise UnreadableFileError(gettext_noop("The first lines are blank."))
        # Some programs leave out what is null, so a line may lack what a later one has.
        self.header = [*dict.fromkeys(key for line in top for key in _keys(line))]
        if not self.header:
            raise UnreadableFileError(
                gettext_noop(
                    "The first lines are not JSON objects, so this is not a JSON Lines file."
                )
            )
        check_header(self.header)

    def __iter__(self) -> Iterator[Row]:
        for number, line in enumerate(self.lines, 1):
            self.lines.taken.clear()
            if not line.strip():
                yield Row(number, [])
                continue
            try:
                values = _object(line)
                cells = [_cell(values.get(name)) for name in self.header]
                "".join(cells).encode()
            except ValueError:
                yield Row(number, [line.rstrip()], Problem(NO_OBJECT))
            else:
                yield checked(Row(number, cells), len(self.header))

    def position(self) -> int:
        return self.file.tell()


def _keys(line: str) -> Iterator[str]:
    """Those whose values can be a cell: what an import does not need may be anything."""
    with suppress(ValueError):
        for key, value in _object(line).items():
            with suppress(ValueError):
                _cell(value)
                key.encode()  # a lone surrogate is no character
                yield key


def _object(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except RecursionError:
        raise ValueError from None
    if not isinstance(values, dict):
        raise ValueError
    return values


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    raise ValueError
