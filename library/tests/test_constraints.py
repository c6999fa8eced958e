"""The database refuses what a form forgot."""

import pytest
from django.db import DatabaseError, connection, transaction

from library.models import Book

from .books import THE_BOOK, add

pytestmark = pytest.mark.django_db


def write(column: str, value: object) -> None:
    """Past every check of Python's."""
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
        ("isbn", None),
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
