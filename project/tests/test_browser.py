"""Pages in a real browser, under the real Content-Security-Policy."""

import json
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django_celery_results.models import TaskResult
from playwright.sync_api import Locator, Page, Response, expect

from library.lookup import look_up_isbn
from library.models import Book
from members.models import Member
from members.registration import register_member
from project.api.authentication import AuthToken

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def log_in(page: Page, staff, url: str) -> None:
    client = Client()
    client.force_login(staff)
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": url}])


def register(operation: Locator, username: str) -> Response:
    """Fill in and send Swagger UI's form; return the response."""
    body = {"username": username, "email": f"{username}@example.org"}
    operation.locator("textarea.body-param__text").fill(json.dumps(body))
    with operation.page.expect_response("**/members/register/") as answer:
        operation.locator("button.execute").click()
    return answer.value


def test_redoc_asks_no_other_host(page):
    page.goto(reverse("redoc"))
    page.get_by_role("heading", name="Register a member").first.wait_for()
    assert page.foreign == [] and page.complaints == []


def test_the_guide_unfolds_and_is_tried_out_with_a_session_or_a_token_and_no_other_host(
    page, staff, live_server, settings
):
    settings.PUBLIC_REGISTRATION = False
    _, token = AuthToken.objects.create(staff)
    log_in(page, staff, live_server.url)
    page.goto(reverse("swagger-ui"))
    page.locator("#operations-books-books_list").wait_for()
    quick_start = page.get_by_text("Anyone may search the catalogue")
    assert not quick_start.is_visible()
    expect(page.locator("h1")).to_have_count(1)
    page.locator("summary", has_text="Quick start").press("Enter")
    assert quick_start.is_visible()
    operation = page.locator("#operations-members-members_register")
    operation.locator(".opblock-summary-control").click()
    assert register(operation, "ann").status == 201
    assert page.foreign == []
    assert page.complaints == []

    page.context.clear_cookies()
    assert register(operation, "bob").status == 401
    page.locator("button.authorize").first.click()
    container = page.locator(".auth-container").filter(has_text="bearer")
    container.locator("input").fill(token)
    container.locator("button.authorize").click()
    container.locator("button.btn-done").click()
    answer = register(operation, "bob")
    assert answer.request.headers["authorization"] == f"Bearer {token}"
    assert answer.status == 201


@pytest.mark.parametrize(
    "name",
    [
        "admin:login",
        "admin:index",
        "admin:library_book_changelist",
        "admin:library_book_add",
        "admin:members_member_changelist",
        "admin:members_member_add",
        "admin:members_welcomeemail_changelist",
        "admin:members_dispatch_pause",
        "admin:auth_user_add",
    ],
)
def test_the_admin_asks_no_other_host_and_its_scripts_run(page, staff, live_server, name):
    if name != "admin:login":
        log_in(page, staff, live_server.url)
    page.goto(reverse(name))
    assert page.foreign == []
    assert page.complaints == []


def test_a_welcome_email_is_previewed_and_held_by_keyboard(page, staff, live_server):
    welcome = register_member(Member(username="ann", email="ann@example.org")).welcome_email
    log_in(page, staff, live_server.url)
    page.goto(reverse("admin:members_welcomeemail_change", args=[welcome.pk]))
    mail = page.frame_locator("iframe.desk-mail")
    mail.get_by_text("Hello ann,").wait_for()
    page.get_by_role("link", name="Hold").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Hold").wait_for()
    page.keyboard.press("Enter")  # the button has the focus
    page.get_by_text("1 e-mail is on hold.").wait_for()
    assert page.foreign == []
    assert page.complaints == []


@pytest.fixture
def book(page, staff, live_server) -> Book:
    log_in(page, staff, live_server.url)
    return Book.objects.create(
        title="Dune", author="Herbert", publication_year=1965, isbn="9780340839935"
    )


LIST = "admin:library_book_changelist"


@pytest.mark.parametrize("key", ["/", "."])
def test_the_slash_s_key_goes_to_the_search_box_on_any_layout(page, book, key):
    page.goto(reverse("admin:library_book_add"))
    page.locator("#id_title").blur()
    box = page.get_by_role("combobox", name="Search everything")
    press = (
        "([key, ctrlKey]) => document.body.dispatchEvent(new KeyboardEvent("
        "'keydown', { key, ctrlKey, code: 'Slash', bubbles: true, cancelable: true }))"
    )
    page.evaluate(press, [key, True])
    expect(box).not_to_be_focused()
    page.evaluate(press, [key, False])  # on a Russian keyboard the key types a full stop
    expect(box).to_be_focused()


def test_the_slash_goes_to_the_search_box_wherever_a_layout_has_it(page, book):
    page.goto(reverse("admin:index"))
    page.evaluate(
        "document.body.dispatchEvent(new KeyboardEvent('keydown', "
        "{ key: '/', code: 'Digit7', shiftKey: true, bubbles: true, cancelable: true }))"
    )
    expect(page.get_by_role("combobox", name="Search everything")).to_be_focused()


