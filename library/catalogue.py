"""Catalogue files: reading one into the catalogue, and writing one.

A format is a function that yields entries (read_csv); all that follows is the same for each.
"""

import csv
import re
import sqlite3
import textwrap
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from io import StringIO, TextIOWrapper
from itertools import islice
from typing import BinaryIO, TextIO

from django.core.exceptions import ValidationError
from django.db import IntegrityError, OperationalError, connection, transaction

from project.base.database import IN_THE_WAY

from .isbn import normalise
from .models import Book

FIELDS = ("title", "author", "publication_year", "isbn")
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
DELIMITERS = ",;\t|"
LONGEST_LINE = 2**20
# The two columns that a file of refused rows has in front of the original ones.
ROW, REASONS = "refused row", "refused because"
BAD_QUOTES = "its quotes are not well-formed"

YEAR = re.compile(r"([+-]?[0-9]+)([.,]0*)?")
DECIMAL = re.compile(r"([0-9]{7,13})[.,]0+")
SHORT_ISBN10 = re.compile(r"[0-9]{6,8}[0-9Xx]")
ROUNDED = re.compile(r"[0-9](?:[.,][0-9]+)?[eE]\+?[0-9]+")


class UnreadableFile(Exception):
    """Why a file as a whole cannot be read, in one line."""


class Refused(Exception):
    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons


@dataclass
class Entry:
    """What a file says about one book: texts as they stand; an ISBN may be given several times."""

    row: int
    original: list[str]
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    problem: str = ""
    raw: str = ""  # the line itself, where it could not be taken apart


# --- Reading CSV ---


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
        # surrogateescape: one bad byte costs its row, not the file.
        try:
            text = TextIOWrapper(file, self.encoding, errors="surrogateescape", newline="")
        except LookupError:
            raise UnreadableFile(f"There is no encoding called “{encoding}”.") from None
        self.lines = _Lines(text)
        first = next(self.lines, "")
        if not first.strip():
            raise UnreadableFile("The file is empty." if not first else "The first row is blank.")
        self.lines.push_back(first)
        columns = columns or {}
        self.delimiter = delimiter or max(DELIMITERS, key=lambda d: _fitness(first, d, columns))
        self.records = csv.reader(self.lines, delimiter=self.delimiter, strict=True)
        try:
            self.header = [name.strip() for name in next(self.records)]
        except csv.Error as error:
            raise UnreadableFile(f"The first row is no CSV header: {error}.") from None
        if any(map(_undecoded, self.header)):
            raise UnreadableFile(
                f"The first row is not {self.encoding_name}: give the right --encoding, such as "
                "cp1251, if this is a CSV file."
            )
        self.columns = _chosen_columns(self.header, columns)

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
                # The lines that an open quote swallowed are rows of their own again.
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
            name: [cells[position] for position in places] for name, places in self.columns.items()
        }
        return Entry(row, cells, texts)

    @property
    def encoding_name(self) -> str:
        return self.encoding.removesuffix("-sig").upper()


def _undecoded(cell: str) -> bool:
    return not cell.isascii() and any("\udc80" <= c <= "\udcff" for c in cell)


class _Lines:
    """Lines of a text, remembering those taken since the last record for a second reading."""

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
            line = self.text.readline(LONGEST_LINE)
        except UnicodeError as error:
            raise UnreadableFile(f"The file is not {self.text.encoding}: {error}.") from None
        if len(line) == LONGEST_LINE:
            raise UnreadableFile("A line is longer than 1 MiB: this is no catalogue file.")
        return line

    def push_back(self, *lines: str) -> None:
        self.again.extendleft(reversed(lines))
        self.taken.clear()


def _encoding_of(file: BinaryIO, given: str) -> str:
    """A byte order mark tells more surely than anybody; it is also on our own refused rows."""
    start = file.peek(4)[:4]  # type: ignore[attr-defined]
    if start.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return given or "utf-8"


def _fitness(line: str, delimiter: str, columns: Mapping[str, Sequence[str]]) -> tuple[int, int]:
    """How well DELIMITER explains the header: columns recognised, columns in all."""
    header = [_plain(name) for name in next(csv.reader([line], delimiter=delimiter))]
    known = {_plain(name) for names in (*columns.values(), *SYNONYMS.values()) for name in names}
    return len(known & set(header)), len(header)


def _plain(name: str) -> str:
    return " ".join(re.sub(r"[_-]", " ", name.casefold()).split())


