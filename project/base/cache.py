"""Results kept for a while, and counts."""

import logging
import os
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.cache import cache
from django.core.cache.backends import locmem, redis
from redis import ConnectionError, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import breaker

logger = logging.getLogger(__name__)
T = TypeVar("T")


class LocMemCache(locmem.LocMemCache):
    def count(self, key: str, number: int, seconds: int) -> int:
        """Add to a count that begins at 0 and ends after so long; returns the sum."""
        self.add(key, 0, seconds)
        return self.incr(key, number)


# A connection that is kept may have been closed meanwhile; to a server that is silent, nobody
# waits twice.
RECONNECT = Retry(NoBackoff(), 1, (ConnectionError,))


class RedisCacheClient(redis.RedisCacheClient):
    """Django's makes a client for each call, which takes its connection from a pool and checks it:
    both cost more CPU than the call."""

    _owner = 0
    _only_client: Redis  # of this thread, for each has caches of its own

    def get_client(self, key: Any = None, *, write: bool = False) -> Redis:
        if self._owner != os.getpid():  # a fork shares its parent's connection
            self._only_client, self._owner = self._connect(), os.getpid()
        return self._only_client

    def _connect(self) -> Redis:
        pool = self._get_connection_pool(write=True)  # type: ignore[attr-defined]
        pool.set_retry(RECONNECT)
        return Redis(connection_pool=pool, single_connection_client=True)


class RedisCache(redis.RedisCache):
    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = RedisCacheClient

    def count(self, key: str, number: int, seconds: int) -> int:
        """As above, in one round trip: add() and incr() are three."""
        client, key = self._cache.get_client(), self.make_and_validate_key(key)
        if not number:
            return int(client.get(key) or 0)
        total = client.incrby(key, number)
        if total == number:
            client.expire(key, seconds)
        return total


def remembered(key: str, seconds: int | Callable[[T], int], find: Callable[[], T]) -> T:
    """What `find` returned at most so long ago; a cache that is down only costs the finding.

    `seconds` may depend on what was found, and 0 keeps nothing.
    """
    stored = _ask("get", key)
    if stored is None:
        stored = (find(),)  # None may be stored too
        _ask("set", key, stored, seconds(stored[0]) if callable(seconds) else seconds)
    return stored[0]


def _ask(method: str, *args: Any) -> Any:
    try:
        with breaker.cache:
            return getattr(cache, method)(*args)
    except Exception as error:  # a cache may fail in as many ways as it has backends
        logger.warning("The cache fails, so nothing is kept: %r", error)
        return None
