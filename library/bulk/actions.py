"""Actions of the list of books: change, delete and merge the selection, after a dry run."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy, pgettext

from library.isbn import hyphenated
from library.models import Book
from project.admin.base import BaseAdmin
from project.admin.phrases import counted
from project.jobs.models import State
from project.jobs.tasks import enqueue, work_now

from .changes import FIELDS, ChangedMeanwhileError, differing, merge
from .models import BulkChange, Kind

MAX_INLINE = 1000  # books; more are a worker's
MAX_SAMPLES = 10
MAX_MERGED = 10


class AuthorForm(forms.ModelForm):
    class Meta:
        model = Book
        fields = ["author"]
        widgets = {"author": forms.TextInput(attrs={"class": "form-control", "autofocus": True})}


class YearForm(forms.ModelForm):
    class Meta:
        model = Book
        fields = ["publication_year"]
        widgets = {
            "publication_year": forms.NumberInput(
                attrs={"class": "form-control", "autofocus": True, "min": 1}
            )
        }


CHANGED = ngettext_lazy("%(number)s book changed.", "%(number)s books changed.", "count")
MERGED = ngettext_lazy("%(number)s book merged.", "%(number)s books merged into one.", "count")
FORMS: dict[str, type[forms.ModelForm]] = {Kind.AUTHOR: AuthorForm, Kind.YEAR: YearForm}


class BulkActions(BaseAdmin):
    acts_on_any_number = True
    actions = ["change_author", "change_year", "merge_books"]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        if "delete_selected" in actions:  # Django's holds every book in memory
            label = actions["delete_selected"][2]
            actions["delete_selected"] = (BulkActions.delete_books, "delete_selected", label)
        return actions

    @admin.action(
        description=gettext_lazy("Change the author of selected books"), permissions=["change"]
    )
    def change_author(self, request: HttpRequest, books: QuerySet[Book]) -> HttpResponse:
        return self._ask(request, books, Kind.AUTHOR)

    @admin.action(
        description=gettext_lazy("Change the year of selected books"), permissions=["change"]
    )
    def change_year(self, request: HttpRequest, books: QuerySet[Book]) -> HttpResponse:
        return self._ask(request, books, Kind.YEAR)

    def delete_books(self, request: HttpRequest, books: QuerySet[Book]) -> HttpResponse:
        return self._ask(request, books, Kind.DELETE)

    def has_merge_permission(self, request: HttpRequest) -> bool:
        return self.has_change_permission(request) and self.has_delete_permission(request)

    @admin.action(description=gettext_lazy("Merge selected books"), permissions=["merge"])
    def merge_books(self, request: HttpRequest, books: QuerySet[Book]) -> HttpResponse | None:
        chosen = list(books.order_by("pk")[: MAX_MERGED + 1])
        if not 2 <= len(chosen) <= MAX_MERGED:
            text = _("Select 2 to %(most)d books that are the same.") % {"most": MAX_MERGED}
            self.message_user(request, text, messages.WARNING)
            return None
        ids = [book.pk for book in chosen]
        if "confirmed" in request.POST:
            values = {name: request.POST.get(name, "") for name in FIELDS}
            keep = request.POST.get("keep", "")
            try:
                job = merge(request.user.pk, int(keep) if keep.isdecimal() else 0, ids, values)
            except ChangedMeanwhileError:
                text = _("One of these books has changed in the meantime. Check them again.")
                self.message_user(request, text, messages.WARNING)
            else:
                self._say_done(request, job)
                return HttpResponseRedirect(reverse("admin:library_book_change", args=[keep]))
        fields = [
            (name, Book._meta.get_field(name).verbose_name, self._values(chosen, name))  # type: ignore[union-attr]
            for name in FIELDS
        ]
        own = {book.pk: {name: self._value(book, name) for name in FIELDS} for book in chosen}
        return self._page(
            request, Kind.MERGE, len(chosen), books=chosen, fields=fields, own_values=own
        )

    def _value(self, book: Book, name: str) -> str:
        return str(getattr(book, name) or "")

    def _values(self, books: Sequence[Book], name: str) -> list[tuple[str, str]]:
        """Each different value, as stored and as shown."""
        stored = dict.fromkeys(self._value(book, name) for book in books)
        shown = {
            value: hyphenated(value) if name == "isbn" and value else value for value in stored
        }
        return [(value, text or "–") for value, text in shown.items()]

    def _ask(self, request: HttpRequest, books: QuerySet[Book], kind: Kind) -> HttpResponse:
        """First for the value, then for consent to the dry run."""
        ids = list(books.order_by("pk").values_list("pk", flat=True))
        asked = "preview" in request.POST or "confirmed" in request.POST
        form = FORMS[kind](request.POST if asked else None) if kind in FORMS else None
        value = ""
        if form is not None:
            if not form.is_valid():
                return self._page(request, kind, len(ids), form=form)
            value = str(form.cleaned_data[kind])
        if "confirmed" in request.POST:
            return self._start(request, kind, value, ids)
        differ = differing(kind, value, ids[:MAX_INLINE])
        return self._page(
            request,
            kind,
            len(ids),
            form=form,
            is_preview=True,
            value=value,
            changing=len(differ) if len(ids) <= MAX_INLINE else None,
            samples=[
                (book, getattr(book, kind, "") if kind in FORMS else "")
                for book in differ[:MAX_SAMPLES]
            ],
            more=len(ids) > MAX_SAMPLES,
        )

    def _page(self, request: HttpRequest, kind: Kind, count: int, **context: Any) -> HttpResponse:
        context |= {
            "title": self._title(kind, count),
            "button": Kind(kind).label,
            "kind": kind,
            "count": count,
            "in_background": count > MAX_INLINE,
        }
        return self.ask(request, "admin/library/bulk/question.html", **context)

    def _title(self, kind: Kind, count: int) -> str:
        if kind == Kind.DELETE:
            return counted(self.phrases.delete_many, count)
        return str(Kind(kind).label)

    def _start(
        self, request: HttpRequest, kind: Kind, value: str, ids: Sequence[int]
    ) -> HttpResponse:
        job = BulkChange.objects.create(
            user_id=request.user.pk,
            kind=kind,
            value=value,
            packed_ids=BulkChange.pack(ids),
            state=State.QUEUED,
            total=len(ids),
        )
        if len(ids) > MAX_INLINE:
            enqueue(job)
            return HttpResponseRedirect(page_of(job))
        work_now(job)
        self._say_done(request, job)
        return HttpResponseRedirect(request.get_full_path())

    def _say_done(self, request: HttpRequest, job: BulkChange) -> None:
        texts = {Kind.DELETE: self.phrases.deleted_many, Kind.MERGE: MERGED}
        text = counted(texts.get(Kind(job.kind), CHANGED), job.changed)
        undo = pgettext("button", "Undo")
        link = format_html('{} <a class="alert-link" href="{}">{}</a>', text, page_of(job), undo)
        self.message_user(request, link, messages.SUCCESS)


def page_of(job: BulkChange) -> str:
    return reverse("admin:library_bulkchange_change", args=[job.pk])
