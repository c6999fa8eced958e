import random
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as configured

from project.api import throttling

Settings = dict[str, Any]


@pytest.fixture(scope="module")
def settings_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Settings]:
    """settings_with(HTTPS="1") is what project/settings.py makes of this environment alone.

    Read in this process: a start of its own takes a second.
    """

    def read(**environment: str) -> Settings:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("DATABASE_URL", "REPLICA_DATABASE_URL", "REDIS_URL", "SECRET_KEY"):
                patch.delenv(name, raising=False)
            for name, value in ({"DATA_DIR": str(folder)} | environment).items():
                patch.setenv(name, value)
            names = runpy.run_path(str(Path(configured.BASE_DIR) / "project" / "settings.py"))
        return {name: value for name, value in names.items() if name.isupper()}

    folder = tmp_path_factory.mktemp("data")
    return read


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
