"""Books for tests: keyword rows, each with an ISBN of its own."""

from itertools import count
from typing import Any

from stdnum import ean

from library.models import Book
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


def indexed(book: Book) -> set[tuple[str, int]]:
    """The book's words and ranks in the index."""
    return set(BookWord.objects.filter(book=book.pk).values_list("word__text", "rank"))


def index_is_right() -> bool:
    return all(indexed(book) == BookWord.ranked_words(book) for book in Book.objects.all()) and (
        set(BookWord.objects.values_list("book", flat=True))
        <= set(Book.objects.values_list("pk", flat=True))
    )
