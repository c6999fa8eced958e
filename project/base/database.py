"""Waiting for the database, its limits, and which of its errors pass by themselves."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain
from typing import Any, TypeVar

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db.models import Model, QuerySet
from django.db.utils import IntegrityError, InterfaceError, OperationalError
from django.utils import timezone

from . import env

logger = logging.getLogger(__name__)

# MySQL's errors that pass by themselves. The server restarts, is full, unreachable or hung up:
CONNECTION_ERRORS = {1040, 1053, 2002, 2003, 2006, 2013, 4031}
# Another transaction held the lock: lock wait timeout, deadlock.
LOCK_ERRORS = {1205, 1213}
# The server takes no writes for a while: read only during a failover, disk full.
WRITE_ERRORS = {1021, 1114, 1290, 1836, 3101}

# SQLite's errors have no numbers. A search for "locked" would find MySQL's 3118, a locked account.
SQLITE_LOCK_ERRORS = ("database is locked", "database table is locked")

# A statement fails once the server is silent for this long. In a web somebody waits: with a full
# disk its COMMITs never end, and lists wait for a free thread.
READ_TIMEOUT_SECONDS = 20
WEB_READ_TIMEOUT_SECONDS = 6
# Below the line above, as the lock wait of env.mysql_options() is below READ_TIMEOUT_SECONDS.
WEB_LOCK_WAIT_SECONDS = 4

# MySQL 9.7 remembers up to 10,000,000 write sets. Once a large load has filled this history, to
# clear it at each commit to a table that a foreign key points at costs 6 ms of CPU instead of 0.5.
WRITE_SETS = ("log_bin", "binlog_transaction_dependency_history_size")
MAX_WRITE_SETS = 1_000_000

# A statement that names each: below SQLite's old limit of 999.
MAX_PARAMETERS = 900

# Waiting will not help: access denied (1044, 1045, 1698), no such database (1049).
LOGIN_ERRORS = {1044, 1045, 1049, 1698}


def wait_for_database(log: Callable[[str], Any]) -> None:
    """Return once it accepts our login; raise SettingError after DATABASE_WAIT seconds."""
    timeout = env.number("DATABASE_WAIT", 60, 0, 3600)
    start = time.monotonic()
    said = float("-inf")
    while True:
        try:
            connection.ensure_connection()
            return
        except OperationalError as error:
            passed = time.monotonic() - start
            reason = " ".join(str(part) for part in error.args)
            if error.args[0] in LOGIN_ERRORS or passed >= timeout:
                raise env.SettingError(
                    "DATABASE_URL", f"names a database that lets nobody in: {reason}"
                ) from None
            if passed - said >= 5:
                log(f"Waiting for the database ({passed:.0f} of {timeout} s): {reason}")
                said = passed
            time.sleep(0.5)


def bound_waits(web: bool = False) -> None:
    """For webs and workers: make a statement fail (2013) when the server falls silent.

    TCP alone would hold the thread for hours. A migration may take its time.
    """
    if connection.vendor != "mysql":
        return
    options = connection.settings_dict["OPTIONS"]
    for option in ("read_timeout", "write_timeout"):
        options.setdefault(option, WEB_READ_TIMEOUT_SECONDS if web else READ_TIMEOUT_SECONDS)
    if web:
        options["init_command"] += f", innodb_lock_wait_timeout = {WEB_LOCK_WAIT_SECONDS}"


@contextmanager
def one_at_a_time(log: Callable[[str], Any]) -> Iterator[None]:
    """Lock the whole database, so that machines that start together do not race.

    MySQL only: the embedded run has its own lock. The lock ends with our connection.
    """
    if connection.vendor != "mysql":
        yield
        return
    timeout = env.number("MIGRATE_WAIT", 600, 0, 86400)
    lock = f"prepare {connection.settings_dict['NAME']}"[:64]  # locks belong to the whole server
    with connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, 0)", [lock])
        if cursor.fetchone() != (1,):
            log("Another process is preparing this database; waiting for it …")
            cursor.execute("SELECT GET_LOCK(%s, %s)", [lock, timeout])
            if cursor.fetchone() != (1,):
                raise SystemExit(
                    f"Another process has been preparing this database for {timeout} s."
                )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT RELEASE_LOCK(%s)", [lock])


def is_lock_error(error: Exception) -> bool:
    """Whether this transaction lost to another one."""
    code = error.args[0] if error.args else None
    return code in LOCK_ERRORS or str(error).startswith(SQLITE_LOCK_ERRORS)


T = TypeVar("T")
MAX_TRANSACTION_ATTEMPTS = 5


def persistent_transaction(write: Callable[[], T]) -> T:
    """Tried again if it loses to somebody else's."""
    for attempt in range(1, MAX_TRANSACTION_ATTEMPTS + 1):
        try:
            with transaction.atomic():
                return write()
        except (OperationalError, IntegrityError) as error:
            # Or somebody else has just added one of these records: next time it is found.
            passing = isinstance(error, IntegrityError) or is_lock_error(error)
            if attempt == MAX_TRANSACTION_ATTEMPTS or not passing:
                raise
    raise AssertionError


