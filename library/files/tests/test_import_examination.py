"""An import in the worker: read and sorted, before anything is written."""

from contextlib import contextmanager
from datetime import timedelta
from unittest.mock import patch

import pytest
from django.utils import timezone, translation

from library.files.models import Import
from library.models import Book
from library.tests.books import THE_BOOK, add, isbn_number
from project.base.files.sheet_rows import MAX_CPU_SECONDS
from project.base.files.tests.test_reading import xlsx
from project.imports import engine
from project.imports.engine import begin
from project.jobs.models import State
from project.jobs.tasks import work

from .imports import HEADER, examined, lines, uploaded, worked_on

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("files")]


def counts(found: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in found.items() if count}


def test_an_examination_sorts_the_rows_and_writes_no_book():
    add(isbn=isbn_number(1), title="Title 1", author="Author", publication_year=2000)
    changed = add(isbn=isbn_number(2), title="Old", author="Author", publication_year=2000)
    job = examined(*lines(1, 2, 3), "No ISBN,Author,2000,", "", *lines(3))
    assert (job.state, job.heartbeat_at, job.claim) == (State.EXAMINED, None, "")
    assert counts(job.found) == {
        "read": 5, "new": 1, "changed": 1, "same": 2, "refused": 1, "blank": 1,
    }  # fmt: skip
    assert {page.kind: page.rows for page in job.pages.all()} == {
        "new": [[4, "Title 3", "Author", 2000, isbn_number(3)]],
        "changed": [[3, "Title 2", "Author", 2000, isbn_number(2), "Old", "Author", 2000]],
        "same": [
            [2, "Title 1", "Author", 2000, isbn_number(1)],
            [7, "Title 3", "Author", 2000, isbn_number(3)],
        ],
        "refused": [[5, ["No ISBN", "Author", "2000", ""], "", None]],
    }
    assert Book.objects.count() == 2
    changed.refresh_from_db()
    assert changed.title == "Old"


def test_the_rows_are_kept_in_pages(monkeypatch):
    monkeypatch.setattr(engine, "PAGE_SIZE", 2)
    job = examined(*lines(*range(5)))
    assert [(page.number, len(page.rows)) for page in job.pages.order_by("number")] == [
        (1, 2), (2, 2), (3, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["books.xlsx", "books.jsonl"])
def test_other_formats_are_imported_alike(name):
    row = ["Emma", "Jane Austen", 1815, int(THE_BOOK)]
    content = xlsx(["Titel", "Autor", "Jahr", "ISBN"], row)
    if name == "books.jsonl":
        content = b'{"title":"Emma","author":"Jane Austen","year":1815,"isbn":"%s"}' % (
            THE_BOOK.encode()
        )
    job = examined(name=name, content=content)
    assert job.problem is None
    begin(job)
    worked_on(job)
    assert Book.objects.values_list("title", "author", "publication_year", "isbn").get() == (
        "Emma", "Jane Austen", 1815, THE_BOOK,
    )  # fmt: skip


def test_what_was_recognised_is_kept_for_the_page():
    content = "Название;Автор;Год;ISBN\nИдиот;Фёдор Достоевский;1869;".encode("cp1251")
    reading = examined(content=content).reading
    assert (reading["encoding"], reading["delimiter"]) == ("cp1251", ";")
    assert reading["columns"] == {"title": [0], "author": [1], "publication_year": [2], "isbn": [3]}
    assert reading["rows"] == [["Идиот", "Фёдор Достоевский", "1869", ""]]


def test_a_missing_column_fails_with_its_reason_and_keeps_what_was_recognised():
    job = examined(content=b"Emma,Who,year,isbn\nEmma,Austen,1815,1\n")
    assert job.state == State.FAILED
    assert str(job.problem) == "No column looks like the title."
    with translation.override("ru"):
        assert "title" not in str(job.problem)
    assert job.reading["columns"]["isbn"] == [3]
    assert job.file.storage.exists(job.file.name)


def test_given_columns_are_obeyed():
    columns = {"title": [1], "author": [0], "publication_year": [2], "isbn": [3]}
    job = examined("Author,Emma,1815," + THE_BOOK, columns=columns)
    assert job.pages.get().rows == [[2, "Emma", "Author", 1815, THE_BOOK]]


def test_bad_bytes_are_kept_in_the_refused_row():
    content = f"{HEADER}\n".encode() + "Идиот,Ф,1869,\n".encode() * 3 + b"Caf\xe9,A,2000,1\n"
    job = examined(content=content)
    *_, last = job.pages.get(kind="refused").rows
    assert last[1][0] == "Caf\udce9"
    assert job.reading["rows"][-1][0] == "Caf?"


def test_more_rows_than_the_limit_fail(monkeypatch):
    monkeypatch.setattr(engine, "MAX_ROWS", 2)
    assert examined(*lines(1, 2)).state == State.EXAMINED
    job = examined(*lines(1, 2, 3))
    assert (job.state, str(job.problem)) == (
        State.FAILED,
        "The file has more than 2 rows: split it.",
    )


def test_an_interrupted_examination_starts_over(monkeypatch):
    job = uploaded(*lines(*range(5)))
    flush = engine.Sorter.flush

    def dying(sorter: engine.Sorter, smallest: int = 1) -> None:
        flush(sorter, 1)
        raise MemoryError

    monkeypatch.setattr(engine.Sorter, "flush", dying)
    with pytest.raises(MemoryError):
        work("import", job.pk)
    assert job.pages.count() == 1
    monkeypatch.setattr(engine.Sorter, "flush", flush)
    worked_on(job)
    assert job.state == State.EXAMINED
    assert sum(len(page.rows) for page in job.pages.all()) == job.found["new"] == 5


def test_a_spreadsheet_that_is_being_parsed_is_left_to_its_worker(monkeypatch):
    opened, found = engine.opened, []

    @contextmanager
    def slowly(job):
        later = timezone.now() + timedelta(seconds=MAX_CPU_SECONDS)
        with patch.object(timezone, "now", return_value=later):
            found.append(Import.objects.unattended().exists())
        with opened(job) as table:
            yield table

    monkeypatch.setattr(engine, "opened", slowly)
    assert examined(*lines(1)).state == State.EXAMINED
    assert found == [False]


def test_a_file_that_is_gone_is_said():
    job = uploaded(*lines(1))
    job.file.storage.delete(job.file.name)
    assert str(worked_on(job).problem) == "The uploaded file is gone."
