"""The pages of an import: who may, what they show, what their buttons do."""

import csv
import io
from unittest.mock import Mock
from urllib.parse import unquote

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from library.files.models import Import
from library.models import Book
from library.tests.books import add, isbn_number
from project.base.files.tests.test_reading import xlsx
from project.imports import admin as pages
from project.imports.engine import begin
from project.imports.models import PAGE_SIZE
from project.jobs.models import WORKING, State
from project.jobs.tasks import BROKE_OFF, work

from .imports import examined, lines, uploaded, worked_on

pytestmark = pytest.mark.django_db

LIST = reverse("admin:library_import_changelist")
ADD = reverse("admin:library_import_add")
BAD = "No ISBN,Author,2000,"


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def enqueued(monkeypatch) -> Mock:
    monkeypatch.setattr(pages, "enqueue", Mock())
    return pages.enqueue


def url(job: Import, name: str = "change") -> str:
    return reverse(f"admin:library_import_{name}", args=[job.pk])


def table(client, job: Import, query: str = "") -> str:
    return html(client, job, query).partition('id="preview"')[2]


def html(client, job: Import, query: str = "") -> str:
    response = client.get(url(job) + query)
    assert response.status_code == 200
    return response.content.decode()


def upload(client, content: bytes = b"title,author,year,isbn\n", name: str = "Книги 1.csv"):
    return client.post(ADD, {"file": SimpleUploadedFile(name, content)})


# --- Permissions ---

VIEWS = ["change", "examine", "confirm", "cancel", "again", "progress", "refused", "file"]


@pytest.mark.parametrize("permissions", [[], ["add_book"], ["change_book"], ["view_book"]])
def test_who_may_not_add_and_change_books_may_not_import(client, permissions, staff):
    from django.contrib.auth.models import Permission

    job = examined(*lines(1))
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(clerk)
    assert [client.get(page).status_code for page in (LIST, ADD)] == [403, 403]
    assert upload(client).status_code == 403
    for name in VIEWS:
        method = client.post if name in ("examine", "confirm", "cancel", "again") else client.get
        assert method(url(job, name)).status_code == 403
    job.refresh_from_db()
    assert job.state == State.EXAMINED


def test_cataloguers_may_import(client):
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    clerk.groups.add(Group.objects.get(name="Cataloguers"))
    client.force_login(clerk)
    assert LIST in client.get(reverse("admin:index")).content.decode()
    assert ADD in client.get(reverse("admin:library_book_changelist")).content.decode()
    assert client.get(ADD).status_code == 200


@pytest.mark.parametrize("name", ["examine", "confirm", "cancel", "again"])
def test_a_link_changes_nothing(desk, name):
    job = examined(*lines(1))
    assert desk.get(url(job, name)).headers["Location"] == url(job)
    job.refresh_from_db()
    assert job.state == State.EXAMINED


# --- Upload ---


def test_an_upload_is_stored_and_handed_to_a_worker(
    desk, staff, enqueued, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        response = upload(desk, b"title\n")
    job = Import.objects.get()
    assert response.headers["Location"] == url(job)
    assert (job.name, job.kind, job.size, job.user) == ("Книги 1.csv", "csv", 6, staff)
    assert (job.state, job.reading) == (State.UPLOADED, {})
    enqueued.assert_called_once_with(job)
    assert "Книги" not in job.file.name


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"x", "books.exe", "does not end in a format that can be read: .csv"),
        (b"", "books.csv", "empty"),
        (b"x" * (2**20 + 1), "books.csv", "is 2 MB, and the limit is 1 MB"),
    ],
)
def test_what_cannot_be_read_is_refused_at_once(desk, settings, content, name, says):
    settings.IMPORT_MAX_MB = 1
    response = upload(desk, content, name)
    assert says in response.content.decode()
    assert not Import.objects.exists()


# --- Preview ---


