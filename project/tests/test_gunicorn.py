"""What only a real server shows: how bodies arrive, and the length limit of a request line."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import yaml
from django.conf import settings
from django.urls import reverse

from .test_run import wait_for

pytestmark = pytest.mark.worker

BOOKS = "/api/v1/books/"
BOOK = {"title": "Emma", "author": "A", "publication_year": 1815, "isbn": "9783161484100"}
ISBNS = ["9780000000002", "9780000000019", "9780000000026"]


class Web:
    def __init__(self, port: int) -> None:
        self.port = port
        self.headers = {"Content-Type": "application/json"}

    def request(self, method: str, path: str, body=None, **options) -> tuple[int, dict]:
        """A list is sent in chunks."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, self.headers, **options)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or "null")
        finally:
            connection.close()

    def send(self, start: bytes) -> tuple[int, str]:
        """Status and type of the response to raw bytes, which may be an incomplete request."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(start)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return response.status, response.headers["Content-Type"]


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Web, subprocess.Popen]]:
    """The embedded web with its own database; its client uses the first account."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    unset = {"DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE"}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {
        "DATA_DIR": str(folder),
        "PORT": str(port),
        "DJANGO_SUPERUSER_USERNAME": "admin",
        "DJANGO_SUPERUSER_PASSWORD": "secret",
    }
    options = {"cwd": settings.BASE_DIR, "env": environment}
    subprocess.run([sys.executable, "manage.py", "prepare"], check=True, **options)
    command = [sys.executable, "-m", "gunicorn", "--config", "python:project.gunicorn"]
    process = subprocess.Popen([*command, "--log-level", "warning"], **options)
    try:
        client = Web(port)
        for _ in range(300):
            try:
                client.request("GET", "/health/live/")
                break
            except OSError:
                time.sleep(0.1)
        login = json.dumps({"username": "admin", "password": "secret"})
        _, answer = client.request("POST", "/api/v1/auth/token/", login)
        client.headers["Authorization"] = f"Token {answer['token']}"
        yield client, process
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def web(tmp_path_factory, migrated) -> Iterator[Web]:
    with serving(migrated(tmp_path_factory.mktemp("web"))) as (client, _process):
        yield client


def test_chunks_are_one_body(web):
    text = json.dumps(BOOK).encode()
    chunks = [text[:10], text[10:]]
    status, book = web.request("POST", BOOKS, iter(chunks), encode_chunked=True)
    assert status == 201
    path = f"{BOOKS}{book['id']}/"
    change = iter([b'{"title": ', b'"Persuasion"}'])
    assert web.request("PATCH", path, change, encode_chunked=True)[1]["title"] == "Persuasion"
    assert web.request("GET", path)[1]["title"] == "Persuasion"
    web.request("DELETE", path)


def test_a_web_that_stops_answers_what_it_has_and_lets_nobody_wait_in_vain(tmp_path, migrated):
    """nginx asks another web once the connection is refused."""
    body = json.dumps(BOOK).encode()
    head = f"POST {BOOKS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with serving(migrated(tmp_path)) as (client, process):
        head += f"Authorization: {client.headers['Authorization']}\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", client.port), timeout=30) as slow:
            slow.sendall(head.encode() + body[:5])
            time.sleep(0.5)  # by now a thread reads it
            process.terminate()
            assert wait_for(lambda: is_refused(client.port))
            slow.sendall(body[5:])
            response = http.client.HTTPResponse(slow)
            response.begin()
            assert response.status == 201


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


HEAD = b"POST /api/v1/books/ HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_beyond_the_limit_it_answers_before_the_body_ends(web):
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    assert web.send(HEAD + chunk * 41) == (413, "application/problem+json")


@pytest.mark.parametrize("chunk", [b"x\r\n", b"-1\r\n", b"5\r\n{}}}}}\r\n0\r\n\r\n"])
def test_malformed_chunks_are_a_400(web, chunk):
    assert web.send(HEAD + chunk) == (400, "application/problem+json")


@pytest.mark.parametrize(
    ("request_line", "header", "status"),
    [
        (f"GET {BOOKS}?title={'a' * 9000} HTTP/1.1", "X-Y: z", 414),
        (f"GET {BOOKS} HTTP/1.1", f"X-Y: {'z' * 9000}", 431),
        (f"GET {BOOKS} HTTP/1.1", "X-Y", 400),
        (f"GET {BOOKS} HTTP/1.1", "Transfer-Encoding: xchunked", 501),
        ("GET", "X-Y: z", 400),
    ],
    ids=["address", "header", "colon", "coding", "line"],
)
def test_what_is_no_request_is_a_problem_document_too(web, request_line, header, status):
    head = f"{request_line}\r\nHost: 127.0.0.1\r\n{header}\r\n\r\n".encode()
    assert web.send(head) == (status, "application/problem+json")


