from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from project.admin.activity import ActivityAdmin
from project.admin.display import moment
from project.admin.filters import ChoiceFilter, SinceFilter
from project.admin.history import RecordedAdmin
from project.admin.phrases import Phrases
from project.admin.searching import MAX_HITS, Hit

from .mail import task_results  # noqa: F401  # registers its page
from .mail.actions import PERMISSION, SEND_AGAIN, ask_or_do
from .mail.admin import link, state_badge
from .models import Member, WelcomeEmail
from .registration import register_member


class RegisteredFilter(SinceFilter):
    title = gettext_lazy("registered")
    parameter_name = "registered"
    field = "registered_at"


class WelcomeStateFilter(ChoiceFilter):
    title = gettext_lazy("welcome e-mail")
    parameter_name = "welcome"
    choices_of = dict(WelcomeEmail.State.choices)

    def chosen(self, members: QuerySet[Member], value: str) -> QuerySet[Member]:
        return members.filter(welcome_email__state=value)


class Resend:
    """The permission to send e-mails again, hold, release and cancel them."""

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(PERMISSION)


@admin.register(Member)
class MemberAdmin(Resend, RecordedAdmin):
    phrases = Phrases(
        add=gettext_lazy("Register a member"),
        added=gettext_lazy("The member “%(name)s” was registered."),
        changed=gettext_lazy("The member “%(name)s” was saved."),
        deleted=gettext_lazy("The member “%(name)s” was deleted."),
        delete=gettext_lazy("Delete this member?"),
        delete_selected=gettext_lazy("Delete selected members"),
        delete_many=ngettext_lazy(
            "Delete %(number)s member?", "Delete %(number)s members?", "count"
        ),
        deleted_many=ngettext_lazy(
            "%(number)s member deleted.", "%(number)s members deleted.", "count"
        ),
        consequence=gettext_lazy(
            "The welcome e-mail, and the name and address in the history, are deleted too. "
            "This cannot be undone."
        ),
    )
    list_display = ["username", "email", "registered_at", "welcome_state"]
    list_filter = [WelcomeStateFilter, RegisteredFilter]
    search_fields = ["^username", "^email"]
    search_help_text = gettext_lazy("Start of a username or e-mail address")
    actions = ["send_again"]
    counted_text = ngettext_lazy("%(number)s member", "%(number)s members", "count")

    def find(self, request: HttpRequest, text: str) -> list[Hit]:
        """By the beginning of username or e-mail, each by its index."""
        found: dict[int, Member] = {}
        for begins in ("username__istartswith", "email__istartswith"):
            rows = Member.objects.filter(**{begins: text}).order_by(begins.partition("__")[0])
            found |= {member.pk: member for member in rows[:MAX_HITS]}
        return [
            Hit(m.username, m.email, reverse("admin:members_member_change", args=[m.pk]))
            for m in list(found.values())[:MAX_HITS]
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Member]:
        return super().get_queryset(request).select_related("welcome_email")

    def get_fieldsets(self, request: HttpRequest, obj: Member | None = None) -> Any:
        fields: list[Any] = [(None, {"fields": ["username", "email"]})]
        if obj is None:
            fields[0][1]["description"] = _(
                "The registration date is set automatically, and a welcome e-mail is sent right away."
            )
            return fields
        fields[0][1]["fields"].append("registered_at")
        welcome = ["welcome_state", "welcome_sent", "welcome_error", "welcome_links"]
        return [*fields, (_("Welcome e-mail"), {"fields": welcome})]

    def get_readonly_fields(self, request: HttpRequest, obj: Member | None = None) -> list[str]:
        return [
            "registered_at",
            "welcome_state",
            "welcome_sent",
            "welcome_error",
            "welcome_links",
        ]

    def details(self, row: Member) -> str:
        return f"{row.email} · {moment(row.registered_at)}"

    @admin.display(description=gettext_lazy("welcome e-mail"), ordering="welcome_email__state")
    def welcome_state(self, member: Member) -> SafeString:
        return state_badge(getattr(member, "welcome_email", None))

    @admin.display(description=gettext_lazy("sent"))
    def welcome_sent(self, member: Member) -> str:
        return moment(member.welcome_email.sent_at)

    @admin.display(description=gettext_lazy("last error"))
    def welcome_error(self, member: Member) -> str:
        return member.welcome_email.reason or "–"

    @admin.display(description=gettext_lazy("details"))
    def welcome_links(self, member: Member) -> SafeString:
        return link("members_welcomeemail", member.welcome_email.pk, _("Delivery and attempts"))

    @admin.action(description=gettext_lazy("Send the welcome e-mail again"), permissions=["resend"])
    def send_again(self, request: HttpRequest, members: QuerySet[Member]) -> HttpResponse:
        ids = list(members.order_by().values_list("pk", flat=True))
        welcomes = WelcomeEmail.objects.filter(member__in=ids)
        return ask_or_do(self, request, SEND_AGAIN, welcomes, request.get_full_path())

    def save_model(self, request: HttpRequest, obj: Member, form: ModelForm, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
        else:
            register_member(obj)


@admin.register(Member.history.model)
class MemberActivityAdmin(ActivityAdmin):
    keeps_deleted = False  # deleting a member erases its history
    search_fields = ["username", "email"]
    search_help_text = gettext_lazy("Username or e-mail (newest 10,000 changes)")
