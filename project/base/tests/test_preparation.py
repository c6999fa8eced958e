import re
import time
from types import SimpleNamespace
from unittest.mock import MagicMock, patch

import pytest
from django.db import connection
from django.db.utils import OperationalError

from project.base import database, env


@pytest.fixture
def refusing(monkeypatch):
    """A database that lets us in after so many refusals."""

    def refuse(times, code=2002):
        answers = iter([OperationalError(code, "Can't connect")] * times)

        def ensure_connection():
            for error in answers:
                raise error

        monkeypatch.setattr(connection, "ensure_connection", ensure_connection)
        monkeypatch.setattr(database.time, "sleep", lambda seconds: None)

    return refuse


def test_a_start_waits_for_its_database_and_says_so(refusing):
    refusing(3)
    lines = []
    database.wait_for_database(lines.append)
    assert lines == ["Waiting for the database (0 of 60 s): 2002 Can't connect"]


def test_while_it_waits_it_says_so_every_five_seconds(refusing, monkeypatch):
    refusing(12)
    clock = iter(range(100))
    monkeypatch.setattr(database.time, "monotonic", lambda: next(clock))
    lines = []
    database.wait_for_database(lines.append)
    assert [line.split("(")[1].split()[0] for line in lines] == ["1", "6", "11"]


def test_the_wait_ends_with_one_clear_line(refusing, monkeypatch):
    refusing(1000)
    monkeypatch.setenv("DATABASE_WAIT", "0")
    with pytest.raises(env.SettingError, match="DATABASE_URL names a database that lets nobody in"):
        database.wait_for_database(print)


@pytest.mark.parametrize("code", [1045, 1044, 1049])
def test_a_refused_login_ends_the_wait_at_once(refusing, code):
    refusing(1000, code)
    lines = []
    with pytest.raises(env.SettingError):
        database.wait_for_database(lines.append)
    assert lines == []


@pytest.mark.django_db
def test_sqlite_needs_no_lock():
    with database.one_at_a_time(print):
        pass


@pytest.mark.mysql
@pytest.mark.django_db
def test_of_two_that_prepare_one_database_the_second_waits(monkeypatch):
    monkeypatch.setenv("MIGRATE_WAIT", "0")
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            name = f"prepare {connection.settings_dict['NAME']}"
            cursor.execute("SELECT GET_LOCK(%s, 0)", [name])
            with pytest.raises(SystemExit), database.one_at_a_time(print):
                pass
            cursor.execute("SELECT RELEASE_LOCK(%s)", [name])
        with database.one_at_a_time(print):
            pass
    finally:
        other.close()


def test_mysql_sessions_are_strict_and_in_utc():
    options = env.mysql_options({"OPTIONS": {"ssl_mode": "REQUIRED"}})
    assert "time_zone = '+00:00'" in options["init_command"]
    assert "STRICT_TRANS_TABLES" in options["init_command"]
    assert options["ssl_mode"] == "REQUIRED"


def test_a_lock_wait_ends_before_the_connection_is_dropped():
    told = re.search(r"innodb_lock_wait_timeout = (\d+)", env.mysql_options({})["init_command"])
    assert told and int(told[1]) < database.READ_TIMEOUT_SECONDS
    assert database.WEB_LOCK_WAIT_SECONDS < database.WEB_READ_TIMEOUT_SECONDS


@pytest.fixture
def another_connection(monkeypatch):
    """To the same MySQL, with the settings of a web or a worker."""
    monkeypatch.setattr(database, "READ_TIMEOUT_SECONDS", 2)
    monkeypatch.setattr(database, "WEB_READ_TIMEOUT_SECONDS", 1)
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", env.mysql_options({}))
    opened = []

    def open_it(web):
        database.bound_waits(web)
        opened.append(connection.copy())
        return opened[0]

    yield open_it
    for each in opened:
        each.close()


