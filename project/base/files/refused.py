"""The rows that were not taken, as a file to correct and to read again."""

import csv
from collections.abc import Iterable
from typing import TextIO

from django.conf import settings
from django.utils import translation
from django.utils.translation import gettext, gettext_noop

from .delimited import BAD_QUOTES
from .rows import Row

# The two columns that it adds in front of the original ones; a reader ignores them.
OWN = (gettext_noop("refused row"), gettext_noop("refused because"))


class RefusedWriter:
    """Writes CSV with the file's own columns; the stream keeps bad bytes (surrogateescape).

    For people its own two are named in the active language, for programs always in English.
    """

    def __init__(
        self, stream: TextIO, header: list[str], delimiter: str = ",", for_people: bool = False
    ) -> None:
        self.stream, self.delimiter = stream, delimiter
        # Those of an earlier round of corrections are replaced.
        known = own_in_any_language()
        self.own = {i for i, name in enumerate(header) if name in known}
        self.writer = csv.writer(stream, delimiter=delimiter)
        own = map(gettext, OWN) if for_people else OWN
        self.writer.writerow([*own, *self._original(header)])

    def write(self, row: Row, reasons: Iterable[str]) -> None:
        if row.raw:
            # Unchanged: parsed and quoted anew, it would look valid.
            raw = row.raw.split(self.delimiter, len(self.own))[-1]
            self.stream.write(self.delimiter.join([str(row.number), BAD_QUOTES, raw]))
        else:
            self.writer.writerow([row.number, " | ".join(reasons), *self._original(row.cells)])

    def _original(self, cells: list[str]) -> list[str]:
        return [cell for index, cell in enumerate(cells) if index not in self.own]


def own_in_any_language() -> set[str]:
    names = set(OWN)
    for code, _name in settings.LANGUAGES:
        with translation.override(code):
            names.update(map(gettext, OWN))
    return names
