"""How a file is read, corrected by hand on the page of its import."""

import pytest

from library.files.models import Import
from library.tests.books import isbn_number
from project.jobs.models import State

from .imports import ADD, examined, html, url, worked_on

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("files")]


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


def test_the_form_comes_before_another_file_where_it_may_cure_this_one(desk):
    def another(content: bytes, name: str) -> str:
        page = html(desk, examined(content=content, name=name))
        return page.partition(f'href="{ADD}"><i')[0].rpartition('class="')[2]

    assert "btn-outline-secondary" in another(b"a,b\n1,2\n", "columns.csv")
    assert "btn-primary" in another(b"no spreadsheet", "broken.xlsx")
