"""A browser without scripts, a client of the API, and what every walk asks of them."""

import json
import os
import random
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from html.parser import HTMLParser
from http.client import HTTPException
from http.cookiejar import CookieJar
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
