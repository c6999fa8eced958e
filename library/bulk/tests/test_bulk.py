"""Changing and deleting many books from their list."""

from unittest.mock import Mock

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from library.bulk import actions, changes
from library.bulk.models import BulkChange, Kind
from library.models import Book
from library.tests.books import add, index_is_right
from project.jobs.models import State
from project.jobs.tasks import enqueue, sweep_jobs, work

from .selections import LIST, chosen, merge, page

pytestmark = pytest.mark.django_db

ACTIONS = {Kind.AUTHOR: "change_author", Kind.YEAR: "change_year", Kind.DELETE: "delete_selected"}


@pytest.fixture
def enqueued(monkeypatch) -> Mock:
    monkeypatch.setattr(actions, "enqueue", Mock())
    return actions.enqueue


def ask(desk, kind: Kind, *books: Book, query: str = "", **fields):
    selection = {"action": ACTIONS[kind], "_selected_action": [book.pk for book in books]}
    return desk.post(LIST + query, selection | fields)


# --- The dry run ---


def test_it_asks_for_the_value_then_shows_what_changes_then_writes(desk, cataloguer):
    old, same, other = add(author="J. Tolkien"), add(author="J.R.R. Tolkien"), add(author="Left")
    first = ask(desk, Kind.AUTHOR, old, same)
    assert first.context["form"].fields.keys() == {"author"}
    assert first.context["count"] == 2
    value = {"author": "J.R.R. Tolkien"}
    shown = ask(desk, Kind.AUTHOR, old, same, preview="1", **value)
    assert (shown.context["changing"], shown.context["samples"]) == (1, [(old, "J. Tolkien")])
    assert not BulkChange.objects.exists()
    answer = ask(desk, Kind.AUTHOR, old, same, confirmed="1", **value)
    assert answer.status_code == 302
    assert Book.objects.filter(author="J.R.R. Tolkien").count() == 2
    assert Book.objects.get(pk=other.pk).author == "Left"
    job = BulkChange.objects.get()
    assert (job.state, job.changed, job.total, job.user) == (State.DONE, 1, 2, cataloguer)
    assert index_is_right()


def test_what_fails_within_the_request_is_not_said_to_be_done(desk, monkeypatch):
    monkeypatch.setattr(BulkChange, "work", Mock(side_effect=ZeroDivisionError))
    with pytest.raises(ZeroDivisionError):
        ask(desk, Kind.AUTHOR, add(), confirmed="1", author="J.R.R. Tolkien")


def test_the_case_of_a_name_can_be_corrected(desk):
    book = add(author="tolkien")
    ask(desk, Kind.AUTHOR, book, confirmed="1", author="Tolkien")
    book.refresh_from_db()
    assert book.author == "Tolkien"


def test_only_what_changes_gets_a_version(desk):
    old, same = add(publication_year=1954), add(publication_year=1955)
    ask(desk, Kind.YEAR, old, same, confirmed="1", publication_year="1955")
    versions = dict(Book.objects.values_list("pk", "version"))
    assert versions == {old.pk: 2, same.pk: 1}
    assert Book.history.filter(door="bulk").count() == 1


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Kind.AUTHOR, {"author": " "}), (Kind.AUTHOR, {"author": "x" * 501})]
    + [(Kind.YEAR, {"publication_year": year}) for year in ("", "0", "9999", "MCM")],
)
@pytest.mark.parametrize("step", ["preview", "confirmed"])
def test_a_wrong_value_is_said_and_changes_nothing(desk, kind, value, step):
    book = add()
    answer = ask(desk, kind, book, **{step: "1"}, **value)
    assert answer.context["form"].errors
    assert not BulkChange.objects.exists()
    assert Book.objects.get().version == 1


def test_what_has_the_value_already_is_said(desk):
    book = add(author="Ann")
    answer = ask(desk, Kind.AUTHOR, book, preview="1", author="Ann")
    assert answer.context["changing"] == 0
    assert "Nothing would change" in answer.content.decode()
    assert 'name="confirmed"' not in answer.content.decode()


def test_books_are_deleted_after_they_were_shown(desk):
    doomed, left = add(title="Doomed <i>"), add()
    shown = ask(desk, Kind.DELETE, doomed)
    assert "Doomed &lt;i&gt;" in shown.content.decode()
    assert Book.objects.count() == 2
    ask(desk, Kind.DELETE, doomed, confirmed="1")
    assert Book.objects.get() == left
    assert BulkChange.objects.get().changed == 1


# --- All that the list holds ---


