"""Is the role of this container healthy? Docker asks; a deaf worker is ended, to be restarted.

Runs every few seconds, so it imports as little as it can.
"""

import http.client
import os
import signal
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["DATA_DIR"])
ROLE = FOLDER / "role"  # entrypoint.sh: the role's name and its process
HEARTBEAT = FOLDER / "heartbeat"  # touched by each heartbeat that came through the queue
BROKER_DOWN = FOLDER / "broker-down"
TOLD_TO_END = FOLDER / "told-to-end"

LATE = 60  # seconds without a heartbeat (one is sent every 15) after which a role is unhealthy
# And after which a worker is told to end,
DEAF = int(os.environ.get("WORKER_DEAF_AFTER") or 120)
# with so much time to do it before SIGKILL.
LAST_WORDS = int(os.environ.get("WORKER_GRACEFUL_TIMEOUT") or 60) + 5


def age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def web() -> str:
    """What is wrong, or nothing."""
    host = os.environ.get("ALLOWED_HOSTS", "").split(",")[0].strip().lstrip(".")
    port = int(os.environ.get("PORT") or 8000)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=8)
    headers = {"Host": host if host.strip("*") else "localhost", "User-Agent": "healthcheck"}
    try:
        connection.request("GET", "/health/ready/", headers=headers)
        response = connection.getresponse()
        answer = response.read().decode(errors="replace")
    except OSError as error:
        return f"no answer: {error}"
    return "" if response.status == 200 else f"{response.status} {answer}"


def beat() -> str:
    late = age(HEARTBEAT)
    return f"its clock last moved {late:.0f} s ago" if late > LATE else ""


def worker(process: int) -> str:
    late = min(age(HEARTBEAT), age(ROLE))
    if late > DEAF:
        end_if_deaf(process)
    if not HEARTBEAT.exists():
        return "no heartbeat has come through the queue yet"
    return f"the last heartbeat came through the queue {late:.0f} s ago" if late > LATE else ""


def end_if_deaf(process: int) -> None:
    """Docker restarts what ends, not what is unhealthy. This works on a stopped process too."""
    if not broker_answers():
        BROKER_DOWN.touch()
    if age(BROKER_DOWN) < DEAF:
        return  # nothing can come through: no fault of the worker's, which will reconnect
    if not TOLD_TO_END.exists():
        say(f"The worker is deaf: no heartbeat for {DEAF} s. It is told to end.")
        TOLD_TO_END.touch()
        os.kill(process, signal.SIGTERM)
    elif age(TOLD_TO_END) > LAST_WORDS:
        say("The deaf worker did not end: it is killed.")
        os.kill(process, signal.SIGKILL)


def broker_answers() -> bool:
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # here, celery.py is our own
    import redis

    from project import env

    try:
        with redis.Redis.from_url(
            env.redis("REDIS_URL"), socket_timeout=2, socket_connect_timeout=2
        ) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False


def say(line: str) -> None:
    """Into the container's log: what a health check prints itself is seen by `inspect` alone."""
    try:
        Path("/proc/1/fd/2").write_text(f"{line}\n")
    except OSError:
        print(line)


def main() -> int:
    try:
        role, process = ROLE.read_text().split()
    except (FileNotFoundError, ValueError):
        print("not started yet")
        return 1
    checks = {"web": web, "beat": beat, "worker": lambda: worker(int(process))}
    problem = checks[role]() if role in checks else ""
    print(problem or "ok")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
