"""The admin's first page: numbers that link to their lists, each counted up to a bound."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from library.dashboard import catalogue_charts, last_imports, may_import, waiting
from library.models import Book
from members.models import Member
from project.admin.activity import ActivityAdmin
from project.admin.charts import BarChart, month_chart, remembered_chart
from project.admin.display import bounded
from project.admin.site import LibraryAdminSite

RECENT_CHANGES = 8


class DashboardSite(LibraryAdminSite):
    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        from members.mail.dashboard import overview
        from project.jobs.admin import state_badge  # these two register pages with this site

        context = {
            **self.each_context(request),
            "title": self.index_title,
            "cards": cards(request),
            "charts": charts(request),
            "waiting": waiting(request),
            "imports": [(job, state_badge(job)) for job in last_imports(request)],
            "recent": self.recent(request),
            "is_empty": request.user.has_perm("library.add_book") and not Book.objects.exists(),
            "may_import": may_import(request),
            "sending": overview(request),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/index.html", context)

    def recent(self, request: HttpRequest) -> list[Any] | None:
        """What the team changed last; None for an account that may see no records."""
        pages = [
            page
            for page in self._registry.values()
            if isinstance(page, ActivityAdmin) and page.has_view_permission(request)
        ]
        rows = [row for page in pages for row in page.newest(RECENT_CHANGES)]
        rows.sort(key=lambda row: row.history_date, reverse=True)
        return rows[:RECENT_CHANGES] if pages else None


@dataclass
class Card:
    title: str
    number: str
    url: str
    icon: str
    note: str
    add_url: str
    add_text: str


def cards(request: HttpRequest) -> list[Card]:
    may = request.user.has_perm
    found = []
    if may("library.view_book"):
        found.append(_books(may("library.add_book")))
    if may("members.view_member"):
        found.append(_members(may("members.add_member")))
    return found


def charts(request: HttpRequest) -> list[str]:
    """Of what the account may see, as far as there is something to show."""
    found = []
    if request.user.has_perm("library.view_book"):
        found += catalogue_charts()
    if request.user.has_perm("members.view_member"):
        found.append(remembered_chart("members:months", Member.objects.all(), _growth))
    return [chart for chart in found if chart]


def _growth() -> BarChart:
    return month_chart(
        _("Members registered by month"),
        _("members"),
        Member.objects.all(),
        "registered_at",
        reverse("admin:members_member_changelist"),
    )


def _books(may_add: bool) -> Card:
    url = reverse("admin:library_book_changelist")
    week = Book.objects.filter(created_at__gte=timezone.now() - timedelta(days=7))
    return Card(
        title=_("Books"),
        number=bounded(Book.objects.all()),
        note=_("%(number)s added in the last 7 days") % {"number": bounded(week)},
        url=url,
        icon="fa-book",
        add_url=reverse("admin:library_book_add") if may_add else "",
        add_text=_("Add a book"),
    )


def _members(may_add: bool) -> Card:
    week = Member.objects.filter(registered_at__gte=timezone.now() - timedelta(days=7))
    return Card(
        title=_("Members"),
        number=bounded(Member.objects.all()),
        note=_("%(number)s registered in the last 7 days") % {"number": bounded(week)},
        url=reverse("admin:members_member_changelist"),
        icon="fa-id-card",
        add_url=reverse("admin:members_member_add") if may_add else "",
        add_text=_("Register a member"),
    )
