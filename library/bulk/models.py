"""A change of many books at once."""

import json
import zlib
from collections.abc import Sequence

from django.db import models
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from project.jobs.models import Job


class Kind(models.TextChoices):
    AUTHOR = "author", gettext_lazy("Change the author")
    YEAR = "publication_year", gettext_lazy("Change the publication year")
    DELETE = "delete", gettext_lazy("Delete")
    MERGE = "merge", gettext_lazy("Merge")


# Of a change that was made; the labels are what its buttons say.
TITLES = {
    Kind.AUTHOR: gettext_lazy("New author"),
    Kind.YEAR: gettext_lazy("New publication year"),
    Kind.DELETE: gettext_lazy("Deletion"),
    Kind.MERGE: gettext_lazy("Merge"),
}


class BulkChange(Job):
    kind = models.CharField(gettext_lazy("kind"), max_length=20, choices=Kind.choices)
    value = models.CharField(gettext_lazy("new value"), max_length=500, blank=True)
    packed_ids = models.BinaryField()  # of the books, in order
    changed = models.PositiveIntegerField(gettext_lazy("changed"), default=0)
    created_at = models.DateTimeField(gettext_lazy("when"), auto_now_add=True)

    class Meta:
        verbose_name = gettext_lazy("bulk change")
        verbose_name_plural = gettext_lazy("bulk changes")
        ordering = ["-pk"]
        default_permissions = ()  # who may change books

    def __str__(self) -> str:
        books = ngettext("%(number)s book", "%(number)s books", self.total)
        number = number_format(self.total, force_grouping=True)
        value = self.value or books % {"number": number}
        return _("%(kind)s: %(value)s") % {"kind": TITLES[Kind(self.kind)], "value": value}

    @staticmethod
    def pack(ids: Sequence[int]) -> bytes:
        return zlib.compress(json.dumps(ids).encode())

    @property
    def ids(self) -> list[int]:
        return json.loads(zlib.decompress(self.packed_ids))

    @property
    def written_count(self) -> int:
        return self.changed

    def run(self) -> None:
        from . import changes  # which reads this module

        changes.run(self)

    @property
    def new_value(self) -> str | int:
        return int(self.value) if self.kind == Kind.YEAR else self.value
