"""What holds for every list, form and card of the admin, whatever the model."""

import re
from datetime import datetime, timedelta
from html import escape
from unittest.mock import Mock
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError, OperationalError
from django.db.transaction import TransactionManagementError
from django.urls import reverse
from django.utils import timezone

from library.models import Book
from library.tests.books import add, isbn_number
from members.admin import MemberAdmin
from members.models import Member
from project.admin import filters
from project.admin.base import BaseAdmin, CappedPaginator, once_more
from project.admin.display import age, badge, bounded, moment

pytestmark = pytest.mark.django_db
INDEX = reverse("admin:index")
MEMBERS = reverse("admin:members_member_changelist")
EVIL = '<b>"&'


@pytest.fixture
def staffed(client, staff):
    client.force_login(staff)
    return client


def account(client, *names: str) -> User:
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(clerk)
    return clerk


def members(count: int) -> None:
    for number in range(count):
        Member.objects.create(username=f"ann{number}", email=f"ann{number}@example.org")


# Lists


@pytest.mark.parametrize(("rows", "number"), [(2, "2"), (3, "3"), (4, "3+")])
def test_a_count_ends_at_its_bound(monkeypatch, rows, number):
    monkeypatch.setattr(CappedPaginator, "MAX_ROWS", 3)
    members(rows)
    assert bounded(Member.objects.filter(pk__gt=0)) == number
    assert bounded(Member.objects.all()) == str(rows), "a whole table, exactly"


@pytest.mark.parametrize("lookup", ["username__regex", "username__iregex", "id__range"])
def test_an_address_filters_by_no_regular_expression_or_range(staffed, lookup):
    assert staffed.get(MEMBERS, {lookup: "("}).status_code == 400
    assert staffed.get(MEMBERS, {"username__gte": "("}).status_code == 200


def test_no_row_has_a_number_of_more_than_64_bits(staffed):
    members(1)
    page = staffed.get(MEMBERS, {"id__in": 10**20})
    assert page.status_code == 200
    assert not page.context_data["cl"].result_list


def test_lists_are_bounded():
    assert CappedPaginator.MAX_ROWS == 10_000
    assert BaseAdmin.list_per_page == 50
    assert BaseAdmin.list_max_show_all == 0, "all on one page"


@pytest.mark.parametrize(
    ("across", "rows", "done"), [("1", 3, True), ("1", 4, False), ("0", 4, True), ("", 4, True)]
)
def test_only_an_action_on_everything_is_refused_past_the_bound(
    staffed, monkeypatch, across, rows, done
):
    monkeypatch.setattr(CappedPaginator, "MAX_ROWS", 3)
    members(rows)
    chosen = Member.objects.first()
    form = {"action": "delete_selected", "select_across": across, "_selected_action": chosen.pk}
    staffed.post(MEMBERS, form | {"post": "yes"})
    assert Member.objects.filter(pk=chosen.pk).exists() is not done


def test_a_search_that_cannot_be_made_shows_a_reason_and_no_row(staffed):
    add()
    page = staffed.get(reverse("admin:library_book_changelist"), {"q": "978-0-340-83993-6"})
    assert list(page.context["cl"].result_list) == []
    assert list(map(str, page.context["messages"]))


@pytest.mark.parametrize(
    ("choice", "hours", "seen"),
    [
        ("today", 0, True),
        ("today", -1, False),
        ("7", -7 * 24, True),
        ("7", -7 * 24 - 1, False),
        ("30", -30 * 24, True),
        ("30", -30 * 24 - 1, False),
        ("365", -365 * 24, True),
        ("365", -365 * 24 - 1, False),
        ("forged", -1000 * 24, True),
    ],
)
def test_a_span_of_days_begins_at_local_midnight(
    staffed, settings, monkeypatch, choice, hours, seen
):
    settings.TIME_ZONE = "Pacific/Kiritimati"  # 14 hours before UTC
    zone = ZoneInfo(settings.TIME_ZONE)
    now = datetime(2026, 3, 10, 11, 12, tzinfo=zone)
    monkeypatch.setattr(filters.timezone, "now", lambda: now)
    book = add()
    midnight = datetime(2026, 3, 10, tzinfo=zone)
    Book.objects.filter(pk=book.pk).update(created_at=midnight + timedelta(hours=hours))
    page = staffed.get(reverse("admin:library_book_changelist"), {"added": choice})
    assert bool(list(page.context["cl"].result_list)) is seen


def test_a_filter_shows_what_is_chosen_and_the_search_what_was_typed(staffed):
    books = reverse("admin:library_book_changelist")
    html = staffed.get(books, {"added": "30", "q": EVIL}).content.decode()
    chosen = re.findall(r'<option data-name="(\w+)" value="(\w+)" selected>', html)
    assert ("added", "30") in chosen
    assert f'value="{escape(EVIL)}"' in html
    assert EVIL not in html
    assert 'maxlength="200"' in html
    form = html.partition('id="changelist-search"')[2].partition("</form>")[0]
    assert form.count('name="q"') == 1, "the search would be sent twice"


def test_an_empty_list_links_to_adding_only_for_accounts_that_may_add(client):
    account(client, "view_book")
    html = client.get(reverse("admin:library_book_changelist")).content.decode()
    assert "Nothing here yet." in html
    assert reverse("admin:library_book_add") not in html


# Formatting


