"""Adding book after book in the admin."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from library.models import Book

from .books import SPELLINGS, THE_BOOK, add

ADD = reverse("admin:library_book_add")
CHECK = reverse("admin:library_book_check_isbn")
BOOK = {"title": "Dune", "author": "Frank & Herbert", "publication_year": 1965, "isbn": THE_BOOK}
pytestmark = pytest.mark.django_db


@pytest.fixture
def cataloguer(client):
    account = User.objects.create_user("cataloguer", is_staff=True)
    account.groups.add(Group.objects.get(name="Cataloguers"))
    client.force_login(account)
    return client


def test_the_next_book_may_keep_author_and_year(cataloguer):
    answer = cataloguer.post(ADD, BOOK | {"_addanother": "1", "keep": "on"})
    assert urlsplit(answer["Location"]).path == ADD
    form = cataloguer.get(answer["Location"]).context["adminform"].form
    initial = {name: form[name].value() for name in form.fields}
    assert initial["author"] == "Frank & Herbert"
    assert initial["publication_year"] == "1965"
    assert initial["keep"]
    assert not initial["title"] and not initial["isbn"]


@pytest.mark.parametrize("pressed", [{"_addanother": "1"}, {"keep": "on"}])
def test_nothing_is_kept_unless_asked_for(cataloguer, pressed):
    answer = cataloguer.post(ADD, BOOK | pressed)
    assert Book.objects.get().author == "Frank & Herbert"
    assert "author" not in parse_qs(urlsplit(answer["Location"]).query)


@pytest.mark.parametrize(("language", "quoted"), [("en", "“([^”]+)”"), ("ru", "«([^»]+)»")])
def test_what_is_kept_names_the_button_as_the_page_does(cataloguer, language, quoted):
    html = cataloguer.get(ADD, headers={"accept-language": language}).content.decode()
    [button] = re.findall(f"form-text[^<]*{quoted}", html)
    assert re.search(f"<button[^>]*_addanother[^>]*>{button}<", html)


def test_only_a_new_book_is_asked_what_the_next_one_keeps(cataloguer):
    change = reverse("admin:library_book_change", args=[add().pk])
    assert "keep" in cataloguer.get(ADD).context["adminform"].form.fields
    assert "keep" not in cataloguer.get(change).context["adminform"].form.fields


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_new_isbn_is_confirmed_in_its_standard_form(cataloguer, spelling):
    assert cataloguer.get(CHECK, {"isbn": spelling}).json() == {
        "ok": True,
        "text": "978-3-16-148410-0: valid, and not in the catalogue yet.",
    }


@pytest.mark.parametrize("text", ["", "abc", "3161484101", "9" * 500, "9790060115615"])
def test_a_wrong_isbn_is_explained(cataloguer, text):
    answer = cataloguer.get(CHECK, {"isbn": text}).json()
    assert not answer["ok"]
    assert answer["text"]
    assert "url" not in answer
    assert not cataloguer.get(CHECK).json()["ok"]


def test_an_isbn_of_another_book_links_to_it(cataloguer):
    book = add(isbn=THE_BOOK, title="<Dune>")
    url = reverse("admin:library_book_change", args=[book.pk])
    answer = cataloguer.get(CHECK, {"isbn": THE_BOOK, "book": ""}).json()
    assert (answer["ok"], answer["title"], answer["url"]) == (False, "<Dune>", url)
    other = add()
    assert not cataloguer.get(CHECK, {"isbn": THE_BOOK, "book": other.pk}).json()["ok"]
    assert cataloguer.get(CHECK, {"isbn": THE_BOOK, "book": book.pk}).json()["ok"]
    assert not cataloguer.get(CHECK, {"isbn": THE_BOOK, "book": "9" * 50}).json()["ok"]


def test_who_may_not_write_books_is_told_nothing(client):
    desk = User.objects.create_user("desk", is_staff=True)
    desk.groups.add(Group.objects.get(name="Membership desk"))
    client.force_login(desk)
    assert client.get(CHECK, {"isbn": THE_BOOK}).status_code == 403
    client.logout()
    assert client.get(CHECK, {"isbn": THE_BOOK}).status_code == 302


def test_the_check_is_one_question(cataloguer, django_assert_max_num_queries):
    with django_assert_max_num_queries(4):  # session, account, permissions, the book
        cataloguer.get(CHECK, {"isbn": THE_BOOK})
