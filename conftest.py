"""Fixtures that the tests of all apps share."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient


@pytest.fixture(autouse=True)
def quick(settings: Any) -> Iterator[None]:
    """Static files as they are, weak password hashes, no throttle state of another test."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    yield
    cache.clear()


@pytest.fixture
def api() -> APIClient:
    return APIClient()


@pytest.fixture
def staff(django_user_model: Any, db: None) -> Any:
    return django_user_model.objects.create_superuser("staff", "staff@example.org", "staff-password")


@pytest.fixture
def staff_api(staff: Any) -> APIClient:
    client = APIClient()
    client.force_authenticate(staff)
    return client


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from django.db import connection

    if connection.vendor != "mysql":
        skip = pytest.mark.skip(reason="needs MySQL in DATABASE_URL")
        for item in items:
            if "mysql" in item.keywords:
                item.add_marker(skip)
