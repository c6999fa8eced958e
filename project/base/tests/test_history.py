"""Every change is recorded, however it is made: what, who and through which door."""

from importlib import import_module
from unittest.mock import Mock

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from rest_framework.test import APIClient

from library.models import Book
from library.tests.books import BOOKS, add, unsaved
from members.models import Member
from project.api.authentication import AuthToken
from project.base.history import Door, recorded_as
from project.tests.forms import filled

pytestmark = pytest.mark.django_db


def told(record) -> list[tuple[str, str]]:
    """Kind and title of each version, oldest first."""
    rows = Book.history.filter(id=record.pk).order_by("history_id")
    return list(rows.values_list("history_type", "title"))


def last(model=Book):
    return model.history.select_related("history_user").first()


# --- On every path ---


def test_a_new_record_is_recorded_with_all_its_values():
    book = add(title="Dune")
    version = last()
    assert told(book) == [("+", "Dune")]
    names = ("id", "title", "author", "publication_year", "isbn", "version", "created_at")
    assert [getattr(version, name) for name in names] == [
        getattr(Book.objects.get(), name) for name in names
    ]


def test_a_save_records_what_is_stored_and_not_an_outdated_copy():
    book = add(title="Dune", author="Herbert")
    copy = Book.objects.get(pk=book.pk)
    book.title = "Dune Messiah"
    book.save()
    copy.author = "Frank Herbert"
    copy.save()
    assert told(book) == [("+", "Dune"), ("~", "Dune Messiah"), ("~", "Dune Messiah")]
    assert last().author == "Frank Herbert"


def test_a_save_without_a_change_records_nothing():
    book = add()
    book.save()
    Book.objects.get(pk=book.pk).save()
    Book.objects.filter(pk=book.pk).update(title=book.title)
    assert len(told(book)) == 1


def test_an_update_records_the_rows_that_it_changes():
    books = [add(title=title) for title in ("A", "B", "B")]
    Book.objects.filter(title="A").update(title="B")
    Book.objects.update(title="B")
    assert [told(book) for book in books] == [[("+", "A"), ("~", "B")], [("+", "B")], [("+", "B")]]


def test_a_bulk_update_is_recorded():
    book = add(title="A")
    book.title = "B"
    Book.objects.bulk_update([book], ["title"])
    assert told(book) == [("+", "A"), ("~", "B")]


def test_a_bulk_creation_is_recorded():
    books = Book.objects.bulk_create([unsaved(title=f"T{number}") for number in range(3)])
    assert [told(book) for book in books] == [[("+", f"T{number}")] for number in range(3)]


@pytest.mark.parametrize("model", ["books", "members"])
def test_an_upsert_tells_new_from_changed_and_from_the_same(model):
    if model == "books":
        first, second = unsaved(title="A"), unsaved(title="B")
        key, fields, manager = "isbn", ["title"], Book
    else:
        first = Member(username="Ann", email="ann@example.org")
        second = Member(username="bob", email="bob@example.org")
        key, fields, manager = "username", ["email"], Member
    manager.objects.bulk_create([first, second])
    values = {
        name: getattr(first, name)
        for name in ("isbn", "author", "publication_year", "username")
        if hasattr(first, name)
    }
    changed = manager(**values, **{fields[0]: "new@example.org"})
    third = unsaved() if model == "books" else Member(username="cyd", email="cyd@example.org")
    third.created_at = None if model == "books" else ""
    target = connection.features.supports_update_conflicts_with_target
    written = manager.objects.bulk_create(
        [changed, second, third],
        update_conflicts=True,
        unique_fields=[key] if target else None,
        update_fields=fields,
    )
    rows = manager.history.order_by("history_id").values_list("id", "history_type")
    assert list(rows)[2:] == [(third.pk, "+"), (first.pk, "~")]
    assert [each.pk for each in written] == [first.pk, second.pk, third.pk]


def test_conflicts_that_are_ignored_record_nothing():
    book = add(title="A")
    Book.objects.bulk_create([unsaved(title="B", isbn=book.isbn)], ignore_conflicts=True)
    assert told(book) == [("+", "A")]


@pytest.mark.parametrize(
    "delete", [lambda book: book.delete(), lambda book: Book.objects.all().delete()]
)
def test_a_deletion_records_what_was_stored(delete):
    book = add(title="Dune")
    pk = book.pk
    book.title = "not saved"
    delete(book)
    book.pk = pk
    assert told(book) == [("+", "Dune"), ("-", "Dune")]


def test_loading_a_fixture_is_recorded(tmp_path):
    book = add(title="Dune")
    file = tmp_path / "books.json"
    call_command("dumpdata", "library.book", output=str(file))
    Book.objects.update(title="Other")
    call_command("loaddata", str(file), verbosity=0)
    assert told(book) == [("+", "Dune"), ("~", "Other"), ("~", "Dune")]


@pytest.mark.parametrize(
    "write",
    [
        lambda book: book.delete(),
        lambda book: Book.objects.update(title="B"),
        lambda book: Book.objects.all().delete(),
        lambda book: Book.objects.bulk_create([unsaved()]),
        lambda book: unsaved().save(),
    ],
)
def test_what_is_rolled_back_leaves_no_history(write):
    book = add(title="A")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        write(book)
        raise ZeroDivisionError
    assert told(Book.objects.get()) == [("+", "A")]
    assert Book.history.count() == 1


