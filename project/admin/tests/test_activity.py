"""What the team did, and which records are deleted."""

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from library.models import Book
from library.tests.books import add, unsaved
from members.models import Member
from project.admin import activity
from project.base.history import Door, recorded_as

from .history_pages import ACTIVITY, group_member, history_of, restore_of, text_of

pytestmark = pytest.mark.django_db


def listed(client, **choice) -> list[str]:
    return [row.title for row in client.get(ACTIVITY, choice).context["cl"].result_list]


def test_the_activity_lists_the_changes_of_everybody_newest_first(desk):
    for name in ("ann", "bob"):
        with recorded_as(Door.ADMIN, user=User.objects.create_user(name)):
            add(title=name)
    assert listed(desk) == ["bob", "ann"]
    html = desk.get(ACTIVITY).content.decode()
    assert html.index(">bob</a>") < html.index(">ann</a>")
    assert history_of(Book.objects.get(title="bob").pk) in html


def test_the_activity_is_filtered_by_person_door_and_kind(desk):
    ann = User.objects.create_user("ann")
    with recorded_as(Door.ADMIN, user=ann):
        book = add(title="A")
    with recorded_as(Door.API):
        Book.objects.update(title="B")
    book.delete()
    assert listed(desk, person=ann.pk) == ["A"]
    assert listed(desk, door="api") == ["B"]
    assert listed(desk, kind="added") == ["A"]
    assert listed(desk, kind="changed") == listed(desk, kind="deleted") == ["B"]
    assert listed(desk, person="x", door="x", kind="x") == ["B", "B", "A"]


def test_it_shows_old_and_new(desk):
    book = add(title="Dune")
    Book.objects.filter(pk=book.pk).update(title="Doon")
    assert "Title: Dune → Doon" in text_of(desk.get(ACTIVITY))


def test_an_import_is_one_line_that_opens_its_rows(desk):
    with recorded_as(Door.IMPORT, detail="goodbooks.csv", batch="import-7"):
        Book.objects.bulk_create([unsaved() for _ in range(5)])
    single = add(title="single")
    page = desk.get(ACTIVITY)
    assert len(page.context["cl"].result_list) == 2
    assert "5 books" in text_of(page)
    assert "5 книг " in text_of(desk.get(ACTIVITY, headers={"accept-language": "ru"}))
    assert f"{ACTIVITY}?batch=import-7" in page.content.decode()
    assert len(listed(desk, batch="import-7")) == 5
    assert len(listed(desk, batch="every")) == 6
    assert single.title in listed(desk)


def test_a_bulk_deletion_in_the_list_is_one_batch(desk):
    books = [add() for _ in range(3)]
    chosen = {"action": "delete_selected", "confirmed": "1"}
    chosen["_selected_action"] = [book.pk for book in books]
    desk.post(reverse("admin:library_book_changelist"), chosen)
    rows = Book.history.filter(history_type="-")
    assert {(row.door, row.batch[:5]) for row in rows} == {("bulk", "bulkc")}
    assert len({row.batch for row in rows}) == 1


def test_deleted_books_are_found_until_they_are_restored(desk):
    books = {title: add(title=title) for title in ("Dune", "Ubik")}
    isbn = books["Ubik"].isbn
    pk = books["Ubik"].pk
    with recorded_as(Door.BULK, batch="bulk-1"):
        Book.objects.all().delete()
    gone = {"kind": "gone"}
    assert sorted(listed(desk, **gone)) == ["Dune", "Ubik"]
    assert desk.get(ACTIVITY, gone).context["title"] == "Deleted books"
    assert listed(desk, **gone, q="ubik author") == ["Ubik"]
    assert listed(desk, **gone, q=f"{isbn[:3]}-{isbn[3:]}") == ["Ubik"]
    assert listed(desk, **gone, q="solaris") == []
    desk.post(restore_of(Book.history.filter(id=pk).first()), {"version": ""})
    assert listed(desk, **gone) == ["Dune"]
    assert len(listed(desk, kind="deleted", batch="every")) == 2


def test_the_list_of_books_links_to_those_deleted(desk):
    html = desk.get(reverse("admin:library_book_changelist")).content.decode()
    assert f"{ACTIVITY}?kind=gone" in html
    html = desk.get(reverse("admin:members_member_changelist")).content.decode()
    assert "kind=gone" not in html, "members are erased"


def test_a_search_reads_a_bounded_number_of_rows(desk, monkeypatch):
    monkeypatch.setattr(activity, "MAX_SEARCHED_ROWS", 2)
    for number in range(3):
        add(title=f"Dune {number}")
    assert listed(desk, q="dune") == ["Dune 2", "Dune 1"]


def test_each_sees_the_activity_of_what_it_may_view(client):
    add(title="Dune")
    Member.objects.create(username="ann", email="ann@example.org")
    members = reverse("admin:members_historicalmember_changelist")
    user = group_member(client, "Cataloguers")
    assert client.get(ACTIVITY).status_code == 200
    assert client.get(members).status_code == 403
    html = client.get(reverse("admin:index")).content.decode()
    assert ACTIVITY in html
    assert members not in html
    user.groups.clear()
    assert client.get(ACTIVITY).status_code == 403


def test_nobody_writes_history_by_hand(desk):
    add()
    row = Book.history.get()
    for name in ("change", "delete"):
        address = reverse(f"admin:library_historicalbook_{name}", args=[row.pk])
        desk.post(address, {"title": "X", "post": "yes"})
    assert Book.history.get().title == row.title


def test_the_list_costs_the_same_for_any_number_of_rows(desk):
    counts = []
    for _ in range(2):
        for _ in range(5):
            add()
        with CaptureQueriesContext(connection) as queries:
            desk.get(ACTIVITY)
        counts.append(len(queries))
    assert counts[0] == counts[1]
    history = [query["sql"] for query in queries if "historicalbook" in query["sql"]]
    assert not any(" JOIN " in sql for sql in history), "MySQL would sort the whole table"
