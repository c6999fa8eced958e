"""An uploaded catalogue file, from the upload to the last page of its result."""

import json
import zlib
from datetime import timedelta
from pathlib import PurePath
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from project.base.files.rows import Problem
from project.base.history import Door

HEARTBEAT_TIMEOUT = timedelta(seconds=60)  # after which a silent worker is taken for dead
MAX_CLAIMS = 5  # that end without progress, before the import fails
PAGE_SIZE = 50  # rows


def upload_path(job: "Import", name: str) -> str:
    """A name that says nothing and cannot be guessed."""
    return f"imports/{uuid4().hex}{PurePath(name).suffix.lower()[:10]}"


class ImportQuerySet(models.QuerySet["Import"]):
    def unattended(self) -> "ImportQuerySet":
        """Those with work to do at which no worker is."""
        dead = Q(heartbeat_at=None) | Q(heartbeat_at__lt=timezone.now() - HEARTBEAT_TIMEOUT)
        return self.filter(dead, state__in=Import.WORKING)

    def claim(self, pk: int, task_id: str) -> "Import | None":
        """The import for this worker alone, or None if there is nothing to do."""
        claim = uuid4().hex
        taken = (
            self.filter(pk=pk)
            .unattended()
            .update(
                claim=claim, claims=F("claims") + 1, task_id=task_id, heartbeat_at=timezone.now()
            )
        )
        return self.get(pk=pk) if taken else None

    def move(self, pk: int, allowed: "tuple[str, ...]", **changes: Any) -> bool:
        """Change an import that is in one of these states; whoever works on it has lost it."""
        fresh = {"claim": "", "claims": 0, "heartbeat_at": None, "enqueued_at": None}
        return bool(self.filter(pk=pk, state__in=allowed).update(**fresh | changes))


class State(models.TextChoices):
    UPLOADED = "uploaded", _("being examined")
    EXAMINED = "examined", _("ready to confirm")
    QUEUED = "queued", _("waiting")
    RUNNING = "running", _("running")
    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")
    UNDOING = "undoing", _("being undone")
    UNDONE = "undone", _("undone")


class Import(models.Model):
    """A catalogue file that somebody uploaded, and what became of it.

    A worker first examines it: the rows are sorted into pages of new, changed, same and refused
    books, which people look through. Once confirmed, the books are written from these pages.
    """

    WORKING = (State.UPLOADED, State.QUEUED, State.RUNNING, State.UNDOING)

    file = models.FileField(_("file"), upload_to=upload_path, blank=True)
    name = models.CharField(_("file"), max_length=255)
    size = models.PositiveBigIntegerField(_("size"), default=0)
    kind = models.CharField(_("format"), max_length=10)
    door = models.CharField(_("door"), max_length=10, choices=Door.choices, default=Door.ADMIN)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("by"), null=True, related_name="+"
    )
    uploaded_at = models.DateTimeField(_("uploaded"), auto_now_add=True)
    confirmed_at = models.DateTimeField(_("confirmed"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    # How it is read: empty if that is to be found out.
    encoding = models.CharField(_("encoding"), max_length=40, blank=True)
    delimiter = models.CharField(_("delimiter"), max_length=1, blank=True)
    sheet = models.CharField(_("sheet"), max_length=255, blank=True)
    columns = models.JSONField(default=dict)  # {"title": [0], …}
    # What was found: encoding, delimiter, sheet, sheets, columns, header and the first rows.
    reading = models.JSONField(default=dict)

    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.UPLOADED, db_index=True
    )
    error = models.JSONField(default=list)  # a Problem
    found = models.JSONField(default=dict)  # counts of the examination
    written = models.JSONField(default=dict)  # counts of what was written
    repairs = models.JSONField(default=dict)  # {sentence: count}
    undone = models.JSONField(default=dict)  # counts and names of an undo; empty before one
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    done = models.PositiveBigIntegerField(default=0)  # of `total`: bytes or rows
    total = models.PositiveBigIntegerField(default=0)
    position = models.PositiveBigIntegerField(default=0)  # the last page that was written

    # Who works on it now.
    claim = models.CharField(max_length=32, blank=True)
    claims = models.PositiveSmallIntegerField(default=0)
    heartbeat_at = models.DateTimeField(null=True)
    enqueued_at = models.DateTimeField(null=True)
    task_id = models.CharField(max_length=255, blank=True)

    objects = ImportQuerySet.as_manager()

    class Meta:
        verbose_name = _("import")
        verbose_name_plural = _("imports")
        ordering = ["-pk"]
        default_permissions = ()  # who may add and change books may import them

    def __str__(self) -> str:
        return self.name

    @property
    def batch(self) -> str:
        """Its name in the history."""
        return f"import-{self.pk}"

    @property
    def problem(self) -> Problem | None:
        return Problem(*self.error) if self.error else None

    @property
    def percent(self) -> int:
        return min(100, self.done * 100 // self.total) if self.total else 0

    def record(self, **changes: Any) -> None:
        """Write as the worker that has claimed it; raises LostClaimError if it has no more."""
        changes = {"heartbeat_at": timezone.now()} | changes
        if not Import.objects.filter(pk=self.pk, claim=self.claim).update(**changes):
            raise LostClaimError
        for name, value in changes.items():
            setattr(self, name, value)

    def finish(self, state: State, **changes: Any) -> None:
        ended = {"state": state, "claim": "", "heartbeat_at": None, "finished_at": timezone.now()}
        self.record(**ended | changes)


class LostClaimError(Exception):
    """The import was cancelled, or another worker has taken it over."""


class PageKind(models.TextChoices):
    NEW = "new", pgettext_lazy("books", "New")
    CHANGED = "changed", pgettext_lazy("books", "Changed")
    SAME = "same", pgettext_lazy("books", "Same")
    REFUSED = "refused", pgettext_lazy("books", "Refused")


class ImportPage(models.Model):
    """Up to PAGE_SIZE rows of one kind, packed.

    A new or same book is [row, title, author, year, ISBN], a changed one also has its old title,
    author and year; a refused row is [row, cells, raw, problem that only the whole file shows].
    """

    job = models.ForeignKey(Import, models.CASCADE, related_name="pages")
    kind = models.CharField(max_length=10, choices=PageKind.choices)
    number = models.PositiveIntegerField()
    packed = models.BinaryField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["job", "kind", "number"], name="library_importpage_number"
            )
        ]

    def __str__(self) -> str:
        return f"{self.job_id} {self.kind} {self.number}"

    @property
    def rows(self) -> list[list[Any]]:
        return json.loads(zlib.decompress(self.packed))

    @staticmethod
    def pack(rows: list[list[Any]]) -> bytes:
        # A bad byte is a lone surrogate, which JSON escapes.
        return zlib.compress(json.dumps(rows).encode(), 1)
