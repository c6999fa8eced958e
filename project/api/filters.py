from datetime import datetime
from typing import Any

import django_filters
from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django_filters import fields
from rest_framework import filters
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request


class OrderingFilter(filters.OrderingFilter):
    """Like DRF's, but an unknown field is an error, and without the parameter the query set's own
    order stays."""

    def filter_queryset(self, request: Request, queryset: QuerySet, view: Any) -> QuerySet:
        given = request.query_params.get(self.ordering_param)
        if given is None:
            return queryset
        fields = [field.strip() for field in given.split(",")]
        names = [field.removeprefix("-") for field in fields]
        if set(names) - set(view.ordering_fields) or len(set(names)) < len(names):
            allowed = ", ".join(view.ordering_fields)
            message = _("Order by one or more of %(fields)s, each once and with - for descending.")
            raise ValidationError({self.ordering_param: [message % {"fields": allowed}]}, "invalid")
        return queryset.order_by(*fields)

    def get_schema_operation_parameters(self, view: Any) -> list[dict]:
        names = [f"{sign}{name}" for name in view.ordering_fields for sign in ("", "-")]
        return [
            {
                "name": self.ordering_param,
                "in": "query",
                "required": False,
                "description": "Sort by these fields, comma-separated, `-` for descending. "
                f"Default: `{view.default_ordering}`.",
                "explode": False,
                "schema": {"type": "array", "items": {"type": "string", "enum": names}},
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


class TimeField(fields.IsoDateTimeField):
    """A time that every database can store: in UTC, year 1 or 9999 may be out of range."""

    def clean(self, value: str) -> datetime | None:
        if value and not value.isascii():  # Django accepts digits of any script
            raise forms.ValidationError(self.error_messages["invalid"], "invalid")
        time = super().clean(value)
        if time and not 1000 <= time.year < 9999:
            raise forms.ValidationError(_("Use a year from 1000 to 9998."), "invalid")
        return time


class TimeFilter(django_filters.IsoDateTimeFilter):
    field_class = TimeField
