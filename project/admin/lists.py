"""The admin's lists: keyset pages of any table, counted as far as counting is cheap."""

from typing import Any

from django.contrib import messages
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Max, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import formats
from django.utils.functional import cached_property
from django.utils.html import escape
from django.utils.translation import gettext as _

from project.base import keyset
from project.base.cache import remembered
from project.base.keyset import CursorError

CURSOR, SIZE = "cursor", "size"  # parameters of the address
PAGE_SIZES = (25, 50, 100, 200)
COUNT_TIMEOUT = 60  # seconds for which the number of rows of a large table is remembered


class CappedPaginator(Paginator):
    """Counts at most MAX_ROWS rows: counting a million costs more than finding one."""

    MAX_ROWS = 10_000
    counted_along: tuple[str, ...] = ()  # an ordering in which they are found sooner

    @cached_property
    def _counted(self) -> int:
        rows: QuerySet = self.object_list  # type: ignore[assignment]
        return rows.order_by(*self.counted_along)[: self.MAX_ROWS + 1].count()

    @property
    def capped(self) -> bool:
        return self._counted > self.MAX_ROWS

    @cached_property
    def count(self) -> int:
        return min(self._counted, self.MAX_ROWS)


def count_of_table(rows: QuerySet) -> int:
    """The rows of a large table: those counted lately, and those added since."""
    table = rows.model._base_manager.order_by()

    def count() -> tuple[int, int]:
        return table.count(), table.aggregate(last=Max("pk"))["last"] or 0

    number, last = remembered(f"rows:{rows.model._meta.label}", COUNT_TIMEOUT, count)
    return number + table.filter(pk__gt=last)[: CappedPaginator.MAX_ROWS].count()


def count_rows(paginator: CappedPaginator) -> tuple[int, bool]:
    """How many rows it has, and whether it has more: a whole table is counted exactly."""
    rows: QuerySet = paginator.object_list  # type: ignore[assignment]
    if paginator.capped and not rows.query.where:
        return count_of_table(rows), False
    return paginator.count, paginator.capped


