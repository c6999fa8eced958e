"""Files into the catalogue, for programs: sent, watched, cancelled; what they may ask for."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from rest_framework.test import APIClient

from library.files.models import Import
from library.models import Book
from library.tests.books import THE_BOOK, add, isbn_number
from project.api.idempotency import IdempotencyKey
from project.api.tests.programs import program
from project.api.tests.test_bodies import chunked
from project.base.files.tests.test_reading import xlsx
from project.imports.serializers import ImportSerializer
from project.jobs.models import State
from project.jobs.tasks import work

from .imports import HEADER, lines, worked_on

pytestmark = pytest.mark.django_db

IMPORTS = "/api/v1/imports/"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    return tmp_path


@pytest.fixture(autouse=True)
def delay(monkeypatch) -> Mock:
    """The worker's messages; each test does its work itself."""
    delay = Mock()
    monkeypatch.setattr(work, "delay", delay)
    return delay


@pytest.fixture
def sync(db) -> APIClient:
    return program("catalogue-sync")


def content_of(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *rows]).encode()


def send(api, body: bytes | str, query: str = "", content_type: str = "text/csv", **extra: Any):
    return api.generic("POST", f"{IMPORTS}{query}", body, content_type, **extra)


def send_form(api, body: bytes, name: str = "books.csv", query: str = "", **options: Any):
    file = SimpleUploadedFile(name, body, "application/octet-stream")
    return api.post(f"{IMPORTS}{query}", {"file": file, **options}, format="multipart")


def finished(response) -> Import:
    """The import once the worker has done all that waits."""
    assert response.status_code == 202, response.content
    job = Import.objects.get(pk=response.json()["id"])
    while job.state in (State.UPLOADED, State.QUEUED):
        worked_on(job)
    return job


def stored(files: Path) -> list[Path]:
    return [path for path in files.rglob("*") if path.is_file()]


def errors(response) -> list[tuple[str, str]]:
    assert response.status_code == 400, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    return [(error["field"], error["code"]) for error in response.json()["errors"]]


# --- Sending ---


def test_a_file_is_accepted_then_examined_and_written(
    sync, django_capture_on_commit_callbacks, delay
):
    add(isbn=isbn_number(2), title="Old", author="Author", publication_year=2000)
    body = content_of(*lines(1, 2), "No ISBN,Author,2000,")
    with django_capture_on_commit_callbacks(execute=True):
        response = send(sync, body)
    assert response.status_code == 202
    accepted = response.json()
    location = f"http://testserver{IMPORTS}{accepted['id']}/"
    assert (response.headers["Location"], accepted["state"]) == (location, "uploaded")
    assert int(response.headers["Retry-After"]) > 0
    delay.assert_called_once_with("import", accepted["id"])
    finished(response)
    answer = sync.get(location)
    assert "Retry-After" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    status = answer.json()
    assert {name: status[name] for name in ("state", "progress", "found", "written")} == {
        "state": "done",
        "progress": 100,
        "found": {"read": 3, "new": 1, "changed": 1, "same": 0, "refused": 1},
        "written": {"new": 1, "changed": 1, "same": 0},
    }
    assert status["refused"] == f"{location}refused/"
    assert set(Book.objects.values_list("title", flat=True)) == {"Title 1", "Title 2"}


@pytest.mark.parametrize(
    ("content_type", "body", "kind"),
    [
        ("text/csv", content_of(f"Emma,Jane Austen,1815,{THE_BOOK}"), "csv"),
        ("text/csv; header=present", content_of(f"Emma,Jane Austen,1815,{THE_BOOK}"), "csv"),
        ("text/tab-separated-values", f"title\tauthor\tyear\tisbn\nEmma\tA\t1815\t{THE_BOOK}", "tsv"),
        (XLSX, xlsx(["Titel", "Autor", "Jahr", "ISBN"], ["Emma", "A", 1815, THE_BOOK]), "xlsx"),
        ("application/x-ndjson", json.dumps({"title": "Emma", "author": "A", "year": 1815, "isbn": THE_BOOK}), "jsonl"),
        ("application/jsonl", json.dumps({"title": "Emma", "author": "A", "year": 1815, "isbn": THE_BOOK}), "jsonl"),
    ],
)  # fmt: skip
def test_the_media_type_tells_the_format_of_a_body(sync, content_type, body, kind):
    response = send(sync, body, content_type=content_type)
    assert (response.json()["format"], response.json()["filename"]) == (kind, f"upload.{kind}")
    assert finished(response).state == State.DONE
    assert Book.objects.get().isbn == THE_BOOK


