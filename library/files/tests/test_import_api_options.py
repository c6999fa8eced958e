"""Files that programs send: what they may ask for, and what is wrong with it."""

from urllib.parse import quote

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from library.files.models import Import
from library.models import Book
from library.tests.books import THE_BOOK
from project.base.files.tests.test_reading import xlsx
from project.jobs.models import State

from .imports import HEADER, lines
from .imports_api import FORM, IMPORTS, XLSX, content_of, errors, finished, send, send_form, stored

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("files", "delay")]


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
