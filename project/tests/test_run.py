"""make run's command, with its real processes."""

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from urllib.request import urlopen

import pytest
from django.conf import settings

from project.management.commands import run as command

pytestmark = pytest.mark.worker


class EmbeddedRun:
    """`make run` on a folder of its own."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = without_servers() | {"DATA_DIR": str(folder), "PORT": str(self.port)}
        self.process = self.start(stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def start(self, **options) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "manage.py", "run"],
            cwd=settings.BASE_DIR,
            env=self.environment,
            **options,
        )

    def second_start(self) -> str:
        """What another start on the same folder says as it gives up."""
        second = self.start(stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        told = second.communicate(timeout=60)[1]
        assert second.returncode == 1
        return told

    def answers(self) -> bool:
        with urlopen(f"http://127.0.0.1:{self.port}/health/ready/", timeout=5) as answer:
            return answer.status == 200

    def children(self) -> dict[str, int]:
        """Process ids by role."""
        found = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=True,
        )
        roles = {"gunicorn": "web", "beat": "beat", "worker": "worker"}
        return {
            roles[name[0]]: int(line.split()[0])
            for line in found.stdout.splitlines()
            if (name := re.search(r"gunicorn|beat|worker", line))  # else its exec is to come
        }

    def is_unlocked(self) -> bool:
        """Each of its processes holds the lock."""
        with open(self.folder / "run.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True


@pytest.fixture
def running(tmp_path, migrated):
    running = EmbeddedRun(migrated(tmp_path))
    try:
        assert wait_for(running.answers)
        yield running
    finally:
        running.process.kill()
        running.process.stdout.close()
        running.process.wait()


def test_the_next_start_names_the_running_one_whose_end_leaves_no_process(running):
    told = running.second_start()
    assert f"already runs on {running.folder} (process {running.process.pid})" in told
    assert told.rstrip().endswith(f"kill {running.process.pid}")
    assert running.answers(), "the first one goes on"

    running.process.stdout.close()  # nobody reads what it prints
    running.process.send_signal(signal.SIGINT)
    running.process.wait(60)
    assert running.is_unlocked()


def test_after_a_kill_the_next_start_names_the_orphans_until_they_end(running):
    assert wait_for(lambda: set(running.children()) == {"web", "worker", "beat"})
    children = running.children()
    os.kill(children["web"], signal.SIGSTOP)  # it cannot end now; the others do
    try:
        running.process.kill()
        running.process.wait()
        if not command.prctl:
            os.kill(children["beat"], signal.SIGTERM)
        assert wait_for(lambda: not command.is_alive(str(children["beat"])))
        with suppress(ProcessLookupError):
            os.killpg(children["worker"], signal.SIGKILL)  # Celery takes its time to end
        assert wait_for(lambda: not command.is_alive(str(children["worker"])))
        told = running.second_start()
        assert f"already runs on {running.folder} (process {children['web']})" in told
        assert told.rstrip().endswith(f"kill {children['web']}")
    finally:
        os.kill(children["web"], signal.SIGCONT)
    assert wait_for(running.is_unlocked)


@pytest.fixture
def web(tmp_path):
    """Address and process of the embedded run's web."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    environment = without_servers() | {"DATA_DIR": str(tmp_path), "PORT": str(address[1])}
    process = subprocess.Popen(
        [sys.executable, *command.PROCESSES["web"]], cwd=settings.BASE_DIR, env=environment
    )
    try:
        assert wait_for(lambda: socket.create_connection(address).close() is None)
        yield address, process
    finally:
        process.kill()  # its child notices and ends
        process.wait()


def test_a_web_that_is_told_to_end_takes_what_waits_and_refuses_the_rest(web):
    """Later connections must fail at once, so that a proxy asks another web."""
    address, process = web
    half = socket.create_connection(address)
    half.sendall(b"GET /health/live/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n")
    time.sleep(0.3)
    process.terminate()
    assert wait_for(lambda: is_refused(address))
    half.sendall(b"\r\n")
    assert b" 200 " in half.makefile("rb").readline()
    assert process.wait(10) == 0


def test_a_lock_whose_holders_are_unknown_is_said_to_be_passing(tmp_path):
    assert "try again" in command.already_running("")
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert "try again" in command.already_running(f"{gone.pid}\n")


def is_refused(address) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def without_servers() -> dict[str, str]:
    unset = {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
    return {name: value for name, value in os.environ.items() if name not in unset}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition) -> bool:
    for _ in range(1200):
        try:
            if condition():
                return True
        except OSError:
            pass
        time.sleep(0.05)
    return False
