"""A confirmed import in the worker: written, resumed, cancelled; never twice."""

from datetime import timedelta
from unittest.mock import Mock

import pytest
from django.db import OperationalError
from django.utils import timezone

from library.files.importing import Books
from library.files.models import Import
from library.models import Book
from library.tests.books import add, index_is_right, isbn_number
from project.base.history import Door
from project.imports import engine
from project.imports.engine import begin
from project.imports.models import ImportPage
from project.jobs import tasks
from project.jobs.models import HEARTBEAT_TIMEOUT, MAX_CLAIMS, NotFinishedError, State
from project.jobs.tasks import work

from .imports import examined, lines, worked_on

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("files")]


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
