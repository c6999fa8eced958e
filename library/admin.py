from datetime import date
from typing import Any, Literal

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Field, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from project.admin.activity import ActivityAdmin
from project.admin.base import BaseChangeList, CappedPaginator
from project.admin.conflicts import VersionedForm, ask_once
from project.admin.display import link
from project.admin.filters import ChoiceFilter, RangeFilter, SinceFilter, TextFilter
from project.admin.history import RecordedAdmin
from project.admin.phrases import Phrases
from project.admin.searching import MAX_HITS, Hit

from .bulk import admin as bulk_admin  # noqa: F401  # the pages of bulk changes
from .bulk.actions import BulkActions
from .files import admin as files_admin  # noqa: F401  # the pages of imports
from .files.exporting import ExportingAdmin
from .files.importing import BOOKS
from .filters import MAX_YEAR, MIN_YEAR
from .isbn import EXAMPLE, hyphenated, looks_like_isbn, normalise, with_leading_zeros
from .lookup import MAX_ISBN_LENGTH, LookupAdmin
from .models import Book, BookQuerySet
from .search.suggest import authors_like, suggestion

IN_CATALOGUE = gettext_lazy("A book with this ISBN is already in the catalogue:")


class YearsFilter(RangeFilter):
    title = gettext_lazy("years")
    parameter_name = "years"
    field = "publication_year"
    bounds = (MIN_YEAR, MAX_YEAR)

    def queryset(self, request: HttpRequest, queryset: Any) -> QuerySet[Book]:
        books: Any = super().queryset(request, queryset)
        return books.reading_ids_first(self.field) if self.first or self.last else books


class AuthorFilter(TextFilter):
    title = gettext_lazy("author")
    parameter_name = "author"
    suggestions = "admin:library_book_authors"

    def chosen(self, books: QuerySet[Book], value: str) -> QuerySet[Book]:
        return books  # get_search_results() looks for these words together with the others


class AddedFilter(SinceFilter):
    title = gettext_lazy("added")
    parameter_name = "added"
    field = "created_at"


class ChangedFilter(SinceFilter):
    title = gettext_lazy("changed")
    parameter_name = "changed"
    field = "updated_at"


class IsbnPresenceFilter(ChoiceFilter):
    """Where books may be without."""

    title = "ISBN"
    parameter_name = "has_isbn"
    choices_of = {"no": gettext_lazy("without"), "yes": gettext_lazy("with")}

    def chosen(self, books: QuerySet[Book], value: str) -> QuerySet[Book]:
        return books.filter(isbn__isnull=value == "no")


class SearchPaginator(CappedPaginator):
    """Finding ten thousand matches of two frequent words in a million books takes a second."""

    MAX_ROWS = 1_000


def given(request: HttpRequest, parameter: str) -> str:
    return request.GET.get(parameter, "").strip()


class BookChangeList(BaseChangeList):
    @cached_property
    def suggestion(self) -> str:
        """What a search that found nothing may have meant."""
        return suggestion(self.query, Book.objects.all())

    @property
    def suggestion_link(self) -> str:
        return self.get_query_string({SEARCH_VAR: self.suggestion})

    def get_ordering_field_columns(self) -> dict[int, Literal["desc", "asc"]]:
        """None while the best matches come first."""
        if self.query and ORDER_VAR not in self.params:
            return {}
        return super().get_ordering_field_columns()


