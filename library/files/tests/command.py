"""The command import_books, run on a file of these rows."""

import csv
import io
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from library.files import importing
from library.management.commands import import_books
from library.tests.books import THE_BOOK

HEADER = "title,author,publication_year,isbn"
ROW = f"Emma,Jane Austen,1815,{THE_BOOK}"
FIELDS = ("title", "author", "publication_year")
OTHERS = [ROW.replace("Emma", "EMMA"), ROW.replace("Jane", "J."), ROW.replace("1815", "1816")]


def write(*rows: str, name: str = "books.csv", encoding: str = "utf-8", end: str = "\n") -> str:
    Path(name).write_bytes("".join(row + end for row in rows).encode(encoding))
    return name


def run(*arguments: Any, **options: Any) -> str:
    out = io.StringIO()
    call_command("import_books", *arguments, stdout=out, **options)
    return out.getvalue()


def counts(output: str) -> dict[str, int]:
    line = next(line for line in output.splitlines() if line.startswith("read: "))
    return {name: int(n) for name, n in (part.split(": ") for part in line.split(", "))}


def imported(*rows: str, **options: Any) -> str:
    return run(write(*rows), **options)


def refused(name: str = "books.refused.csv") -> list[dict[str, str]]:
    with open(name, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def in_batches_of(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    smaller = partial(importing.import_entries, batch_size=size)
    monkeypatch.setattr(import_books, "import_entries", smaller)


def reason(*rows: str) -> str:
    """Why the last row is refused, under the usual header."""
    imported(HEADER, *rows)
    last = refused()[-1]
    assert int(last["refused row"]) == len(rows) + 1
    return last["refused because"]