@pytest.mark.parametrize(
    ("name", "field"), [(LIST, "#searchbar"), ("admin:library_book_add", "#id_title")]
)
def test_a_slash_while_typing_is_a_slash(page, book, name, field):
    page.goto(reverse(name))
    page.locator(field).press_sequentially("and/or")
    expect(page.locator(field)).to_have_value("and/or")


def test_the_search_box_is_used_by_keyboard(page, book):
    page.goto(reverse("admin:index"))
    page.keyboard.press("/")
    page.keyboard.type("herb")
    hits = page.get_by_role("listbox", name="Found").get_by_role("option")
    expect(hits).to_have_count(2)  # the book, and the list of all
    box = page.get_by_role("combobox", name="Search everything")
    expect(box).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(box).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("ArrowDown")
    expect(hits).to_have_count(2)
    page.keyboard.press("ArrowDown")
    expect(box).to_have_attribute("aria-activedescendant", "desk-box-hit-0")
    page.keyboard.press("Enter")
    page.wait_for_url("**" + reverse("admin:library_book_change", args=[book.pk]))
    assert page.complaints == []


@pytest.mark.parametrize(("isbn", "target"), [("0340839937", "change"), ("9783161484100", "add")])
def test_a_scanned_isbn_opens_its_book_or_the_form(page, book, isbn, target):
    page.goto(reverse("admin:index"))
    page.keyboard.press("/")
    page.keyboard.type(isbn)
    page.keyboard.press("Enter")
    args = [book.pk] if target == "change" else []
    page.wait_for_url("**" + reverse(f"admin:library_book_{target}", args=args) + "*")
    if target == "add":
        expect(page.locator("#id_isbn")).to_have_value("978-3-16-148410-0")


def test_authors_are_suggested_while_typing_and_apply_when_chosen(page, book):
    page.goto(reverse(LIST))
    page.get_by_role("combobox", name="Author").press_sequentially("herb")
    expect(page.locator("datalist option")).to_have_count(1)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert parse_qs(urlsplit(page.url).query) == {"author": ["herb"]}


@pytest.mark.parametrize("keys", ["Control+s", "Meta+s", "Control+S"])
def test_ctrl_s_saves_the_form_also_while_typing(page, book, keys):
    page.goto(reverse("admin:library_book_change", args=[book.pk]))
    page.locator("#id_title").fill("Dune Messiah")
    with page.expect_navigation():
        page.keyboard.press(keys)
    book.refresh_from_db()
    assert book.title == "Dune Messiah"
    assert page.url.endswith(reverse(LIST))


def test_other_keys_save_nothing(page, book):
    page.goto(reverse("admin:library_book_change", args=[book.pk]))
    page.evaluate(
        "document.querySelector('[name=_save]').form.addEventListener('submit',"
        " (event) => { event.preventDefault(); document.title = 'submitted'; })"
    )
    page.locator("#id_title").focus()
    for keys in ("s", "Control+Alt+s", "Control+d"):
        page.keyboard.press(keys)
        assert page.title() != "submitted", keys
    page.keyboard.press("Control+s")  # what would have been seen
    assert page.title() == "submitted"


def test_a_chosen_filter_applies_at_once_beside_the_search(page, book):
    page.goto(reverse(LIST) + "?q=dune")
    with page.expect_navigation():
        page.get_by_label("Added").select_option("today")
    assert parse_qs(urlsplit(page.url).query) == {"q": ["dune"], "added": ["today"]}
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.get_by_label("Years: from").fill("1966")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.get_by_text("No matches.")).to_be_visible()


def test_an_empty_search_leaves_no_trace_in_the_address(page, book):
    page.goto(reverse(LIST))
    page.locator("#searchbar").fill("  ")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert urlsplit(page.url).query == ""


def field(page: Page, name: str):
    return page.locator(f"#id_{name}")


def test_an_isbn_is_checked_while_it_is_typed(page, staff, live_server):
    log_in(page, staff, live_server.url)
    book = Book.objects.create(
        title="Dune", author="Frank Herbert", publication_year=1965, isbn="9780441013593"
    )
    page.goto(reverse("admin:library_book_add"))
    says = page.locator("#id_isbn ~ [role=status]")
    field(page, "isbn").press_sequentially("978-0-441-01359")
    expect(says).to_be_empty()
    field(page, "isbn").press_sequentially("3")
    expect(says).to_contain_text("already in the catalogue: Dune")
    assert says.locator("a").get_attribute("href") == reverse(
        "admin:library_book_change", args=[book.pk]
    )
    field(page, "isbn").fill("3161484101")
    expect(says).to_contain_text("check digit")
    field(page, "isbn").fill("316148410X")
    expect(says).to_have_text("978-3-16-148410-0: valid, and not in the catalogue yet.")
    assert page.complaints == []