class BookForm(VersionedForm):
    keep = forms.BooleanField(
        label=gettext_lazy("keep author and year"),
        help_text=gettext_lazy("For the next book, with “Save and add another”."),
        required=False,
    )

    class Media:
        js = (forms.widgets.Script("library/isbn.js", defer=True),)

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
        if isbn := self.fields.get("isbn"):
            url = reverse("admin:library_book_check_isbn")
            isbn.required = settings.REQUIRE_ISBN
            isbn.widget.attrs["data-isbn-check"] = f"{url}?book={self.instance.pk or ''}"
            if settings.OPEN_LIBRARY_URL and not self.instance.pk:
                isbn.widget.attrs["data-isbn-lookup"] = reverse("admin:library_book_lookup")
        if self.instance.pk:
            del self.fields["keep"]

    def clean_isbn(self) -> str | None:
        isbn = self.cleaned_data["isbn"]
        if not isbn:
            return None
        other = Book.objects.filter(isbn=isbn).exclude(pk=self.instance.pk).first()
        if other is not None:
            other_book = link("library_book", other.pk, other.title)
            raise ValidationError(format_html("{} {}", IN_CATALOGUE, other_book), code="unique")
        return isbn

    def _post_clean(self) -> None:
        """Says once that a new book without an ISBN is in the catalogue, as an import knows it."""
        super()._post_clean()
        book = self.instance
        if self.errors or book.pk:
            return
        twin = BOOKS.known_without_isbn([book]).get(tuple(BOOKS.identity(book)))
        told = f"beside {twin}"  # in place of the version that a new book does not have
        if twin and self.cleaned_data["version"] != told:
            text = _(
                "The catalogue already has “{book}” by this author, of this year."
                " To add it a second time, save again."
            )
            ask_once(self, format_html(text, book=link("library_book", twin, book.title)), told)