def test_the_preview_shows_each_kind_of_row(desk):
    add(isbn=isbn_number(2), title="Old", author="Author", publication_year=1999)
    job = examined(*lines(1, 2), BAD)
    assert "Title 1" in table(desk, job)
    changed = table(desk, job, "?show=changed")
    assert "<del>Old</del>" in changed and "<ins>Title 2</ins>" in changed
    assert "<del>1999</del>" in changed and "<ins>Author</ins>" not in changed
    refused = table(desk, job, "?show=refused")
    assert "<div>no ISBN</div>" in refused and "Title 1" not in refused


def test_the_reasons_are_in_the_readers_language(desk):
    mistyped = "Mistyped,Author,2000,9783161484101"
    job = examined(BAD, "A,B,2000", mistyped, *lines(1), "Other,Author,2000," + isbn_number(1))
    desk.cookies["django_language"] = "ru"
    page = table(desk, job, "?show=refused")
    for english in ("<div>no ISBN", "has 3 cells", "same ISBN but other data"):
        assert english not in page
    assert "строк" in page
    assert "ISBN «9783161484101»: Контрольная цифра" in page


def test_the_preview_is_paged(desk):
    job = examined(*lines(*range(PAGE_SIZE + 1)))
    first, second = table(desk, job), table(desk, job, "?show=new&page=2")
    assert f">Title {PAGE_SIZE - 1}<" in first and f">Title {PAGE_SIZE}<" not in first
    assert f">Title {PAGE_SIZE}<" in second and ">Title 0<" not in second


@pytest.mark.parametrize(
    "query", ["?page=0", "?page=99", "?page=x", "?show=x", "?page=" + "9" * 30]
)
def test_a_page_that_does_not_exist_is_the_nearest(desk, query):
    assert ">Title 0<" in table(desk, examined(*lines(0)), query)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("language", ["en", "ru"])
def test_each_state_has_its_page(desk, state, language, django_assert_max_num_queries):
    job = examined(*lines(1), BAD)
    begin(job)
    worked_on(job)
    Import.objects.update(state=state, error=["The file is empty.", {}])
    desk.cookies["django_language"] = language
    with django_assert_max_num_queries(8):
        page = html(desk, job)
    assert ("data-progress=" in page) == (state in WORKING)


def test_hostile_cells_are_escaped(desk):
    attack = "<script>alert(1)</script>"
    job = examined(f"{attack},A,2000,{isbn_number(1)}", f"{attack},A,2000,x", name=f"{attack}.csv")
    for query in ("", "?show=refused"):
        assert attack not in html(desk, job, query)


# --- How the file is read ---


def reading(**values) -> dict[str, object]:
    return {
        "encoding": "cp1251", "delimiter": ";", "title": "0", "author": "1",
        "publication_year": "2", "isbn": ["3"], "header_row": "1",
    } | values  # fmt: skip


NO_COLUMNS = {"title": "", "author": "", "publication_year": "", "isbn": []}
RUSSIAN = f"Книга;Кто;Когда;ISBN\nИдиот;Фёдор;1869;{isbn_number(1)}\n".encode("cp1251")


def test_columns_are_corrected_by_hand(desk, enqueued):
    job = examined(content=RUSSIAN)
    assert job.state == State.FAILED
    assert "looks like the title" in html(desk, job)
    response = desk.post(url(job, "examine"), reading())
    assert response.status_code == 302
    enqueued.assert_called_once_with(job)
    worked_on(job)
    assert (job.state, job.problem) == (State.EXAMINED, None)
    assert job.pages.get().rows == [[2, "Идиот", "Фёдор", 1869, isbn_number(1)]]


def test_a_header_of_other_words_below_a_title_is_said_by_hand(desk, enqueued):
    job = examined(content="Каталог\n".encode("cp1251") + RUSSIAN)
    desk.post(url(job, "examine"), reading(header_row="2", **NO_COLUMNS))
    worked_on(job)
    assert (job.reading["header"], job.columns) == (["Книга", "Кто", "Когда", "ISBN"], {})
    desk.post(url(job, "examine"), reading(header_row="2"))
    worked_on(job)
    assert job.pages.get().rows == [[3, "Идиот", "Фёдор", 1869, isbn_number(1)]]


