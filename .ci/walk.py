#!/usr/bin/env python3
"""Walks through a running desk from outside, as its users do; standard library only.

walk.py main URL MAILPIT   the main path, once; the staff password is in DESK_PASSWORD
walk.py staff URL          the catalogue's work: search box, import and its undo, bulk change, export
walk.py load URL FILE      registers members until FILE.stop appears; writes accepted ones to FILE.
                           A registration may fail only while FILE.down exists
walk.py settle URL MAILPIT FILE MOST   each accepted member exists and got the welcome e-mail,
                           at most MOST of them twice and nobody more often
walk.py counts URL         prints the number of books and of members
walk.py answers URL        waits until the desk is ready
walk.py door URL           nginx: slow clients, limits and compression
walk.py closed URL         nginx while no web runs
walk.py tls URL            TLS ends at another proxy in front (HTTPS=1, TRUSTED_PROXIES=2)
"""

import http.client
import json
import os
import random
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from html.parser import HTMLParser
from http.client import HTTPException
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes, url: str) -> None:
        self.status, self.headers, self.body, self.url = status, headers, body, url

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Browser:
    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/")
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(CookieJar())
        )
        self.headers: dict[str, str] = {}

    def ask(
        self,
        path: str,
        data: Any = None,
        form: dict[str, Any] | None = None,
        file: tuple[str, bytes] | None = None,
    ) -> Answer:
        url = urllib.parse.urljoin(self.base + "/", path)
        headers = dict(self.headers)
        body = None
        if data is not None:
            body, headers["Content-Type"] = json.dumps(data).encode(), "application/json"
        if file is not None:
            body, headers["Content-Type"] = multipart(form or {}, *file)
        elif form is not None:
            body = urllib.parse.urlencode(form, doseq=True).encode()
        if form is not None:
            headers["Referer"] = url
        request = urllib.request.Request(url, body, headers)
        try:
            with self.opener.open(request, timeout=20) as response:
                return Answer(response.status, response.headers, response.read(), response.url)
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read(), error.url or url)


def multipart(form: dict[str, Any], name: str, content: bytes) -> tuple[bytes, str]:
    mark = f"walk{random.randrange(10**12)}"
    head = f'--{mark}\r\nContent-Disposition: form-data; name="'
    fields = "".join(f'{head}{key}"\r\n\r\n{value}\r\n' for key, value in form.items())
    start = f'{fields}{head}file"; filename="{name}"\r\n\r\n'.encode()
    return start + content + f"\r\n--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