def test_a_new_book_is_filled_in_by_its_isbn_where_nothing_stands(
    page, staff, live_server, settings, monkeypatch
):
    def done_at_once(isbn: str) -> Mock:
        found = {"title": "Dune", "author": "Frank Herbert", "publication_year": 1965}
        TaskResult.objects.create(
            task_id="t", task_name=look_up_isbn.name, status="SUCCESS", result=json.dumps(found)
        )
        return Mock(id="t")

    settings.OPEN_LIBRARY_URL = "https://openlibrary.example"
    monkeypatch.setattr(look_up_isbn, "delay", done_at_once)
    log_in(page, staff, live_server.url)
    page.goto(reverse("admin:library_book_add"))
    field(page, "author").fill("F. Herbert")
    field(page, "isbn").press_sequentially("9780441013593")
    expect(page.locator("#id_isbn ~ [role=status]")).to_contain_text("Filled in from Open Library")
    expect(field(page, "title")).to_have_value("Dune")
    expect(field(page, "author")).to_have_value("F. Herbert")
    expect(field(page, "publication_year")).to_have_value("1965")
    expect(field(page, "isbn")).to_be_focused()
    assert page.complaints == []


def test_what_a_form_says_of_an_isbn_is_said_once_and_goes_when_it_is_corrected(
    page, staff, live_server, settings
):
    settings.OPEN_LIBRARY_URL = "https://openlibrary.example"
    log_in(page, staff, live_server.url)
    page.goto(reverse("admin:library_book_add"))
    field(page, "title").fill("Dune")
    field(page, "isbn").fill("9780441013590")
    page.locator("[name=_save]").click()
    said = page.locator(".field-isbn")
    expect(said.get_by_text("check digit")).to_have_count(1)
    page.wait_for_load_state("networkidle")
    expect(said.get_by_text("check digit")).to_have_count(1)
    field(page, "isbn").fill("9780441013593")
    expect(said).to_contain_text("valid, and not in the catalogue yet")
    expect(said.get_by_text("check digit")).to_have_count(0)


def test_a_second_click_on_save_sends_nothing(page, staff, live_server):
    log_in(page, staff, live_server.url)
    page.goto(reverse("admin:library_book_add"))
    for name in ("title", "author", "publication_year", "isbn"):
        field(page, name).fill("1")
    page.evaluate("""window.sent = 0; addEventListener("submit", (event) => {
      window.sent += !event.defaultPrevented;
      event.preventDefault();
    })""")
    page.locator("[name=_save]").dblclick()
    assert page.evaluate("sent") == 1


def test_a_word_longer_than_the_screen_is_broken(page, staff, live_server):
    log_in(page, staff, live_server.url)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(reverse("admin:library_book_add"))
    field(page, "title").fill("bestandsliste_der_zweigstelle_sued_2024_korrigiert_endfassung.xlsx")
    for name, text in (("author", "A"), ("publication_year", "1965"), ("isbn", "9780441013593")):
        field(page, name).fill(text)
    page.locator("[name=_save]").click()
    page.locator(".alert-success").wait_for()
    book = Book.objects.get()
    for address in (page.url, reverse("admin:library_book_history", args=[book.pk]), "/admin/"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") == 390, address


def test_leaving_a_form_with_unsaved_changes_asks(page, staff, live_server):
    log_in(page, staff, live_server.url)
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    add = reverse("admin:library_book_add")
    page.goto(add)
    page.locator(f'a[href="{reverse("admin:index")}"]').first.click()
    page.wait_for_url("**/admin/")
    assert asked == []
    page.goto(add)
    field(page, "title").fill("Dune")
    page.locator(f'a[href="{reverse("admin:index")}"]').first.click()
    expect(field(page, "title")).to_have_value("Dune")
    assert asked == ["beforeunload"]


@pytest.mark.parametrize("cookie", [settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME])
def test_what_was_typed_survives_a_session_that_ended(page, staff, live_server, cookie):
    log_in(page, staff, live_server.url)
    page.goto(reverse("admin:library_book_add"))
    field(page, "title").fill("Dune")
    field(page, "keep").check()
    page.context.clear_cookies(name=cookie)
    page.locator("[name=_save]").click()
    if cookie == settings.SESSION_COOKIE_NAME:
        page.locator("[name=password]").wait_for()
        log_in(page, staff, live_server.url)
        page.goto(reverse("admin:library_book_add"))
    else:
        page.locator("a.btn-primary").click()
    expect(page.locator("#draft-restored")).to_be_visible()
    expect(field(page, "title")).to_have_value("Dune")
    expect(field(page, "keep")).to_be_checked()
    # Once it is back, it is not kept any longer.
    page.once("dialog", lambda dialog: dialog.accept())
    page.reload()
    expect(field(page, "title")).to_have_value("")


def test_a_saved_form_leaves_nothing_and_a_refused_one_shows_where(page, staff, live_server):
    log_in(page, staff, live_server.url)
    add = reverse("admin:library_book_add")
    page.goto(add)
    for name, text in {"title": "Dune", "author": "Herbert", "publication_year": "1965"}.items():
        field(page, name).fill(text)
    field(page, "isbn").fill("123")
    page.locator("[name=_save]").click()
    expect(field(page, "isbn")).to_be_focused()
    field(page, "isbn").fill("9780441013593")
    page.locator("[name=_save]").click()
    page.locator(".alert-success").wait_for()
    page.goto(add)
    expect(field(page, "title")).to_have_value("")
    expect(page.locator("#draft-restored")).to_be_hidden()