@pytest.mark.mysql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("web", "bound"), [(True, 1), (False, 2)], ids=["web", "worker"])
def test_a_silent_server_fails_the_statement_of_a_web_or_worker(another_connection, web, bound):
    start = time.monotonic()
    with another_connection(web).cursor() as cursor, pytest.raises(OperationalError) as failed:
        cursor.execute("SELECT SLEEP(8)")
    assert failed.value.args[0] in database.CONNECTION_ERRORS
    assert bound <= time.monotonic() - start < bound + 4


@pytest.mark.mysql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("web", "wait"), [(True, 4), (False, 10)], ids=["web", "worker"])
def test_a_web_waits_less_long_for_a_lock(another_connection, web, wait):
    with another_connection(web).cursor() as cursor:
        cursor.execute("SELECT @@innodb_lock_wait_timeout, @@time_zone")
        assert cursor.fetchone() == (wait, "+00:00")


def test_sqlite_has_no_server_to_wait_for(monkeypatch):
    sqlite = SimpleNamespace(vendor="sqlite", settings_dict={})
    monkeypatch.setattr(database, "connection", sqlite)
    database.bound_waits(web=True)
    assert sqlite.settings_dict == {}


def test_timeouts_in_the_address_win(monkeypatch):
    options = {"read_timeout": 3, "init_command": "SET x = 1"}
    mysql = SimpleNamespace(vendor="mysql", settings_dict={"OPTIONS": options})
    monkeypatch.setattr(database, "connection", mysql)
    database.bound_waits()
    assert options == {"read_timeout": 3, "write_timeout": 20, "init_command": "SET x = 1"}


def test_webs_workers_and_beat_bound_their_waits():
    from celery import signals

    from project import celery, gunicorn

    bounds = celery.bound_waits_for_the_database
    for signal in (signals.celeryd_init, signals.beat_init):
        assert any(receiver() is bounds for _, receiver in signal.receivers)
    with patch("project.base.database.bound_waits") as bound:
        gunicorn.post_worker_init(None)
        bound.assert_called_once_with(web=True)
        bounds()
        bound.assert_called_with()


def test_an_authority_asks_for_a_verified_connection(monkeypatch, tmp_path):
    authority = tmp_path / "ca.pem"
    authority.touch()
    monkeypatch.setenv("DATABASE_CA", str(authority))
    options = env.mysql_options({})
    assert options["ssl"] == {"ca": str(authority)}
    assert options["ssl_mode"] == "VERIFY_IDENTITY"


def test_an_authority_that_cannot_be_read_stops_the_start(monkeypatch):
    monkeypatch.setenv("DATABASE_CA", "/nowhere.pem")
    with pytest.raises(env.SettingError, match="DATABASE_CA"):
        env.mysql_options({})


@pytest.mark.mysql
@pytest.mark.django_db
@pytest.mark.parametrize(("zone", "warnings"), [("UTC", 0), ("Mars/Olympus", 1)])
def test_a_mysql_without_time_zones_is_told_of(settings, zone, warnings):
    lines = []
    settings.TIME_ZONE = zone
    database.warn_about_server(lines.append)
    assert len([line for line in lines if zone in line]) == warnings


@pytest.mark.parametrize(
    ("variables", "warnings"),
    [
        ({"log_bin": "ON", "binlog_transaction_dependency_history_size": "10000000"}, 1),
        ({"log_bin": "ON", "binlog_transaction_dependency_history_size": "25000"}, 0),
        ({"log_bin": "OFF", "binlog_transaction_dependency_history_size": "10000000"}, 0),
        ({"log_bin": "ON"}, 0),  # MariaDB
    ],
)
def test_a_mysql_whose_commits_are_slow_is_told_of(monkeypatch, variables, warnings):
    lines, cursor = [], MagicMock()
    cursor.__enter__.return_value.fetchall.return_value = variables.items()
    monkeypatch.setattr(connection, "vendor", "mysql")
    monkeypatch.setattr(connection, "cursor", lambda: cursor)
    database.warn_about_server(lines.append)
    assert len(lines) == warnings
