"""What the pages of long work share: progress, cancelling, undo."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.formats import number_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from project.admin.base import ReadOnlyAdmin
from project.admin.display import badge
from project.admin.filters import ChoiceFilter
from project.base.accounts import person_name
from project.base.database import is_id

from .models import CANCELLABLE, WORKING, Job, State
from .tasks import enqueue

COLOURS = {
    State.UPLOADED: "info",
    State.EXAMINED: "warning",
    State.QUEUED: "info",
    State.RUNNING: "info",
    State.DONE: "success",
    State.FAILED: "danger",
    State.CANCELLED: "secondary",
    State.UNDOING: "info",
    State.UNDONE: "secondary",
}


class StateFilter(ChoiceFilter):
    title = gettext_lazy("state")
    parameter_name = field = "state"
    choices_of = dict(State.choices)


def state_badge(job: Job) -> SafeString:
    if job.nothing_to_confirm:
        return badge(_("nothing to import"), "secondary")
    return badge(str(State(job.state).label), COLOURS[State(job.state)])


class JobAdmin(ReadOnlyAdmin):
    permissions: ClassVar[list[str]]  # all are needed
    record_page: ClassVar[str]  # the URL name of the page of a record that it changes
    undo_question: ClassVar[Any]
    list_filter = [StateFilter]
    list_select_related = ["user"]

    def has_view_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return request.user.has_perms(self.permissions)

    def undo_permissions(self, job: Any) -> list[str]:
        """Those that undoing this job needs beside: it may add records, or delete them."""
        raise NotImplementedError

    def may_undo(self, request: HttpRequest, job: Any) -> bool:
        return request.user.has_perms(self.undo_permissions(job))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    @admin.display(description=gettext_lazy("state"))
    def state_badge(self, job: Any) -> SafeString:
        return state_badge(job)

    @admin.display(description=gettext_lazy("by"))
    def person(self, job: Any) -> str:
        return person_name(job.user) if job.user else "–"

    def by_button(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        """The login leads to the address of a button if the session had ended: to its page then."""

        def posted(request: HttpRequest, pk: int) -> HttpResponse:
            if request.method == "POST":
                return view(request, pk)
            return HttpResponseRedirect(self.url(self.job(request, pk)))

        return posted

    def views(self) -> dict[str, Callable[..., Any]]:
        return {
            "cancel": self.by_button(self.cancel_view),
            "undo": self.by_button(self.undo_view),
            "progress": self.progress_view,
        }

    def get_urls(self) -> list[Any]:
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            *(
                path(
                    f"<int:pk>/{name}/",
                    self.admin_site.admin_view(view),
                    name=f"{prefix}_{name}",
                )
                for name, view in self.views().items()
            ),
            *super().get_urls(),
        ]

    def job(self, request: HttpRequest, pk: int) -> Any:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return get_object_or_404(self.model._default_manager.select_related("user"), pk=pk)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> Any:
        if not is_id(object_id):
            return super().change_view(request, object_id, *args, **kwargs)
        return self.page(request, self.job(request, int(object_id)))

    def page(self, request: HttpRequest, job: Any) -> HttpResponse:
        raise NotImplementedError

    def context(self, request: HttpRequest, job: Any) -> dict[str, Any]:
        return {
            "title": str(job),
            "job": job,
            "badge": self.state_badge(job),
            "works": job.state in WORKING,
            "progress": self.progress_text(job),
            "may_cancel": job.state in CANCELLABLE,
            "may_undo": job.may_be_undone and self.may_undo(request, job),
            "urls": {name: self.url(job, name) for name in self.views()},
            "undo_question": self.undo_question,
            "left": self.left(job),
        }

    def left(self, job: Any) -> list[tuple[str, str, str]]:
        """What its undo left alone: address, name and reason."""
        return [
            (reverse(f"admin:{self.record_page}", args=[pk]), name, _(why))
            for pk, name, why in job.undone.get("left", [])
        ]

    def url(self, job: Any, name: str = "change") -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}", args=[job.pk])

    def progress_text(self, job: Any) -> str:
        text = {
            State.QUEUED: _("Waiting for a worker"),
            State.UNDOING: _("Records put back: %(rows)s (%(percent)d%%)"),
        }.get(State(job.state), "")
        return self.with_numbers(text or str(State(job.state).label), job, job.done)

    def with_numbers(self, text: str, job: Any, rows: int) -> str:
        values = {"rows": number_format(rows, force_grouping=True), "percent": job.percent}
        return text % values if "%(" in text else text

    def progress_view(self, request: HttpRequest, pk: int) -> JsonResponse:
        job = self.job(request, pk)
        text = self.progress_text(job)
        return JsonResponse({"state": job.state, "percent": job.percent, "text": text})

    def cancel_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        job = self.job(request, pk)
        if not type(job).objects.move(pk, CANCELLABLE, state=State.CANCELLED):
            return self.too_late(request, job)
        messages.success(request, _("Cancelled. What was written before is kept."))
        return HttpResponseRedirect(self.url(job))

    def undo_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        job = self.job(request, pk)
        if not self.may_undo(request, job):
            raise PermissionDenied
        if not job.begin_undo(request.user.pk):
            return self.too_late(request, job)
        enqueue(job)
        return HttpResponseRedirect(self.url(job))

    def too_late(self, request: HttpRequest, job: Any) -> HttpResponse:
        messages.warning(request, _("Its state has changed in the meantime, so nothing was done."))
        return HttpResponseRedirect(self.url(job))
