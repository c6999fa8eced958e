"""The history page of a record, restoring, deleted records, and what the team did."""

import re

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_celery_results.models import TaskResult

from library.models import Book
from library.tests.books import THE_BOOK, add, index_is_right, unsaved
from members.models import Member
from project.admin import activity, history
from project.api.authentication import AuthToken
from project.base.history import Door, recorded_as

pytestmark = pytest.mark.django_db
ACTIVITY = reverse("admin:library_historicalbook_changelist")


def group_member(client, group: str) -> User:
    user = User.objects.create_user(group, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client.force_login(user)
    return user


def history_of(pk: int, model: str = "library_book") -> str:
    return reverse(f"admin:{model}_history", args=[pk])


def restore_of(version) -> str:
    return reverse("admin:library_book_restore", args=[version.id, version.pk])


def text_of(response) -> str:
    """What one reads."""
    html = response.content.decode()
    html = html[html.index('id="content-main"') :] if 'id="content-main"' in html else html
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def version(book, title):
    return Book.history.filter(id=book.pk, title=title).first()


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


# --- Restoring ---


def test_a_version_is_restored_after_a_look_at_what_changes(desk, staff):
    book = add(title="Dune", author="Herbert")
    Book.objects.update(title="Doon", publication_year=1984)
    page = desk.get(restore_of(version(book, "Dune")))
    assert "Title Doon Dune" in text_of(page)
    assert Book.objects.get().title == "Doon", "looking changes nothing"
    form = {"version": page.context["object"].version}
    response = desk.post(restore_of(version(book, "Dune")), form, follow=True)
    assert response.redirect_chain[-1][0] == history_of(book.pk)
    book = Book.objects.get()
    assert (book.title, book.publication_year) == ("Dune", 2000)
    assert index_is_right()
    newest = Book.history.first()
    assert (newest.door, newest.history_user, newest.title) == ("undo", staff, "Dune")
    entry = LogEntry.objects.get()
    assert entry.get_change_message() == "Changed Title and Publication year."


def test_a_version_is_not_restored_over_what_somebody_saves_meanwhile(desk):
    book = add(title="Dune")
    Book.objects.update(title="Doon")
    form = {"version": Book.objects.get().version}
    Book.objects.update(author="Somebody")
    response = desk.post(restore_of(version(book, "Dune")), form)
    assert response.status_code == 409
    assert "Changed after you opened this page" in text_of(response)
    assert Book.objects.get().title == "Doon"
    desk.post(restore_of(version(book, "Dune")), {"version": response.context["object"].version})
    assert Book.objects.get().title == "Dune"


def test_an_isbn_that_is_taken_meanwhile_is_said_in_words(desk):
    book = add(title="Dune", isbn=THE_BOOK)
    Book.objects.update(title="Doon", isbn=unsaved().isbn)
    other = add(title="Other", isbn=THE_BOOK)
    form = {"version": Book.objects.get(pk=book.pk).version}
    response = desk.post(restore_of(version(book, "Dune")), form)
    assert "A book with this ISBN is in the catalogue already." in text_of(response)
    assert reverse("admin:library_book_change", args=[other.pk]) in response.content.decode()
    assert Book.objects.get(pk=book.pk).title == "Doon"


def test_a_deleted_book_comes_back_as_it_was(desk):
    book = add(title="Dune", isbn=THE_BOOK)
    before = Book.objects.values("pk", "title", "author", "publication_year", "isbn", "created_at")
    before = before.get()
    desk.post(reverse("admin:library_book_delete", args=[book.pk]), {"post": "yes"})
    page = desk.get(history_of(book.pk))
    assert "This record has been deleted." in text_of(page)
    restorable = [each for each in page.context["versions"] if each.restorable]
    assert [each.history_type for each in restorable] == ["-"]
    assert "ISBN 978-3-16-148410-0" in text_of(desk.get(restore_of(restorable[0])))
    desk.post(restore_of(restorable[0]), {"version": ""})
    assert Book.objects.values(*before).get() == before
    assert index_is_right()
    assert "Restored after deletion" in text_of(desk.get(history_of(book.pk)))


def test_a_deleted_book_whose_isbn_is_taken_stays_deleted(desk):
    book = add(isbn=THE_BOOK)
    pk = book.pk
    book.delete()
    other = add(isbn=THE_BOOK)
    response = desk.post(restore_of(Book.history.filter(id=pk).first()), {"version": ""})
    assert reverse("admin:library_book_change", args=[other.pk]) in response.content.decode()
    assert Book.objects.get() == other


def test_two_who_bring_back_the_same_book_add_it_once(desk):
    book = add()
    pk = book.pk
    book.delete()
    deleted = Book.history.filter(id=pk).first()
    desk.post(restore_of(deleted), {"version": ""})
    assert desk.post(restore_of(deleted), {"version": ""}).status_code == 409
    assert Book.objects.get().pk == pk


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("method", ["get", "post"])
def test_restoring_needs_the_permission_to_write(client, deleted, method):
    book = add(title="Dune")
    pk = book.pk
    Book.objects.update(title="Doon")
    first = version(book, "Dune")
    if deleted:
        Book.objects.all().delete()
    group_member(client, "Membership desk")  # may look at books
    assert not any(each.restorable for each in client.get(history_of(pk)).context["versions"])
    assert getattr(client, method)(restore_of(first), {"version": 2}).status_code == 403


def test_a_version_of_another_record_is_not_restored(desk):
    book, other = add(title="A"), add(title="B")
    foreign = reverse("admin:library_book_restore", args=[book.pk, version(other, "B").pk])
    book = Book.objects.get(pk=book.pk)
    assert desk.post(foreign, {"version": book.version}).status_code == 404
    assert Book.objects.get(pk=book.pk).title == "A"


# --- What the team did ---


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
