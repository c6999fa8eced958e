"""An uploaded file, from the upload to the last page of its result."""

import json
import zlib
from pathlib import PurePath
from typing import Any
from uuid import uuid4

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from project.base.history import Door
from project.jobs.models import Job, State

from .records import Records

PAGE_SIZE = 50  # rows
MAX_NAME_SHOWN = 120  # characters, where a token's name follows


def upload_path(job: "Import", name: str) -> str:
    """A name that says nothing and cannot be guessed."""
    return f"imports/{uuid4().hex}{PurePath(name).suffix.lower()[:10]}"


class Import(Job):
    """A file that somebody uploaded, and what became of it.

    A worker first examines it: the rows are sorted into pages of new, changed, same and refused
    records, which people look through. Once confirmed, the records are written from these pages.
    """

    file = models.FileField(_("file"), upload_to=upload_path, blank=True)
    name = models.CharField(_("file"), max_length=255)
    size = models.PositiveBigIntegerField(_("size"), default=0)
    kind = models.CharField(_("format"), max_length=10)
    door = models.CharField(_("door"), max_length=10, choices=Door.choices, default=Door.ADMIN)
    uploaded_at = models.DateTimeField(_("uploaded"), auto_now_add=True)
    confirmed_at = models.DateTimeField(_("confirmed"), null=True)

    # How it is read: empty if that is to be found out.
    encoding = models.CharField(_("encoding"), max_length=40, blank=True)
    delimiter = models.CharField(_("delimiter"), max_length=1, blank=True)
    sheet = models.CharField(_("sheet"), max_length=255, blank=True)
    columns = models.JSONField(default=dict)  # {"title": [0], …}, by the fields of `records`
    # What the API was told: "dry_run", "headers" (of columns, by field) and the "token" it came with;
    # what the page was told: "header_row".
    options = models.JSONField(default=dict)
    # What was found: encoding, delimiter, sheet, sheets, columns, header and the first rows.
    reading = models.JSONField(default=dict)

    state = models.CharField(
        _("state"), max_length=10, choices=State.choices, default=State.UPLOADED, db_index=True
    )
    found = models.JSONField(default=dict)  # counts of the examination
    written = models.JSONField(default=dict)  # counts of what was written
    repairs = models.JSONField(default=dict)  # {sentence: count}
    # `position` is the last page that was written, `done` and `total` are bytes or rows.

    pages: Any  # the related manager of its ImportPages

    class Meta:
        abstract = True
        verbose_name = _("import")
        verbose_name_plural = _("imports")
        ordering = ["-pk"]
        default_permissions = ()  # who may add and change the records may import them

    def __str__(self) -> str:
        return self.name

    @property
    def detail(self) -> str:
        """Of its door, as the history has it."""
        return self.options.get("token", "")

    @property
    def origin(self) -> str:
        """Its file, and the program that sent it."""
        if self.door != Door.API:
            return self.name
        program = f"API {self.detail}".strip()
        return f"{self.name[:MAX_NAME_SHOWN]} ({program})"

    @property
    def awaits_confirmation(self) -> bool:
        """Whether it stops once it is examined: what a program sends is meant, unless it says."""
        return self.options.get("dry_run", True)

    @property
    def nothing_to_confirm(self) -> bool:
        waits = self.state == State.EXAMINED
        return waits and not (self.found.get("new") or self.found.get("changed"))

    @property
    def written_count(self) -> int:
        return self.written.get("new", 0) + self.written.get("changed", 0)

    @property
    def records(self) -> Records:
        raise NotImplementedError

    def run(self) -> None:
        from . import engine  # which reads this module

        (engine.examine if self.state == State.UPLOADED else engine.run)(self)

    @property
    def is_kept(self) -> bool:
        """Whether its rows can still be looked at."""
        return bool(self.file or self.reading)

    @property
    def has_refused(self) -> bool:
        """Whether there are refused rows to look at."""
        return bool(self.found.get("refused") and self.is_kept)

    def purge(self) -> None:
        """Delete the file and its rows; the counts stay."""
        self.pages.all().delete()
        options = {name: value for name, value in self.options.items() if name != "headers"}
        type(self).objects.filter(pk=self.pk).update(reading={}, options=options)
        type(self).objects.move(self.pk, (State.EXAMINED,), state=State.CANCELLED)
        self.delete_file()

    def delete_file(self) -> None:
        if self.file:
            self.file.delete(save=False)  # first: it must not outlive its name here
            type(self).objects.filter(pk=self.pk).update(file="")


class PageKind(models.TextChoices):
    NEW = "new", pgettext_lazy("books", "New")
    CHANGED = "changed", pgettext_lazy("books", "Changed")
    SAME = "same", pgettext_lazy("books", "Same")
    REFUSED = "refused", pgettext_lazy("books", "Refused")


class ImportPage(models.Model):
    """Up to PAGE_SIZE rows of one kind, packed.

    A new or same record is [row, *its values], a changed one also has its old values of what an
    import changes; a refused row is [row, cells, raw, problem that only the whole file shows].
    """

    job: "models.ForeignKey[Any, Any]"  # its Import, by the related name `pages`
    job_id: int
    kind = models.CharField(max_length=10, choices=PageKind.choices)
    number = models.PositiveIntegerField()
    packed = models.BinaryField()

    class Meta:
        abstract = True
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["job", "kind", "number"], name="%(app_label)s_%(class)s_number"
            )
        ]

    def __str__(self) -> str:
        return f"{self.job_id} {self.kind} {self.number}"

    @property
    def text(self) -> str:
        return zlib.decompress(self.packed).decode()

    @property
    def rows(self) -> list[list[Any]]:
        return json.loads(self.text)

    @staticmethod
    def pack(rows: list[list[Any]]) -> bytes:
        # A bad byte is a lone surrogate, which JSON escapes.
        return zlib.compress(json.dumps(rows).encode(), 1)
