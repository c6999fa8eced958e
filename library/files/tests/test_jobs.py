"""An import in the worker: examined, written, resumed, cancelled; never twice."""

import os
import time
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock, call, patch

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.db import OperationalError
from django.utils import timezone, translation

from library.files.importing import Books
from library.files.models import Import
from library.models import Book
from library.tests.books import THE_BOOK, add, index_is_right, isbn_number
from project.base.files.sheet_rows import MAX_CPU_SECONDS
from project.base.files.tests.test_reading import xlsx
from project.base.history import Door
from project.imports import engine
from project.imports.engine import begin
from project.imports.models import ImportPage
from project.imports.tasks import purge_imports
from project.jobs import tasks
from project.jobs.models import HEARTBEAT_TIMEOUT, MAX_CLAIMS, NotFinishedError, State
from project.jobs.tasks import sweep_jobs, work

pytestmark = pytest.mark.django_db

HEADER = "title,author,year,isbn"


@pytest.fixture(autouse=True)
def files(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


def lines(*numbers: int, title: str = "Title") -> list[str]:
    return [f"{title} {n},Author,2000,{isbn_number(n)}" for n in numbers]


def uploaded(*rows: str, name: str = "books.csv", content: bytes = b"", **values) -> Import:
    content = content or "\n".join([HEADER, *rows]).encode()
    kind = name.rpartition(".")[2]
    job = Import(name=name, kind=kind, size=len(content), **values)
    job.file.save(name, ContentFile(content))
    return job


def worked_on(job: Import) -> Import:
    work("import", job.pk)
    job.refresh_from_db()
    return job


def examined(*rows: str, **values) -> Import:
    return worked_on(uploaded(*rows, **values))


def counts(found: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in found.items() if count}


# --- Examination ---


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


# --- Writing ---


def test_a_confirmed_import_is_written_and_counted(monkeypatch, staff):
    recorded = Mock(side_effect=engine.recorded_as)
    monkeypatch.setattr(engine, "recorded_as", recorded)
    add(isbn=isbn_number(2), title="Old", author="Author", publication_year=2000)
    job = examined(*lines(1, 2), "No ISBN,Author,2000,", user=staff)
    assert begin(job)
    worked_on(job)
    assert (job.state, job.written) == (State.DONE, {"new": 1, "changed": 1, "same": 0})
    assert (job.percent, job.confirmed_at < job.finished_at) == (100, True)
    assert sorted(Book.objects.values_list("title", flat=True)) == ["Title 1", "Title 2"]
    assert Book.objects.get(isbn=isbn_number(2)).version == 2
    assert index_is_right()
    recorded.assert_called_once_with(
        Door.IMPORT, user=staff, detail="books.csv", batch=f"import-{job.pk}"
    )


def test_a_book_that_the_file_has_twice_is_written_once():
    old = add(isbn=isbn_number(2), title="Old", author="Author", publication_year=2000)
    job = examined(*lines(1, 2), *lines(2, 1))
    begin(job)
    worked_on(job)
    assert (job.state, job.written) == (State.DONE, {"new": 1, "changed": 1, "same": 2})
    assert Book.objects.filter(isbn__in=[isbn_number(1), isbn_number(2)]).count() == 2
    old.refresh_from_db()
    assert (old.title, old.version, old.history.count()) == ("Title 2", 2, 2)


def test_it_is_compared_with_the_catalogue_of_that_moment():
    job = examined(*lines(1, 2, 3))
    add(isbn=isbn_number(1), title="Title 1", author="Author", publication_year=2000)
    add(isbn=isbn_number(2), title="Somebody's", author="Author", publication_year=2000)
    begin(job)
    assert worked_on(job).written == {"new": 1, "changed": 1, "same": 1}


def test_nothing_is_written_before_it_is_confirmed():
    job = examined(*lines(1))
    assert "nothing to do" in str(work("import", job.pk))
    assert not Book.objects.exists()


def test_an_import_is_begun_once():
    job = examined(*lines(1))
    assert begin(job)
    assert not begin(job)


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(engine, "PAGE_SIZE", 2)
    monkeypatch.setattr(engine, "PAGES_PER_BATCH", 1)


class Killed(BaseException):
    """As by SIGKILL: nothing after it runs."""


def killed_at(number: int, monkeypatch) -> None:
    """Dies inside the transaction of this batch."""
    calls = iter(range(1, 99))
    record = Import.record

    def dying(job: Import, **changes) -> None:
        record(job, **changes)
        if "position" in changes and next(calls) == number:
            monkeypatch.setattr(Import, "record", Mock(side_effect=Killed))
            raise Killed

    monkeypatch.setattr(Import, "record", dying)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_killed_worker_costs_nothing_and_doubles_nothing(small_batches, monkeypatch, batch):
    job = examined(*lines(*range(6)))
    begin(job)
    with monkeypatch.context() as patch:
        killed_at(batch, patch)
        with pytest.raises(Killed):
            work("import", job.pk)
    assert Book.objects.count() == (batch - 1) * 2
    assert "another worker has it" in str(work("import", job.pk))  # its heartbeat is fresh
    Import.objects.update(heartbeat_at=timezone.now() - HEARTBEAT_TIMEOUT - timedelta(seconds=1))
    worked_on(job)
    assert (job.state, job.written) == (State.DONE, {"new": 6, "changed": 0, "same": 0})
    assert Book.objects.count() == 6
    assert set(Book.objects.values_list("version", flat=True)) == {1}


def test_a_cancelled_import_whose_turn_ends_is_no_failure(small_batches, monkeypatch):
    def cancelled(job: Import) -> None:
        assert Import.objects.move(job.pk, (State.QUEUED,), state=State.CANCELLED)
        raise NotFinishedError

    job = examined(*lines(1))
    begin(job)
    monkeypatch.setattr(Import, "work", cancelled)
    assert "was cancelled" in str(work("import", job.pk))
    job.refresh_from_db()
    assert job.state == State.CANCELLED


def test_other_tasks_have_their_turn(small_batches, monkeypatch):
    monkeypatch.setattr(engine, "SLICE_SECONDS", 0)
    enqueued = Mock()
    monkeypatch.setattr(tasks, "enqueue", enqueued)
    job = examined(*lines(*range(4)))
    begin(job)
    worked_on(job)
    assert (job.state, job.written["new"], job.heartbeat_at) == (State.RUNNING, 2, None)
    enqueued.assert_called_once_with(job)
    worked_on(job)
    worked_on(job)
    assert (job.state, job.written["new"]) == (State.DONE, 4)


def test_turns_with_progress_are_no_interruptions(small_batches, monkeypatch):
    monkeypatch.setattr(engine, "SLICE_SECONDS", 0)
    monkeypatch.setattr(tasks, "enqueue", Mock())
    turns = MAX_CLAIMS + 2
    job = examined(*lines(*range(2 * turns)))
    begin(job)
    for _ in range(turns + 1):
        worked_on(job)
    assert (job.state, job.written["new"]) == (State.DONE, 2 * turns)


def test_a_cancelled_import_stops_and_keeps_what_was_written(small_batches, monkeypatch):
    job = examined(*lines(*range(6)))
    begin(job)
    next_pages = engine.next_pages

    def cancelled(job: Import) -> list[ImportPage]:
        if Book.objects.exists():
            Import.objects.move(job.pk, (State.RUNNING,), state=State.CANCELLED)
        return next_pages(job)

    monkeypatch.setattr(engine, "next_pages", cancelled)
    assert "was cancelled" in str(work("import", job.pk))
    job.refresh_from_db()
    assert (job.state, job.written["new"], Book.objects.count()) == (State.CANCELLED, 2, 2)


def test_a_worker_that_was_taken_for_dead_writes_no_more(small_batches, monkeypatch):
    job = examined(*lines(*range(4)))
    begin(job)
    write = Books.write

    def overtaken(books, found):
        if Book.objects.exists():
            Import.objects.update(claim="another's")
        write(books, found)

    monkeypatch.setattr(Books, "write", overtaken)
    assert "taken over" in str(work("import", job.pk))
    assert Book.objects.count() == 2


@pytest.mark.parametrize("error", [OperationalError(1213, "Deadlock"), OperationalError(1205, "")])
def test_a_lost_lock_is_tried_again_and_counted_once(monkeypatch, error):
    job = examined(*lines(1, 2))
    begin(job)
    record = Import.record
    errors = [error]

    def losing(job: Import, **changes) -> None:
        record(job, **changes)
        if "position" in changes and errors:
            raise errors.pop()

    monkeypatch.setattr(Import, "record", losing)
    assert worked_on(job).written == {"new": 2, "changed": 0, "same": 0}


def test_work_that_breaks_off_again_and_again_fails(monkeypatch):
    job = examined(*lines(1))
    begin(job)
    with monkeypatch.context() as patch:
        patch.setattr(Books, "write", Mock(side_effect=OperationalError(1114, "full")))
        for _ in range(MAX_CLAIMS):
            with pytest.raises(OperationalError):
                work("import", job.pk)
    worked_on(job)
    assert job.state == State.FAILED
    assert "interrupted 5 times" in str(job.problem)


def test_two_imports_of_the_same_books_end_in_one_of_each():
    first, second = examined(*lines(1, 2)), examined(*lines(1, 2, title="Other"))
    for job in (first, second):
        begin(job)
        worked_on(job)
    assert (first.written["new"], second.written["changed"]) == (2, 2)
    assert Book.objects.count() == 2


# --- The sweep and housekeeping ---


@pytest.mark.parametrize(
    ("values", "due"),
    [
        ({"state": State.UPLOADED}, True),
        ({"state": State.QUEUED}, True),
        ({"state": State.EXAMINED}, False),
        ({"state": State.DONE}, False),
        ({"state": State.CANCELLED}, False),
        ({"state": State.RUNNING, "heartbeat_at": HEARTBEAT_TIMEOUT * 2}, True),
        ({"state": State.RUNNING, "heartbeat_at": HEARTBEAT_TIMEOUT / 2}, False),
        ({"state": State.QUEUED, "enqueued_at": timedelta(seconds=5)}, False),
        ({"state": State.QUEUED, "enqueued_at": timedelta(seconds=90)}, True),
    ],
)
def test_the_sweep_finds_what_no_worker_works_on(monkeypatch, values, due):
    now = timezone.now()
    times = {k: now - v if isinstance(v, timedelta) else v for k, v in values.items()}
    job = Import.objects.create(name="a.csv", kind="csv", **times)
    delay = Mock()
    monkeypatch.setattr(work, "delay", delay)
    sweep_jobs()
    assert delay.call_args_list == ([call("import", job.pk)] if due else [])
    sweep_jobs()
    assert delay.call_count == due  # its message is on its way


def test_a_broker_that_is_down_is_no_failure(monkeypatch):
    job = uploaded(*lines(1))
    monkeypatch.setattr(work, "delay", Mock(side_effect=OSError))
    tasks.enqueue(job)
    job.refresh_from_db()
    assert job.enqueued_at is None


def aged(job: Import, days: int) -> Import:
    Import.objects.filter(pk=job.pk).update(uploaded_at=timezone.now() - timedelta(days=days))
    return job


def test_an_upload_that_broke_off_is_deleted_after_a_day(settings, tmp_path):
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    old, young = (TemporaryUploadedFile("a.csv", "text/csv", 0, None) for _ in range(2))
    for upload, hours in [(old, 25), (young, 23)]:
        then = time.time() - hours * 3600
        os.utime(upload.temporary_file_path(), (then, then))
    purge_imports()
    assert [path.name for path in tmp_path.iterdir()] == [Path(young.temporary_file_path()).name]
    old.close(), young.close()


def test_old_files_and_rows_are_deleted_and_counts_stay(settings):
    settings.IMPORT_KEEP_DAYS = 7
    old, young = aged(examined(*lines(1)), 8), aged(examined(*lines(2)), 6)
    path = old.file.path
    assert purge_imports() == "1 imports purged."
    old.refresh_from_db()
    young.refresh_from_db()
    assert (old.file.name, old.found["new"], old.state) == ("", 1, State.CANCELLED)
    assert not Path(path).exists()
    assert not old.pages.exists()
    assert young.file and young.pages.exists()


def test_what_is_confirmed_meanwhile_is_not_purged(monkeypatch):
    confirmed = aged(examined(*lines(1)), 99)
    aged(examined(*lines(2)), 99)
    purge = Import.purge

    def confirm_another(job: Import) -> None:
        begin(confirmed)
        purge(job)

    monkeypatch.setattr(Import, "purge", confirm_another)
    assert purge_imports() == "1 imports purged."
    confirmed.refresh_from_db()
    assert confirmed.state == State.QUEUED
    assert confirmed.file and confirmed.pages.exists()


def test_the_file_of_a_running_import_is_kept(settings):
    job = aged(uploaded(*lines(1)), 99)
    purge_imports()
    job.refresh_from_db()
    assert job.file