def test_a_file_without_a_header_loses_no_row(desk, enqueued):
    job = examined(content=f"Идиот;Фёдор;1869;{isbn_number(1)}\n".encode("cp1251"))
    assert job.state == State.FAILED
    desk.post(url(job, "examine"), reading(header_row="0"))
    worked_on(job)
    assert "column 4" in html(desk, job)
    desk.post(url(job, "examine"), reading(header_row="0"))
    worked_on(job)
    assert job.pages.get().rows == [[1, "Идиот", "Фёдор", 1869, isbn_number(1)]]


def test_another_encoding_or_delimiter_finds_the_columns_anew(desk, enqueued):
    content = "title\tauthor;x\tyear\tisbn\nÁ\tB\t2000\t1\n".encode("cp1252")
    job = examined(content=content, encoding="cp1251", delimiter=";")
    desk.post(
        url(job, "examine"),
        reading(encoding="cp1252", delimiter="tab", publication_year="", isbn=[]),
    )
    job.refresh_from_db()
    assert (job.encoding, job.delimiter, job.columns) == ("cp1252", "\t", {})
    worked_on(job)
    assert job.reading["header"] == ["title", "author;x", "year", "isbn"]


@pytest.mark.parametrize(
    "values",
    [{"title": ""}, {"isbn": []}, {"author": "9"}, {"encoding": "klingon"}, {"header_row": "-1"}],
)
def test_a_wrong_choice_is_said_and_changes_nothing(desk, enqueued, values):
    job = examined(content=RUSSIAN)
    response = desk.post(url(job, "examine"), reading(**values))
    assert response.status_code == 200
    assert 'role="alert"' in response.content.decode()
    assert not enqueued.called


@pytest.mark.parametrize("state", [State.UPLOADED, State.RUNNING, State.DONE, State.CANCELLED])
def test_it_cannot_be_read_anew_in_other_states(desk, enqueued, state):
    job = examined(content=RUSSIAN)
    Import.objects.update(state=state)
    desk.post(url(job, "examine"), reading())
    job.refresh_from_db()
    assert job.state == state
    assert not enqueued.called


# --- Confirm, cancel, again ---


def test_from_the_button_to_the_books(desk, enqueued):
    job = examined(*lines(1, 2), BAD)
    assert url(job, "confirm") in html(desk, job)
    assert desk.post(url(job, "confirm")).headers["Location"] == url(job)
    enqueued.assert_called_once_with(job)
    worked_on(job)
    page = html(desk, job)
    assert url(job, "confirm") not in page and url(job, "cancel") not in page
    assert Book.objects.count() == 2


def test_a_file_that_changes_nothing_cannot_be_confirmed(desk):
    job = examined(BAD)
    page = html(desk, job)
    assert url(job, "confirm") not in page
    assert "The file changes nothing" in page


def test_a_second_confirmation_does_nothing(desk, enqueued):
    job = examined(*lines(1))
    for _ in range(2):
        desk.post(url(job, "confirm"))
    assert enqueued.call_count == 1


def test_what_is_not_examined_yet_cannot_be_confirmed(desk, enqueued):
    job = uploaded(*lines(1))
    assert desk.post(url(job, "confirm")).headers["Location"] == url(job)
    job.refresh_from_db()
    assert (job.state, job.confirmed_at) == (State.UPLOADED, None)
    enqueued.assert_not_called()


