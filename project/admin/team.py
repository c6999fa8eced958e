"""What the team did, newest first, on one page: to books, to members, and to accounts and mails."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from django.contrib.admin import AdminSite
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from project.base.accounts import person_name
from project.base.database import is_id
from project.base.history import Door, Kind

from .activity import ActivityAdmin, DoorFilter, KindFilter, people
from .display import moment
from .history import who
from .site import MENU

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

LINES_PER_PAGE = 50
KINDS = {"added": Kind.ADDED, "changed": Kind.CHANGED, "deleted": Kind.DELETED}
FLAGS = {"added": ADDITION, "changed": CHANGE, "deleted": DELETION}
LOGGED_GROUPS = ("operations", "administration")  # of the menu: their records have no history


@dataclass(frozen=True)
class Chosen:
    """What the filters say; "" is all."""

    person: str = ""
    door: str = ""
    kind: str = ""

    @classmethod
    def of(cls, request: HttpRequest) -> "Chosen":
        person, door, kind = (request.GET.get(name, "") for name in ("person", "door", "kind"))
        return cls(
            person if is_id(person) else "",
            door if door in Door.values else "",
            kind if kind in KINDS else "",
        )


@dataclass
class Line:
    at: datetime
    pk: int  # among the rows of its source
    source: int
    record: Any
    kind: Any
    changes: Any
    person: int | None
    who: str
    way: Any

    @property
    def when(self) -> str:
        return moment(self.at)


class Source(Protocol):
    def lines(self, chosen: Chosen, before: int, limit: int, number: int) -> list[Line]:
        """Newest first; `before` is the last one that was shown, or 0."""


class HistorySource:
    """The history of books, or of members; an import or a bulk change is one line."""

    def __init__(self, page: ActivityAdmin) -> None:
        self.page = page

    def lines(self, chosen: Chosen, before: int, limit: int, number: int) -> list[Line]:
        page, rows = self.page, self.page.listed()
        if before:
            rows = rows.filter(history_id__lt=before)
        if chosen.person:
            rows = rows.filter(history_user=int(chosen.person))
        if chosen.door:
            rows = rows.filter(door=chosen.door)
        if chosen.kind:
            rows = rows.filter(history_type=KINDS[chosen.kind])
        return [
            Line(
                row.history_date,
                row.pk,
                number,
                page.name(row),
                page.kind(row),
                page.changes(row),
                row.history_user_id,
                who(row),
                page.through(row),
            )
            for row in page.described(rows[:limit])
        ]


class LogSource:
    """What the admin's log says of records without a history: accounts, groups, tokens, mails."""

    def __init__(self, pages: Sequence["ModelAdmin[Any]"]) -> None:
        self.pages = {page.model: page for page in pages}

    def lines(self, chosen: Chosen, before: int, limit: int, number: int) -> list[Line]:
        if chosen.door not in ("", Door.ADMIN):
            return []
        types = ContentType.objects.get_for_models(*self.pages).values()
        entries = LogEntry.objects.filter(content_type__in=types).order_by("-pk")
        if before:
            entries = entries.filter(pk__lt=before)
        if chosen.person:
            entries = entries.filter(user=int(chosen.person))
        if chosen.kind:
            entries = entries.filter(action_flag=FLAGS[chosen.kind])
        return [
            self.line(entry, number)
            for entry in entries.select_related("user", "content_type")[:limit]
        ]

    def line(self, entry: LogEntry, number: int) -> Line:
        assert entry.content_type
        # Of its page, which may call it otherwise.
        options = self.pages[entry.content_type.model_class()].opts  # type: ignore[index]
        is_named = options.object_name in MENU["administration"][1]  # else by its number alone
        name = Truncator(entry.object_repr).chars(80) if is_named else f"#{entry.object_id}"
        url = None if entry.is_deletion() else entry.get_admin_url()
        kinds = {ADDITION: _("Added"), CHANGE: _("Changed"), DELETION: _("Deleted")}
        about = str(options.verbose_name)
        return Line(
            entry.action_time,
            entry.pk,
            number,
            format_html('<a href="{}">{}</a>', url, name) if url else name,
            kinds[entry.action_flag],
            f"{about}: {_(entry.get_change_message())}" if entry.is_change() else about,
            entry.user_id,
            person_name(entry.user),
            Door.ADMIN.label,
        )


def sources(site: AdminSite, request: HttpRequest) -> list[Source]:
    """Of what the account may see."""
    logged = {name for group in LOGGED_GROUPS for name in MENU[group][1]}
    pages = [page for page in site._registry.values() if page.has_view_permission(request)]
    found: list[Source] = [HistorySource(page) for page in pages if isinstance(page, ActivityAdmin)]
    if others := [page for page in pages if page.opts.object_name in logged]:
        found.append(LogSource(others))
    return found


def activity(site: AdminSite, request: HttpRequest) -> HttpResponse:
    found = sources(site, request)
    if not found:
        raise PermissionDenied
    chosen = Chosen.of(request)
    shown, older = page_of(found, chosen, positions(request.GET.get("older", ""), len(found)))
    context = {
        **site.each_context(request),
        "title": _("Activity"),
        "lines": shown,
        "filters": list(filters(chosen)),
        "is_filtered": chosen != Chosen(),
        "is_first_page": "older" not in request.GET,
        "older": older,
        "columns": [_("when"), _("record"), _("kind"), _("what"), _("who"), _("through")],
    }
    return TemplateResponse(request, "admin/activity.html", context)


def positions(text: str, number: int) -> list[int]:
    """Of each source the last line that was shown, or 0; from the beginning if the text is none."""
    parts = text.split(".")
    if len(parts) != number or not all(map(is_id, parts)):
        return [0] * number
    return [int(part) for part in parts]


def page_of(found: Sequence[Source], chosen: Chosen, before: list[int]) -> tuple[list[Line], str]:
    """The next lines of all sources, and where those behind them begin; "" at the end."""
    lists = [
        source.lines(chosen, before[number], LINES_PER_PAGE + 1, number)
        for number, source in enumerate(found)
    ]
    merged = list(heapq.merge(*lists, key=lambda line: line.at, reverse=True))
    shown = merged[:LINES_PER_PAGE]
    ends = list(before)
    for line in shown:
        ends[line.source] = line.pk
    return shown, ".".join(map(str, ends)) if merged[LINES_PER_PAGE:] else ""


def filters(chosen: Chosen) -> Iterator[dict[str, Any]]:
    """As admin/filter.html shows them."""
    kinds = {name: KindFilter.choices_of[name] for name in KINDS}
    for name, title, choices in (
        ("kind", KindFilter.title, kinds),
        ("person", _("person"), people(chosen.person)),
        ("door", DoorFilter.title, DoorFilter.choices_of),
    ):
        yield {
            "parameter_name": name,
            "title": title,
            "value": getattr(chosen, name) or None,
            "lookup_choices": list(choices.items()),
        }
