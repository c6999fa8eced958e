"""The numbers of the admin's first page: each bounded, indexed, and a link to its list."""

from dataclasses import dataclass
from datetime import timedelta

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from library.models import Book
from members.models import Member, WelcomeEmail


@dataclass
class Card:
    title: str
    number: str
    url: str
    icon: str
    colour: str = "secondary"
    note: str = ""
    add_url: str = ""
    add_text: str = ""


def cards(request: HttpRequest) -> list[Card]:
    may = request.user.has_perm
    found = []
    if may("library.view_book"):
        found.append(_books(may("library.add_book")))
    if may("members.view_member"):
        found.append(_members(may("members.add_member")))
    if may("members.view_welcomeemail"):
        found += _welcome_emails()
    return found


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


def _welcome_emails() -> list[Card]:
    url = reverse("admin:members_welcomeemail_changelist")
    state = WelcomeEmail.State
    waiting = WelcomeEmail.objects.filter(state=state.QUEUED)
    failed = WelcomeEmail.objects.filter(state=state.FAILED)
    oldest = waiting.order_by("next_attempt_at").values_list("queued_at", flat=True).first()
    late = oldest is not None and timezone.now() - oldest > timedelta(minutes=5)
    since = timezone.localtime(oldest).strftime("%Y-%m-%d %H:%M") if oldest else ""
    return [
        Card(
            title=_("Welcome e-mails waiting"),
            number=bounded(waiting),
            note=_("the oldest since %(time)s") % {"time": since} if oldest else _("nothing waits"),
            url=f"{url}?state=queued",
            icon="fa-paper-plane",
            colour="warning" if late else "secondary",
        ),
        Card(
            title=_("Welcome e-mails failed"),
            number=bounded(failed),
            note=_("open the list, read why, send again") if failed.exists() else _("none failed"),
            url=f"{url}?state=failed",
            icon="fa-exclamation-triangle",
            colour="danger" if failed.exists() else "secondary",
        ),
    ]
