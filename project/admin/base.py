"""What the admin's pages share, such as a retry after a race."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest, ValidationError
from django.db import IntegrityError, OperationalError, connection
from django.db.models import Model, QuerySet
from django.db.transaction import TransactionManagementError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext_lazy

from project.base.database import LOCK_ERRORS

from .lists import BaseChangeList, CappedPaginator
from .phrases import SpeakingAdmin
from .searching import Hit


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
    acts_on_any_number = False  # its actions go through every row of a list, however long
    where_from: Any = ""  # where rows come from; shown in an empty list that nobody can add to
    has_history = True  # whether the page of a row offers it
    # The fields that a list shows, where its table has long ones; none are all.
    fields_of_list: ClassVar[tuple[str, ...]] = ()
    # Columns whose values say nothing without their name, such as a second date.
    columns_named_on_phone: ClassVar[frozenset[str]] = frozenset()
    # The foot of the list, in each language's plurals and cases.
    counted_text: ClassVar[Any] = ngettext_lazy("%(number)s row", "%(number)s rows", "count")
    # Permissions that mean something on its pages (project.admin.permissions).
    grants: ClassVar[tuple[str, ...]] = ("view", "add", "change", "delete")
    grant_words: ClassVar[dict[str, Any]] = {}
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet, per_page: int, *args: Any
    ) -> CappedPaginator:
        return self.paginator(queryset, per_page)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type:
        return BaseChangeList

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        row = super().get_object(request, *args, **kwargs)
        if row is not None and request.method == "POST" and connection.in_atomic_block:
            # Read again under a lock: somebody may be saving or deleting it right now.
            rows = self.get_queryset(request).select_for_update(of=("self",))
            return rows.filter(pk=row.pk).first()
        return row

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """By an address; a malformed expression is an error of the database, and any reads all.

        A range takes two values, of which an address gives one.
        """
        if lookup.endswith(("regex", "range")):
            return False
        return super().lookup_allowed(lookup, value, request)

    def get_action_choices(self, request: HttpRequest, *args: Any) -> list[tuple[str, str]]:
        return super().get_action_choices(request, [("", _("Choose an action"))])

    # --- Pages beside those of Django ---

    def render(
        self, request: HttpRequest, template: str, status: int = 200, **context: Any
    ) -> TemplateResponse:
        """A page of its own; `context` holds the title."""
        context = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return TemplateResponse(request, template, context, status=status)

    def ask(self, request: HttpRequest, template: str, **context: Any) -> TemplateResponse:
        """The page that asks before an action; `hidden` repeats what was chosen in the list."""
        names = ("action", "select_across", "index", ACTION_CHECKBOX_NAME)
        hidden = [(name, value) for name in names for value in request.POST.getlist(name)]
        context = {"back": request.get_full_path(), "hidden": hidden, **context}
        return self.render(request, template, **context)

    # --- The search box of every page (project.admin.searching) ---

    def find(self, request: HttpRequest, text: str) -> list[Hit]:
        """The best rows for what is typed; an admin that offers none stays out of the box."""
        return []

    def jump(self, request: HttpRequest, text: str) -> str:
        """The address that this text alone names, such as the page of an ISBN's book."""
        return ""

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
            [self.name_of(row) for row in objs],
            {self.opts.verbose_name_plural: len(objs)},
            set() if allowed else {self.opts.verbose_name},
            [],
        )

    def response_action(  # type: ignore[override]
        self, request: HttpRequest, queryset: QuerySet
    ) -> HttpResponse | None:
        try:
            for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
                self.opts.pk.clean(key, None)
        except ValidationError as error:
            raise BadRequest(f"no key of a row: {key!r}") from error
        everything = request.POST.get("select_across") not in (None, "", "0")
        everything = everything and not self.acts_on_any_number
        if everything and (counted := self.get_paginator(request, queryset, 1)).capped:
            text = _("Narrow the list down to at most %(most)d rows first.")
            self.message_user(request, text % {"most": counted.MAX_ROWS}, messages.WARNING)
            return None
        return super().response_action(request, queryset)


class ReadOnlyAdmin(BaseAdmin):
    """For rows that only the programs write."""

    has_history = False
    grants = ("view",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
