from pathlib import Path
from unittest.mock import Mock

import pytest

from project.imports import admin as pages


@pytest.fixture
def files(settings, tmp_path) -> Path:
    """The folder of this test's uploads."""
    settings.MEDIA_ROOT = settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    return tmp_path


@pytest.fixture
def enqueued(monkeypatch) -> Mock:
    monkeypatch.setattr(pages, "enqueue", Mock())
    return pages.enqueue
