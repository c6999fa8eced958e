"""The preview of an import, one page at a time, and the form of how its file is read."""

import codecs
from collections import Counter
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from project.base.files.delimited import DELIMITERS
from project.base.files.headers import MAX_ROWS_ABOVE
from project.base.files.rows import Problem, Row

from .engine import columns_of
from .models import PAGE_SIZE, Import, PageKind
from .records import RefusedError, entry_of

MAX_CELL_SHOWN = 300  # characters
ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-16": "UTF-16",
    "cp1251": gettext_lazy("Windows-1251 (Cyrillic)"),
    "koi8_r": gettext_lazy("KOI8-R (Cyrillic)"),
    "cp866": gettext_lazy("CP866 (Cyrillic, DOS)"),
    "mac_cyrillic": gettext_lazy("Mac Cyrillic"),
    "cp1252": gettext_lazy("Windows-1252 (Western Europe)"),
    "cp1250": gettext_lazy("Windows-1250 (Central Europe)"),
    "cp850": gettext_lazy("CP850 (Western Europe, DOS)"),
    "cp1253": gettext_lazy("Windows-1253 (Greek)"),
    "cp1254": gettext_lazy("Windows-1254 (Turkish)"),
}
DELIMITER_NAMES = {
    ",": gettext_lazy("comma"),
    ";": gettext_lazy("semicolon"),
    "\t": gettext_lazy("tab"),
    "|": gettext_lazy("vertical bar"),
}
SETTINGS = ("encoding", "delimiter", "sheet")
TAB = "tab"  # a form strips the character


class ReadingForm(forms.Form):
    """Encoding, delimiter, sheet, header and columns. A change of the others finds columns anew."""

    def __init__(self, job: Import, posted: Any = None) -> None:
        self.job, reading = job, job.reading
        super().__init__(posted)
        self.settings: dict[str, Any] = {name: reading[name] for name in SETTINGS}
        if current := reading["encoding"]:
            choices = {same_encoding(name): text for name, text in ENCODINGS.items()}
            choices = {same_encoding(current): current.upper()} | choices
            self.fields["encoding"] = select(_("Encoding"), choices, same_encoding(current))
        if current := reading["delimiter"]:
            names = {current: current} | {mark: DELIMITER_NAMES[mark] for mark in DELIMITERS}
            delimiters = {coded(mark): text for mark, text in names.items()}
            self.fields["delimiter"] = select(_("Delimiter"), delimiters, coded(current))
        if len(reading["sheets"]) > 1:
            sheets = {name: name for name in reading["sheets"]}
            self.fields["sheet"] = select(_("Sheet"), sheets, reading["sheet"])
        if (row := reading.get("header_row")) is not None:
            self.settings["header_row"] = row
            widget = forms.NumberInput(attrs={"class": "form-control form-control-sm"})
            self.fields["header_row"] = forms.IntegerField(
                label=_("Header row (0: none)"),
                initial=row,
                min_value=0,
                max_value=MAX_ROWS_ABOVE + 1,
                widget=widget,
            )
        headers = {
            str(index): name or _("column %(number)d") % {"number": index + 1}
            for index, name in enumerate(reading["header"])
        }
        for column in job.records.columns:
            name, label = column.name, capfirst(job.records.label(column.name))
            chosen = [str(index) for index in reading["columns"].get(name, [])]
            if column.several:
                self.fields[name] = forms.MultipleChoiceField(
                    label=label,
                    choices=list(headers.items()),
                    initial=chosen,
                    required=False,
                    widget=forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"}),
                )
            else:
                choices = {"": "–"} | headers
                self.fields[name] = select(label, choices, chosen[0] if chosen else "")
                self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not self.settings_changed:
            for column in filter(self.job.records.requires, self.job.records.columns):
                if column.name not in self.errors and not data.get(column.name):
                    self.add_error(column.name, ValidationError(_("Choose a column.")))
        return data

    @property
    def settings_changed(self) -> bool:
        shown = {name for name in self.settings if name in self.fields}
        return bool(shown & set(self.changed_data))

    def changes(self) -> dict[str, Any]:
        """What to write to the import."""
        data = self.cleaned_data
        given = {
            name: decoded(data[name]) if name in self.fields else current
            for name, current in self.settings.items()
        }
        columns: dict[str, list[int]] = {}
        if not self.settings_changed:
            for column in self.job.records.columns:
                chosen = data[column.name]
                indexes = chosen if column.several else [chosen]
                columns[column.name] = [int(index) for index in indexes]
        return given | {"columns": columns}