def test_the_name_tells_the_format_of_octets(sync):
    octets = "application/octet-stream"
    body = xlsx(["Titel", "Autor", "Jahr", "ISBN"], ["Emma", "A", 1815, THE_BOOK])
    assert finished(send(sync, body, "?filename=list.xlsx", octets)).written["new"] == 1
    for query in ("", "?filename=list", "?filename=list.pdf"):
        assert errors(send(sync, body, query, octets)) == [("file", "unknown_format")]


@pytest.mark.parametrize("name", ["books.csv", "КНИГИ.CSV", "books.txt"])
def test_a_form_brings_the_file_with_its_name(sync, name):
    response = send_form(sync, content_of(*lines(1)), name)
    assert response.json()["filename"] == name
    assert finished(response).written["new"] == 1


def test_an_ods_body_is_taken_for_one(sync):
    job = finished(
        send(sync, b"no archive", content_type="application/vnd.oasis.opendocument.spreadsheet")
    )
    assert (job.kind, job.state) == ("ods", State.FAILED)


def test_a_chunked_body_is_read_to_its_end(sync):
    rows = lines(*range(2000))
    response = chunked(sync, "POST", IMPORTS, content_of(*rows), "text/csv")
    assert response.json()["size"] == len(content_of(*rows))
    assert finished(response).written["new"] == 2000


def test_a_chunked_form_is_read_to_its_end(sync):
    form = FORM + content_of(*lines(1)) + b"\r\n--x--\r\n"
    response = chunked(sync, "POST", IMPORTS, form, "multipart/form-data; boundary=x")
    assert finished(response).written["new"] == 1


# --- The limit ---


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


# --- Options ---


@pytest.mark.parametrize("form", [False, True])
def test_options_are_parameters_or_fields(sync, form):
    body = "Who|What|When|N1|N2\nАвтор|Имя|1815|wrong|978-3-16-148410-0".encode("cp1251")
    given = {
        "encoding": "cp1251", "delimiter": "|", "filename": "list.csv", "title_column": "What",
        "author_column": "who", "publication_year_column": "When",
    }  # fmt: skip
    if form:
        response = send_form(sync, body, **given, isbn_column=["N1", "N2"])
    else:
        query = "&".join(f"{name}={value}" for name, value in given.items())
        response = send(sync, body, f"?{query.replace('|', '%7C')}&isbn_column=N1&isbn_column=N2")
    job = finished(response)
    assert (job.state, str(job.problem or "")) == (State.DONE, "")
    assert Book.objects.values_list("title", "author", "publication_year", "isbn").get() == (
        "Имя", "Автор", 1815, THE_BOOK,
    )  # fmt: skip
    status = sync.get(f"{IMPORTS}{job.pk}/").json()
    assert status["filename"] == "list.csv"
    assert status["read_as"] == {
        "encoding": "cp1251",
        "delimiter": "|",
        "sheet": "",
        "columns": {
            "title": ["What"], "author": ["Who"], "publication_year": ["When"], "isbn": ["N1", "N2"],
        },
    }  # fmt: skip


def test_options_of_a_form_may_stand_in_the_query(sync):
    job = finished(send_form(sync, content_of(*lines(1)), query="?dry_run=true", delimiter=","))
    assert job.state == State.EXAMINED


def test_the_tab_is_written_as_a_word(sync):
    body = f"title\tauthor\tyear\tisbn\nEmma\tA, B\t1815\t{THE_BOOK}".encode()
    assert finished(send(sync, body, "?delimiter=tab")).written["new"] == 1


def test_the_sheet_is_chosen_by_its_name(sync):
    job = finished(send(sync, xlsx(["title"]), "?sheet=Nothing", XLSX))
    assert "Nothing" in str(job.problem)


@pytest.mark.parametrize("charset", ["windows-1251", "cp1251", "CP1251"])
def test_the_charset_of_the_media_type_is_the_encoding(sync, charset):
    body = f"{HEADER}\nИмя,Автор,1815,{THE_BOOK}".encode("cp1251")
    kind = f"text/csv; charset={charset}"
    part = FORM.replace(b"\r\n\r\n", f"\r\nContent-Type: {kind}\r\n\r\n".encode())
    form = part + body + b"\r\n--x--\r\n"
    for response in (
        send(sync, body, content_type=kind),
        send(sync, form, content_type="multipart/form-data; boundary=x"),
    ):
        job = finished(response)
        assert (job.encoding, Book.objects.get().title) == ("cp1251", "Имя")


