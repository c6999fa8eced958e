"""What the pages of a model say, in whole sentences: each language gets its grammar right."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy


@dataclass(frozen=True)
class Phrases:
    add: Any
    added: Any  # with %(name)s, as the next two
    changed: Any
    deleted: Any
    delete: Any  # a question
    delete_selected: Any  # an action of the list
    delete_many: Any  # a question; with %d, as the next one
    deleted_many: Any
    consequence: Any = ""  # of deleting: what goes with it, and whether it can be put back


RECORD = Phrases(
    add=_("Add a record"),
    added=_("“%(name)s” was added."),
    changed=_("“%(name)s” was saved."),
    deleted=_("“%(name)s” was deleted."),
    delete=_("Delete this record?"),
    delete_selected=_("Delete selected records"),
    delete_many=ngettext_lazy("Delete %d record?", "Delete %d records?"),
    deleted_many=ngettext_lazy("%d record deleted.", "%d records deleted."),
    consequence=_("This cannot be undone."),
)


@contextmanager
def saying(request: HttpRequest, sentence: Any) -> Iterator[None]:
    """Messages of Django's views inside say this instead (BaseAdmin.message_user)."""
    request.sentence = sentence  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del request.sentence  # type: ignore[attr-defined]
