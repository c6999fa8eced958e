"""CSV, and its like with other delimiters, row by row."""

import csv
from collections import deque
from collections.abc import Iterator, Set
from io import TextIOWrapper
from itertools import islice
from typing import BinaryIO, TextIO

from django.utils.translation import gettext_noop

from .encodings import marked_encoding
from .headers import MAX_ROWS_ABOVE, count_known, first_index, header_index
from .rows import (
    MAX_LINE_LENGTH,
    Problem,
    Row,
    UnreadableFileError,
    WrongEncodingError,
    check_header,
    checked,
)

DELIMITERS = ",;\t|"
BAD_QUOTES = gettext_noop("its quotes are not well-formed")


class DelimitedFile:
    """The rows of a CSV file; the header and its delimiter are found by the known headers."""

    def __init__(
        self,
        file: BinaryIO,
        encoding: str = "",
        delimiter: str = "",
        known_headers: Set[str] = frozenset(),
        total: int = 0,
        header_row: int | None = None,
    ) -> None:
        self.file, self.total = file, total
        self.lines = Lines(file, encoding)
        self.encoding = self.lines.encoding
        top = list(islice(self.lines, MAX_ROWS_ABOVE + 1))
        filled = [index for index, line in enumerate(top) if line.strip()]
        if not filled:
            raise UnreadableFileError(
                gettext_noop("The first rows are blank.")
                if top
                else gettext_noop("The file is empty.")
            )
        delimiters = delimiter or DELIMITERS
        best = [max((_fitness(line, d, known_headers), d) for d in delimiters) for line in top]
        found = header_index([fitness[0] for fitness, d in best])
        first = first_index(header_row, found, filled, len(top))
        self.lines.push_back(*top[first:])
        self.delimiter = best[first][1]
        self.header_row = 0 if header_row == 0 else first + 1
        self.above = self.header_row or first
        self.records = csv.reader(self.lines, delimiter=self.delimiter, strict=True)
        try:
            self.header = [name.strip() for name in next(self.records)]
        except csv.Error as error:
            text = gettext_noop("The first row is not a CSV header: %(error)s.")
            raise UnreadableFileError(text, error=str(error)) from None
        if any(map(_undecoded, self.header)):
            raise WrongEncodingError(
                gettext_noop("The first row is not %(encoding)s: choose another encoding."),
                encoding=self.encoding_name,
            )
        check_header(self.header)
        if not self.header_row:  # its cells are those of a row
            self.header = [""] * len(self.header)
            self.lines.push_back(*self.lines.taken)

    def __iter__(self) -> Iterator[Row]:
        number = self.above
        while True:
            number += 1
            self.lines.taken.clear()
            try:
                cells = next(self.records)
            except StopIteration:
                return
            except csv.Error:
                # Lines that an open quote swallowed become rows again.
                first, *rest = self.lines.taken
                self.lines.push_back(*rest)
                yield Row(number, [first], Problem(BAD_QUOTES), raw=first)
            else:
                row = checked(Row(number, cells), len(self.header))
                if not row.problem and any(map(_undecoded, row.cells)):
                    text = gettext_noop("it has bytes that are not %(encoding)s")
                    row.problem = Problem(text, {"encoding": self.encoding_name})
                yield row

    def position(self) -> int:
        return self.file.tell()

    @property
    def encoding_name(self) -> str:
        return self.encoding.removesuffix("-sig").upper()


def _undecoded(cell: str) -> bool:
    return not cell.isascii() and any("\udc80" <= c <= "\udcff" for c in cell)


def _fitness(line: str, delimiter: str, known: Set[str]) -> tuple[int, int]:
    """How well the delimiter fits the header: recognised columns, all columns."""
    try:
        header = next(csv.reader([line], delimiter=delimiter))
    except csv.Error:  # a field that is too long
        return 0, 0
    return count_known(header, known), len(header)


class Lines:
    """Lines of a file as text; those read since the last record can be read again."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        # A byte order mark overrides what was given; our own files of refused rows have one.
        start = file.peek(4)[:4]  # type: ignore[attr-defined]
        self.encoding = marked_encoding(start) or encoding or "utf-8"
        try:
            # surrogateescape: a bad byte costs its row, not the whole file.
            self.text: TextIO = TextIOWrapper(
                file, self.encoding, errors="surrogateescape", newline=""
            )
        except LookupError:
            text = gettext_noop("There is no encoding called “%(encoding)s”.")
            raise UnreadableFileError(text, encoding=encoding) from None
        self.again: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self.again.popleft() if self.again else self._read()
        if not line:
            raise StopIteration
        self.taken.append(line)
        return line

    def _read(self) -> str:
        try:
            line = self.text.readline(MAX_LINE_LENGTH)
        except UnicodeError as error:
            raise UnreadableFileError(
                gettext_noop("The file is not %(encoding)s: %(error)s."),
                encoding=self.encoding,
                error=str(error),
            ) from None
        if len(line) == MAX_LINE_LENGTH:
            raise UnreadableFileError(
                gettext_noop("A line is longer than 1 MiB, so this is not a catalogue file.")
            )
        return line

    def push_back(self, *lines: str) -> None:
        self.again.extendleft(reversed(lines))
        self.taken.clear()
