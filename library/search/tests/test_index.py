"""However a book is written, the index of its words is right."""

import json
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import call_command
from django.db import DatabaseError, transaction
from django.db.models import ProtectedError

from library.models import Book
from library.search.models import BookWord, Word, WordQuerySet
from library.search.words import bloom_of
from library.tests.books import THE_BOOK, add, index_is_right, indexed, titles, unsaved

pytestmark = pytest.mark.django_db


def test_save_and_create_index():
    book = Book.objects.create(
        title="The Sea, the Sea", author="Iris Murdoch", publication_year=1978, isbn=THE_BOOK
    )
    expected = {
        ("the", 4),
        ("sea", 4),
        ("iris", BookWord.AUTHOR_RANK),
        ("murdoch", BookWord.AUTHOR_RANK),
    }
    assert indexed(book) == expected
    book.title = "The Bell"
    book.save(update_fields=["title"])
    assert indexed(book) == {("the", 2), ("bell", 2)} | {p for p in expected if p[1] == 10}
    book.author = "Murdoch"
    book.save(update_fields=["author"])
    assert indexed(book) == {("the", 2), ("bell", 2), ("murdoch", BookWord.AUTHOR_RANK)}


@pytest.mark.parametrize(("length", "rank"), [(1, 1), (2, 2), (8, 8), (9, 9), (10, 9), (30, 9)])
def test_the_rank_is_the_number_of_words_of_the_title_up_to_nine(length, rank):
    book = add(title=" ".join(f"w{n}" for n in range(length)), author="A")
    assert {r for word, r in indexed(book) if word != "a"} == {rank}
    assert list(Book.objects.search(title="w0")) == [book]
    assert not Book.objects.search(author="w0")


def test_books_written_in_bulk_are_all_indexed():
    """More than one batch of each kind."""
    books = Book.objects.bulk_create([unsaved() for _ in range(1000)])
    assert Book.objects.search("title some", ranked=False).count() == 1000
    Book.objects.filter(pk__in=[book.pk for book in books]).update(title="New", author="Else")
    assert set(BookWord.objects.values_list("word__text", "rank")) == {("new", 1), ("else", 10)}
    assert BookWord.objects.count() == 2000


def test_an_update_of_other_columns_leaves_the_words_alone():
    add()
    with patch.object(BookWord.objects.__class__, "index") as index:
        Book.objects.update(publication_year=1999)
        index.assert_not_called()
        Book.objects.update(author="Somebody")
        index.assert_called_once()


def test_a_word_that_somebody_adds_meanwhile_is_shared(monkeypatch):
    looks = []
    known = WordQuerySet.known

    def overtaken(words, texts):
        found = known(words, texts)
        if not looks:
            Word.objects.create(text="emma")
        looks.append(texts)
        return found

    monkeypatch.setattr(WordQuerySet, "known", overtaken)
    book = add(title="Emma")
    assert ("emma", 1) in indexed(book)
    assert Word.objects.filter(text="emma").count() == 1


def test_a_word_is_stored_once_and_kept_while_books_have_it():
    add(title="Emma")
    with pytest.raises(DatabaseError), transaction.atomic():
        Word.objects.create(text="emma")
    with pytest.raises(ProtectedError):
        Word.objects.get(text="emma").delete()


def test_update_indexes():
    first, other = add(), add(title="Untouched")
    Book.objects.filter(pk=first.pk).update(title="New", author="Else")
    assert indexed(first) == {("new", 1), ("else", BookWord.AUTHOR_RANK)}
    assert index_is_right()
    assert other in Book.objects.search("untouched")


def test_an_update_of_the_filtered_column_indexes():
    book = add(title="Before")
    Book.objects.filter(title="Before").update(title="After")
    assert indexed(book) >= {("after", 1)}


def test_bulk_create_indexes():
    books = Book.objects.bulk_create([unsaved(title="One"), unsaved(title="Two")])
    assert all(book.pk for book in books)
    assert {("one", 1)} <= indexed(books[0])
    assert index_is_right()


def test_bulk_create_finds_its_books_however_their_isbn_is_spelled():
    [book] = Book.objects.bulk_create([unsaved(isbn="978-3-16-148410-0", title="One")])
    assert Book.objects.get(pk=book.pk).isbn == "9783161484100"
    assert index_is_right()


def test_bulk_create_that_ignores_conflicts_keeps_the_words_of_the_stored_book():
    stored = add(title="Stored")
    given = unsaved(title="Given", isbn=stored.isbn)
    assert [book.pk for book in Book.objects.bulk_create([given], ignore_conflicts=True)] == [
        stored.pk
    ]
    assert ("stored", 1) in indexed(stored)
    assert index_is_right()


def test_bulk_update_indexes():
    books = [add(), add()]
    for book in books:
        book.author = "Changed Together"
    Book.objects.bulk_update(books, ["author"])
    assert Book.objects.search("changed").count() == 2
    assert index_is_right()


def test_delete_leaves_no_words():
    book, other = add(), add()
    book.delete()
    Book.objects.filter(pk=other.pk).delete()
    assert not BookWord.objects.exists()


def test_loaddata_indexes(tmp_path):
    fields = {"title": "Loaded", "author": "From File", "publication_year": 1, "isbn": THE_BOOK}
    times = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
    file = tmp_path / "books.json"
    file.write_text(json.dumps([{"model": "library.book", "pk": 7, "fields": fields | times}]))
    call_command("loaddata", file, verbosity=0)
    assert titles(Book.objects.search("loaded")) == ["Loaded"]
    assert index_is_right()
    book = Book.objects.get()
    assert (book.bloom_low, book.bloom_high) == bloom_of(["loaded", "from", "file"])


@pytest.mark.django_db(transaction=True)
def test_rollback_leaves_no_words():
    class RollbackError(Exception): ...

    book = add(title="Kept")
    with pytest.raises(RollbackError), transaction.atomic():
        add(title="Gone")
        Book.objects.filter(pk=book.pk).update(title="Changed")
        raise RollbackError
    assert titles(Book.objects.search("kept")) == ["Kept"]
    assert BookWord.objects.filter(word__text__in=["gone", "changed"]).count() == 0
    assert index_is_right()


def test_a_failing_index_fails_the_save(monkeypatch):
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("library.search.models.BookWordQuerySet.index", fail)
    with pytest.raises(RuntimeError), transaction.atomic():
        add()
    assert not Book.objects.exists()


def test_a_failing_index_rolls_back_a_bulk_write(monkeypatch):
    add(title="Before")

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("library.search.models.BookWordQuerySet.index", fail)
    for write in (
        lambda: Book.objects.bulk_create([unsaved(title="After")]),
        lambda: Book.objects.update(title="After"),
    ):
        with pytest.raises(RuntimeError):
            write()
        assert list(Book.objects.values_list("title", flat=True)) == ["Before"]
