import os
import socket
from unittest.mock import patch

import pytest
import redis
from django.core.cache import cache

from project import settings as configured
from project.base import breaker
from project.base.cache import RedisCache, remembered


def test_a_cache_that_is_down_costs_the_finding_alone():
    with patch.object(cache, "get", side_effect=ConnectionError):
        assert remembered("key", 60, lambda: 7) == 7
    breaker.cache.reset()
    with patch.object(cache, "set", side_effect=ConnectionError):
        assert remembered("key", 60, lambda: 7) == 7


def test_what_is_unknown_is_remembered_too():
    answers = iter([None, 7])
    assert remembered("key", 60, lambda: next(answers)) is None
    assert remembered("key", 60, lambda: next(answers)) is None


def test_what_is_found_is_kept():
    answers = iter([1, 2])
    assert [remembered("kept", 60, lambda: next(answers)) for _ in range(2)] == [1, 1]


def test_what_is_found_may_decide_how_long_it_is_kept():
    answers = iter([0, 0, 5, 6])
    found = [remembered("kept", lambda number: number, lambda: next(answers)) for _ in range(4)]
    assert found == [0, 0, 5, 5]


@pytest.mark.redis
def test_a_count_in_redis_ends_and_adds_up(settings):
    settings.CACHES = {"default": configured.CACHES["default"] | {"OPTIONS": {}}}
    cache.delete("count")
    assert [cache.count("count", number, 60) for number in (0, 1, 2)] == [0, 1, 3]
    seconds_left = cache._cache.get_client().ttl(cache.make_key("count"))
    assert 0 < seconds_left <= 60, "a count without an end would stay for ever"


@pytest.mark.redis
def test_a_connection_that_redis_has_closed_is_opened_again(settings):
    settings.CACHES = {"default": configured.CACHES["default"] | {"OPTIONS": {}}}
    cache.delete("count")
    cache.count("count", 1, 60)
    kept = cache._cache.get_client().client_id()
    with redis.Redis.from_url(configured.REDIS_URL) as other:
        other.client_kill_filter(_id=str(kept))
    assert cache.count("count", 1, 60) == 2


@pytest.mark.redis
def test_a_fork_opens_a_connection_of_its_own(settings):
    settings.CACHES = {"default": configured.CACHES["default"] | {"OPTIONS": {}}}
    own = cache._cache.get_client().client_id()
    with patch("os.getpid", return_value=os.getpid() + 1):
        assert cache._cache.get_client().client_id() != own


def test_a_silent_redis_is_asked_once():
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never answers
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        limits = {"socket_timeout": 0.05, "socket_connect_timeout": 0.05}
        with pytest.raises(redis.TimeoutError):
            RedisCache(url, {"OPTIONS": limits}).count("count", 1, 60)
        silent.accept()[0].close()
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()
