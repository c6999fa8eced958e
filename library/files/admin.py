"""The pages of an import: upload, how the file is read, preview, progress, result."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
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
from django.template.response import TemplateResponse
from django.utils.formats import number_format
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy
from django.views.decorators.http import require_POST

from library.job_admin import JobAdmin
from library.jobs import State
from library.tasks import enqueue
from project.admin.display import moment
from project.admin.phrases import RECORD
from project.base.files.reading import ENDINGS, format_of
from project.base.files.refused import RefusedWriter

from .jobs import begin
from .models import Import, ImportPage, PageKind
from .preview import ReadingForm, as_row, preview, reasons_of


class UploadForm(forms.ModelForm):
    class Meta:
        model = Import
        fields = ["file"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if field := self.fields.get("file"):
            field.required = True
            field.widget = forms.FileInput(
                attrs={"accept": ",".join(ENDINGS), "class": "form-control", "autofocus": True}
            )
            field.help_text = _(
                "CSV, TSV, XLSX, ODS or JSON lines, at most %(size)d MB. The first row names the "
                "columns; title, author, year and ISBN are recognised in English, Russian and "
                "German. Nothing is written before you have seen the preview."
            ) % {"size": settings.IMPORT_MAX_MB}

    def clean_file(self) -> UploadedFile:
        file = self.cleaned_data["file"]
        if file.size > settings.IMPORT_MAX_MB * 10**6:
            raise ValidationError(
                _("The file has %(size)d MB; at most %(most)d MB are taken. Split it.")
                % {"size": -(-file.size // 10**6), "most": settings.IMPORT_MAX_MB}
            )
        if not format_of(file.name):
            raise ValidationError(
                _("“%(name)s” has no ending of a format that can be read: %(endings)s.")
                % {"name": file.name, "endings": ", ".join(ENDINGS)}
            )
        return file


@admin.register(Import)
class ImportAdmin(JobAdmin):
    """Who may add and change books may import them."""

    permissions = ["library.add_book", "library.change_book"]
    form = UploadForm
    phrases = replace(RECORD, add=gettext_lazy("Import a file"))
    counted_text = ngettext_lazy("%(number)s import", "%(number)s imports", "count")
    add_form_template = "admin/library/import/upload.html"
    list_display = ["name", "state_badge", "new", "changed", "refused", "user", "uploaded"]
    sortable_by = ["uploaded"]
    where_from = gettext_lazy("An import adds and updates the books of a file.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def undo_permissions(self, job: Import) -> list[str]:
        return ["library.delete_book"] if job.written.get("new") else []

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

    @admin.display(description=gettext_lazy("uploaded"), ordering="pk")
    def uploaded(self, job: Import) -> str:
        return moment(job.uploaded_at)

    # --- Upload ---

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
        context |= {"title": _("Import books"), "show_save_and_add_another": False}
        context |= {"show_save_and_continue": False, "keep_days": settings.IMPORT_KEEP_DAYS}
        return super().render_change_form(request, context, *args, **kwargs)

    # --- One import ---

    def views(self) -> dict[str, Callable[..., Any]]:
        return super().views() | {
            "examine": require_POST(self.examine_view),
            "confirm": require_POST(self.confirm_view),
            "again": require_POST(self.again_view),
            "refused": self.refused_view,
            "file": self.file_view,
        }

    def page(
        self, request: HttpRequest, job: Import, form: ReadingForm | None = None
    ) -> HttpResponse:
        if form is None and may_reread(job):
            form = ReadingForm(job)
        context = {
            **self.context(request, job),
            "form": form,
            "may_confirm": job.state == State.EXAMINED
            and bool(job.found["new"] or job.found["changed"]),
            "may_retry": job.state == State.FAILED and bool(job.file or job.undone),
            "repairs": [(_(text), number) for text, number in sorted(job.repairs.items())],
            "preview": preview(job, request.GET) if job.found and job.file else None,
            "keep_days": settings.IMPORT_KEEP_DAYS,
        }
        return TemplateResponse(request, "admin/library/import/import.html", context)

    def examine_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Read the file again, as the form says."""
        job = self.job(request, pk)
        if not may_reread(job):
            return self.too_late(request, job)
        form = ReadingForm(job, request.POST)
        if not form.is_valid():
            return self.page(request, job, form)
        if Import.objects.move(pk, (job.state,), **form.changes(), **EXAMINED_ANEW):
            enqueue(job)
        return HttpResponseRedirect(self.url(job))

    def confirm_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        job = self.job(request, pk)
        if not begin(job):
            return self.too_late(request, job)
        enqueue(job)
        return HttpResponseRedirect(self.url(job))

    def again_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Go on where it failed."""
        job = self.job(request, pk)
        state = State.QUEUED if job.confirmed_at else State.UPLOADED
        state = State.UNDOING if job.undone else state
        if not (job.file or job.undone) or not Import.objects.move(
            pk, (State.FAILED,), state=state, error=[]
        ):
            return self.too_late(request, job)
        enqueue(job)
        return HttpResponseRedirect(self.url(job))

    def progress_text(self, job: Import) -> str:
        text = {
            State.UPLOADED: _("Rows examined: %(rows)s (%(percent)d%%)"),
            State.RUNNING: _("Books compared and written: %(rows)s (%(percent)d%%)"),
        }.get(State(job.state))
        rows = job.found.get("read", 0) if job.state == State.UPLOADED else job.done
        return self.with_numbers(text, job, rows) if text else super().progress_text(job)

    def refused_view(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        """The refused rows as CSV in the file's own columns, to correct and upload again."""
        job = self.job(request, pk)
        name = f"{slugify(job.name.rpartition('.')[0]) or 'books'}.refused.csv"
        response = StreamingHttpResponse(refused_lines(job), "text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

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


def may_reread(job: Import) -> bool:
    waits = job.state in (State.EXAMINED, State.FAILED) and not job.confirmed_at
    return waits and bool(job.file and job.reading)


def count(job: Import, name: str) -> str:
    counts = job.found | job.written
    return number_format(counts[name], force_grouping=True) if name in counts else "–"


def refused_lines(job: Import) -> Iterator[bytes]:
    text = StringIO()
    header = job.reading.get("header", [])
    writer = RefusedWriter(text, header, job.reading.get("delimiter") or ",")
    mark = "\ufeff"
    for page in refused_pages(job):
        for row in page.rows:
            writer.write(as_row(row), reasons_of(job, row))
        yield (mark + text.getvalue()).encode("utf-8", "surrogateescape")
        mark = ""
        text.seek(0)
        text.truncate()
    if mark:
        yield (mark + text.getvalue()).encode()


def refused_pages(job: Import) -> Iterator[ImportPage]:
    number = 0
    pages = job.pages.filter(kind=PageKind.REFUSED)
    while page := pages.filter(number__gt=number).order_by("number").first():
        yield page
        number = page.number
