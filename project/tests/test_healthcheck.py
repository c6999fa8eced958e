import importlib
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from django.conf import settings as project_settings

from project import gunicorn
from project.base.env import SettingError


@pytest.fixture
def healthcheck(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    sys.modules.pop("project.healthcheck", None)
    return importlib.import_module("project.healthcheck")


def last_heartbeat(healthcheck, seconds_ago):
    healthcheck.HEARTBEAT.touch()
    at = time.time() - seconds_ago
    os.utime(healthcheck.HEARTBEAT, (at, at))


def test_a_container_that_has_not_started_is_unhealthy(healthcheck, capsys):
    assert healthcheck.main() == 1
    assert capsys.readouterr().out == "not started yet\n"


def test_other_roles_have_no_health(healthcheck):
    healthcheck.ROLE.write_text("migrate\n")
    assert healthcheck.main() == 0


def test_a_wrong_setting_does_not_crash_it(healthcheck, monkeypatch):
    monkeypatch.setenv("WORKER_DEAF_AFTER", "abc")
    monkeypatch.setenv("PORT", "abc")
    run = subprocess.run(
        [sys.executable, healthcheck.__file__], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (1, "not started yet\n", "")


@pytest.mark.parametrize(
    ("role", "said"),
    [
        ("worker", "no heartbeat has come through the queue yet"),
        ("beat", "it has not ticked yet"),
    ],
)
def test_until_the_first_heartbeat_it_is_unhealthy(healthcheck, role, said, capsys):
    healthcheck.ROLE.write_text(f"{role}\n")
    assert healthcheck.main() == 1
    assert capsys.readouterr().out == f"{said}\n"


@pytest.mark.parametrize("role", ["worker", "beat"])
@pytest.mark.parametrize(("age", "status"), [(0, 0), (55, 0), (61, 1), (10_000, 1)])
def test_it_is_as_healthy_as_its_last_heartbeat_is_young(healthcheck, role, age, status, capsys):
    healthcheck.ROLE.write_text(f"{role}\n")
    last_heartbeat(healthcheck, age)
    assert healthcheck.main() == status
    assert (f"{age} s ago" in capsys.readouterr().out) is bool(status)


def test_a_minute_is_just_young_enough(healthcheck, monkeypatch):
    healthcheck.ROLE.write_text("worker\n")
    last_heartbeat(healthcheck, 0)
    at = healthcheck.HEARTBEAT.stat().st_mtime
    monkeypatch.setattr(healthcheck.time, "time", lambda: at + 60)
    assert healthcheck.main() == 0
    monkeypatch.setattr(healthcheck.time, "time", lambda: at + 60.1)
    assert healthcheck.main() == 1


# The web


def serve(answer):
    """A web that answers this, on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            assert self.path == "/health/ready/"
            if answer:
                self.send_response(answer)
                self.end_headers()
                self.wfile.write(b"because")

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    return server


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (200, 0, "ok"),
        (503, 1, "503 because"),
        (400, 1, "400 because"),
        (302, 1, "302 because"),
        (None, 1, "no answer: RemoteDisconnected"),
    ],
)
def test_a_web_is_as_healthy_as_its_answer(healthcheck, answer, status, said, capsys):
    healthcheck.ROLE.write_text("web\n")
    with serve(answer) as server:
        healthcheck.ADDRESS.write_text(f"{server.server_port} localhost")
        assert healthcheck.main() == status
        server.shutdown()
    assert capsys.readouterr().out.startswith(said)


def test_a_web_that_refuses_connections_is_unhealthy(healthcheck, capsys):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        healthcheck.ADDRESS.write_text(f"{probe.getsockname()[1]} localhost")
        healthcheck.ROLE.write_text("web\n")
        assert healthcheck.main() == 1
    assert "no answer: ConnectionRefusedError" in capsys.readouterr().out


def test_a_web_whose_gunicorn_is_not_ready_is_unhealthy(healthcheck, capsys):
    healthcheck.ROLE.write_text("web\n")
    assert healthcheck.main() == 1
    assert capsys.readouterr().out == "not started yet\n"


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        (["desk.example.org", "elsewhere"], "desk.example.org"),
        ([".example.org"], "example.org"),
        (["*"], "localhost"),
        (["[::1]"], "[::1]"),
    ],
)
def test_the_web_writes_the_host_name_to_ask_for(settings, tmp_path, allowed, asked):
    settings.ALLOWED_HOSTS = allowed
    settings.DATA_DIR = tmp_path / "new"
    settings.PORT = 8123
    gunicorn.when_ready(None)
    assert (tmp_path / "new" / "address").read_text() == f"8123 {asked}"


def test_a_web_is_asked_by_a_name_that_it_answers_to(healthcheck, settings, live_server):
    settings.ALLOWED_HOSTS = ["desk.example.org"]
    settings.DATA_DIR = healthcheck.FOLDER
    settings.PORT = live_server.url.rpartition(":")[2]
    healthcheck.ROLE.write_text("web\n")
    gunicorn.when_ready(None)
    assert healthcheck.main() == 0
    healthcheck.ADDRESS.write_text(f"{settings.PORT} elsewhere.example.org")
    assert healthcheck.main() == 1


def test_the_health_files_of_an_earlier_process_are_removed(tmp_path):
    for name in ("address", "heartbeat"):
        (tmp_path / name).touch()
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"  # stands for `manage.py wait`, and fails
    python.write_text("#!/bin/sh\nexit 7\n")
    python.chmod(0o700)
    environment = {"SECRET_KEY": "x", "DATABASE_URL": "x", "REDIS_URL": "x"}
    environment |= {"DATA_DIR": str(tmp_path), "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    run = subprocess.run(
        [Path(project_settings.BASE_DIR) / "entrypoint.sh", "worker"], env=environment
    )
    assert run.returncode == 7
    assert (tmp_path / "role").read_text() == "worker\n"
    assert not (tmp_path / "heartbeat").exists()
    assert not (tmp_path / "address").exists()


@pytest.mark.parametrize("value", ["abc", "29", "3601", "1e3"])
def test_a_wrong_worker_deaf_after_stops_the_start_with_one_line(settings_with, value):
    with pytest.raises(SettingError) as stopped:
        settings_with(WORKER_DEAF_AFTER=value)
    [line] = str(stopped.value).splitlines()
    assert "WORKER_DEAF_AFTER" in line
    assert value in line


@pytest.mark.parametrize(("value", "seconds"), [("30", 30), ("3600", 3600), ("", 120)])
def test_a_valid_worker_deaf_after_is_taken(settings_with, value, seconds):
    assert settings_with(WORKER_DEAF_AFTER=value)["WORKER_DEAF_AFTER"] == seconds
