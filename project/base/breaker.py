"""A service that does not answer makes one caller wait, not every caller."""

import time
from typing import Any


class CircuitOpenError(Exception):
    """Not tried, because the last try failed a moment ago."""


class Breaker:
    """`with breaker:` around a call; after an exception the next calls fail at once for REST seconds.

    Each process has its own, so there is nothing to share that could fail in turn.
    """

    def __init__(self, rest: float) -> None:
        self.rest = rest
        self.reset()

    def reset(self) -> None:
        self._until = 0.0

    def __enter__(self) -> None:
        if time.monotonic() < self._until:
            raise CircuitOpenError

    def __exit__(self, kind: type[BaseException] | None, *args: Any) -> None:
        if kind is not None:
            self._until = time.monotonic() + self.rest


broker = Breaker(rest=10)
cache = Breaker(rest=5)
# Apart from `broker`: one lost ping must not stop publishing, nor an open `broker` hide a recovery.
health = Breaker(rest=2)
