"""The database refuses what a form forgot."""

from datetime import date

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from library.models import Book

from .books import THE_BOOK, add, unsaved

pytestmark = pytest.mark.django_db


def write(column: str, value: object) -> None:
    """Bypasses every check in Python."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE library_book SET {column} = %s", [value])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("publication_year", 0),
        ("publication_year", -1),
        ("publication_year", 10000),
        ("publication_year", None),
        ("title", ""),
        ("title", "x" * 501),
        ("title", None),
        ("author", ""),
        ("author", "x" * 501),
        ("author", None),
        ("isbn", ""),
        ("isbn", "316148410X"),
        ("isbn", "9770000000000"),
        ("isbn", "978316148410X"),
        ("isbn", "978316148410"),
        ("isbn", "97831614841000"),
        ("isbn", "x9783161484100"),
    ],
)
def test_a_wrong_value_is_refused(column, value):
    add()
    with pytest.raises(DatabaseError):
        write(column, value)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("publication_year", 1),
        ("publication_year", 9999),
        ("title", "x" * 500),
        ("title", "Ж" * 500),
        ("title", "\u200b"),  # equal to '' on MySQL, where it has no weight
        ("author", "😀" * 500),
        ("isbn", THE_BOOK),
    ],
)
def test_the_bounds_themselves_are_kept(column, value):
    add()
    write(column, value)
    assert Book.objects.filter(**{column: value}).exists()


def test_two_books_cannot_share_an_isbn():
    add(isbn=THE_BOOK)
    with pytest.raises(DatabaseError), transaction.atomic():
        add(isbn="3-16-148410-x")


def test_the_same_books_are_equal_without_case_on_both_databases():
    book = add(title="Emma")
    assert Book.objects.get(title="EMMA") == book


@pytest.mark.parametrize(
    "column", ["title", "author", "publication_year", "created_at", "updated_at"]
)
def test_every_ordering_and_range_has_an_index_that_tells_years_and_words(column):
    covered = ["id", "bloom_low", "bloom_high", "publication_year"]
    found = [columns for columns in indexes("library_book") if columns[0] == column]
    assert found == [[column, *(name for name in covered if name != column)]]


def test_the_words_of_a_book_have_an_index():
    assert ["book_id", "word_id", "rank"] in indexes("library_bookword")


def indexes(table: str) -> list[list[str]]:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, table).values()
    return [each["columns"] for each in found if each["index"]]


def test_books_are_sorted_by_title_and_then_by_age():
    books = [add(title=title) for title in ("B", "a", "A", "b")]
    assert list(Book.objects.all()) == [books[1], books[2], books[0], books[3]]


def test_authors_are_equal_without_case_too():
    book = add(author="Jane Austen")
    assert Book.objects.get(author="JANE AUSTEN") == book


@pytest.mark.parametrize("years", [0, 1])
def test_a_book_may_be_of_this_or_the_next_year(years):
    unsaved(publication_year=date.today().year + years).full_clean()


def test_a_book_of_the_year_after_the_next_is_refused():
    with pytest.raises(ValidationError) as error:
        unsaved(publication_year=date.today().year + 2).full_clean()
    latest = date.today().year + 1
    assert error.value.message_dict == {
        "publication_year": [f"The year can’t be later than {latest}."]
    }


def test_the_sample_books_are_books():
    call_command("loaddata", "fixtures/books", verbosity=0)
    books = Book.objects.all()
    assert books
    for book in books:
        book.full_clean()
