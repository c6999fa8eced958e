"""Books of a file beside those of the catalogue, and the command's way of writing them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils.translation import gettext_noop

from library.isbn import hyphenated
from library.models import Book
from project.base.database import persistent_transaction
from project.imports.batches import BATCH_SIZE, Result, batches_of, save
from project.imports.records import Column, Comparison, Entry, Records

from .entries import COLUMNS, book_of

REPEATED_ISBN = gettext_noop("row %(row)d has the same ISBN but other data")


class Books(Records[Book]):
    """Known by their ISBN; a book without one is that of the same title, author and year."""

    model = Book
    columns = COLUMNS
    compared = ("title", "author", "publication_year")

    def requires(self, column: Column) -> bool:
        return column.name != "isbn" or settings.REQUIRE_ISBN

    def record_of(self, entry: Entry, repairs: Counter[str]) -> Book:
        return book_of(entry, repairs)

    def keys(self, record: Book) -> dict[str, str]:
        return {record.isbn or repr(self.identity(record)): REPEATED_ISBN}

    def compare(self, records: Sequence[Book], lock: bool = False) -> Comparison[Book]:
        """Raises the version of the changed."""
        rows = Book.objects.filter(isbn__in=[book.isbn for book in records if book.isbn])
        if lock:
            rows = rows.select_for_update()
        known = self.known_without_isbn(records)
        stored = {
            isbn: (version, texts)
            for isbn, version, *texts in rows.values_list("isbn", "version", *self.compared)
        }
        found = Comparison[Book]()
        for book in records:
            version, texts = stored.get(book.isbn, (0, []))
            if not book.isbn:
                (found.same if tuple(self.identity(book)) in known else found.new).append(book)
            elif not version:
                found.new.append(book)
            elif texts == self.identity(book):
                found.same.append(book)
            else:
                book.version = version + 1
                found.changed.append((book, texts))
        return found

    def known_without_isbn(self, books: Sequence[Book]) -> dict[tuple[Any, ...], int]:
        """The ids of stored books by their identity; among them all that these might be."""
        titles = [book.title for book in books if not book.isbn]
        if not titles:
            return {}
        rows = Book.objects.filter(title__in=titles).values_list("pk", *self.compared)
        return {tuple(identity): pk for pk, *identity in rows}

    def write(self, found: Comparison[Book]) -> None:
        Book.objects.bulk_create(found.new)
        with_target = connection.features.supports_update_conflicts_with_target
        Book.objects.bulk_create(
            [book for book, old in found.changed],
            update_conflicts=True,
            unique_fields=["isbn"] if with_target else None,
            update_fields=["version", *self.compared, "updated_at"],
        )

    def shown(self, name: str, value: Any) -> str:
        return hyphenated(value) if name == "isbn" and value else super().shown(name, value)


BOOKS = Books()


def import_entries(
    entries: Iterable[Entry],
    refuse: Callable[[Entry, list[str]], None],
    result: Result,
    dry_run: bool = False,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Result]:
    """Upsert books by ISBN, one transaction per batch; updates the result after each."""
    for batch in batches_of(BOOKS, entries, refuse, result, batch_size):
        books = [book for entry, book in batch.records]
        new, changed = save_books(books, dry_run)
        result.new += new
        result.changed += changed
        result.same += len(books) - new - changed + len(batch.repeated)
        result.last_row = batch.last_row
        yield result


def save_books(books: list[Book], dry_run: bool = False) -> tuple[int, int]:
    """Write the books that are new or changed, and return how many of each."""
    found = persistent_transaction(lambda: save(BOOKS, books, dry_run))
    return len(found.new), len(found.changed)
