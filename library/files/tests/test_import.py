"""The command import_books: what it writes and what it tells."""

import io
import os
from datetime import timedelta

import pytest
from django.utils import timezone

from library.models import Book
from library.tests.books import THE_BOOK, add, index_is_right, isbn_number
from project.base.history import undo

from .command import FIELDS, HEADER, OTHERS, ROW, counts, imported, refused, run, write

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def test_new_books_are_added_with_their_words():
    output = imported(HEADER, ROW, f"Persuasion,Jane Austen,1817,{isbn_number(1)}")
    for other in ("Nothing has changed", "Refused rows", "Repaired", "Blank", "dry run"):
        assert other not in output
    assert counts(output) == {"read": 2, "new": 2, "changed": 0, "same": 0, "refused": 0}
    book = Book.objects.get(isbn=THE_BOOK)
    assert (book.title, book.author, book.publication_year) == ("Emma", "Jane Austen", 1815)
    assert Book.objects.search("austen").count() == 2
    assert index_is_right()
    assert os.listdir() == ["books.csv"]


def test_the_same_file_twice_changes_nothing_and_says_so():
    imported(HEADER, ROW)
    before = Book.objects.get()
    output = run("books.csv")
    assert counts(output) == {"read": 1, "new": 0, "changed": 0, "same": 1, "refused": 0}
    assert "\nNothing has changed.\n" in f"\n{output}"
    after = Book.objects.get()
    assert (after.pk, after.updated_at) == (before.pk, before.updated_at)


@pytest.mark.parametrize(("row", "field"), list(zip(OTHERS, FIELDS, strict=True)), ids=FIELDS)
def test_a_row_that_changes_one_column_is_a_change(row, field):
    imported(HEADER, ROW)
    past = timezone.now() - timedelta(days=9)
    Book.objects.update(updated_at=past, version=5)
    before = Book.objects.values(*FIELDS).get()
    output = imported(HEADER, row)
    assert counts(output) == {"read": 1, "new": 0, "changed": 1, "same": 0, "refused": 0}
    assert "Nothing has changed" not in output
    book = Book.objects.get()
    assert book.version == 6
    after = {name: getattr(book, name) for name in FIELDS}
    assert {name for name in FIELDS if after[name] != before[name]} == {field}
    assert ",".join(map(str, after.values())) in row
    assert book.updated_at > past
    assert index_is_right()


def test_only_changed_rows_are_written():
    imported(HEADER, ROW, f"Persuasion,Jane Austen,1817,{isbn_number(1)}")
    past = timezone.now() - timedelta(days=9)
    Book.objects.update(updated_at=past, created_at=past)
    ids = dict(Book.objects.values_list("isbn", "pk"))
    output = imported(
        HEADER, ROW.replace("Emma", "EMMA"), f"Persuasion,Jane Austen,1817,{isbn_number(1)}"
    )
    assert counts(output) == {"read": 2, "new": 0, "changed": 1, "same": 1, "refused": 0}
    changed, same = Book.objects.get(isbn=THE_BOOK), Book.objects.get(isbn=isbn_number(1))
    assert changed.title == "EMMA"
    assert changed.updated_at > past == same.updated_at
    assert changed.created_at == same.created_at == past
    assert dict(Book.objects.values_list("isbn", "pk")) == ids


def test_the_words_follow_a_changed_title():
    add(isbn=THE_BOOK, title="Wrong Name")
    imported(HEADER, ROW)
    assert Book.objects.search("emma").count() == 1
    assert not Book.objects.search("wrong")
    assert index_is_right()


def test_a_dry_run_counts_the_same_and_writes_no_book():
    changed = add(isbn=THE_BOOK, title="Stored")
    rows = [HEADER, ROW, f"New,Author,2000,{isbn_number(10**6)}", "No ISBN,Author,2000,"]
    rehearsal = imported(*rows, dry_run=True)
    assert "no book was written" in rehearsal
    assert list(Book.objects.values_list("pk", "title")) == [(changed.pk, "Stored")]
    assert len(refused()) == 1
    assert counts(rehearsal) == counts(run("books.csv"))


def test_a_file_with_only_a_header_imports_nothing():
    output = imported(HEADER)
    assert counts(output)["read"] == 0
    assert "Nothing has changed" not in output


def test_without_a_terminal_there_is_no_progress_bar(capsys):
    imported(HEADER, ROW)
    assert capsys.readouterr().err == ""


def test_standard_input_is_read(monkeypatch, folder):
    name = write(HEADER, ROW)
    with open(name, "rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        assert counts(run("-"))["new"] == 1


def test_the_history_names_the_file_and_one_undo_takes_it_back():
    kept = add(title="Old", isbn=THE_BOOK)
    imported(HEADER, f"New,Ann,2001,{THE_BOOK}", f"Other,Ann,2001,{isbn_number(7)}")
    rows = Book.history.exclude(door="command").order_by("history_id")
    assert list(rows.values_list("door", "detail", "history_type")) == [
        ("import", "books.csv", "+"),
        ("import", "books.csv", "~"),
    ]
    undo(rows[0].batch)
    assert list(Book.objects.values_list("pk", "title")) == [(kept.pk, "Old")]
