"""Batches of the command import_books: few queries, whole or not at all, tried again."""

from typing import Any

import pytest
from django.core.management import CommandError
from django.db import IntegrityError, OperationalError, connection
from django.test.utils import CaptureQueriesContext

from library.files import importing
from library.models import Book, BookQuerySet
from library.tests.books import THE_BOOK, add, index_is_right, isbn_number
from project.imports.batches import Result
from project.imports.records import Entry

from .command import HEADER, ROW, counts, imported, in_batches_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def test_batches_are_upserted_with_a_constant_number_of_queries():
    def queries(count: int) -> int:
        rows = [f"Title {n},Author {n},2000,{isbn_number(n)}" for n in range(count)]
        with CaptureQueriesContext(
            connection,
        ) as captured:
            imported(HEADER, *rows)
        return len(captured)

    few = queries(5)
    Book.objects.all().delete()
    assert queries(60) == few


def test_many_changes_of_one_batch_cost_few_queries():
    rows = [f"Title {n},Author,2000,{isbn_number(n)}" for n in range(100)]
    imported(HEADER, *rows)
    with CaptureQueriesContext(connection) as captured:
        output = imported(HEADER, *(row.replace("Title", "Name") for row in rows))
    assert counts(output)["changed"] == 100
    assert len(captured) < 20
    assert index_is_right()


def failing_save(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> list[Exception]:
    """Each save raises the next error; returns the errors still to be raised."""
    left = list(errors)
    save = importing.save

    def failing(*args: Any) -> Any:
        if left:
            raise left.pop(0)
        return save(*args)

    monkeypatch.setattr(importing, "save", failing)
    return left


@pytest.mark.parametrize(
    "error", [OperationalError(1213, "Deadlock"), IntegrityError(1062, "Duplicate entry")]
)
def test_a_save_is_tried_five_times(monkeypatch, error):
    failing_save(monkeypatch, *[error] * 4)
    assert counts(imported(HEADER, ROW))["new"] == 1
    left = failing_save(monkeypatch, *[error] * 6)
    with pytest.raises(CommandError, match=error.args[1]):
        imported(HEADER, ROW)
    assert len(left) == 1


def test_an_error_that_stays_is_not_tried_again(monkeypatch):
    failing_save(monkeypatch, OperationalError(1142, "denied"))
    with pytest.raises(CommandError, match="denied"):
        imported(HEADER, ROW)
    assert not Book.objects.exists()


def test_a_book_that_somebody_adds_meanwhile_is_updated(monkeypatch):
    create = BookQuerySet.bulk_create

    def overtaken(books: BookQuerySet, *args: Any, **kwargs: Any) -> list[Book]:
        if not Book.objects.exists():
            # Its row is rolled back with ours, so it is new again next time.
            monkeypatch.setattr(importing, "save", with_the_other)
            add(isbn=THE_BOOK, title="The Other's")
        return create(books, *args, **kwargs)

    def with_the_other(*args: Any) -> Any:
        add(isbn=THE_BOOK, title="The Other's")
        return save(*args)

    save = importing.save
    monkeypatch.setattr(BookQuerySet, "bulk_create", overtaken)
    assert counts(imported(HEADER, ROW))["changed"] == 1
    assert Book.objects.get().title == "Emma"


def test_a_batch_is_saved_whole_or_not_at_all(monkeypatch):
    add(isbn=THE_BOOK, title="Stored")
    create = BookQuerySet.bulk_create

    def failing(books: BookQuerySet, objs: list[Book], **kwargs: Any) -> list[Book]:
        if kwargs:  # the changed ones, which come after the new ones
            raise OperationalError(1142, "denied")
        return create(books, objs)

    monkeypatch.setattr(BookQuerySet, "bulk_create", failing)
    with pytest.raises(CommandError, match="denied"):
        imported(HEADER, ROW, f"New,A,2000,{isbn_number(10**6)}")
    assert Book.objects.get().title == "Stored"


def test_a_batch_has_at_most_a_thousand_rows():
    """However long a file is."""
    result = Result()
    blank = (Entry(row, []) for row in range(2, 5000))
    next(importing.import_entries(blank, print, result))
    assert (result.blank, result.last_row) == (1000, 1001)


@pytest.mark.mysql
def test_the_stored_books_of_a_batch_are_locked():
    add(isbn=THE_BOOK, title="Stored")
    with CaptureQueriesContext(connection) as queries:
        imported(HEADER, ROW)
    reads = [q["sql"] for q in queries if q["sql"].startswith("SELECT") and "`version`" in q["sql"]]
    assert "FOR UPDATE" in reads[0]


def test_a_deadlock_is_tried_again(monkeypatch):
    failures = [OperationalError(1213, "Deadlock found"), OperationalError(1205, "Lock wait")]
    save = importing.save

    def failing(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return save(*args)

    monkeypatch.setattr(importing, "save", failing)
    assert counts(imported(HEADER, ROW))["new"] == 1


@pytest.mark.parametrize(
    ("error", "says", "code"),
    [
        (KeyboardInterrupt(), "Interrupted", 130),
        (OperationalError(2006, "Server has gone away"), "gone away", 1),
    ],
)
def test_an_interruption_keeps_and_reports_what_was_done(monkeypatch, error, says, code):
    in_batches_of(2, monkeypatch)
    save = importing.save_books

    def interrupted(books: list[Book], dry_run: bool) -> tuple[int, int]:
        if Book.objects.count() == 2:
            raise error
        return save(books, dry_run)

    monkeypatch.setattr(importing, "save_books", interrupted)
    add(isbn=isbn_number(0))
    with pytest.raises(CommandError) as stop:
        imported(HEADER, *(f"T{n},A,2000,{isbn_number(n)}" for n in range(6)))
    assert says in str(stop.value)
    assert "up to row 3 is saved: 1 new and 1 changed books" in str(stop.value)
    assert stop.value.returncode == code
    assert Book.objects.count() == 2