def test_everything_is_all_that_search_and_filters_find_at_any_number(desk, monkeypatch):
    monkeypatch.setattr("library.admin.SearchPaginator.MAX_ROWS", 2)
    found = [add(title="Rings", author="Old") for _ in range(5)]
    other = add(title="Other", author="Old")
    ask(
        desk,
        Kind.AUTHOR,
        found[0],
        query="?q=rings",
        select_across="1",
        confirmed="1",
        author="New",
    )
    assert set(Book.objects.filter(author="New")) == set(found)
    assert Book.objects.get(pk=other.pk).author == "Old"


def test_the_list_says_of_more_than_it_counts_that_all_of_them_are_selected(desk, monkeypatch):
    monkeypatch.setattr("library.admin.SearchPaginator.MAX_ROWS", 2)
    monkeypatch.setattr("library.admin.BookAdmin.list_per_page", 1)
    for _ in range(3):
        add(title="Rings")
    assert "Selected: all 2+ books" in desk.get(f"{LIST}?q=rings").content.decode()


# --- In the background ---


def test_more_than_the_bound_is_a_workers_and_has_a_page(desk, enqueued, monkeypatch):
    monkeypatch.setattr(actions, "MAX_INLINE", 2)
    books = [add(author="Old") for _ in range(3)]
    shown = ask(desk, Kind.AUTHOR, *books, preview="1", author="New")
    assert shown.context["in_background"] and shown.context["changing"] is None
    answer = ask(desk, Kind.AUTHOR, *books, confirmed="1", author="New")
    job = BulkChange.objects.get()
    assert answer["Location"] == page(job)
    enqueued.assert_called_once_with(job)
    assert "Waiting for a worker" in desk.get(page(job)).content.decode()
    assert not Book.objects.filter(author="New").exists()
    work("bulkchange", job.pk)
    assert Book.objects.filter(author="New").count() == 3
    told = desk.get(page(job, "progress")).json()
    assert (told["state"], told["percent"]) == ("done", 100)


@pytest.fixture
def queued(cataloguer, monkeypatch) -> BulkChange:
    """Of five books, in chunks of two."""
    monkeypatch.setattr(changes, "BOOKS_PER_TRANSACTION", 2)
    ids = [add(author="Old").pk for _ in range(5)]
    packed = BulkChange.pack(ids)
    return BulkChange.objects.create(
        user=cataloguer, kind=Kind.AUTHOR, value="New", packed_ids=packed, total=5, state="queued"
    )


def test_the_list_writes_numbers_as_the_reader_does(desk, queued):
    BulkChange.objects.update(total=20_000, changed=19_999)
    url = reverse("admin:library_bulkchange_changelist")
    html = desk.get(url, headers={"accept-language": "ru"}).content.decode()
    assert "20\xa0000" in html and "19\xa0999" in html
    assert ">Total<" not in html and "1 групповое изменение" in html


