"""What everybody changed, newest first; deleted records are found here too."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Exists, Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from project.base.accounts import person_name
from project.base.database import is_id
from project.base.history import Door, Kind, as_record

from .base import BaseChangeList, CappedPaginator, ReadOnlyAdmin
from .display import bounded, moment
from .filters import ChoiceFilter
from .history import RecordedAdmin, event, way, who

MAX_PEOPLE = 100  # in the filter; a link on each name finds the others
MAX_SEARCHED_ROWS = 10_000
EVERY = "every"


def people(chosen: str) -> dict[str, str]:
    """Their names by id; the chosen one may not be among the first."""
    users = get_user_model()._default_manager.order_by("username")
    found = {str(user.pk): name_and_login(user) for user in users[:MAX_PEOPLE]}
    return found if chosen in found or not is_id(chosen) else found | {chosen: f"#{chosen}"}


def name_and_login(user: Any) -> str:
    """As the lists name people, and what tells two of one name apart."""
    name, login = person_name(user), user.get_username()
    return name if name == login else f"{name} ({login})"


class PersonFilter(admin.SimpleListFilter):
    title = gettext_lazy("person")
    parameter_name = "person"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(people(self.value() or "").items())

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        value = self.value() or ""
        return queryset.filter(history_user=int(value)) if is_id(value) else queryset


class DoorFilter(ChoiceFilter):
    title = gettext_lazy("through")
    parameter_name = field = "door"
    choices_of = dict(Door.choices)


class KindFilter(ChoiceFilter):
    title = gettext_lazy("kind")
    parameter_name = "kind"
    choices_of = {
        "added": Kind.ADDED.label,
        "changed": Kind.CHANGED.label,
        "deleted": Kind.DELETED.label,
        "gone": gettext_lazy("deleted, not restored"),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        choices = super().lookups(request, model_admin)
        return choices if model_admin.keeps_deleted else choices[:-1]

    def chosen(self, queryset: QuerySet, value: str) -> QuerySet:
        if value == "gone":
            later = queryset.model.objects.filter(
                id=OuterRef("id"), history_id__gt=OuterRef("history_id")
            )
            return queryset.filter(~Exists(later), history_type=Kind.DELETED)
        return queryset.filter(history_type=Kind[value.upper()])


class BatchFilter(admin.SimpleListFilter):
    """An import of 100,000 records is one line, unless it is asked for."""

    title = gettext_lazy("batches")
    parameter_name = "batch"
    text_of_all = gettext_lazy("one line each")

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        value = self.value()
        chosen = [(value, value)] if value and value != EVERY else []
        return [(EVERY, _("every record")), *chosen]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if is_collapsed(request):
            return queryset.filter(listed=True)
        value = self.value()
        return queryset.filter(batch=value) if value and value != EVERY else queryset


def is_collapsed(request: HttpRequest) -> bool:
    """Whether a batch is one line. Each deleted record has its own, to be found and restored."""
    return not request.GET.get("batch") and request.GET.get("kind") != "gone"


class ActivityChangeList(BaseChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        activity: Any = self.model_admin
        self.result_list = activity.described(self.result_list, is_collapsed(request))


def batch_size(row: Any, sentence: Any) -> str:
    """How many records changed together, such as "1,050 books"; empty for one that changed alone."""
    if not row.batch:
        return ""
    batch = type(row).objects.filter(batch=row.batch)
    return bounded(batch, sentence) if batch[1:2] else ""


class ActivityAdmin(ReadOnlyAdmin):
    keeps_deleted = True
    deleted_title: Any = ""
    paginator = CappedPaginator
    list_display = ["when", "name", "kind", "changes", "person", "through"]
    counted_text = ngettext_lazy("%(number)s change", "%(number)s changes", "count")
    list_filter = [KindFilter, PersonFilter, DoorFilter, BatchFilter]
    list_display_links = None
    sortable_by: ClassVar[list[str]] = []
    ordering = ["-history_id"]
    where_from = gettext_lazy("Every change appears here, with who made it.")

    @property
    def records(self) -> RecordedAdmin:
        return self.admin_site._registry[self.model.instance_type]  # type: ignore[return-value]

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return self.records.has_view_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        # A join would make MySQL read and sort the whole table.
        return super().get_queryset(request).prefetch_related("history_user")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type:
        return ActivityChangeList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        deleted = request.GET.get("kind") == "gone" and self.keeps_deleted
        title = {"title": self.deleted_title} if deleted else {}
        return super().changelist_view(request, title | (extra_context or {}))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet, search_term: str
    ) -> tuple[QuerySet, bool]:
        """Among the newest rows of the filtered list only: no index serves parts of words."""
        if search_term.strip():
            ids = queryset.order_by("-history_id").values_list("history_id", flat=True)
            oldest = ids[MAX_SEARCHED_ROWS : MAX_SEARCHED_ROWS + 1]
            queryset = queryset.filter(history_id__gt=next(iter(oldest), 0))
        return super().get_search_results(request, queryset, search_term)

    def change_view(
        self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        return self.history_view(request, object_id)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        version: Any = self.get_object(request, object_id)
        if version is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        return self.records.history_view(request, str(version.id))

    def described(self, rows: Iterable[Any], collapsed: bool = True) -> list[Any]:
        """The rows, each with its record's version before and, of a batch, its number of records."""
        rows = list(rows)
        history = self.model._default_manager
        earlier = history.filter(id=OuterRef("id"), history_id__lt=OuterRef("history_id"))
        previous = Subquery(earlier.order_by("-history_id").values("history_id")[:1])
        pairs = (
            history.filter(pk__in=[row.pk for row in rows])
            .annotate(previous=previous)
            .values_list("pk", "previous")
        )
        before = dict(pairs)
        versions = history.in_bulk([pk for pk in before.values() if pk])
        for row in rows:
            row.before = versions.get(before.get(row.pk))
            row.number = batch_size(row, self.records.counted_text) if collapsed else ""
        return rows

    def listed(self) -> QuerySet:
        """What somebody did, a batch as its first version; not what a migration wrote."""
        rows = self.model._default_manager.filter(listed=True).exclude(door="")
        return rows.prefetch_related("history_user")

    def newest(self, number: int) -> list[Any]:
        """The latest changes for the dashboard, each with its link and words; a batch is one."""
        shown = list(self.listed()[:number])
        for row in shown:
            row.number = batch_size(row, self.records.counted_text)
            row.link, row.event, row.who, row.way = (
                self.name(row),
                self.kind(row),
                who(row),
                way(row),
            )
        return shown

    def _link(self, text: str, **choice: Any) -> SafeString:
        url = reverse(
            f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist", query=choice
        )
        return format_html('<a href="{}">{}</a>', url, text)

    @admin.display(description=gettext_lazy("when"))
    def when(self, row: Any) -> str:
        return moment(row.history_date)

    @admin.display(description=gettext_lazy("record"))
    def name(self, row: Any) -> SafeString:
        if row.number:
            return self._link(row.number, batch=row.batch)
        url = self.records._history_url(row.id)
        return format_html('<a href="{}">{}</a>', url, Truncator(as_record(row)).chars(80))

    @admin.display(description=gettext_lazy("kind"))
    def kind(self, row: Any) -> str:
        # A batch of these may hold all kinds, and is too large to ask.
        mixed = {Door.IMPORT: _("Imported"), Door.UNDO: _("Several")}
        return mixed.get(row.door, event(row)) if row.number else event(row)

    @admin.display(description=gettext_lazy("what"))
    def changes(self, row: Any) -> SafeString | str:
        if row.number:
            return ""
        changes = self.records.changes_in(row, row.before)
        if row.history_type != Kind.CHANGED or row.before is None:
            # The first of the fields names the record.
            return format_html_join(" · ", "{}", ((each.new or each.old,) for each in changes[1:]))
        return format_html(
            '<ul class="desk-changes">{}</ul>',
            format_html_join(
                "",
                '<li><span class="text-body-secondary">{}:</span> {} → {}</li>',
                ((change.label, change.old, change.new) for change in changes),
            ),
        )

    @admin.display(description=gettext_lazy("who"))
    def person(self, row: Any) -> SafeString | str:
        if row.history_user_id is None:
            return "–"
        return self._link(who(row), person=row.history_user_id)

    @admin.display(description=gettext_lazy("through"))
    def through(self, row: Any) -> SafeString | str:
        return self._link(way(row), batch=row.batch) if row.batch else way(row)
