"""Books as a file: the same formats for the command and the list."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from library.models import Book
from project.base.files.writing import csv_lines, guarded, json_lines, write_xlsx

from .entries import FIELDS

Batches = Iterable[list[Book]]


def row_of(book: Book) -> Sequence[Any]:
    return [getattr(book, name) for name in FIELDS]


def row_for_people(book: Book) -> Sequence[Any]:
    """With hyphens, a spreadsheet does not round the ISBN; no cell is a formula."""
    return [
        guarded(book.title),
        guarded(book.author),
        book.publication_year,
        book.hyphenated_isbn,
    ]


def write_csv(
    batches: Batches, delimiter: str = ",", row: Callable[[Book], Sequence[Any]] = row_of
) -> Iterator[tuple[str, int]]:
    """Chunks of a catalogue file as text, each with its number of books."""
    yield csv_lines([FIELDS], delimiter), 0
    for books in batches:
        yield csv_lines(map(row, books), delimiter), len(books)


def write_json_lines(batches: Batches) -> Iterator[tuple[str, int]]:
    for books in batches:
        yield json_lines(FIELDS, map(row_of, books)), len(books)


def write_books_xlsx(file: BinaryIO, batches: Batches) -> Iterator[int]:
    return write_xlsx(file, FIELDS, (map(row_of, books) for books in batches))