def test_a_column_that_is_not_there_fails_the_import_and_says_so(sync):
    job = finished(send(sync, content_of(*lines(1)), "?title_column=Name"))
    status = sync.get(f"{IMPORTS}{job.pk}/").json()
    assert status["state"] == "failed"
    assert status["error"].startswith("There is no column “Name”")
    russian = sync.get(f"{IMPORTS}{job.pk}/", headers={"Accept-Language": "ru"}).json()
    assert "Name" in russian["error"] and "There" not in russian["error"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?dryrun=true", [("dryrun", "unknown")]),
        ("?dry_run=1", [("dry_run", "invalid")]),
        ("?dry_run=true&dry_run=true", [("dry_run", "repeated")]),
        ("?delimiter=x", [("delimiter", "invalid_choice")]),
        ("?encoding=utf-7", [("encoding", "invalid_choice")]),
        ("?title_column=", [("title_column", "blank")]),
        ("?isbn_column=a&isbn_column=", [("isbn_column", "blank")]),
        ("?isbn_column=a&isbn_column=%00", [("isbn_column", "null_characters_not_allowed")]),
        ("?file=x", [("file", "unknown")]),
        ("?page_size=5", [("page_size", "unknown")]),
        ("?welcome_emails=true", [("welcome_emails", "unknown")]),
    ],
)
def test_a_wrong_parameter_is_named(sync, query, expected):
    assert errors(send(sync, content_of(*lines(1)), query)) == expected
    assert not Import.objects.exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"dryrun": "true"}, ("dryrun", "unknown")),
        ({"dry_run": "yes"}, ("dry_run", "invalid")),
        ({"dry_run": ["true", "false"]}, ("dry_run", "repeated")),
        ({"encoding": "utf-7"}, ("encoding", "invalid_choice")),
        ({"title_column": "x" * 256}, ("title_column", "max_length")),
        ({"other": SimpleUploadedFile("b.csv", b"x")}, ("other", "unknown")),
    ],
)
def test_a_wrong_field_of_a_form_is_named(sync, files, given, expected):
    assert expected in errors(send_form(sync, content_of(*lines(1)), **given))
    assert not Import.objects.exists() and not stored(files)


@pytest.mark.parametrize("name", ["filename", "title_column", "isbn_column"])
def test_a_blank_field_of_a_form_is_an_error_as_in_the_query(sync, name):
    response = send_form(sync, content_of(*lines(1)), **{name: " "})
    assert [code for _field, code in errors(response)] == ["blank"]
    assert errors(response) == errors(send(sync, b"a", f"?{name}=%20")) or name == "isbn_column"
    assert not Import.objects.exists()


def test_an_option_stands_in_the_query_or_in_the_form(sync, files):
    response = send_form(
        *(sync, content_of(*lines(1))),
        query="?dry_run=true&isbn_column=a&sheet=x",
        dry_run="true", isbn_column="isbn", delimiter=",", sheet="",
    )  # fmt: skip
    given_twice = [(name, "repeated") for name in ("dry_run", "isbn_column", "sheet")]
    assert sorted(errors(response)) == given_twice
    assert not Import.objects.exists() and not stored(files)


def test_a_text_and_a_file_of_one_name_are_repeated(sync):
    form = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\na\r\n'
    form += FORM + b"a\r\n--x--\r\n"
    response = send(sync, form, content_type="multipart/form-data; boundary=x")
    assert errors(response) == [("file", "repeated")]


@pytest.mark.parametrize("place", ["query", "form"])
def test_an_option_is_as_long_as_it_was_sent(sync, place):
    """Not as what is left of it without the spaces around it."""
    for name, status in ((f"{'x' * 251}.csv", 202), (f" {'x' * 251}.csv", 400)):
        if place == "form":
            response = send_form(sync, b"a", filename=name)
        else:
            response = send(sync, b"a", f"?filename={quote(name)}")
        assert response.status_code == status, response.content


