"""Filters of the admin's lists."""

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class ChoiceFilter(admin.SimpleListFilter):
    """A filter with a short, fixed list of choices."""

    choices_of: ClassVar[dict[str, Any]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return list(self.choices_of.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value()
        return self.chosen(queryset, value) if value in self.choices_of else queryset

    def chosen(self, queryset: QuerySet, value: str) -> QuerySet:
        raise NotImplementedError


class SinceFilter(ChoiceFilter):
    """Rows whose time in `field` is within the chosen period."""

    field: ClassVar[str]
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
