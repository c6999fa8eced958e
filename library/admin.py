from datetime import date
from typing import Any, Literal

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ORDER_VAR
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from project.admin.base import BaseChangeList, CappedPaginator
from project.admin.conflicts import VersionedAdmin, VersionedForm
from project.admin.filters import ChoiceFilter, SinceFilter

from .files import admin as files_admin  # noqa: F401  # the pages of imports
from .files.exporting import ExportingAdmin
from .isbn import EXAMPLE
from .models import Book, BookQuerySet


class PublishedFilter(ChoiceFilter):
    title = gettext_lazy("published")
    parameter_name = "published"
    choices_of = {
        "2020-": "2020 –",
        "2010-2019": "2010 – 2019",
        "2000-2009": "2000 – 2009",
        "1950-1999": "1950 – 1999",
        "1900-1949": "1900 – 1949",
        "-1899": "– 1899",
    }

    def chosen(self, books: QuerySet[Book], value: str) -> QuerySet[Book]:
        first, dash, last = value.partition("-")
        if first:
            books = books.filter(publication_year__gte=int(first))
        return books.filter(publication_year__lte=int(last)) if last else books


class AddedFilter(SinceFilter):
    title = gettext_lazy("added")
    parameter_name = "added"
    field = "created_at"


class BookPaginator(CappedPaginator):
    """Finding ten thousand matches of two frequent words in a million books takes a second."""

    MAX_ROWS = 1_000


class BookChangeList(BaseChangeList):
    def get_ordering_field_columns(self) -> dict[int, Literal["desc", "asc"]]:
        """None while the best matches come first."""
        if self.query and ORDER_VAR not in self.params:
            return {}
        return super().get_ordering_field_columns()


class BookForm(VersionedForm):
    class Meta:
        model = Book
        fields = ["title", "author", "publication_year", "isbn"]
        widgets = {
            "title": forms.TextInput(attrs={"class": "vTextField", "autofocus": True}),
            "publication_year": forms.NumberInput(attrs={"class": "vIntegerField"}),
            "isbn": forms.TextInput(attrs={"class": "vTextField", "placeholder": EXAMPLE}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if year := self.fields.get("publication_year"):  # a view-only form has no fields
            year.widget.attrs["min"] = 1  # the column's type says 0

    def clean_isbn(self) -> str:
        isbn = self.cleaned_data["isbn"]
        other = Book.objects.filter(isbn=isbn).exclude(pk=self.instance.pk).first()
        if other is not None:
            raise ValidationError(
                format_html(
                    '{} <a href="{}">{}</a>',
                    _("A book with this ISBN is in the catalogue already:"),
                    reverse("admin:library_book_change", args=[other.pk]),
                    other.title,
                ),
                code="unique",
            )
        return isbn


@admin.register(Book)
class BookAdmin(ExportingAdmin, VersionedAdmin):
    form = BookForm
    paginator = BookPaginator
    list_display = ["title", "author", "year", "hyphenated_isbn", "added"]
    list_filter = [PublishedFilter, AddedFilter]
    search_fields = ["title"]  # shows the search box; get_search_results() searches
    search_help_text = gettext_lazy("ISBN, or words of title and author")
    readonly_fields = ["created_at", "updated_at"]
    fieldsets = [
        (None, {"fields": ["title", "author", "publication_year", "isbn"]}),
        (gettext_lazy("Record"), {"fields": ["created_at", "updated_at"]}),
    ]

    @admin.display(description=gettext_lazy("year"), ordering="publication_year")
    def year(self, book: Book) -> int:
        return book.publication_year

    @admin.display(description=gettext_lazy("added"), ordering="created_at")
    def added(self, book: Book) -> date:
        return timezone.localdate(book.created_at)

    @admin.display(description=gettext_lazy("ISBN"), ordering="isbn")
    def hyphenated_isbn(self, book: Book) -> str:
        return book.hyphenated_isbn

    def get_fieldsets(self, request: HttpRequest, obj: Book | None = None) -> Any:
        return super().get_fieldsets(request, obj) if obj else self.fieldsets[:1]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type:
        return BookChangeList

    def get_search_results(  # type: ignore[override]
        self, request: HttpRequest, queryset: BookQuerySet, search_term: str
    ) -> tuple[QuerySet[Book], bool]:
        if not search_term.strip():
            return queryset, False
        # Best matches first, unless a column was clicked.
        return queryset.search(search_term, ranked=ORDER_VAR not in request.GET), False
