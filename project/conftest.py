import random

import pytest

from project.api import throttling


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