def _chosen_columns(header: list[str], given: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Where the texts of each field stand: in the columns given, else in those that its
    synonyms name."""
    plain = [_plain(name) for name in header]
    present = textwrap.shorten(", ".join(header), 300)
    chosen = {}
    for name in FIELDS:
        wanted = [_plain(column) for column in given.get(name, ())]
        if absent := [
            c for c, w in zip(given.get(name, ()), wanted, strict=True) if w not in plain
        ]:
            raise UnreadableFile(f"There is no column “{absent[0]}”; the file has: {present}.")
        if not wanted:
            wanted = [synonym for synonym in SYNONYMS[name] if synonym in plain]
            wanted = wanted if name == "isbn" else wanted[:1]
        if not wanted:
            raise UnreadableFile(
                f"No column is known as the {_label(name)}: name it by --column {name}=COLUMN. "
                f"The file has: {present}."
            )
        for column in wanted:
            if plain.count(column) > 1:
                raise UnreadableFile(f"Two columns are called “{column}”: rename one of them.")
        chosen[name] = [plain.index(column) for column in wanted]
    return chosen


def _label(name: str) -> str:
    return str(Book._meta.get_field(name).verbose_name)  # type: ignore[union-attr]


# --- From an entry to a book ---


def book_of(entry: Entry, repairs: Counter[str]) -> Book:
    """The book that ENTRY describes, not saved; what had to be repaired is counted in REPAIRS.

    Raises Refused with every reason why it cannot be a book of the catalogue.
    """
    if entry.problem:
        raise Refused([entry.problem])
    made: list[str] = []
    reasons: list[str] = []
    book = Book(title=_stripped(entry, "title", made), author=_stripped(entry, "author", made))
    for name, read in (("publication_year", _year), ("isbn", _isbn)):
        try:
            setattr(book, name, read(entry.texts[name], made))
        except Refused as refused:
            reasons += refused.reasons
    missing = [name for name in ("title", "author") if not getattr(book, name)]
    reasons = [f"no {_label(name)}" for name in missing] + reasons
    try:
        book.clean_fields(
            exclude={"isbn", *(name for name in FIELDS if getattr(book, name) in (None, ""))}
        )
    except ValidationError as error:
        reasons += [
            f"{_label(name)}: {message}"
            for name, messages in error.message_dict.items()
            for message in messages
        ]
    if reasons:
        raise Refused(reasons)
    repairs.update(made)
    return book


def _stripped(entry: Entry, name: str, made: list[str]) -> str:
    given = entry.texts[name][0]
    text = given.strip()
    if text != given:
        made.append(f"{_label(name)}: blanks at the ends removed")
    return text


def _year(texts: Sequence[str], made: list[str]) -> int:
    text = texts[0].strip()
    if not text:
        raise Refused([f"no {_label('publication_year')}"])
    year = YEAR.fullmatch(text)
    if not year or len(text) > 20:
        raise Refused([f"{_label('publication_year')}: “{text[:50]}” is not a year"])
    if year[2]:
        made.append("year written as 2008.0")
    return int(year[1])


def _isbn(texts: Sequence[str], made: list[str]) -> str:
    """The ISBN that stands in any of TEXTS; those that are wrong do not matter beside a right one."""
    found: dict[str, list[str]] = {}
    reasons = []
    for text in filter(None, (text.strip() for text in texts)):
        repairs: list[str] = []
        try:
            found.setdefault(_isbn_of(text, repairs), repairs)
        except ValidationError as error:
            reasons += [f"ISBN “{text[:50]}”: {message}" for message in error.messages]
    if len(found) > 1:
        raise Refused([f"two different ISBNs: {' and '.join(found)}"])
    if not found:
        raise Refused(reasons or ["no ISBN"])
    (number, repairs), *_ = found.items()
    made += repairs
    if reasons:
        made.append("ISBN in another column wrong, passed over")
    return number


def _isbn_of(text: str, repairs: list[str]) -> str:
    if ROUNDED.fullmatch(text):
        raise ValidationError("a spreadsheet has rounded it, its last digits are lost")
    if decimal := DECIMAL.fullmatch(text):
        text = decimal[1]
        repairs.append("ISBN written as 9780306406157.0")
    if not SHORT_ISBN10.fullmatch(text):
        return normalise(text)
    full = text.zfill(10)
    try:
        number = normalise(full)
    except ValidationError as error:
        raise ValidationError(
            f"{len(text)} digits are no ISBN, nor are they one that lost its leading zeros, "
            f"as {full}: {' '.join(error.messages)}"
        ) from None
    repairs.append("ISBN: leading zeros restored")
    return number


# --- Into the catalogue ---


@dataclass
class Result:
    read: int = 0
    new: int = 0
    changed: int = 0
    same: int = 0
    refused: int = 0
    blank: int = 0
    last_row: int = 1
    repairs: Counter[str] = field(default_factory=Counter)


def import_entries(
    entries: Iterable[Entry],
    refuse: Callable[[Entry, list[str]], None],
    result: Result,
    dry_run: bool = False,
    batch_size: int = 1000,
) -> Iterator[Result]:
    """Upsert books by ISBN, one transaction per batch; RESULT grows with each."""
    seen = SeenIsbns()
    entries = iter(entries)
    while batch := list(islice(entries, batch_size)):
        books = []
        for entry in batch:
            if not entry.original:
                result.blank += 1
                continue
            result.read += 1
            try:
                book = book_of(entry, result.repairs)
                if seen.before(book, entry.row):
                    result.same += 1
                else:
                    books.append(book)
            except Refused as refused:
                result.refused += 1
                refuse(entry, refused.reasons)
        new, changed = save_books(books, dry_run)
        result.new += new
        result.changed += changed
        result.same += len(books) - new - changed
        result.last_row = batch[-1].row
        yield result


def save_books(books: list[Book], dry_run: bool = False) -> tuple[int, int]:
    """Write those of BOOKS that are new or differ from the stored one; how many of each."""
    for attempt in range(5):
        try:
            with transaction.atomic():
                return _save_books(books, dry_run)
        except (OperationalError, IntegrityError) as error:
            # Also where somebody else has just added one of them: the next time it is stored.
            passing = isinstance(error, IntegrityError) or error.args[0] in IN_THE_WAY
            if attempt == 4 or not passing:
                raise
    raise AssertionError


def _save_books(books: list[Book], dry_run: bool) -> tuple[int, int]:
    isbns = [book.isbn for book in books]
    columns = ("version", "title", "author", "publication_year")
    stored = {
        isbn: (version, texts)
        for isbn, version, *texts in Book.objects.filter(isbn__in=isbns)
        .select_for_update()
        .values_list("isbn", *columns)
    }
    new = [book for book in books if book.isbn not in stored]
    changed = []
    for book in books:
        version, texts = stored.get(book.isbn, (0, None))
        if version and texts != [book.title, book.author, book.publication_year]:
            book.version = version + 1
            changed.append(book)
    if not dry_run:
        Book.objects.bulk_create(new)
        with_target = connection.features.supports_update_conflicts_with_target
        Book.objects.bulk_create(
            changed,
            update_conflicts=True,
            unique_fields=["isbn"] if with_target else None,
            update_fields=[*columns, "updated_at"],
        )
    return len(new), len(changed)


class SeenIsbns:
    """The books of one file, in a temporary database: a file may be larger than memory."""

    def __init__(self) -> None:
        self.database = sqlite3.connect("", isolation_level=None)
        self.database.execute("PRAGMA journal_mode=OFF")
        self.database.execute("CREATE TABLE seen (isbn INTEGER PRIMARY KEY, line, digest)")
        self.database.execute("BEGIN")

    def before(self, book: Book, row: int) -> bool:
        """Whether the same book came before; Refused where it came with other data."""
        data = repr((book.title, book.author, book.publication_year))
        digest = blake2b(data.encode(), digest_size=16).digest()
        number = int(book.isbn)
        known = self.database.execute("SELECT line, digest FROM seen WHERE isbn = ?", [number])
        for line, known_digest in known:
            if known_digest == digest:
                return True
            raise Refused([f"row {line} has the same ISBN with other data"])
        self.database.execute("INSERT INTO seen VALUES (?, ?, ?)", [number, row, digest])
        return False


# --- Writing CSV ---


def write_csv(batches: Iterable[list[Book]]) -> Iterator[tuple[str, int]]:
    """Pieces of a catalogue file as text, each with the number of books in it."""
    yield _csv_lines([FIELDS]), 0
    for books in batches:
        yield _csv_lines([[getattr(book, name) for name in FIELDS] for book in books]), len(books)


def _csv_lines(rows: Iterable[Sequence[object]]) -> str:
    text = StringIO(newline="")
    csv.writer(text).writerows(rows)  # with \r\n, without which Python 3.11 leaves \r unquoted
    return text.getvalue()
