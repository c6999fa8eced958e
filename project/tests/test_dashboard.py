"""The first page for each: what the team changed, what waits, what to do first."""

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils.html import escape

from library.models import Book, Import
from library.tests.books import add, unsaved
from members.models import Dispatch, Member, WelcomeEmail
from members.registration import register_member
from project.admin.lists import CappedPaginator
from project.base.history import Door, recorded_as
from project.jobs.models import State

INDEX = reverse("admin:index")
IMPORTS = reverse("admin:library_import_changelist")
EVIL = '<b>"&'
pytestmark = pytest.mark.django_db


def member_of(client, *groups: str) -> User:
    account = User.objects.create_user("anna", first_name="Anna", last_name="Reed", is_staff=True)
    account.groups.set(Group.objects.filter(name__in=groups))
    client.force_login(account)
    return account


def log(page) -> str:
    return page.content.decode().partition('id="recent"')[2].partition("</section>")[0]


def test_the_whole_teams_changes_are_shown_newest_first_with_who_and_how(client):
    member_of(client, "Cataloguers")
    other = User.objects.create_user("boris")
    with recorded_as(Door.API, user=other, detail="4711"):
        add(title="First")
    with recorded_as(Door.ADMIN, user=other):
        book = add(title=EVIL)
        book.author = "Another"
        book.save()
    page = client.get(INDEX)
    told = [(str(row.event), row.who, row.way) for row in page.context["recent"]]
    assert told == [
        ("Changed", "boris", "Admin"),
        ("Added", "boris", "Admin"),
        ("Added", "boris", "API, token 4711"),
    ]
    assert escape(EVIL) in log(page)
    assert EVIL not in log(page)
    assert reverse("admin:library_book_history", args=[book.pk]) in log(page)


def test_a_batch_is_one_line_that_opens_its_records(client):
    member_of(client, "Cataloguers")
    with recorded_as(Door.IMPORT, detail="books.csv", batch="import-1"):
        Book.objects.bulk_create([unsaved() for _ in range(3)])
    [row] = client.get(INDEX).context["recent"]
    assert row.number == "3 books"
    assert "batch=import-1" in row.link


@pytest.mark.parametrize(
    ("group", "shown"),
    [
        ("Cataloguers", ["Dune"]),
        ("Membership desk", ["ann", "Dune"]),
        ("Operators", ["ann", "Dune"]),
    ],
)
def test_each_sees_changes_of_what_he_may_view(client, group, shown):
    member_of(client, group)
    add(title="Dune")
    register_member(Member(username="ann", email="ann@example.org"))
    page = client.get(INDEX)
    found = [name for name in ("ann", "Dune") if f">{name}<" in log(page)]
    may = {"ann": "members.view_member", "Dune": "library.view_book"}
    account = User.objects.get()
    assert found == [name for name in shown if account.has_perm(may[name])]


def test_without_records_to_view_there_are_no_changes(client):
    member_of(client)
    page = client.get(INDEX)
    assert page.context["recent"] is None
    assert "Recent changes" not in page.content.decode()


def test_only_the_latest_eight_are_shown(client):
    member_of(client, "Cataloguers")
    for _ in range(10):
        add()
    assert len(client.get(INDEX).context["recent"]) == 8


# --- Imports and what waits ---


def test_the_last_imports_say_what_they_did_and_what_waits(client):
    account = member_of(client, "Cataloguers")
    for number in range(6):
        Import.objects.create(name=f"{number}.csv", kind="csv", state=State.DONE, user=account)
    found = {"new": 1, "changed": 0, "same": 0, "refused": 1200}
    Import.objects.create(
        name=EVIL, kind="csv", state=State.EXAMINED, found=found, written={"new": 1, "changed": 0}
    )
    page = client.get(INDEX)
    assert [job.name for job, badge in page.context["imports"]] == [
        EVIL,
        *["5.csv", "4.csv", "3.csv", "2.csv"],
    ]
    html = page.content.decode()
    assert "1,200 rows to correct" in html
    assert EVIL not in html
    assert page.context["waiting"] == [("1 import to confirm", f"{IMPORTS}?state=examined")]


