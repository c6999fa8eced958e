"""What a worker does with an import: examine the file, then write its books."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import chain, islice
from typing import Any, BinaryIO, cast

from django.utils import timezone
from django.utils.translation import gettext_noop

from library.jobs import NotFinishedError, State
from library.models import Book
from project.base.files.reading import open_table
from project.base.files.rows import Row, Table, UnreadableFileError, storable
from project.base.files.sheet_rows import MAX_CPU_SECONDS
from project.base.history import Door, recorded_as

from .columns import choose_columns, columns_of, known_headers
from .entries import FIELDS, Entry, entries_of
from .importing import Batch, Result, _save_books, books_of, compare, persistent_transaction
from .models import PAGE_SIZE, Import, ImportPage, PageKind

MAX_ROWS = 1_000_000
SAMPLE_ROWS = 8
MAX_SAMPLE_CELL_LENGTH = 80  # characters
PAGES_PER_BATCH = 20
SLICE_SECONDS = 60  # after which other tasks have their turn


@contextmanager
def opened(job: Import) -> Iterator[Table]:
    try:
        file = cast(BinaryIO, job.file.open("rb"))
    except OSError:
        raise UnreadableFileError(gettext_noop("The uploaded file is gone.")) from None
    with (
        file,
        open_table(
            file,
            job.kind,
            job.size,
            encoding=job.encoding,
            delimiter=job.delimiter,
            sheet=job.sheet,
            known_headers=known_headers(),
        ) as table,
    ):
        yield table


def examine(job: Import) -> None:
    """Sort the file's rows into pages; what an interrupted examination left is replaced."""
    persistent_transaction(lambda: job.pages.all().delete())
    # A large spreadsheet is silent until it is parsed: no second worker may start meanwhile.
    job.record(heartbeat_at=timezone.now() + timedelta(seconds=MAX_CPU_SECONDS))
    with opened(job) as table:
        rows = iter(table)
        sample = list(islice(rows, SAMPLE_ROWS))
        guessed = guess_columns(table.header)
        job.record(
            done=0,
            total=table.total,
            reading={
                "encoding": table.encoding,
                "delimiter": table.delimiter,
                "sheet": getattr(table, "sheet", ""),
                "sheets": getattr(table, "sheets", []),
                "header": [storable(name) for name in table.header],
                "columns": job.columns or guessed,
                "rows": [
                    [storable(cell[:MAX_SAMPLE_CELL_LENGTH]) for cell in row.cells]
                    for row in sample
                ],
            },
        )
        columns = job.columns or choose_columns(table.header)
        sorter = Sorter(job, table)
        entries = entries_of(at_most(chain(sample, rows), MAX_ROWS), columns)
        for batch in books_of(entries, sorter.refuse, sorter.result):
            sorter.add(batch)
        sorter.flush()
    job.finish(State.EXAMINED, finished_at=None)


def guess_columns(header: list[str]) -> dict[str, list[int]]:
    """Of each field, as far as the header says."""
    guessed: dict[str, list[int]] = {name: [] for name in FIELDS}
    for name in FIELDS:
        with suppress(UnreadableFileError):
            guessed[name] = columns_of(name, header)
    return guessed


def at_most(rows: Iterator[Row], most: int) -> Iterator[Row]:
    for count, row in enumerate(rows, 1):
        if count > most:
            raise UnreadableFileError(
                gettext_noop("The file has more than %(most)d rows: split it."), most=most
            )
        yield row


class Sorter:
    """Writes full pages after each batch, together with the progress."""

    def __init__(self, job: Import, table: Table) -> None:
        self.job, self.table = job, table
        self.result = Result()
        self.rows: defaultdict[str, list[list[Any]]] = defaultdict(list)
        self.pages: Counter[str] = Counter()

    def refuse(self, entry: Entry, reasons: list[str]) -> None:
        # Not the reasons, which depend on the reader's language.
        problem = entry.problem.as_json() if entry.problem else None
        self.rows[PageKind.REFUSED].append([entry.row, entry.original, entry.raw, problem])

    def add(self, batch: Batch) -> None:
        numbers = {id(book): row for row, book in batch.books}
        found = compare([book for row, book in batch.books])
        for book in found.new:
            self.rows[PageKind.NEW].append([numbers[id(book)], *values_of(book)])
        for book, old in found.changed:
            self.rows[PageKind.CHANGED].append([numbers[id(book)], *values_of(book), *old])
        same = [(numbers[id(book)], book) for book in found.same] + batch.repeated
        self.rows[PageKind.SAME] += [[row, *values_of(book)] for row, book in same]
        self.result.new += len(found.new)
        self.result.changed += len(found.changed)
        self.result.same += len(same)
        self.flush(PAGE_SIZE)

    def flush(self, smallest: int = 1) -> None:
        pages = []
        for kind, rows in self.rows.items():
            while len(rows) >= smallest and rows:
                page, rows[:PAGE_SIZE] = rows[:PAGE_SIZE], []
                self.pages[kind] += 1
                packed = ImportPage.pack(page)
                pages.append(
                    ImportPage(job=self.job, kind=kind, number=self.pages[kind], packed=packed)
                )
        result = self.result
        names = ("read", "new", "changed", "same", "refused", "blank")

        def write() -> None:
            self.job.record(
                done=min(self.table.position(), self.table.total),
                found={name: getattr(result, name) for name in names},
                repairs=dict(result.repairs),
            )
            ImportPage.objects.bulk_create(pages)

        persistent_transaction(write)


def values_of(book: Book) -> list[Any]:
    return [book.title, book.author, book.publication_year, book.isbn]


def book_of_row(row: list[Any]) -> Book:
    return Book(**dict(zip(FIELDS, row[1:], strict=False)))


def run(job: Import) -> None:
    """Write the books; the position is stored with each batch, so none is written twice."""
    stop = time.monotonic() + SLICE_SECONDS
    job.record(state=State.RUNNING)
    with recorded_as(Door.IMPORT, user=job.user, detail=job.name, batch=job.batch):
        while pages := next_pages(job):
            write_pages(job, pages)
            if time.monotonic() > stop:
                raise NotFinishedError
    job.finish(State.DONE)


def next_pages(job: Import) -> list[ImportPage]:
    pages = job.pages.exclude(kind=PageKind.REFUSED).filter(pk__gt=job.position)
    return list(pages.order_by("pk")[:PAGES_PER_BATCH])


def write_pages(job: Import, pages: list[ImportPage]) -> None:
    before: Mapping[str, int] = dict(job.written)
    rows = [row for page in pages for row in page.rows]

    def write() -> None:
        # Compared anew: the catalogue may have changed since the examination.
        new, changed = _save_books([book_of_row(row) for row in rows], dry_run=False)
        counts = {"new": new, "changed": changed, "same": len(rows) - new - changed}
        written = {name: before.get(name, 0) + count for name, count in counts.items()}
        job.record(position=pages[-1].pk, written=written, done=sum(written.values()), claims=0)

    persistent_transaction(write)


def begin(job: Import) -> bool:
    """Confirm it."""
    found = job.found
    return Import.objects.move(
        job.pk,
        (State.EXAMINED,),
        state=State.QUEUED,
        confirmed_at=timezone.now(),
        done=0,
        total=sum(found.get(kind, 0) for kind in ("new", "changed", "same")),
    )
