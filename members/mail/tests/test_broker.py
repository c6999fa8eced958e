"""What a registration costs while Redis refuses, is silent, or answers: real sockets, real client.

Each case is a web process of its own, for the broker is chosen when the settings are read. Redis
is the throttles' cache too, so both limits count.
"""

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis

from members.conftest import redis_database

WEB = """
import json, time
import django
django.setup()
from django.core.management import call_command
from django.db import connection
if not connection.introspection.table_names():
    call_command("migrate", verbosity=0)
from django.test import Client
from members.models import WelcomeEmail
client = Client()
client.get("/api/v1/members/")  # what only the first request of a process costs
answers = []
for name in ("ann", "bob", "cat"):
    start = time.perf_counter()
    body = {"username": name, "email": f"{name}@example.org"}
    response = client.post("/api/v1/members/register/", body, content_type="application/json")
    answers.append((response.status_code, time.perf_counter() - start))
left_to_the_sweeper = WelcomeEmail.objects.filter(state="queued", enqueued_at=None).count()
print(json.dumps([answers, left_to_the_sweeper]))
"""


def register_three(redis_url: str, folder: Path) -> tuple[list[int], list[float], int]:
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DATABASE_URL": "",
        "SECRET_KEY": "x",
        "DATA_DIR": str(folder),
        "REDIS_URL": redis_url,
        "ALLOWED_HOSTS": "testserver",
        "THROTTLE_ANON": "",  # so that the first request does not find out about the cache
        "THROTTLE_REGISTER": "60/min",
    }
    run = subprocess.run(
        [sys.executable, "-c", WEB], env=environment, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    answers, left = json.loads(run.stdout)
    statuses, seconds = zip(*answers, strict=True)
    print("seconds:", [round(s, 3) for s in seconds])
    return list(statuses), list(seconds), left


def connections(server: socket.socket) -> int:
    """How many clients wait to be accepted."""
    server.setblocking(False)
    count = 0
    with suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
            count += 1
    return count


def test_a_refusing_broker_costs_next_to_nothing(tmp_path, migrated):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    statuses, seconds, left = register_three(f"redis://127.0.0.1:{port}/0", migrated(tmp_path))
    assert statuses == [201] * 3
    assert left == 3
    assert max(seconds) < 3, "none waits; the first also imports the client"


def test_a_silent_broker_costs_a_second_once(tmp_path, migrated):
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:  # accepts, never answers
        port = silent.getsockname()[1]
        statuses, seconds, left = register_three(f"redis://127.0.0.1:{port}/0", migrated(tmp_path))
        asked = connections(silent)
    assert statuses == [201] * 3
    assert left == 3
    assert max(seconds) < 4, "cache and broker together, and the client's import"
    assert asked == 2, "cache and broker, by the first registration alone"


@pytest.mark.redis
def test_a_broker_that_answers_gets_the_messages(tmp_path, migrated):
    with redis_database() as url, Redis.from_url(url) as redis:
        statuses, seconds, left = register_three(url, migrated(tmp_path))
        assert statuses == [201] * 3
        assert left == 0
        assert redis.llen("celery") == 3
        assert b"example.org" not in b"".join(redis.lrange("celery", 0, -1))
