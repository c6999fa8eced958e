"""Of a replica that lags: what a test has written and not committed, it never has."""

import copy
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import OperationalError, connection, connections
from django.utils import timezone
from rest_framework.test import APIClient

from library.models import Book
from project.api import replica
from project.api.authentication import AuthToken
from project.base import breaker

BOOKS = "/api/v1/books/"
MEMBERS = "/api/v1/members/"
BOOK = {
    "title": "Dune",
    "author": "Frank Herbert",
    "publication_year": 1965,
    "isbn": "9780441172719",
}


@pytest.fixture
def lagging_replica(db, settings, monkeypatch, migrated, tmp_path):
    """Another connection; to MySQL's test database, or to a copy of SQLite's without a book."""
    database = copy.deepcopy(connection.settings_dict)
    if connection.vendor == "sqlite":
        database["NAME"] = str(migrated(tmp_path / "replica.sqlite3"))
        database["OPTIONS"].pop("init_command")
    monkeypatch.setitem(connections.settings, "replica", database)
    settings.DATABASE_ROUTERS = ["project.api.replica.Router"]
    monkeypatch.setattr(replica.watch, "state", "ok")
    monkeypatch.setattr(replica.watch, "checked_at", float("inf"))
    opened = connections["replica"]
    opened.connect()  # by itself no test may connect to other databases than "default"
    yield opened
    opened.close()
    del connections["replica"]
    replica.watch.reset()


@pytest.fixture
def lagging(lagging_replica) -> Book:
    """A book that only the primary has."""
    return Book.objects.create(**BOOK)


def titles(client: APIClient, query: str = "") -> list[str]:
    answer = client.get(f"{BOOKS}{query}")
    assert answer.status_code == 200, answer.content
    return [book["title"] for book in answer.json()["results"]]


@pytest.mark.parametrize("query", ["", "?search=dune", "?title=dune", "?isbn=9780441172719"])
def test_lists_are_read_from_the_replica(lagging, api, query):
    assert titles(api, query) == []


@pytest.mark.parametrize("listed", [False, True], ids=["which", "rows"])
def test_exports_are_read_from_the_replica(lagging, api, monkeypatch, listed):
    if listed:
        monkeypatch.setattr("library.files.views.ids_of", lambda books: [lagging.pk])
    answer = api.get(f"{BOOKS}export/?format=jsonl")
    assert b"".join(answer.streaming_content) == b""


def test_members_are_read_from_the_replica(lagging, staff_api, api):
    api.post(f"{MEMBERS}register/", {"username": "ann", "email": "ann@example.org"})
    assert staff_api.get(MEMBERS).json()["results"] == []


def test_a_record_that_the_replica_lacks_is_found(lagging, api):
    assert api.get(f"{BOOKS}{lagging.pk}/").json()["title"] == "Dune"


@pytest.mark.parametrize("method", ["post", "patch", "delete"])
def test_whoever_writes_reads_what_it_wrote(lagging, staff_api, api, method):
    one = f"{BOOKS}{lagging.pk}/"
    other = BOOK | {"title": "Dune Messiah", "isbn": "9780593098233"}
    path, body = (BOOKS, other) if method == "post" else (one, {"title": "Arrakis"})
    assert titles(staff_api) == []
    assert getattr(staff_api, method)(path, body).status_code in (200, 201, 204)
    expected = {"post": ["Dune", "Dune Messiah"], "patch": ["Arrakis"], "delete": []}
    assert titles(staff_api) == expected[method]
    assert titles(api) == []  # who wrote nothing


def test_another_process_knows_who_wrote(lagging, staff, staff_api):
    token = AuthToken.objects.create(user=staff)[1]
    program = APIClient(headers={"authorization": f"Bearer {token}"})
    assert titles(program) == []
    staff_api.patch(f"{BOOKS}{lagging.pk}/", {"title": "Arrakis"})
    assert titles(program) == ["Arrakis"]  # the same account


