"""The pages of bulk changes: progress, result, undo."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from project.admin.display import moment
from project.admin.phrases import grouped
from project.jobs.admin import JobAdmin
from project.jobs.models import State

from .models import BulkChange, Kind


@admin.register(BulkChange)
class BulkChangeAdmin(JobAdmin):
    record_page = "library_book_change"
    undo_question = gettext_lazy(
        "Undo this change? Books that somebody has changed since are left as they are."
    )
    list_display = ["what", "state_badge", "selected", "written", "person", "when"]
    columns_named_on_phone = frozenset({"selected", "written"})
    counted_text = ngettext_lazy("%(number)s bulk change", "%(number)s bulk changes", "count")
    sortable_by = ["when"]
    where_from = gettext_lazy("Select books in the list of books and choose an action.")

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("packed_ids")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For who may do one of them: of its own change an account sees the progress."""
        return any(map(request.user.has_perm, ("library.change_book", "library.delete_book")))

    def undo_permissions(self, job: BulkChange) -> list[str]:
        own = {Kind.DELETE: [], Kind.MERGE: ["library.change_book"]}
        if job.kind in own:  # what was deleted is added again
            return ["library.add_book", *own[Kind(job.kind)]]
        return ["library.change_book"]

    @admin.display(description=gettext_lazy("change"))
    def what(self, job: BulkChange) -> str:
        return str(job)

    @admin.display(description=gettext_lazy("selected"))
    def selected(self, job: BulkChange) -> str:
        return grouped(job.total)

    @admin.display(description=gettext_lazy("changed"))
    def written(self, job: BulkChange) -> str:
        return grouped(job.changed)

    @admin.display(description=gettext_lazy("when"), ordering="pk")
    def when(self, job: BulkChange) -> str:
        return moment(job.created_at)

    def page(self, request: HttpRequest, job: BulkChange) -> HttpResponse:
        labels = {Kind.DELETE: _("Deleted"), Kind.MERGE: _("Merged")}
        context = self.context(request, job)
        context["changed_label"] = labels.get(Kind(job.kind), _("Changed"))
        return self.render(request, "admin/library/bulk/change.html", **context)

    def progress_text(self, job: BulkChange) -> str:
        if job.state != State.RUNNING:
            return super().progress_text(job)
        return self.with_numbers(_("Books done: %(rows)s (%(percent)d%%)"), job, job.done)
