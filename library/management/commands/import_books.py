import os
import sys
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TextIO
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from tqdm import tqdm

from library.files.entries import FIELDS
from library.files.importing import BOOKS, import_entries
from project.base.files.reading import format_of, open_table
from project.base.files.refused import RefusedWriter
from project.base.files.rows import Row, Table, UnreadableFileError, WrongEncodingError
from project.base.history import Door, recorded_as
from project.imports.batches import Result
from project.imports.columns import MissingColumnError, choose_columns, known_headers, present
from project.imports.records import Entry, entries_of


class Command(BaseCommand):
    requires_system_checks: list[str] = []  # they load every page and API view: 0.3 s
    help = (
        "Add the books of a file to the catalogue, and update those whose ISBN it already "
        "has. Rows that cannot be a book go to a second file, each with its number and the "
        "reasons: correct them there and import that file."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file",
            help="a CSV, TSV, XLSX, ODS or JSON lines file, or - for CSV on standard input",
        )
        parser.add_argument(
            "--column",
            action="append",
            default=[],
            metavar="FIELD=COLUMN",
            help=f"which column holds a field ({', '.join(FIELDS)}), if the header does not "
            "say so; isbn may be given several times: the valid one counts",
        )
        parser.add_argument("--delimiter", default="", help="default: , ; tab or |, by the header")
        parser.add_argument(
            "--encoding", default="", help="default: UTF-8, or by the byte order mark"
        )
        parser.add_argument(
            "--refused",
            type=Path,
            metavar="FILE",
            help="where refused rows go (default: NAME.refused.csv in the current folder)",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="check every row, but write no book"
        )

    def handle(
        self, *, file: str, column: list[str], delimiter: str, encoding: str, **options: Any
    ) -> None:
        if delimiter in ("\\t", "tab"):
            delimiter = "\t"
        if len(delimiter) > 1 or delimiter in ('"', "\r", "\n"):
            raise CommandError(f"{delimiter!r} is no delimiter: give one character.")
        columns = columns_given(column)
        result = Result()
        try:
            with opened(file) as source, ExitStack() as tables:
                table = tables.enter_context(
                    open_table(
                        source,
                        format_of(file) or "csv",
                        os.fstat(source.fileno()).st_size,
                        encoding=encoding or "utf-8",
                        delimiter=delimiter,
                        known_headers=known_headers(BOOKS, columns),
                    )
                )
                chosen = self.choose_columns(table, columns)
                refused_rows = RefusedRows(self.refused_path(file, options["refused"]), table)
                with refused_rows as refused, recorded_import(file):
                    entries = entries_of(table, chosen)
                    batches = import_entries(entries, refused.add, result, options["dry_run"])
                    self.with_progress(batches, table)
        except WrongEncodingError as error:
            cure = "give the right --encoding, such as cp1251, if this is a CSV file."
            raise CommandError(f"{str(error).partition(':')[0]}: {cure}") from None
        except UnreadableFileError as error:
            raise CommandError(self.stopped(result, str(error))) from None
        except OSError as error:
            problem = f"{error.filename or file}: {error.strerror or error}."
            raise CommandError(self.stopped(result, problem)) from None
        except DatabaseError as error:
            problem = f"The database refuses: {error}."
            raise CommandError(self.stopped(result, problem)) from error
        except KeyboardInterrupt:
            raise CommandError(self.stopped(result, "Interrupted."), returncode=130) from None
        self.summarise(result, refused.path, options["dry_run"])

    def refused_path(self, file: str, given: Path | None) -> Path:
        path = given or Path(f"{Path(file).stem if file != '-' else 'books'}.refused.csv")
        if path.is_dir():
            raise CommandError(f"{path} is a folder: name a file with --refused.")
        if file != "-" and path.exists() and path.samefile(file):
            raise CommandError("--refused names the file to import: choose another.")
        if not os.access(path.absolute().parent, os.W_OK):
            raise CommandError(f"{path} cannot be written: name another file with --refused.")
        return path

    def choose_columns(self, table: Table, given: dict[str, list[str]]) -> dict[str, list[int]]:
        try:
            columns = choose_columns(BOOKS, table.header, given)
        except MissingColumnError as error:
            raise CommandError(
                f"No column looks like the {BOOKS.label(error.name)}: name it with --column "
                f"{error.name}=COLUMN. The file has: {present(table.header)}."
            ) from None
        for name, indexes in columns.items():
            self.stdout.write(f"{name} <- {', '.join(table.header[index] for index in indexes)}")
        return columns

    def with_progress(self, batches: Iterator[Result], table: Table) -> None:
        # disable=None: no bar without a terminal.
        with tqdm(total=table.total or None, unit_scale=True, file=sys.stderr, disable=None) as bar:
            for result in batches:
                if table.total:
                    bar.update(table.position() - bar.n)
                bar.set_postfix_str(f"{result.read:,} rows, {result.refused:,} refused")

    def stopped(self, result: Result, problem: str) -> str:
        if not result.read:
            return problem
        done = f"{result.new:,} new and {result.changed:,} changed books"
        return f"{problem} Everything up to row {result.last_row:,} is saved: {done}."

    def summarise(self, result: Result, refused: Path, dry_run: bool) -> None:
        say = self.stdout.write
        for repair, count in sorted(result.repairs.items()):
            say(f"Repaired: {repair} ({count:,})")
        if result.blank:
            say(f"Blank rows skipped: {result.blank:,}")
        counts = ("read", "new", "changed", "same", "refused")
        say(", ".join(f"{name}: {getattr(result, name):,}" for name in counts))
        if result.refused:
            say(f"Refused rows, with reasons: {refused}")
        if dry_run:
            say("A dry run: no book was written.")
        elif result.read and not (result.new or result.changed):
            say("Nothing has changed.")


class RefusedRows:
    """The file of refused rows, which is made with the first of them.

    It begins with a UTF-8 byte order mark, which spreadsheets and our readers recognise; bytes
    that are not UTF-8 are written unchanged.
    """

    def __init__(self, path: Path, table: Table) -> None:
        self.path = path
        self.table = table
        self.file: TextIO | None = None

    def __enter__(self) -> "RefusedRows":
        self.path.unlink(missing_ok=True)  # an old one would seem to be about this import
        return self

    def add(self, entry: Entry, reasons: list[str]) -> None:
        if self.file is None:
            self.file = self.path.open(
                "w", encoding="utf-8-sig", errors="surrogateescape", newline=""
            )
            self.writer = RefusedWriter(self.file, self.table.header, self.table.delimiter or ",")
        self.writer.write(Row(entry.row, entry.original, raw=entry.raw), reasons)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.file is not None:
            self.file.close()


def recorded_import(file: str) -> AbstractContextManager[None]:
    return recorded_as(Door.IMPORT, detail=Path(file).name, batch=f"import-{uuid4()}")


def opened(file: str) -> BinaryIO:
    return sys.stdin.buffer if file == "-" else open(file, "rb")


def columns_given(options: list[str]) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = defaultdict(list)
    for option in options:
        name, equals, column = option.partition("=")
        if name not in FIELDS or not (equals and column):
            raise CommandError(
                f"--column {option}: write it as FIELD=COLUMN; fields are {', '.join(FIELDS)}."
            )
        if name != "isbn" and columns[name]:
            raise CommandError(f"--column {name} is given twice.")
        columns[name].append(column)
    return columns
