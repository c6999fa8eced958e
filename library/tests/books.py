"""Books for tests: keyword rows, each with an ISBN of its own; and their API."""

from itertools import count
from typing import Any

from rest_framework.test import APIClient
from stdnum import ean

from library.models import Book, BookQuerySet
from library.search.models import BookWord

BOOKS = "/api/v1/books/"
THE_BOOK = "9783161484100"
SPELLINGS = [
    "978-3-16-148410-0",
    "9783161484100",
    "316148410X",
    "3-16-148410-x",
    "ISBN 978–3–16–148410–0",
    "  978 3 16 148410 0  ",
    "isbn-13: 978-3-16-148410-0",
    "978\u20113\u201116\u2011148410\u20110",
]
GIVEN = {"title": "Emma", "author": "Jane Austen", "publication_year": 1815, "isbn": THE_BOOK}
numbers = count(1)


def isbn_number(number: int) -> str:
    body = f"978{number:09d}"
    return body + ean.calc_check_digit(body)


def unsaved(**values: Any) -> Book:
    number = next(numbers)
    given = {
        "title": f"Title {number}",
        "author": "Some Author",
        "publication_year": 2000,
        "isbn": isbn_number(number),
    }
    return Book(**given | values)


def add(**values: Any) -> Book:
    book = unsaved(**values)
    book.save()
    return book


def titles(books: BookQuerySet) -> list[str]:
    return [book.title for book in books]


def indexed(book: Book) -> set[tuple[str, int]]:
    """The book's words and ranks in the index."""
    return set(BookWord.objects.filter(book=book.pk).values_list("word__text", "rank"))


def index_is_right() -> bool:
    return all(indexed(book) == BookWord.ranked_words(book) for book in Book.objects.all()) and (
        set(BookWord.objects.values_list("book", flat=True))
        <= set(Book.objects.values_list("pk", flat=True))
    )


def url(book: Book) -> str:
    return f"{BOOKS}{book.pk}/"


def listed(api: APIClient, **parameters: Any) -> list[str]:
    response = api.get(BOOKS, parameters)
    assert response.status_code == 200, response.content
    return [book["title"] for book in response.json()["results"]]


def problem(response: Any, status: int, field: str | None = None) -> dict[str, Any]:
    """The field's error in a problem document with this status."""
    assert response.status_code == status, response.content
    assert response["Content-Type"].startswith("application/problem+json")
    body = response.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    errors = [error for error in body["errors"] if error["field"] == field]
    assert len(errors) == 1, body
    return errors[0]