def test_a_refused_write_shows_what_refused_it(lagging, staff_api):
    """Else "fetch it again" would give the old version again."""
    answer = staff_api.patch(f"{BOOKS}{lagging.pk}/", {"title": "X"}, headers={"if-match": '"7"'})
    assert answer.status_code == 412
    assert titles(staff_api) == ["Dune"]


def test_writes_never_look_at_the_replica(lagging, staff_api):
    assert staff_api.post(BOOKS, BOOK).status_code == 409
    tag = staff_api.get(f"{BOOKS}{lagging.pk}/").headers["ETag"]
    answer = staff_api.delete(f"{BOOKS}{lagging.pk}/", headers={"if-match": tag})
    assert answer.status_code == 204


def test_a_token_is_valid_at_once(lagging, api, staff):
    login = {"username": "staff", "password": "staff"}
    token = api.post("/api/v1/auth/token/", login).json()["token"]
    fresh = APIClient(REMOTE_ADDR="192.0.2.9", headers={"authorization": f"Bearer {token}"})
    assert fresh.get(BOOKS).status_code == 200


def test_what_must_miss_nothing_is_read_from_the_primary(lagging, api):
    assert titles(api, f"?updated_since={timezone.now():%Y}-01-01T00:00:00Z") == ["Dune"]
    changes = APIClient(REMOTE_ADDR="192.0.2.9").get(f"{BOOKS}changes/").json()["results"]
    assert [change["id"] for change in changes] == [lagging.pk]


@pytest.mark.parametrize("told", ["changes/", "?updated_since=2026-01-01T00:00:00Z"])
def test_whoever_was_told_of_a_change_reads_it(lagging, api, told):
    api.get(f"{BOOKS}{told}")
    assert titles(api) == ["Dune"]


def test_what_staff_write_in_the_admin_they_read_through_the_api(lagging, client, staff):
    client.force_login(staff)
    assert client.get(BOOKS).json()["results"] == []
    client.get("/admin/library/book/")
    assert client.get(BOOKS).json()["results"] == []
    client.post(f"/admin/library/book/{lagging.pk}/delete/", {"post": "yes"})
    other = Book.objects.create(**BOOK)
    assert [book["id"] for book in client.get(BOOKS).json()["results"]] == [other.pk]


def test_without_its_cache_the_primary_answers(lagging, api, monkeypatch):
    monkeypatch.setattr(cache, "get", lambda *args: 1 / 0)
    assert titles(api) == ["Dune"]


@pytest.mark.parametrize("state", ["behind", "down"])
def test_a_replica_that_is_not_up_to_date_is_left_alone(lagging, api, monkeypatch, state):
    monkeypatch.setattr(replica.watch, "state", state)
    assert titles(api) == ["Dune"]
    health = api.get("/health/ready/")
    assert health.status_code == 200
    assert health.json() == {
        "status": "degraded",
        "database": "ok",
        "broker": "ok",
        "replica": state,
    }


def test_where_the_replica_fails_the_primary_answers(lagging, lagging_replica, api, monkeypatch):
    def fail():
        raise OperationalError(2003)

    monkeypatch.setattr(lagging_replica, "cursor", fail)
    assert titles(api) == ["Dune"]
    assert replica.watch.state == "down"  # so the next ones do not try it


def test_an_export_goes_on_where_the_replica_fails(lagging, lagging_replica, api, monkeypatch):
    monkeypatch.setattr("library.files.views.ids_of", lambda books: [lagging.pk])
    export = api.get(f"{BOOKS}export/?format=jsonl")
    monkeypatch.setattr(lagging_replica, "cursor", Mock(side_effect=OperationalError(2013)))
    assert b"Dune" in b"".join(export.streaming_content)
    assert replica.watch.state == "down"


def test_a_database_that_is_down_is_not_asked_again(lagging_replica, api, monkeypatch):
    monkeypatch.setattr("project.api.health.database_state", lambda: "down")
    monkeypatch.setattr(replica.watch, "current", lambda: 1 / 0)
    assert api.get("/health/ready/").json()["status"] == "down"


