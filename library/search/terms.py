"""The words of a search as conditions in SQL."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db import models

from .words import bloom_mask

LONG_TITLE_RANK = 9
AUTHOR_RANK = 10


class Condition(models.Func):
    """A condition in SQL, in which {0}, {1} … are these columns."""

    output_field = models.BooleanField()

    late = False  # see keyset.is_late()

    def __init__(self, sql: str, *columns: str, late: bool = False, **options: Any) -> None:
        self.sql = sql
        self.late = late
        super().__init__(*columns, **options)

    def as_sql(self, compiler: Any, connection: Any, **context: Any) -> Any:  # type: ignore[override]
        columns = [compiler.compile(column)[0] for column in self.source_expressions]
        return self.sql.format(*columns), []


class Part(StrEnum):
    """Where in a book a word is to occur, by the rank of its row."""

    ANY = "1 = 1"
    TITLE = f"`rank` < {AUTHOR_RANK}"
    AUTHOR = f"`rank` = {AUTHOR_RANK}"


@dataclass(frozen=True)
class Term:
    """The ids of the words that a word of a search stands for."""

    typed: int | None  # the word as it was typed, if the catalogue has it
    ids: list[int]
    stems: frozenset[str] = frozenset()  # of these words, if they are few
    part: Part = Part.ANY
    rows: int | None = None  # in the index, if they were counted and are few
    too_many: bool = False  # rows to sort: the index gives them word by word

    def among(self) -> str:
        """Whether a row of the index is of one of the words."""
        return f"word_id IN ({', '.join(map(str, self.ids)) or 'NULL'}) AND {self.part}"

    def of_book(self, book: str) -> str:
        """Whether the book has one of the words, looked for book by book.

        MySQL and SQLite may turn a bare EXISTS into a join, in an order that they guess wrongly.
        """
        return f"(EXISTS (SELECT 1 {self.rows_of(book)}) = 1)"

    def rows_of(self, book: str) -> str:
        return f"FROM library_bookword own WHERE own.book_id = {book} AND {self.among()}"

    def allowed(self, low: str, high: str) -> str:
        """Whether the Bloom filter with these halves allows one of the words."""
        masks = map(bloom_mask, self.stems)
        allowed = [f"{low} & {a} = {a} AND {high} & {b} = {b}" for a, b in masks]
        return f"({' OR '.join(allowed) or '1 = 1'})"
