"""What the admin's pages share: lists that stay fast at any size, and a retry after a race."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import IntegrityError, OperationalError
from django.db.models import Model, QuerySet
from django.db.transaction import TransactionManagementError
from django.http import HttpRequest, HttpResponse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from project.base.database import LOCK_ERRORS

from .phrases import SpeakingAdmin


class CappedPaginator(Paginator):
    """Counts and shows at most MAX_ROWS rows: counting a million costs more than finding one."""

    MAX_ROWS = 10_000

    @cached_property
    def _counted(self) -> int:
        rows: QuerySet = self.object_list  # type: ignore[assignment]
        return rows.order_by()[: self.MAX_ROWS + 1].count()

    @property
    def capped(self) -> bool:
        return self._counted > self.MAX_ROWS

    @cached_property
    def count(self) -> int:
        return min(self._counted, self.MAX_ROWS)


def once_more(view: Callable[..., HttpResponse], *args: Any, **kwargs: Any) -> HttpResponse:
    """Calls the view again if another change of the same rows made the first call fail.

    Either somebody saved the same value between our check and our write, and the check now sees
    it; or a check lost its connection, which Django hides (Q.check) until the next statement.
    """
    try:
        return view(*args, **kwargs)
    except (IntegrityError, TransactionManagementError):
        return view(*args, **kwargs)
    except OperationalError as error:
        if LOCK_ERRORS.isdisjoint(error.args[:1]):
            raise
        return view(*args, **kwargs)


class BaseAdmin(SpeakingAdmin):
    paginator: ClassVar[type[CappedPaginator]] = CappedPaginator
    where_from: Any = ""  # where rows come from; shown in an empty list that nobody can add to
    # Permissions that mean something on its pages (project.admin.permissions).
    grants: ClassVar[tuple[str, ...]] = ("view", "add", "change", "delete")
    grant_words: ClassVar[dict[str, Any]] = {}
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type:
        return BaseChangeList

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return once_more(super().changeform_view, request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return once_more(super().delete_view, request, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return once_more(super().changelist_view, request, *args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name only the rows: what is deleted with them (search words, e-mail) is part of them."""
        allowed = self.has_delete_permission(request)
        return (
            [str(row) for row in objs],
            {self.opts.verbose_name_plural: len(objs)},
            set() if allowed else {self.opts.verbose_name},
            [],
        )

    def response_action(  # type: ignore[override]
        self, request: HttpRequest, queryset: QuerySet
    ) -> HttpResponse | None:
        everything = request.POST.get("select_across") not in (None, "", "0")
        if everything and self.paginator(queryset, 1).capped:
            text = _("Narrow the list down to at most %(most)d rows first.")
            self.message_user(request, text % {"most": self.paginator.MAX_ROWS}, messages.WARNING)
            return None
        return super().response_action(request, queryset)


class BaseChangeList(ChangeList):
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
        try:
            return super().get_queryset(request, exclude_parameters)
        except ValidationError as error:  # such as a mistyped ISBN
            messages.warning(request, " ".join(error.messages))
            return self.root_queryset.none()


class ReadOnlyAdmin(BaseAdmin):
    """For rows that only the programs write."""

    grants = ("view",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
