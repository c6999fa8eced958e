"""The rows of a spreadsheet's sheet: XLSX and ODS."""

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Set
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from django.utils.translation import gettext_noop

from .headers import MAX_ROWS_ABOVE, count_known, first_index, header_index
from .rows import Row, UnreadableFileError, check_header, checked

MAX_UNPACKED_SIZE = 256 * 2**20  # bytes
MAX_RATIO = 200  # of unpacked to packed; spreadsheets have 5 to 50
MIN_SUSPECT_SIZE = 2**20  # bytes, below which no ratio is suspect
XML_CHUNK_BYTES = 2**20
SCRIPT = Path(__file__).with_name("sheet_rows.py")
DAMAGED = gettext_noop("This spreadsheet can’t be read: the file is damaged.")


class SpreadsheetFile:
    encoding = delimiter = ""

    def __init__(
        self,
        file: BinaryIO,
        sheet: str = "",
        known_headers: Set[str] = frozenset(),
        header_row: int | None = None,
    ) -> None:
        # A copy with a name, wherever uploads are stored.
        self.copy = tempfile.NamedTemporaryFile(suffix=".spreadsheet")  # noqa: SIM115
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process: subprocess.Popen[str] | None = None
        self.number = 0
        try:
            shutil.copyfileobj(file, self.copy)
            self.copy.flush()
            check_zip(self.copy.name)
            self._start(sheet, known_headers, header_row)
        except BaseException:
            self.close()
            raise

    def _start(self, sheet: str, known: Set[str], header_row: int | None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), self.copy.name, sheet, json.dumps([*known])],
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            encoding="ascii",
        )
        about = self._next()
        self.sheets, self.sheet, self.total = about["sheets"], about["sheet"], about["rows"]
        rows = self._rows()
        top = list(islice(rows, MAX_ROWS_ABOVE + 1))
        filled = [i for i, row in enumerate(top) if any(cell.strip() for cell in row.cells)]
        if not filled:
            text = gettext_noop("The sheet “%(sheet)s” is empty.")
            raise UnreadableFileError(text, sheet=self.sheet)
        found = header_index([count_known(row.cells, known) for row in top])
        first = first_index(header_row, found, filled, len(top))
        self.header_row = 0 if header_row == 0 else first + 1
        self.header = [name.strip() if self.header_row else "" for name in top[first].cells]
        check_header(self.header)
        self.rows = chain(top[self.header_row or first :], rows)

    def __iter__(self) -> Iterator[Row]:
        for row in self.rows:
            yield checked(row, len(self.header))

    def position(self) -> int:
        return self.number

    def close(self) -> None:
        if self.process:
            self.process.kill()
            self.process.communicate()
        self.copy.close()
        self.errors.close()

    def _rows(self) -> Iterator[Row]:
        while (cells := self._next()) is not None:
            self.number += 1
            yield Row(self.number, cells)

    def _next(self) -> Any:
        assert self.process and self.process.stdout
        line = self.process.stdout.readline()
        if line.endswith("\n"):  # a process that is killed leaves half a line
            return json.loads(line)
        self.errors.seek(0)
        if self.process.wait() == 1 and b"MemoryError" not in self.errors.read():
            raise UnreadableFileError(DAMAGED)
        raise UnreadableFileError(
            gettext_noop(
                "The sheet takes too much memory or time: it may claim cells far from the rest. "
                "Copy its rows to a new file, or save it as CSV."
            )
        )


def check_zip(path: str) -> None:
    """Refuse what unpacks to too much, by its own account and in truth."""
    too_large = UnreadableFileError(
        gettext_noop("Unpacked, the file is larger than %(size)d MB: save it as CSV, or split it."),
        size=MAX_UNPACKED_SIZE // 2**20,
    )
    packed = Path(path).stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > MAX_UNPACKED_SIZE:
                raise too_large
            unpacked = 0
            for entry in entries:
                claimed = entry.file_size
                entry.file_size = MAX_UNPACKED_SIZE + 1  # else zipfile stops at what is claimed
                start = unpacked
                with archive.open(entry) as content:
                    while chunk := content.read(XML_CHUNK_BYTES):
                        unpacked += len(chunk)
                        if unpacked > MAX_UNPACKED_SIZE:
                            raise too_large
                if unpacked - start != claimed:
                    raise UnreadableFileError(DAMAGED)
    except UnreadableFileError:
        raise
    except Exception:  # anybody may have made this file, so anything may be raised
        raise UnreadableFileError(DAMAGED) from None
    if unpacked > max(MIN_SUSPECT_SIZE, packed * MAX_RATIO):
        raise UnreadableFileError(
            gettext_noop(
                "Unpacked, the file would be more than %(ratio)d times as large: "
                "it is refused as a zip bomb."
            ),
            ratio=MAX_RATIO,
        )