def select(text: str, choices: Mapping[str, Any], initial: str) -> forms.ChoiceField:
    return forms.ChoiceField(
        label=text,
        choices=list(choices.items()),
        initial=initial,
        widget=forms.Select(attrs={"class": "form-select form-select-sm"}),
    )


def same_encoding(name: str) -> str:
    """One name of the many that an encoding has; with and without its mark is the same."""
    return codecs.lookup(name.removesuffix("-sig")).name


def coded(delimiter: str) -> str:
    return TAB if delimiter == "\t" else delimiter


def decoded(value: Any) -> Any:
    return "\t" if value == TAB else value


def preview(job: Import, query: Mapping[str, str]) -> dict[str, Any]:
    """One page of one kind of rows, with the tabs of all kinds."""
    kinds = [kind for kind in PageKind if job.found.get(kind)]
    shown = next((kind for kind in kinds if kind == query.get("show")), None)
    shown = shown or (kinds[0] if kinds else PageKind.NEW)
    last = -(-job.found.get(shown, 0) // PAGE_SIZE)
    asked = query.get("page", "1")
    number = min(max(int(asked), 1), last) if asked.isdecimal() and len(asked) < 8 else 1
    page = job.pages.filter(kind=shown, number=number).first()
    rows = page.rows if page else []
    return {
        "kind": shown,
        "tabs": [(kind, job.found.get(kind, 0)) for kind in PageKind],
        "labels": [capfirst(job.records.label(name)) for name in job.records.fields],
        "records": [] if shown == PageKind.REFUSED else [shown_record(job, row) for row in rows],
        "refused": [shown_refusal(job, row) for row in rows] if shown == PageKind.REFUSED else [],
        "number": number,
        "last": last,
    }


def shown_record(job: Import, row: list[Any]) -> dict[str, Any]:
    records = job.records
    number, values = row[0], dict(zip(records.fields, row[1:], strict=False))
    old = dict(zip(records.compared, row[1 + len(values) :], strict=False))
    fields = []
    for name, value in values.items():
        was = records.shown(name, old[name]) if old.get(name, value) != value else None
        fields.append({"name": name, "value": records.shown(name, value), "old": was})
    return {"row": number, "fields": fields}


def shown_refusal(job: Import, row: list[Any]) -> dict[str, Any]:
    number, cells, *_rest = row
    columns, names = columns_of(job), job.records.fields
    values = [
        " / ".join(filter(None, (cells[i] for i in columns.get(name, []) if i < len(cells))))
        for name in names
    ]
    if len(cells) == 1:  # a line that could not be parsed
        values = [cells[0]] + [""] * (len(names) - 1)
    return {
        "row": number,
        "cells": [readable(value) for value in values],
        "reasons": reasons_of(job, row),
    }


def readable(text: str) -> str:
    """As a page can show it: a bad byte as �, and not without end."""
    shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return shown if len(shown) <= MAX_CELL_SHOWN else f"{shown[:MAX_CELL_SHOWN]}…"


def as_row(row: list[Any]) -> Row:
    number, cells, raw, problem = row
    return Row(number, cells, Problem(*problem) if problem else None, raw)


def reasons_of(job: Import, row: list[Any]) -> list[str]:
    """Why the row is refused, in the reader's language: found again, as the examination did."""
    try:
        job.records.record_of(entry_of(as_row(row), columns_of(job)), Counter())
    except RefusedError as refused:
        return refused.reasons
    return [_("it would be accepted now: upload it again")]
