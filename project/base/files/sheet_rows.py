"""A process of its own that prints the rows of a spreadsheet as JSON lines.

A sheet is read whole, and a small file may claim cells without end: what this process may take is
limited, and a worker survives its end. Run as a script, so that it starts without Django.
"""

import json
import resource
import sys
from datetime import date, datetime
from itertools import islice
from typing import Any

MAX_MEMORY_SIZE = 2**30  # bytes of address space
MAX_CPU_SECONDS = 180


def text_of(cell: Any) -> str:
    """As people see it: a spreadsheet's numbers are floats, 13 digits fit in one exactly."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime | date):
        return cell.isoformat()[:10]
    return str(cell)


def main(path: str, wanted: str, known: set[str]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_SIZE, MAX_MEMORY_SIZE))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    from python_calamine import load_workbook

    book = load_workbook(path)
    names = book.sheet_names
    sheets = [wanted] if wanted in names else names
    # Charts, blank sheets and remarks may stand before the one with the table.
    filled = [sheet for sheet in map(book.get_sheet_by_name, sheets) if sheet.end]
    sheet = next((each for each in filled if has_header(each, known)), None)
    sheet = sheet or next(iter(filled), None) or book.get_sheet_by_name(sheets[0])
    out = sys.stdout
    about = {"sheets": names, "sheet": sheet.name, "rows": sheet.end[0] + 1 if sheet.end else 0}
    out.write(json.dumps(about) + "\n")
    for row in sheet.iter_rows():
        out.write(json.dumps([text_of(cell) for cell in row]) + "\n")
    out.write("null\n")  # the end: without it the rows broke off


def has_header(sheet: Any, known: set[str]) -> bool:
    from headers import (  # beside this script
        MAX_ROWS_ABOVE,
        count_known,
        header_index,
    )

    top = islice(sheet.iter_rows(), MAX_ROWS_ABOVE + 1)
    return header_index([count_known(map(text_of, row), known) for row in top]) is not None


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], set(json.loads(sys.argv[3])))
