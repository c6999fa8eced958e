"""Twelve errands of a library's staff, from the login to the result, in a browser on a real stack.

Once in English on a wide screen, once in Russian on a phone in the dark: nothing here is found by
words that have a translation. axe-core looks at the pages that only a form leads to.
"""

import csv
import os
import random
import re
import string
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from library.tests.books import isbn_number

from .desk import (
    BOOKS,
    MEMBERS,
    STAFF,
    act,
    address_of,
    choose_all,
    enter,
    field,
    finished,
    key_of,
    log_in,
    numbers_of,
    open_list,
    press,
    rows,
    search,
    type_at_focus,
    undo,
    watched,
)
from .stack import Stack, running_stack
from .test_accessibility import complaints

pytestmark = [pytest.mark.browser, pytest.mark.worker, pytest.mark.sweep]

PATIENCE_MS = 30_000  # until something else than a slow machine is the reason
IMPORTED = 1050  # books: more than one request changes, so a worker does
BOOK_CHANGES, MEMBER_CHANGES = "library/historicalbook", "members/historicalmember"
CATALOGUE = [BOOKS, "library/import", "library/bulkchange", BOOK_CHANGES]
MEMBER_IMPORTS, WELCOMES = "members/memberimport", "members/welcomeemail"
# .ci/run has time for the one that asks more of the pages; SWEEP=all runs both.
VARIANTS = [("ru", "dark", 390)]
if os.environ.get("SWEEP") == "all":
    VARIANTS.append(("en", "light", 1280))
