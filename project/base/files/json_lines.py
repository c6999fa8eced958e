"""JSON lines: one object per line, whose keys are the columns."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from django.utils.translation import gettext_noop

from .delimited import Lines
from .rows import Problem, Row, UnreadableFileError, check_header, checked

NO_OBJECT = gettext_noop("it is not a JSON object of text and numbers")


class JsonLinesFile:
    """The keys of the first line are the header; what a later line lacks is blank."""

    delimiter = ""

    def __init__(self, file: BinaryIO, encoding: str = "", total: int = 0) -> None:
        self.file, self.total = file, total
        self.lines = Lines(file, encoding)
        self.encoding = self.lines.encoding
        first = next(self.lines, "")
        if not first.strip():
            raise UnreadableFileError(gettext_noop("The first line is blank."))
        self.lines.push_back(first)
        try:
            self.header = list(_object(first))
            "".join(self.header).encode()  # a lone surrogate is no character
        except ValueError:
            raise UnreadableFileError(
                gettext_noop(
                    "The first line is not a JSON object, so this is not a JSON Lines file."
                )
            ) from None
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
