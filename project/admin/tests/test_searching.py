"""The search box of every page: what it finds, for whom, and where Enter leads."""

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from library.tests.books import add
from members.models import Member

pytestmark = pytest.mark.django_db
HITS, SEARCH = reverse("admin:hits"), reverse("admin:search")
BOOKS = reverse("admin:library_book_changelist")
MEMBERS = reverse("admin:members_member_changelist")


@pytest.fixture
def staffed(client, staff):
    client.force_login(staff)
    return client


@pytest.fixture
def rows():
    Member.objects.create(username="dunedain", email="ann@example.org")
    Member.objects.create(username="bob", email="dune@example.org")
    return add(title="Dune", author="Herbert", publication_year=1965, isbn="9780340839935")


def account(client, *names: str) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(clerk)


def found(client, text: str) -> dict[str, list[str]]:
    groups = client.get(HITS, {"q": text}).json()["groups"]
    return {group["name"]: [hit["title"] for hit in group["hits"]] for group in groups}


def test_the_box_is_on_every_page(staffed):
    for page in (reverse("admin:index"), BOOKS, reverse("admin:library_book_add"), MEMBERS):
        assert f'action="{SEARCH}"' in staffed.get(page).content.decode()


def test_books_and_members_are_found_as_typed(staffed, rows):
    assert found(staffed, "dun") == {"Books": ["Dune"], "Members": ["dunedain", "bob"]}
    assert found(staffed, "Herbert") == {"Books": ["Dune"]}
    assert found(staffed, "ann@") == {"Members": ["dunedain"]}
    assert found(staffed, "9780340") == {"Books": ["Dune"]}
    for text in ("", "  ", "nothing", "9780340839936", "x" * 3000):
        assert found(staffed, text) == {}


def test_a_hit_links_to_its_page_and_its_group_to_the_list(staffed, rows):
    (group,) = staffed.get(HITS, {"q": "herbert"}).json()["groups"]
    assert group["hits"] == [
        {
            "title": "Dune",
            "detail": "Herbert · 1965",
            "url": reverse("admin:library_book_change", args=[rows.pk]),
        }
    ]
    assert group["url"] == f"{BOOKS}?q=herbert"


def test_few_hits_are_shown_of_each_kind(staffed):
    for _ in range(8):
        add(title="Dune")
    assert len(found(staffed, "dune")["Books"]) == 6


@pytest.mark.parametrize(
    ("names", "seen"),
    [
        (["view_book"], {"Books"}),
        (["view_member"], {"Members"}),
        (["change_member"], {"Members"}),
        (["add_book", "view_welcomeemail"], set()),
        ([], set()),
    ],
)
def test_only_what_the_account_may_see_is_found(client, rows, names, seen):
    account(client, *names)
    assert found(client, "dun").keys() == seen


def test_nobody_searches_without_a_login(client, rows):
    for address in (HITS, SEARCH):
        response = client.get(address, {"q": "dune"})
        assert response.status_code == 302
        assert reverse("admin:login") in response["Location"]


def test_results_are_not_kept_by_caches(staffed):
    assert "no-store" in staffed.get(HITS, {"q": "x"})["Cache-Control"]


def test_typing_costs_few_queries(staffed, rows, django_assert_max_num_queries):
    with django_assert_max_num_queries(8):  # session, account, words (2), books, members (2)
        found(staffed, "dune")


@pytest.mark.parametrize("text", ["9780340839935", "0-340-83993-7", "340839937", " 0340839937 "])
def test_an_isbn_opens_its_book(staffed, rows, text):
    response = staffed.get(SEARCH, {"q": text})
    assert response["Location"] == reverse("admin:library_book_change", args=[rows.pk])


def test_an_isbn_that_is_not_there_opens_the_form_with_it(staffed):
    response = staffed.get(SEARCH, {"q": "9780340839935"}, follow=True)
    assert response.redirect_chain[0][0].startswith(reverse("admin:library_book_add"))
    assert 'value="978-0-340-83993-5"' in response.content.decode()


def test_without_the_permission_to_add_it_opens_the_list(client):
    account(client, "view_book")
    response = client.get(SEARCH, {"q": "9780340839935"})
    assert response["Location"] == f"{BOOKS}?q=9780340839935"


def test_a_wrong_isbn_leads_to_the_list_that_says_what_is_wrong(staffed):
    page = staffed.get(SEARCH, {"q": "9780340839936"}, follow=True)
    assert "The check digit should be 5, not 6" in page.content.decode()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("dune", f"{BOOKS}?q=dune"),
        ("nothing at all", f"{BOOKS}?q=nothing+at+all"),
        ("ann@", f"{MEMBERS}?q=ann%40"),
        ("", BOOKS),
    ],
)
def test_enter_leads_to_the_list_that_has_it(staffed, rows, text, address):
    assert staffed.get(SEARCH, {"q": text})["Location"] == address


def test_who_may_see_nothing_stays_on_the_first_page(client):
    account(client)
    assert client.get(SEARCH, {"q": "dune"})["Location"] == reverse("admin:index")