def test_a_file_is_given_once(sync):
    two = [SimpleUploadedFile(f"{name}.csv", b"x") for name in "ab"]
    response = sync.post(IMPORTS, {"file": two}, format="multipart")
    assert errors(response) == [("file", "repeated")]


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"", "text/csv", ("file", "required")),
        (b"--x--\r\n", "multipart/form-data; boundary=x", ("file", "required")),
        (b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\na\r\n--x--\r\n',
         "multipart/form-data; boundary=x", ("file", "invalid")),
        (FORM + b"\r\n--x--\r\n", "multipart/form-data; boundary=x", ("file", "empty")),
        (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\na\r\n--x--\r\n',
         "multipart/form-data; boundary=x", ("file", "unknown_format")),
        (b"a", "text/csv; charset=utf-7", ("encoding", "invalid_choice")),
        (b"a", "text/csv; charset=x", ("encoding", "invalid_choice")),
        (FORM[:-2] + b"Content-Type: text/csv; charset=x\r\n\r\na\r\n--x--\r\n",
         "multipart/form-data; boundary=x", ("encoding", "invalid_choice")),
    ],
)  # fmt: skip
def test_a_body_without_a_file_is_a_400(sync, body, content_type, expected):
    assert expected in errors(send(sync, body, content_type=content_type))
    assert not Import.objects.exists()


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""]
)
def test_another_media_type_is_a_415(sync, content_type):
    response = send(sync, b"title=Emma", content_type=content_type)
    assert response.status_code == 415
    assert not Import.objects.exists()


# --- Dry run ---


def test_a_dry_run_counts_and_writes_nothing(sync):
    add(isbn=isbn_number(2), title="Old", author="Author", publication_year=2000)
    job = finished(send(sync, content_of(*lines(1, 2), "x,x,x,x"), "?dry_run=true"))
    status = sync.get(f"{IMPORTS}{job.pk}/").json()
    assert (status["state"], status["progress"], status["dry_run"]) == ("examined", 100, True)
    assert status["found"] == {"read": 3, "new": 1, "changed": 1, "same": 0, "refused": 1}
    assert status["written"] == {"new": 0, "changed": 0, "same": 0}
    assert Book.objects.get().title == "Old"


def test_a_worker_that_dies_after_the_examination_leaves_the_import_to_the_next(sync):
    response = send(sync, content_of(*lines(1)))
    job = worked_on(Import.objects.get())
    assert (job.state, job.confirmed_at is not None) == (State.QUEUED, True)
    assert Import.objects.unattended().get() == job
    assert finished(response).written["new"] == 1


def test_a_file_that_changes_nothing_is_done(sync):
    for _ in range(2):
        job = finished(send(sync, content_of(*lines(1))))
    assert (job.state, job.written) == (State.DONE, {"new": 0, "changed": 0, "same": 1})
    assert finished(send(sync, content_of("x,x,x,x"))).state == State.DONE
    assert sync.get(IMPORTS).json()["results"][0]["progress"] == 100


# --- Reading ---


def test_the_list_is_paged_and_newest_first(sync, staff_api):
    ids = [send(sync, content_of(*lines(n))).json()["id"] for n in range(3)]
    page = sync.get(f"{IMPORTS}?page_size=2&count=true").json()
    assert [each["id"] for each in page["results"]] == ids[:0:-1]
    assert page["count"] == 3
    rest = sync.get(page["next"]).json()
    assert [each["id"] for each in rest["results"]] == ids[:1]
    assert sync.get(f"{IMPORTS}?state=done").status_code == 400


def test_the_list_costs_the_same_queries_whatever_its_length(sync, django_assert_max_num_queries):
    for n in range(5):
        send(sync, content_of(*lines(n)))
    with django_assert_max_num_queries(4):  # token, permissions, imports
        sync.get(IMPORTS)


def test_it_is_told_who_sent_it_and_how(sync, staff):
    send(sync, content_of(*lines(1)))
    Import.objects.create(name="theirs.csv", kind="csv", user=staff)
    theirs, ours = sync.get(IMPORTS).json()["results"]
    assert [(each["user"], each["door"], each["token"]) for each in (theirs, ours)] == [
        ("staff", "admin", ""),
        ("catalogue-sync", "api", "nightly"),
    ]


