"""Two people edit one record in the admin: the one who saves last sees both versions and chooses."""

from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from django import forms
from django.contrib.admin.options import IS_POPUP_VAR
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.forms import BoundField
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from .base import BaseAdmin

CONFLICT = "conflict"


@dataclass
class Difference:
    """A field with two values; `chosen` is "mine" or "theirs" if only one of us changed it."""

    field: BoundField
    mine: Any
    theirs: Any
    chosen: str


class VersionField(forms.CharField):
    """The record's version when the form was opened."""

    widget = forms.HiddenInput

    def has_changed(self, initial: Any, data: Any) -> bool:
        return False  # nobody types it


class VersionedForm(forms.ModelForm):
    """Does not overwrite what somebody else saved after the form was opened.

    Each field carries its initial value, which shows who changed what.
    """

    version = VersionField(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.show_hidden_initial = True
        self.fields["version"].show_hidden_initial = False
        self.initial["version"] = self.instance.version

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors or self.instance.pk is None:
            return
        if self.cleaned_data["version"] != str(self.instance.version) and self.differences():
            self.add_error(None, ValidationError(_("Changed after you opened it."), CONFLICT))

    def differences(self) -> list[Difference]:
        found = []
        for bound in self.visible_fields():
            if (mine := self[bound.name].data) is None:
                continue
            theirs, field = self.initial[bound.name], bound.field
            if field.has_changed(theirs, mine):
                chosen = ""
                with suppress(ValidationError):  # only a tampered form holds such a value
                    opened = field.to_python(self.data.get(bound.html_initial_name))
                    if opened == theirs:
                        chosen = "mine"
                    elif not field.has_changed(opened, mine):
                        chosen = "theirs"
                found.append(Difference(bound, mine, field.prepare_value(theirs), chosen))
        return found


class DigestForm(forms.ModelForm):
    """Of a record without a version: says once what a save would replace of somebody else's.

    It carries a digest of the values with which it was opened.
    """

    version = VersionField(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        shown = [field.prepare_value(self.initial.get(name)) for name, field in self.fields.items()]
        values = [sorted(value) if isinstance(value, list) else value for value in shown]
        self.initial["version"] = blake2b(repr(values).encode(), digest_size=8).hexdigest()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        opened, stored = cleaned.pop("version", ""), self.initial["version"]
        if self.instance.pk is None or opened in ("", stored):
            return cleaned
        differing = [
            capfirst(str(self.fields[name].label))
            for name, value in cleaned.items()
            if self.fields[name].has_changed(
                self.initial.get(name), self.fields[name].prepare_value(value)
            )
        ]
        if differing:
            text = _(
                "Somebody else saved this after you opened it. Saving again replaces: %(fields)s."
            )
            ask_once(self, text % {"fields": ", ".join(differing)}, stored)
        return cleaned


def ask_once(form: forms.ModelForm, text: str, answer: str) -> None:
    """Refuse it with this text; when it is sent again, its version is the answer."""
    form.add_error(None, text)
    data: Any = form.data
    form.data = again = data.copy()
    again["version"] = answer


class VersionedAdmin(BaseAdmin):
    form = VersionedForm

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        form = context["adminform"].form
        if not form.has_error(NON_FIELD_ERRORS, CONFLICT):
            return super().render_change_form(request, context, *args, **kwargs)
        stored = self.get_object(request, str(form.instance.pk))
        differences = form.differences()
        apart = {difference.field.name for difference in differences}
        return self._both_versions(
            request,
            title=_("Changed while you were editing"),
            stored=stored,
            differences=differences,
            alike=[bound for bound in form.visible_fields() if bound.name not in apart],
        )

    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> HttpResponse:
        if request.method != "POST" or "post" in request.POST:  # a confirmed deletion
            return super()._get_obj_does_not_exist_redirect(request, opts, object_id)
        typed = self.get_form(request)(request.POST).visible_fields()
        columns = {field.name for field in self.opts.get_fields()}
        return self._both_versions(
            request,
            title=_("Deleted while you were editing"),
            alike=typed,
            shown=[bound for bound in typed if bound.name in columns],
            add_url=self.has_add_permission(request)
            and reverse(f"admin:{opts.app_label}_{opts.model_name}_add"),
        )

    def _both_versions(self, request: HttpRequest, **context: Any) -> HttpResponse:
        buttons = ("_save", "_continue", "_addanother", IS_POPUP_VAR)
        context["pressed"] = [name for name in buttons if name in request.POST]
        return self.render(request, "admin/conflict.html", status=409, **context)