def test_an_import_that_would_change_nothing_waits_for_nobody(client):
    member_of(client, "Cataloguers")
    found = {"new": 0, "changed": 0, "same": 7, "refused": 0}
    Import.objects.create(name="same.csv", kind="csv", state=State.EXAMINED, found=found)
    assert client.get(INDEX).context["waiting"] == []


def test_who_may_not_import_is_told_of_no_import(client):
    member_of(client, "Membership desk")
    Import.objects.create(name="books.csv", kind="csv", state=State.EXAMINED)
    page = client.get(INDEX)
    assert not page.context["imports"]
    assert not page.context["waiting"]


@pytest.mark.parametrize(("required", "told"), [(True, []), (False, ["Books without ISBN: 1"])])
def test_books_without_isbn_wait_where_a_library_keeps_them(client, settings, required, told):
    settings.REQUIRE_ISBN = required
    member_of(client, "Cataloguers")
    add(isbn=None)
    add()
    waiting = client.get(INDEX).context["waiting"]
    assert [text for text, url in waiting] == told
    for _, url in waiting:
        assert client.get(url).context["cl"].result_count == 1


# --- An empty library ---


def test_an_empty_library_says_what_to_do_first(client):
    member_of(client, "Cataloguers")
    html = client.get(INDEX).content.decode()
    start = html.partition("The catalogue is empty")[2]
    assert f'href="{reverse("admin:library_import_add")}"' in start
    assert f'href="{reverse("admin:library_book_add")}"' in start
    add()
    assert "The catalogue is empty" not in client.get(INDEX).content.decode()


def test_who_may_not_add_books_is_not_told_to(client):
    member_of(client, "Membership desk")
    assert "The catalogue is empty" not in client.get(INDEX).content.decode()


def test_the_whole_catalogue_is_counted_exactly_and_a_part_as_far_as_lists_are(client, monkeypatch):
    monkeypatch.setattr(CappedPaginator, "MAX_ROWS", 2)
    member_of(client, "Cataloguers")
    for _ in range(3):
        add()
    (card,) = client.get(INDEX).context["cards"]
    assert (card.number, card.note) == ("3", "2+ added in the last 7 days")


def test_the_page_costs_the_same_for_many_changes(client, django_assert_max_num_queries):
    member_of(client, "Cataloguers")
    for number in range(30):
        add()
        Import.objects.create(name=f"{number}.csv", kind="csv", state=State.DONE)
    client.get(INDEX)
    with django_assert_max_num_queries(10):
        client.get(INDEX)


@pytest.mark.parametrize("paused", [True, False])
def test_what_is_wrong_with_sending_comes_before_the_catalogue_and_the_rest_after_it(
    client, staff, paused
):
    client.force_login(staff)
    Dispatch.objects.current()
    for part in ("beat", "worker"):
        Dispatch.objects.heartbeat(part)
    if paused:
        Dispatch.objects.pause("The server moves", Dispatch.OPERATOR)
    html = client.get(INDEX).content.decode()
    assert (html.index('id="sending"') < html.index('id="recent"')) is paused
    assert html.count('id="sending"') == 1


def test_mails_that_failed_are_told_before_the_charts(client):
    member_of(client, "Operators")
    assert "Welcome e-mails that failed" not in client.get(INDEX).content.decode()
    register_member(Member(username="ann", email="ann@example.org"))
    WelcomeEmail.objects.update(state="failed")
    page = client.get(INDEX).content.decode()
    link = f'href="{reverse("admin:members_welcomeemail_changelist")}?state=failed"'
    assert "Welcome e-mails that failed: 1" in page
    assert page.index(link) < page.index(">Recent changes<")
