"""The feed of changes, for programs that keep a copy: what happened after a cursor.

It reads the history, which every write adds to in its own transaction (project/base/history.py).
"""

import re
from typing import Any

from django.db.models import Max, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, ErrorDetail, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from project.base.history import Kind, final_rows

from .pagination import KeysetPagination

CURSOR = r"^(0|[1-9][0-9]{0,17})$"
EXAMPLE = {"id": 42, "change": "changed", "at": "2026-01-31T09:30:00Z"}
CHANGES = {Kind.ADDED: "created", Kind.CHANGED: "changed", Kind.DELETED: "deleted"}


class CursorAheadError(APIException):
    """An older state of the database was restored: the numbers will be given again."""

    status_code = status.HTTP_410_GONE
    default_code = "cursor_ahead"
    default_detail = gettext_lazy(
        "This cursor is ahead of the feed, because the database was restored from a backup. "
        "Make a new copy."
    )


class ChangeSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    change = serializers.ChoiceField(list(CHANGES.values()), label="Kind")
    at = serializers.DateTimeField()

    def to_representation(self, row: Any) -> dict[str, Any]:
        at = self.fields["at"].to_representation(row.history_date)
        return {"id": row.id, "change": CHANGES[row.history_type], "at": at}


class ChangesPagination(KeysetPagination):
    """The cursor is the history's number: it needs no key to be read, so it never expires."""

    page_size = 200
    max_page_size = 1000
    parameters = ("cursor", "page_size")

    def paginate_queryset(  # type: ignore[override]
        self, queryset: QuerySet, request: Request, view: APIView | None = None
    ) -> list[Any]:
        self.request = request
        given = request.query_params.get("cursor", "0")
        if not re.fullmatch(CURSOR, given, re.ASCII):
            message = _("Use the cursor of an earlier response.")
            raise ValidationError({"cursor": [ErrorDetail(message, "invalid")]})
        size = self._page_size()
        rows = final_rows(queryset.model, int(given), size + 1)
        if not rows and int(given) > (self._newest(queryset) or 0):
            raise CursorAheadError
        self.more = len(rows) > size
        rows = rows[:size]
        self.cursor = str(rows[-1].history_id) if rows else given
        return rows

    def _newest(self, queryset: QuerySet) -> int | None:
        return queryset.model.history.aggregate(newest=Max("history_id"))["newest"]

    def get_paginated_response(self, data: Any) -> Response:
        url = replace_query_param(self.request.build_absolute_uri(), "cursor", self.cursor)
        following = url if self.more else None
        return Response({"next": following, "cursor": self.cursor, "results": data})

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        cursor, page_size, _count = super().get_schema_operation_parameters(view)
        cursor["description"] = "`cursor` of the response before; without it, from the beginning."
        cursor["schema"] = {"type": "string", "pattern": CURSOR}
        return [cursor, page_size]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["next", "cursor", "results"],
            "properties": {
                "next": {
                    "type": ["string", "null"],
                    "format": "uri",
                    "description": "What follows; null where nothing does at the moment.",
                    "example": None,
                },
                "cursor": {
                    "type": "string",
                    "pattern": CURSOR,
                    "description": "Where to go on, now or in a year.",
                    "example": "108305",
                },
                "results": schema,
            },
        }


class ChangesMixin:
    @extend_schema(
        summary="Follow the changes",
        description="Every creation, change and deletion after `cursor`, in the order in which "
        "they were written: none is left out, however many write at the same time.",
        responses=ChangeSerializer(many=True),
        examples=[OpenApiExample("A change", EXAMPLE, response_only=True)],
    )
    @action(
        detail=False,
        pagination_class=ChangesPagination,
        serializer_class=ChangeSerializer,
        filter_backends=[],
    )
    def changes(self, request: Request) -> Response:
        page = self.paginate_queryset(self.queryset)  # type: ignore[attr-defined]
        return self.get_paginated_response(ChangeSerializer(page, many=True).data)  # type: ignore[attr-defined]
