"""Every row of a list can be reached, at the same cost, and is counted."""

import re
from unittest.mock import patch
from urllib.parse import parse_qs

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import strip_tags
from django.utils.timezone import localdate, localtime
from django_celery_results.models import TaskResult

from library.models import Book
from library.tests.books import add
from members.models import Member, WelcomeEmail
from members.registration import register_member
from project.admin import lists
from project.admin.lists import CappedPaginator
from project.api.authentication import AuthToken

pytestmark = pytest.mark.django_db
BOOKS = reverse("admin:library_book_changelist")
MEMBERS = reverse("admin:members_member_changelist")
TOKENS = reverse("admin:project_authtoken_changelist")


@pytest.fixture
def staffed(client, staff, monkeypatch):
    monkeypatch.setattr(lists, "PAGE_SIZES", (2, 3))
    cache.clear()
    client.force_login(staff)
    return client


def members(count: int) -> None:
    for number in range(count):
        Member.objects.create(username=f"ann{number}", email=f"ann{number}@example.org")


def walk(client, address: str, query: str, link: str) -> tuple[list[list[int]], list[str]]:
    """The ids on all pages that this link leads to, and what each says about itself."""
    pages, texts = [], []
    while query:
        found = client.get(address + query).context["cl"]
        pages.append([row.pk for row in found.result_list])
        texts.append(found.shown)
        query = getattr(found, link)
        assert len(pages) < 10, "walks in a circle"
    return pages, texts


@pytest.mark.parametrize("order", ["o=1", "o=-1", "o=2.-3", "o=-3.4", "q=same", "q=same&o=-1", ""])
def test_next_and_previous_reach_every_row_once_ties_included(staffed, order):
    for number in range(7):
        add(title="Same", author="AB"[number % 2], publication_year=2000 + number % 3)
    first = f"?{order}&size=2"
    whole = [row.pk for row in staffed.get(f"{BOOKS}?{order}").context["cl"].result_list]
    there, _ = walk(staffed, BOOKS, first, "next_link")
    assert [pk for page in there for pk in page] == whole
    last = staffed.get(BOOKS + staffed.get(BOOKS + first).context["cl"].last_link).context["cl"]
    assert [row.pk for row in last.result_list] == whole[-2:]
    back, _ = walk(staffed, BOOKS, last.previous_link, "previous_link")
    assert [pk for page in reversed(back) for pk in page] == whole[:-2]
    assert BOOKS + last.first_link != BOOKS + last.previous_link
    assert [r.pk for r in staffed.get(BOOKS + last.first_link).context["cl"].result_list] == whole[
        :2
    ]


def test_each_page_says_where_it_is(staffed):
    members(5)
    _, there = walk(staffed, MEMBERS, "?size=2", "next_link")
    assert there == ["1–2 of 5 members", "3–4 of 5 members", "5–5 of 5 members"]
    last = staffed.get(MEMBERS + "?size=2").context["cl"].last_link
    _, back = walk(staffed, MEMBERS, last, "previous_link")
    assert back == ["4–5 of 5 members", "2–3 of 5 members", "1–1 of 5 members"]


def test_where_nobody_counted_a_page_says_only_how_many_there_are(staffed, monkeypatch):
    monkeypatch.setattr(CappedPaginator, "MAX_ROWS", 3)
    members(6)
    search = "?q=ann&size=2"
    last = staffed.get(MEMBERS + search).context["cl"].last_link
    _, texts = walk(staffed, MEMBERS, last, "previous_link")
    assert texts == ["3+ members", "3+ members", "1–2 of 3+ members"]


@pytest.mark.parametrize("order", ["4", "-4"])
def test_rows_without_a_value_are_reached_too(staffed, order):
    for number in range(5):
        member = Member(username=f"ann{number}", email=f"ann{number}@example.org")
        register_member(member) if number % 2 else member.save()
    whole = [r.pk for r in staffed.get(f"{MEMBERS}?o={order}").context["cl"].result_list]
    there, _ = walk(staffed, MEMBERS, f"?o={order}&size=2", "next_link")
    assert [pk for page in there for pk in page] == whole
    last = staffed.get(f"{MEMBERS}?o={order}&size=2").context["cl"].last_link
    back, _ = walk(staffed, MEMBERS, last, "previous_link")
    assert [pk for page in reversed(back) for pk in page] == whole