def test_many_records_cost_as_many_statements_as_one():
    counts = []
    for number in (1, 50):
        with CaptureQueriesContext(connection) as queries:
            Book.objects.bulk_create([unsaved() for _ in range(number)])
            Book.objects.all().delete()
        counts.append(sum("historicalbook" in query["sql"] for query in queries))
    assert counts == [2, 2]


def test_a_request_costs_one_statement_more(staff_api):
    book = add()
    for write in (
        lambda: staff_api.patch(f"{BOOKS}{book.pk}/", {"title": "B"}),
        lambda: staff_api.post(
            BOOKS, {"title": "T", "author": "A", "publication_year": 2000, "isbn": unsaved().isbn}
        ),
    ):
        with CaptureQueriesContext(connection) as queries:
            assert write().status_code < 300
        assert sum("historicalbook" in query["sql"] for query in queries) == 1


# --- Who, and through which door ---


def seen(model=Book):
    version = last(model)
    user = version.history_user and version.history_user.username
    return version.door, user, version.detail, version.batch


def test_a_change_in_the_admin_says_who(client, staff):
    book = add()
    client.force_login(staff)
    address = reverse("admin:library_book_change", args=[book.pk])
    client.post(address, filled(client.get(address)) | {"title": "New"})
    assert last().title == "New"
    assert seen() == ("admin", "staff", "", "")


def test_a_change_by_a_program_says_with_which_token(db):
    user = User.objects.create_user("sync")
    user.user_permissions.set(Permission.objects.filter(codename="delete_book"))
    token, secret = AuthToken.objects.create(user)
    client = APIClient(headers={"Authorization": f"Token {secret}"})
    assert client.delete(f"{BOOKS}{add().pk}/").status_code == 204
    assert seen() == ("api", "sync", f"{secret[:8]}…", "")
    assert len(token.token_key) > 8, "the rest of it stays a secret"
    AuthToken.objects.update(name="nightly")
    assert client.delete(f"{BOOKS}{add().pk}/").status_code == 204
    assert seen() == ("api", "sync", "nightly", "")


def test_a_registration_by_anybody_says_so(api):
    form = {"username": "ann", "email": "ann@example.org"}
    assert api.post("/api/v1/members/register/", form).status_code == 201
    assert seen(Member) == ("api", None, "", "")


def test_outside_of_requests_it_is_a_command(monkeypatch):
    monkeypatch.setattr("sys.argv", ["manage.py", "shell"])
    add()
    assert seen() == ("command", None, "shell", "")
    monkeypatch.setattr("sys.argv", ["/usr/bin/celery", "worker"])
    add()
    assert seen() == ("command", None, "", "")


def test_what_is_inside_says_how_it_is_recorded(staff):
    with recorded_as(Door.IMPORT, user=staff, detail="goodbooks.csv", batch="import-7"):
        add()
        assert seen() == ("import", "staff", "goodbooks.csv", "import-7")
        with recorded_as(Door.BULK):
            add()
            assert seen() == ("bulk", "staff", "", "")
        add()
        assert seen()[0] == "import"
    add()
    assert seen()[0] == "command"


def test_a_detail_that_is_too_long_is_cut():
    with recorded_as(Door.IMPORT, detail="x" * 300):
        add()
    assert seen()[2] == "x" * 255


def test_an_account_that_is_deleted_stays_recorded(staff):
    with recorded_as(Door.ADMIN, user=staff):
        add()
    pk = staff.pk
    staff.delete()
    assert (last().history_user_id, last().history_user) == (pk, None)


def test_of_a_batch_one_row_is_listed():
    for _ in range(2):  # such as an import that goes on after a restart
        with recorded_as(Door.IMPORT, batch="import-7"):
            Book.objects.bulk_create([unsaved(), unsaved()])
            add()
    add()
    assert list(Book.history.order_by("history_id").values_list("listed", flat=True)) == [
        *(True, False, False, False, False, False),
        True,
    ]


@pytest.mark.django_db(transaction=True)
def test_a_batch_whose_first_rows_are_rolled_back_is_still_listed():
    with recorded_as(Door.IMPORT, batch="import-7"):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            add()
            raise ZeroDivisionError
        for _ in range(2):
            add()
    assert list(Book.history.order_by("history_id").values_list("listed", flat=True)) == [
        True,
        False,
    ]


# --- Records from before history was kept ---


@pytest.mark.parametrize(
    ("app", "model", "create"),
    [
        ("library", Book, add),
        ("members", Member, lambda: Member.objects.create(username="ann", email="a@b.example")),
    ],
)
def test_records_of_before_get_their_first_version(app, model, create):
    record = create()
    model.history.all().delete()
    number = {"library": "0005", "members": "0015"}[app]
    migration = import_module(f"{app}.migrations.{number}_history_begins")
    migration.begin(None, Mock(connection=connection))
    version = model.history.get()
    assert (version.door, version.listed, version.history_type) == ("", False, "~")
    for field in model.history.model.tracked_fields:
        assert getattr(version, field.attname) == getattr(record, field.attname)
