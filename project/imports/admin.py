"""The pages of an import: upload, how the file is read, preview, progress, result."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from project.admin.display import moment
from project.admin.history import way
from project.admin.phrases import RECORD
from project.base.files.reading import ENDINGS, format_of
from project.jobs.admin import JobAdmin
from project.jobs.models import State
from project.jobs.tasks import BROKE_OFF, enqueue

from .engine import begin
from .models import Import
from .preview import ReadingForm, preview
from .refused import refused_response


@dataclass(frozen=True)
class Texts:
    """What the pages say of the records, in whole sentences: each language gets its grammar right."""

    file: Any  # which columns it has; with %(size)d
    matching: Any  # how a row finds its record
    reading: Any  # what another choice of columns does
    nothing_new: Any  # in the whole file
    progress: Any  # with %(rows)s and %(percent)d
    changed: Any  # the link to their history
    file_kept: Any  # until when; with %(days)d, as the next two
    rows_kept: Any  # once the file is deleted
    purged: Any


class UploadForm(forms.ModelForm):
    texts: Texts  # set by the page

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if field := self.fields.get("file"):
            field.required = True
            field.widget = forms.FileInput(
                attrs={"accept": ",".join(ENDINGS), "class": "form-control", "autofocus": True}
            )
            field.help_text = self.texts.file % {"size": settings.IMPORT_MAX_MB}

    def clean_file(self) -> UploadedFile:
        file = self.cleaned_data["file"]
        if file.size > settings.IMPORT_MAX_MB * 10**6:
            raise ValidationError(
                _("The file is %(size)d MB, and the limit is %(most)d MB. Split it.")
                % {"size": -(-file.size // 10**6), "most": settings.IMPORT_MAX_MB}
            )
        if not format_of(file.name):
            raise ValidationError(
                _("“%(name)s” does not end in a format that can be read: %(endings)s.")
                % {"name": file.name, "endings": ", ".join(ENDINGS)}
            )
        return file


class ImportAdmin(JobAdmin):
    """Who may add and change the records may import them."""

    texts: ClassVar[Texts]
    page_template = "admin/imports/import.html"
    form = UploadForm
    fields = ["file"]
    phrases = replace(RECORD, add=gettext_lazy("Import a file"))
    counted_text = ngettext_lazy("%(number)s import", "%(number)s imports", "count")
    add_form_template = "admin/imports/upload.html"
    list_display = [
        "name",
        "state_badge",
        "new",
        "changed",
        "refused",
        "person",
        "through",
        "uploaded",
    ]
    columns_named_on_phone = frozenset({"new", "changed", "refused", "through"})
    sortable_by = ["uploaded"]

    def undo_permissions(self, job: Import) -> list[str]:
        opts = job.records.model._meta
        delete = f"{opts.app_label}.{get_permission_codename('delete', opts)}"
        return [delete] if job.written.get("new") else []

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    # --- The list ---

    @admin.display(description=gettext_lazy("new"))
    def new(self, job: Import) -> str:
        return count(job, "new")

    @admin.display(description=gettext_lazy("changed"))
    def changed(self, job: Import) -> str:
        return count(job, "changed")

    @admin.display(description=gettext_lazy("refused"))
    def refused(self, job: Import) -> str:
        return count(job, "refused")

    @admin.display(description=gettext_lazy("through"))
    def through(self, job: Import) -> str:
        return way(job)

    @admin.display(description=gettext_lazy("uploaded"), ordering="pk")
    def uploaded(self, job: Import) -> str:
        return moment(job.uploaded_at)

    # --- Upload ---

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, *args, **kwargs)
        form.texts = self.texts
        return form

    def save_model(self, request: HttpRequest, obj: Import, form: Any, change: Any) -> None:
        name = str(obj.file.name)
        obj.name, obj.size, obj.kind = name[-255:], obj.file.size, format_of(name)
        obj.user_id = request.user.pk
        obj.save()
        transaction.on_commit(lambda: enqueue(obj))

    def response_add(  # type: ignore[override]
        self, request: HttpRequest, obj: Import, *args: Any
    ) -> HttpResponse:
        return HttpResponseRedirect(self.url(obj))

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        kept = self.texts.file_kept % {"days": settings.IMPORT_KEEP_DAYS}
        context |= {"texts": self.texts, "kept": kept}
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **kwargs)

    # --- One import ---

    def views(self) -> dict[str, Callable[..., Any]]:
        return super().views() | {
            "examine": self.by_button(self.examine_view),
            "confirm": self.by_button(self.confirm_view),
            "again": self.by_button(self.again_view),
            "refused": self.refused_view,
            "file": self.file_view,
        }

    def page(
        self, request: HttpRequest, job: Import, form: ReadingForm | None = None
    ) -> HttpResponse:
        if form is None and may_reread(job):
            form = ReadingForm(job)
        kept = self.texts.rows_kept if job.is_kept else self.texts.purged
        kept = self.texts.file_kept if job.file else kept
        history = job.records.model.history.model._meta
        context = {
            **self.context(request, job),
            "texts": self.texts,
            "through": way(job),
            "history": reverse(f"admin:{history.app_label}_{history.model_name}_changelist"),
            "form": form,
            "may_confirm": job.state == State.EXAMINED and not job.nothing_to_confirm,
            "may_retry": may_retry(job),
            "repairs": [(_(text), number) for text, number in sorted(job.repairs.items())],
            "preview": preview(job, request.GET) if job.found and job.is_kept else None,
            "kept": kept % {"days": settings.IMPORT_KEEP_DAYS},
        }
        return self.render(request, self.page_template, **context)

    def examine_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Read the file again, as the form says."""
        job = self.job(request, pk)
        if not may_reread(job):
            return self.too_late(request, job)
        form = ReadingForm(job, request.POST)
        if not form.is_valid():
            return self.page(request, job, form)
        # Of the API's too, somebody sees the preview by now.
        changes = form.changes()
        options = job.options | {"dry_run": True, "headers": {}}
        options |= {"header_row": changes.pop("header_row", None)}
        changes |= EXAMINED_ANEW | {"options": options}
        if type(job).objects.move(pk, (job.state,), **changes):
            enqueue(job)
        return HttpResponseRedirect(self.url(job))

    def confirm_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        job = self.job(request, pk)
        if not begin(job, **self.choices(request)):
            return self.too_late(request, job)
        enqueue(job)
        return HttpResponseRedirect(self.url(job))

    def choices(self, request: HttpRequest) -> dict[str, Any]:
        """What was chosen beside the button: columns of the import."""
        return {}

    def again_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Go on where it failed."""
        job = self.job(request, pk)
        state = State.QUEUED if job.confirmed_at else State.UPLOADED
        if not may_retry(job) or not type(job).objects.move(
            pk, (State.FAILED,), state=state, error=[]
        ):
            return self.too_late(request, job)
        enqueue(job)
        return HttpResponseRedirect(self.url(job))

    def progress_text(self, job: Import) -> str:
        text = {
            State.UPLOADED: _("Rows examined: %(rows)s (%(percent)d%%)"),
            State.RUNNING: str(self.texts.progress),
        }.get(State(job.state))
        rows = job.found.get("read", 0) if job.state == State.UPLOADED else job.done
        return self.with_numbers(text, job, rows) if text else super().progress_text(job)

    def refused_view(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        job = self.job(request, pk)
        return refused_response(job, for_people=True)

    def file_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        job = self.job(request, pk)
        if not job.file:
            return self.too_late(request, job)
        try:
            file = job.file.open("rb")
        except FileNotFoundError:
            raise Http404 from None
        return FileResponse(file, as_attachment=True, filename=job.name)


EXAMINED_ANEW: dict[str, Any] = {
    "state": State.UPLOADED,
    "found": {},
    "repairs": {},
    "error": [],
    "done": 0,
}


def may_retry(job: Import) -> bool:
    """Whether another try may end otherwise: what is wrong with a file stays wrong."""
    broke_off = bool(job.confirmed_at) or job.error[:1] == [BROKE_OFF]
    return job.state == State.FAILED and broke_off and job.is_kept and not job.undone


def may_reread(job: Import) -> bool:
    waits = job.state in (State.EXAMINED, State.FAILED) and not job.confirmed_at
    return waits and bool(job.file and job.reading)


def count(job: Import, name: str) -> str:
    counts = job.found | job.written
    return number_format(counts[name], force_grouping=True) if name in counts else "–"
