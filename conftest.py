"""Fixtures of every app's tests."""

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from rest_framework.test import APIClient


@pytest.fixture(autouse=True)
def quick_and_plain(settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    # Each process its own: cleared in a Redis that they share, one took away what another counted.
    memory = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {"default": {"BACKEND": memory}}
    cache.clear()


@pytest.fixture(autouse=True)
def without_limits(settings):
    """Tests of the throttles set their own."""
    off = dict.fromkeys(settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"])
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_THROTTLE_RATES": off}


@pytest.fixture
def api() -> APIClient:
    """Nobody in particular."""
    return APIClient()


@pytest.fixture
def staff(db) -> User:
    return User.objects.create_superuser("staff", password="staff")


@pytest.fixture
def staff_api(staff) -> APIClient:
    client = APIClient()
    client.force_authenticate(staff)
    return client


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if connection.vendor != "mysql":
        for item in items:
            if "mysql" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs MySQL in DATABASE_URL"))
