"""Keyset pagination: a page starts after the last key of the one before, not at a row number.

A page costs the same at any depth. Ties are neither skipped nor repeated, as they are by DRF's
CursorPagination (encode/django-rest-framework#7887).
"""

import hashlib
import json
import zlib
from typing import Any

from django.core import signing
from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param
from rest_framework.views import APIView

SALT = "project.api.pagination"


class KeysetPagination(BasePagination):
    page_size = 50
    max_page_size = 200
    parameters = ("cursor", "page_size", "count")

    def paginate_queryset(  # type: ignore[override]
        self, queryset: QuerySet, request: Request, view: APIView | None = None
    ) -> list[Model]:
        self.request = request
        self.size = self._page_size()
        self.total = queryset.count() if self._wants_count() else None
        self.ordering = total_ordering(queryset)
        keys, backwards = self._position()
        page = queryset.order_by(*(reverse(self.ordering) if backwards else self.ordering))
        if keys is not None:
            page = self._after(page, keys, backwards)
        rows = list(page[: self.size + 1])
        more = len(rows) > self.size
        rows = rows[: self.size]
        if backwards:
            rows.reverse()
        self.next = rows and (more or backwards) and self._link(rows[-1], backwards=False)
        came_from_before = keys is not None and not backwards
        self.previous = (
            rows and (more if backwards else came_from_before) and self._link(rows[0], True)
        )
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

    def _wants_count(self) -> bool:
        given = self.request.query_params.get("count", "false")
        if given not in ("true", "false"):
            raise ValidationError({"count": [_("Use true or false.")]})
        return given == "true"

    def _position(self) -> tuple[list[Any] | None, bool]:
        given = self.request.query_params.get("cursor")
        if given is None:
            return None, False
        try:
            keys, backwards, query = signing.loads(given, salt=SALT, serializer=CursorSerializer)
        except (signing.BadSignature, ValueError, TypeError, zlib.error):
            message = _("Invalid cursor: use the one from “next” or “previous”.")
            raise ValidationError({"cursor": [message]}) from None
        if query != self._query():
            message = _("This cursor belongs to another ordering or other filters.")
            raise ValidationError({"cursor": [message]})
        return keys, backwards

    def _query(self) -> str:
        """A fingerprint of filters and ordering, whatever the page size."""
        query = sorted(
            (name, value)
            for name, value in self.request.query_params.items()
            if name not in self.parameters
        )
        text = json.dumps([self.request.path, query, self.ordering])
        return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()

    def _link(self, row: Model, backwards: bool) -> str:
        keys = [getattr(row, name.removeprefix("-")) for name in self.ordering]
        content = [keys, backwards, self._query()]
        cursor = signing.dumps(content, salt=SALT, serializer=CursorSerializer)
        url = replace_query_param(self.request.build_absolute_uri(), "cursor", cursor)
        return remove_query_param(url, "count")

    def _after(self, queryset: QuerySet, keys: list[Any], backwards: bool) -> QuerySet:
        """(a > x) or (a = x and b > y) or …, and a >= x in front, where the index starts."""
        condition = Q()
        equal = Q()
        for name, key in zip(self.ordering, keys, strict=True):
            field = name.removeprefix("-")
            rising = name.startswith("-") == backwards
            condition |= equal & Q(**{f"{field}__{'gt' if rising else 'lt'}": key})
            equal &= Q(**{field: key})
        first = self.ordering[0]
        rising = first.startswith("-") == backwards
        start = Q(**{f"{first.removeprefix('-')}__{'gte' if rising else 'lte'}": keys[0]})
        try:
            return queryset.filter(start, condition)
        except (DjangoValidationError, ValueError, TypeError):
            raise ValidationError({"cursor": [_("This cursor is out of date.")]}) from None

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


class CursorSerializer:
    """Always compressed: two titles of 500 characters fit a URL, and no link shows a name."""

    def dumps(self, obj: Any) -> bytes:
        text = json.dumps(obj, cls=KeyEncoder, ensure_ascii=False, separators=(",", ":"))
        return zlib.compress(text.encode(), 9)

    def loads(self, data: bytes) -> Any:
        return json.loads(zlib.decompress(data))


class KeyEncoder(DjangoJSONEncoder):
    """Times with their microseconds, which DjangoJSONEncoder cuts to milliseconds."""

    def default(self, o: Any) -> Any:
        return o.isoformat() if hasattr(o, "isoformat") else super().default(o)


def total_ordering(queryset: QuerySet) -> list[str]:
    """The query set's ordering with the id appended, so that no two rows are equal.

    The id sorts in the direction of the key before it, so one index serves both.
    """
    ordering = list(queryset.query.order_by or queryset.model._meta.ordering)
    ordering = ["-id" if name == "-pk" else "id" if name == "pk" else name for name in ordering]
    # A search calls the id `_id` where it sorts by another table's copy of it.
    if not {"id", "-id", "_id"} & set(ordering):
        ordering.append("-id" if ordering and ordering[-1].startswith("-") else "id")
    return ordering


def reverse(ordering: list[str]) -> list[str]:
    return [name[1:] if name.startswith("-") else f"-{name}" for name in ordering]