@pytest.mark.parametrize("state", State)
def test_what_is_not_over_can_be_cancelled(desk, state):
    job = examined(*lines(1))
    Import.objects.update(state=state, claim="somebody's")
    shown = url(job, "cancel") in html(desk, job)
    desk.post(url(job, "cancel"))
    job.refresh_from_db()
    may = state in (State.UPLOADED, State.EXAMINED, State.QUEUED, State.RUNNING)
    assert shown == may
    assert job.state == (State.CANCELLED if may else state)
    assert (job.claim == "") == may


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_failed_import_goes_on_where_it_failed(desk, enqueued, confirmed):
    job = examined(*lines(1))
    if confirmed:
        begin(job)
    Import.objects.update(state=State.FAILED, error=[BROKE_OFF, {"times": 5}], claims=9)
    desk.post(url(job, "again"))
    job.refresh_from_db()
    assert (job.state, job.error, job.claims) == (
        State.QUEUED if confirmed else State.UPLOADED, [], 0,
    )  # fmt: skip
    enqueued.assert_called_once_with(job)


def test_a_file_that_cannot_be_read_is_followed_by_another_and_not_tried_again(desk, enqueued):
    page = html(desk, job := examined(content=b"PK\x03\x04"))
    assert reverse("admin:library_import_add") in page and url(job, "again") not in page
    desk.post(url(job, "again"))
    assert not enqueued.called


def test_a_file_without_rows_is_no_known_catalogue(desk):
    page = html(desk, examined())
    assert "no rows under its header" in page and "in the catalogue already" not in page


def test_progress_is_told_as_numbers_and_words(desk):
    job = examined(*lines(1, 2))
    begin(job)
    Import.objects.update(state=State.RUNNING, done=1)
    assert desk.get(url(job, "progress")).json() == {
        "state": "running", "percent": 50, "text": "Books compared and written: 1 (50%)",
    }  # fmt: skip


# --- Refused rows ---


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("books.csv", "books.refused.csv"),
        ("Книги 1.csv", "книги-1.refused.csv"),
        ("книги.refused.csv", "книги.refused.csv"),
        ("….csv", "rows.refused.csv"),
    ],
)
def test_refused_rows_are_named_after_their_file(desk, name, offered):
    header = desk.get(url(examined(name=name), "refused")).headers["Content-Disposition"]
    _kind, _, parameter = header.partition("; ")
    encoded = parameter.removeprefix("filename*=utf-8''").removeprefix("filename=").strip('"')
    assert unquote(encoded) == offered


def test_refused_rows_are_corrected_and_uploaded_again(desk):
    content = f'title;author;year;isbn;note\nA;B;;{isbn_number(1)};"x;y"\nC;D;2000;;\n'.encode()
    job = examined(content=content)
    response = desk.get(url(job, "refused"))
    assert 'filename="books.refused.csv"' in response.headers["Content-Disposition"]
    text = b"".join(response).decode("utf-8-sig")
    header, first, second = csv.reader(io.StringIO(text, newline=""), delimiter=";")
    assert header == ["refused row", "refused because", "title", "author", "year", "isbn", "note"]
    assert first == ["2", "no publication year", "A", "B", "", isbn_number(1), "x;y"]
    assert second[:2] == ["3", "no ISBN"]
    corrected = text.replace("A;B;;", "A;B;1999;").encode("utf-8-sig")
    again = examined(content=corrected, name="books.refused.csv")
    assert (again.found["new"], again.found["refused"]) == (1, 1)
    twice = b"".join(desk.get(url(again, "refused"))).decode("utf-8-sig")
    assert next(csv.reader(io.StringIO(twice), delimiter=";")) == header


def test_refused_rows_are_for_a_spreadsheet_of_the_readers_language(desk):
    """And those two columns are known again in any other."""
    job = examined(
        content=xlsx(["Titel", "Autor", "Jahr", "ISBN"], ["A", "B", "", ""]), name="a.xlsx"
    )
    russian = b"".join(desk.get(url(job, "refused"), headers={"Accept-Language": "ru"}))
    header, row, _end = russian.decode("utf-8-sig").split("\r\n")
    assert header == "отклонённая строка;причины;Titel;Autor;Jahr;ISBN"
    assert row == "2;нет года издания | нет ISBN;A;B;;"
    again = examined(content=russian, name="a.refused.csv")
    english = b"".join(desk.get(url(again, "refused"))).decode("utf-8-sig")
    assert english.startswith("refused row;refused because;Titel;")


