"""What the pages of a model say, in whole sentences: each language gets its grammar right."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import formats, translation
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Phrases:
    add: Any
    added: Any  # with %(name)s, as the next two
    changed: Any
    deleted: Any
    delete: Any  # a question
    delete_selected: Any  # an action of the list
    delete_many: Any  # a question; by `count`, with %(number)s, as the next one
    deleted_many: Any
    delete_button: Any = _("Delete")
    consequence: Any = ""  # of deleting: what goes with it, and whether it can be put back
    remains: Any = ""  # after it


RECORD = Phrases(
    add=_("Add a record"),
    added=_("“%(name)s” was added."),
    changed=_("“%(name)s” was saved."),
    deleted=_("“%(name)s” was deleted."),
    delete=_("Delete this record?"),
    delete_selected=_("Delete selected records"),
    delete_many=ngettext_lazy("Delete %(number)s record?", "Delete %(number)s records?", "count"),
    deleted_many=ngettext_lazy(
        "%(number)s record deleted.", "%(number)s records deleted.", "count"
    ),
    consequence=_("This cannot be undone."),
)


def grouped(number: int) -> str:
    """With the separators of the active language. Django writes none, because of years and ids."""
    return formats.number_format(number, force_grouping=True)


def counted(sentence: Any, number: int) -> str:
    return str(sentence % {"count": number, "number": grouped(number)})


@contextmanager
def saying(request: HttpRequest, sentence: Any) -> Iterator[None]:
    """Messages of Django's views inside say this instead (SpeakingAdmin.message_user)."""
    request.sentence = sentence  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del request.sentence  # type: ignore[attr-defined]


class SpeakingAdmin(admin.ModelAdmin):
    """Titles, messages and questions in the words of `phrases`."""

    phrases: ClassVar[Phrases] = RECORD
    MAX_NAMED = 20  # rows, on the page that asks before they are deleted

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})}
        return super().changelist_view(request, context)

    def message_user(self, request: HttpRequest, message: Any, *args: Any, **kwargs: Any) -> None:
        super().message_user(request, getattr(request, "sentence", message), *args, **kwargs)

    def response_add(
        self, request: HttpRequest, obj: Model, post_url_continue: str | None = None
    ) -> HttpResponse:
        with saying(request, self._named(self.phrases.added, request, obj)):
            return super().response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: Model) -> HttpResponse:
        with saying(request, self._named(self.phrases.changed, request, obj)):
            return super().response_change(request, obj)

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        # Noted while the row still has its key and its relations.
        request.sentence = self.phrases.deleted % {"name": self.name_of(obj)}  # type: ignore[attr-defined]
        super().delete_model(request, obj)

    def _named(self, sentence: Any, request: HttpRequest, row: Model) -> SafeString:
        """The sentence with a link to the row, where the account may open it."""
        name: Any = self.name_of(row)
        if self.has_view_or_change_permission(request, row):
            url = reverse(
                f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk]
            )
            name = format_html('<a class="alert-link" href="{}">{}</a>', url, name)
        return format_html(str(sentence).replace("%(name)s", "{}"), name)

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> HttpResponse:
        """To the list, where Django leads to the dashboard."""
        messages.warning(request, gettext("This record doesn’t exist. It may have been deleted."))
        may_view = self.has_view_or_change_permission(request)
        name = f"{opts.app_label}_{opts.model_name}_changelist" if may_view else "index"
        return HttpResponseRedirect(reverse(f"admin:{name}"))

    def name_of(self, row: Any) -> str:
        """What pages call this row: model classes of others may say no more than a key."""
        return str(row)

    def action_checkbox(self, row: Any) -> SafeString:
        """Django's, without a form widget's template: that is a quarter of a list's time."""
        label = gettext("Select %(row)s") % {"row": self.name_of(row)}
        box = '<input type="checkbox" name="{}" value="{}" class="action-select" aria-label="{}">'
        return format_html(box, ACTION_CHECKBOX_NAME, row.pk, label)

    def history_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().history_view(*args, **kwargs)
        if isinstance(response, TemplateResponse) and response.context_data is not None:
            name = self.name_of(response.context_data["object"])
            response.context_data["title"] = gettext("History: %s") % name
        return response

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = kwargs.get("obj")
        context["title"] = self.name_of(row) if row else self.phrases.add
        context["delete_button"] = self.phrases.delete_button
        return super().render_change_form(request, context, *args, **kwargs)

    def construct_change_message(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """Fields by the name that has a translation: Django writes their capitalised labels."""
        message: list[dict[str, Any]] = super().construct_change_message(*args, **kwargs)
        with translation.override(None):
            names = {str(capfirst(f.verbose_name)): str(f.verbose_name) for f in self.opts.fields}
        for part in message:
            if fields := part.get("changed", {}).get("fields"):
                part["changed"]["fields"] = [names.get(name, name) for name in fields]
        return message

    # --- Deleting ---

    def details(self, row: Any) -> str:
        """What tells this row from others, beside its name, on the page that asks."""
        return ""

    def doomed(self, rows: Any) -> dict[str, Any]:
        """What the page that asks shows."""
        named = [
            format_html(
                '<strong>{}</strong><div class="text-body-secondary">{}</div>',
                self.name_of(row),
                self.details(row),
            )
            for row in rows[: self.MAX_NAMED]
        ]
        return {
            "doomed": named,
            "more": max(len(rows) - self.MAX_NAMED, 0),
            "consequence": self.phrases.consequence,
            "remains": self.phrases.remains,
            "delete_button": self.phrases.delete_button,
        }

    def render_delete_form(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        row = context["object"]
        change = reverse(
            f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk]
        )
        context |= {"title": self.phrases.delete, "back": change, **self.doomed([row])}
        return super().render_delete_form(request, context)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        if "delete_selected" in actions:
            actions["delete_selected"] = (
                delete_selected_rows,
                "delete_selected",
                self.phrases.delete_selected,
            )
        return actions


def delete_selected_rows(
    page: SpeakingAdmin, request: HttpRequest, rows: QuerySet
) -> HttpResponse | None:
    """Django's action with our sentences."""
    with saying(request, counted(page.phrases.deleted_many, len(rows))):
        response = delete_selected(page, request, rows)
    if isinstance(response, TemplateResponse) and response.context_data is not None:
        response.context_data |= {
            "title": counted(page.phrases.delete_many, len(rows)),
            "back": request.get_full_path(),
            **page.doomed(rows),
        }
    return response
