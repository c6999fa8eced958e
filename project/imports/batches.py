"""The records of a file in batches, each record once, whatever the file's format."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from typing import Generic

from project.base.files.rows import Problem

from .records import Comparison, Entry, Record, Records, RefusedError

BATCH_SIZE = 1000  # rows read, or records written, at a time


@dataclass
class Result:
    read: int = 0
    new: int = 0
    changed: int = 0
    same: int = 0
    refused: int = 0
    blank: int = 0
    last_row: int = 1
    repairs: Counter[str] = field(default_factory=Counter)


@dataclass
class Batch(Generic[Record]):
    """The records of some rows; `repeated` are those that an earlier row of the file has too."""

    records: list[tuple[Entry, Record]] = field(default_factory=list)
    repeated: list[tuple[Entry, Record]] = field(default_factory=list)
    last_row: int = 1


def batches_of(
    records: Records[Record],
    entries: Iterable[Entry],
    refuse: Callable[[Entry, list[str]], None],
    result: Result,
    batch_size: int = BATCH_SIZE,
) -> Iterator[Batch[Record]]:
    """The records with their rows; counts what is none in the result.

    For a repeated key it sets the entry's problem, which nothing but the whole file shows.
    """
    seen = Seen(records)
    entries = iter(entries)
    while rows := list(islice(entries, batch_size)):
        batch: Batch[Record] = Batch()
        for entry in rows:
            if not entry.original:
                result.blank += 1
                continue
            result.read += 1
            try:
                record = records.record_of(entry, result.repairs)
                earlier, differs = seen.before(record, entry.row)
                if differs:
                    entry.problem = Problem(differs, {"row": earlier})
                    raise RefusedError(str(entry.problem))
                (batch.repeated if earlier else batch.records).append((entry, record))
            except RefusedError as refused:
                result.refused += 1
                refuse(entry, refused.reasons)
        batch.last_row = rows[-1].row
        yield batch


def save(
    records: Records[Record], some: Sequence[Record], dry_run: bool = False
) -> Comparison[Record]:
    """Write those that are new or changed."""
    found = records.compare(some, lock=True)
    if not dry_run:
        records.write(found)
    return found


class Seen:
    """The keys of one file, in a temporary database: a file may be larger than memory."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.database = sqlite3.connect("", isolation_level=None)
        self.database.execute("PRAGMA journal_mode=OFF")
        self.database.execute("CREATE TABLE seen (key PRIMARY KEY, line, digest) WITHOUT ROWID")
        self.database.execute("BEGIN")

    def before(self, record: Record, row: int) -> tuple[int, str]:
        """An earlier row with one of its keys, or 0, and what to say if that one differs."""
        data = digest_of(repr(self.records.identity(record)))
        execute = self.database.execute
        added, same = [], 0
        for text, says in self.records.keys(record).items():
            key = digest_of(text)
            if execute("INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (key, row, data)).rowcount:
                added.append([key])
                continue
            line, known = execute("SELECT line, digest FROM seen WHERE key = ?", [key]).fetchone()
            if known != data:
                self.database.executemany("DELETE FROM seen WHERE key = ?", added)
                return line, says
            same = line
        return same, ""


def digest_of(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()
