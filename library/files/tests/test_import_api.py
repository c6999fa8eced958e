"""Files into the catalogue, for programs: sent, watched, cancelled."""

import json
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import Group, User
from django.db import OperationalError
from rest_framework.test import APIClient

from library.files.models import Import
from library.models import Book
from library.tests.books import THE_BOOK, add, isbn_number
from project.api.tests.test_bodies import chunked
from project.base.files.tests.test_reading import xlsx
from project.jobs.models import State

from .imports import HEADER, lines, worked_on
from .imports_api import FORM, IMPORTS, XLSX, content_of, errors, finished, send, send_form, stored

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("files", "delay")]


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
