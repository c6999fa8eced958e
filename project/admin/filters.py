"""Filters of the admin's lists."""

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class ChoiceFilter(admin.SimpleListFilter):
    """A filter with a short, fixed list of choices: values of `field`, unless chosen() differs."""

    choices_of: ClassVar[dict[str, Any]]
    field: ClassVar[str]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(self.choices_of.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        return self.chosen(queryset, value) if value in self.choices_of else queryset

    def chosen(self, queryset: QuerySet, value: str) -> QuerySet:
        return queryset.filter(**{self.field: value})


class TextFilter(admin.SimpleListFilter):
    """What is typed; `suggestions` names a view that completes it."""

    template = "admin/filter_text.html"
    suggestions: ClassVar[str] = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("", "")]  # without any, Django leaves the filter out

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = (self.value() or "").strip()
        return self.chosen(queryset, value) if value else queryset

    def chosen(self, queryset: QuerySet, value: str) -> QuerySet:
        raise NotImplementedError


class RangeFilter(admin.SimpleListFilter):
    """Whole numbers from … to …, as two parameters."""

    template = "admin/filter_range.html"
    field: ClassVar[str]
    bounds: ClassVar[tuple[int, int]]

    def __init__(
        self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        for side in ("from", "to"):
            if given := params.pop(f"{self.parameter_name}_{side}", None):
                self.used_parameters[f"{self.parameter_name}_{side}"] = given[-1]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("", "")]

    def given(self, side: str) -> str:
        return str(self.used_parameters.get(f"{self.parameter_name}_{side}", "")).strip()

    @property
    def first(self) -> str:
        return self.given("from")

    @property
    def last(self) -> str:
        return self.given("to")

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        for side, lookup in (("from", "gte"), ("to", "lte")):
            text = self.given(side)
            if text.isascii() and text.isdigit() and len(text) < 10:
                queryset = queryset.filter(**{f"{self.field}__{lookup}": int(text)})
        return queryset


class SinceFilter(ChoiceFilter):
    """Rows whose time in `field` is within the chosen period."""

    choices_of = {
        "today": _("today"),
        "7": _("last 7 days"),
        "30": _("last 30 days"),
        "365": _("last 12 months"),
    }

    def chosen(self, queryset: QuerySet, value: str) -> QuerySet:
        midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
        days = 0 if value == "today" else int(value)
        return queryset.filter(**{f"{self.field}__gte": midnight - timedelta(days=days)})
