import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from library.files.exporting import write_csv
from library.models import Book


class Command(BaseCommand):
    help = "Write the whole catalogue as a CSV file that import_books can read."

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
        try:
            with part.open("w", encoding="utf-8", newline="") as target:
                count = self.export(target.write)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        self.stdout.write(f"{count:,} books written to {path}.")

    def export(self, write: Callable[[str], object]) -> int:
        written = 0
        total = Book.objects.count()
        with tqdm(total=total, unit=" books", file=sys.stderr, disable=None) as bar:
            for text, count in write_csv(Book.objects.in_batches()):
                write(text)
                bar.update(count)
                written += count
        return written
