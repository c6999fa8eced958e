"""Importing a file's entries into the catalogue, whatever the file's format."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice

from django.db import IntegrityError, OperationalError, connection, transaction

from library.models import Book
from project.base.database import LOCK_ERRORS

from .entries import Entry, RefusedError, book_of

# The two columns that a file of refused rows adds in front of the original ones.
ROW, REASONS = "refused row", "refused because"


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
    """Upsert books by ISBN, one transaction per batch; updates the result after each."""
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
            except RefusedError as refused:
                result.refused += 1
                refuse(entry, refused.reasons)
        new, changed = save_books(books, dry_run)
        result.new += new
        result.changed += changed
        result.same += len(books) - new - changed
        result.last_row = batch[-1].row
        yield result


def save_books(books: list[Book], dry_run: bool = False) -> tuple[int, int]:
    """Write the books that are new or changed, and return how many of each."""
    for attempt in range(5):
        try:
            with transaction.atomic():
                return _save_books(books, dry_run)
        except (OperationalError, IntegrityError) as error:
            # Or somebody else has just added one of them: next time it is found.
            passing = isinstance(error, IntegrityError) or error.args[0] in LOCK_ERRORS
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
    """The ISBNs of one file, in a temporary database: a file may be larger than memory."""

    def __init__(self) -> None:
        self.database = sqlite3.connect("", isolation_level=None)
        self.database.execute("PRAGMA journal_mode=OFF")
        self.database.execute("CREATE TABLE seen (isbn INTEGER PRIMARY KEY, line, digest)")
        self.database.execute("BEGIN")

    def before(self, book: Book, row: int) -> bool:
        """Whether the same book came before; raises RefusedError if it came with other data."""
        data = repr((book.title, book.author, book.publication_year))
        digest = blake2b(data.encode(), digest_size=16).digest()
        number = int(book.isbn)
        known = self.database.execute("SELECT line, digest FROM seen WHERE isbn = ?", [number])
        for line, known_digest in known:
            if known_digest == digest:
                return True
            raise RefusedError([f"row {line} has the same ISBN with other data"])
        self.database.execute("INSERT INTO seen VALUES (?, ?, ?)", [number, row, digest])
        return False