@admin.register(Book)
class BookAdmin(LookupAdmin, BulkActions, ExportingAdmin, RecordedAdmin):
    phrases = Phrases(
        add=gettext_lazy("Add a book"),
        added=gettext_lazy("The book “%(name)s” was added."),
        changed=gettext_lazy("The book “%(name)s” was saved."),
        deleted=gettext_lazy("The book “%(name)s” was deleted."),
        delete=gettext_lazy("Delete this book?"),
        delete_selected=gettext_lazy("Delete selected books"),
        delete_many=ngettext_lazy("Delete %(number)s book?", "Delete %(number)s books?", "count"),
        deleted_many=ngettext_lazy(
            "%(number)s book deleted.", "%(number)s books deleted.", "count"
        ),
        consequence=gettext_lazy("You can restore it from the history later."),
    )
    form = BookForm
    columns_named_on_phone = frozenset({"added"})
    counted_text = ngettext_lazy("%(number)s book", "%(number)s books", "count")
    list_display = ["title", "author", "year", "hyphenated_isbn", "added"]
    list_filter = [YearsFilter, AuthorFilter, AddedFilter, ChangedFilter]
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
        return book.hyphenated_isbn or "–"

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [*self.list_filter, *([] if settings.REQUIRE_ISBN else [IsbnPresenceFilter])]

    def details(self, row: Book) -> str:
        facts = format_html("{} · {}", row.author, row.publication_year)
        if not row.isbn:
            return facts
        isbn = row.hyphenated_isbn
        return format_html('{} · <span class="text-nowrap">ISBN {}</span>', facts, isbn)

    def get_fieldsets(self, request: HttpRequest, obj: Book | None = None) -> Any:
        if obj:
            return super().get_fieldsets(request, obj)
        return [(None, {"fields": [*BookForm.Meta.fields, "keep"]})]

    def check_isbn(self, request: HttpRequest) -> HttpResponse:
        """What the form says of an ISBN while somebody types it."""
        if not (self.has_add_permission(request) or self.has_change_permission(request)):
            raise PermissionDenied
        try:
            number = normalise(request.GET.get("isbn", "")[:MAX_ISBN_LENGTH])
        except ValidationError as error:
            return JsonResponse({"ok": False, "text": " ".join(error.messages)})
        others = Book.objects.filter(isbn=number)
        if (book := request.GET.get("book", "")).isdecimal():
            others = others.exclude(pk=book)
        if (other := others.first()) is not None:
            url = reverse("admin:library_book_change", args=[other.pk])
            return JsonResponse(
                {"ok": False, "text": str(IN_CATALOGUE), "url": url, "title": other.title}
            )
        text = _("%(isbn)s: valid, and not in the catalogue yet.") % {"isbn": hyphenated(number)}
        return JsonResponse({"ok": True, "text": text})

    def response_add(  # type: ignore[override]
        self, request: HttpRequest, obj: Book, post_url_continue: str | None = None
    ) -> HttpResponse:
        response = super().response_add(request, obj, post_url_continue)
        if "_addanother" in request.POST and "keep" in request.POST:
            kept: dict[str, Any] = {
                "keep": 1,
                "author": obj.author,
                "publication_year": obj.publication_year,
            }
            response["Location"] = f"{request.path}?{urlencode(kept)}"
        return response

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet, per_page: int, *args: Any
    ) -> CappedPaginator:
        words = given(request, SEARCH_VAR) or given(request, AuthorFilter.parameter_name)
        if not words:
            return CappedPaginator(queryset, per_page)
        return SearchPaginator(getattr(request, "counted", queryset), per_page)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type:
        return BookChangeList

    def get_search_results(  # type: ignore[override]
        self, request: HttpRequest, queryset: BookQuerySet, search_term: str
    ) -> tuple[QuerySet[Book], bool]:
        text, author = search_term.strip(), given(request, AuthorFilter.parameter_name)
        if not (text or author):
            return queryset, False
        if ORDER_VAR not in request.GET:  # best matches first
            return queryset.search(text, author=author), False
        # Counting reads the rows of a word, not the index of the column that was clicked.
        request.counted = queryset.search(text, author=author)  # type: ignore[attr-defined]
        return queryset.search(text, False, author=author), False

    # --- The search box of every page, and the authors that a filter suggests ---

    def find(self, request: HttpRequest, text: str) -> list[Hit]:
        try:
            books = list(Book.objects.search(text)[:MAX_HITS])
        except ValidationError:  # not a whole ISBN yet, or too short a beginning
            return []
        return [
            Hit(
                book.title,
                f"{book.author} · {book.publication_year}",
                reverse("admin:library_book_change", args=[book.pk]),
            )
            for book in books
        ]

    def jump(self, request: HttpRequest, text: str) -> str:
        try:
            isbn = normalise(text) if looks_like_isbn(text) else with_leading_zeros(text)
        except ValidationError:  # the list says what is wrong
            return ""
        if not isbn:
            return ""
        if book := Book.objects.filter(isbn=isbn).first():
            return reverse("admin:library_book_change", args=[book.pk])
        if looks_like_isbn(text) and self.has_add_permission(request):
            return f"{reverse('admin:library_book_add')}?{urlencode({'isbn': hyphenated(isbn)})}"
        return ""

    def get_urls(self) -> list[Any]:
        views = {"authors": self.authors_view, "isbn": self.check_isbn}
        names = {"authors": "library_book_authors", "isbn": "library_book_check_isbn"}
        return [
            *(
                path(f"{part}/", self.admin_site.admin_view(view), name=names[part])
                for part, view in views.items()
            ),
            *super().get_urls(),
        ]

    def authors_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        found = authors_like(request.GET.get("q", "")[:200])
        return JsonResponse({"values": found}, headers={"Cache-Control": "no-store"})

    def history_value(self, field: Field, value: Any) -> str:
        if field.name == "isbn" and value:
            return format_html('<span class="text-nowrap">{}</span>', hyphenated(value))
        return super().history_value(field, value)


@admin.register(Book.history.model)
class BookActivityAdmin(ActivityAdmin):
    search_fields = ["title", "author", "isbn"]
    search_help_text = gettext_lazy("Title, author or ISBN (newest 10,000 changes)")
    deleted_title = gettext_lazy("Deleted books")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        if looks_like_isbn(search_term):
            search_term = normalise(search_term)
        return super().get_search_results(request, queryset, search_term)
