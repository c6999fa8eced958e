"""A body without Content-Length is read up to the limit, and never taken for empty."""

import json
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from library.models import Book
from library.tests.books import THE_BOOK, add
from members.models import Member

pytestmark = pytest.mark.django_db

BOOK = {"title": "Emma", "author": "Jane Austen", "publication_year": 1815, "isbn": THE_BOOK}
LIMIT = 2_621_440  # Django's default, 2.5 MB


class Malformed(BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise RuntimeError("a chunk without an end")


def chunked(
    client: Client,
    method: str,
    path: str,
    body: BytesIO | bytes,
    content_type: str = "application/json",
    **environ: Any,
):
    """A chunked request as gunicorn passes it on: decoded, and without a length."""
    stream = BytesIO(body) if isinstance(body, bytes) else body
    environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked", **environ}
    environ |= {"wsgi.input": stream, "CONTENT_TYPE": content_type}
    return client.generic(method, path, content_type=content_type, **environ)


def padded(length: int) -> bytes:
    """A book padded with spaces to `length` bytes."""
    return json.dumps(BOOK).encode().ljust(length)


def test_each_way_of_writing_takes_a_chunked_body(staff_api, api):
    assert chunked(staff_api, "POST", "/api/v1/books/", padded(0)).status_code == 201
    path = f"/api/v1/books/{Book.objects.get().pk}/"
    body = json.dumps({"title": "Persuasion"}).encode()
    assert chunked(staff_api, "PATCH", path, body).json()["title"] == "Persuasion"
    assert chunked(staff_api, "PUT", path, padded(0)).json()["title"] == "Emma"
    assert Book.objects.get().title == "Emma"
    body = json.dumps({"username": "ann", "email": "ann@example.org"}).encode()
    assert chunked(api, "POST", "/api/v1/members/register/", body).status_code == 201
    assert Member.objects.get().username == "ann"
    User.objects.create_user("program", password="secret")
    body = json.dumps({"username": "program", "password": "secret"}).encode()
    assert chunked(api, "POST", "/api/v1/auth/token/", body).status_code == 200


def test_what_is_wrong_with_a_chunked_body_is_said(staff_api):
    book = add()
    response = chunked(staff_api, "PATCH", f"/api/v1/books/{book.pk}/", b'{"titel": "x"}')
    assert [error["field"] for error in response.json()["errors"]] == ["titel"]
    assert chunked(staff_api, "POST", "/api/v1/books/", b"").status_code == 400
    response = chunked(staff_api, "POST", "/api/v1/books/", padded(0), "text/plain")
    assert response.status_code == 415


@pytest.mark.parametrize("path", ["/api/v1/books/", "/api/v1/members/register/", "/api/docs/"])
def test_beyond_the_limit_it_is_a_413_and_read_no_further(api, path):
    stream = BytesIO(padded(2 * LIMIT))
    response = chunked(api, "POST", path, stream)
    assert response.status_code == 413
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["errors"][0]["code"] == "too_large"
    assert stream.tell() <= LIMIT + 1


def test_where_nothing_is_nothing_is_read(api):
    stream = BytesIO(padded(0))
    assert chunked(api, "POST", "/api/nothing/", stream).status_code == 404
    assert stream.tell() == 0


def test_the_limit_itself_is_taken(staff_api):
    assert chunked(staff_api, "POST", "/api/v1/books/", padded(LIMIT + 1)).status_code == 413
    assert chunked(staff_api, "POST", "/api/v1/books/", padded(LIMIT)).status_code == 201


def test_malformed_chunks_are_a_400(api):
    response = chunked(api, "POST", "/api/v1/books/", Malformed())
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/problem+json"


def test_where_the_server_does_not_decode_chunks_nothing_is_read(api):
    stream = BytesIO(b"{")
    environ = {"wsgi.input_terminated": False}
    response = chunked(api, "POST", "/api/v1/members/register/", stream, **environ)
    assert response.json()["errors"][0]["code"] == "required"
    assert stream.tell() == 0


def test_a_form_of_the_admin_takes_a_chunked_body(staff):
    client = Client()
    client.force_login(staff)
    form = b"title=Emma&author=Jane+Austen&publication_year=1815&isbn=" + THE_BOOK.encode()
    kind = "application/x-www-form-urlencoded"
    assert chunked(client, "POST", "/admin/library/book/add/", form, kind).status_code == 302
    assert Book.objects.get().title == "Emma"
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"' for name in ("title", "isbn")]
    form = "\r\n\r\nPersuasion\r\n".join([parts[0], "--x--\r\n"]).encode()
    page = chunked(
        client, "POST", "/admin/library/book/add/", form, "multipart/form-data; boundary=x"
    )
    assert b'value="Persuasion"' in page.content
    page = chunked(client, "POST", "/admin/library/book/add/", padded(LIMIT + 1), kind)
    assert page.status_code == 413
    assert page.headers["Content-Type"].startswith("text/html")


@pytest.mark.django_db
def test_a_key_that_is_given_twice_is_refused(staff_api):
    body = '{"username": "ann", "username": "bob", "email": "ann@example.org"}'
    answer = staff_api.generic("POST", "/api/v1/members/register/", body, "application/json")
    assert answer.status_code == 400
    assert answer.json()["detail"] == "The JSON gives the same key twice."
