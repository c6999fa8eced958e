"""How the admin's pages format values."""

from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django.contrib.admin.utils import quote
from django.db.models import QuerySet
from django.urls import get_script_prefix, reverse
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from .lists import CappedPaginator, count_rows
from .phrases import grouped


def bounded(queryset: QuerySet, sentence: Any = "%(number)s") -> str:
    """The number of rows, counted as far as lists are; in a sentence if given."""
    count, capped = count_rows(CappedPaginator(queryset, 1))
    number = grouped(count) + ("+" if capped else "")
    return str(sentence % {"count": count, "number": number})


def badge(text: str, colour: str) -> SafeString:
    """colour is one of Bootstrap's: success, danger, warning, info, secondary."""
    return format_html('<span class="badge text-bg-{}">{}</span>', colour, text)


@cache
def _pattern(name: str, script_prefix: str) -> str:
    return reverse(f"admin:{name}_change", args=["0"])


def link(name: str, pk: Any, text: str) -> SafeString:
    """To the page of a row; `name` is "members_member", for example."""
    address = _pattern(name, get_script_prefix()).replace("/0/", f"/{quote(pk)}/", 1)
    return format_html('<a href="{}">{}</a>', address, text)


def age(since: datetime) -> str:
    """In the largest unit, such as "3 hours"."""
    if timezone.now() - since < timedelta(minutes=1):
        return _("less than a minute")
    return timesince(since, depth=1)


def moment(value: datetime | None) -> str:
    """In the format that Django gives to fields, but not to what methods return."""
    if value is None:
        return "–"
    return formats.date_format(timezone.localtime(value), "DATETIME_FORMAT")
