"""Two people at one record at the same moment, over a real web server on a real database.

On SQLite, or on the MySQL of DATABASE_URL.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import partial
from http.client import HTTPConnection
from threading import Barrier
from typing import Any
from urllib.parse import urlencode

import pytest
from stdnum import ean

from members.mail.tests.test_worker import mysql_database

from .forms import filled
from .test_run import free_port, wait_for

pytestmark = pytest.mark.worker
# Without a lock one of three rounds brought a record back, and two of three lost an edit.
ROUNDS_OF_DELETIONS = 12
ROUNDS_OF_EDITS = 6


class Answer:
    def __init__(self, response: Any) -> None:
        self.status, self.headers = response.status, response.headers
        self.content = response.read()

    def json(self) -> Any:
        return json.loads(self.content)


class Person:
    """A user who is signed in to the admin and has a token."""

    def __init__(self, port: int) -> None:
        self.port, self.cookies, self.token = port, {}, ""
        login = "/admin/login/"
        form = {"username": "admin", "password": "races", "next": "/admin/"}
        self.ask("GET", login)
        assert self.post(login, form).status == 302
        self.token = self.ask("POST", "/api/v1/auth/token/", form, without="next").json()["token"]

    def ask(self, method: str, path: str, body: Any = None, without: str = "") -> Answer:
        body = body and json.dumps({k: v for k, v in body.items() if k != without})
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Token {self.token}"
        return self.send(method, path, body, headers)

    def post(self, path: str, form: dict[str, str]) -> Answer:
        body = urlencode(form | {"csrfmiddlewaretoken": self.cookies["csrftoken"]})
        return self.send("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})

    def send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        if not self.token or path.startswith("/admin"):
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, headers)
        answer = Answer(connection.getresponse())
        connection.close()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer


@pytest.fixture(scope="module")
def port(tmp_path_factory, migrated) -> Iterator[int]:
    if os.environ.get("DATABASE_URL"):
        with mysql_database() as database:
            yield from serve(tmp_path_factory.mktemp("races"), database)
    else:
        yield from serve(migrated(tmp_path_factory.mktemp("races")), "")


def serve(folder: Any, database: str) -> Iterator[int]:
    port = free_port()
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DATA_DIR": str(folder),
        "DATABASE_URL": database,
        "REDIS_URL": "",
        "SECRET_KEY": "races",
        "DEBUG": "1",  # no static files are collected
        "PORT": str(port),
        "DJANGO_SUPERUSER_PASSWORD": "races",
        **dict.fromkeys(
            (
                "THROTTLE_ANON",
                "THROTTLE_ACCOUNT",
                "THROTTLE_EXPORT",
                "THROTTLE_REGISTER",
                "THROTTLE_DUPLICATE",
            ),
            "",
        ),
    }
    python = [sys.executable, "-m"]
    subprocess.run([sys.executable, "manage.py", "prepare"], env=environment, check=True)
    gunicorn = [*python, "gunicorn", "--config", "python:project.gunicorn", "--log-level", "error"]
    web = subprocess.Popen(gunicorn, env=environment)
    try:
        assert wait_for(lambda: HTTPConnection("127.0.0.1", port).connect() is None)
        yield port
    finally:
        web.terminate()
        web.wait(30)


@pytest.fixture(scope="module")
def people(port) -> tuple[Person, Person]:
    ann = Person(port)
    return ann, deepcopy(ann)  # as in another tab: to check a password takes half a second


def at_once(*calls: Callable[[], Answer]) -> list[Answer]:
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Answer]) -> Answer:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


numbers = iter(range(10**6))
BOOKS, MEMBERS = "/api/v1/books/", "/api/v1/members/"


def new_book(person: Person) -> str:
    digits = f"978{next(numbers):09d}"
    isbn = digits + ean.calc_check_digit(digits)
    book = {"title": "Old", "author": "Old", "publication_year": 2000, "isbn": isbn}
    return f"{BOOKS}{person.ask('POST', BOOKS, book).json()['id']}/"


def new_member(person: Person) -> str:
    name = f"old-{next(numbers)}"
    member = {"username": name, "email": f"{name}@example.org"}
    return f"{MEMBERS}{person.ask('POST', f'{MEMBERS}register/', member).json()['id']}/"


def test_two_changes_of_a_book_are_both_kept(people):
    ann, bob = people
    for _ in range(ROUNDS_OF_EDITS):
        url = new_book(ann)
        answers = at_once(
            lambda url=url: ann.ask("PATCH", url, {"title": "New"}),
            lambda url=url: bob.ask("PATCH", url, {"author": "New"}),
        )
        assert [answer.status for answer in answers] == [200, 200]
        book = ann.ask("GET", url)
        assert (book.json()["title"], book.json()["author"]) == ("New", "New")
        assert book.headers["ETag"] == '"3"'


def test_two_changes_of_a_member_are_both_kept(people):
    ann, bob = people
    for number in range(ROUNDS_OF_EDITS):
        url = new_member(ann)
        name = f"new-{number}"
        answers = at_once(
            lambda url=url, name=name: ann.ask("PATCH", url, {"username": name}),
            lambda url=url, name=name: bob.ask("PATCH", url, {"email": f"{name}@example.org"}),
        )
        assert [answer.status for answer in answers] == [200, 200]
        member = ann.ask("GET", url).json()
        assert (member["username"], member["email"]) == (name, f"{name}@example.org")


def test_of_two_who_write_on_one_tag_one_is_refused(people):
    ann, bob = people

    def write(person: Person, url: str, body: dict[str, str]) -> Answer:
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Token {person.token}",
            "If-Match": '"1"',
        }
        return person.send("PATCH", url, json.dumps(body), headers)

    for _ in range(ROUNDS_OF_EDITS):
        url = new_book(ann)
        answers = at_once(
            lambda url=url: write(ann, url, {"title": "New"}),
            lambda url=url: write(bob, url, {"author": "New"}),
        )
        assert sorted(answer.status for answer in answers) == [200, 412]


def test_one_request_sent_twice_at_once_creates_one_record(people):
    ann, _ = people
    for _ in range(ROUNDS_OF_EDITS):
        number = next(numbers)
        body = json.dumps({"username": f"once-{number}", "email": f"once-{number}@example.org"})
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Token {ann.token}",
            "Idempotency-Key": f'"{number}"',
        }
        send = partial(ann.send, "POST", f"{MEMBERS}register/", body)
        answers = at_once(*[lambda: send(dict(headers))] * 2)  # noqa: B023
        assert [answer.status for answer in answers] == [201, 201]
        assert answers[0].json() == answers[1].json()
        assert len({answer.headers["Idempotency-Replayed"] for answer in answers}) == 2


@pytest.mark.parametrize("new", [new_book, new_member])
def test_a_record_that_is_changed_and_deleted_at_once_is_gone(people, new):
    ann, bob = people
    for number in range(ROUNDS_OF_DELETIONS):
        url = new(ann)
        body = (
            {"title": f"One {number} more word"}
            if new is new_book
            else {"email": f"x{number}@example.org"}
        )
        changed, deleted = at_once(
            lambda url=url, body=body: ann.ask("PATCH", url, body),
            lambda url=url: bob.ask("DELETE", url),
        )
        assert changed.status in (200, 404)
        assert deleted.status == 204
        assert ann.ask("GET", url).status == 404


@pytest.mark.parametrize("new", [new_book, new_member])
def test_of_two_who_delete_one_record_one_finds_it_gone(people, new):
    ann, bob = people
    for _ in range(ROUNDS_OF_DELETIONS):
        url = new(ann)
        answers = at_once(
            lambda url=url: ann.ask("DELETE", url), lambda url=url: bob.ask("DELETE", url)
        )
        assert sorted(answer.status for answer in answers) == [204, 404]


def test_of_two_tabs_that_save_at_once_one_is_asked_and_no_edit_is_lost(people):
    ann, bob = people
    for _ in range(ROUNDS_OF_EDITS):
        url = new_book(ann)
        page = f"/admin/library/book/{url.split('/')[-2]}/change/"
        forms = [filled(person.send("GET", page, None, {})) for person in people]
        answers = at_once(
            lambda page=page, forms=forms: ann.post(page, forms[0] | {"title": "New"}),
            lambda page=page, forms=forms: bob.post(page, forms[1] | {"author": "New"}),
        )
        assert sorted(answer.status for answer in answers) == [302, 409]
        loser = people[0] if answers[0].status == 409 else people[1]
        asked = next(answer for answer in answers if answer.status == 409)
        assert loser.post(page, filled(asked)).status == 302
        book = ann.ask("GET", url).json()
        assert (book["title"], book["author"]) == ("New", "New")


def test_of_two_tabs_that_save_an_account_at_once_one_is_told(people):
    ann, bob = people
    for _ in range(ROUNDS_OF_EDITS):
        name = f"account-{next(numbers)}"
        new = {"username": name, "email": f"{name}@example.org"}
        new |= {"first_name": "Old", "last_name": "Old"}
        added = ann.post("/admin/auth/user/add/", new)
        page = added.headers["Location"].replace("/link/", "/change/")
        version = filled(ann.send("GET", page, None, {}))["version"]
        form = new | {"version": version, "is_active": "on", "is_staff": "on"}
        answers = at_once(
            lambda page=page, form=form: ann.post(page, form | {"first_name": "New"}),
            lambda page=page, form=form: bob.post(page, form | {"last_name": "New"}),
        )
        assert sorted(answer.status for answer in answers) == [200, 302]


def test_a_form_saved_while_the_record_is_deleted_is_no_error(people):
    ann, bob = people
    for number in range(ROUNDS_OF_DELETIONS):
        url = new_book(ann)
        page = f"/admin/library/book/{url.split('/')[-2]}/change/"
        form = filled(ann.send("GET", page, None, {})) | {"title": f"New {number}"}
        saved, deleted = at_once(
            lambda page=page, form=form: ann.post(page, form),
            lambda page=page: bob.post(page.replace("change", "delete"), {"post": "yes"}),
        )
        assert saved.status in (302, 409)
        assert deleted.status == 302
        assert ann.ask("GET", url).status == 404
