"""A service that does not answer makes one caller wait, not every caller."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry


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


@contextmanager
def redis_at_a_glance() -> Iterator[Redis]:
    """For health checks and the dashboard, which would rather know nothing than wait."""
    options: dict[str, Any] = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5}
    options["retry"] = Retry(NoBackoff(), 0)
    with health, Redis.from_url(settings.REDIS_URL, **options) as redis:
        yield redis
