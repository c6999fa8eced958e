"""Results kept for a while."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.cache import cache

from . import breaker

logger = logging.getLogger(__name__)
T = TypeVar("T")


def remembered(key: str, seconds: int, find: Callable[[], T]) -> T:
    """What `find` returned at most so long ago; a cache that is down only costs the finding."""
    stored = _ask("get", key)
    if stored is None:
        stored = (find(),)  # None may be stored too
        _ask("set", key, stored, seconds)
    return stored[0]


def _ask(method: str, *args: Any) -> Any:
    try:
        with breaker.cache:
            return getattr(cache, method)(*args)
    except Exception as error:  # a cache may fail in as many ways as it has backends
        logger.warning("The cache fails, so nothing is kept: %r", error)
        return None
