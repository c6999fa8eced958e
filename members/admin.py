from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from project.desk import DeskAdmin, Preset, ReadOnlyAdmin, SincePreset, badge, moment

from .models import Member, WelcomeEmail
from .registration import register_member
from .tasks import hint

COLOURS = {
    WelcomeEmail.State.QUEUED: "info",
    WelcomeEmail.State.SENDING: "info",
    WelcomeEmail.State.SENT: "success",
    WelcomeEmail.State.FAILED: "danger",
    WelcomeEmail.State.HELD: "warning",
    WelcomeEmail.State.CANCELLED: "secondary",
}


def state_badge(welcome: WelcomeEmail | None) -> SafeString:
    if welcome is None:
        return badge(str(_("none")), "secondary")
    if welcome.state == WelcomeEmail.State.QUEUED and welcome.attempts:
        return badge(str(_("trying again")), "warning")
    return badge(welcome.get_state_display(), COLOURS[WelcomeEmail.State(welcome.state)])


def link(name: str, pk: Any, text: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{name}_change", args=[pk]), text)


class RegisteredFilter(SincePreset):
    title = _("registered")
    parameter_name = "registered"
    field = "registered_at"


class WelcomeStateFilter(Preset):
    title = _("welcome e-mail")
    parameter_name = "welcome"
    choices_of = dict(WelcomeEmail.State.choices)

    def queryset(self, request: HttpRequest, members: QuerySet[Member]) -> QuerySet[Member]:
        if self.value() not in self.choices_of:
            return members
        return members.filter(welcome_email__state=self.value())


class StateFilter(Preset):
    title = _("state")
    parameter_name = "state"
    choices_of = dict(WelcomeEmail.State.choices)

    def queryset(
        self, request: HttpRequest, welcomes: QuerySet[WelcomeEmail]
    ) -> QuerySet[WelcomeEmail]:
        if self.value() not in self.choices_of:
            return welcomes
        return welcomes.filter(state=self.value())


class QueuedFilter(SincePreset):
    title = _("queued")
    parameter_name = "queued"
    field = "queued_at"


class SendAgain:
    """The action that queues welcome e-mails again, and its permission."""

    # So many are handed to the workers at once; the sweeper takes the rest within half a minute.
    AT_ONCE = 100

    def has_resend_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("members.change_welcomeemail")

    def send(self, request: HttpRequest, welcomes: QuerySet[WelcomeEmail]) -> None:
        ids = welcomes.send_again()
        hint(*ids[: self.AT_ONCE])
        text = ngettext("%d e-mail queued again.", "%d e-mails queued again.", len(ids))
        self.message_user(  # type: ignore[attr-defined]
            request, text % len(ids), messages.SUCCESS if ids else messages.WARNING
        )


@admin.register(Member)
class MemberAdmin(SendAgain, DeskAdmin):
    list_display = ["username", "email", "registered_at", "welcome_state"]
    list_select_related = ["welcome_email"]
    list_filter = [WelcomeStateFilter, RegisteredFilter]
    search_fields = ["^username", "^email"]
    search_help_text = _("Beginning of username or e-mail")
    actions = ["send_again"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Member]:
        return super().get_queryset(request).select_related("welcome_email")

    def get_fieldsets(self, request: HttpRequest, obj: Member | None = None) -> Any:
        fields: list[Any] = [(None, {"fields": ["username", "email"]})]
        if obj is None:
            fields[0][1]["description"] = _(
                "The registration date is set by itself, and a welcome e-mail goes out at once."
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

    @admin.display(description=_("welcome e-mail"), ordering="welcome_email__state")
    def welcome_state(self, member: Member) -> SafeString:
        return state_badge(getattr(member, "welcome_email", None))

    @admin.display(description=_("sent"))
    def welcome_sent(self, member: Member) -> str:
        return moment(member.welcome_email.sent_at)

    @admin.display(description=_("last error"))
    def welcome_error(self, member: Member) -> str:
        return member.welcome_email.last_error or "–"

    @admin.display(description=_("details"))
    def welcome_links(self, member: Member) -> SafeString:
        return link(
            "members_welcomeemail", member.welcome_email.pk, str(_("Delivery and attempts"))
        )

    @admin.action(description=_("Send the welcome e-mail again"), permissions=["resend"])
    def send_again(self, request: HttpRequest, members: QuerySet[Member]) -> None:
        self.send(request, WelcomeEmail.objects.filter(member__in=members))

    def save_model(self, request: HttpRequest, obj: Member, form: ModelForm, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
        else:
            register_member(obj)


@admin.register(WelcomeEmail)
class WelcomeEmailAdmin(SendAgain, ReadOnlyAdmin):
    list_display = ["state_badge", "member_link", "attempts", "queued_at", "when", "last_error"]
    list_display_links = ["state_badge"]
    list_select_related = ["member"]
    list_filter = [StateFilter, QueuedFilter]
    search_fields = ["^member__username", "^member__email", "=task_id"]
    search_help_text = _("Username, e-mail or task")
    actions = ["send_again"]
    fields = [
        "state_badge",
        "member_link",
        "attempts",
        "queued_at",
        "claimed_at",
        "next_attempt_at",
        "sent_at",
        "last_error",
        "task_link",
        "message_id",
    ]
    readonly_fields = ["state_badge", "member_link", "task_link"]

    @admin.display(description=_("state"), ordering="state")
    def state_badge(self, welcome: WelcomeEmail) -> SafeString:
        return state_badge(welcome)

    @admin.display(description=_("member"), ordering="member__username")
    def member_link(self, welcome: WelcomeEmail) -> SafeString:
        return link("members_member", welcome.member_id, welcome.member.username)

    @admin.display(description=_("sent, or tried next"))
    def when(self, welcome: WelcomeEmail) -> datetime | None:
        if welcome.state == WelcomeEmail.State.QUEUED:
            return welcome.next_attempt_at
        return welcome.sent_at

    @admin.display(description=_("last task"))
    def task_link(self, welcome: WelcomeEmail) -> str | SafeString:
        if not welcome.task_id:
            return "–"
        address = reverse("admin:django_celery_results_taskresult_changelist")
        return format_html('<a href="{}?q={}">{}</a>', address, welcome.task_id, welcome.task_id)

    @admin.action(description=_("Send again"), permissions=["resend"])
    def send_again(self, request: HttpRequest, welcomes: QuerySet[WelcomeEmail]) -> None:
        self.send(request, welcomes)
