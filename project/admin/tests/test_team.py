"""The page of all that the team did: one list of books, members, accounts and mails."""

import re

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.urls import reverse

from library.models import Book
from library.tests.books import add, unsaved
from members.models import Member
from members.registration import register_member
from project.admin import team
from project.base.history import Door, recorded_as

pytestmark = pytest.mark.django_db
ACTIVITY = reverse("admin:activity")


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", first_name="Ann", last_name="Reed")


@pytest.fixture
def everything(ann) -> None:
    """A book by Ann, a member through the API, an account by Ann, in this order."""
    with recorded_as(Door.ADMIN, user=ann):
        add(title="Dune")
    with recorded_as(Door.API, detail="4711"):
        register_member(Member(username="paul", email="paul@example.org"))
    new = User.objects.create_user("new.colleague")
    LogEntry.objects.log_actions(ann.pk, [new], ADDITION, [{"added": {}}], single_object=True)


def names(client, **choice) -> list[str]:
    lines = client.get(ACTIVITY, choice).context["lines"]
    return [re.sub("<[^>]+>", "", str(line.record)) for line in lines]


def test_what_was_done_to_records_of_every_kind_is_one_list_newest_first(desk, everything):
    assert names(desk) == ["new.colleague", "paul", "Dune"]
    html = desk.get(ACTIVITY).content.decode()
    for text in ("Ann Reed", "API, token 4711"):
        assert text in html


def test_it_is_filtered_by_person_door_and_kind(desk, everything, ann):
    Book.objects.update(title="Doon")
    assert names(desk, person=ann.pk) == ["new.colleague", "Dune"]
    assert names(desk, door="api") == ["paul"]
    assert names(desk, kind="changed") == ["Doon"]
    assert names(desk, kind="added", door="admin") == ["new.colleague", "Dune"]
    assert len(names(desk, person="x", door="x", kind="x")) == 4
    assert "Title:</span> Dune → Doon" in desk.get(ACTIVITY).content.decode()


@pytest.mark.parametrize(
    ("group", "seen"),
    [("Cataloguers", ["Dune"]), ("Membership desk", ["paul", "Dune"]), ("", None)],
)
def test_each_sees_what_the_account_may_see(client, everything, group, seen):
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.groups.set(Group.objects.filter(name=group))
    client.force_login(clerk)
    assert (f'href="{ACTIVITY}"' in client.get(reverse("admin:index")).content.decode()) == bool(
        seen
    )
    if seen is None:
        assert client.get(ACTIVITY).status_code == 403
    else:
        assert names(client) == seen


def test_an_import_is_one_line_that_claims_no_single_kind(desk):
    old = add(title="Dune")
    with recorded_as(Door.IMPORT, detail="books.csv", batch="import-7"):
        Book.objects.bulk_create([unsaved() for _ in range(4)])
        Book.objects.filter(pk=old.pk).update(title="Doon")
    assert names(desk) == ["5 books", "Dune"]
    line, _ = desk.get(ACTIVITY).context["lines"]
    assert line.kind == "Imported"


def test_people_are_called_as_in_the_list(desk, ann):
    assert ">Ann Reed (ann)</option>" in desk.get(ACTIVITY).content.decode()


def test_what_names_a_reader_is_called_by_its_number(desk, staff):
    welcome = register_member(Member(username="paul", email="paul@example.org")).welcome_email
    text = [{"changed": {"fields": ["State"]}}]
    LogEntry.objects.log_actions(staff.pk, [welcome], CHANGE, text, single_object=True)
    assert names(desk, person=staff.pk) == [f"#{welcome.pk}"]


def test_a_change_of_an_account_says_what(desk, ann):
    LogEntry.objects.log_actions(
        ann.pk, [ann], CHANGE, [{"changed": {"fields": ["Groups"]}}], single_object=True
    )
    [line] = desk.get(ACTIVITY).context["lines"]
    assert "Changed Groups." in line.changes


def test_older_lines_follow_without_gap_or_repetition_whatever_their_kind(desk, monkeypatch):
    monkeypatch.setattr(team, "LINES_PER_PAGE", 3)
    for number in range(4):
        add(title=f"book {number}")
        register_member(Member(username=f"ann{number}", email=f"ann{number}@example.org"))
    found, address = [], ACTIVITY
    while address:
        page = desk.get(address)
        found += [re.sub("<[^>]+>", "", str(line.record)) for line in page.context["lines"]]
        older = page.context["older"]
        address = older and f"{ACTIVITY}?older={older}"
    assert found == [name for number in (3, 2, 1, 0) for name in (f"ann{number}", f"book {number}")]
    assert names(desk, older="nonsense") == found[:3]


def test_the_page_costs_the_same_for_many_lines(desk, django_assert_max_num_queries):
    for number in range(30):
        add()
        register_member(Member(username=f"ann{number}", email=f"ann{number}@example.org"))
    with django_assert_max_num_queries(10):
        desk.get(ACTIVITY)
