"""Catalogue files as CSV: reading one row by row, and writing one."""

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO, TextIOWrapper
from typing import BinaryIO, TextIO

from library.models import Book

from .columns import SYNONYMS, UnreadableFileError, choose_columns, plain
from .entries import FIELDS, Entry

DELIMITERS = ",;\t|"
MAX_LINE_LENGTH = 2**20  # characters
BAD_QUOTES = "its quotes are not well-formed"


class CsvFile:
    """The rows of a CSV file, numbered as a spreadsheet numbers them: the header is row 1."""

    def __init__(
        self,
        file: BinaryIO,
        columns: Mapping[str, Sequence[str]] | None = None,
        delimiter: str = "",
        encoding: str = "",
    ) -> None:
        self.encoding = _encoding_of(file, encoding)
        # surrogateescape: a bad byte costs its row, not the whole file.
        try:
            text = TextIOWrapper(file, self.encoding, errors="surrogateescape", newline="")
        except LookupError:
            raise UnreadableFileError(f"There is no encoding called “{encoding}”.") from None
        self.lines = _Lines(text)
        first = next(self.lines, "")
        if not first.strip():
            raise UnreadableFileError(
                "The file is empty." if not first else "The first row is blank."
            )
        self.lines.push_back(first)
        columns = columns or {}
        self.delimiter = delimiter or max(DELIMITERS, key=lambda d: _fitness(first, d, columns))
        self.records = csv.reader(self.lines, delimiter=self.delimiter, strict=True)
        try:
            self.header = [name.strip() for name in next(self.records)]
        except csv.Error as error:
            raise UnreadableFileError(f"The first row is no CSV header: {error}.") from None
        if any(map(_undecoded, self.header)):
            raise UnreadableFileError(
                f"The first row is not {self.encoding_name}: give the right --encoding, such as "
                "cp1251, if this is a CSV file."
            )
        self.columns = choose_columns(self.header, columns)

    def __iter__(self) -> Iterator[Entry]:
        row = 1
        while True:
            row += 1
            self.lines.taken.clear()
            try:
                cells = next(self.records)
            except StopIteration:
                return
            except csv.Error:
                # Lines that an open quote swallowed become rows again.
                first, *rest = self.lines.taken
                self.lines.push_back(*rest)
                yield Entry(row, [first], problem=BAD_QUOTES, raw=first)
            else:
                yield self._entry(row, cells)

    def _entry(self, row: int, cells: list[str]) -> Entry:
        if not any(cell.strip() for cell in cells):
            return Entry(row, [])
        if len(cells) != len(self.header):
            problem = f"it has {len(cells)} cells, the header has {len(self.header)}"
            return Entry(row, cells, problem=problem)
        if any(map(_undecoded, cells)):
            return Entry(row, cells, problem=f"it has bytes that are not {self.encoding_name}")
        texts = {
            name: [cells[index] for index in indexes] for name, indexes in self.columns.items()
        }
        return Entry(row, cells, texts)

    @property
    def encoding_name(self) -> str:
        return self.encoding.removesuffix("-sig").upper()


def _undecoded(cell: str) -> bool:
    return not cell.isascii() and any("\udc80" <= c <= "\udcff" for c in cell)


class _Lines:
    """Lines of a text; remembers those read since the last record, so that they can be reread."""

    def __init__(self, text: TextIO) -> None:
        self.text = text
        self.again: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> "_Lines":
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
            raise UnreadableFileError(f"The file is not {self.text.encoding}: {error}.") from None
        if len(line) == MAX_LINE_LENGTH:
            raise UnreadableFileError("A line is longer than 1 MiB: this is no catalogue file.")
        return line

    def push_back(self, *lines: str) -> None:
        self.again.extendleft(reversed(lines))
        self.taken.clear()


def _encoding_of(file: BinaryIO, given: str) -> str:
    """A byte order mark overrides what was given; our own files of refused rows have one."""
    start = file.peek(4)[:4]  # type: ignore[attr-defined]
    if start.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return given or "utf-8"


def _fitness(line: str, delimiter: str, columns: Mapping[str, Sequence[str]]) -> tuple[int, int]:
    """How well the delimiter fits the header: recognised columns, all columns."""
    header = [plain(name) for name in next(csv.reader([line], delimiter=delimiter))]
    known = {plain(name) for names in (*columns.values(), *SYNONYMS.values()) for name in names}
    return len(known & set(header)), len(header)


def write_csv(batches: Iterable[list[Book]]) -> Iterator[tuple[str, int]]:
    """Chunks of a catalogue file as text, each with its number of books."""
    yield _csv_lines([FIELDS]), 0
    for books in batches:
        yield _csv_lines([[getattr(book, name) for name in FIELDS] for book in books]), len(books)


def _csv_lines(rows: Iterable[Sequence[object]]) -> str:
    text = StringIO(newline="")
    csv.writer(text).writerows(rows)  # with \r\n, without which Python 3.11 leaves \r unquoted
    return text.getvalue()
