"""The pages of an import: who may, what they show."""

import pytest
from django.contrib.auth.models import Group, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from library.files.models import Import
from library.tests.books import add, isbn_number
from project.imports.engine import begin
from project.imports.models import PAGE_SIZE
from project.jobs.models import WORKING, State
from project.jobs.tasks import work

from .imports import ADD, BAD, examined, html, lines, uploaded, url, worked_on

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("files")]

LIST = reverse("admin:library_import_changelist")


def table(client, job: Import, query: str = "") -> str:
    return html(client, job, query).partition('id="preview"')[2]


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


# --- The file, and the list ---


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
