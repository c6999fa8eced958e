"""What SQL that was run by hand leaves wrong in the word index is found and repaired."""

from importlib import import_module
from io import StringIO
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, models

from library.models import Book, BookQuerySet
from library.search import verify
from library.search.models import BookWord, BookWordQuerySet, Word
from library.search.words import bloom_mask, bloom_of
from library.tests.books import add, index_is_right, unsaved

pytestmark = pytest.mark.django_db


def sql(statement: str, *params: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)


def run(*options: str) -> str:
    out = StringIO()
    call_command("verify_index", *options, stdout=out)
    return out.getvalue()


def run_in_vain(*options: str) -> tuple[str, CommandError]:
    out = StringIO()
    with pytest.raises(CommandError) as raised:
        call_command("verify_index", *options, stdout=out)
    return out.getvalue(), raised.value


def add_orphans(*ids: int) -> None:
    """Words of books that do not exist."""
    word = Word.objects.create(text="orphan")
    BookWord.objects.insert([(word.pk, 1, pk, 0, 0) for pk in ids])


def test_a_right_index_is_said_to_be_right():
    for title in ("The Bell", "日本", "!?"):
        add(title=title)
    assert run() == (
        "3 books compared: 0 with words missing, 0 with words too many, "
        "0 with a wrong Bloom filter, words of 0 that do not exist.\n"
    )


def test_an_empty_catalogue_is_right():
    assert run().startswith("0 books compared: 0 ")


def test_a_title_changed_by_sql_is_found_but_left_alone_without_repair():
    book = add(title="The Sea", author="Iris")
    add(title="The Bell", author="Iris")
    sql("UPDATE library_book SET title = 'The Sea, the Sky' WHERE id = %s", book.pk)
    before = set(BookWord.objects.values_list())
    out, error = run_in_vain()
    assert error.returncode == 1
    assert out == (
        f"book {book.pk}, The Sea, the Sky: missing: sea (rank 4), sky (rank 4), the (rank 4); "
        "extra: sea (rank 2), the (rank 2); "
        "wrong Bloom filter\n"
        "2 books compared: 1 with words missing, 1 with words too many, "
        "1 with a wrong Bloom filter, words of 0 that do not exist.\n"
    )
    assert set(BookWord.objects.values_list()) == before


def test_repair_makes_the_index_right():
    changed, bare, other = add(title="The Sea"), add(title="The Bell"), add(title="Untouched")
    sql("UPDATE library_book SET title = 'Novel' WHERE id = %s", changed.pk)
    sql("DELETE FROM library_bookword WHERE book_id = %s", bare.pk)
    out = run("--repair")
    assert "3 books compared: 2 with words missing, 1 with words too many" in out
    assert out.endswith("All of them are repaired.\n")
    assert index_is_right()
    assert list(Book.objects.search("novel")) == [changed]
    assert list(Book.objects.search("bell")) == [bare]
    assert "0 with words missing, 0 with words too many" in run("--repair")
    assert Book.objects.get(pk=other.pk).version == changed.version == 1


@pytest.mark.parametrize("table", ["library_book", "library_bookword"])
def test_a_wrong_bloom_filter_is_found_and_repaired(table):
    book = add(title="The Sea")
    sql(f"UPDATE {table} SET bloom_high = 0")
    out, _error = run_in_vain()
    assert f"book {book.pk}, The Sea: wrong Bloom filter\n" in out
    run("--repair")
    assert "0 with a wrong Bloom filter" in run()


def test_words_of_books_that_do_not_exist_are_found_and_deleted():
    book = add()
    add_orphans(book.pk + 1, book.pk + 5)  # after the last book
    out, _error = run_in_vain()
    assert f"book {book.pk + 1} does not exist: orphan (rank 1)" in out
    assert (
        "1 books compared: 0 with words missing, 0 with words too many, 0 with a wrong Bloom filter, words of 2 "
        in out
    )
    run("--repair")
    assert set(BookWord.objects.values_list("book", flat=True)) == {book.pk}


