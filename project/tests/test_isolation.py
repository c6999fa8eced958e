"""A test run neither reads the developer's environment nor touches the developer's data."""

import os
import subprocess
import sys
from pathlib import Path

from django.conf import settings

HOSTILE = {
    "LANGUAGE_CODE": "ru",
    "HTTPS": "1",
    "TIME_ZONE": "Pacific/Auckland",
    "THROTTLE_ANON": "1/d",
    "MAIL_RATE": "1/d",
    "ALLOWED_HOSTS": "x",
    "DEBUG": "1",
    "PUBLIC_CATALOGUE": "0",
    "PUBLIC_REGISTRATION": "0",
    "WORKER_DEAF_AFTER": "abc",
    "SECRET_KEY_FILE": "/nowhere",
    "DJANGO_SETTINGS_MODULE": "project.settings",
}
CHOSEN = [
    "project/tests/test_isolation.py::test_a_process_writes_into_a_folder_of_its_own",
    "project/tests/test_isolation.py::test_a_child_process_inherits_the_clean_environment",
    "library/tests/test_constraints.py",
    "members/tests/test_registration.py",
    "members/tests/test_register_api.py",
    "--deselect=members/tests/test_register_api.py::test_no_json_makes_a_server_error",  # seconds
]


def test_a_process_writes_into_a_folder_of_its_own():
    assert Path(os.environ["DATA_DIR"]) == settings.DATA_DIR
    assert not settings.DATA_DIR.is_relative_to(settings.BASE_DIR)
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        assert settings.DATA_DIR.name == worker


def test_a_child_process_inherits_the_clean_environment():
    assert not HOSTILE.keys() & os.environ.keys() - {"DJANGO_SETTINGS_MODULE"}
    assert os.environ["DJANGO_SETTINGS_MODULE"] == "project.settings"


def test_the_shells_environment_changes_nothing(tmp_path):
    desk = tmp_path / "var"
    files = [desk / "secret-key", desk / "broker" / "queue" / "message", desk / "sending" / "1"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("precious")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *CHOSEN],
        cwd=settings.BASE_DIR,
        env={"PATH": os.environ["PATH"], **HOSTILE, "DATA_DIR": str(desk)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert sorted(path for path in desk.rglob("*") if path.is_file()) == sorted(files)
    assert {file.read_text() for file in files} == {"precious"}