def test_a_record_of_the_replica_is_saved_on_the_primary(lagging_replica):
    user = User(username="ann")
    user._state.db = "replica"
    user.save()
    assert User.objects.get().username == "ann"
    assert user._state.db == "default"


def test_the_replica_is_never_migrated():
    assert not replica.Router().allow_migrate("replica", "library")
    assert replica.Router().allow_migrate("default", "library")


def test_without_a_replica_nothing_is_asked(db, api, staff_api, monkeypatch):
    monkeypatch.setattr(cache, "get", lambda *args: 1 / 0)
    monkeypatch.setattr(cache, "set", lambda *args: 1 / 0)
    monkeypatch.setattr(breaker, "cache", None)
    assert titles(api) == []
    assert staff_api.post(BOOKS, BOOK).status_code == 201
    assert "replica" not in api.get("/health/ready/").json()


class Servers:
    """A primary that has executed so many transactions, and its replica."""

    def __init__(self, monkeypatch):
        self.primary = self.replica = "1"
        self.asked, self.now = 0, 1000.0
        monkeypatch.setattr(replica, "_ask", self.ask)
        monkeypatch.setattr(replica, "time", SimpleNamespace(monotonic=lambda: self.now))

    def ask(self, alias, sql, *parameters):
        self.asked += 1
        if alias == "default":
            if self.primary == "away":
                raise OperationalError(2003)
            return self.primary
        if not self.replica:
            raise OperationalError(2003)
        return int(int(parameters[0] or 0) <= int(self.replica))

    def state_after(self, seconds: float, watch: replica.Watch) -> str:
        self.now += seconds
        return watch.current()


@pytest.fixture
def servers(monkeypatch) -> Servers:
    return Servers(monkeypatch)


def test_a_replica_may_be_as_late_as_the_check_before(servers):
    watch = replica.Watch()
    assert watch.current() == "ok"
    servers.primary = "2"
    assert servers.state_after(5, watch) == "ok"  # it has what there was five seconds ago
    assert servers.state_after(5, watch) == "behind"
    servers.replica = "2"
    assert servers.state_after(4, watch) == "behind"  # not asked again yet
    assert servers.state_after(1, watch) == "ok"


def test_after_silence_only_what_there_is_now_counts(servers):
    watch = replica.Watch()
    assert watch.current() == "ok"
    servers.primary = "2"
    assert servers.state_after(30, watch) == "behind"


def test_a_replica_is_checked_every_few_seconds_by_one_thread(servers):
    watch = replica.Watch()
    assert [watch.current() for _ in range(3)] == ["ok"] * 3
    assert servers.asked == 2
    with watch.lock:
        assert servers.state_after(6, watch) == "ok"
        assert servers.state_after(30, watch) == "behind"  # nobody has known for too long
    assert servers.asked == 2


def test_a_replica_that_is_back_must_have_all_before_it_is_read(servers):
    watch = replica.Watch()
    assert watch.current() == "ok"
    servers.replica = ""
    assert servers.state_after(5, watch) == "down"
    servers.primary, servers.replica = "2", "1"
    assert servers.state_after(5, watch) == "behind"
    servers.replica = "2"
    assert servers.state_after(5, watch) == "ok"


def test_a_primary_that_fails_is_no_fault_of_the_replica(servers, caplog):
    servers.primary = "away"
    assert replica.Watch().current() == "behind"
    assert not caplog.records


def test_without_gtids_no_replica_is_read(servers):
    servers.primary = ""
    assert replica.Watch().current() == "behind"


@pytest.mark.mysql
def test_mysql_tells_how_far_it_is(lagging_replica):
    executed = replica._ask("default", replica.EXECUTED)
    ahead = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"
    assert replica._ask("replica", replica.HAS_EXECUTED, executed) == 1
    assert replica._ask("replica", replica.HAS_EXECUTED, ahead) == 0
