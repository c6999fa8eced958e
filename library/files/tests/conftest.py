from pathlib import Path

import pytest


@pytest.fixture
def files(settings, tmp_path) -> Path:
    """The folder of this test's uploads."""
    settings.MEDIA_ROOT = settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    return tmp_path