@pytest.mark.parametrize("charset", ["zip", "rot13", "idna", "undefined", "utf-16", "latin1"])
def test_addresses_and_json_are_utf8_whatever_charset_says(web, charset):
    """Django believes it, even of the address, and these fail to read it."""
    login = {"username": "admin", "password": "secrét"}
    for path in ("/api/v1/auth/token/", "/api/v1/auth/token/?x=%ff", "/health/live/?x=%ff"):
        body = json.dumps(login, ensure_ascii=False).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        head += f"Content-Type: application/json; charset={charset}\r\n\r\n"
        status = {"/api/v1/auth/token/": 401, "/health/live/?x=%ff": 405}.get(path, 400)
        assert web.send(head.encode() + body)[0] == status


def test_a_link_over_the_longest_titles_is_taken(web):
    for number, isbn in enumerate(ISBNS):
        title = "".join(chr(0x20000 + 83 * i + number) for i in range(500))
        book = {"title": title, "author": title[::-1], "publication_year": 2000, "isbn": isbn}
        assert web.request("POST", BOOKS, json.dumps(book))[0] == 201
    found, address = [], f"{BOOKS}?ordering=title,author&page_size=1"
    while address:
        status, page = web.request("GET", address)
        assert status == 200
        found += [book["isbn"] for book in page["results"]]
        parts = urlsplit(page["next"] or "")
        address = parts.path and f"{parts.path}?{parts.query}"
    assert found == ISBNS


def test_a_request_line_may_have_8190_characters(web):
    line = f"GET {BOOKS}?search= HTTP/1.1"
    address = f"{BOOKS}?search={'x' * (8190 - len(line))}"
    assert web.request("GET", address)[0] == 200


def test_eight_half_open_requests_do_not_keep_the_embedded_web_from_answering(web):
    halves = [b"GET /health/live/ HTTP/1.1\r\nHost: x", b"POST / HTTP/1.1\r\nHost: x\r\n"] * 4
    with ExitStack() as opened:
        for half in halves:
            connection = socket.create_connection(("127.0.0.1", web.port))
            opened.enter_context(connection).sendall(half)
        time.sleep(0.3)  # each has its thread
        assert web.request("GET", "/health/live/")[0] == 200


def logged(tmp_path, status="200 OK", headers=(), **environ) -> str:
    """What the access log says of such a request."""
    from gunicorn.config import Config

    from project.gunicorn import AccessLog

    config = Config()
    config.set("accesslog", str(tmp_path / "log"))
    response = SimpleNamespace(status=status, headers=headers, sent=5)
    request = {"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "192.0.2.1"}
    log = AccessLog(config)
    log.access(response, None, request | environ, timedelta(milliseconds=7))
    return (tmp_path / "log").read_text()


def test_the_access_log_has_a_line_for_a_request(tmp_path):
    line = logged(
        tmp_path,
        headers=[("X-Request-ID", "0123abcd")],
        RAW_URI="/api/v1/books/?page_size=5",
        PATH_INFO="/api/v1/books/",
        HTTP_USER_AGENT='curl" 200',
    )
    expected = '192.0.2.1 "GET /api/v1/books/?page_size=5 HTTP/1.1" 200 5 bytes 7 ms 0123abcd'
    assert line == f'{expected} "curl\\" 200"\n'  # nobody can write a field of his own


@pytest.mark.parametrize(("status", "lines"), [("200 OK", 0), ("503 Service Unavailable", 1)])
def test_of_health_checks_only_those_that_fail_have_one(tmp_path, status, lines):
    path = "/health/ready/"
    assert logged(tmp_path, status, RAW_URI=path, PATH_INFO=path).count("\n") == lines


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/admin/reset/MQ/secret-token/", {"PATH_INFO": "/admin/reset/MQ/secret-token/"}),
        ("/%61dmin/reset/MQ/secret-token/", {"PATH_INFO": "/admin/reset/MQ/secret-token/"}),
        ("/admin/reset/MQ/secret-token/", {}),
    ],
    ids=["plain", "escaped", "malformed header"],
)
def test_the_access_log_holds_no_link_that_sets_a_password(tmp_path, address, path):
    line = logged(tmp_path, RAW_URI=address, **path)
    assert "secret" not in line
    assert '"GET /admin/reset/…"' in line


def test_nor_does_that_of_nginx():
    compose = yaml.safe_load((settings.BASE_DIR / "docker-compose.yml").read_text())
    config = compose["configs"]["nginx"]["content"]
    secret = re.search(r'map \$\$request_uri \$\$logged \{[^}]*"~(\S+)" 0;', config)
    assert secret
    assert re.match(secret[1], reverse("admin:password_reset_confirm", args=["MQ", "secret"]))
    logs = re.findall(r"access_log (.*);", config)
    assert logs == ["off", "/var/log/nginx/access.log main if=$$logged"]
