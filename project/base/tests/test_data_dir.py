"""Only its owner can read what the embedded run keeps under DATA_DIR."""

import os
import subprocess
import sys
from pathlib import Path

from django.conf import settings


def start(folder: Path) -> str:
    """The SECRET_KEY of an embedded start under the most open umask."""
    unset = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    code = "from django.conf import settings; print(settings.SECRET_KEY)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=settings.BASE_DIR,
        env=environment | {"DATA_DIR": str(folder)},
        umask=0,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_only_their_owner_can_open_the_folder_and_the_key(tmp_path):
    folder = tmp_path / "desk"
    key = start(folder)
    assert mode(folder) == 0o700
    assert mode(folder / "secret-key") == 0o600
    assert len(key) >= 50


def test_the_key_is_made_once_for_each_folder(tmp_path):
    assert start(tmp_path / "a") == start(tmp_path / "a") != start(tmp_path / "b")
