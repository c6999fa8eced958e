from pathlib import Path
from unittest.mock import Mock

import pytest
from rest_framework.test import APIClient

from project.api.tests.programs import program
from project.imports import admin as pages
from project.jobs.tasks import work


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def files(settings, tmp_path) -> Path:
    """The folder of this test's uploads."""
    settings.MEDIA_ROOT = settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    return tmp_path


@pytest.fixture
def enqueued(monkeypatch) -> Mock:
    monkeypatch.setattr(pages, "enqueue", Mock())
    return pages.enqueue


@pytest.fixture
def delay(monkeypatch) -> Mock:
    """The worker's messages; each test does its work itself."""
    delay = Mock()
    monkeypatch.setattr(work, "delay", delay)
    return delay


@pytest.fixture
def sync(db) -> APIClient:
    return program("catalogue-sync")
