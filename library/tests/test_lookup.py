"""The form of a new book filled in from an open catalogue; here from a stand-in on this machine."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django_celery_results.models import TaskResult

from library import lookup
from library.lookup import LookupFailedError, look_up, look_up_isbn
from project.base.breaker import broker

from .books import THE_BOOK

LOOKUP = "/admin/library/book/lookup/"
DUNE = {"title": "Dune", "authors": [{"name": "Frank Herbert"}], "publish_date": "August 1965"}


class OpenLibrary:
    """Answers with `body`, which may depend on the ISBN that is asked for."""

    def __init__(self) -> None:
        self.status, self.body, self.asked = 200, b"", []
        library = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                library.asked.append(self.path)
                self.send_response(library.status)
                self.end_headers()
                self.wfile.write(library.body)

            def log_message(self, *args) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()

    def knows(self, entry: dict) -> None:
        self.body = json.dumps({f"ISBN:{THE_BOOK}": entry}).encode()


@pytest.fixture
def open_library(settings):
    library = OpenLibrary()
    settings.OPEN_LIBRARY_URL = f"http://127.0.0.1:{library.server.server_port}"
    yield library
    library.server.shutdown()
    library.server.server_close()


def test_the_documented_address_is_asked(open_library):
    open_library.body = b"{}"
    look_up(THE_BOOK)
    [address] = map(urlsplit, open_library.asked)
    assert address.path == "/api/books"
    assert parse_qs(address.query) == {
        "bibkeys": [f"ISBN:{THE_BOOK}"],
        "format": ["json"],
        "jscmd": ["data"],
    }


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (DUNE, {"title": "Dune", "author": "Frank Herbert", "publication_year": 1965}),
        (DUNE | {"subtitle": "A novel"}, {"title": "Dune: A novel"}),
        (DUNE | {"authors": [{"name": "A B"}, {"name": "C D"}]}, {"author": "A B, C D"}),
        (DUNE | {"publish_date": "2005-05-16"}, {"publication_year": 2005}),
        ({"title": "Dune", "publish_date": "unknown"}, {"title": "Dune"}),
    ],
)
def test_what_is_known_is_read(open_library, entry, found):
    open_library.knows(entry)
    assert look_up(THE_BOOK).items() >= found.items()
    assert set(look_up(THE_BOOK)) <= {"title", "author", "publication_year"}
    assert all(look_up(THE_BOOK).values())


def test_an_unknown_isbn_is_no_failure(open_library):
    open_library.body = b"{}"
    assert look_up(THE_BOOK) == {}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"ISBN:9783161484100": [1]}', b"\xff"])
def test_an_answer_of_another_kind_is_a_failure(open_library, body):
    open_library.body = body
    with pytest.raises(LookupFailedError):
        look_up(THE_BOOK)


def test_an_answer_without_end_is_a_failure(open_library, monkeypatch):
    open_library.knows(DUNE)
    monkeypatch.setattr(lookup, "MAX_ANSWER_BYTES", len(open_library.body))
    assert look_up(THE_BOOK)["title"] == "Dune"
    monkeypatch.setattr(lookup, "MAX_ANSWER_BYTES", len(open_library.body) - 1)
    with pytest.raises(LookupFailedError):
        look_up(THE_BOOK)


@pytest.mark.parametrize("authors", [[None], [{}], 7])
def test_authors_of_another_kind_are_a_failure(open_library, authors):
    open_library.knows(DUNE | {"authors": authors})
    with pytest.raises(LookupFailedError):
        look_up(THE_BOOK)


def test_a_server_that_fails_or_is_away_is_a_failure(open_library, settings):
    open_library.status = 503
    with pytest.raises(LookupFailedError):
        look_up(THE_BOOK)
    settings.OPEN_LIBRARY_URL = "http://127.0.0.1:9"
    with pytest.raises(LookupFailedError):
        look_up(THE_BOOK)


def test_a_silent_server_is_a_failure(settings, monkeypatch):
    monkeypatch.setattr(lookup, "TIMEOUT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.OPEN_LIBRARY_URL = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(LookupFailedError):
            look_up(THE_BOOK)


# --- The form ---


@pytest.fixture
def cataloguer(client, db):
    account = User.objects.create_user("cataloguer", is_staff=True)
    account.groups.add(Group.objects.get(name="Cataloguers"))
    client.force_login(account)
    return client


def result(status: str, value: object, name: str = look_up_isbn.name) -> dict[str, str]:
    TaskResult.objects.create(task_id="t", task_name=name, status=status, result=json.dumps(value))
    return {"task": "t"}


def test_it_is_off_by_default(cataloguer):
    assert cataloguer.post(LOOKUP, {"isbn": THE_BOOK}).status_code == 404
    assert "data-isbn-lookup" not in cataloguer.get(reverse("admin:library_book_add")).text


def test_the_form_of_a_new_book_offers_it(cataloguer, open_library):
    assert f'data-isbn-lookup="{LOOKUP}"' in cataloguer.get(reverse("admin:library_book_add")).text


def test_a_worker_asks(cataloguer, open_library):
    with patch.object(look_up_isbn, "delay") as delay:
        delay.return_value.id = "t"
        answer = cataloguer.post(LOOKUP, {"isbn": "978-3-16-148410-0"}).json()
    delay.assert_called_once_with(THE_BOOK)
    assert answer["task"] == "t"
    assert open_library.asked == []
    assert cataloguer.get(LOOKUP, {"task": "t"}).json() == {}


@pytest.mark.parametrize(
    ("status", "value", "says", "found"),
    [
        ("SUCCESS", {"title": "Dune"}, "Filled in from Open Library: please check.", True),
        ("SUCCESS", {}, "Open Library does not know this ISBN.", False),
        ("FAILURE", {"exc_message": ["x"]}, "Open Library does not answer now.", False),
    ],
)
def test_its_result_is_said(cataloguer, open_library, status, value, says, found):
    answer = cataloguer.get(LOOKUP, result(status, value)).json()
    assert answer == {"text": says} | ({"found": value} if found else {})


def test_the_results_of_other_tasks_are_not_told(cataloguer, open_library):
    other = result("SUCCESS", {"title": "Secret"}, "members.tasks.send_welcome_emails")
    assert cataloguer.get(LOOKUP, other).json() == {}


def test_a_wrong_isbn_is_not_asked_for(cataloguer, open_library):
    with patch.object(look_up_isbn, "delay") as delay:
        answer = cataloguer.post(LOOKUP, {"isbn": "3161484101"}).json()
    assert not delay.called and "task" not in answer and answer["text"]


def test_a_broker_that_is_down_is_said(cataloguer, open_library):
    with patch.object(look_up_isbn, "delay", side_effect=OSError):
        answer = cataloguer.post(LOOKUP, {"isbn": THE_BOOK}).json()
    broker.reset()
    assert answer == {"text": "Open Library does not answer now."}


def test_who_may_not_add_books_may_not_ask(client, db, open_library):
    desk = User.objects.create_user("desk", is_staff=True)
    desk.groups.add(Group.objects.get(name="Membership desk"))
    client.force_login(desk)
    assert client.post(LOOKUP, {"isbn": THE_BOOK}).status_code == 403
    assert client.get(LOOKUP, {"task": "t"}).status_code == 403
