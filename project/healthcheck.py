"""Is this container healthy? Docker asks every few seconds.

Imports as little as possible: no Django, no settings.
"""

import http.client
import os
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["DATA_DIR"])
ROLE = FOLDER / "role"  # written by entrypoint.sh
ADDRESS = FOLDER / "address"  # written by gunicorn.py: port, and one of ALLOWED_HOSTS
# Touched by each heartbeat that comes through a worker's queue, and by each tick of beat.
HEARTBEAT = FOLDER / "heartbeat"
MAX_HEARTBEAT_AGE_SECONDS = 60  # there is one every 15


def web() -> str:
    """What is wrong, or nothing."""
    if not ADDRESS.exists():
        return "not started yet"
    port, host = ADDRESS.read_text().split()
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=8)
    headers = {"Host": host, "User-Agent": "healthcheck"}
    try:
        connection.request("GET", "/health/ready/", headers=headers)
        response = connection.getresponse()
        answer = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error!r}"
    return "" if response.status == 200 else f"{response.status} {answer}"


def beat() -> str:
    return heartbeat("it has not ticked yet", "its last tick was %d s ago")


def worker() -> str:
    return heartbeat(
        "no heartbeat has come through the queue yet",
        "the last heartbeat came through the queue %d s ago",
    )


def heartbeat(none: str, old: str) -> str:
    try:
        age = time.time() - HEARTBEAT.stat().st_mtime
    except FileNotFoundError:
        return none
    return old % age if age > MAX_HEARTBEAT_AGE_SECONDS else ""


def main() -> int:
    try:
        role = ROLE.read_text().strip()
    except FileNotFoundError:
        print("not started yet")
        return 1
    checks = {"web": web, "beat": beat, "worker": worker}
    problem = checks[role]() if role in checks else ""
    print(problem or "ok")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
