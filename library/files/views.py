"""The catalogue as a file, and files into the catalogue, for programs."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    extend_schema,
    extend_schema_view,
)
from rest_framework.decorators import action
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from library.isbn import EXAMPLE, normalise
from project.api.filters import read_flag
from project.api.renderers import FormatNegotiation, chosen_format, renderers_of
from project.api.replica import from_replica
from project.api.throttling import ExportThrottle
from project.base import keyset
from project.base.files.writing import MAX_XLSX_ROWS, csv_lines, json_lines
from project.imports.schema import described
from project.imports.serializers import OptionsSerializer, UploadMixin
from project.imports.views import ImportViewSet

from .entries import COLUMNS, FIELDS
from .exporting import TYPES, VERBATIM, file_response, ids_of, too_many_rows
from .models import Import

ROW = ("A Book of Ours", "Ann Reader", 2026, normalise(EXAMPLE))
EXAMPLES = {"csv": csv_lines([FIELDS, ROW]), "jsonl": json_lines(FIELDS, [ROW])}


def media_type(kind: str) -> str:
    return TYPES[kind].partition(";")[0]


class ExportMixin:
    """Adds the export to the books' view set."""

    def known_parameters(self) -> set[str]:
        if self.action != "export":  # type: ignore[attr-defined]
            return super().known_parameters()  # type: ignore[misc]
        return {*self.filterset_class.base_filters, "ordering", "format", VERBATIM}  # type: ignore[attr-defined]

    @extend_schema(
        operation_id="books_export",
        summary="Export the catalogue",
        description="The books of the list, with its filters, search and ordering, as one file. "
        "Each has title, author, publication year and ISBN: an import takes the file as it is. "
        f"XLSX holds {MAX_XLSX_ROWS:,} books at most.",
        filters=True,
        parameters=[
            OpenApiParameter(
                "format",
                enum=list(TYPES),
                description="Without it, the header `Accept` chooses. Default: `csv`.",
            ),
            OpenApiParameter(
                VERBATIM,
                bool,
                default=True,
                description="Of CSV: `false` writes it for spreadsheets, with an apostrophe before "
                "what they would take for a formula, hyphens in ISBNs, which they would round, a "
                "byte order mark, and semicolons where `Accept-Language` writes decimals with a "
                "comma.",
            ),
            OpenApiParameter(
                "Content-Disposition",
                location=OpenApiParameter.HEADER,
                response=[200],
                description="Names the file.",
            ),
        ],
        responses={
            (200, media_type(kind)): OpenApiTypes.BINARY if kind == "xlsx" else OpenApiTypes.STR
            for kind in TYPES
        },
        examples=[
            OpenApiExample("A book", text, response_only=True, media_type=media_type(kind))
            for kind, text in EXAMPLES.items()
        ],
    )
    @action(
        detail=False,
        pagination_class=None,
        renderer_classes=renderers_of(TYPES),
        content_negotiation_class=FormatNegotiation,
        throttle_classes=[ExportThrottle],
    )
    @from_replica
    def export(self, request: Request) -> Any:
        kind = chosen_format(request, TYPES)
        verbatim = read_flag(request, VERBATIM, default=True)
        books = self.filter_queryset(self.get_queryset())  # type: ignore[attr-defined]
        ids = ids_of(books.order_by(*keyset.total_ordering(books)))
        if kind == "xlsx" and len(ids) > MAX_XLSX_ROWS:
            raise ValidationError({"format": [ErrorDetail(too_many_rows(), "too_many_rows")]})
        return file_response(ids, kind, verbatim, books.db)


class BookImportOptionsSerializer(OptionsSerializer):
    records_columns = COLUMNS


class BookImportUploadSerializer(UploadMixin, BookImportOptionsSerializer):
    pass


@extend_schema_view(
    **described(
        BookImportOptionsSerializer,
        BookImportUploadSerializer,
        "books",
        "imports",
        "Books are matched by ISBN: existing ones are updated, others are added.",
        dict(zip(FIELDS, ROW, strict=True)),
    )
)
@extend_schema(tags=["books"])
class BookImportViewSet(ImportViewSet):
    queryset = Import.objects.all()
    permissions = ["library.add_book", "library.change_book"]
    upload_serializer_class = BookImportUploadSerializer
