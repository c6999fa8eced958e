"""Task results with the welcome e-mails that they tried to send."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django_celery_results.models import TaskResult

from project.admin.base import BaseChangeList
from project.admin.display import badge, link
from project.admin.task_results import Result, TaskResultAdmin

from . import tasks
from .actions import RETRY, SEND_AGAIN, Resend, ask_or_do
from .admin import state_badge
from .models import WelcomeEmail
from .reasons import in_readers_words

SEND = tasks.send_welcome_emails.name
NO_LONGER = gettext_lazy("A later task has since retried it, or the member was deleted.")


class WelcomeTaskResultList(BaseChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        mails: dict[Any, list[WelcomeEmail]] = {row.task_id: [] for row in self.result_list}
        for welcome in welcomes_of(*mails):
            mails[welcome.task_id].append(welcome)
        for result in self.result_list:
            result.welcomes = mails[result.task_id]


def welcomes_of(*task_ids: str) -> QuerySet[WelcomeEmail]:
    """The e-mails whose latest attempt was in one of these tasks."""
    welcomes = WelcomeEmail.objects.filter(task_id__in=task_ids)
    return welcomes.select_related("member").defer("journal").order_by("pk")


@admin.register(TaskResult)
class WelcomeTaskResultAdmin(Resend, TaskResultAdmin):
    task_names = TaskResultAdmin.task_names | {SEND: gettext_lazy("Send welcome e-mails")}
    list_display = ["state", "task", "about", "outcome", "created", "duration"]
    where_from = gettext_lazy(
        "Results appear here after tasks run, for example when a member registers."
    )
    actions = ["retry"]
    change_form_template = "admin/members/task_result.html"
    readonly_fields = [*TaskResultAdmin.readonly_fields, "welcomes"]

    def get_fieldsets(self, request: HttpRequest, obj: Result = None) -> Any:
        first, *others = super().get_fieldsets(request, obj)
        if obj is None or obj.task_name != SEND:
            return [first, *others]
        return [(None, {"fields": ["state", "task", "outcome", "welcomes"]}), *others]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type:
        return WelcomeTaskResultList

    @admin.display(description=gettext_lazy("state"))
    def state(self, result: Result) -> SafeString:
        match self.returned(result):
            case [[tasks.SKIPPED, _values]]:
                return badge(_("skipped"), "secondary")
        return super().state(result)

    @admin.display(description=gettext_lazy("outcome"))
    def outcome(self, result: Result) -> str:
        match self.returned(result):
            case [[str(), dict()], *_] as report if result.task_name == SEND:
                return in_readers_words(report)
        return super().outcome(result)  # also of an error that was not foreseen

    @admin.action(description=SEND_AGAIN.label, permissions=["resend"])
    def retry(self, request: HttpRequest, results: QuerySet[TaskResult]) -> HttpResponse:
        """Of those that failed; what has become of their mails since decides."""
        failed = results.filter(status="FAILURE").order_by().values_list("task_id", flat=True)
        return ask_or_do(self, request, RETRY, welcomes_of(*failed))

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.retry_view)
        name = "django_celery_results_taskresult_retry"
        return [path("<int:pk>/retry/", view, name=name), *super().get_urls()]

    def retry_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not (self.has_resend_permission(request) and self.has_view_permission(request)):
            raise PermissionDenied
        result = get_object_or_404(TaskResult, pk=pk, status="FAILURE")
        back = reverse("admin:django_celery_results_taskresult_change", args=[pk])
        return ask_or_do(self, request, RETRY, welcomes_of(result.task_id), back, result)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        result: Result = kwargs["obj"]
        failed = result.task_name == SEND and result.status == "FAILURE"
        if failed and self.has_resend_permission(request):
            why_not = {RETRY.refusal(each.state) for each in result.welcomes} or {str(NO_LONGER)}
            context["retry"] = RETRY
            context["why_not"] = "" if "" in why_not else " ".join(sorted(why_not))
        return super().render_change_form(request, context, *args, **kwargs)

    def get_object(self, *args: Any, **kwargs: Any) -> Result | None:
        result = super().get_object(*args, **kwargs)
        if result is not None:
            result.welcomes = welcomes_of(result.task_id)
        return result

    @admin.display(description=gettext_lazy("member"))
    def about(self, result: Result) -> str | SafeString:
        if not (number := len(result.welcomes)):
            return "–"
        if number == 1:
            member = result.welcomes[0].member
            return link("members_member", member.pk, member.username)
        address = reverse("admin:members_welcomeemail_changelist")
        text = ngettext("%d e-mail", "%d e-mails", number) % number
        return format_html('<a href="{}?q={}">{}</a>', address, result.task_id, text)

    @admin.display(description=gettext_lazy("welcome e-mails"))
    def welcomes(self, result: Result) -> str | SafeString:
        lines = (
            (
                state_badge(welcome),
                link("members_member", welcome.member.pk, welcome.member.username),
                link("members_welcomeemail", welcome.pk, _("Delivery and attempts")),
            )
            # What went wrong is what somebody looks for.
            for welcome in sorted(result.welcomes, key=lambda w: w.state == WelcomeEmail.State.SENT)
        )
        return format_html_join("", "<div>{} {} · {}</div>", lines) or str(NO_LONGER)
