"""What a worker does with an import: examine the file, then write its records."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain, islice
from operator import itemgetter
from typing import Any, BinaryIO, cast

from django.utils import timezone
from django.utils.translation import gettext_noop

from project.base.database import persistent_transaction
from project.base.files.reading import open_table
from project.base.files.rows import Row, Table, UnreadableFileError, storable
from project.base.files.sheet_rows import MAX_CPU_SECONDS
from project.base.history import Door, recorded_as
from project.jobs.models import NotFinishedError, State

from .batches import Batch, Result, batches_of, save
from .columns import choose_columns, guess_columns, known_headers, present
from .models import PAGE_SIZE, Import, ImportPage, PageKind
from .records import Entry, Record, Records, entries_of

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
            known_headers=known_headers(job.records, headers_of(job)),
            header_row=job.options.get("header_row"),
        ) as table,
    ):
        sheets = getattr(table, "sheets", [])
        if job.sheet and sheets and job.sheet not in sheets:
            text = gettext_noop("There is no sheet “%(sheet)s”; the file has: %(present)s.")
            raise UnreadableFileError(text, sheet=job.sheet, present=present(sheets))
        yield table


def examine(job: Import) -> None:
    """Sort the file's rows into pages; what an interrupted examination left is replaced."""
    persistent_transaction(lambda: job.pages.all().delete())
    # A large spreadsheet is silent until it is parsed: no second worker may start meanwhile.
    job.record(heartbeat_at=timezone.now() + timedelta(seconds=MAX_CPU_SECONDS))
    with opened(job) as table:
        rows = iter(table)
        sample = list(islice(rows, SAMPLE_ROWS))
        guessed = guess_columns(job.records, table.header, headers_of(job))
        job.record(
            done=0,
            total=table.total,
            reading={
                "encoding": table.encoding,
                "delimiter": table.delimiter,
                "sheet": getattr(table, "sheet", ""),
                "sheets": getattr(table, "sheets", []),
                "header_row": getattr(table, "header_row", None),
                "header": [storable(name) for name in table.header],
                "columns": job.columns or guessed,
                "rows": [
                    [storable(cell[:MAX_SAMPLE_CELL_LENGTH]) for cell in row.cells]
                    for row in sample
                ],
            },
        )
        columns = job.columns or choose_columns(job.records, table.header, headers_of(job))
        sorter = Sorter(job, table)
        entries = entries_of(at_most(chain(sample, rows), MAX_ROWS), columns)
        for batch in batches_of(job.records, entries, sorter.refuse, sorter.result):
            sorter.add(batch)
        sorter.flush()
    if job.awaits_confirmation:
        job.finish(State.EXAMINED, finished_at=None)
    else:
        job.record(**confirmed(job))
        raise NotFinishedError


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
        self.job, self.table, self.records = job, table, job.records
        self.result = Result()
        self.rows: defaultdict[str, list[list[Any]]] = defaultdict(list)
        self.pages: Counter[str] = Counter()

    def refuse(self, entry: Entry, reasons: list[str]) -> None:
        # Not the reasons, which depend on the reader's language.
        problem = entry.problem.as_json() if entry.problem else None
        self.rows[PageKind.REFUSED].append([entry.row, entry.original, entry.raw, problem])

    def add(self, batch: Batch[Any]) -> None:
        entries = {id(record): entry for entry, record in batch.records}

        def row(record: Record) -> list[Any]:
            return [entries[id(record)].row, *self.records.values(record)]

        found = self.records.compare([record for entry, record in batch.records])
        for record, problem in found.refused:
            entry = entries[id(record)]
            entry.problem = problem
            self.refuse(entry, [])
        self.rows[PageKind.NEW] += map(row, found.new)
        self.rows[PageKind.CHANGED] += [[*row(record), *old] for record, old in found.changed]
        same = [*map(row, found.same)]
        same += [[entry.row, *self.records.values(record)] for entry, record in batch.repeated]
        self.rows[PageKind.SAME] += same
        self.result.new += len(found.new)
        self.result.changed += len(found.changed)
        self.result.same += len(same)
        self.result.refused += len(found.refused)
        for rows in self.rows.values():  # in the order of the file
            rows.sort(key=itemgetter(0))
        self.flush(PAGE_SIZE)

    def flush(self, smallest: int = 1) -> None:
        pages = []
        for kind, rows in self.rows.items():
            while len(rows) >= smallest and rows:
                page, rows[:PAGE_SIZE] = rows[:PAGE_SIZE], []
                self.pages[kind] += 1
                pages.append(page_of(self.job, kind, self.pages[kind], page))
        result = self.result
        names = ("read", "new", "changed", "same", "refused", "blank")

        def write() -> None:
            self.job.record(
                done=min(self.table.position(), self.table.total),
                found={name: getattr(result, name) for name in names},
                repairs=dict(result.repairs),
            )
            self.job.pages.bulk_create(pages)

        persistent_transaction(write)


