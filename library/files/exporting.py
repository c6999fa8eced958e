"""Books as a file: the same formats for the command, for the admin's list and for the API."""

import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db import DEFAULT_DB_ALIAS, Error
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.urls import path, reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from library.isbn import hyphenated
from library.models import Book, BookQuerySet
from library.search.models import select
from project.api import replica
from project.base.database import batches
from project.base.files.writing import (
    MAX_XLSX_ROWS,
    csv_lines,
    guarded,
    json_lines,
    spreadsheet_delimiter,
    write_xlsx,
)

from .entries import FIELDS

BATCH_SIZE = 1000  # books in memory
TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "jsonl": "application/x-ndjson",
}
VERBATIM = "verbatim"
Row = Sequence[Any]  # the values of FIELDS
Batches = Iterable[list[Row]]


def whole_catalogue() -> Batches:
    """By id, one batch in memory at a time (a MySQL cursor would hold all rows)."""
    books = Book.objects.order_by("pk").values_list("pk", *FIELDS)
    last = 0
    while batch := list(books.filter(pk__gt=last)[:BATCH_SIZE]):
        yield [row[1:] for row in batch]
        last = batch[-1][0]


def for_spreadsheets(row: Row) -> Row:
    """No cell is a formula, and with its hyphens no ISBN is rounded."""
    title, author, year, isbn = row
    return [guarded(title), guarded(author), year, isbn and hyphenated(isbn)]


def write_csv(
    batches: Batches, change: Callable[[Row], Row] | None = None, delimiter: str = ","
) -> Iterator[tuple[str, int]]:
    """Chunks of a catalogue file as text, each with its number of books."""
    yield csv_lines([FIELDS], delimiter), 0
    for rows in batches:
        yield csv_lines(map(change, rows) if change else rows, delimiter), len(rows)


def write_json_lines(batches: Batches) -> Iterator[tuple[str, int]]:
    for rows in batches:
        yield json_lines(FIELDS, rows), len(rows)


def in_this_order(ids: Sequence[int], database: str = DEFAULT_DB_ALIAS) -> Batches:
    for batch in batches(ids, BATCH_SIZE):
        # The ORM takes longer to put so many ids together than to read their books.
        some = ", ".join(map(str, batch))
        sql = f"SELECT id, {', '.join(FIELDS)} FROM library_book WHERE id IN ({some})"  # nosec
        try:
            books = select(sql, using=database)
        except Error as error:
            if database == DEFAULT_DB_ALIAS:
                raise
            replica.watch.fail(error)
            database = DEFAULT_DB_ALIAS  # from here on: it has all that the replica had
            books = select(sql)
        rows = {pk: row for pk, *row in books}
        yield [rows[pk] for pk in batch if pk in rows]


class ExportingAdmin(admin.ModelAdmin):
    """Adds the export of the current list: its search, filters and order."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.export_view)
        return [path("export/", view, name="library_book_export"), *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        if not self.has_view_permission(request):
            raise PermissionDenied
        query = request.GET.copy()
        kind, verbatim = query.pop("format", ["csv"])[-1], bool(query.pop(VERBATIM, False))
        if kind not in TYPES:
            raise Http404
        query.pop("p", None)
        request.GET = query  # type: ignore[assignment]  # the list knows no parameters of ours
        changelist = f"{reverse('admin:library_book_changelist')}?{query.urlencode()}"
        try:
            books: BookQuerySet = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return HttpResponseRedirect(changelist)
        ids = ids_of(books)
        if kind == "xlsx" and len(ids) > MAX_XLSX_ROWS:
            messages.warning(request, too_many_rows())
            return HttpResponseRedirect(changelist)
        return file_response(ids, kind, verbatim)


def ids_of(books: BookQuerySet) -> Sequence[int]:
    """Eight bytes each: what is listed now, in its order, however long the download takes."""
    return array("Q", books.values_list("pk", flat=True).iterator(chunk_size=10_000))


def too_many_rows() -> str:
    text = _(
        "XLSX holds at most %(most)s rows and the list has more: narrow it down, or export CSV."
    )
    return text % {"most": number_format(MAX_XLSX_ROWS, force_grouping=True)}


def file_response(
    ids: Sequence[int], kind: str, verbatim: bool, database: str = DEFAULT_DB_ALIAS
) -> HttpResponseBase:
    """A download of these books, in their order; `verbatim` is about CSV."""
    name = f"books-{timezone.localdate():%Y-%m-%d}.{kind}"
    batches = in_this_order(ids, database)
    if kind == "xlsx":
        return xlsx_response(batches, name)
    if kind == "jsonl":
        chunks = write_json_lines(batches)
    elif verbatim:
        chunks = write_csv(batches)
    else:
        chunks = write_csv(batches, for_spreadsheets, spreadsheet_delimiter())
    # Without its mark spreadsheets take UTF-8 for something else.
    mark = "\ufeff" if kind == "csv" and not verbatim else ""
    response = StreamingHttpResponse(
        ((mark if not written else "") + text for written, (text, _n) in enumerate(chunks)),
        content_type=TYPES[kind],
    )
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def xlsx_response(batches: Batches, name: str) -> FileResponse:
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the response
    for _count in write_xlsx(file, FIELDS, batches):
        pass
    file.seek(0)
    return FileResponse(file, as_attachment=True, filename=name, content_type=TYPES["xlsx"])
