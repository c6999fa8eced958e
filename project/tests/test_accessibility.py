"""Every page of the admin: axe-core finds nothing, nothing is too wide, no script complains."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser, expect

from library.files.tests.test_jobs import examined
from library.models import Book, BulkChange
from library.tests.books import THE_BOOK
from members.files.tests.test_jobs import examined as member_file
from members.models import Member
from members.registration import register_member
from project.api.authentication import AuthToken

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def complaints(page) -> list[str]:
    options = {"runOnly": RULES, "resultTypes": ["violations"]}
    found = Axe().run(page, options=options).response["violations"]
    return [f"{each['id']}: {node['html'][:150]}" for each in found for node in each["nodes"][:3]]


@pytest.fixture
def addresses(staff) -> list[str]:
    book = Book.objects.create(
        title="Dune", author="Herbert", publication_year=1965, isbn="9780340839935"
    )
    member = register_member(Member(username="ann", email="ann@example.org"))
    group, _ = Group.objects.get_or_create(name="Operators")
    token, _ = AuthToken.objects.create(staff)
    book.title = "Dune Messiah"
    book.save()
    first = Book.history.filter(id=book.pk).last().history_id
    job = examined(f"New,Author,2000,{THE_BOOK}", "Refused,Author,2000,")
    bulk = BulkChange.objects.create(
        kind="author",
        value="Ann",
        packed_ids=BulkChange.pack([1]),
        state="done",
        changed=1,
        total=1,
    )
    readers = member_file("new,new@example.org", "bob,ann@example.org", "no name")
    rows = {
        "library_book": book.pk,
        "library_import": job.pk,
        "library_bulkchange": bulk.pk,
        "members_member": member.pk,
        "members_memberimport": readers.pk,
        "members_welcomeemail": member.welcome_email.pk,
        "auth_user": staff.pk,
        "auth_group": group.pk,
        "project_authtoken": token.pk,
    }
    return [
        reverse("admin:index"),
        reverse("admin:section", args=["administration"]),
        reverse("admin:password_change"),
        reverse("admin:members_dispatch_pause"),
        reverse("admin:members_welcomeemail_hold", args=[member.welcome_email.pk]),
        *(reverse(f"admin:{name}_change", args=[pk]) for name, pk in rows.items()),
        *(
            reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
            for model in admin.site._registry
        ),
        reverse("admin:library_book_changelist") + "?q=dume",
        reverse("admin:library_historicalbook_changelist") + "?kind=gone",
        reverse("admin:library_book_history", args=[book.pk]),
        reverse("admin:library_book_restore", args=[book.pk, first]),
        reverse("admin:members_member_history", args=[member.pk]),
        reverse("admin:library_import_add"),
        reverse("admin:members_memberimport_add"),
        reverse("admin:members_memberimport_change", args=[readers.pk]) + "?show=refused",
        reverse("admin:library_import_change", args=[job.pk]) + "?show=refused",
        *(
            reverse(f"admin:{name}_add")
            for name in ("library_book", "auth_user", "project_authtoken")
        ),
        reverse("admin:library_book_delete", args=[book.pk]),
        reverse("admin:auth_user_link", args=[staff.pk]),
        "/admin/nowhere/",
    ]


def log_in(context, staff, url: str) -> None:
    client = Client()
    client.force_login(staff)
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": url}])


@pytest.mark.sweep
@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_too_wide_asks_others_or_has_an_error(
    browser, live_server, staff, addresses, language, scheme, width
):
    size = {"width": width, "height": 900}
    context = browser.new_context(base_url=live_server.url, color_scheme=scheme, viewport=size)
    log_in(context, staff, live_server.url)
    context.add_cookies([{"name": "django_language", "value": language, "url": live_server.url}])
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: message.type == "error" and said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(  # what the next page cuts off is no failure
        "requestfailed",
        lambda r: "ERR_ABORTED" in str(r.failure) or said.append(f"failed: {r.url}"),
    )
    page.on("request", lambda r: r.url.startswith(live_server.url) or said.append(r.url))
    for address in addresses:
        answer = page.goto(address)
        expected = 404 if "nowhere" in address else 200
        assert answer and answer.status == expected, address
        too_wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert too_wide <= 0, address
        errors = [text for text in said if not (expected == 404 and "404" in text)]
        assert errors == [], address
        said.clear()
    context.close()


@pytest.mark.sweep
@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280)])
def test_axe_finds_nothing(browser: Browser, live_server, staff, addresses, scheme, width):
    size = {"width": width, "height": 900}
    context = browser.new_context(base_url=live_server.url, color_scheme=scheme, viewport=size)
    page = context.new_page()
    for address in (reverse("admin:login"), reverse("admin:password_reset")):
        page.goto(address)
        assert complaints(page) == [], address
    log_in(context, staff, live_server.url)
    for address in addresses:
        page.goto(address)
        assert complaints(page) == [], address
    context.close()


def test_on_a_phone_save_stays_in_reach_and_the_menu_covers_the_page(
    browser, live_server, staff, addresses
):
    size = {"width": 390, "height": 500}
    context = browser.new_context(base_url=live_server.url, viewport=size)
    log_in(context, staff, live_server.url)
    page = context.new_page()
    page.goto(reverse("admin:auth_user_add"))
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_in_viewport()
    menu = page.get_by_role("button", name="Menu")
    menu.click()
    expect(page.get_by_role("link", name="Books", exact=True)).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    expect(page.get_by_role("link", name="Books", exact=True)).not_to_be_in_viewport()
    context.close()


def test_the_first_tab_leads_past_the_menu(browser, live_server, staff):
    context = browser.new_context(base_url=live_server.url)
    log_in(context, staff, live_server.url)
    page = context.new_page()
    page.goto(reverse("admin:index"))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    context.close()


def test_light_or_dark_is_chosen_and_kept(browser, live_server, staff):
    context = browser.new_context(base_url=live_server.url, color_scheme="light")
    log_in(context, staff, live_server.url)
    page = context.new_page()
    page.goto(reverse("admin:index"))
    page.get_by_role("button", name="Colour scheme").click()
    page.get_by_role("button", name="Dark").click()
    for address in (reverse("admin:index"), reverse("swagger-ui")):
        page.goto(address)
        assert page.locator("html").get_attribute("data-bs-theme") == "dark"
    context.close()