def test_a_badge_escapes():
    assert badge(EVIL, EVIL) == (
        f'<span class="badge text-bg-{escape(EVIL)}">{escape(EVIL)}</span>'
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "less than a minute"), (59, "less than a minute"), (60, "1 minute"), (7300, "2 hours")],
)
def test_an_age_is_told_in_its_greatest_unit(monkeypatch, seconds, words):
    now = timezone.now()
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)
    assert age(now - timedelta(seconds=seconds)).replace("\xa0", " ") == words


def test_a_moment_is_local_and_its_absence_a_dash(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    assert "13:30" in moment(datetime(2026, 1, 31, 12, 30, tzinfo=ZoneInfo("UTC")))
    assert moment(None) == "–"


# Retry after a race


@pytest.mark.parametrize(
    "error",
    [
        IntegrityError(1062, "duplicate"),
        TransactionManagementError("broken"),
        OperationalError(1205, "lock wait"),
        OperationalError(1213, "deadlock"),
    ],
)
def test_after_another_change_of_the_same_rows_the_view_is_called_again(error):
    view = Mock(side_effect=[error, "page"])
    assert once_more(view, 1, name=2) == "page"
    assert view.call_args_list == [((1,), {"name": 2})] * 2
    view = Mock(side_effect=[error, error, "page"])
    with pytest.raises(type(error)):
        once_more(view)


@pytest.mark.parametrize("error", [OperationalError(2006), OperationalError(), ValueError()])
def test_after_other_errors_it_is_not(error):
    view = Mock(side_effect=error)
    with pytest.raises(type(error)):
        once_more(view)
    view.assert_called_once()


@pytest.mark.parametrize("page", ["changeform", "delete", "changelist"])
def test_each_page_that_writes_is_tried_once_more(staffed, monkeypatch, page):
    members(1)
    member = Member.objects.get()
    view, tries = getattr(BaseAdmin.__base__, f"{page}_view"), []

    def fail_once(*args, **kwargs):
        tries.append(1)
        if len(tries) == 1:
            raise OperationalError(1213, "deadlock")
        return view(*args, **kwargs)

    monkeypatch.setattr(BaseAdmin.__base__, f"{page}_view", fail_once)
    name = {"changeform": "change"}.get(page, page)
    args = [] if page == "changelist" else [member.pk]
    assert staffed.get(reverse(f"admin:members_member_{name}", args=args)).status_code == 200
    assert len(tries) == 2


def test_who_may_not_delete_is_told_what_is_protected(rf):
    request = rf.get("/")
    request.user = User.objects.create_user("clerk", is_staff=True)
    from django.contrib import admin

    protected = MemberAdmin(Member, admin.site).get_deleted_objects([], request)[2]
    assert protected == {"member"}


# The first page


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([], []),
        (["view_book"], ["library_book_changelist"]),
        (["view_book", "add_book"], ["library_book_changelist", "library_book_add"]),
        (["view_member"], ["members_member_changelist"]),
        (["view_member", "add_member"], ["members_member_changelist", "members_member_add"]),
    ],
)
def test_cards_show_and_offer_what_the_account_may(client, names, shown):
    account(client, *names)
    page = client.get(INDEX)
    links = [link for card in page.context["cards"] for link in (card.url, card.add_url) if link]
    assert links == [reverse(f"admin:{name}") for name in shown]
    html = page.content.decode().partition('class="row row-cols')[2]
    for name in ("library_book_add", "members_member_add"):
        assert (f'href="{reverse(f"admin:{name}")}"' in html) is (name in shown)
    assert ("Your account has no access yet" in html) is (not shown)


def test_operators_without_cards_are_not_told_that_they_see_nothing(client):
    account(client, "view_welcomeemail")
    assert "Your account has no access yet" not in client.get(INDEX).content.decode()


def test_cards_count_all_exactly_and_those_of_the_last_seven_days(staffed, monkeypatch):
    monkeypatch.setattr(CappedPaginator, "MAX_ROWS", 3)
    now = timezone.now()
    for number, hours in enumerate([1, 7 * 24 - 1, 7 * 24 + 1, 800]):
        then = now - timedelta(hours=hours)
        book = add(isbn=isbn_number(number))
        Book.objects.filter(pk=book.pk).update(created_at=then)
        member = Member.objects.create(username=f"ann{number}", email=f"{number}@example.org")
        Member.objects.filter(pk=member.pk).update(registered_at=then)
    books, people = staffed.get(INDEX).context["cards"]
    assert (books.number, books.note) == ("4", "2 added in the last 7 days")
    assert (people.number, people.note) == ("4", "2 registered in the last 7 days")


def test_the_menu_keeps_its_order(staffed):
    page = staffed.get(INDEX)
    listed = [
        (group["app_label"], [model["object_name"] for model in group["models"]])
        for group in page.context["available_apps"]
    ]
    assert listed == [
        ("catalogue", ["Book", "Import", "BulkChange", "HistoricalBook"]),
        ("membership", ["Member", "MemberImport", "HistoricalMember"]),
        ("operations", ["WelcomeEmail", "TaskResult"]),
        ("administration", ["User", "Group", "AuthToken"]),
    ]


def test_the_page_of_one_app_shows_its_models(staffed):
    page = staffed.get(reverse("admin:app_list", args=["auth"]), follow=True)
    models = page.context["section"]["models"]
    assert [model["object_name"] for model in models] == ["User", "Group", "AuthToken"]
