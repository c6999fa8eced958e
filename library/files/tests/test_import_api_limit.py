"""Files that programs send: how much is read of one too large, broken or a stranger's."""

import io

import pytest

from library.files.models import Import
from project.api.tests.test_bodies import chunked

from .imports_api import FORM, IMPORTS, send, send_form, stored

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("files", "delay")]


class Endless(io.BytesIO):
    """Chunks without end, and how many bytes were taken."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None and 0 < size <= 2**16
        self.taken += size
        return b"x" * size


def test_a_body_beyond_the_limit_is_a_413_while_it_streams(sync, settings, files):
    settings.IMPORT_MAX_MB = 2
    stream = Endless()
    response = chunked(sync, "POST", IMPORTS, stream, "text/csv")
    assert response.status_code == 413
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["errors"][0]["code"] == "too_large"
    assert stream.taken < 4 * 10**6
    assert not Import.objects.exists() and not stored(files)


def test_a_form_beyond_the_limit_is_a_413_while_it_streams(sync, settings, files):
    settings.IMPORT_MAX_MB = 2
    head = io.BytesIO(FORM)

    class Form(Endless):
        def read(self, size: int | None = -1) -> bytes:
            return head.read(size) or super().read(size)

    stream = Form()
    response = chunked(sync, "POST", IMPORTS, stream, "multipart/form-data; boundary=x")
    assert response.json()["errors"][0]["code"] == "too_large"
    assert response.status_code == 413
    assert stream.taken < 4 * 10**6
    assert not Import.objects.exists() and not stored(files)


def test_an_announced_length_beyond_the_limit_is_a_413_before_anything_is_read(sync, settings):
    settings.IMPORT_MAX_MB = 1
    response = send(sync, b"", CONTENT_LENGTH=str(10**9))
    assert response.status_code == 413


def test_the_limit_itself_is_taken(sync, settings):
    settings.IMPORT_MAX_MB = 1
    assert send(sync, b"x" * (10**6 + 1)).status_code == 413
    assert send_form(sync, b"x" * (10**6 + 1)).status_code == 413
    assert send(sync, b"x" * 10**6).status_code == 202
    assert send_form(sync, b"x" * 10**6).status_code == 202


def test_a_stranger_is_refused_before_anything_is_read(api):
    stream = Endless()
    assert chunked(api, "POST", IMPORTS, stream, "text/csv").status_code == 401
    assert stream.taken == 0


def test_malformed_chunks_are_a_400(sync):
    class Malformed(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise RuntimeError("a chunk without an end")

    response = chunked(sync, "POST", IMPORTS, Malformed(), "text/csv")
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("missing", [1, 1000])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/csv", b"title\nEm"),
        ("multipart/form-data; boundary=x", FORM + b"title\nEm"),
        ("multipart/form-data; boundary=x", FORM + b"title\nEmma\r\n--x--\r\n"),
    ],
)
def test_half_a_file_of_a_client_that_died_is_no_file(sync, files, content_type, body, missing):
    extra = {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body) + missing)}
    response = send(sync, b"", content_type=content_type, **extra)
    assert response.status_code == 400, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    assert not Import.objects.exists() and not stored(files)
    extra = {"wsgi.input": io.BytesIO(FORM + b"a\r\n--x--\r\n")}
    extra["CONTENT_LENGTH"] = str(len(extra["wsgi.input"].getvalue()))
    kind = "multipart/form-data; boundary=x"
    assert send(sync, b"", content_type=kind, **extra).status_code == 202
