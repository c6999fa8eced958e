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
        self.next = self._cursor(rows[-1], backwards=False) if page.more_after else None
        self.previous = self._cursor(rows[0], backwards=True) if page.more_before else None
        return rows

    def get_paginated_response(self, data: Any) -> Response:
        body = {
            "next": self._link(self.next),
            "previous": self._link(self.previous),
            "next_cursor": self.next,
            "previous_cursor": self.previous,
            "results": data,
        }
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
            keys, backwards, query = keyset.decrypt(given)
        except (CursorError, ValueError, TypeError):
            message = _("Invalid cursor: use a “next_cursor”, or begin at the first page again.")
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

    def _cursor(self, row: Model, backwards: bool) -> str:
        return keyset.encrypt([keyset.keys_of(row, self.ordering), backwards, self._query()])

    def _link(self, cursor: str | None) -> str | None:
        if cursor is None:
            return None
        url = replace_query_param(self.request.build_absolute_uri(), "cursor", cursor)
        return remove_query_param(url, "count")

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        return [
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "description": "Where the page begins: a `next_cursor` or `previous_cursor`, "
                "together with the same filters and ordering.",
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
        cursor = {"type": ["string", "null"]}
        return {
            "type": "object",
            "required": ["next", "previous", "next_cursor", "previous_cursor", "results"],
            "properties": {
                "count": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "Only with `count=true`.",
                    "example": 65,
                },
                "next": {
                    **link,
                    "description": "The next page; null on the last.",
                    "example": "https://library.example.org/api/v1/list/?cursor=q83vEjRWeJ",
                },
                "previous": {
                    **link,
                    "description": "The previous page; null on the first.",
                    "example": None,
                },
                "next_cursor": {
                    **cursor,
                    "description": "The `cursor` of `next`.",
                    "example": "q83vEjRWeJ",
                },
                "previous_cursor": {
                    **cursor,
                    "description": "The `cursor` of `previous`.",
                    "example": None,
                },
                "results": schema,
            },
        }
