"""nginx in front of the desk: slow clients, limits, compression, and TLS before it."""

import http.client
import os
import socket
import subprocess
import time
import urllib.parse

from client import Answer, Browser, expect, step, username


def say(base: str, data: bytes) -> socket.socket:
    """A connection on which the data was sent."""
    address = urllib.parse.urlsplit(base)
    connection = socket.create_connection((address.hostname, address.port), timeout=20)
    connection.sendall(data)
    return connection


def door(base: str) -> None:
    head = b"GET /api/v1/books/ HTTP/1.1\r\nHost: localhost\r\nX-Half: "
    body = (
        b"POST /api/v1/members/register/ HTTP/1.1\r\nHost: localhost\r\n"
        b'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"username'
    )
    for count in (8, 100):
        slow = [say(base, data) for data in (head, body) for _ in range(count)]
        time.sleep(1)
        for path in ("/health/live/", "/health/ready/", "/api/v1/books/", "/admin/login/"):
            started = time.monotonic()
            try:
                answer = Browser(base).ask(path)
            except OSError as error:
                raise SystemExit(
                    f"FAILED: {path} waits for {count} slow clients: {error}"
                ) from None
            expect(answer.status == 200, f"{path} beside {count} slow clients", answer)
            expect(time.monotonic() - started < 5, f"{path} waits for {count} slow clients")
        inside()
        for connection in slow:
            connection.close()
    step("8 and 100 incomplete heads and bodies delay nobody")

    connection = say(base, head)
    connection.settimeout(30)
    expect(connection.recv(1) == b"", "an incomplete head is answered, not dropped")
    step("an incomplete head is dropped")

    # The path of a request line of 8,190 bytes, including "GET " and " HTTP/1.1".
    path = "/api/v1/books/?title=".ljust(8190 - len("GET  HTTP/1.1"), "a")
    answer = Browser(base).ask(path)
    expect(answer.status == 200, "a request line of 8,190 bytes", answer)
    problem(Browser(base).ask(path + "a"), 414)
    large = Browser(base).ask("/api/v1/members/register/", {"username": "a" * 2_000_000})
    expect(large.status == 400, "a body of 2 MB does not reach the desk", large)
    problem(Browser(base).ask("/api/v1/books/", form={"x": "a" * 4_000_000}), 413)
    with say(base, b"GET /api/v1/books/ HTTP/1.1\r\nno header\r\n\r\n") as connection:
        connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        response.begin()
        problem(Answer(response.status, response.headers, response.read(), base), 400)
    text(Browser(base).ask("/admin/".ljust(9000, "a")), 414)
    text(Browser(base).ask("/apical/".ljust(9000, "a")), 414)
    step("what nginx refuses is a problem document in the API, and a sentence elsewhere")

    browser = Browser(base)
    browser.headers["Accept-Encoding"] = "gzip"
    schema = browser.ask("/api/schema/")
    expect(schema.headers["Content-Encoding"] == "gzip", "the schema is not compressed")
    account = {"username": username(), "password": os.environ["DESK_PASSWORD"]}
    token = browser.ask("/api/v1/auth/token/", account)
    expect(token.status == 200, "no token is issued", token)
    expect(token.headers["Content-Encoding"] is None, "a token is compressed")
    step("long responses are compressed, tokens are not")


def inside() -> None:
    """Docker's health check of the web."""
    check = "docker compose exec -T web python project/healthcheck.py"
    run = subprocess.run(check.split(), capture_output=True, text=True, timeout=20)
    expect(run.returncode == 0, f"web is not healthy: {run.stdout}{run.stderr}")


def problem(answer: Answer, status: int) -> None:
    kind = answer.headers["Content-Type"]
    expect(answer.status == status, f"{status} is expected", answer)
    expect(kind == "application/problem+json", f"{status} in the API is {kind}", answer)
    expect(answer.json()["status"] == status, f"the problem is not {status}", answer)
    expect({"type", "title", "detail", "errors"} <= answer.json().keys(), "missing fields", answer)


def text(answer: Answer, status: int) -> None:
    kind = answer.headers["Content-Type"]
    expect(answer.status == status, f"{status} is expected", answer)
    expect(kind.startswith("text/plain"), f"{status} outside the API is {kind}", answer)


def closed(base: str) -> None:
    for path, check in (("/api/v1/books/", problem), ("/admin/", text)):
        answer = Browser(base).ask(path)
        expect(answer.status in (502, 503, 504), "no web runs behind nginx", answer)
        check(answer, answer.status)
        expect(answer.headers["Retry-After"], "no Retry-After", answer)
    step("while no web runs, nginx answers with Retry-After")


def tls(base: str) -> None:
    browser = Browser(base)
    browser.headers["X-Forwarded-For"] = "192.0.2.77"
    browser.headers["X-Forwarded-Proto"] = "https"
    answer = browser.ask("/admin/login/")
    expect(answer.status == 200, "a request over TLS is not answered", answer)
    expect(answer.headers["Strict-Transport-Security"], "no HSTS", answer)
    with say(base, b"GET /admin/ HTTP/1.0\r\nHost: localhost\r\n\r\n") as connection:
        first = connection.makefile("rb").readline()
    expect(b" 301 " in first, f"a request without TLS is not redirected: {first!r}")
    step("the outer proxy's X-Forwarded-Proto is believed")
