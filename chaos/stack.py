"""The whole stack as processes, and the members who register with it meanwhile."""

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from .sink import Sink

PASSWORD = "chaos-" + os.urandom(8).hex()


class Process:
    """One role of the tool, with its own folder."""

    def __init__(self, name: str, folder: Path, command: list[str], **environment: str) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self.log = self.folder / "log"
        self.command = command
        self.environment = os.environ | environment | {"DATA_DIR": str(self.folder)}
        self.start()

    def start(self) -> None:
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.command],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()

    def wait_for(self, line: bytes) -> None:
        deadline = time.monotonic() + 60
        while line not in self.log.read_bytes():
            assert time.monotonic() < deadline, f"{self.name}: {self.log.read_text()[-3000:]}"
            time.sleep(0.1)


@dataclass
class Outcome:
    fault: str
    accepted: list[str] = field(default_factory=list)
    asked: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    sent: int = 0
    failed: int = 0
    mails: int = 0
    copies: int = 0
    recovery: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Load:
    """Members who register through the API and, with a clerk, in the admin."""

    number = 0
    lock = threading.Lock()

    def __init__(self, ports: list[int], outcome: Outcome, cookie: str) -> None:
        self.ports, self.outcome, self.cookie = ports, outcome, cookie
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=self.register, args=(way,)) for way in (self.api, self.admin)
        ]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def register(self, way: Callable[[http.client.HTTPConnection, str], tuple[int, bool]]) -> None:
        while not self.stopping.wait(0.1):
            with self.lock:
                Load.number += 1
                name = f"m{Load.number:06d}"
            start = time.monotonic()
            connection = http.client.HTTPConnection(
                "127.0.0.1", self.ports[Load.number % len(self.ports)], timeout=30
            )
            self.outcome.asked += 1
            try:
                status, accepted = way(connection, name)
            except (OSError, http.client.HTTPException) as error:
                self.outcome.statuses[type(error).__name__] += 1
                continue
            finally:
                connection.close()
                took = time.monotonic() - start
                self.outcome.slowest = max(self.outcome.slowest, took)
            self.outcome.statuses[str(status)] += 1
            if accepted:
                self.outcome.accepted.append(name)

    def api(self, connection: http.client.HTTPConnection, name: str) -> tuple[int, bool]:
        body = f'{{"username": "{name}", "email": "{name}@example.org"}}'
        connection.request(
            "POST", "/api/v1/members/register/", body, {"Content-Type": "application/json"}
        )
        return self.answer(connection, 201)

    def admin(self, connection: http.client.HTTPConnection, name: str) -> tuple[int, bool]:
        token = re.search("csrftoken=([^;]+)", self.cookie)
        assert token
        body = urlencode(
            {
                "username": name,
                "email": f"{name}@example.org",
                "csrfmiddlewaretoken": token[1],
            }
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": self.cookie}
        connection.request("POST", "/admin/members/member/add/", body, headers)
        return self.answer(connection, 302)

    def answer(self, connection: http.client.HTTPConnection, good: int) -> tuple[int, bool]:
        response = connection.getresponse()
        response.read()
        if response.status == 503 and not response.getheader("Retry-After"):
            self.outcome.wrong.append("a 503 without Retry-After")
        elif response.status < 500 and response.status != good:
            self.outcome.wrong.append(f"an answer {response.status} instead of {good}")
        return response.status, response.status == good


class Stack:
    def __init__(self, folder: Path, sink: Sink) -> None:
        self.sink = sink
        self.webs = [
            Process(
                f"web{port}",
                folder,
                ["gunicorn", "--config", "python:project.gunicorn"],
                PORT=str(port),
                WEB_CONCURRENCY="1",
            )
            for port in free_ports(3)
        ]
        celery = ["celery", "--app", "project"]
        self.workers = [
            Process(
                f"worker{number}",
                folder,
                [*celery, "worker", "-n", f"w{number}@chaos", "--concurrency", "2"]
                + ["--without-gossip", "--without-mingle", "--loglevel", "info"],
            )
            for number in (1, 2)
        ]
        self.beat = Process("beat", folder, [*celery, "beat", "--pidfile=", "--loglevel", "info"])
        self.processes = [*self.webs, *self.workers, self.beat]
        for web in self.webs:
            web.wait_for(b"Booting worker")
        for worker in self.workers:
            worker.wait_for(b" ready.")
        self.ports = [int(web.name[3:]) for web in self.webs]
        self.cookie = self.log_in()

    def log_in(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=30)
        connection.request("GET", "/admin/login/")
        token = cookie_of(connection, "csrftoken")
        form = {"username": "chaos", "password": PASSWORD, "csrfmiddlewaretoken": token}
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": f"csrftoken={token}",
        }
        connection.request("POST", "/admin/login/", urlencode(form), headers)
        response = connection.getresponse()
        response.read()
        cookies = " ".join(response.headers.get_all("Set-Cookie") or [])
        found = {n: re.search(f"{n}=([^;]+)", cookies) for n in ("sessionid", "csrftoken")}
        assert response.status == 302 and found["sessionid"], cookies
        new = found["csrftoken"]
        return f"sessionid={found['sessionid'][1]}; csrftoken={new[1] if new else token}"


def cookie_of(connection: http.client.HTTPConnection, name: str) -> str:
    response = connection.getresponse()
    response.read()
    match = re.search(f"{name}=([^;]+)", " ".join(response.headers.get_all("Set-Cookie") or []))
    assert match
    return match[1]


def free_ports(number: int) -> list[int]:
    import socket

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
