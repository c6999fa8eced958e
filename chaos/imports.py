"""The catalogue file that is imported while a fault lasts."""

import time
from typing import TYPE_CHECKING

from stdnum import ean

from .stack import Outcome

if TYPE_CHECKING:
    from library.files.models import Import

BOOKS = 10_000  # takes longer than the load lasts
EXAMINATION_SECONDS = 60


def examined(number: int) -> "Import":
    """An import of BOOKS new books, of which no other number has one; it waits for begin()."""
    from django.core.files.base import ContentFile

    from library.files.models import Import
    from project.jobs.models import State
    from project.jobs.tasks import enqueue

    name = f"fault-{number}"
    rows = ["title,author,year,isbn"]
    for book in range(number * BOOKS, (number + 1) * BOOKS):
        isbn = f"978{book:09d}"
        rows.append(f"{name} book {book},Author,2000,{isbn}{ean.calc_check_digit(isbn)}")
    content = ContentFile("\n".join(rows).encode())
    job = Import(name=f"{name}.csv", kind="csv", size=content.size)
    job.file.save(job.name, content)
    enqueue(job)
    deadline = time.monotonic() + EXAMINATION_SECONDS
    while job.state != State.EXAMINED:
        assert time.monotonic() < deadline, f"{job} is {job.state}: {job.problem}"
        time.sleep(0.1)
        job.refresh_from_db()
    return job


def begin(job: "Import") -> None:
    from project.imports import engine
    from project.jobs.tasks import enqueue

    assert engine.begin(job)
    enqueue(job)


def is_over(job: "Import") -> bool:
    from project.jobs.models import WORKING

    job.refresh_from_db()
    return job.state not in WORKING


def judge_import(job: "Import", outcome: Outcome) -> None:
    """Every book of the file once, counted once, with one line of history."""
    from library.models import Book

    books = Book.objects.filter(title__startswith=f"{job.name[:-4]} ").count()
    history = Book.history.filter(batch=job.batch).count()
    for rule, words in (
        (job.state == "done", f"the import is {job.state}: {job.problem}"),
        (job.written == {"new": BOOKS, "changed": 0, "same": 0}, f"it counted {job.written}"),
        (books == BOOKS, f"{books} of {BOOKS} books were imported"),
        (history == BOOKS, f"{history} lines of history for {BOOKS} imported books"),
    ):
        if not rule:
            outcome.wrong.append(words)
