import socket
import time

import pytest
from django.db.migrations.recorder import MigrationRecorder

from project.api import health
from project.base import breaker

LIVE, READY = "/health/live/", "/health/ready/"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(health, "_migrated", False)


def test_alive_without_any_database(api):
    assert api.get(LIVE).json() == {"status": "ok"}


@pytest.mark.django_db
def test_ready(api):
    answer = api.get(READY)
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "database": "ok", "broker": "ok"}


@pytest.mark.django_db
@pytest.mark.parametrize("path", [LIVE, READY])
@pytest.mark.parametrize(
    "query",
    ["t=1", "t", "t=", "=", "%00", "t=%FF", "t=1&t=2", "format=xml", "page_size=0"],
)
def test_any_query_string_will_do(api, path, query):
    assert api.get(f"{path}?{query}").status_code == 200


@pytest.mark.django_db
def test_once_migrated_a_probe_costs_one_query(api, django_assert_num_queries):
    api.get(READY)
    with django_assert_num_queries(1):
        api.get(READY)


@pytest.mark.django_db
def test_not_ready_before_the_migrations(api):
    MigrationRecorder.Migration.objects.filter(app="members").delete()
    answer = api.get(READY)
    assert answer.status_code == 503
    assert answer.json() == {"status": "down", "database": "migrations pending", "broker": "ok"}


def test_not_ready_without_a_database(api, monkeypatch):
    monkeypatch.setattr(health, "connection", None)
    answer = api.get(READY)
    assert answer.status_code == 503
    assert answer.json() == {"status": "down", "database": "down", "broker": "ok"}


@pytest.mark.django_db
@pytest.mark.parametrize("path", [LIVE, READY])
def test_who_asks_does_not_matter(api, path):
    assert api.get(path, headers={"authorization": "Token x"}).status_code == 200
    api.cookies["sessionid"] = "x" * 32
    answer = api.get(path)
    assert answer.status_code == 200
    assert "RateLimit" not in answer.headers


@pytest.mark.django_db
@pytest.mark.parametrize("path", [LIVE, READY])
def test_no_proxy_keeps_an_answer(api, path):
    assert api.get(path).headers["Cache-Control"] == "no-store"


def test_without_database_and_broker_it_is_down(api, settings, monkeypatch):
    monkeypatch.setattr(health, "connection", None)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = api.get(READY)
    assert answer.status_code == 503
    assert answer.json() == {"status": "down", "database": "down", "broker": "down"}


@pytest.mark.django_db
@pytest.mark.parametrize("listening", [False, True], ids=["refusing", "silent"])
def test_a_broker_in_trouble_degrades_and_does_not_delay(api, settings, listening):
    with socket.create_server(("127.0.0.1", 0)) as server:
        settings.REDIS_URL = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        if not listening:
            server.close()
        start = time.perf_counter()
        answers = [api.get(READY) for _ in range(3)]
        assert time.perf_counter() - start < 5
    for answer in answers:
        assert answer.status_code == 200
        assert answer.json() == {"status": "degraded", "database": "ok", "broker": "down"}


@pytest.mark.django_db
def test_a_lost_ping_does_not_stop_publishing(api, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert api.get(READY).json()["broker"] == "down"
    with breaker.broker, breaker.cache:
        pass  # neither fails at once


@pytest.mark.django_db
def test_while_publishing_is_given_up_health_still_asks(api, settings, monkeypatch):
    with pytest.raises(OSError), breaker.broker:
        raise OSError
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr("redis.Redis.ping", lambda redis: True)
    assert api.get(READY).json()["broker"] == "ok"


@pytest.mark.django_db
def test_a_silent_broker_delays_one_probe_not_every(api, settings, monkeypatch):
    pings = []

    def silent(redis):
        pings.append(redis)
        raise TimeoutError

    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr("redis.Redis.ping", silent)
    assert [api.get(READY).json()["broker"] for _ in range(3)] == ["down"] * 3
    assert len(pings) == 1