def test_the_refused_rows_come_as_a_file_to_correct(sync):
    job = finished(send(sync, content_of(*lines(1), "No ISBN,Author,2000,"), "?filename=new.csv"))
    response = sync.get(f"{IMPORTS}{job.pk}/refused/")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == 'attachment; filename="new.refused.csv"'
    assert response.headers["Cache-Control"] == "no-store"
    text = b"".join(response).decode("utf-8-sig")
    assert text.splitlines() == [
        f"refused row,refused because,{HEADER}",
        "3,no ISBN,No ISBN,Author,2000,",
    ]
    corrected = text.replace("2000,\r", f"2000,{THE_BOOK}\r").encode()
    assert finished(send(sync, corrected)).written["new"] == 1


def test_where_no_row_was_refused_there_is_no_file(sync):
    job = finished(send(sync, content_of(*lines(1))))
    assert sync.get(f"{IMPORTS}{job.pk}/").json()["refused"] is None
    response = sync.get(f"{IMPORTS}{job.pk}/refused/")
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"


def test_refused_rows_that_were_deleted_are_no_file(sync):
    job = finished(send(sync, content_of("x,x,x,x")))
    job.purge()
    assert sync.get(f"{IMPORTS}{job.pk}/").json()["refused"] is None
    assert sync.get(f"{IMPORTS}{job.pk}/refused/").status_code == 404


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_the_refused_rows_come_in_no_other_form(sync, accept):
    job = finished(send(sync, content_of("x,x,x,x")))
    response = sync.get(f"{IMPORTS}{job.pk}/refused/", headers={"Accept": accept})
    assert response.status_code == 406


@pytest.mark.parametrize("path", ["9/", "9/refused/", f"{10**30}/"])
def test_what_is_not_there_is_a_404(sync, path):
    response = sync.get(IMPORTS + path)
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"


# --- Cancelling ---


@pytest.mark.parametrize("state", [State.UPLOADED, State.EXAMINED, State.QUEUED, State.RUNNING])
def test_what_has_not_ended_is_cancelled(sync, state):
    job = Import.objects.create(name="a.csv", kind="csv", state=state, claim="somebody's")
    response = sync.delete(f"{IMPORTS}{job.pk}/")
    assert (response.status_code, response.content) == (204, b"")
    job.refresh_from_db()
    assert (job.state, job.claim) == (State.CANCELLED, "")
    assert sync.get(f"{IMPORTS}{job.pk}/").json()["state"] == "cancelled"


@pytest.mark.parametrize(
    "state", [State.DONE, State.FAILED, State.CANCELLED, State.UNDOING, State.UNDONE]
)
def test_what_has_ended_is_a_409(sync, state):
    job = Import.objects.create(name="a.csv", kind="csv", state=state)
    response = sync.delete(f"{IMPORTS}{job.pk}/")
    assert response.status_code == 409
    assert response.json()["errors"][0]["code"] == "ended"
    job.refresh_from_db()
    assert job.state == state


# --- Doors ---


def test_the_history_tells_the_file_and_the_token(sync, staff):
    finished(send(sync, content_of(*lines(1)), "?filename=new.csv"))
    row = Book.history.get()
    assert (row.door, row.detail) == ("import", "new.csv (API nightly)")
    assert row.history_user.username == "catalogue-sync"
    long = finished(send(sync, content_of(*lines(2)), f"?filename={'x' * 250}.csv"))
    assert Book.history.get(batch=long.batch).detail.endswith(" (API nightly)")


def test_the_admin_shows_it_among_the_others(sync, staff, client):
    job = finished(send(sync, content_of(*lines(1)), "?filename=new.csv"))
    client.force_login(staff)
    listed = client.get("/admin/library/import/").content.decode()
    page = client.get(f"/admin/library/import/{job.pk}/change/").content.decode()
    for text in (listed, page):
        assert "new.csv" in text and "catalogue-sync" in text and "API, token nightly" in text


def test_who_reads_a_failed_file_anew_sees_the_preview_first(sync, staff, client):
    job = finished(send(sync, content_of(*lines(1)), "?title_column=Name"))
    client.force_login(staff)
    form = {"encoding": "utf-8", "delimiter": ",", "title": 0, "author": 1, "publication_year": 2}
    client.post(f"/admin/library/import/{job.pk}/examine/", form | {"isbn": 3, "header_row": 1})
    worked_on(job)
    assert (job.state, job.found["new"]) == (State.EXAMINED, 1)
    assert not Book.objects.exists()