def test_a_list_with_another_key_than_id_is_paged(staffed, staff):
    for _ in range(3):
        AuthToken.objects.create(staff)
    for order in ("", "&o=2", "&o=4", "&o=-4"):
        pages, _ = walk(staffed, TOKENS, f"?size=2{order}", "next_link")
        assert [len(page) for page in pages] == [2, 1]
        assert len({pk for page in pages for pk in page}) == 3


def test_the_first_page_begins_at_one_whatever_was_deleted_before_it(staffed):
    members(6)
    second = staffed.get(MEMBERS + staffed.get(MEMBERS + "?size=2").context["cl"].next_link)
    third = staffed.get(MEMBERS + second.context["cl"].next_link).context["cl"]
    Member.objects.filter(username__in=["ann0", "ann1", "ann2"]).delete()
    assert staffed.get(MEMBERS + third.previous_link).context["cl"].shown == "1–1 of 3 members"


def test_a_cursor_counts_at_any_size_of_the_page(staffed):
    members(5)
    following = staffed.get(f"{MEMBERS}?size=2").context["cl"].next_link
    page = staffed.get(MEMBERS + following.replace("size=2", "size=3")).context["cl"]
    assert page.shown == "3–5 of 5 members"


@pytest.mark.parametrize("cursor", ["abc", "other order", "other list"])
def test_a_cursor_of_another_list_leads_to_the_first_page(staffed, cursor):
    members(3)
    for _ in range(3):
        add()
    given = {
        "other order": staffed.get(f"{MEMBERS}?o=-1&size=2").context["cl"].next_link,
        "other list": staffed.get(f"{BOOKS}?size=2").context["cl"].next_link,
    }.get(cursor, "?cursor=abc")
    value = parse_qs(given[1:])["cursor"][0]
    page = staffed.get(MEMBERS, {"cursor": value, "size": "2"}).context["cl"]
    assert page.shown == "1–2 of 3 members"


def test_the_last_row_may_go_while_somebody_pages(staffed):
    members(3)
    following = staffed.get(f"{MEMBERS}?size=2").context["cl"].next_link
    Member.objects.get(username="ann2").delete()
    page = staffed.get(MEMBERS + following)
    assert page.status_code == 200
    assert list(page.context["cl"].result_list) == []


@pytest.mark.parametrize(("size", "rows"), [("2", 2), ("3", 3), ("4", 5), ("x", 5), ("", 5)])
def test_only_the_offered_sizes_are_taken(staffed, size, rows):
    members(5)
    page = staffed.get(MEMBERS, {"size": size})
    assert len(page.context["cl"].result_list) == rows


def test_the_size_is_remembered_for_every_list_until_another_is_chosen(staffed):
    members(5)
    for query, rows in (("?size=2", 2), ("", 2), ("?size=x", 2), ("?size=3", 3), ("?q=ann", 3)):
        assert len(staffed.get(MEMBERS + query).context["cl"].result_list) == rows, query
    assert staffed.get(BOOKS).context["cl"].list_per_page == 3


def test_the_size_stays_in_links_and_the_place_does_not(staffed):
    members(5)
    following = staffed.get(f"{MEMBERS}?size=2&q=ann").context["cl"].next_link
    page = staffed.get(MEMBERS + following)
    html = page.content.decode()
    sorting = re.findall(r'<th scope="col"[^>]*>\s*<a href="([^"]*)"', html)
    assert sorting
    for link in sorting:
        assert "size=2" in link
        assert "cursor" not in link
    form = html.partition('id="changelist-search"')[2].partition("</form>")[0]
    assert 'name="size" value="2"' in form
    assert 'name="cursor"' not in form


def test_sizes_are_25_to_200():
    assert lists.PAGE_SIZES == (25, 50, 100, 200)