def test_every_batch_is_compared(monkeypatch):
    monkeypatch.setattr(verify, "MAX_PARAMETERS", 3)
    books = Book.objects.bulk_create([unsaved() for _ in range(10)])
    wrong = [books[0].pk, books[2].pk, books[3].pk, books[9].pk]
    for pk in wrong:
        sql("UPDATE library_book SET title = 'Novel' WHERE id = %s", pk)
    found = [fault.book for _books, faults in verify.verify() for fault in faults]
    assert found == wrong
    assert sum(books for books, _faults in verify.verify()) == 10


def test_the_output_has_some_examples_of_many():
    Book.objects.bulk_create([unsaved() for _ in range(12)])
    sql("UPDATE library_book SET title = 'Novel'")
    out, _error = run_in_vain()
    assert out.count("missing: novel (rank 1)") == 10
    assert "… and 2 more\n" in out


def test_a_book_that_somebody_writes_between_two_reads_is_no_fault(monkeypatch):
    book = add(title="Before")
    read = verify._books
    looks = []

    def overtaken(ids, lock=False):
        books = read(ids, lock)
        if not looks:
            Book.objects.filter(pk=book.pk).update(title="After")
        looks.append(lock)
        return books

    monkeypatch.setattr(verify, "_books", overtaken)
    assert [faults for _books, faults in verify.verify()] == [[]]
    assert looks == [False, True]


def test_its_statements_do_not_grow_with_the_books(django_assert_max_num_queries):
    Book.objects.bulk_create([unsaved(title="The Bell", author="Iris") for _ in range(300)])
    with django_assert_max_num_queries(8):
        list(verify.verify())


@pytest.mark.parametrize("size", [2, 2000])
def test_bloom_filters_that_allow_any_word_are_filled(monkeypatch, size):
    fill = import_module("library.migrations.0017_fill_bloom_filters")
    monkeypatch.setattr(fill, "BATCH_SIZE", size)
    books = [add(title=f"Sea {n}", author="Iris") for n in range(5)]
    for rows in (Book.objects.filter(pk__in=[book.pk for book in books[1:]]), BookWord.objects):
        models.QuerySet.update(rows.all(), bloom_low=fill.ANY_WORD, bloom_high=fill.ANY_WORD)
    BookWord.objects.index(books[:1])
    fill.fill(apps, SimpleNamespace(connection=connection))
    assert [faults for _books, faults in verify.verify() if faults] == []


def test_a_book_whose_bloom_filter_is_not_known_is_found(monkeypatch):
    """Such as one that raw SQL has added, or a process of the version before."""
    for name in ("MIN_SORTED_BOOKS", "PAGE_SIZE"):
        monkeypatch.setattr(BookWordQuerySet, name, 0)
    monkeypatch.setattr(BookQuerySet, "MAX_LISTED_IDS", 0)
    book = add(title="The Sea")
    every = {"bloom_low": 2**63 - 1, "bloom_high": 2**63 - 1}
    models.QuerySet.update(Book.objects.all(), **every)
    models.QuerySet.update(BookWord.objects.all(), **every)
    for ranked in (True, False):
        assert list(Book.objects.search("the seas", ranked)) == [book]
    assert list(Book.objects.search(title="sea")) == [book]


@pytest.mark.parametrize("write", ["save", "update", "bulk_update"])
def test_the_bloom_filter_follows_every_write(write):
    book = add(title="The Sea")
    if write == "update":
        Book.objects.update(title="Novel")
    else:
        book.title = "Novel"
        book.save() if write == "save" else Book.objects.bulk_update([book], ["title"])
    stored = Book.objects.get()
    assert (stored.bloom_low, stored.bloom_high) == bloom_of(["novel", "some", "author"])
    assert [faults for _books, faults in verify.verify() if faults] == []


def test_a_book_seems_to_have_few_words_that_it_has_not():
    low, high = bloom_of(f"word{n}" for n in range(9))
    masks = [bloom_mask(f"other{n}") for n in range(2000)]
    assert sum(low & one == one and high & two == two for one, two in masks) < 20