def persistently(call: Callable[[], T], timeout: float = 60) -> T:
    """Call it again for up to timeout seconds while MySQL restarts or has dropped the connection.

    Only for single statements outside transactions that may safely run twice.
    """
    stop = time.monotonic() + timeout
    wait = 0.05
    while True:
        try:
            return call()
        except (OperationalError, InterfaceError) as error:
            code = error.args[0] if error.args else None
            passing = code in CONNECTION_ERRORS | WRITE_ERRORS or isinstance(error, InterfaceError)
            passing = passing or is_lock_error(error)
            if connection.in_atomic_block or not passing or time.monotonic() > stop:
                raise
            logger.warning("Trying again after MySQL's error %s.", code)
            # Outside requests and tasks Django never drops a broken connection by itself.
            connection.close()
        except SoftTimeLimitExceeded:
            logger.warning("Time is up, but this must be recorded.")
        with suppress(SoftTimeLimitExceeded):
            time.sleep(wait)
        wait = min(wait * 2, 2)


def insert_rows(records: Sequence[Model], using: str = DEFAULT_DB_ALIAS) -> None:
    """Add new records of one model, all at one time, as save() does but without signals.

    A single one gets its id. The ORM builds the statement anew, which takes longer than to run it.
    """
    database, now = connections[using], timezone.now()

    def column_of(field: Any) -> list[Any]:
        if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
            for record in records:
                setattr(record, field.attname, now)
            return [field.get_db_prep_save(now, database)] * len(records)
        return [
            field.get_db_prep_save(field.pre_save(record, True), database) for record in records
        ]

    first = records[0]
    fields, statement = _insert_into(type(first))
    rows = list(zip(*map(column_of, fields), strict=True))
    with database.cursor() as cursor:
        if len(rows) > 1:
            cursor.executemany(statement, rows)
        else:
            cursor.execute(statement, rows[0])
            first.pk = first.pk or cursor.lastrowid
    for record in records:
        record._state.adding, record._state.db = False, using


@cache
def _insert_into(model: type[Model]) -> tuple[Sequence[Any], str]:
    fields = model._meta.concrete_fields
    columns = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    return fields, f"INSERT INTO {model._meta.db_table} ({columns}) VALUES ({marks})"  # nosec


# The id of a row, what was read of it, and what to write.
Change = tuple[int, dict[str, Any], dict[str, Any]]


def update_rows(model: type[Model], *changes: Change) -> int:
    """Change rows by one statement, each only if it is still as it was read; how many were.

    Each statement is a round trip and a flush to disk. The ORM would take longer to write these
    CASEs than two statements take.
    """
    values: list[Any] = []

    def prepared(name: str, value: object) -> Any:
        return model._meta.get_field(name).get_db_prep_save(value, connection)  # type: ignore[union-attr]

    assignments, conditions = [], []
    for name in dict.fromkeys(chain.from_iterable(columns for _pk, _read, columns in changes)):
        new = [(pk, prepared(name, columns[name])) for pk, _, columns in changes if name in columns]
        values += chain.from_iterable(new)
        assignments.append(f"{name} = CASE id {'WHEN %s THEN %s ' * len(new)}ELSE {name} END")
    for pk, read, _columns in changes:
        known = {name: prepared(name, value) for name, value in read.items() if value is not None}
        values += [pk, *known.values()]
        tests = ["id = %s", *(f"{name} = %s" for name in known)]
        tests += [f"{name} IS NULL" for name in read if name not in known]
        conditions.append(f"({' AND '.join(tests)})")
    what, which = ", ".join(assignments), " OR ".join(conditions)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {model._meta.db_table} SET {what} WHERE {which}", values)  # nosec
        return cursor.rowcount


def warn_about_server(log: Callable[[str], Any]) -> None:
    """What this MySQL lacks, and only its own administrator can change."""
    if connection.vendor != "mysql":
        return
    with connection.cursor() as cursor:
        # Without its zone tables there is no local time, and pages that group by day fail.
        cursor.execute("SELECT CONVERT_TZ('2000-01-01', 'UTC', %s)", [settings.TIME_ZONE])
        if cursor.fetchone() == (None,):
            log(
                f"This MySQL does not know the time zone {settings.TIME_ZONE}: load its tables "
                "(mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql -u root mysql)."
            )
        cursor.execute("SHOW GLOBAL VARIABLES WHERE Variable_name IN (%s, %s)", [*WRITE_SETS])
        variables = dict(cursor.fetchall())
    log_bin, history_size = (variables.get(name, "") for name in WRITE_SETS)
    if log_bin == "ON" and int(history_size or 0) > MAX_WRITE_SETS:
        log(
            "This MySQL needs milliseconds more than necessary for each commit: start it with "
            f"--binlog-transaction-dependency-history-size=25000 (it is {history_size})."
        )


def is_id(text: str) -> bool:
    return text.isdecimal() and len(text) < 19  # of 64 bits


def rows_by_key(queryset: QuerySet, keys: Sequence[int]) -> list[Any]:
    """The rows with these keys, in any order, with what the query set joins to them.

    To build a statement anew takes the ORM longer than to read a row, so plain SQL reads a single
    table.
    """
    if not keys:
        return []
    model: type[Model] = queryset.model
    rows = model._default_manager.all()
    rows.query.select_related = queryset.query.select_related
    if rows.query.select_related:
        return list(rows.filter(pk__in=keys))
    marks = ", ".join(["%s"] * len(keys))
    return list(rows.raw(f"{_select_by_key(model)} IN ({marks})", keys))


@cache
def _select_by_key(model: type[Model]) -> str:
    table, key = map(connection.ops.quote_name, (model._meta.db_table, str(model._meta.pk.column)))
    return f"{model._base_manager.order_by().query} WHERE {table}.{key}"


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """For statements that name each: their length and parameters are limited."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
