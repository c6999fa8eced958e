"""Writing tables: CSV as text, JSON lines, and XLSX."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from typing import Any, BinaryIO

from django.utils.formats import get_format
from xlsxwriter import Workbook

MAX_XLSX_ROWS = 1_048_575  # beside the header
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")

Rows = Iterable[Sequence[Any]]


def guarded(value: Any) -> Any:
    """The value with an apostrophe, if a spreadsheet would take it for a formula."""
    if isinstance(value, str) and (value.startswith(FORMULA_STARTS) or value[:1] < " "):
        return f"'{value}" if value else value
    return value


def spreadsheet_delimiter() -> str:
    """Which one a spreadsheet in the active language expects: no comma, if decimals have one."""
    return ";" if get_format("DECIMAL_SEPARATOR") == "," else ","


def csv_lines(rows: Rows, delimiter: str = ",") -> str:
    text = StringIO(newline="")
    # With \r\n, without which Python 3.11 leaves \r unquoted.
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue()


def json_lines(header: Sequence[str], rows: Rows) -> str:
    return "".join(
        json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) + "\n" for row in rows
    )


def write_xlsx(file: BinaryIO, header: Sequence[str], batches: Iterable[Rows]) -> Iterator[int]:
    """Yields the rows of each batch; texts stay texts, whatever they begin with."""
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with Workbook(file, options) as book:
        sheet = book.add_worksheet()
        sheet.freeze_panes(1, 0)
        sheet.write_row(0, 0, header, book.add_format({"bold": True}))
        number = 0
        for batch in batches:
            start = number
            for row in batch:
                number += 1
                for column, value in enumerate(row):
                    if isinstance(value, str):
                        sheet.write_string(number, column, value)
                    elif value is not None:
                        sheet.write_number(number, column, value)
            yield number - start
