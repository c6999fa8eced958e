"""Writing a bulk change: chunk by chunk, each in a transaction with the job's progress."""

import time
from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from library.models import Book
from project.base.database import persistent_transaction
from project.base.history import Door, recorded_as
from project.jobs.models import NotFinishedError, State

from .models import BulkChange, Kind

BOOKS_PER_TRANSACTION = 500
SLICE_SECONDS = 60  # after which other tasks have their turn
FIELDS = ("title", "author", "publication_year", "isbn")


class ChangedMeanwhileError(Exception):
    """One of the books to merge is gone, or no longer has the chosen value."""


def run(job: BulkChange) -> None:
    ids = job.ids
    stop = time.monotonic() + SLICE_SECONDS
    job.record(state=State.RUNNING)
    with recorded_as(Door.BULK, user=job.user, detail=job.origin, batch=job.batch):
        while job.position < len(ids):
            chunk = ids[job.position : job.position + BOOKS_PER_TRANSACTION]
            position, changed = job.position + len(chunk), job.changed

            def write(
                chunk: list[int] = chunk, position: int = position, changed: int = changed
            ) -> None:
                changed += _write(job, chunk)
                job.record(position=position, done=position, changed=changed, claims=0)

            persistent_transaction(write)
            if time.monotonic() > stop and job.position < len(ids):
                raise NotFinishedError
    job.finish(State.DONE)


def _write(job: BulkChange, ids: Sequence[int]) -> int:
    """How many of these books it has changed; those that are gone meanwhile are left out."""
    if job.kind == Kind.DELETE:
        return Book.objects.filter(pk__in=ids).delete()[1].get(Book._meta.label, 0)
    differ = differing(job.kind, job.value, ids, lock=True)
    Book.objects.filter(pk__in=[book.pk for book in differ]).update(**{job.kind: job.new_value})
    return len(differ)


def differing(kind: str, value: str, ids: Sequence[int], lock: bool = False) -> list[Book]:
    """The books that would change. Compared here: to a database "tolkien" may be "Tolkien"."""
    books = Book.objects.filter(pk__in=ids).order_by("pk")
    return [
        book
        for book in (books.select_for_update() if lock else books)
        if kind == Kind.DELETE or str(getattr(book, kind)) != value
    ]


def merge(user_id: int | None, keep: int, ids: Sequence[int], values: dict[str, str]) -> BulkChange:
    """Make these books one: the record `keep` gets the values, the others are deleted.

    Raises ChangedMeanwhileError unless each value is one of the books'.
    """
    with transaction.atomic():
        rows = Book.objects.filter(pk__in=ids).order_by("pk").select_for_update()
        books = {book.pk: book for book in rows}
        stored = {
            name: {str(getattr(book, name) or "") for book in books.values()} for name in FIELDS
        }
        if set(books) != {*ids, keep} or any(values[name] not in stored[name] for name in FIELDS):
            raise ChangedMeanwhileError
        job = BulkChange.objects.create(
            user_id=user_id,
            kind=Kind.MERGE,
            value=values["title"],
            packed_ids=BulkChange.pack(sorted(ids)),
            state=State.DONE,
            changed=len(ids),
            done=len(ids),
            total=len(ids),
            finished_at=timezone.now(),
        )
        with recorded_as(Door.BULK, user=job.user, detail=job.origin, batch=job.batch):
            Book.objects.filter(pk__in=set(books) - {keep}).delete()  # first: they hold their ISBNs
            kept = books[keep]
            for name in FIELDS:
                setattr(kept, name, int(values[name]) if name == Kind.YEAR else values[name])
            kept.save()
    return job
