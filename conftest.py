"""Fixtures for every app's tests, and which tests can run here."""

import functools
import gc
import os
import shutil
import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import hypothesis
import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.test import Client, TransactionTestCase
from django.utils import translation
from rest_framework.test import APIClient
from xdist.scheduler import LoadScopeScheduling

from project.base import breaker

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The shell has no windows, which cost a third of the time.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), "")

hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def nothing_left_over() -> None:
    cache.clear()
    translation.deactivate()  # of the request before
    for each in (breaker.broker, breaker.cache, breaker.health):
        each.reset()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker, tmp_path_factory) -> Iterator[Path | None]:
    """The test database, and its copy in a file before any test has written to it.

    A transactional test leaves it as it was migrated, so that tests run in any order: Django
    would empty it of the roles, and make all permissions anew.
    """
    path = None
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        rows = rows_by_table()
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda test: put_back(rows))
        if connection.vendor == "sqlite":
            path = tmp_path_factory.mktemp("migrated") / "db.sqlite3"
            with closing(sqlite3.connect(path)) as file:
                connection.connection.backup(file)
        with django_db_blocker.block():
            yield path


def rows_by_table() -> dict[str, list[tuple[Any, ...]]]:
    rows = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.django_table_names(include_views=False):
            cursor.execute(f"SELECT * FROM {table}")
            rows[table] = cursor.fetchall()
    return rows


def put_back(rows: dict[str, list[tuple[Any, ...]]]) -> None:
    call_command("flush", interactive=False, reset_sequences=False, inhibit_post_migrate=True)
    with connection.constraint_checks_disabled(), connection.cursor() as cursor:
        for table, values in rows.items():
            if values:
                marks = ", ".join(["%s"] * len(values[0]))
                cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", values)


@pytest.fixture(scope="session")
def migrated(django_db_setup) -> Callable[[Path], Path]:
    """migrated(folder) spares a process with this DATA_DIR the migrations, a second of work.

    Not where the tests run on MySQL: there it migrates.
    """

    def copy(folder: Path) -> Path:
        if django_db_setup:
            shutil.copy(django_db_setup, folder)
        return folder

    return copy


@pytest.fixture
def api() -> APIClient:
    """An anonymous client."""
    return APIClient()


@pytest.fixture
def staff(db) -> User:
    return User.objects.create_superuser("staff", password="staff")


@pytest.fixture
def staff_api(staff) -> APIClient:
    client = APIClient()
    client.force_authenticate(staff)
    return client


@pytest.fixture
def desk(client: Client, staff: User) -> Client:
    """Staff in the admin."""
    client.force_login(staff)
    return client


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright's event loop runs in this thread until the last test; Django must ignore it.
        patch.setattr("django.utils.asyncio.get_running_loop", Mock(side_effect=RuntimeError))
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=options)


@pytest.fixture(scope="session")
def tab(browser: "Browser", live_server: Any) -> Iterator[Any]:
    """The one page of all tests: to open another, and load all that it shows, takes a second.

    It records requests to other hosts, errors of scripts, and what its policy blocks.
    """
    tab: Any = browser.new_page(base_url=live_server.url)
    ours = (live_server.url, "data:", "blob:")

    def note(said: Any) -> None:
        # Of the text to which each test returns, which has no icon.
        if said.type == "error" and not said.location["url"].endswith("/favicon.ico"):
            tab.complaints.append(said.text)

    def record(request: Any) -> None:
        if request.failure == "csp":  # the policy blocks it: it was never sent
            return
        if not request.url.startswith(ours):
            tab.foreign.append(request.url)
        elif request.failure and "ERR_ABORTED" not in request.failure:  # cut off by the next page
            tab.complaints.append(f"failed: {request.url}")

    tab.on("requestfinished", record)
    tab.on("requestfailed", record)
    tab.on("console", note)
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    yield tab
    tab.close()  # and its connections, while the server's threads may still use the database


@pytest.fixture
def page(tab: Any) -> Iterator[Any]:
    """The tab as if new."""
    tab.foreign, tab.complaints = [], []
    yield tab
    tab.on("dialog", accept)  # for what a form still holds
    tab.goto("/health/live/")
    tab.remove_listener("dialog", accept)
    tab.evaluate("localStorage.clear(), sessionStorage.clear()")
    tab.context.clear_cookies()
    tab.set_viewport_size({"width": 1280, "height": 720})
    tab.emulate_media(color_scheme="light")


def accept(dialog: Any) -> None:
    dialog.accept()


# What a marked test needs, and how long it may take.
MISSING = {
    "mysql": connection.vendor != "mysql" and "set DATABASE_URL=mysql://…",
    "redis": not os.environ.get("REDIS_URL") and "set REDIS_URL",
    "browser": not CHROMIUM and "install Chromium or Chrome",
    "sweep": not os.environ.get("SWEEP") and "set SWEEP=1, as .ci/run does",
}
SLOW_MARKERS = {"worker", "browser"}
SLOW_TIMEOUT_SECONDS = 300  # seconds


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "a test that cannot run fails; leave out by name: -m 'not browser'"
    parser.addoption("--no-skips", action="store_true", help=text)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """What is collected stays: the garbage collector need not look at it, now or at the end."""
    gc.disable()
    result = yield
    gc.freeze()
    gc.enable()
    return result


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One more than processors: it works while another waits for a browser or a process."""
    return (yield) + 1


class Scheduling(LoadScopeScheduling):
    """One worker of xdist has the browser, one each file's processes and shared fixtures.

    The others go by function with all its parameters: the scheduler counts its groups at each
    test. The largest groups begin.
    """

    def _split_scope(self, nodeid: str) -> str:
        return (
            shared_by(self.config.rootpath / nodeid.partition("::")[0]) or nodeid.partition("[")[0]
        )


@functools.cache
def shared_by(path: Path) -> str:
    text = path.read_text()
    if "mark.browser" in text:
        return "browser"
    return str(path) if "mark.worker" in text or "scope=" in text else ""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name, cure in MISSING.items():
            if cure and name in item.keywords:
                item.add_marker(pytest.mark.skip(reason=f"{name}: {cure}"))
        if "migrated" in item.fixturenames:  # type: ignore[attr-defined]
            # Else no database is made where no other test of the run asks for one.
            item.add_marker(pytest.mark.django_db)
        if SLOW_MARKERS & set(item.keywords):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.option.no_skips:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"Skipped with --no-skips: {reason}"
    return report
