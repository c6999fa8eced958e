"""Importing a file's entries into the catalogue, whatever the file's format."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import TypeVar

from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils.translation import gettext_noop

from library.models import Book
from project.base.database import LOCK_ERRORS
from project.base.files.rows import Problem

from .entries import Entry, RefusedError, book_of

BATCH_SIZE = 1000  # rows read, or books written, at a time
MAX_SAVE_ATTEMPTS = 5
COMPARED = ("title", "author", "publication_year")
REPEATED_ISBN = gettext_noop("row %(row)d has the same ISBN with other data")
T = TypeVar("T")


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


@dataclass
class Batch:
    """The books of some rows; `repeated` are those that an earlier row of the file has too."""

    books: list[tuple[int, Book]] = field(default_factory=list)
    repeated: list[tuple[int, Book]] = field(default_factory=list)
    last_row: int = 1


def books_of(
    entries: Iterable[Entry],
    refuse: Callable[[Entry, list[str]], None],
    result: Result,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Batch]:
    """The books with their row numbers; counts what is no book in the result.

    For a repeated ISBN it sets the entry's problem, which nothing but the whole file shows.
    """
    seen = SeenIsbns()
    entries = iter(entries)
    while rows := list(islice(entries, batch_size)):
        batch = Batch()
        for entry in rows:
            if not entry.original:
                result.blank += 1
                continue
            result.read += 1
            try:
                book = book_of(entry, result.repairs)
                earlier, same = seen.before(book, entry.row)
                if earlier and not same:
                    entry.problem = Problem(REPEATED_ISBN, {"row": earlier})
                    raise RefusedError(str(entry.problem))
                (batch.repeated if earlier else batch.books).append((entry.row, book))
            except RefusedError as refused:
                result.refused += 1
                refuse(entry, refused.reasons)
        batch.last_row = rows[-1].row
        yield batch


def import_entries(
    entries: Iterable[Entry],
    refuse: Callable[[Entry, list[str]], None],
    result: Result,
    dry_run: bool = False,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Result]:
    """Upsert books by ISBN, one transaction per batch; updates the result after each."""
    for batch in books_of(entries, refuse, result, batch_size):
        books = [book for row, book in batch.books]
        new, changed = save_books(books, dry_run)
        result.new += new
        result.changed += changed
        result.same += len(books) - new - changed + len(batch.repeated)
        result.last_row = batch.last_row
        yield result


def save_books(books: list[Book], dry_run: bool = False) -> tuple[int, int]:
    """Write the books that are new or changed, and return how many of each."""
    return persistent_transaction(lambda: _save_books(books, dry_run))


def persistent_transaction(write: Callable[[], T]) -> T:
    """Tried again if it loses to somebody else's."""
    for attempt in range(1, MAX_SAVE_ATTEMPTS + 1):
        try:
            with transaction.atomic():
                return write()
        except (OperationalError, IntegrityError) as error:
            # Or somebody else has just added one of them: next time it is found.
            passing = isinstance(error, IntegrityError) or error.args[0] in LOCK_ERRORS
            if attempt == MAX_SAVE_ATTEMPTS or not passing:
                raise
    raise AssertionError


@dataclass
class Comparison:
    new: list[Book]
    changed: list[tuple[Book, list[str | int]]]  # with the stored values of COMPARED
    same: list[Book]


def compare(books: list[Book], lock: bool = False) -> Comparison:
    """The books beside the stored ones; raises the version of the changed."""
    rows = Book.objects.filter(isbn__in=[book.isbn for book in books if book.isbn])
    if lock:
        rows = rows.select_for_update()
    known = _known_without_isbn(books)
    stored = {
        isbn: (version, texts)
        for isbn, version, *texts in rows.values_list("isbn", "version", *COMPARED)
    }
    found = Comparison([], [], [])
    for book in books:
        version, texts = stored.get(book.isbn, (0, []))
        if not book.isbn:
            (found.same if values_of(book) in known else found.new).append(book)
        elif not version:
            found.new.append(book)
        elif texts == values_of(book):
            found.same.append(book)
        else:
            book.version = version + 1
            found.changed.append((book, texts))
    return found


def values_of(book: Book) -> list[str | int]:
    return [getattr(book, name) for name in COMPARED]


def _known_without_isbn(books: list[Book]) -> list[list[str | int]]:
    """A book without ISBN is the one of the same title, author and year."""
    titles = [book.title for book in books if not book.isbn]
    if not titles:
        return []
    return [list(row) for row in Book.objects.filter(title__in=titles).values_list(*COMPARED)]


def _save_books(books: list[Book], dry_run: bool) -> tuple[int, int]:
    found = compare(books, lock=True)
    if not dry_run:
        Book.objects.bulk_create(found.new)
        with_target = connection.features.supports_update_conflicts_with_target
        Book.objects.bulk_create(
            [book for book, old in found.changed],
            update_conflicts=True,
            unique_fields=["isbn"] if with_target else None,
            update_fields=["version", *COMPARED, "updated_at"],
        )
    return len(found.new), len(found.changed)


class SeenIsbns:
    """The ISBNs of one file, in a temporary database: a file may be larger than memory."""

    def __init__(self) -> None:
        self.database = sqlite3.connect("", isolation_level=None)
        self.database.execute("PRAGMA journal_mode=OFF")
        self.database.execute("CREATE TABLE seen (key PRIMARY KEY, line, digest) WITHOUT ROWID")
        self.database.execute("BEGIN")

    def before(self, book: Book, row: int) -> tuple[int, bool]:
        """The earlier row with its ISBN, or 0, and whether that one has the same data."""
        data = repr(values_of(book))
        digest = blake2b(data.encode(), digest_size=16).digest()
        key = int(book.isbn) if book.isbn else digest
        known = self.database.execute("SELECT line, digest FROM seen WHERE key = ?", [key])
        for line, known_digest in known:
            return line, known_digest == digest
        self.database.execute("INSERT INTO seen VALUES (?, ?, ?)", [key, row, digest])
        return 0, False
