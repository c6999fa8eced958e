"""What a process sends, in a file that outlives it.

A batch of mails is recorded in the database together. Whoever is killed before that must not have
them sent twice: the file says which ones were, and which were never begun. It is held open and
locked as long as its process lives.
"""

import fcntl
import json
import logging
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings

logger = logging.getLogger(__name__)


def folder() -> Path:
    return settings.DATA_DIR / "sending"


class Ledger(AbstractContextManager["Ledger"]):
    """The mails of one claim; a disk that cannot be written stops none of them."""

    file: BinaryIO | None = None

    def __init__(self, claimed_at: datetime, ids: list[int]) -> None:
        self.path = folder() / f"{uuid.uuid4().hex}.claim"
        try:
            self.path.parent.mkdir(exist_ok=True)
            hidden = self.path.with_suffix(".new")  # until it is locked
            self.file = open(hidden, "xb", buffering=0)  # noqa: SIM115  # closed at the end
            fcntl.flock(self.file, fcntl.LOCK_EX)
            self._write(json.dumps([claimed_at.isoformat(), ids]))
            hidden.rename(self.path)
        except OSError as error:
            self._give_up(error)

    def sent(self, pk: int) -> None:
        """The mail server has taken it."""
        self._write(str(pk))

    def __exit__(self, failure: type[BaseException] | None, *rest: Any) -> None:
        if self.file:
            if failure is None:  # all is recorded
                self.path.unlink(missing_ok=True)
            self.file.close()

    def _write(self, line: str) -> None:
        if self.file:
            try:
                self.file.write(f"{line}\n".encode())
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        logger.warning("Mails are sent without a ledger: %r", error)
        if self.file:
            # Before the lock: what is unlocked would be taken for a dead process's.
            for path in (self.path, self.path.with_suffix(".new")):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            self.file.close()
            self.file = None


@dataclass
class Legacy:
    """What a dead process has left of a claim."""

    claimed_at: datetime
    sent: list[int]
    in_flight: list[int]  # the one at which it died, if at any
    untouched: list[int]


def of_the_dead() -> Iterator[Legacy]:
    """The ledger of each process that has died; it is thrown away when the next one is asked for."""
    for path in sorted(folder().glob("*.claim")):
        try:
            with open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if (legacy := _read(file.read())) is not None:
                    yield legacy
                path.unlink(missing_ok=True)
        except (BlockingIOError, FileNotFoundError):
            continue  # its process lives, or has just finished


def _read(content: bytes) -> Legacy | None:
    first, *marks = content.decode("ascii", "replace").splitlines() or [""]
    try:
        claimed_at, ids = json.loads(first)
        sent = [int(mark) for mark in marks]
        left = [pk for pk in ids if pk not in sent]
        return Legacy(datetime.fromisoformat(claimed_at), sent, left[:1], left[1:])
    except (ValueError, TypeError):
        logger.warning("A ledger that the machine's end has torn is thrown away.")
        return None
