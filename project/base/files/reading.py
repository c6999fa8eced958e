"""The reader for a file, by the ending of its name."""

from collections.abc import Iterator, Set
from contextlib import contextmanager
from io import BufferedReader
from pathlib import PurePath
from typing import Any, BinaryIO

from django.utils.translation import gettext_noop

from .delimited import DelimitedFile
from .encodings import guess_encoding
from .json_lines import JsonLinesFile
from .rows import Table, UnreadableFileError
from .spreadsheet import SpreadsheetFile

# Each format with the endings of its files, the usual one first.
FORMATS = {
    "csv": (".csv", ".txt"),
    "tsv": (".tsv", ".tab"),
    "xlsx": (".xlsx", ".xlsm"),
    "ods": (".ods",),
    "jsonl": (".jsonl", ".ndjson"),
}
ENDINGS = [ending for endings in FORMATS.values() for ending in endings]


def format_of(name: str) -> str:
    """A key of FORMATS, or "" if the name has another ending."""
    suffix = PurePath(name).suffix.lower()
    return next((kind for kind, endings in FORMATS.items() if suffix in endings), "")


@contextmanager
def open_table(
    file: BinaryIO,
    kind: str,
    size: int,
    *,
    encoding: str = "",
    delimiter: str = "",
    sheet: str = "",
    known_headers: Set[str] = frozenset(),
    header_row: int | None = None,
) -> Iterator[Table]:
    """What is not given is found out; a header_row of 0 says that the file has no header."""
    buffered: Any = file if hasattr(file, "peek") else BufferedReader(file)
    is_zip = buffered.peek(4)[:4] == b"PK\x03\x04"
    if kind in ("xlsx", "ods"):
        if not is_zip:
            raise UnreadableFileError(
                gettext_noop("This file is not %(kind)s, whatever its name says."),
                kind=kind.upper(),
            )
        table = SpreadsheetFile(buffered, sheet, known_headers, header_row)
        try:
            yield table
        finally:
            table.close()
        return
    if is_zip:
        raise UnreadableFileError(
            gettext_noop(
                "This is a spreadsheet or an archive: give it its own ending, such as .xlsx."
            )
        )
    encoding = encoding or guess_encoding(buffered)
    if kind == "jsonl":
        yield JsonLinesFile(buffered, encoding, size)
    else:
        yield DelimitedFile(buffered, encoding, delimiter, known_headers, size, header_row)
