"""The admin of what belongs to no app of ours: task results and API tokens."""

import json
from collections import defaultdict
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminSplitDateTime
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django_celery_results import admin as results_admin  # noqa: F401
from django_celery_results.models import GroupResult, TaskResult
from knox import admin as knox_admin  # noqa: F401
from knox.models import AuthToken
from knox.settings import CONSTANTS, knox_settings

from members.mail.actions import PERMISSION, RETRY, SEND_AGAIN, ask_or_do
from members.mail.admin import link, state_badge
from members.mail.tasks import send_welcome_emails
from members.models import WelcomeEmail

from .desk import DeskAdmin, DeskChangeList, Preset, ReadOnlyAdmin, SincePreset, badge, moment

# --- Task results ---
# (the package's admin modules are imported so that theirs can be unregistered)

SEND = send_welcome_emails.name
TASKS = {
    SEND: gettext_lazy("Send welcome e-mails"),
    "celery.backend_cleanup": gettext_lazy("Purge old task results"),
}
STATES = {
    "SUCCESS": (gettext_lazy("done"), "success"),
    "FAILURE": (gettext_lazy("failed"), "danger"),
    "STARTED": (gettext_lazy("running"), "info"),
    "RETRY": (gettext_lazy("trying again"), "warning"),
    "REVOKED": (gettext_lazy("revoked"), "secondary"),
    "PENDING": (gettext_lazy("waiting"), "secondary"),
}
Result = Any  # a TaskResult: of its columns, and of the welcome e-mails added, mypy knows nothing
ENDED = ("SUCCESS", "FAILURE")
NO_LONGER = gettext_lazy("Tried by a later task since, or the member has been removed.")


class TaskStateFilter(Preset):
    title = gettext_lazy("state")
    parameter_name = "state"
    choices_of = {state: text for state, (text, _) in STATES.items()}

    def chosen(self, results: QuerySet[TaskResult], value: str) -> QuerySet[TaskResult]:
        return results.filter(status=value)


class TaskCreatedFilter(SincePreset):
    title = gettext_lazy("created")
    parameter_name = "created"
    field = "date_created"


