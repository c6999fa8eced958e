"""Only its owner can read what the embedded run keeps under DATA_DIR."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def start(settings_with):
    """start(folder) is the SECRET_KEY of an embedded start under the most open umask."""

    def read(folder: Path) -> str:
        before = os.umask(0)
        try:
            return settings_with(DATA_DIR=str(folder))["SECRET_KEY"]
        finally:
            os.umask(before)

    return read


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_only_their_owner_can_open_the_folder_and_the_key(start, tmp_path):
    folder = tmp_path / "desk"
    key = start(folder)
    assert mode(folder) == 0o700
    assert mode(folder / "secret-key") == 0o600
    assert len(key) >= 50


def test_the_key_is_made_once_for_each_folder(start, tmp_path):
    assert start(tmp_path / "a") == start(tmp_path / "a") != start(tmp_path / "b")
