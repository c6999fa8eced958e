"""The whole tool as real processes: web, worker and beat.

On MySQL and Redis where DATABASE_URL and REDIS_URL are set, else as `manage.py run` has it.
Mails are files.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

from django.conf import settings

from members.conftest import mysql_database, redis_database
from project.management.commands.run import PROCESSES

from .test_run import free_port, wait_for


class Stack:
    def __init__(self, folder: Path, **places: str) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.password = "errands-" + os.urandom(8).hex()
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "project.tests.stack_settings",
            "DATA_DIR": str(folder),
            "PORT": str(self.port),
            "SECRET_KEY": os.urandom(16).hex(),
            "DJANGO_SUPERUSER_PASSWORD": self.password,
            **places,
        }

    def manage(self, *command: str) -> str:
        run = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=settings.BASE_DIR,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    @contextmanager
    def process(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        with open(self.folder / "log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=settings.BASE_DIR,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def answers(self) -> bool:
        with urlopen(f"{self.url}/health/ready/", timeout=5) as answer:
            return answer.status == 200

    def mails(self) -> list[str]:
        return [path.read_text() for path in sorted((self.folder / "mail").glob("*"))]


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    with ExitStack() as stack:
        if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
            places = {
                "DATABASE_URL": stack.enter_context(mysql_database()),
                "REDIS_URL": stack.enter_context(redis_database()),
            }
            desk = Stack(folder, **places)
            desk.manage("prepare", "--sample-data")
            commands = list(PROCESSES.values())
        else:
            desk = Stack(folder, DATABASE_URL="", REDIS_URL="")
            commands = [["manage.py", "run"]]
        desk.manage("collectstatic", "--noinput", "--verbosity", "0")
        for command in commands:
            stack.enter_context(desk.process(*command))
        assert wait_for(desk.answers), (folder / "log").read_text()[-5000:]
        yield desk
