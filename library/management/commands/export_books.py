import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from library.files.entries import FIELDS
from library.files.exporting import whole_catalogue, write_csv, write_json_lines
from library.models import Book
from project.base.files.reading import format_of
from project.base.files.writing import MAX_XLSX_ROWS, write_xlsx


class Command(BaseCommand):
    help = (
        "Write the whole catalogue as a file that import_books can read: CSV, or by the ending of "
        "its name TSV, XLSX or JSON lines."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", nargs="?", default="-", help="where to write (default: standard output)"
        )

    def handle(self, *, file: str, **options: Any) -> None:
        try:
            if file == "-":
                self.export(lambda text: self.stdout.write(text, ending=""))
            else:
                self.to_file(Path(file))
        except BrokenPipeError:
            # The reader, such as head, has had enough; Python must not flush into its pipe.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            raise CommandError(f"{error.filename or file}: {error.strerror or error}.") from None

    def to_file(self, path: Path) -> None:
        """All or nothing: a reader never sees half a catalogue under this name."""
        if path.is_dir():
            raise CommandError(f"{path} is a folder: name a file.")
        part = path.with_name(f"{path.name}.part")
        kind = format_of(path.name) or "csv"
        if kind == "ods":
            raise CommandError("ODS is only read: choose .xlsx.")
        try:
            if kind == "xlsx":
                count = self.to_xlsx(part)
            else:
                with part.open("w", encoding="utf-8", newline="") as target:
                    count = self.export(target.write, kind)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        self.stdout.write(f"{count:,} books written to {path}.")

    def export(self, write: Callable[[str], object], kind: str = "csv") -> int:
        batches = whole_catalogue()
        if kind == "jsonl":
            chunks = write_json_lines(batches)
        else:
            chunks = write_csv(batches, delimiter="\t" if kind == "tsv" else ",")

        def counts() -> Iterator[int]:
            for text, count in chunks:
                write(text)
                yield count

        return self.with_progress(counts(), Book.objects.count())

    def to_xlsx(self, path: Path) -> int:
        total = Book.objects.count()
        if total > MAX_XLSX_ROWS:
            raise CommandError(f"XLSX holds {MAX_XLSX_ROWS:,} books, not {total:,}: choose .csv.")
        with path.open("wb") as target:
            return self.with_progress(write_xlsx(target, FIELDS, whole_catalogue()), total)

    def with_progress(self, counts: Iterator[int], total: int) -> int:
        written = 0
        with tqdm(total=total, unit=" books", file=sys.stderr, disable=None) as bar:
            for count in counts:
                bar.update(count)
                written += count
        return written
