"""A statement that must not be lost survives a restart of MySQL."""

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import IntegrityError, InterfaceError, OperationalError

from project.base import database


class Flaky:
    """Raises these, one after the other, and then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


class Connection:
    in_atomic_block = False
    closed = 0

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def connection(monkeypatch) -> Connection:
    connection = Connection()
    monkeypatch.setattr(database, "connection", connection)
    return connection


@pytest.fixture(autouse=True)
def waits(monkeypatch) -> list[float]:
    """The waits, which take no time here."""
    waits: list[float] = []
    monkeypatch.setattr(database.time, "monotonic", lambda: sum(waits))
    monkeypatch.setattr(database.time, "sleep", waits.append)
    return waits


PASSING = [
    *(1040, 1053, 2002, 2003, 2006, 2013, 4031),  # no connection
    *(1205, 1213),  # somebody else's transaction
    *(1021, 1114, 1290, 1836, 3101),  # no writes
]


@pytest.mark.parametrize("code", PASSING)
def test_what_passes_by_itself_is_waited_for(code, connection, caplog):
    flaky = Flaky(*[OperationalError(code, "")] * 5)
    assert database.persistently(flaky) == "done"
    assert flaky.calls == 6
    assert connection.closed == 5, "a broken connection would fail for ever"
    assert f"MySQL's error {code}" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        InterfaceError(0, ""),
        InterfaceError(),
        OperationalError("database is locked"),
        OperationalError("database table is locked: book"),
    ],
)
def test_so_is_what_has_no_number(error):
    assert database.persistently(Flaky(error)) == "done"


@pytest.mark.parametrize(
    "error",
    [
        *(OperationalError(code, "") for code in (1045, 1049, 1142, 3819)),
        OperationalError(),
        OperationalError("no such table"),
        OperationalError("database disk image is malformed"),
        OperationalError(3118, "Access denied for user 'app'. Account is locked."),
        IntegrityError(1062, "twice"),
        IntegrityError(2006, ""),
        ValueError("a fault of ours"),
    ],
)
def test_what_does_not_pass_is_raised_at_once(error):
    flaky = Flaky(error, error)
    with pytest.raises(type(error)):
        database.persistently(flaky)
    assert flaky.calls == 1


def test_a_good_answer_is_not_asked_for_twice(waits):
    flaky = Flaky()
    assert database.persistently(flaky) == "done"
    assert (flaky.calls, waits) == (1, [])


def test_the_waits_grow_to_two_seconds(waits):
    database.persistently(Flaky(*[OperationalError(2006, "")] * 8))
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2, 2]


@pytest.mark.parametrize(("options", "limit"), [({}, 60), ({"timeout": 30}, 30)])
def test_it_gives_up(options, limit, waits):
    with pytest.raises(OperationalError):
        database.persistently(Flaky(*[OperationalError(2006, "")] * 100), **options)
    assert limit < sum(waits) <= limit + 2


def test_the_time_limit_of_a_task_does_not_end_it(connection, caplog):
    flaky = Flaky(OperationalError(2006, ""), SoftTimeLimitExceeded())
    assert database.persistently(flaky) == "done"
    assert "Time is up" in caplog.text


def test_nor_does_it_while_it_waits(monkeypatch):
    def interrupted(seconds):
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(database.time, "sleep", interrupted)
    assert database.persistently(Flaky(OperationalError(2006, ""))) == "done"


@pytest.mark.parametrize("code", PASSING)
def test_inside_a_transaction_nothing_is_repeated(code, connection):
    connection.in_atomic_block = True
    flaky = Flaky(OperationalError(code, ""))
    with pytest.raises(OperationalError):
        database.persistently(flaky)
    assert (flaky.calls, connection.closed) == (1, 0)
