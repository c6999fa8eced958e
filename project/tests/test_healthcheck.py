import importlib
import os
import signal
import subprocess
import sys
import time

import pytest


@pytest.fixture
def healthcheck(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.delenv("WORKER_DEAF_AFTER", raising=False)
    sys.modules.pop("project.healthcheck", None)
    module = importlib.import_module("project.healthcheck")
    monkeypatch.setattr(module, "broker_answers", lambda: True)
    return module


@pytest.fixture
def process():
    started = subprocess.Popen(["sleep", "60"])
    yield started
    started.kill()
    started.wait()


def grow_old(path, seconds):
    path.touch()
    then = time.time() - seconds
    os.utime(path, (then, then))


def started(healthcheck, process, seconds):
    healthcheck.ROLE.write_text(f"worker {process.pid}")
    grow_old(healthcheck.ROLE, seconds)


def test_a_worker_is_unhealthy_until_its_first_heartbeat(healthcheck, process):
    started(healthcheck, process, 5)
    assert healthcheck.main() == 1
    healthcheck.HEARTBEAT.touch()
    assert healthcheck.main() == 0


def test_a_worker_without_heartbeats_is_unhealthy_but_not_ended_yet(healthcheck, process):
    started(healthcheck, process, 500)
    grow_old(healthcheck.HEARTBEAT, 90)
    assert healthcheck.main() == 1
    assert process.poll() is None


def test_a_deaf_worker_is_told_to_end(healthcheck, process):
    started(healthcheck, process, 500)
    grow_old(healthcheck.HEARTBEAT, 200)
    assert healthcheck.main() == 1
    assert process.wait(5) == -signal.SIGTERM


def test_a_deaf_worker_that_is_stopped_is_killed(healthcheck, process):
    started(healthcheck, process, 500)
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)  # it has stopped: else SIGTERM might overtake SIGSTOP
    grow_old(healthcheck.HEARTBEAT, 200)
    assert healthcheck.main() == 1
    assert process.poll() is None
    grow_old(healthcheck.TOLD_TO_END, 100)
    assert healthcheck.main() == 1
    assert process.wait(5) == -signal.SIGKILL


def test_while_the_broker_is_down_no_worker_is_to_blame(healthcheck, process, monkeypatch):
    started(healthcheck, process, 500)
    grow_old(healthcheck.HEARTBEAT, 200)
    monkeypatch.setattr(healthcheck, "broker_answers", lambda: False)
    assert healthcheck.main() == 1
    monkeypatch.setattr(healthcheck, "broker_answers", lambda: True)
    assert healthcheck.main() == 1  # it has just come back: time to reconnect
    assert process.poll() is None


def test_beat_is_healthy_while_its_clock_moves(healthcheck):
    healthcheck.ROLE.write_text("beat 7")
    grow_old(healthcheck.HEARTBEAT, 10)
    assert healthcheck.main() == 0
    grow_old(healthcheck.HEARTBEAT, 100)
    assert healthcheck.main() == 1


def test_a_web_that_does_not_answer_is_unhealthy(healthcheck, monkeypatch, free_port):
    monkeypatch.setenv("PORT", str(free_port))
    healthcheck.ROLE.write_text("web 7")
    assert healthcheck.main() == 1


def test_a_web_is_asked_by_a_name_that_it_answers_to(healthcheck, monkeypatch, live_server):
    monkeypatch.setenv("PORT", live_server.url.rpartition(":")[2])
    monkeypatch.setenv("ALLOWED_HOSTS", "localhost,elsewhere")
    healthcheck.ROLE.write_text("web 7")
    assert healthcheck.main() == 0


@pytest.fixture
def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
