"""A statement that must not be lost outlasts a restart of MySQL."""

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import IntegrityError, OperationalError

from project import database


class Flaky:
    """Raises these, one after the other, and then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(database.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(database, "connection", type("Closed", (), {"close": lambda: None}))
    database.connection.in_atomic_block = False


@pytest.mark.parametrize("code", [1205, 1213, 1040, 1290, 2003, 2006, 2013, 4031])
def test_what_passes_by_itself_is_waited_for(code):
    assert database.persistently(Flaky(*[OperationalError(code, "")] * 5)) == "done"


@pytest.mark.parametrize("words", ["database is locked", "database table is locked: library_book"])
def test_a_lock_of_sqlite_is_waited_for(words):
    assert database.persistently(Flaky(*[OperationalError(words)] * 5)) == "done"


@pytest.mark.parametrize(
    "error",
    [
        OperationalError(1045, "denied"),
        OperationalError(3118, "Access denied for user 'app'. Account is locked."),
        OperationalError("database disk image is malformed"),
        IntegrityError(1062, "twice"),
    ],
    ids=repr,
)
def test_what_does_not_pass_is_raised(error):
    with pytest.raises(type(error)):
        database.persistently(Flaky(error))


def test_patience_ends():
    with pytest.raises(OperationalError):
        database.persistently(Flaky(OperationalError(2006, "")), patience=-1)


def test_the_time_limit_of_a_task_does_not_end_it():
    flaky = Flaky(OperationalError(2006, ""), SoftTimeLimitExceeded())
    assert database.persistently(flaky) == "done"


def test_inside_a_transaction_nothing_is_repeated():
    database.connection.in_atomic_block = True
    with pytest.raises(OperationalError):
        database.persistently(Flaky(OperationalError(2006, "")))
