import re
from datetime import date
from typing import Any

import django_filters as filters
from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from drf_spectacular.utils import extend_schema_field

from project.api.filters import FilterSet, TimeFilter

from .isbn import EXAMPLE, IsbnFormField
from .models import Book, BookQuerySet

MIN_YEAR, MAX_YEAR = 1, 9999  # the column's constraint


class IsbnFilter(filters.CharFilter):
    field_class = IsbnFormField

    def __init__(self, *args: Any, label: str, **kwargs: Any) -> None:
        super().__init__(*args, label=label, **kwargs)
        extend_schema_field({"type": "string", "format": "isbn", "description": label})(self)


class YearField(forms.IntegerField):
    default_validators = [MinValueValidator(MIN_YEAR), MaxValueValidator(MAX_YEAR)]

    def to_python(self, value: str | None) -> int | None:
        # int() also accepts " 2000 ", "2_000" and digits of other scripts.
        if value and not re.fullmatch("[0-9]{1,9}", value):
            raise ValidationError(self.error_messages["invalid"], "invalid")
        return super().to_python(value)


class YearFilter(filters.NumberFilter):
    field_class = YearField

    def __init__(self, *args: Any, label: str, **kwargs: Any) -> None:
        super().__init__(*args, label=label, **kwargs)
        schema = {"type": "integer", "minimum": MIN_YEAR, "maximum": MAX_YEAR}
        extend_schema_field({**schema, "description": label})(self)

    def filter(self, qs: BookQuerySet, value: Any) -> BookQuerySet:
        books = super().filter(qs, value)
        return books if value is None else books.reading_ids_first(self.field_name)


class BookFilterSet(FilterSet):
    isbn = IsbnFilter(label=f"The book with this ISBN, in any spelling, such as {EXAMPLE}.")
    publication_year = YearFilter(label="Published in this year.")
    publication_year_min = YearFilter(
        "publication_year", "gte", label="Published in this year or later."
    )
    publication_year_max = YearFilter(
        "publication_year", "lte", label="Published in this year or earlier."
    )
    updated_since = TimeFilter(
        "updated_at",
        "gte",
        label=f"Changed at or after this time, such as {date(2026, 1, 31)}T00:00:00Z.",
    )
    search = filters.CharFilter(
        label="An ISBN in any spelling, or its beginning (at least 4 digits of 978… or 979…); or "
        "words of title and author, in any of their forms in English or Russian (`books` finds "
        "*book*); the last may be incomplete. A number from 1000 to next year is the year of "
        "publication or a word. Best matches come first, words as given before their other forms, "
        "unless `ordering` is given; the words that complete a frequent beginning come one after "
        "the other.",
    )
    title = filters.CharFilter(label="Every given word occurs in the title.")
    author = filters.CharFilter(label="Every given word occurs in the author.")

    class Meta:
        model = Book
        fields: list[str] = []

    def filter_queryset(self, books: BookQuerySet) -> BookQuerySet:
        """Words last: they are looked for book by book, where an index entry answers the others."""
        given = self.form.cleaned_data
        text, title, author = (given.pop(name, "") for name in ("search", "title", "author"))
        books = super().filter_queryset(books)
        if not (text or title or author):
            return books
        return books.search(text, "ordering" not in self.data, title, author)
