import re
from datetime import UTC, datetime
from typing import Any

import django_filters
from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django_filters import fields
from rest_framework import filters
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request


def read_flag(request: Request, name: str, default: bool) -> bool:
    given = request.query_params.get(name)
    if given is None:
        return default
    if given not in ("true", "false"):
        raise ValidationError({name: [_("Use true or false.")]})
    return given == "true"


class OrderingFilter(filters.OrderingFilter):
    """Like DRF's, but an unknown field is an error, and without the parameter the query set's own
    order stays."""

    def filter_queryset(self, request: Request, queryset: QuerySet, view: Any) -> QuerySet:
        given = request.query_params.getlist(self.ordering_param)
        fields: dict[str, str] = {}
        for field in ",".join(given).split(",") if given else ():
            # Of one that is given twice, only the first could make a difference.
            fields.setdefault(field.strip().removeprefix("-"), field.strip())
        if not fields.keys() <= set(view.ordering_fields):
            allowed = ", ".join(view.ordering_fields)
            message = _("Order by one or more of %(fields)s, with - for descending.")
            raise ValidationError({self.ordering_param: [message % {"fields": allowed}]}, "invalid")
        return queryset.order_by(*fields.values()) if fields else queryset

    def get_schema_operation_parameters(self, view: Any) -> list[dict]:
        signs = {"": "", "-": "_DESC"}
        names = [f"{sign}{name}" for name in view.ordering_fields for sign in signs]
        constants = [
            f"{name}{end}".upper() for name in view.ordering_fields for end in signs.values()
        ]
        return [
            {
                "name": self.ordering_param,
                "in": "query",
                "required": False,
                "description": "Sort by these fields, `-` for descending: given once for each, or "
                f"comma-separated. Default: `{view.default_ordering}`.",
                "schema": {
                    "type": "array",
                    "items": {"type": "string", "enum": names, "x-enum-varnames": constants},
                    "minItems": 1,
                },
            }
        ]


class FilterSet(django_filters.FilterSet):
    """Only of the filters that the request names: each costs a copy of itself and a form field."""

    base_filters: dict[str, django_filters.Filter]

    def __init__(self, data: Any = None, *args: Any, **kwargs: Any) -> None:
        self.base_filters = {
            name: each for name, each in self.base_filters.items() if name in (data or {})
        }
        super().__init__(data, *args, **kwargs)


# RFC 3339, as `format: date-time` means; Python reads the 24th hour and the 60th minute too.
TIME = re.compile(
    r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:[0-5]\d)",
    re.ASCII | re.IGNORECASE,
)
EARLIEST, LATEST = datetime(1000, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)


class TimeField(fields.IsoDateTimeField):
    """Times that not every database can store become the first or the last that each can."""

    default_error_messages = {
        "invalid": gettext_lazy(
            "Write a time with its offset from UTC: 2026-01-31T00:00:00Z, or +01:00 in place of Z; "
            "encode the + in an address."
        )
    }

    def clean(self, value: str) -> datetime | None:
        if value and not TIME.fullmatch(value):
            raise forms.ValidationError(self.error_messages["invalid"], "invalid")
        time = super().clean(value.upper())
        if time and not 1000 <= time.year < 9999:
            return EARLIEST if time.year < 1000 else LATEST
        return time


class TimeFilter(django_filters.IsoDateTimeFilter):
    field_class = TimeField
