from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ORDER_VAR
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from project.admin.activity import ActivityAdmin
from project.admin.conflicts import VersionedForm
from project.admin.display import link, moment
from project.admin.filters import ChoiceFilter, SinceFilter
from project.admin.history import RecordedAdmin
from project.admin.lists import CURSOR, SIZE, CappedPaginator
from project.admin.phrases import Phrases
from project.admin.searching import MAX_HITS, Hit

from .files import admin as _files_admin  # noqa: F401  # the pages of imports
from .mail import task_results as _task_results  # noqa: F401  # registers its page
from .mail.actions import SEND_AGAIN, Resend, ask_or_do
from .mail.admin import sending, state_badge
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
    field = "welcome_email__state"


class MemberForm(VersionedForm):
    links_to_others = False  # whether the account may see who has the name or the address

    def clean_username(self) -> str:
        return self._free("username")

    def clean_email(self) -> str:
        return self._free("email")

    def _free(self, name: str) -> str:
        value: str = self.cleaned_data[name]
        others = Member.objects.filter(**{name: value}).exclude(pk=self.instance.pk)
        if self.links_to_others and (other := others.first()):
            taken = Member._meta.get_field(name).error_messages["unique"]  # type: ignore[union-attr]
            name_with_link = link("members_member", other.pk, other.username)
            raise ValidationError(format_html("{} {}", taken, name_with_link), code="unique")
        return value


@admin.register(Member)
class MemberAdmin(Resend, RecordedAdmin):
    form = MemberForm
    change_form_template = "admin/members/member.html"
    phrases = Phrases(
        add=gettext_lazy("Register a member"),
        added=gettext_lazy("The member “%(name)s” was registered."),
        changed=gettext_lazy("The member “%(name)s” was saved."),
        deleted=gettext_lazy("The member “%(name)s” was erased."),
        delete_button=gettext_lazy("Erase"),
        delete=gettext_lazy("Erase this member?"),
        delete_selected=gettext_lazy("Erase selected members"),
        delete_many=ngettext_lazy("Erase %(number)s member?", "Erase %(number)s members?", "count"),
        deleted_many=ngettext_lazy(
            "%(number)s member erased.", "%(number)s members erased.", "count"
        ),
        consequence=gettext_lazy(
            "Erased for good: username, e-mail address, welcome e-mail with its timeline, and "
            "history. This cannot be undone."
        ),
        remains=gettext_lazy(
            "What stays names nobody: the fact that a member with this number was erased,"
            " when and by whom, and the counts in task results."
        ),
    )
    list_display = ["username", "email", "registered_at", "welcome_state"]
    fields_of_list = (
        *("username", "email", "registered_at"),
        *("welcome_email__state", "welcome_email__attempts"),
    )
    list_filter = [WelcomeStateFilter, RegisteredFilter]
    search_fields = ["^username", "^email"]
    search_help_text = gettext_lazy("Start of a username or e-mail address")
    actions = ["send_again"]
    columns_named_on_phone = frozenset({"registered_at"})
    counted_text = ngettext_lazy("%(number)s member", "%(number)s members", "count")

    def find(self, request: HttpRequest, text: str) -> list[Hit]:
        """By the beginning of username or e-mail, each by its index."""
        return [
            Hit(m.username, m.email, reverse("admin:members_member_change", args=[m.pk]))
            for m in Member.objects.beginning_with(text, MAX_HITS)[:MAX_HITS]
        ]

    def get_paginator(
        self, request: HttpRequest, queryset: QuerySet, per_page: int, *args: Any
    ) -> CappedPaginator:
        """Counts those in one state as e-mails, by an index alone: each has one member."""
        chosen = {name: value for name, value in request.GET.items() if value}
        state = chosen.pop(WelcomeStateFilter.parameter_name, "")
        if state in WelcomeEmail.State and chosen.keys() <= {ORDER_VAR, CURSOR, SIZE}:
            queryset = WelcomeEmail.objects.filter(state=state)
        return super().get_paginator(request, queryset, per_page, *args)

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
        return fields

    def get_readonly_fields(self, request: HttpRequest, obj: Member | None = None) -> list[str]:
        return ["registered_at"]

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, *args, **kwargs)
        form.links_to_others = self.has_view_or_change_permission(request)
        return form

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if welcome := getattr(kwargs.get("obj"), "welcome_email", None):
            context |= sending(welcome)
        return super().render_change_form(request, context, *args, **kwargs)

    def details(self, row: Member) -> str:
        return f"{row.email} · #{row.pk} · {moment(row.registered_at)}"

    @admin.display(description=gettext_lazy("welcome e-mail"))
    def welcome_state(self, member: Member) -> SafeString:
        return state_badge(getattr(member, "welcome_email", None))

    @admin.action(description=gettext_lazy("Send the welcome e-mail again"), permissions=["resend"])
    def send_again(self, request: HttpRequest, members: QuerySet[Member]) -> HttpResponse:
        ids = list(members.order_by().values_list("pk", flat=True))
        welcomes = WelcomeEmail.objects.filter(member__in=ids)
        return ask_or_do(self, request, SEND_AGAIN, welcomes)

    def _may_restore(self, request: HttpRequest, record: Member | None) -> bool:
        return record is not None and super()._may_restore(request, record)

    def save_model(self, request: HttpRequest, obj: Member, form: ModelForm, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
        else:
            register_member(obj)


@admin.register(Member.history.model)
class MemberActivityAdmin(ActivityAdmin):
    keeps_deleted = False  # of an erased member nothing can be restored
    search_fields = ["username", "email"]
    search_help_text = gettext_lazy("Username or e-mail (newest 10,000 changes)")
