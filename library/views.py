from typing import Any

from django.conf import settings
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet

from project.api import idempotency
from project.api.changes import ChangesMixin
from project.api.permissions import ModelPermissions, PublicCatalogue
from project.api.views import RecordMixin

from .files.views import ExportMixin
from .filters import BookFilterSet
from .isbn import EXAMPLE, normalise
from .models import Book
from .serializers import BookSerializer

BOOK = {
    "title": "A Book of Ours",
    "author": "Ann Reader",
    "publication_year": 2026,
    "isbn": EXAMPLE,
}
RECORD = {
    "id": 42,
    **BOOK,
    "isbn": normalise(EXAMPLE),
    "created_at": "2026-01-31T09:30:00Z",
    "updated_at": "2026-01-31T09:30:00Z",
}
ANSWER = OpenApiExample("A record", RECORD, response_only=True)
EXAMPLES = [OpenApiExample("A book", BOOK, request_only=True), ANSWER]


@extend_schema_view(
    list=extend_schema(
        summary="Search the catalogue",
        description="A book must match every parameter given.",
        examples=[ANSWER],
    ),
    retrieve=extend_schema(summary="Read a book", examples=[ANSWER]),
    create=extend_schema(
        summary="Add a book",
        description="If its ISBN is already in the catalogue, the 409 names the record.",
        examples=EXAMPLES,
        parameters=[idempotency.PARAMETER],
    ),
    update=extend_schema(summary="Replace a book", examples=EXAMPLES),
    partial_update=extend_schema(
        summary="Change some fields of a book",
        examples=[
            OpenApiExample("Another year", {"publication_year": 2026}, request_only=True),
            ANSWER,
        ],
    ),
    destroy=extend_schema(summary="Remove a book"),
)
@extend_schema(tags=["books"])
class BookViewSet(ExportMixin, ChangesMixin, RecordMixin, ModelViewSet):
    queryset = Book.objects.all()
    serializer_class = BookSerializer
    permission_classes = [PublicCatalogue | ModelPermissions]
    filterset_class = BookFilterSet
    ordering_fields = ["title", "author", "publication_year", "created_at", "updated_at", "id"]
    default_ordering = "title"
    lookup_value_regex = "[0-9]+"

    @idempotency.idempotent
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().create(request, *args, **kwargs)

    def everyone_may_read(self) -> bool:
        return settings.PUBLIC_CATALOGUE