def test_refused_rows_of_many_pages_are_all_there(desk):
    job = examined(*[BAD] * (PAGE_SIZE + 1), "Caf\u00e9,A,2000,")
    text = b"".join(desk.get(url(job, "refused"))).decode()
    assert text.count("no ISBN") == PAGE_SIZE + 2
    assert text.count("\ufeff") == 1


@pytest.mark.parametrize("pk", ["999", "x", pytest.param("9" * 5000, id="huge")])
def test_an_import_that_never_was_has_no_page(desk, pk):
    assert desk.get(reverse("admin:library_import_change", args=[pk])).status_code in (302, 404)


def test_the_uploaded_file_can_be_had_again(desk):
    job = uploaded(*lines(1))
    response = desk.get(url(job, "file"))
    assert b"".join(response) == job.file.open().read()
    assert "attachment" in response.headers["Content-Disposition"]


def test_an_uploaded_file_that_is_gone_is_not_found(desk):
    job = uploaded(*lines(1))
    job.file.storage.delete(job.file.name)  # as after a restored backup, which holds no uploads
    assert desk.get(url(job, "file")).status_code == 404


def test_the_list_shows_state_and_counts(desk):
    job = examined(*lines(1, 2), BAD)
    page = desk.get(LIST).content.decode()
    assert "ready to confirm" in page and "books.csv" in page
    assert 'class="field-new">2</td>' in page
    begin(job)
    work("import", job.pk)
    for state, found in {"done": 1, "examined": 0}.items():
        assert len(desk.get(f"{LIST}?state={state}").context["cl"].result_list) == found


def test_a_file_that_changes_nothing_waits_for_no_confirmation(desk):
    job = examined(BAD)
    for page in (LIST, url(job)):
        shown = desk.get(page).content.decode().partition("<main")[2]
        assert "nothing to import" in shown
        assert ">ready to confirm</span>" not in shown
    assert not desk.get(reverse("admin:index")).context["waiting"]


def test_of_several_columns_only_those_with_a_value_are_shown(desk):
    job = examined(content=b"title,author,year,isbn,isbn13\nTitle,Author,2000,,\nB,C,1999,1,2")
    shown = table(desk, job)
    assert "<td>1 / 2</td>" in shown and "<td>/</td>" not in shown and "<td> / </td>" not in shown


def test_who_imported_is_called_by_name(desk, staff):
    User.objects.filter(pk=staff.pk).update(first_name="Ann", last_name="Reader")
    upload(desk)
    job = Import.objects.get()
    assert '<td class="field-person">Ann Reader</td>' in desk.get(LIST).content.decode()
    assert "Ann Reader ·" in html(desk, job)


def test_an_empty_list_says_what_an_import_is(desk):
    page = desk.get(LIST).content.decode()
    assert "adds and updates the books in a file" in page
    assert ADD in page


def test_its_tasks_have_a_name_among_the_results(desk):
    from django_celery_results.models import TaskResult

    TaskResult.objects.create(task_id="1", task_name="library.tasks.work")
    page = desk.get(reverse("admin:django_celery_results_taskresult_changelist"))
    assert "Import or bulk change" in page.content.decode()


def test_the_form_comes_before_another_file_where_it_may_cure_this_one(desk):
    def another(content: bytes, name: str) -> str:
        page = html(desk, examined(content=content, name=name))
        return page.partition(f'href="{ADD}"><i')[0].rpartition('class="')[2]

    assert "btn-outline-secondary" in another(b"a,b\n1,2\n", "columns.csv")
    assert "btn-primary" in another(b"no spreadsheet", "broken.xlsx")
