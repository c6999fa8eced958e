"""The history page of a record."""

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_celery_results.models import TaskResult

from library.models import Book
from library.tests.books import THE_BOOK, add
from members.models import Member
from project.admin import history
from project.api.authentication import AuthToken
from project.base.history import Door, recorded_as

from .history_pages import ACTIVITY, group_member, history_of, text_of

pytestmark = pytest.mark.django_db


# --- The page of one record ---


def test_it_tells_who_changed_what_through_which_door_newest_first(desk, staff):
    with recorded_as(Door.IMPORT, user=staff, detail="goodbooks.csv", batch="import-7"):
        book = add(title="Dune", isbn=THE_BOOK)
    with recorded_as(Door.API, user=User.objects.create_user("sync"), detail="abcdefgh"):
        Book.objects.filter(pk=book.pk).update(title="Dune Messiah")
    text = text_of(desk.get(history_of(book.pk)))
    assert "sync · API, token abcdefgh" in text
    assert "staff · Import goodbooks.csv" in text
    assert "Title Dune Dune Messiah" in text, "old, then new"
    assert "ISBN 978-3-16-148410-0" in text
    assert text.index("Changed") < text.index("Added")
    assert text.count("Some Author") == 1, "only what changed"


def test_a_change_after_recording_began_shows_old_and_new(desk):
    book = add(title="Dune")
    Book.history.update(door="", history_type="~", listed=False)
    Book.objects.update(title="Dune Messiah")
    text = text_of(desk.get(history_of(book.pk)))
    assert "Title Dune Dune Messiah" in text
    assert "Recording began; earlier changes are not known" in text


def test_a_long_history_has_pages(desk, monkeypatch):
    monkeypatch.setattr(history, "VERSIONS_PER_PAGE", 2)
    book = add(title="T0")
    for number in range(1, 5):
        Book.objects.update(title=f"T{number}")
    address, found = history_of(book.pk), []
    while address:
        page = desk.get(address)
        for shown in page.context["versions"]:
            found += [
                (change.old, change.new) for change in shown.changes if change.label == "Title"
            ]
        older = page.context["older"]
        address = older and f"{history_of(book.pk)}?before={older}"
    assert found == [("T3", "T4"), ("T2", "T3"), ("T1", "T2"), ("T0", "T1"), ("", "T0")]


def test_a_record_without_history_says_so(desk):
    book = add()
    Book.history.all().delete()
    assert "No change has been recorded yet" in text_of(desk.get(history_of(book.pk)))


@pytest.mark.parametrize("pk", ["999", "x", "0", pytest.param("9" * 5000, id="huge")])
def test_a_record_that_never_was_has_no_page(desk, pk):
    address = reverse("admin:library_book_history", args=[pk])
    assert desk.get(address).headers["Location"] == reverse("admin:library_book_changelist")


@pytest.mark.parametrize("before", ["1", "x", "-1", "9" * 30, pytest.param("9" * 5000, id="huge")])
def test_any_address_of_a_page_works(desk, before):
    book = add()
    pk = book.pk
    for _ in range(2):
        assert desk.get(history_of(pk), {"before": before}).status_code == 200
        Book.objects.all().delete()
    assert (
        desk.get(ACTIVITY, {"person": before, "batch": before, "kind": before}).status_code == 200
    )


def test_it_needs_the_permission_to_view_the_record(client):
    book, member = add(), Member.objects.create(username="ann", email="ann@example.org")
    group_member(client, "Cataloguers")
    assert client.get(history_of(book.pk)).status_code == 200
    assert client.get(history_of(member.pk, "members_member")).status_code == 403
    book.delete()
    User.objects.get().groups.clear()
    assert client.get(history_of(1)).status_code == 403


def test_the_page_costs_the_same_for_any_number_of_versions(desk):
    book, counts = add(title="T"), []
    for _ in range(2):
        for number in range(10):
            Book.objects.update(title=f"T{number}{len(counts)}")
        with CaptureQueriesContext(connection) as queries:
            desk.get(history_of(book.pk))
        counts.append(len(queries))
    assert counts[0] == counts[1]


# --- Other records ---


def test_the_history_of_an_account_is_readable(desk, staff):
    group = Group.objects.create(name="Readers")
    for message in ('[{"changed": {"fields": ["Name"]}}]', "[]"):
        LogEntry.objects.create(
            user=staff,
            content_type=ContentType.objects.get_for_model(Group),
            object_id=group.pk,
            object_repr="Readers",
            action_flag=CHANGE,
            change_message=message,
        )
    text = text_of(desk.get(reverse("admin:auth_group_history", args=[group.pk])))
    assert "Changed Name." in text
    assert "[]" not in text
    assert "doesn't have a change history" not in text


def test_an_account_without_entries_says_so(desk):
    group = Group.objects.create(name="Readers")
    text = text_of(desk.get(reverse("admin:auth_group_history", args=[group.pk])))
    assert "Nothing has been recorded yet." in text


def test_what_nobody_edits_offers_no_history(desk, staff):
    AuthToken.objects.create(staff)
    token = AuthToken.objects.get()
    book, result = add(), TaskResult.objects.create(task_id="t-1")
    pages = {
        reverse("admin:django_celery_results_taskresult_change", args=[result.pk]): False,
        reverse("admin:project_authtoken_change", args=[token.pk]): False,
        reverse("admin:library_book_change", args=[book.pk]): True,
    }
    for page, offered in pages.items():
        assert ("/history/" in desk.get(page).content.decode()) is offered