GROUPS = [  # what each sees, in the order of their names
    CATALOGUE,
    [BOOKS, BOOK_CHANGES, MEMBERS, MEMBER_CHANGES],
    [*CATALOGUE, MEMBERS, MEMBER_IMPORTS, MEMBER_CHANGES],
    [BOOKS, BOOK_CHANGES, MEMBERS, MEMBER_IMPORTS, MEMBER_CHANGES, WELCOMES],
    [BOOKS, BOOK_CHANGES, MEMBERS, MEMBER_CHANGES, WELCOMES, "django_celery_results/taskresult"],
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Iterator[Stack]:
    expect.set_options(timeout=PATIENCE_MS)
    with running_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack
    expect.set_options(timeout=None)


@pytest.mark.timeout(600)  # a minute where nothing else runs
@pytest.mark.parametrize(("language", "scheme", "width"), VARIANTS)
def test_staff_do_twelve_errands(browser: Browser, stack, language, scheme, width, tmp_path):
    context = browser.new_context(
        base_url=stack.url,
        color_scheme=scheme,
        reduced_motion="reduce",  # axe measures colours that have arrived
        viewport={"width": width, "height": 900},
    )
    context.add_cookies([{"name": "django_language", "value": language, "url": stack.url}])
    context.set_default_timeout(PATIENCE_MS)
    wrong = watched(context)
    page = context.new_page()
    word = "".join(random.choices(string.ascii_lowercase, k=9))
    log_in(page, "admin", stack.password)
    find_a_book_by_a_word_form_and_with_a_typing_error(page)
    first, second = add_two_books_of_one_author(page, word)
    correct_a_book_in_two_tabs(page, first)
    import_a_file_of_which_a_row_is_refused(page, word)
    correction = upload_the_corrected_refused_rows(page, word, tmp_path)
    undo_the_import(page, correction, word)
    change_the_year_of_all_that_the_list_holds(page, word)
    merge_two_books(page, first, second)
    restore_an_earlier_version_and_a_deleted_book(page, first)
    export_the_filtered_list(page, word)
    register_a_member_write_again_and_erase(page, word, stack)
    let_a_person_of_each_group_in(page, word)
    assert wrong == []
    context.close()


# --- The errands ---


def find_a_book_by_a_word_form_and_with_a_typing_error(page: Page) -> None:
    page.keyboard.press("/")
    type_at_focus(page, "adventure sherlock")
    hit = page.locator("#desk-box-hits [role=option]").first
    expect(hit).to_contain_text("The Adventures of Sherlock Holmes")
    for _ in range(2):  # closes what was found, then leaves the box
        page.keyboard.press("Escape")
    open_list(page, BOOKS)
    page.locator("#searchbar").fill("sherlok holms")
    press(page.locator("#changelist-search button[type=submit]").first)
    press(page.locator("#content-main p a"))
    press(page.locator("#result_list th a", has_text="The Adventures of Sherlock Holmes"))
    expect(field(page, "isbn")).to_have_value(re.compile("^978"))


def add_two_books_of_one_author(page: Page, word: str) -> tuple[str, str]:
    """Their addresses."""
    open_list(page, BOOKS)
    press(page.locator(f"a[href^='/admin/{BOOKS}/add/']"))
    for name, text in (("title", f"First {word}"), ("author", f"Ann {word}")):
        expect(field(page, name)).to_be_focused()
        type_at_focus(page, text)
        page.keyboard.press("Tab")
    type_at_focus(page, "1999")
    numbers = [isbn_number(random.randrange(10**9)) for _ in range(2)]
    says = page.locator("#id_isbn ~ [role=status]")
    field(page, "isbn").press_sequentially(wrong_check_digit(numbers[0]))
    expect(says).to_have_class(re.compile("text-danger"))
    field(page, "isbn").fill(numbers[0])
    expect(says).not_to_have_class(re.compile("text-danger"))
    field(page, "keep").check()
    press(page.locator("[name=_addanother]"))
    expect(field(page, "author")).to_have_value(f"Ann {word}")
    expect(field(page, "publication_year")).to_have_value("1999")
    expect(field(page, "title")).to_be_focused()
    type_at_focus(page, f"Second {word}")
    field(page, "isbn").fill(numbers[1])
    page.keyboard.press("Control+s")
    expect(page.locator(".alert-success")).to_contain_text(f"Second {word}")
    search(page, word)
    return address_of(page, f"First {word}"), address_of(page, f"Second {word}")


def correct_a_book_in_two_tabs(page: Page, book: str) -> None:
    page.goto(book)
    other = page.context.new_page()
    other.goto(book)
    title = field(other, "title").input_value()
    field(other, "title").fill(f"{title} of the other")
    press(other.locator("[name=_save]"))
    field(page, "title").fill(f"{title} of mine")
    field(page, "publication_year").fill("2001")
    press(page.locator("[name=_save]"))
    for version in ("mine", "theirs"):
        label = page.locator(f"label[for=id_title_{version}]")
        expect(label).to_contain_text(f"{title} of {version.replace('theirs', 'the other')}")
    expect(page.locator("#id_publication_year_mine")).to_be_checked()
    is_accessible(page)
    expect(field(page, "title_mine")).to_be_focused()
    page.keyboard.press("Space")
    press(page.locator("#content-main button[type=submit]"))
    page.goto(book)
    expect(field(page, "title")).to_have_value(f"{title} of mine")
    expect(field(page, "publication_year")).to_have_value("2001")
    other.close()


def import_a_file_of_which_a_row_is_refused(page: Page, word: str) -> None:
    numbers = random.sample(range(10**9), IMPORTED + 1)
    isbns = [isbn_number(number) for number in numbers]
    rows = [f"Обход {word} {n};Анна Ходок;1998;{isbn}" for n, isbn in enumerate(isbns)]
    rows[7] = rows[7].replace(isbns[7], wrong_check_digit(isbns[7]))
    rows.append(rows[3])  # once more
    titles = ["Наш каталог", "", "Название;Автор;Год;ISBN"]
    content = "\r\n".join([*titles, *rows]).encode("cp1251")
    open_list(page, BOOKS)
    press(page.locator("a[href='/admin/library/import/add/']"))
    page.locator("#id_file").set_input_files(
        {"name": "обход.csv", "mimeType": "text/csv", "buffer": content}
    )
    press(page.locator("[name=_save]"))
    finished(page)
    expect(page.locator("#preview")).to_contain_text("1")
    expect(page.locator(".desk-preview")).to_contain_text(f"Обход {word} 0")
    press(page.locator("form[action$='/confirm/'] button"))
    finished(page)
    assert numbers_of(page)[:4] == [IMPORTED, 0, 1, 1]


def upload_the_corrected_refused_rows(page: Page, word: str, folder: Path) -> str:
    """The address of the second import."""
    with page.expect_download() as download:
        page.locator("a[href$='/refused/']").click()
    download.value.save_as(folder / "refused.csv")
    text = (folder / "refused.csv").read_text(encoding="utf-8-sig")
    wrong = re.search(r"978\d{10}", text)
    assert f"Обход {word} 7;" in text and wrong
    right = isbn_number(int(wrong[0][3:12]))
    (folder / "refused.csv").write_text(text.replace(wrong[0], right), encoding="utf-8-sig")
    page.goto("/admin/library/import/add/")
    page.locator("#id_file").set_input_files(folder / "refused.csv")
    press(page.locator("[name=_save]"))
    finished(page)
    press(page.locator("form[action$='/confirm/'] button"))
    finished(page)
    assert numbers_of(page)[:4] == [1, 0, 0, 0]
    return page.url


def undo_the_import(page: Page, job: str, word: str) -> None:
    page.goto(job)
    undo(page)
    assert numbers_of(page, 1) == [1, 0, 0]
    search(page, f"{word} 7 Ходок")
    expect(page.locator("#result_list")).to_have_count(0)


def change_the_year_of_all_that_the_list_holds(page: Page, word: str) -> None:
    search(page, f"обходы {word}")  # a form of the word
    choose_all(page)
    act(page, "change_year")
    is_accessible(page)
    expect(field(page, "publication_year")).to_be_focused()
    type_at_focus(page, "1997")
    enter(page)
    expect(page.locator(".desk-samples ins").first).to_have_text("1997")
    is_accessible(page)
    expect(page.locator("[name=confirmed]")).to_be_focused()
    enter(page)
    finished(page)
    assert numbers_of(page)[:2] == [IMPORTED, IMPORTED]
    undo(page)
    assert numbers_of(page, 1) == [0, IMPORTED, 0]
    search(page, f"{word} 1998")
    choose_all(page)
    for action in ("change_author", "delete_selected"):
        act(page, action)
        is_accessible(page)
        press(page.locator("#content-main a.btn"))
        choose_all(page)


def merge_two_books(page: Page, first: str, second: str) -> None:
    page.goto(first)
    title, isbn = (field(page, name).input_value() for name in ("title", "isbn"))
    page.goto(second)
    author = field(page, "author").input_value()
    search(page, author)
    expect(rows(page)).to_have_count(2)
    page.locator("#action-toggle").check()
    act(page, "merge_books")
    is_accessible(page)
    expect(page.locator("[name=keep]").first).to_be_focused()
    page.locator(f"[name=keep][value='{key_of(first)}']").check()
    for name, value in (("title", title), ("isbn", isbn.replace("-", ""))):  # its own
        expect(page.locator(f"[name={name}][value='{value}']")).to_be_checked()
    page.locator(f"[name=title]:not([value='{title}'])").check()
    page.locator("[name=publication_year][value='1999']").check()
    press(page.locator("[name=confirmed]"))
    expect(field(page, "title")).to_have_value(re.compile("^Second"))
    expect(field(page, "publication_year")).to_have_value("1999")
    expect(field(page, "isbn")).to_have_value(isbn)
    search(page, author)
    expect(rows(page)).to_have_count(1)


def restore_an_earlier_version_and_a_deleted_book(page: Page, book: str) -> None:
    page.goto(book)
    press(page.locator("a[href$='/history/']"))
    press(page.locator("a[href$='/restore/']").last)
    expect(page.locator("#content-main")).to_contain_text("First")
    expect(page.locator("#content-main button[type=submit]")).to_be_focused()
    press(page.locator("#content-main button[type=submit]"))
    page.goto(book)
    title = field(page, "title").input_value()
    assert title.startswith("First")
    press(page.locator("a[href*='/delete/']"))
    is_accessible(page)
    press(page.locator("#content-main button[type=submit]"))
    expect(page.locator(".alert-success")).to_contain_text(title)
    press(page.locator("a[href$='?kind=gone']"))
    page.locator("#searchbar").fill(title)
    enter(page)
    press(page.locator("#result_list a", has_text=title))
    press(page.locator("a[href$='/restore/']"))
    press(page.locator("#content-main button[type=submit]"))
    page.goto(book)
    expect(field(page, "title")).to_have_value(title)


def export_the_filtered_list(page: Page, word: str) -> None:
    search(page, f"{word} 1998")
    page.locator(".dropdown-toggle").click()
    with page.expect_download() as download:
        page.locator("a[href$='format=csv&verbatim=1']").click()
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    exported = list(csv.reader(StringIO(text)))
    assert len(exported) == 1 + IMPORTED
    titles = {row[0] for row in exported[1:]}
    assert titles == {f"Обход {word} {n}" for n in range(IMPORTED + 1)} - {f"Обход {word} 7"}


def register_a_member_write_again_and_erase(page: Page, word: str, stack: Stack) -> None:
    name = f"reader.{word}"
    address = f"{name}@example.org"
    open_list(page, MEMBERS)
    press(page.locator(f"a[href^='/admin/{MEMBERS}/add/']"))
    type_at_focus(page, name)
    field(page, "email").fill(address)
    press(page.locator("[name=_continue]"))
    member = page.url
    for attempts in (1, 2):
        for _ in range(60):
            if page.locator(".desk-timeline strong").count() == attempts:
                break
            page.wait_for_timeout(500)
            page.reload()
        expect(page.locator(".desk-timeline strong")).to_have_count(attempts)
        assert sum(f"To: {address}" in mail for mail in stack.mails()) == attempts
        if attempts == 1:
            press(page.locator("a[href*='/send_again/']"))
            is_accessible(page)
            press(page.locator("[name=confirmed]"))
            assert page.url == member
    press(page.locator("a[href*='/delete/']"))
    is_accessible(page)
    press(page.locator("#content-main button[type=submit]"))
    expect(page.locator(".alert-success")).to_contain_text(name)
    search(page, name, MEMBERS)
    expect(page.locator("#result_list")).to_have_count(0)
    assert name not in stack.manage("dumpdata")
    assert address not in (stack.folder / "log").read_text(errors="replace")


def let_a_person_of_each_group_in(page: Page, word: str) -> None:
    for number, sections in enumerate(GROUPS):
        open_list(page, STAFF)
        press(page.locator(f"a[href^='/admin/{STAFF}/add/']"))
        name = f"{word}{number}"
        type_at_focus(page, "Ann")
        field(page, "last_name").fill(word)
        field(page, "email").fill(f"{name}@example.org")
        expect(page.locator("[name=groups]")).to_have_count(len(GROUPS))
        page.locator("[name=groups]").nth(number).check()
        press(page.locator("[name=_save]"))
        is_accessible(page)
        expect(page.locator("[data-copy]")).to_be_focused()
        person = page.context.browser.new_context(base_url=page.url).new_page()
        person.goto(field(page, "link").input_value())
        for each in ("new_password1", "new_password2"):
            expect(field(person, each)).to_be_focused()
            type_at_focus(person, f"a long password of {word}")
            person.keyboard.press("Tab")
        enter(person)
        expect(person.locator("a.btn-primary")).to_be_focused()
        enter(person)
        log_in(person, name, f"a long password of {word}")
        links = person.locator("#jazzy-navigation .nav .nav-link")
        assert [link.get_attribute("href") for link in links.all()] == [
            f"/admin/{section}/" for section in sections
        ]
        for section in sections:
            answer = person.goto(f"/admin/{section}/")
            assert answer and answer.ok
        answer = person.goto(f"/admin/{STAFF}/")
        assert answer and answer.status == 403
        person.context.close()


# --- What they share ---


def is_accessible(page: Page) -> None:
    assert complaints(page) == [], page.url


def wrong_check_digit(isbn: str) -> str:
    return isbn[:-1] + str((int(isbn[-1]) + 1) % 10)
