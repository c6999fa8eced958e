"""What every role asks of its database before it starts."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import connection
from django.db.utils import InterfaceError, OperationalError

from . import env

logger = logging.getLogger(__name__)

# What passes by itself. No connection: server restarts, is full, cut us off or cannot be reached.
LOST = {1040, 1053, 2002, 2003, 2006, 2013, 4031}
# Or another transaction was in the way: lock wait timeout, deadlock.
IN_THE_WAY = {1205, 1213}
# Or the server takes no writes for a while: read only during a failover, disk full.
NO_WRITES = {1021, 1114, 1290, 1836, 3101}

# SQLite has no numbers. MySQL's error 3118 speaks of a locked account, so its words are not enough.
SQLITE_IN_THE_WAY = ("database is locked", "database table is locked")

# Seconds that a server in service may be silent before a statement has failed. In a web somebody
# waits: while the server's disk is full its COMMITs never end, and lists wait for a free thread.
SILENCE = 20
WEB_SILENCE = 6
WEB_LOCK_WAIT = 4  # below it, as the one in env.mysql_options() is below SILENCE

# Waiting will not help: access denied (1044, 1045, 1698), no such database (1049).
REFUSED = {1044, 1045, 1049, 1698}


def wait_for_database(log: Callable[[str], Any]) -> None:
    """Return when it takes our login; after DATABASE_WAIT seconds that is a wrong setting."""
    patience = env.number("DATABASE_WAIT", 60, 0, 3600)
    start = time.monotonic()
    said = float("-inf")
    while True:
        try:
            connection.ensure_connection()
            return
        except OperationalError as error:
            passed = time.monotonic() - start
            reason = " ".join(str(part) for part in error.args)
            if error.args[0] in REFUSED or passed >= patience:
                raise env.SettingError(
                    "DATABASE_URL", f"names a database that lets nobody in: {reason}"
                ) from None
            if passed - said >= 5:
                log(f"Waiting for the database ({passed:.0f} of {patience} s): {reason}")
                said = passed
            time.sleep(0.5)


def bound_waits(web: bool = False) -> None:
    """For webs and workers: a server that says nothing more fails a statement (2013).

    Else it would hold the thread for as long as TCP has patience, which is hours. A migration may
    take its time.
    """
    if connection.vendor != "mysql":
        return
    options = connection.settings_dict["OPTIONS"]
    for option in ("read_timeout", "write_timeout"):
        options.setdefault(option, WEB_SILENCE if web else SILENCE)
    if web:
        options["init_command"] += f", innodb_lock_wait_timeout = {WEB_LOCK_WAIT}"


@contextmanager
def one_at_a_time(log: Callable[[str], Any]) -> Iterator[None]:
    """Hold a lock of the whole database, so that machines that start together do not race.

    MySQL only: SQLite's embedded run has a lock of its own. It ends with our connection.
    """
    if connection.vendor != "mysql":
        yield
        return
    patience = env.number("MIGRATE_WAIT", 600, 0, 86400)
    lock = f"prepare {connection.settings_dict['NAME']}"[:64]  # locks belong to the whole server
    with connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, 0)", [lock])
        if cursor.fetchone() != (1,):
            log("Another process prepares this database; waiting for it …")
            cursor.execute("SELECT GET_LOCK(%s, %s)", [lock, patience])
            if cursor.fetchone() != (1,):
                raise SystemExit(f"Another process has prepared this database for {patience} s.")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT RELEASE_LOCK(%s)", [lock])


def gave_way(error: Exception) -> bool:
    """Whether another transaction was in the way of this one."""
    code = error.args[0] if error.args else None
    return code in IN_THE_WAY or str(error).startswith(SQLITE_IN_THE_WAY)


T = TypeVar("T")


def persistently(call: Callable[[], T], patience: float = 60) -> T:
    """CALL, again and again for PATIENCE seconds while MySQL restarts or has cut us off.

    For single statements outside of transactions only, which do no harm when they run twice.
    """
    stop = time.monotonic() + patience
    wait = 0.05
    while True:
        try:
            return call()
        except (OperationalError, InterfaceError) as error:
            code = error.args[0] if error.args else None
            passing = code in LOST | NO_WRITES or isinstance(error, InterfaceError)
            passing = passing or gave_way(error)
            if connection.in_atomic_block or not passing or time.monotonic() > stop:
                raise
            logger.warning("Tried again after MySQL's error %s.", code)
            # Django never leaves a broken connection by itself outside of requests and tasks.
            connection.close()
        except SoftTimeLimitExceeded:
            logger.warning("The time is up, but this must be recorded.")
        with suppress(SoftTimeLimitExceeded):
            time.sleep(wait)
        wait = min(wait * 2, 2)


def warn_about_time_zones(log: Callable[[str], Any]) -> None:
    """Without its zone tables MySQL has no local times, and a page that groups by day fails."""
    if connection.vendor != "mysql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT CONVERT_TZ('2000-01-01', 'UTC', %s)", [settings.TIME_ZONE])
        if cursor.fetchone() == (None,):
            log(
                f"This MySQL does not know the time zone {settings.TIME_ZONE}: load its tables "
                "(mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql -u root mysql)."
            )
