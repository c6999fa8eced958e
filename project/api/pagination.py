"""The API's pages, by keyset (project/base/keyset.py)."""

from typing import Any

from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param
from rest_framework.views import APIView

from project.base import keyset
from project.base.keyset import CursorError

from .filters import read_flag


class KeysetPagination(BasePagination):
    page_size = 50
    max_page_size = 200
    parameters: tuple[str, ...] = ("cursor", "page_size", "count")

    def paginate_queryset(  # type: ignore[override]
        self, queryset: QuerySet, request: Request, view: APIView | None = None
    ) -> list[Model]:
        self.request = request
        self.size = self._page_size()
        wants_count = read_flag(request, "count", default=False)
        self.total = queryset.count() if wants_count else None
        self.ordering = keyset.total_ordering(queryset)
        keys, backwards = self._position()
        try:
            page = keyset.read_page(queryset, self.ordering, self.size, keys, backwards)
        except CursorError:
            raise ValidationError({"cursor": [_("This cursor is out of date.")]}) from None
        rows = page.rows
        self.next = page.more_after and self._link(rows[-1], backwards=False)
        self.previous = page.more_before and self._link(rows[0], backwards=True)
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        body = {"next": self.next or None, "previous": self.previous or None, "results": data}
        return Response(body if self.total is None else {"count": self.total, **body})

    def _page_size(self) -> int:
        given = self.request.query_params.get("page_size")
        if given is None:
            return self.page_size
        is_number = given.isascii() and given.isdigit() and len(given) < 10
        if not (is_number and 1 <= int(given) <= self.max_page_size):
            message = _("Use a number from 1 to %(most)d.") % {"most": self.max_page_size}
            raise ValidationError({"page_size": [message]})
        return int(given)

    def _position(self) -> tuple[list[Any] | None, bool]:
        given = self.request.query_params.get("cursor")
        if given is None:
            return None, False
        try:
            keys, backwards, query = keyset.unsign(given)
        except (CursorError, ValueError, TypeError):
            message = _("Invalid cursor: use the one from “next” or “previous”.")
            raise ValidationError({"cursor": [message]}) from None
        if query != self._query():
            message = _("This cursor belongs to another ordering or other filters.")
            raise ValidationError({"cursor": [message]})
        return keys, backwards

    def _query(self) -> str:
        """A fingerprint of filters and ordering, whatever the page size."""
        parameters = self.request.query_params.items()
        filters = [(name, value) for name, value in parameters if name not in self.parameters]
        return keyset.fingerprint(self.request.path, filters, self.ordering)

    def _link(self, row: Model, backwards: bool) -> str:
        cursor = keyset.sign([keyset.keys_of(row, self.ordering), backwards, self._query()])
        url = replace_query_param(self.request.build_absolute_uri(), "cursor", cursor)
        return remove_query_param(url, "count")

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        return [
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "description": "Where the page begins: taken from `next` or `previous`, together "
                "with the same filters and ordering.",
                "schema": {"type": "string"},
            },
            {
                "name": "page_size",
                "in": "query",
                "required": False,
                "description": "Results per page.",
                "schema": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": self.max_page_size,
                    "default": self.page_size,
                },
            },
            {
                "name": "count",
                "in": "query",
                "required": False,
                "description": "`true` adds `count`, the total number of results. "
                "Counting a large catalogue takes longer than reading a page of it.",
                "schema": {"type": "boolean", "default": False},
            },
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {
                "count": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "Only with `count=true`.",
                },
                "next": {**link, "description": "The next page; null on the last."},
                "previous": {**link, "description": "The previous page; null on the first."},
                "results": schema,
            },
        }