@pytest.mark.parametrize("missing", ["add_book", "change_book"])
def test_adding_and_changing_are_both_needed(missing, api):
    user = User.objects.create_user("program")
    group = Group.objects.get(name="Integrator, write")
    user.user_permissions.add(*group.permissions.exclude(codename=missing))
    api.force_authenticate(user)
    assert send(api, content_of(*lines(1))).status_code == 403
    assert api.get(IMPORTS).status_code == 403


def test_a_session_needs_the_csrf_token(staff):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(staff)
    assert send(client, content_of(*lines(1))).status_code == 403
    assert send_form(client, content_of(*lines(1))).status_code == 403
    token = client.get("/admin/").cookies["csrftoken"].value
    for sent in (send, send_form):
        client.credentials(HTTP_X_CSRFTOKEN=token)
        assert sent(client, content_of(*lines(1))).status_code == 202


# --- Nothing stays behind ---


def test_a_write_that_fails_leaves_no_file(sync, files, monkeypatch):
    monkeypatch.setattr(Import, "save_base", Mock(side_effect=OperationalError(1114, "full")))
    assert send(sync, content_of(*lines(1))).status_code == 503
    assert not stored(files)


def test_a_broker_that_is_down_is_no_failure(sync, delay, django_capture_on_commit_callbacks):
    delay.side_effect = OSError
    with django_capture_on_commit_callbacks(execute=True):
        assert send(sync, content_of(*lines(1))).status_code == 202
    assert Import.objects.unattended().exists()


# --- Idempotency-Key ---


def keyed(api, body: bytes, key: str = '"4711"', query: str = ""):
    return send(api, body, query, headers={"Idempotency-Key": key})


def test_the_second_request_gets_the_import_of_the_first(
    sync, files, delay, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        first, second = (keyed(sync, content_of(*lines(1))) for _ in range(2))
    assert [first.status_code, second.status_code] == [202, 202]
    assert second.json() == first.json()
    assert second.headers["Location"] == first.headers["Location"]
    assert second.headers["Retry-After"] == first.headers["Retry-After"]
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert Import.objects.count() == delay.call_count == len(stored(files)) == 1
    finished(first)
    assert keyed(sync, content_of(*lines(1))).json()["state"] == "done"


def test_the_same_form_has_another_boundary_and_is_the_same(sync):
    for boundary in "xy":
        part = 'Content-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\na\r\n'
        body = f"--{boundary}\r\n{part}--{boundary}--\r\n"
        form = f"multipart/form-data; boundary={boundary}"
        response = send(sync, body, content_type=form, headers={"Idempotency-Key": "a"})
        assert response.status_code == 202
    assert response.headers["Idempotency-Replayed"] == "true"
    assert Import.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (content_of(*lines(2)), ""),
        (content_of(*lines(1)), "?dry_run=true"),
        (content_of(*lines(1)), "?filename=b.csv"),
        (content_of(*lines(1)), "?title_column=Name"),
    ],
)
def test_a_key_with_another_file_or_other_options_is_a_422(sync, files, body, query):
    keyed(sync, content_of(*lines(1)))
    response = keyed(sync, body, query=query)
    assert response.status_code == 422
    assert response.json()["errors"][0]["code"] == "idempotency_key_reused"
    assert Import.objects.count() == len(stored(files)) == 1


def test_another_key_is_another_import(sync):
    assert [keyed(sync, content_of(*lines(1)), key).status_code for key in "ab"] == [202, 202]
    assert Import.objects.count() == 2


def test_a_refused_upload_may_be_sent_again_with_its_key(sync):
    assert keyed(sync, content_of(*lines(1)), query="?dry_run=x").status_code == 400
    assert keyed(sync, content_of(*lines(1))).status_code == 202


def test_a_process_that_dies_leaves_neither_import_nor_key(sync, files):
    sync.raise_request_exception = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImportSerializer, "to_representation", Mock(side_effect=RuntimeError))
        assert keyed(sync, content_of(*lines(1))).status_code == 500
    assert not Import.objects.exists()
    assert not IdempotencyKey.objects.exists()
    assert not stored(files)
    assert keyed(sync, content_of(*lines(1))).status_code == 202


def test_neither_key_nor_file_is_stored_with_it(sync):
    keyed(sync, content_of(*lines(1)), "secret")
    [stored_key] = IdempotencyKey.objects.values()
    assert stored_key["record_id"] == Import.objects.get().pk
    digest = hashlib.sha256(content_of(*lines(1))).hexdigest()
    assert not any(text in str(stored_key) for text in ("secret", digest))
