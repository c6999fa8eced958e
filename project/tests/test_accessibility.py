"""Every page of the admin: axe-core finds nothing, nothing is too wide, no script complains."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib import admin
from django.contrib.auth.models import Group
from django.urls import reverse
from playwright.sync_api import expect

from library.files.tests.imports import examined
from library.models import Book, BulkChange
from library.tests.books import THE_BOOK, add
from members.files.tests.test_jobs import examined as member_file
from members.models import Member
from members.registration import register_member
from project.api.authentication import AuthToken

from .test_browser import log_in

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
    for number in range(26):  # more than fit on a page of the list
        add(title=f"Title {number}")
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
        reverse("admin:activity"),
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
        reverse("admin:library_book_changelist") + "?size=25",
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


@pytest.mark.sweep
@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_too_wide_asks_others_or_has_an_error(
    page, live_server, staff, addresses, language, width
):
    page.set_viewport_size({"width": width, "height": 900})
    log_in(page, staff, live_server.url)
    cookie = {"name": "django_language", "value": language, "url": live_server.url}
    page.context.add_cookies([cookie])
    for address in addresses:
        answer = page.goto(address)
        expected = 404 if "nowhere" in address else 200
        assert answer and answer.status == expected, address
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            expect(page.locator("html")).to_have_attribute("data-bs-theme", scheme)
            too_wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert too_wide <= 0, (address, scheme)
        errors = [text for text in page.complaints if not (expected == 404 and "404" in text)]
        assert errors == [], address
        assert page.foreign == [], address
        page.complaints.clear()


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("scheme", "width", "language"),
    [("light", 390, "ru"), ("dark", 1280, "en")],  # Russian is longer, a phone narrow
)
def test_axe_finds_nothing(page, live_server, staff, addresses, scheme, width, language):
    page.set_viewport_size({"width": width, "height": 900})
    cookie = {"name": "django_language", "value": language, "url": live_server.url}
    page.context.add_cookies([cookie])
    page.emulate_media(color_scheme=scheme)
    for address in (reverse("admin:login"), reverse("admin:password_reset")):
        page.goto(address)
        assert complaints(page) == [], address
    log_in(page, staff, live_server.url)
    for address in addresses:
        page.goto(address)
        assert complaints(page) == [], address


def test_on_a_phone_save_stays_in_reach_and_the_menu_covers_the_page(page, live_server, staff):
    page.set_viewport_size({"width": 390, "height": 500})
    log_in(page, staff, live_server.url)
    page.goto(reverse("admin:auth_user_add"))
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_in_viewport()
    menu = page.get_by_role("button", name="Menu")
    menu.click()
    expect(page.get_by_role("link", name="Books", exact=True)).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    expect(page.get_by_role("link", name="Books", exact=True)).not_to_be_in_viewport()


def test_the_first_tab_leads_past_the_menu(page, live_server, staff):
    log_in(page, staff, live_server.url)
    page.goto(reverse("admin:index"))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_light_or_dark_is_chosen_and_kept(page, live_server, staff):
    log_in(page, staff, live_server.url)
    page.goto(reverse("admin:index"))
    page.get_by_role("button", name="Colour scheme").click()
    page.get_by_role("button", name="Dark").click()
    for address in (reverse("admin:index"), reverse("swagger-ui")):
        page.goto(address, wait_until="domcontentloaded")  # before Swagger UI shows each operation
        assert page.locator("html").get_attribute("data-bs-theme") == "dark"
