"""Circuit breakers: a service that does not answer delays one caller, not every caller."""

import time
from typing import Any


class CircuitOpenError(Exception):
    """The last call failed a moment ago, so this one was not made."""


class Breaker:
    """`with breaker:` around a call; after an exception it stays open for reset_seconds: calls fail.

    Each process has its own: shared state could fail in turn.
    """

    def __init__(self, reset_seconds: float) -> None:
        self.reset_seconds = reset_seconds
        self.reset()

    def reset(self) -> None:
        self._until = 0.0

    def __enter__(self) -> None:
        if time.monotonic() < self._until:
            raise CircuitOpenError

    def __exit__(self, kind: type[BaseException] | None, *args: Any) -> None:
        if kind is not None:
            self._until = time.monotonic() + self.reset_seconds


broker = Breaker(reset_seconds=10)
cache = Breaker(reset_seconds=5)
# Apart from `broker`: a lost ping must not stop publishing, nor an open `broker` hide a recovery.
health = Breaker(reset_seconds=2)