class TaskResultList(DeskChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        tasks = [result.task_id for result in self.result_list]
        members: defaultdict[str | None, list[tuple[int, str]]] = defaultdict(list)
        rows = WelcomeEmail.objects.order_by().filter(task_id__in=tasks)
        for task, pk, username in rows.values_list("task_id", "member_id", "member__username"):
            members[task].append((pk, username))
        for result in self.result_list:
            result.members = members[result.task_id]


def welcomes_of(*task_ids: str) -> QuerySet[WelcomeEmail]:
    """The e-mails whose latest attempt was in one of these tasks."""
    welcomes = WelcomeEmail.objects.filter(task_id__in=task_ids)
    return welcomes.select_related("member").defer("journal").order_by("pk")


admin.site.unregister([TaskResult, GroupResult])
TaskResult._meta.verbose_name = gettext_lazy("task result")
TaskResult._meta.verbose_name_plural = gettext_lazy("task results")
setattr(TaskResult, "__str__", lambda result: f"{result._meta.verbose_name} {result.pk}")  # noqa: B010


@admin.register(TaskResult)
class TaskResultAdmin(ReadOnlyAdmin):
    """Instead of the package's page, which counts, searches and lists without bounds."""

    list_display = ["state", "task", "about", "outcome", "created", "duration"]
    list_filter = [TaskStateFilter, TaskCreatedFilter]
    search_fields = ["=task_id"]
    search_help_text = gettext_lazy("Task ID")
    where_from = gettext_lazy("A task leaves its result when it runs, as when a member registers.")
    actions = ["retry"]
    change_form_template = "admin/task_result.html"
    ordering = ["-date_created", "-pk"]
    fieldsets = [
        (None, {"fields": ["state", "task", "outcome", "welcomes"]}),
        (
            gettext_lazy("Run"),
            {"fields": ["created", "started", "finished", "duration", "ran_on"]},
        ),
        (gettext_lazy("Technical details"), {"fields": ["task_key", "arguments", "trace"]}),
    ]
    readonly_fields = [
        *("state", "task", "outcome", "welcomes"),
        *("created", "started", "finished", "duration", "ran_on"),
        *("task_key", "arguments", "trace"),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[TaskResult]:
        return super().get_queryset(request).defer("traceback", "meta", "task_kwargs")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type:
        return TaskResultList

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(PERMISSION)

    @admin.action(description=SEND_AGAIN.label, permissions=["retry"])
    def retry(self, request: HttpRequest, results: QuerySet[TaskResult]) -> HttpResponse:
        """Of those that failed; what has become of their mails since decides."""
        failed = results.filter(status="FAILURE").order_by().values_list("task_id", flat=True)
        return ask_or_do(self, request, RETRY, welcomes_of(*failed), request.get_full_path())

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.retry_view)
        name = "django_celery_results_taskresult_retry"
        return [path("<int:pk>/retry/", view, name=name), *super().get_urls()]

    def retry_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not (self.has_retry_permission(request) and self.has_view_permission(request)):
            raise PermissionDenied
        result = get_object_or_404(TaskResult, pk=pk, status="FAILURE")
        back = reverse("admin:django_celery_results_taskresult_change", args=[pk])
        return ask_or_do(self, request, RETRY, welcomes_of(result.task_id), back)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context: dict[str, Any] = {}
        result = self.get_object(request, object_id)
        if result is not None and result.status == "FAILURE" and self.has_retry_permission(request):
            why_not = {RETRY.refusal(welcome.state) for welcome in result.welcomes}
            if result.task_name == SEND and not why_not:
                why_not = {str(NO_LONGER)}
            if why_not:
                context = {
                    "retry": RETRY,
                    "why_not": "" if "" in why_not else " ".join(sorted(why_not)),
                }
        return super().change_view(
            request, object_id, form_url, {**context, **(extra_context or {})}
        )

    def get_object(self, *args: Any, **kwargs: Any) -> Result | None:
        result = super().get_object(*args, **kwargs)
        if result is not None:
            result.welcomes = welcomes_of(result.task_id)
        return result

    @admin.display(description=gettext_lazy("state"), ordering="status")
    def state(self, result: Result) -> SafeString:
        text, colour = STATES.get(result.status, (result.status, "secondary"))
        return badge(str(text), colour)

    @admin.display(description=gettext_lazy("task"))
    def task(self, result: Result) -> str:
        return str(TASKS.get(result.task_name, result.task_name or _("unknown")))

    @admin.display(description=gettext_lazy("member"))
    def about(self, result: Result) -> str | SafeString:
        if not result.members:
            return "–"
        if len(result.members) == 1:
            return link("members_member", *result.members[0])
        address = reverse("admin:members_welcomeemail_changelist")
        number = len(result.members)
        text = ngettext("%d e-mail", "%d e-mails", number) % number
        return format_html('<a href="{}?q={}">{}</a>', address, result.task_id, text)

    @admin.display(description=gettext_lazy("welcome e-mails"))
    def welcomes(self, result: Result) -> str | SafeString:
        lines = (
            (
                state_badge(welcome),
                link("members_member", welcome.member.pk, welcome.member.username),
                link("members_welcomeemail", welcome.pk, str(welcome)),
            )
            # What went wrong is what somebody looks for.
            for welcome in sorted(result.welcomes, key=lambda w: w.state == WelcomeEmail.State.SENT)
        )
        nothing = str(NO_LONGER) if result.task_name == SEND else "–"
        return format_html_join("", "<div>{} {} · {}</div>", lines) or nothing

    @admin.display(description=gettext_lazy("outcome"))
    def outcome(self, result: Result) -> str:
        """The sentence that the task returned, or that its error says."""
        try:
            outcome = json.loads(result.result or "null")
        except ValueError:
            return result.result or "–"
        if isinstance(outcome, dict) and "exc_message" in outcome:
            message = outcome["exc_message"]
            words = message if isinstance(message, str) else " ".join(map(str, message))
            return words or outcome.get("exc_type", "–")
        return outcome if isinstance(outcome, str) else "–"

    # The package's own columns carry its help texts, made for programmers.

    @admin.display(description=gettext_lazy("created"), ordering="date_created")
    def created(self, result: Result) -> str:
        return moment(result.date_created)

    @admin.display(description=gettext_lazy("started"))
    def started(self, result: Result) -> str:
        return moment(result.date_started)

    @admin.display(description=gettext_lazy("worker"))
    def ran_on(self, result: Result) -> str:
        return result.worker or "–"

    @admin.display(description=gettext_lazy("task ID"))
    def task_key(self, result: Result) -> str:
        return result.task_id

    @admin.display(description=gettext_lazy("finished"))
    def finished(self, result: Result) -> str:
        # django-celery-results sets date_done when a task starts, too.
        return moment(result.date_done if result.status in ENDED else None)

    @admin.display(description=gettext_lazy("duration"))
    def duration(self, result: Result) -> str:
        if not (result.date_started and result.status in ENDED):
            return "–"
        seconds = (result.date_done - result.date_started).total_seconds()
        return _("%(seconds).2f s") % {"seconds": max(seconds, 0)}

    @admin.display(description=gettext_lazy("arguments"))
    def arguments(self, result: Result) -> str:
        return (result.task_args or "–").strip('"')

    @admin.display(description=gettext_lazy("trace"))
    def trace(self, result: Result) -> str | SafeString:
        if not result.traceback:
            return "–"
        return format_html(
            "<details><summary>{}</summary><pre>{}</pre></details>",
            _("Show the trace"),
            result.traceback,
        )


# --- API tokens ---

admin.site.unregister(AuthToken)
AuthToken._meta.verbose_name = gettext_lazy("API token")
AuthToken._meta.verbose_name_plural = gettext_lazy("API tokens")


class TokenForm(forms.ModelForm):
    expiry = forms.SplitDateTimeField(
        label=gettext_lazy("expires"),
        widget=AdminSplitDateTime,
        initial=lambda: timezone.now() + knox_settings.TOKEN_TTL,
    )

    class Meta:
        model = AuthToken
        fields = ["user", "expiry"]

    def clean_expiry(self) -> Any:
        if (expiry := self.cleaned_data["expiry"]) < timezone.now() + timedelta(minutes=1):
            raise forms.ValidationError(_("Choose a time in the future."))
        return expiry


@admin.register(AuthToken)
class TokenAdmin(DeskAdmin):
    list_display = ["token_key", "user", "created", "expiry"]
    list_select_related = ["user"]
    search_fields = ["=token_key", "=user__username"]
    search_help_text = gettext_lazy("Beginning of the token, or username")
    ordering = ["-created"]
    readonly_fields = ["token_key", "created"]

    def get_form(
        self,
        request: HttpRequest,
        obj: AuthToken | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> type[forms.ModelForm]:
        form = super().get_form(
            request, obj, change, **({} if obj else {"form": TokenForm}) | kwargs
        )
        if obj is None:
            widget = form.base_fields["user"].widget  # type: ignore[attr-defined]
            widget.can_add_related = widget.can_change_related = widget.can_view_related = False
        if obj is None and not request.user.is_superuser:
            # A token is as strong as its account: nobody may make one of another's.
            accounts = get_user_model()._default_manager.filter(
                username=request.user.get_username()
            )
            form.base_fields["user"].queryset = accounts  # type: ignore[attr-defined]
        return form

    def get_fields(self, request: HttpRequest, obj: AuthToken | None = None) -> list[Any]:
        return ["token_key", "user", "created", "expiry"] if obj else ["user", "expiry"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuthToken]:
        tokens = super().get_queryset(request)
        return tokens if request.user.is_superuser else tokens.filter(user=request.user)

    def has_change_permission(self, request: HttpRequest, obj: AuthToken | None = None) -> bool:
        return False

    def save_model(
        self, request: HttpRequest, obj: AuthToken, form: forms.ModelForm, change: bool
    ) -> None:
        lifetime = obj.expiry - timezone.now()
        token, secret = AuthToken.objects.create(obj.user, expiry=lifetime)
        obj.digest, obj.token_key = token.digest, secret[: CONSTANTS.TOKEN_KEY_LENGTH]
        obj.created = token.created
        text = format_html("{} <code>{}</code>", _("Copy the token now, it is shown once:"), secret)
        self.message_user(request, text, messages.WARNING)

    def response_add(
        self, request: HttpRequest, obj: AuthToken, post_url_continue: str | None = None
    ) -> HttpResponse:
        # Without Django's own message, in which the token's hash looks like the token.
        return self.response_post_save_add(request, obj)