def page_of(job: Import, kind: str, number: int, rows: list[list[Any]]) -> ImportPage:
    return job.pages.model(job=job, kind=kind, number=number, packed=ImportPage.pack(rows))


def run(job: Import) -> None:
    """Write the records; the position is stored with each batch, so none is written twice."""
    stop = time.monotonic() + SLICE_SECONDS
    job.record(state=State.RUNNING)
    with recorded_as(Door.IMPORT, user=job.user, detail=job.origin, batch=job.batch):
        while pages := next_pages(job):
            write_pages(job, pages)
            if time.monotonic() > stop:
                raise NotFinishedError
    job.finish(State.DONE)


def next_pages(job: Import) -> list[ImportPage]:
    pages = job.pages.exclude(kind=PageKind.REFUSED).filter(pk__gt=job.position)
    return list(pages.order_by("pk")[:PAGES_PER_BATCH])


def write_pages(job: Import, pages: list[ImportPage]) -> None:
    before, done, found = dict(job.written), job.done, dict(job.found)
    rows = sorted((row for page in pages for row in page.rows), key=itemgetter(0))

    def write() -> None:
        # Compared anew: what is stored may have changed since the examination.
        records = [job.records.record_with(row[1:]) for row in rows]
        saved = save(job.records, each_once(job.records, records))
        counts = {"new": len(saved.new), "changed": len(saved.changed)}
        counts["same"] = len(rows) - sum(counts.values()) - len(saved.refused)
        job.record(
            position=pages[-1].pk,
            written={name: before.get(name, 0) + count for name, count in counts.items()},
            found=found | {"refused": found["refused"] + len(saved.refused)},
            done=done + len(rows),
            claims=0,
        )
        numbers = {id(record): row[0] for record, row in zip(records, rows, strict=True)}
        add_refused(
            job,
            [
                [numbers[id(record)], cells_of(job, record), "", problem.as_json()]
                for record, problem in saved.refused
            ],
        )

    persistent_transaction(write)


def each_once(records: Records, some: Sequence[Any]) -> list[Any]:
    """Without those that an earlier row has too; the examination saw that they agree."""
    first: dict[frozenset[str], Any] = {}
    for record in some:
        first.setdefault(frozenset(records.keys(record)), record)
    return [*first.values()]


def cells_of(job: Import, record: Any) -> list[str]:
    """The record in the file's own columns, as far as it was read."""
    cells = [""] * len(job.reading["header"])
    for name, indexes in columns_of(job).items():
        cells[indexes[0]] = str(getattr(record, name))
    return cells


def columns_of(job: Import) -> dict[str, list[int]]:
    return job.columns or job.reading.get("columns", {})


def add_refused(job: Import, rows: list[list[Any]]) -> None:
    """Behind those that the examination refused."""
    if not rows:
        return
    refused = job.pages.filter(kind=PageKind.REFUSED)
    number = 1
    if (last := refused.order_by("number").last()) is not None:
        number = last.number
        rows = [*last.rows, *rows]
        last.delete()
    starts = range(0, len(rows), PAGE_SIZE)
    job.pages.bulk_create(
        page_of(job, PageKind.REFUSED, number + i, rows[start : start + PAGE_SIZE])
        for i, start in enumerate(starts)
    )


def begin(job: Import, **choices: Any) -> bool:
    """Confirm it."""
    return type(job).objects.move(job.pk, (State.EXAMINED,), **confirmed(job), **choices)


def confirmed(job: Import) -> dict[str, Any]:
    """What changes with the confirmation."""
    return {
        "state": State.QUEUED,
        "confirmed_at": timezone.now(),
        "done": 0,
        "total": sum(job.found.get(kind, 0) for kind in ("new", "changed", "same")),
    }


def headers_of(job: Import) -> dict[str, list[str]]:
    return job.options.get("headers", {})
