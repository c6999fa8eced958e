"""Schemathesis sends a server what its schema allows, and what it forbids, with every check it has.

    SWEEP=1 CASES=20000 pytest -p no:xdist project/api/tests/test_conformance.py

CASES is about how many requests each kind of account sends, other ones each time: --randomly-seed=…,
which pytest prints, repeats a run. Without it they are few enough for two minutes in all and the same
each time, so that a change is refused for what it broke.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command

from project.api.authentication import AuthToken

FOLDER = Path(__file__).parent
CASES = int(os.environ.get("CASES", "0"))
OPERATIONS = 36  # about, which share the cases; each step of a stateful one counts
READS = ["view_book", "view_member"]
WRITES = [f"{act}_{model}" for act in ("add", "change", "delete") for model in ("book", "member")]
ACCOUNTS = {"stranger": None, "reader": READS, "writer": READS + WRITES}

pytestmark = [
    pytest.mark.sweep,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300 + 2 * CASES),
]


@pytest.fixture(autouse=True)
def only_errors_are_logged():
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def token_of(account: str) -> str | None:
    if ACCOUNTS[account] is None:
        return None
    user = User.objects.create_user(account)
    user.user_permissions.set(Permission.objects.filter(codename__in=ACCOUNTS[account]))
    return AuthToken.objects.create(user, name="schemathesis")[1]


@pytest.fixture
def run(live_server, tmp_path) -> Callable[..., None]:
    return partial(send, live_server.url, tmp_path)


def send(url: str, folder: Path, account: str, *options: object) -> None:
    call_command("loaddata", "fixtures/books", "fixtures/members", verbosity=0)
    token = token_of(account)
    command = [
        *(Path(sys.executable).with_name("st"), "--config-file", FOLDER / "schemathesis.toml"),
        *("run", f"{url}/api/schema/", "--suppress-health-check", "all", "--no-color"),
        *options,
    ]
    if token:
        command += ["-H", f"Authorization: Bearer {token}"]
        # They revoke the token in use, after which all is a 401; test_tokens.py tests them.
        for operation in ("auth_token_revoke", "auth_tokens_revoke"):
            command += ["--exclude-operation-id", operation]
    hooks = {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(FOLDER)}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,  # where it leaves notes of what failed
        env=os.environ | hooks,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)  # the last lines count the cases
    assert done.returncode == 0, done.stdout + done.stderr
    assert AuthToken.objects.exists() is bool(token)


def test_the_edges_of_the_schema_are_where_it_says(run):
    run("writer", "--phases", "examples,coverage", "--seed", 1)


@pytest.mark.parametrize("account", ACCOUNTS)
def test_whatever_is_sent_the_answer_is_as_the_schema_says(run, account, request):
    cases = CASES or {"writer": 600}.get(account, 200)
    phases = "examples,coverage,fuzzing,stateful" if CASES else "fuzzing,stateful"
    seed = request.config.getoption("randomly_seed") if CASES else 1
    options = ("--phases", phases, "--seed", seed, "--max-examples", max(cases // OPERATIONS, 1))
    run(account, *options)