def test_an_action_reaches_rows_of_a_later_page(staffed):
    members(5)
    following = staffed.get(f"{MEMBERS}?size=2").context["cl"].next_link
    shown = staffed.get(MEMBERS + following).context["cl"].result_list
    staffed.post(
        MEMBERS + following,
        {
            "action": "delete_selected",
            "_selected_action": [row.pk for row in shown],
            "post": "yes",
        },
    )
    assert not Member.objects.filter(pk__in=[row.pk for row in shown]).exists()
    assert Member.objects.count() == 3


@pytest.mark.parametrize("key", ["abc", "", "\0", "9" * 30])
def test_what_is_no_key_of_a_row_is_a_bad_request(staffed, key):
    staffed.raise_request_exception = False
    response = staffed.post(BOOKS, {"action": "delete_selected", "_selected_action": key})
    assert response.status_code == 400


@pytest.mark.parametrize(("rows", "offered"), [(3, True), (4, False)])
def test_all_rows_are_offered_to_actions_only_where_they_are_taken(
    staffed, monkeypatch, rows, offered
):
    monkeypatch.setattr(CappedPaginator, "MAX_ROWS", 3)
    members(rows)
    page = staffed.get(f"{MEMBERS}?size=2")
    assert ('class="question' in page.content.decode()) is offered
    form = {"action": "delete_selected", "select_across": "1", "post": "yes"}
    form["_selected_action"] = [row.pk for row in page.context["cl"].result_list]
    staffed.post(f"{MEMBERS}?size=2", form)
    assert Member.objects.exists() is not offered


def test_as_many_rows_as_a_list_counts_are_deleted_after_the_question(staffed, settings):
    assert settings.DATA_UPLOAD_MAX_NUMBER_FIELDS >= CappedPaginator.MAX_ROWS + 20
    count = 1_001  # more than Django takes by default
    Member.objects.bulk_create(
        Member(username=f"ann{number}", email=f"ann{number}@example.org") for number in range(count)
    )
    form = {"action": "delete_selected", "select_across": "1", "_selected_action": ["1"]}
    question = staffed.post(MEMBERS, form).content.decode()
    asked = re.findall(r'name="_selected_action" value="(\d+)"', question)
    assert len(asked) == count
    form = {"action": "delete_selected", "post": "yes", "_selected_action": asked}
    assert staffed.post(MEMBERS, form).status_code == 302
    assert not Member.objects.exists()


# Counting


def test_a_large_table_is_counted_exactly_and_seldom(staffed, monkeypatch):
    monkeypatch.setattr(CappedPaginator, "MAX_ROWS", 3)
    members(5)
    assert staffed.get(MEMBERS).context["cl"].counted == "5 members"
    Member.objects.create(username="new", email="new@example.org")
    with CaptureQueriesContext(connection) as queries:
        assert staffed.get(MEMBERS).context["cl"].counted == "6 members"
    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    assert counts
    assert all("LIMIT" in sql for sql in counts)
    Member.objects.filter(username="new").delete()
    assert staffed.get(MEMBERS, {"q": "ann"}).context["cl"].counted == "3+ members"
    cache.clear()
    assert staffed.get(MEMBERS).context["cl"].counted == "5 members"
    kept = Member.objects.order_by("pk")[:2].values_list("pk", flat=True)
    Member.objects.exclude(pk__in=list(kept)).delete()
    assert staffed.get(MEMBERS).context["cl"].counted == "2 members", "it is no longer large"


def test_a_large_table_is_listed_without_the_cache(staffed, monkeypatch):
    monkeypatch.setattr(CappedPaginator, "MAX_ROWS", 3)
    members(5)
    with patch.object(cache, "get", side_effect=ConnectionError):
        assert staffed.get(MEMBERS).context["cl"].counted == "5 members"


def test_what_the_address_alone_leaves_out_is_not_counted(staffed, monkeypatch):
    monkeypatch.setattr(CappedPaginator, "MAX_ROWS", 2)
    for year in (1999, 2000, 2001, 2002):
        add(publication_year=year)
    assert staffed.get(BOOKS, {"publication_year__gte": 2000}).context["cl"].counted == "2+ books"


