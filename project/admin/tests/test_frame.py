"""What frames each page: one heading, the way to it by the menu's groups, and what a deletion says."""

import html
import json
import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.urls import reverse
from django.utils import translation
from django_celery_results.models import TaskResult

from library.models import Book, BulkChange, Import
from library.tests.books import add
from members.mail.tasks import SENT, SKIPPED
from members.models import Member, MemberImport, WelcomeEmail
from members.registration import register_member
from project.admin.phrases import counted, grouped
from project.admin.site import MENU, group_of
from project.api.authentication import AuthToken

pytestmark = pytest.mark.django_db


@pytest.fixture
def book() -> Book:
    return Book.objects.create(
        title="dune & co", author="Herbert", publication_year=1965, isbn="9780340839935"
    )


@pytest.fixture
def member() -> Member:
    return register_member(Member(username="ann", email="ann@example.org"))


def text(response) -> str:
    plain = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", response.content.decode(), flags=re.S)
    return " ".join(html.unescape(plain).split())


def headings(response) -> list[str]:
    found = re.findall(r"<h1[^>]*>(.*?)</h1>", response.content.decode(), re.S)
    return [html.unescape(heading.strip()) for heading in found]


def crumbs(response) -> list[str]:
    found = re.findall(r"breadcrumb-item[^>]*>(?:<a [^>]*>)?([^<]*)", response.content.decode())
    return [html.unescape(crumb) for crumb in found]


def test_a_list_is_headed_by_its_name_and_what_its_address_shows_else_by_that(desk, book):
    books, activity = (
        reverse(f"admin:library_{name}_changelist") for name in ("book", "historicalbook")
    )
    page = desk.get(books)
    assert headings(page) == ["Books"]
    assert crumbs(page) == ["Dashboard", "Catalogue", "Books"]
    asked = desk.post(books, {"action": "change_year", "_selected_action": [book.pk]})
    assert headings(asked) == ["Change the publication year"]
    assert crumbs(asked) == ["Dashboard", "Catalogue", "Books", "Change the publication year"]
    assert f'<a href="{books}">Books</a>' in asked.content.decode()
    gone = desk.get(activity, {"kind": "gone"})
    assert headings(gone) == ["Deleted books"]
    assert crumbs(gone) == ["Dashboard", "Catalogue", "Changes to books", "Deleted books"]


def test_a_change_page_is_headed_by_its_record_as_it_is_written(desk, book):
    page = desk.get(reverse("admin:library_book_change", args=[book.pk]))
    assert headings(page) == ["dune & co"]
    assert crumbs(page) == ["Dashboard", "Catalogue", "Books", "dune & co"]


@pytest.mark.parametrize("model", sorted(admin.site._registry, key=lambda m: m._meta.label))
def test_each_page_has_one_heading_and_its_way(desk, book, member, staff, model):
    AuthToken.objects.create(staff)
    TaskResult.objects.create(task_id="t", status="SUCCESS")
    Group.objects.get_or_create(name="Operators")
    Import.objects.create(name="books.csv", kind="csv")
    MemberImport.objects.create(name="members.csv", kind="csv")
    BulkChange.objects.create(kind="delete", packed_ids=BulkChange.pack([1]), state="done")
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    row = model._default_manager.first()
    pages = [reverse(f"{name}_changelist"), reverse(f"{name}_change", args=[row.pk])]
    for page in map(desk.get, pages):
        assert len(headings(page)) == 1
        assert crumbs(page)[:2] == ["Dashboard", str(group_of(model.__name__)[1])]


@pytest.mark.parametrize("slug", MENU)
def test_each_group_of_the_menu_has_a_page_with_its_lists(desk, slug):
    page = desk.get(reverse("admin:section", args=[slug]))
    assert headings(page) == [str(MENU[slug][0])]
    assert [model["object_name"] for model in page.context["section"]["models"]] == MENU[slug][1]
    assert "no access yet" not in text(page)


def test_a_group_of_which_one_may_see_nothing_is_not_found(client):
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.groups.add(Group.objects.get(name="Cataloguers"))
    client.force_login(clerk)
    assert client.get(reverse("admin:section", args=["catalogue"])).status_code == 200
    assert client.get(reverse("admin:section", args=["administration"])).status_code == 404
    assert client.get(reverse("admin:app_list", args=["auth"])).status_code == 404


def test_the_page_that_asks_says_which_book_would_go(desk, book):
    page = desk.get(reverse("admin:library_book_delete", args=[book.pk]))
    assert headings(page) == ["Delete this book?"]
    for words in ("Herbert", "1965", book.hyphenated_isbn, "restore it from the history"):
        assert words in text(page)
    buttons = re.findall(r'class="btn (btn-[\w-]+)"[^>]*>\s*(Delete|Cancel)', page.content.decode())
    assert buttons == [("btn-danger", "Delete"), ("btn-outline-secondary", "Cancel")]


