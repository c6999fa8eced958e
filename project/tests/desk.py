"""The desk in a browser: what staff press, fill in and read on its pages."""

import re

from playwright.sync_api import BrowserContext, Locator, Page, expect

BOOKS, MEMBERS, STAFF = "library/book", "members/member", "auth/user"


def type_at_focus(page: Page, text: str) -> None:
    """Once a field has taken the focus, which a busy browser gives it after the page has loaded."""
    expect(page.locator("input:focus")).to_have_count(1)
    page.keyboard.type(text)


def log_in(page: Page, username: str, password: str) -> None:
    page.goto("/admin/")
    type_at_focus(page, username)
    page.locator("[name=password]").fill(password)
    enter(page)
    expect(page.locator("#jazzy-navigation")).to_be_attached()


TOO_WIDE = """addEventListener("load", () => {
  if (document.documentElement.scrollWidth > innerWidth) console.error("Too wide: " + location);
})"""


def watched(context: BrowserContext) -> list[str]:
    """What the console of each page complains of."""
    wrong: list[str] = []
    context.add_init_script(TOO_WIDE)
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on(
        "console",
        lambda said: (
            # The page with both versions of a record is a 409, to the console an error.
            said.type == "error" and "409" not in said.text and wrong.append(said.text)
        ),
    )
    return wrong


def press(control: Locator) -> None:
    with control.page.expect_navigation():
        control.click()


def enter(page: Page) -> None:
    with page.expect_navigation():
        page.keyboard.press("Enter")


def field(page: Page, name: str) -> Locator:
    return page.locator(f"#id_{name}")


def rows(page: Page) -> Locator:
    return page.locator("#result_list tbody tr")


def open_list(page: Page, name: str) -> None:
    if page.locator("#menu-toggle").get_attribute("aria-expanded") == "false":
        page.locator("#menu-toggle").click()
    press(page.locator(f"#jazzy-navigation a[href='/admin/{name}/']"))


def search(page: Page, text: str, name: str = BOOKS) -> None:
    open_list(page, name)
    page.locator("#searchbar").fill(text)
    enter(page)


def address_of(page: Page, title: str) -> str:
    link = page.locator("#result_list th a", has_text=title).get_attribute("href") or ""
    return link.partition("?")[0]


def key_of(address: str) -> str:
    return re.findall(r"/(\d+)/", address)[-1]


def choose_all(page: Page) -> None:
    page.locator("#action-toggle").check()
    page.locator(".actions .question a").first.click()


def act(page: Page, action: str) -> None:
    page.locator(".actions select[name=action]").first.select_option(action)
    press(page.locator(".actions button[name=index]").first)


def finished(page: Page) -> None:
    """A worker has done the job of this page, which follows it by itself."""
    expect(page.locator("[data-progress]")).to_have_count(0, timeout=90_000)


def undo(page: Page) -> None:
    page.locator("details:has(form[action$='/undo/']) summary").click()
    press(page.locator("form[action$='/undo/'] button"))
    finished(page)


def numbers_of(page: Page, which: int = 0) -> list[int]:
    """The counts of a job: of its work, then of its undo."""
    texts = page.locator(".desk-numbers").nth(which).locator("dd").all_inner_texts()
    digits = [re.sub(r"[\s,\u00a0\u202f]", "", text) for text in texts]
    return [int(text) for text in digits if text.isdecimal()]