class BaseChangeList(ChangeList):
    next_link = previous_link = first_link = last_link = ""
    first_row = last_row = 0  # of this page, counted from 1
    capped = False

    def get_ordering(self, request: HttpRequest, queryset: QuerySet) -> list[Any]:
        """Django's, but the key it appends sorts in the direction of the column before it.

        So one index serves both; (title, -pk) would sort the whole table.
        """
        ordering: list[Any] = []
        for column in super().get_ordering(request, queryset):
            # The default ordering follows the clicked column, and may name it again.
            if str(column).lstrip("-") not in {str(first).lstrip("-") for first in ordering}:
                ordering.append(column)
        if len(ordering) > 1 and ordering[-1] == "-pk" and not str(ordering[-2]).startswith("-"):
            ordering[-1] = "pk"
        return ordering

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet:
        self.cursor = request.GET.get(CURSOR, "")
        size = request.GET.get(SIZE, "")
        self.params.pop(SIZE, None)
        for given in (self.params, self.filter_params):
            given.pop(CURSOR, None)
        if size in map(str, PAGE_SIZES):
            if request.session.get(SIZE) != int(size):
                request.session[SIZE] = int(size)  # for every list, until the person logs out
        else:
            self.filter_params.pop(SIZE, None)
        self.list_per_page = request.session.get(SIZE, self.list_per_page)
        try:
            return super().get_queryset(request, exclude_parameters)
        except ValidationError as error:  # such as a mistyped ISBN
            messages.warning(request, " ".join(error.messages))
            return self.root_queryset.none()

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        """The size of the page stays in every link, and is no filter."""
        found = super().get_filters_params(params)
        found.pop(SIZE, None)
        return found

    def get_results(self, request: HttpRequest) -> None:
        try:
            self._count(request)
        except OverflowError:  # SQLite takes no number of more than 64 bits, and no row has one
            self.queryset = self.queryset.none()
            self._count(request)
        ordering = keyset.total_ordering(self.queryset)
        parameters = [(name, str(value)) for name, value in self.filter_params.items()]
        parameters = [(name, value) for name, value in parameters if name != SIZE]
        self._fingerprint = keyset.fingerprint(request.path, parameters, ordering)
        keys, backwards, before = self._position()
        size = self.list_per_page
        shown = self.queryset
        if fields := self.model_admin.fields_of_list:  # type: ignore[attr-defined]  # BaseAdmin's
            shown = shown.only(*fields)
        try:
            page = keyset.read_page(shown, ordering, size, keys, backwards)
        except CursorError:
            keys, backwards, before = None, False, 0
            page = keyset.read_page(shown, ordering, size)
        rows = page.rows
        self.result_list = rows
        if backwards:
            end = (0 if self.capped else self.result_count) if keys is None else before
            before = max(end - len(rows), 0)
        before *= page.more_before
        if rows and (before or not page.more_before):  # else nobody knows how many precede
            self.first_row, self.last_row = before + 1, before + len(rows)
        if page.more_before:
            self.first_link = self._link("")
            self.previous_link = self._link(
                self._cursor(keyset.keys_of(rows[0], ordering), True, before)
            )
        if page.more_after:
            self.next_link = self._link(
                self._cursor(keyset.keys_of(rows[-1], ordering), False, self.last_row)
            )
            self.last_link = self._link(self._cursor(None, True, 0))
        self.multi_page = page.more_before or page.more_after

    def url_for_result(self, result: Any) -> str:
        """With the filters to come back to; Django resolves them and the address for each row."""
        return self._change_address.replace("/0/", f"/{quote(result.pk)}/", 1)

    @cached_property
    def _change_address(self) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        context: Any = {"opts": self.opts, "preserved_filters": self.preserved_filters}
        return escape(add_preserved_filters(context, reverse(name, args=["0"])))

    def _count(self, request: HttpRequest) -> None:
        self.paginator = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)
        # Of its query: an address may filter without a filter of the list, as charts' links do.
        self.result_count, self.capped = count_rows(self.paginator)
        self.show_full_result_count, self.full_result_count = False, None
        self.show_admin_actions = True
        self.can_show_all = False

    def _position(self) -> tuple[list[Any] | None, bool, int]:
        try:
            keys, backwards, before, fingerprint = keyset.decrypt(self.cursor)
        except (CursorError, ValueError, TypeError):
            return None, False, 0
        return (keys, backwards, before) if fingerprint == self._fingerprint else (None, False, 0)

    def _cursor(self, keys: list[Any] | None, backwards: bool, before: int) -> str:
        return keyset.encrypt([keys, backwards, before, self._fingerprint])

    def _link(self, cursor: str) -> str:
        return self.get_query_string({CURSOR: cursor or None})

    @property
    def counted(self) -> str:
        """Such as "1,234 books"; of more than are counted, "10,000+ books"."""
        number = formats.number_format(self.result_count, force_grouping=True)
        text = self.model_admin.counted_text  # type: ignore[attr-defined]  # BaseAdmin's
        return text % {"count": self.result_count, "number": number + "+" * self.capped}

    @property
    def selectable(self) -> bool:
        """Whether an action may be offered on all rows; BaseAdmin refuses it on more."""
        if self.model_admin.acts_on_any_number:  # type: ignore[attr-defined]  # BaseAdmin's
            return True
        return not self.capped and self.result_count <= self.paginator.MAX_ROWS

    @property
    def shown(self) -> str:
        """Such as "51–100 of 1,234 books"."""
        if not self.first_row or not self.multi_page:
            return self.counted
        first, last = (
            formats.number_format(row, force_grouping=True)
            for row in (self.first_row, self.last_row)
        )
        return _("%(first)s–%(last)s of %(all)s") % {
            "first": first,
            "last": last,
            "all": self.counted,
        }

    @property
    def sizes(self) -> list[tuple[int, str, bool]]:
        return [
            (size, self.get_query_string({SIZE: size}), size == self.list_per_page)
            for size in PAGE_SIZES
        ]