def test_erasing_a_member_says_what_goes_and_what_stays(desk, member):
    change = desk.get(reverse("admin:members_member_change", args=[member.pk]))
    assert re.findall(r">(Erase|Delete)<", change.content.decode()) == ["Erase"]
    page = desk.get(reverse("admin:members_member_delete", args=[member.pk]))
    assert headings(page) == ["Erase this member?"]
    assert re.findall(r">(Erase|Delete)<", page.content.decode()) == ["Erase"]
    for words in (
        f"ann@example.org · #{member.pk}",
        "Erased for good: username, e-mail address, welcome e-mail with its timeline, and history.",
        "What stays names nobody: the fact that a member with this number was erased, when and by whom",
    ):
        assert words in text(page)


def test_of_many_rows_some_are_named_and_all_are_counted(desk, member, monkeypatch):
    monkeypatch.setattr(admin.site._registry[Member], "MAX_NAMED", 1)
    other = register_member(Member(username="bob", email="bob@example.org"))
    form = {"action": "delete_selected", "_selected_action": [member.pk, other.pk]}
    page = desk.post(reverse("admin:members_member_changelist"), form)
    assert headings(page) == ["Erase 2 members?"]
    assert "and 1 more" in text(page)
    assert ("ann@example.org" in text(page)) != ("bob@example.org" in text(page))
    form |= {"post": "yes"}
    done = desk.post(reverse("admin:members_member_changelist"), form, follow=True)
    assert [str(message) for message in done.context["messages"]] == ["2 members erased."]
    assert not Member.objects.exists()


def test_a_deleted_record_is_told_by_its_name(desk, book):
    page = reverse("admin:library_book_delete", args=[book.pk])
    done = desk.post(page, {"post": "yes"}, follow=True)
    assert "The book “dune & co” was deleted." in text(done)


def test_what_is_typed_is_shown_as_it_is_typed(desk):
    fields = {"author": "A", "publication_year": 2000, "isbn": "9780340839935"}
    sent = fields | {"title": "<b>%(name)s {} & co"}
    page = desk.post(reverse("admin:library_book_add"), sent, follow=True)
    assert "The book “ <b>%(name)s {} & co ” was added." in text(page)  # a link


def test_a_link_leads_only_where_the_account_may_go(client, member):
    WelcomeEmail.objects.update(task_id="task-1")
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.groups.add(Group.objects.get(name="Membership desk"))
    address = reverse("admin:members_welcomeemail_change", args=[member.welcome_email.pk])
    tasks = reverse("admin:django_celery_results_taskresult_changelist")
    client.force_login(clerk)
    page = client.get(address).content.decode()
    assert "task-1" in page
    assert tasks not in page
    clerk.groups.add(Group.objects.get(name="Operators"))
    assert tasks in client.get(address).content.decode()


def test_a_tokens_digest_stands_in_no_title(desk, staff):
    token, _ = AuthToken.objects.create(staff)
    for page in ("change", "delete"):
        answer = desk.get(reverse("admin:project_authtoken_" + page, args=[token.pk]))
        assert token.digest not in text(answer)
    desk.post(reverse("admin:project_authtoken_delete", args=[token.pk]), {"post": "yes"})
    assert token.digest not in text(desk.get(reverse("admin:index")))


def test_a_task_that_had_nothing_to_do_is_no_success(desk):
    skipped, sent = [SKIPPED, {"count": 1}], [SENT, {"count": 2}]
    for task_id, report in (("t", [skipped]), ("u", [sent, skipped])):
        TaskResult.objects.create(task_id=task_id, status="SUCCESS", result=json.dumps(report))
    page = desk.get(reverse("admin:django_celery_results_taskresult_changelist"))
    badges = re.findall(r'text-bg-(\w+)">(\w+)<', page.content.decode())
    assert sorted(badges) == [("secondary", "skipped"), ("success", "done")]


@pytest.mark.parametrize(("language", "told"), [("en", "1,234"), ("ru", "1\xa0234")])
def test_large_numbers_have_the_separators_of_the_language(language, told):
    with translation.override(language):
        assert told in counted(admin.site._registry[Book].phrases.deleted_many, 1234)
        assert told in grouped(1234)


def test_landmarks_of_one_kind_have_different_names(desk, book):
    for number in range(26):
        add(title=f"Title {number}")
    page = desk.get(reverse("admin:library_book_changelist") + "?size=25").content.decode()
    names = re.findall(r'<nav[^>]* aria-label="([^"]+)"', page)
    assert "Pages" in names and len(set(names)) == len(re.findall("<nav", page))


@pytest.mark.parametrize(
    ("language", "told"),
    [("en", "This record doesn’t exist. It may have"), ("ru", "Такой записи нет. Возможно, её")],
)
def test_a_record_that_is_gone_leads_to_its_list(desk, language, told):
    desk.cookies["django_language"] = language
    page = desk.get(reverse("admin:library_book_change", args=[999]), follow=True)
    assert page.redirect_chain == [(reverse("admin:library_book_changelist"), 302)]
    assert told in text(page)