class Assets(HTMLParser):
    """What a page loads: style sheets, icons, scripts and images."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        name = {"link": "href", "script": "src", "img": "src"}.get(tag)
        address = dict(attrs).get(name or "")
        if address and not address.startswith("data:"):
            self.found.add(address)


def expect(condition: Any, what: str, answer: Answer | None = None) -> None:
    if condition:
        return
    if answer is not None:
        what += f": {answer.status} at {answer.url[:200]}: {answer.text[:500]}"
    raise SystemExit(f"FAILED: {what}")


def step(text: str) -> None:
    print(f"  {text}", flush=True)


def page_with_assets(browser: Browser, path: str) -> Answer:
    page = browser.ask(path)
    expect(page.status == 200, f"{path} is not shown", page)
    assets = Assets(page.text).found
    expect(assets, f"{path} loads nothing", page)
    for address in sorted(assets):
        full = urllib.parse.urljoin(page.url, address)
        expect(full.startswith(browser.base + "/"), f"{path} loads from a third party: {full}")
        asset = browser.ask(full)
        expect(asset.status == 200, f"{path} loads a broken asset", asset)
    step(f"{path}: 200, with {len(assets)} assets")
    return page


def sign_in(browser: Browser) -> None:
    page = page_with_assets(browser, "/admin/login/?next=/admin/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    expect(token, "the login form has no CSRF token", page)
    account = {"username": username(), "password": os.environ["DESK_PASSWORD"]}
    answer = browser.ask(
        "/admin/login/?next=/admin/",
        form={"csrfmiddlewaretoken": token[1], "next": "/admin/", **account},  # type: ignore[index]
    )
    expect(answer.status == 200 and answer.url.endswith("/admin/"), "staff cannot sign in", answer)
    step("staff signed in")


def username() -> str:
    return os.environ.get("DESK_USERNAME", "admin")


def program(base: str) -> Browser:
    """A client of the API with a token."""
    client = Browser(base)
    account = {"username": username(), "password": os.environ["DESK_PASSWORD"]}
    answer = client.ask("/api/v1/auth/token/", account)
    expect(answer.status == 200, "no token is issued", answer)
    client.headers["Authorization"] = f"Token {answer.json()['token']}"
    return client


def new_isbn() -> str:
    digits = "978" + f"{random.randrange(10**9):09}"
    total = sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(digits))
    return digits + str(-total % 10)


def until(seconds: float, what: str, check: Any) -> Any:
    end = time.monotonic() + seconds
    while True:
        try:
            if result := check():
                return result
        except (OSError, HTTPException):
            pass
        expect(time.monotonic() < end, f"{what} within {seconds} s")
        time.sleep(0.5)


def main_path(base: str, mailpit: str) -> None:
    browser = Browser(base)
    sign_in(browser)
    page_with_assets(browser, "/admin/")
    page_with_assets(browser, "/api/docs/")

    client = program(base)
    word = f"walk{random.randrange(10**8)}"
    book = {
        "title": f"A {word} through the library",
        "author": "Ann Walker",
        "publication_year": 2020,
        "isbn": new_isbn(),
    }
    answer = client.ask("/api/v1/books/", book)
    expect(answer.status == 201, "a book cannot be created", answer)
    found = Browser(base).ask(f"/api/v1/books/?search={word}")
    expect(found.status == 200 and len(found.json()["results"]) == 1, "a book is not found", found)
    step("book created by the API, and found")

    name = f"walker-{random.randrange(10**9)}"
    address = f"{name}@example.org"
    answer = Browser(base).ask("/api/v1/members/register/", {"username": name, "email": address})
    expect(answer.status == 201, "a member cannot register", answer)
    until(60, "the welcome e-mail has not arrived", lambda: mails(mailpit, address))
    step("member registered, welcome e-mail arrived")
    until(20, "the member does not count as welcomed", lambda: sent(client, name))
    page = browser.ask("/admin/django_celery_results/taskresult/")
    expect(page.status == 200, "the task results are not shown", page)
    step("task results shown in the admin")


IMPORTS, BOOKS = "/admin/library/import/", "/admin/library/book/"


def post(
    browser: Browser,
    path: str,
    form: dict[str, Any] | None = None,
    file: tuple[str, bytes] | None = None,
) -> Answer:
    """As a form of the admin; follows its redirect."""
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.ask(BOOKS).text)
    expect(token, "a list has no CSRF token")
    answer = browser.ask(path, form={"csrfmiddlewaretoken": token[1]} | (form or {}), file=file)  # type: ignore[index]
    expect(answer.status == 200, f"{path} refuses", answer)
    return answer


def reaches(browser: Browser, job: str, state: str) -> None:
    """A worker takes the job to this state."""
    found = ""

    def reached() -> bool:
        nonlocal found
        found = browser.ask(f"{job}progress/").json()["state"]
        expect(found != "failed" or state == "failed", f"{job} failed", browser.ask(job))
        return found == state

    until(90, f"{job} is not {state}", reached)


def staff(base: str) -> None:
    browser, public = Browser(base), Browser(base)
    sign_in(browser)
    word, count = f"обход{random.randrange(10**8)}", 1200
    isbns = [new_isbn() for _ in range(count)]
    rows = [f"{word} {n};Анна Ходок;1999;{isbn}" for n, isbn in enumerate(isbns)]
    rows.append(f"{word} без номера;Анна Ходок;1999;123")
    content = "\n".join(["Название;Автор;Год;ISBN", *rows]).encode("cp1251")

    def listed(**query: str) -> int:
        query |= {"count": "true", "page_size": "1"}
        answer = public.ask(f"/api/v1/books/?{urllib.parse.urlencode(query)}")
        return answer.json()["count"]

    job = urllib.parse.urlsplit(
        post(browser, f"{IMPORTS}add/", file=("обход.csv", content)).url
    ).path.removesuffix("change/")
    reaches(browser, job, "examined")
    page = page_with_assets(browser, job)
    expect(f"{word} 0" in page.text and "cp1251" in page.text, "the preview lacks the rows", page)
    expect(listed(search=word) == 0, "books were written before the confirmation")
    post(browser, f"{job}confirm/")
    reaches(browser, job, "done")
    expect(listed(search=word) == count, "the import's books are not there")
    refused = browser.ask(f"{job}refused/")
    expect(
        refused.status == 200 and f"{word} без номера" in refused.body.decode("utf-8-sig"),
        "refused rows",
        refused,
    )
    uploaded = browser.ask(f"{job}file/")
    expect(uploaded.body == content, "the uploaded file is another", uploaded)
    step(f"{count} books of a cp1251 file imported by the worker, one row refused")

    hits = browser.ask(f"/admin/search/hits/?q={urllib.parse.quote(f'{word} 7')}").json()
    titles = [hit["title"] for group in hits["groups"] for hit in group["hits"]]
    expect(f"{word} 7" in titles, f"the search box finds {titles}")
    book = browser.ask(f"/admin/search/?q={isbns[7]}")
    expect(re.search(r"/book/\d+/change/", book.url), "an ISBN does not open its book", book)
    step("the search box finds, and an ISBN opens its book")

    exported = browser.ask(f"{BOOKS}export/?{urllib.parse.urlencode({'q': word, 'format': 'csv'})}")
    lines = exported.body.decode("utf-8-sig").splitlines()
    expect(exported.status == 200 and len(lines) == count + 1, f"{len(lines)} lines", exported)
    step("the list exported as CSV")

    list_of_word = f"{BOOKS}?{urllib.parse.urlencode({'q': word})}"
    first = re.search(r'name="_selected_action" value="(\d+)"', browser.ask(list_of_word).text)
    expect(first, "the list has no row to select")
    everything = {"action": "change_year", "select_across": "1", "index": "0"}
    everything |= {"_selected_action": first[1], "publication_year": "1998"}  # type: ignore[index]
    dry = post(browser, list_of_word, everything | {"preview": "1"})
    expect("<ins>1998</ins>" in dry.text, "the dry run shows no change", dry)
    expect(listed(search=word, publication_year="1998") == 0, "a dry run wrote")
    bulk = urllib.parse.urlsplit(
        post(browser, list_of_word, everything | {"confirmed": "1"}).url
    ).path.removesuffix("change/")
    reaches(browser, bulk, "done")
    expect(listed(search=word, publication_year="1998") == count, "the bulk change left books")
    post(browser, f"{bulk}undo/")
    reaches(browser, bulk, "undone")
    expect(listed(search=word, publication_year="1999") == count, "its undo left books")
    step(f"{count} books changed by the worker, and changed back")

    again = f"again{word}"
    second = content.decode("cp1251").replace(word, again)
    for isbn in isbns:
        second = second.replace(isbn, new_isbn())
    answer = post(browser, f"{IMPORTS}add/", file=("again.csv", second.encode("cp1251")))
    job = urllib.parse.urlsplit(answer.url).path.removesuffix("change/")
    reaches(browser, job, "examined")
    post(browser, f"{job}confirm/")
    reaches(browser, job, "done")
    expect(listed(search=again) == count, "the second import's books are not there")
    post(browser, f"{job}undo/")
    reaches(browser, job, "undone")
    expect(listed(search=again) == 0, "an undone import left books")
    page_with_assets(browser, job)
    page_with_assets(browser, "/admin/library/historicalbook/")
    step("the import undone")

    large = b"title;author;year;isbn\n" + b"x" * 4_000_000
    answer = post(browser, f"{IMPORTS}add/", file=("large.csv", large))
    expect(IMPORTS in answer.url and not answer.url.endswith("add/"), "4 MB are refused", answer)
    job = urllib.parse.urlsplit(answer.url).path.removesuffix("change/")
    until(
        60,
        "4 MB are not examined",
        lambda: browser.ask(f"{job}progress/").json()["state"] != "uploaded",
    )
    step("a file of 4 MB passes nginx")


def mails(mailpit: str, address: str) -> int:
    answer = Browser(mailpit).ask(f"/api/v1/search?query=to:{urllib.parse.quote(address)}")
    return len(answer.json()["messages"])


def sent(client: Browser, name: str) -> bool:
    answer = client.ask(f"/api/v1/members/?username={name}")
    results = answer.json()["results"] if answer.status == 200 else []
    return len(results) == 1 and results[0]["welcome_email"]["state"] == "sent"


def load(base: str, file: str) -> None:
    """A light load: each member tries again until accepted."""
    stop, down, run = Path(f"{file}.stop"), Path(f"{file}.down"), random.randrange(10**6)
    number, failures = 0, 0
    with Path(file).open("a") as out:
        while not stop.exists():
            number += 1
            name = f"load-{run}-{number}"
            account = {"username": name, "email": f"{name}@example.org"}
            failed_before = False
            while True:
                excused = down.exists()
                try:
                    answer = Browser(base).ask("/api/v1/members/register/", account)
                    status, text = answer.status, answer.text
                except (OSError, HTTPException) as error:
                    status, text = 0, repr(error)
                # 400 and 409 then mean "registered already": only the response was lost.
                if status == 201 or (failed_before and status in (400, 409)):
                    out.write(f"{name}\n")
                    out.flush()
                    break
                excused = (excused or down.exists()) and status in (0, 502, 503, 504)
                expect(excused, f"a registration failed: {status} {text[:500]}")
                failures, failed_before = failures + 1, True
                if stop.exists():
                    break
                time.sleep(1)
            time.sleep(0.3)
    step(f"{number} registrations; {failures} attempts failed while database or nginx was down")


def settle(base: str, mailpit: str, file: str, most: str) -> None:
    client, started = program(base), time.monotonic()
    names = waiting = Path(file).read_text().split()
    expect(len(names) > 20, f"only {len(names)} members registered under load")
    end = time.monotonic() + 400
    while waiting:
        waiting = [name for name in waiting if not sent(client, name)]
        expect(time.monotonic() < end, f"{len(waiting)} members wait for their e-mail: {waiting}")
        time.sleep(1)
    waited = time.monotonic() - started
    got = [mails(mailpit, f"{name}@example.org") for name in names]
    missing = [name for name, count in zip(names, got, strict=True) if not count]
    expect(not missing, f"counted as welcomed, but without an e-mail: {missing}")
    twice = got.count(2)
    step(f"{len(names)} members, all welcomed after {waited:.0f} s, {twice} of them twice")
    expect(max(got) <= 2, f"somebody got {max(got)} e-mails")
    expect(twice <= int(most), f"{twice} members got their e-mail twice; at most {most} may")


def answers(base: str) -> None:
    until(60, "the desk is not ready", lambda: Browser(base).ask("/health/ready/").status == 200)


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


def counts(base: str) -> None:
    client = program(base)
    found = [
        client.ask(f"/api/v1/{path}/?count=true&page_size=1").json()["count"]
        for path in ("books", "members")
    ]
    print(*found)


COMMANDS: dict[str, Callable[..., None]] = {
    "main": main_path,
    "staff": staff,
    "load": load,
    "settle": settle,
    "counts": counts,
    "answers": answers,
    "door": door,
    "closed": closed,
    "tls": tls,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
