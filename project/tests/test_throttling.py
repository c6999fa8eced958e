import random

import pytest
from rest_framework.test import APIClient

from project import settings as configured
from project.api import throttling

BOOKS = "/api/v1/books/"
REGISTER = "/api/v1/members/register/"
TOKEN = "/api/v1/auth/token/"

pytestmark = pytest.mark.django_db


@pytest.fixture
def redis_cache(settings):
    """The configured one, which on a busy machine may take its time."""
    settings.CACHES = {"default": configured.CACHES["default"] | {"OPTIONS": {}}}


@pytest.fixture
def limit(settings, monkeypatch):
    """Set some of the rates, in the middle of a window."""

    def set_rates(**rates: str | None) -> None:
        every = settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"] | rates
        settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_THROTTLE_RATES": every}

    # A day of its own: a shared cache may hold the counts of tests that run at the same time.
    now = random.randrange(10**6) * 86400 + 20
    monkeypatch.setattr(throttling.time, "time", lambda: now)
    return set_rates


def statuses(client: APIClient, path: str, times: int) -> list[int]:
    return [client.get(path).status_code for _ in range(times)]


def test_strangers_are_limited_by_address(api, limit):
    limit(anon="2/m")
    assert statuses(api, BOOKS, 3) == [200, 200, 429]
    assert api.get(BOOKS, REMOTE_ADDR="192.0.2.1").status_code == 200


def test_accounts_are_limited_by_account(api, staff_api, limit):
    limit(anon="1/m", account="2/m")
    assert statuses(api, BOOKS, 2) == [200, 429]
    assert statuses(staff_api, BOOKS, 3) == [200, 200, 429]


def test_registering_has_a_limit_of_its_own(api, limit):
    limit(anon="1/m", register="2/m")
    assert [api.post(REGISTER, {}).status_code for _ in range(3)] == [400, 400, 429]
    assert api.get(BOOKS).status_code == 200


def test_guessing_passwords_is_limited_by_address_and_locks_no_account(api, staff, limit):
    limit(login="2/m")
    guess = {"username": "staff", "password": "wrong"}
    assert [api.post(TOKEN, guess).status_code for _ in range(3)] == [401, 401, 429]
    right = {"username": "staff", "password": "staff"}
    assert api.post(TOKEN, right, REMOTE_ADDR="192.0.2.1").status_code == 200


def test_a_forged_address_does_not_help(api, limit):
    limit(anon="1/m")
    api.get(BOOKS)
    assert api.get(BOOKS, HTTP_X_FORWARDED_FOR="192.0.2.1").status_code == 429


def test_answers_say_what_is_left(api, limit):
    limit(anon="2/m")
    first, second, third = (api.get(BOOKS) for _ in range(3))
    assert first.headers["RateLimit-Policy"] == '"anon";q=2;w=60'
    assert first.headers["RateLimit"] == '"anon";r=1;t=40'
    assert second.headers["RateLimit"] == '"anon";r=0;t=40'
    assert third.headers["RateLimit"] == '"anon";r=0;t=40'
    assert third.headers["Retry-After"] == "40"
    assert third.headers["Content-Type"] == "application/problem+json"
    assert third.json()["errors"][0]["code"] == "throttled"
    assert "Retry-After" not in first.headers


def test_the_next_window_begins_anew(api, limit, monkeypatch):
    limit(anon="1/m")
    assert statuses(api, BOOKS, 2) == [200, 429]
    later = throttling.time.time() + 40
    monkeypatch.setattr(throttling.time, "time", lambda: later)
    assert api.get(BOOKS).status_code == 200


def test_without_a_rate_there_is_no_limit(api, limit):
    limit(anon=None)
    answer = api.get(BOOKS)
    assert answer.status_code == 200
    assert "RateLimit" not in answer.headers


def test_health_is_not_limited(api, limit):
    limit(anon="1/m")
    assert statuses(api, "/health/live/", 3) == [200] * 3


def test_a_dead_cache_lets_through_logs_and_is_left_alone(api, limit, monkeypatch, caplog):
    calls = []

    def fail(*args, **kwargs):
        calls.append(args)
        raise ConnectionError

    limit(anon="1/m")
    with monkeypatch.context() as patch:  # undone before the settings are
        patch.setattr(throttling.cache, "add", fail)
        assert statuses(api, BOOKS, 3) == [200] * 3
    assert "No limits are kept" in caplog.text
    assert len(calls) == 1, "a silent cache must not delay every request"


@pytest.mark.redis
def test_processes_share_the_limit(api, limit, redis_cache):
    """Another process has connections of its own to the same count."""
    from django.core.cache import caches

    limit(anon="2/m")
    assert statuses(api, BOOKS, 1) == [200]
    number = int(throttling.time.time() // 60)
    other = caches.create_connection("default")
    assert other.incr(f"throttle:anon:127.0.0.1:{number}") == 2
    assert api.get(BOOKS).status_code == 429
