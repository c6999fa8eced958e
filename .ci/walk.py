#!/usr/bin/env python3
"""Walks through a running desk as its users do, from outside, with the standard library alone.

walk.py main URL MAILPIT   the main path, once; the staff password is in DESK_PASSWORD
walk.py load URL FILE      register members until FILE.stop appears; the accepted ones go to FILE
walk.py settle URL MAILPIT FILE   each accepted member is there and has got the welcome e-mail
walk.py counts URL         how many books and members there are
"""

import json
import os
import random
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
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

    def ask(self, path: str, data: Any = None, form: dict[str, str] | None = None) -> Answer:
        url = urllib.parse.urljoin(self.base + "/", path)
        headers = dict(self.headers)
        body = None
        if data is not None:
            body, headers["Content-Type"] = json.dumps(data).encode(), "application/json"
        if form is not None:
            body, headers["Referer"] = urllib.parse.urlencode(form).encode(), url
        request = urllib.request.Request(url, body, headers)
        try:
            with self.opener.open(request, timeout=20) as response:
                return Answer(response.status, response.headers, response.read(), response.url)
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read(), error.url or url)


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
        what += f": {answer.status} at {answer.url}: {answer.text[:500]}"
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
    expect(answer.status == 200, "no token is given", answer)
    client.headers["Authorization"] = f"Token {answer.json()['token']}"
    return client


def new_isbn() -> str:
    digits = "978" + f"{random.randrange(10**9):09}"
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
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


def mails(mailpit: str, address: str) -> int:
    answer = Browser(mailpit).ask(f"/api/v1/search?query=to:{urllib.parse.quote(address)}")
    return len(answer.json()["messages"])


def sent(client: Browser, name: str) -> bool:
    answer = client.ask(f"/api/v1/members/?username={name}")
    results = answer.json()["results"] if answer.status == 200 else []
    return len(results) == 1 and results[0]["welcome_email"]["state"] == "sent"


def load(base: str, file: str) -> None:
    """A light one: somebody registers, again and again until it is accepted; others read."""
    stop, accepted, run = Path(f"{file}.stop"), Path(file), random.randrange(10**6)
    number, errors = 0, 0
    with accepted.open("a") as out:
        while not stop.exists():
            number += 1
            name = f"load-{run}-{number}"
            while True:
                try:
                    answer = Browser(base).ask(
                        "/api/v1/members/register/",
                        {"username": name, "email": f"{name}@example.org"},
                    )
                    status = answer.status
                except (OSError, HTTPException):
                    status = 0
                # 400 and 409 only say "is registered already" here: an answer got lost before.
                if status in (201, 409) or (status == 400 and errors):
                    out.write(f"{name}\n")
                    out.flush()
                    break
                expect(status in (0, 429, 500, 502, 503, 504), f"registration answered {status}")
                errors += 1
                if stop.exists():
                    break
                time.sleep(1)
            time.sleep(0.8)  # below the limit of 60 a minute
    step(f"{number} registrations, {errors} of them had to be repeated")


def settle(base: str, mailpit: str, file: str) -> None:
    client, started = program(base), time.monotonic()
    waiting = Path(file).read_text().split()
    expect(len(waiting) > 20, f"only {len(waiting)} members registered under load")
    total, twice = len(waiting), 0
    end = time.monotonic() + 400
    while waiting:
        waiting = [name for name in waiting if not sent(client, name)]
        expect(time.monotonic() < end, f"{len(waiting)} members wait for their e-mail: {waiting}")
        time.sleep(1)
    for name in Path(file).read_text().split():
        count = mails(mailpit, f"{name}@example.org")
        expect(count, f"{name} counts as welcomed, but no e-mail has arrived")
        twice += count > 1
    step(
        f"{total} members, all welcomed after {time.monotonic() - started:.0f} s, {twice} of them twice"
    )


def counts(base: str) -> None:
    client = program(base)
    found = [
        client.ask(f"/api/v1/{path}/?count=true&page_size=1").json()["count"]
        for path in ("books", "members")
    ]
    print(*found)


if __name__ == "__main__":
    {"main": main_path, "load": load, "settle": settle, "counts": counts}[sys.argv[1]](
        *sys.argv[2:]
    )
