"""Undo of an import: what somebody changed afterwards is left and named."""

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from library.files.models import Import
from library.models import Book
from library.tests.books import add, isbn_number
from project.admin.history import way
from project.imports import admin as pages
from project.imports.engine import begin
from project.jobs.models import State

from .imports import examined, lines, worked_on

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def files(settings, tmp_path, monkeypatch):
    settings.MEDIA_ROOT = tmp_path
    monkeypatch.setattr(pages, "enqueue", lambda pk: None)


def imported(*rows: str) -> Import:
    job = examined(*rows)
    begin(job)
    return worked_on(job)


def url(job: Import, name: str) -> str:
    return reverse(f"admin:library_import_{name}", args=[job.pk])


def edit(number: int, **values) -> None:
    book = Book.objects.get(isbn=isbn_number(number))
    for name, value in values.items():
        setattr(book, name, value)
    book.save()


def test_an_undo_deletes_puts_back_and_names_what_it_left(desk):
    changed = add(isbn=isbn_number(2), title="Old", author="Author", publication_year=1999)
    job = imported(*lines(1, 2, 3))
    edit(3, title="Somebody's")
    assert url(job, "undo") in desk.get(url(job, "change")).content.decode()
    desk.post(url(job, "undo"))
    worked_on(job)
    assert job.state == State.UNDONE
    assert {name: job.undone[name] for name in ("deleted", "restored", "left_count")} == {
        "deleted": 1, "restored": 1, "left_count": 1,
    }  # fmt: skip
    assert way(changed.history.first()) == "Undo books.csv"
    changed.refresh_from_db()
    assert (changed.title, changed.publication_year) == ("Old", 1999)
    assert set(Book.objects.values_list("title", flat=True)) == {"Old", "Somebody's"}
    desk.cookies["django_language"] = "ru"
    page = desk.get(url(job, "change")).content.decode()
    assert "Somebody&#x27;s" in page and "changed afterwards" not in page
    assert url(job, "undo") not in page


@pytest.mark.parametrize(("row", "status"), [(3, 403), (2, 302)], ids=["added", "changed"])
def test_who_may_not_delete_books_does_not_by_an_undo(client, row, status):
    add(isbn=isbn_number(2))
    job = imported(*lines(row))
    clerk = User.objects.create_user("clerk", is_staff=True)
    names = ["view_book", "add_book", "change_book"]
    clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(clerk)
    offered = url(job, "undo") in client.get(url(job, "change")).content.decode()
    assert offered == (status == 302)
    assert client.post(url(job, "undo")).status_code == status


def test_an_undo_that_broke_off_goes_on(desk):
    job = imported(*lines(1, 2))
    assert job.begin_undo(None)
    done = {"deleted": 5, "restored": 0, "left_count": 0, "left": []}  # by then
    Import.objects.update(state=State.FAILED, error=["x", {}], undone=done)
    page = desk.get(url(job, "change")).content.decode()
    assert url(job, "undo") in page and url(job, "again") not in page
    desk.post(url(job, "undo"))
    worked_on(job)
    assert (job.state, job.undone["deleted"], Book.objects.count()) == (State.UNDONE, 7, 0)


@pytest.mark.parametrize("state", State)
def test_only_an_import_that_has_ended_is_undone(desk, state):
    job = imported(*lines(1))
    Import.objects.update(state=state)
    desk.post(url(job, "undo"))
    job.refresh_from_db()
    undone = state in (State.DONE, State.CANCELLED, State.FAILED)
    assert (job.state == State.UNDOING and bool(job.undone)) == (undone or False)


def test_an_import_that_wrote_nothing_offers_no_undo(desk):
    job = examined(*lines(1))
    desk.post(url(job, "cancel"))
    assert url(job, "undo") not in desk.get(url(job, "change")).content.decode()


def test_no_import_is_undone_twice(desk):
    job = imported(*lines(1))
    desk.post(url(job, "undo"))
    worked_on(job)
    desk.post(url(job, "undo"))
    assert worked_on(job).state == State.UNDONE
