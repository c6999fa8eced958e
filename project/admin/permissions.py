"""Permissions in plain words: by area, as pages grant them, instead of a list of hundreds."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.db.models import QuerySet
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .site import MENU

VERBS = {
    "view": _("view"),
    "add": _("add"),
    "change": _("change"),
    "delete": _("delete"),
}


@dataclass
class Grant:
    """One permission of an area, such as "change" of "Books"."""

    id: int
    words: str


def areas() -> list[tuple[str, list[Grant]]]:
    """What pages let people do, in the menu's order; other permissions are for programmers."""
    pages = {model.__name__: page for model, page in admin.site._registry.items()}
    stored = {
        (label, codename): pk
        for pk, label, codename in Permission.objects.values_list(
            "pk", "content_type__app_label", "codename"
        )
    }
    found = []
    for name in (name for group, names in MENU.values() for name in names):
        page: Any = pages[name]
        label, model = page.opts.app_label, page.opts.model_name
        words = {f"{verb}_{model}": VERBS[verb] for verb in page.grants} | page.grant_words
        grants = [
            Grant(stored[label, codename], str(text))
            for codename, text in words.items()
            if (label, codename) in stored
        ]
        if grants:  # else another area's permissions open the page
            found.append((str(capfirst(page.opts.verbose_name_plural)), grants))
    return found


def in_words(ids: Collection[int], known: Iterable[tuple[str, list[Grant]]]) -> SafeString:
    """One line for each area that these permissions open."""
    lines = []
    for area, grants in known:
        if words := [grant.words for grant in grants if grant.id in ids]:
            lines.append((area, ", ".join(words)))
    return format_html_join("", "<div>{}: {}</div>", lines)


def group_name(group: Group) -> str:
    """Groups that ship have a translation."""
    return gettext(group.name) if group.name else ""


class PermissionMatrix(forms.CheckboxSelectMultiple):
    template_name = "admin/includes/permissions.html"

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        chosen = {str(pk) for pk in value or []}
        rows = [
            (area, [(grant, str(grant.id) in chosen) for grant in grants])
            for area, grants in areas()
        ]
        return {"name": name, "rows": rows, "id": (attrs or {}).get("id", name)}


class PermissionsField(forms.ModelMultipleChoiceField):
    """Permissions that the page does not show stay as they are."""

    widget = PermissionMatrix

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(Permission.objects.all(), required=False, **kwargs)

    def keep_hidden(self, chosen: QuerySet[Permission], held: QuerySet[Permission]) -> Any:
        shown = {grant.id for _area, grants in areas() for grant in grants}
        kept = {pk for pk in held.values_list("pk", flat=True) if pk not in shown}
        return Permission.objects.filter(pk__in={row.pk for row in chosen} | kept)


class GroupsField(forms.ModelMultipleChoiceField):
    """Checkboxes that say what the members of each group may do."""

    widget = forms.CheckboxSelectMultiple

    def __init__(self, **kwargs: Any) -> None:
        groups = Group.objects.order_by("name").prefetch_related("permissions")
        super().__init__(groups, required=False, **kwargs)

    def label_from_instance(self, group: Any) -> SafeString:
        if not hasattr(self, "known"):  # of this form: fields are copied for each
            self.known = areas()
        ids = {permission.pk for permission in group.permissions.all()}
        return format_html(
            '<span>{}<span class="form-text">{}</span></span>',
            group_name(group),
            in_words(ids, self.known),
        )
