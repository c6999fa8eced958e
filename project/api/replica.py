"""Reads from a replica of the database (REPLICA_DATABASE_URL), and who may be answered by it.

Only what `from_replica` marks is read there. A client that any other request has just told
something, or written something for, stays with the primary until the replica has it too.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from django.core.cache import cache
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.models import Model
from django.http import Http404, HttpRequest
from rest_framework.request import Request

from project.base import breaker

from .throttling import AccountThrottle

logger = logging.getLogger(__name__)

REPLICA = "replica"
CHECK_SECONDS = 5  # of traffic
KNOWN_SECONDS = 30  # that a check counts
# From the beginning of a request that writes. It may take a minute, and what the replica had at
# the check before, the primary had twice KNOWN_SECONDS ago at the most.
PRIMARY_SECONDS = 120
# These need no privilege, unlike SHOW REPLICA STATUS. Once GTIDs are switched off, the set that
# there was tells nothing.
EXECUTED = "SELECT IF(@@GLOBAL.gtid_mode = 'ON', @@GLOBAL.gtid_executed, '')"
HAS_EXECUTED = "SELECT GTID_SUBSET(%s, @@GLOBAL.gtid_executed)"

_reading: ContextVar[bool] = ContextVar("reading from the replica", default=False)


class Router:
    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return REPLICA if _reading.get() else DEFAULT_DB_ALIAS

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        return DEFAULT_DB_ALIAS  # also of a record that the replica gave

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db != REPLICA


class Watch:
    """Whether the replica has what the primary had at the check before, as this process knows."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        self._set("behind", float("-inf"))

    def _set(self, state: str, at: float, executed: str = "") -> None:
        self.state, self.checked_at, self.executed = state, at, executed

    def current(self) -> str:
        """ok, behind or down. One thread checks, the others go on with what was known."""
        due = time.monotonic() - self.checked_at >= CHECK_SECONDS
        if due and self.lock.acquire(blocking=False):
            try:
                self._check()
            except Error as error:
                self.fail(error)
            finally:
                self.lock.release()
        return self.state if self._is_recent() else "behind"

    def _is_recent(self) -> bool:
        return time.monotonic() - self.checked_at < KNOWN_SECONDS

    def _check(self) -> None:
        now = time.monotonic()
        try:
            executed = _ask(DEFAULT_DB_ALIAS, EXECUTED)
        except Error:  # no fault of the replica
            self._set("behind", now)
            return
        before = self._is_recent() and self.executed or executed
        has_it = _ask(REPLICA, HAS_EXECUTED, before)
        # Without GTIDs nothing tells how far it is.
        self._set("ok" if before and has_it else "behind", now, executed)

    def fail(self, error: Exception) -> None:
        logger.warning("The replica is not read for some seconds, because it fails: %r", error)
        self._set("down", time.monotonic())


watch = Watch()


def is_configured() -> bool:
    return REPLICA in connections.settings


def _ask(alias: str, sql: str, *parameters: str) -> Any:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()[0]


@contextmanager
def reading_replica() -> Iterator[None]:
    token = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(token)


def stay_with_primary(request: Request | HttpRequest) -> None:
    """For this client: what the request writes or is told is then in all that it reads."""
    if is_configured():
        _cache("set", request, True, PRIMARY_SECONDS)


def stays_with_primary(request: Request) -> bool:
    return _cache("get", request, False)


def _cache(method: str, request: Request | HttpRequest, *args: Any) -> Any:
    """Of a cache that fails nothing is known: the primary answers."""
    try:
        with breaker.cache:
            key = f"primary:{AccountThrottle().client(request)}"
            return getattr(cache, method)(key, *args)
    except Exception as error:  # a cache may fail in as many ways as it has backends
        logger.warning("Who must be answered by the primary is not known: %r", error)
        return True


def from_replica(read: Callable[..., Any]) -> Callable[..., Any]:
    """For a view's method that only reads, and may be seconds behind what other clients write."""

    @wraps(read)
    def view(self: Any, request: Request, *args: Any, **kwargs: Any) -> Any:
        if not is_configured():
            return read(self, request, *args, **kwargs)
        if "updated_since" in request.query_params:  # a row that comes late would be missed
            stay_with_primary(request)
        elif not stays_with_primary(request) and watch.current() == "ok":
            try:
                with reading_replica():
                    return read(self, request, *args, **kwargs)
            except Http404:
                pass  # it may be new
            except Error as error:
                watch.fail(error)
        return read(self, request, *args, **kwargs)

    view.reads_replica = True  # type: ignore[attr-defined]
    return view