def test_tokens_of_others_are_not_counted(staffed, monkeypatch, django_user_model):
    from django.contrib.auth.models import Permission

    monkeypatch.setattr(CappedPaginator, "MAX_ROWS", 1)
    clerk = django_user_model.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_authtoken"))
    for owner in (clerk, clerk, django_user_model.objects.create_user("other")):
        AuthToken.objects.create(owner)
    staffed.force_login(clerk)
    assert staffed.get(TOKENS).context["cl"].counted.startswith("1+ ")


@pytest.mark.parametrize(
    ("language", "rows", "words"),
    [
        ("en", 1, "1 member"),
        ("en", 2, "2 members"),
        ("ru", 1, "1 читатель"),
        ("ru", 3, "3 читателя"),
        ("ru", 5, "5 читателей"),
    ],
)
def test_a_list_says_its_number_of_rows_in_the_reader_s_grammar(staffed, language, rows, words):
    members(rows)
    staffed.cookies["django_language"] = language
    html = staffed.get(MEMBERS).content.decode()
    status = re.search(r'class="desk-count" role="status">(.*?)<', html)
    assert status
    assert strip_tags(status[1]).replace("\xa0", " ") == words


@pytest.mark.parametrize("link", ["", "next_link", "last_link"])
def test_every_page_costs_the_same(staffed, link, django_assert_max_num_queries):
    for number in range(5):
        add(title=f"T{number}")
    query = "?size=2"
    first = staffed.get(BOOKS + query).context["cl"]  # the size is remembered
    if link:
        query = getattr(first, link)
    with django_assert_max_num_queries(4):  # session, account, count, rows
        staffed.get(BOOKS + query)
    assert Book.objects.count() == 5


@pytest.mark.parametrize("model", [Book, Member, WelcomeEmail, TaskResult])
def test_an_endless_list_sorts_only_as_an_index_does(staffed, model):
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    columns = staffed.get(address).context["cl"]
    numbers = [columns.list_display.index(name) for name in columns.sortable_by]
    with connection.cursor() as cursor:
        indexes = connection.introspection.get_constraints(cursor, model._meta.db_table).values()
    for number in [*numbers, *(-number for number in numbers)]:
        rows = staffed.get(f"{address}?o={number}").context["cl"].queryset
        ordering = [str(key) for key in rows.query.order_by]
        keys = [key.lstrip("-") for key in ordering if key.lstrip("-") != "pk"]
        assert any(index["columns"][: len(keys)] == keys for index in indexes), ordering
        assert len({key[0] == "-" for key in ordering}) == 1, ordering


def test_a_row_names_what_says_nothing_alone_and_marks_what_is_empty(staffed, staff):
    AuthToken.objects.create(staff)
    page = staffed.get(TOKENS).content.decode()
    assert re.search(r'<td data-label="Expires" class="field-ends">\d', page)
    assert '<td data-empty class="field-used">–</td>' in page
    assert 'data-label="Account"' not in page


def test_a_row_links_to_its_page_with_the_filters_to_come_back_to(staffed):
    book = add(title="A & <b>")
    page = staffed.get(f"{BOOKS}?years_from=1900&q=a").content.decode()
    change = reverse("admin:library_book_change", args=[book.pk])
    address = f"{change}?_changelist_filters=years_from%3D1900%26q%3Da"
    assert f'<th class="field-title"><a href="{address}">A &amp; &lt;b&gt;</a></th>' in page


def test_a_cell_writes_numbers_and_times_as_the_language_does(staffed):
    member = Member.objects.create(username="ann", email="ann@example.org")
    shown = date_format(localtime(member.registered_at), "DATETIME_FORMAT")
    page = staffed.get(MEMBERS).content.decode()
    cell = '<td data-label="Registered" class="field-registered_at nowrap">'
    assert f"{cell}{shown}</td>" in page
    add(publication_year=2001)
    page = staffed.get(BOOKS).content.decode()
    assert '<td class="field-year">2001</td>' in page
    added = date_format(localdate())
    assert f'<td data-label="Added" class="field-added nowrap">{added}</td>' in page


def test_the_actions_begin_with_words(staffed):
    add()
    assert "Choose an action" in staffed.get(BOOKS).content.decode()
