"""The history page of a record: who changed what, and going back to a version."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied, ValidationError
from django.db import models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.text import Truncator, capfirst
from django.utils.translation import gettext as _

from project.base.accounts import person_name
from project.base.database import is_id
from project.base.history import Door, Kind, as_record, put_back, recorded_as, shown_fields

from .base import once_more
from .conflicts import VersionedAdmin

VERSIONS_PER_PAGE = 25


@dataclass
class Change:
    label: str
    old: str
    new: str


def who(version: Any) -> str:
    if version.history_user_id is None:
        return ""
    if version.history_user is None:
        return _("deleted account %d") % version.history_user_id
    return person_name(version.history_user)


def way(version: Any) -> str:
    """The door in words."""
    if version.door == Door.API and version.detail:
        return _("API, token %s") % version.detail
    # Not by get_door_display(), which makes all choices hashable each time.
    door = Door(version.door).label if version.door else ""
    return f"{door} {version.detail}".strip()


def event(version: Any) -> str:
    if not version.door:
        return _("Recording began; earlier changes are not known")
    if version.history_type == Kind.ADDED and version.door == Door.UNDO:
        return _("Restored after deletion")
    names = {Kind.ADDED: _("Added"), Kind.CHANGED: _("Changed"), Kind.DELETED: _("Deleted")}
    return names[version.history_type]


class RecordedAdmin(VersionedAdmin):
    def history_value(self, field: models.Field, value: Any) -> str:
        """As the page shows it."""
        return "–" if value in (None, "") else str(value)

    def differences(self, old: Any, new: Any) -> list[Change]:
        """Between two versions or records; without an old one, all of the new."""
        found = []
        for field in shown_fields(self.model):
            # Nothing and "" are the same: an erased record has lost its values.
            values = [record and getattr(record, field.attname) or None for record in (old, new)]
            if values[0] != values[1]:
                label = capfirst(str(field.verbose_name))
                texts = [
                    self.history_value(field, value) if record else ""
                    for record, value in zip((old, new), values, strict=True)
                ]
                found.append(Change(label, *texts))
        return found

    def changes_in(self, version: Any, before: Any) -> list[Change]:
        if version.history_type == Kind.DELETED:
            return self.differences(version, None)
        gone = before is None or before.history_type == Kind.DELETED
        return self.differences(None if gone else before, version)

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_restore"
        view = self.admin_site.admin_view(self.restore_view)
        address = "<int:object_id>/history/<int:version_id>/restore/"
        return [path(address, view, name=name), *super().get_urls()]

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        record = self.get_object(request, object_id)
        if not self.has_view_or_change_permission(request, record):
            raise PermissionDenied
        before = request.GET.get("before", "")
        pk = int(object_id) if is_id(object_id) else 0
        versions = self.model.history.filter(id=pk).select_related("history_user")
        newest = versions.first()
        if record is None and newest is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        older = versions.filter(history_id__lt=int(before)) if is_id(before) else versions
        page = list(older[: VERSIONS_PER_PAGE + 1])
        more = len(page) > VERSIONS_PER_PAGE
        shown = []
        for version, previous in pairwise([*page, None] if not more else page):
            version.event, version.who, version.way = event(version), who(version), way(version)
            version.changes = self.changes_in(version, previous)
            version.restorable = self._may_restore(request, record) and (
                bool(self.differences(record, version))
                if record
                else version.history_type == Kind.DELETED and version == newest
            )
            shown.append(version)
        context = {
            "title": _("History: %s") % Truncator(record or as_record(newest)).chars(60),
            "object": record,
            "versions": shown,
            "is_first_page": not before,
            "older": shown[-1].history_id if more else None,
            **(extra_context or {}),
        }
        return self.render(request, "admin/record_history.html", **context)

    def _may_restore(self, request: HttpRequest, record: Any) -> bool:
        if record is None:
            return self.has_add_permission(request)
        return self.has_change_permission(request, record)

    def restore_view(self, request: HttpRequest, object_id: int, version_id: int) -> HttpResponse:
        return once_more(self._restore, request, object_id, version_id)

    @transaction.atomic
    def _restore(self, request: HttpRequest, object_id: int, version_id: int) -> HttpResponse:
        """Shows what would change; a POST does it."""
        record: Any = self.get_object(request, str(object_id))  # locked by a POST
        if not self._may_restore(request, record):
            raise PermissionDenied
        history = self.model.history.filter(id=object_id)
        version = history.filter(history_id=version_id).select_related("history_user").first()
        if version is None:
            raise Http404
        changes = self.differences(record, version)
        errors: list[Any] = []
        if request.method == "POST":
            seen = str(record.version) if record else ""
            if request.POST.get("version", "") != seen:
                errors = [_("Changed after you opened this page. Look at the values again.")]
            else:
                errors = self._problems(record, version)
            if not errors:
                return self._put_back(request, version, record, changes)
        context = {
            "title": _("Restore this version") if record else _("Restore after deletion"),
            "object": record,
            "name": str(record or as_record(version)),
            "version": version,
            "who": who(version),
            "changes": changes,
            "errors": errors,
            "history_url": self._history_url(object_id),
        }
        status = 409 if errors else 200
        return self.render(request, "admin/restore.html", status=status, **context)

    def _put_back(
        self, request: HttpRequest, version: Any, record: Any, changes: list[Change]
    ) -> HttpResponse:
        with recorded_as(Door.UNDO):
            restored = put_back(version, record)
        fields = [change.label for change in changes]
        if record is None:
            self.log_addition(request, restored, [{"added": {}}])
        else:
            self.log_change(request, restored, [{"changed": {"fields": fields}}])
        self.message_user(request, _("Restored: %s") % restored)
        return HttpResponseRedirect(self._history_url(restored.pk))

    def _history_url(self, pk: int) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_history", args=[pk])

    def _problems(self, record: Any, version: Any) -> list[Any]:
        """Why the record cannot have these values now, such as an ISBN that is taken meanwhile."""
        candidate = as_record(version)
        if record is not None:
            candidate._state.adding = False
        try:
            candidate.full_clean()
        except ValidationError as error:
            return [
                self._problem(name, message, candidate)
                for name, messages in error.message_dict.items()
                for message in messages
            ]
        return []

    def _problem(self, name: str, message: str, candidate: Any) -> Any:
        if name == NON_FIELD_ERRORS:
            return message
        field = self.model._meta.get_field(name)
        others = self.model._default_manager.filter(**{name: getattr(candidate, name)})
        other = others.exclude(pk=candidate.pk).first() if field.unique else None
        if other is None:
            return f"{capfirst(str(field.verbose_name))}: {message}"
        url = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[other.pk])
        return format_html('{} <a href="{}">{}</a>', message, url, other)
