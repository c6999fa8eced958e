"""make run's command, with its real processes."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

import pytest
from django.conf import settings


@pytest.mark.worker
def test_it_leaves_no_process_behind_even_where_nobody_reads_what_it_prints(tmp_path):
    port = free_port()
    unset = {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    run = subprocess.Popen(
        [sys.executable, "manage.py", "run"],
        cwd=settings.BASE_DIR,
        env=environment | {"DATA_DIR": str(tmp_path), "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert wait_for(lambda: urlopen(f"http://127.0.0.1:{port}/health/ready/").status == 200)
        run.stdout.close()
    finally:
        run.send_signal(signal.SIGINT)
    run.wait(60)
    with open(tmp_path / "run.lock") as lock:  # which each of its processes holds
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition) -> bool:
    for _ in range(300):
        try:
            if condition():
                return True
        except OSError:
            pass
        time.sleep(0.2)
    return False