def test_a_killed_worker_is_followed_by_one_that_goes_on(queued, monkeypatch):
    written = []
    write = changes._write

    def killed(job, ids):
        written.append(ids)
        if len(written) == 2:
            raise KeyboardInterrupt
        return write(job, ids)

    monkeypatch.setattr(changes, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        work("bulkchange", queued.pk)
    queued.refresh_from_db()
    assert (queued.position, queued.changed) == (2, 2)
    work("bulkchange", queued.pk)
    queued.refresh_from_db()
    assert (queued.state, queued.changed) == (State.DONE, 5)
    assert written[0] != written[1] == written[2]
    assert Book.history.filter(batch=queued.batch).count() == 5


@pytest.mark.mysql
def test_books_are_locked_before_they_are_compared(queued):
    with CaptureQueriesContext(connection) as queries:
        work("bulkchange", queued.pk)
    reads = [q["sql"] for q in queries if q["sql"].startswith("SELECT `library_book`.`id`, ")]
    assert "FOR UPDATE" in reads[0]


def test_the_sweep_finds_it(queued, monkeypatch):
    delay = Mock()
    monkeypatch.setattr(work, "delay", delay)
    sweep_jobs()
    delay.assert_called_once_with("bulkchange", queued.pk)
    enqueue(queued)
    queued.refresh_from_db()
    assert queued.enqueued_at


def test_it_can_be_cancelled_and_what_was_written_stays(desk, queued, monkeypatch):
    transact = changes.persistent_transaction

    def then_cancel(write):
        transact(write)
        desk.post(page(queued, "cancel"))

    monkeypatch.setattr(changes, "persistent_transaction", then_cancel)
    assert "cancelled" in str(work("bulkchange", queued.pk))
    queued.refresh_from_db()
    assert (queued.state, queued.changed) == (State.CANCELLED, 2)
    assert Book.objects.filter(author="New").count() == 2


def test_what_was_deleted_meanwhile_is_left_out(queued):
    Book.objects.first().delete()
    work("bulkchange", queued.pk)
    queued.refresh_from_db()
    assert (queued.state, queued.changed) == (State.DONE, 4)


# --- Undo ---


def test_a_change_is_undone_but_for_what_somebody_changed_afterwards(desk, queued, cataloguer):
    work("bulkchange", queued.pk)
    touched = Book.objects.first()
    touched.title = "Touched"
    touched.save()
    desk.post(page(queued, "undo"))
    work("bulkchange", queued.pk)
    queued.refresh_from_db()
    assert (queued.state, queued.undone_by) == (State.UNDONE, cataloguer)
    assert (queued.undone["restored"], queued.undone["left_count"]) == (4, 1)
    assert list(Book.objects.filter(author="New")) == [touched]
    assert "Touched" in desk.get(page(queued)).content.decode()
    assert not queued.may_be_undone


def test_an_undo_that_broke_off_goes_on(desk):
    book = add(author="Old")
    ask(desk, Kind.AUTHOR, book, author="New", confirmed="1")
    job = BulkChange.objects.get()
    assert job.begin_undo(None)
    BulkChange.objects.update(state=State.FAILED, error=["x", {}])
    assert page(job, "undo") in desk.get(page(job)).content.decode()
    desk.post(page(job, "undo"))
    work("bulkchange", job.pk)
    job.refresh_from_db()
    assert (job.state, Book.objects.get().author) == (State.UNDONE, "Old")


def test_deleted_books_come_back(desk):
    books = [add(title=f"Doomed {number}") for number in range(3)]
    ask(desk, Kind.DELETE, *books, confirmed="1")
    job = BulkChange.objects.get()
    assert job.may_be_undone
    desk.post(page(job, "undo"))
    work("bulkchange", job.pk)
    assert set(Book.objects.all()) == set(books)
    assert index_is_right()


# --- Permissions ---


def test_who_may_only_look_has_no_actions_and_no_page(client, queued):
    reader = User.objects.create_user("reader", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_book"))
    client.force_login(reader)
    book = Book.objects.first()
    for kind in ACTIONS:
        ask(client, kind, book, confirmed="1", author="New", publication_year="2001")
    merge(client, *Book.objects.all()[:2])
    assert not Book.objects.filter(author="New").exists()
    assert Book.objects.count() == 5
    for name in ("change", "progress"):
        assert client.get(page(queued, name)).status_code == 403
    for name in ("undo", "cancel"):
        assert client.post(page(queued, name)).status_code == 403


def test_without_the_right_to_delete_nothing_is_merged_or_deleted(client):
    editor = User.objects.create_user("editor", is_staff=True)
    names = ["view_book", "change_book"]
    editor.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(editor)
    first, second = add(), add()
    merge(client, first, second, keep=first.pk, **chosen(title=first, isbn=first))
    ask(client, Kind.DELETE, first, confirmed="1")
    assert Book.objects.count() == 2


def test_without_the_right_to_add_no_deletion_is_undone(client, desk):
    book = add()
    ask(desk, Kind.DELETE, book, confirmed="1")
    job = BulkChange.objects.latest("pk")
    editor = User.objects.create_user("editor", is_staff=True)
    editor.user_permissions.add(Permission.objects.get(codename="change_book"))
    client.force_login(editor)
    assert page(job, "undo") not in client.get(page(job, "change")).content.decode()
    assert client.post(page(job, "undo")).status_code == 403
    assert not Book.objects.filter(pk=book.pk).exists()


def test_who_may_only_delete_follows_what_a_worker_deletes_and_undoes_no_other_change(
    client, queued, enqueued, monkeypatch
):
    monkeypatch.setattr(actions, "MAX_INLINE", 1)
    eraser = User.objects.create_user("eraser", is_staff=True)
    names = ["view_book", "delete_book", "add_book"]
    eraser.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(eraser)
    answer = ask(client, Kind.DELETE, *Book.objects.all()[:2], confirmed="1")
    job = BulkChange.objects.latest("pk")
    assert answer["Location"] == page(job)
    assert client.get(page(job)).status_code == 200
    assert client.post(page(queued, "undo")).status_code == 403


@pytest.mark.parametrize("name", ["undo", "cancel"])
def test_a_link_changes_nothing(desk, queued, name):
    assert desk.get(page(queued, name)).headers["Location"] == page(queued)
    queued.refresh_from_db()
    assert queued.state == State.QUEUED
