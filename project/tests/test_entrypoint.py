"""What each role of the image runs, with stubs in place of the programs."""

import os
import subprocess
from pathlib import Path

import pytest
from django.conf import settings as project_settings

ADDRESSES = {"SECRET_KEY": "x", "DATABASE_URL": "x", "REDIS_URL": "x"}
PROGRAM = """#!/bin/sh
echo "${0##*/} $* ${REMAP_SIGTERM:-}" >>"$DATA_DIR/ran"
exit ${STATUS:-0}
"""
WEB = "gunicorn --config python:project.gunicorn "
WORKER = "celery --app project worker --loglevel info --without-gossip --without-mingle SIGQUIT"
BEAT = "celery --app project beat --loglevel info --pidfile= "


@pytest.fixture
def start(tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("python", "gunicorn", "celery"):
        (tmp_path / "bin" / name).write_text(PROGRAM)
        (tmp_path / "bin" / name).chmod(0o700)

    def run(*arguments: str, **environment: str) -> tuple[subprocess.CompletedProcess, list[str]]:
        environment |= {"DATA_DIR": str(tmp_path), "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
        command = [str(Path(project_settings.BASE_DIR) / "entrypoint.sh"), *arguments]
        process = subprocess.run(command, env=environment, capture_output=True, text=True)
        ran = tmp_path / "ran"
        return process, ran.read_text().splitlines() if ran.exists() else []

    return run


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["python manage.py wait ", WEB]),
        (["web"], ["python manage.py wait ", WEB]),
        (["worker"], ["python manage.py wait ", WORKER]),
        (["beat"], ["python manage.py wait ", BEAT]),
        (["migrate"], ["python manage.py prepare "]),
    ],
)
def test_each_role_waits_for_the_servers_and_then_runs_its_program(
    start, tmp_path, arguments, expected
):
    process, ran = start(*arguments, **ADDRESSES)
    assert (process.returncode, process.stderr, ran) == (0, "", expected)
    assert (tmp_path / "role").read_text() == f"{''.join(arguments) or 'web'}\n"


@pytest.mark.parametrize("role", ["web", "worker", "beat", "migrate"])
def test_a_role_that_waits_in_vain_starts_nothing(start, role):
    process, ran = start(role, **ADDRESSES, STATUS="7")
    assert (process.returncode, len(ran)) == (7, 1)


@pytest.mark.parametrize("role", ["web", "worker", "beat", "migrate"])
@pytest.mark.parametrize("name", ADDRESSES)
def test_without_an_address_or_a_key_no_role_starts(start, role, name):
    process, ran = start(role, **ADDRESSES | {name: ""})
    said = f"Library desk cannot start: {name} is not set, nor is {name}_FILE.\n"
    assert (process.returncode, process.stderr, ran) == (1, said, [])
    process, _ = start(role, **ADDRESSES | {name: "", f"{name}_FILE": "/x"})
    assert process.returncode == 0
