import json
import re
from itertools import chain

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

from project.base.files.rows import Problem
from project.base.history import Left
from project.imports import models as imports
from project.imports.records import Records
from project.jobs.models import CANCELLABLE, State

FILE_GONE = gettext_noop(
    "A member was erased in the meantime. The file may name that member, so it was "
    "deleted and the import stopped. Upload a file without them."
)
# Neither usernames nor addresses have them; those around one may be part of it.
SEPARATORS = re.compile(r"[\s,;:|<>()\[\]\"\\“”„«»‘’‹›]+")
AROUND = "'`."


class MemberImport(imports.Import):
    """A member file: it names people, so it goes once it is confirmed, its rows with its people."""

    sends_welcome = models.BooleanField(_("welcome e-mails"), default=False)

    holds_addresses = True

    class Meta(imports.Import.Meta):
        verbose_name = _("import of members")
        verbose_name_plural = _("imports of members")

    @property
    def records(self) -> Records:
        from .importing import Members  # which reads the model of members

        return Members(self.sends_welcome)

    def run(self) -> None:
        if self.confirmed_at:
            self.delete_file()
        super().run()

    def name_of(self, left: Left) -> str:
        return ""  # the page looks it up: here the name of an erased member would stay

    def may_name(self, erased: set[str]) -> bool:
        """Whether it holds one of these usernames and addresses, all of lower case."""
        if self.file:
            return True  # which may have other sheets and columns than those that are read
        pages = self.pages.iterator(chunk_size=100)
        texts = chain([json.dumps([self.reading, self.error])], (page.text for page in pages))
        return any(not erased.isdisjoint(words_of(text)) for text in texts)

    def forget(self) -> None:
        """File and rows go, and what has not ended is cancelled."""
        problem = Problem(FILE_GONE).as_json()
        objects = type(self).objects
        if not objects.move(self.pk, CANCELLABLE, state=State.CANCELLED, error=problem):
            objects.filter(pk=self.pk, state=State.FAILED).update(error=problem)
        self.purge()


class MemberImportPage(imports.ImportPage):
    job = models.ForeignKey(MemberImport, models.CASCADE, related_name="pages")


def words_of(text: str) -> set[str]:
    """What may be a username or an address in this JSON, which escapes all but ASCII."""
    words = SEPARATORS.split(text.encode().decode("unicode_escape").lower())
    return {*words, *(part.strip(AROUND) for word in words for part in word.split("/"))}
