"""The catalogue's work: search box, import and its undo, bulk change, export."""

import random
import re
import urllib.parse
from typing import Any

from client import Answer, Browser, expect, new_isbn, page_with_assets, sign_in, step, until

IMPORTS, BOOKS = "/admin/library/import/", "/admin/library/book/"


def post(
    browser: Browser,
    path: str,
    form: dict[str, Any] | None = None,
    file: tuple[str, bytes] | None = None,
) -> Answer:
    """As a form of the admin; follows its redirect."""
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.ask(BOOKS).text)
    expect(token, "a list has no CSRF token")
    answer = browser.ask(path, form={"csrfmiddlewaretoken": token[1]} | (form or {}), file=file)  # type: ignore[index]
    expect(answer.status == 200, f"{path} refuses", answer)
    return answer


def reaches(browser: Browser, job: str, state: str) -> None:
    """A worker takes the job to this state."""
    found = ""

    def reached() -> bool:
        nonlocal found
        found = browser.ask(f"{job}progress/").json()["state"]
        expect(found != "failed" or state == "failed", f"{job} failed", browser.ask(job))
        return found == state

    until(90, f"{job} is not {state}", reached)


def staff(base: str) -> None:
    browser, public = Browser(base), Browser(base)
    sign_in(browser)
    word, count = f"обход{random.randrange(10**8)}", 1200
    isbns = [new_isbn() for _ in range(count)]
    rows = [f"{word} {n};Анна Ходок;1999;{isbn}" for n, isbn in enumerate(isbns)]
    rows.append(f"{word} без номера;Анна Ходок;1999;123")
    content = "\n".join(["Название;Автор;Год;ISBN", *rows]).encode("cp1251")

    def listed(**query: str) -> int:
        query |= {"count": "true", "page_size": "1"}
        answer = public.ask(f"/api/v1/books/?{urllib.parse.urlencode(query)}")
        return answer.json()["count"]

    job = urllib.parse.urlsplit(
        post(browser, f"{IMPORTS}add/", file=("обход.csv", content)).url
    ).path.removesuffix("change/")
    reaches(browser, job, "examined")
    page = page_with_assets(browser, job)
    expect(f"{word} 0" in page.text and "cp1251" in page.text, "the preview lacks the rows", page)
    expect(listed(search=word) == 0, "books were written before the confirmation")
    post(browser, f"{job}confirm/")
    reaches(browser, job, "done")
    expect(listed(search=word) == count, "the import's books are not there")
    refused = browser.ask(f"{job}refused/")
    expect(
        refused.status == 200 and f"{word} без номера" in refused.body.decode("utf-8-sig"),
        "refused rows",
        refused,
    )
    uploaded = browser.ask(f"{job}file/")
    expect(uploaded.body == content, "the uploaded file is another", uploaded)
    step(f"{count} books of a cp1251 file imported by the worker, one row refused")

    hits = browser.ask(f"/admin/search/hits/?q={urllib.parse.quote(f'{word} 7')}").json()
    titles = [hit["title"] for group in hits["groups"] for hit in group["hits"]]
    expect(f"{word} 7" in titles, f"the search box finds {titles}")
    book = browser.ask(f"/admin/search/?q={isbns[7]}")
    expect(re.search(r"/book/\d+/change/", book.url), "an ISBN does not open its book", book)
    step("the search box finds, and an ISBN opens its book")

    exported = browser.ask(f"{BOOKS}export/?{urllib.parse.urlencode({'q': word, 'format': 'csv'})}")
    lines = exported.body.decode("utf-8-sig").splitlines()
    expect(exported.status == 200 and len(lines) == count + 1, f"{len(lines)} lines", exported)
    step("the list exported as CSV")

    list_of_word = f"{BOOKS}?{urllib.parse.urlencode({'q': word})}"
    first = re.search(r'name="_selected_action" value="(\d+)"', browser.ask(list_of_word).text)
    expect(first, "the list has no row to select")
    everything = {"action": "change_year", "select_across": "1", "index": "0"}
    everything |= {"_selected_action": first[1], "publication_year": "1998"}  # type: ignore[index]
    dry = post(browser, list_of_word, everything | {"preview": "1"})
    expect("<ins>1998</ins>" in dry.text, "the dry run shows no change", dry)
    expect(listed(search=word, publication_year="1998") == 0, "a dry run wrote")
    bulk = urllib.parse.urlsplit(
        post(browser, list_of_word, everything | {"confirmed": "1"}).url
    ).path.removesuffix("change/")
    reaches(browser, bulk, "done")
    expect(listed(search=word, publication_year="1998") == count, "the bulk change left books")
    post(browser, f"{bulk}undo/")
    reaches(browser, bulk, "undone")
    expect(listed(search=word, publication_year="1999") == count, "its undo left books")
    step(f"{count} books changed by the worker, and changed back")

    again = f"again{word}"
    second = content.decode("cp1251").replace(word, again)
    for isbn in isbns:
        second = second.replace(isbn, new_isbn())
    answer = post(browser, f"{IMPORTS}add/", file=("again.csv", second.encode("cp1251")))
    job = urllib.parse.urlsplit(answer.url).path.removesuffix("change/")
    reaches(browser, job, "examined")
    post(browser, f"{job}confirm/")
    reaches(browser, job, "done")
    expect(listed(search=again) == count, "the second import's books are not there")
    post(browser, f"{job}undo/")
    reaches(browser, job, "undone")
    expect(listed(search=again) == 0, "an undone import left books")
    page_with_assets(browser, job)
    page_with_assets(browser, "/admin/library/historicalbook/")
    step("the import undone")

    large = b"title;author;year;isbn\n" + b"x" * 4_000_000
    answer = post(browser, f"{IMPORTS}add/", file=("large.csv", large))
    expect(IMPORTS in answer.url and not answer.url.endswith("add/"), "4 MB are refused", answer)
    job = urllib.parse.urlsplit(answer.url).path.removesuffix("change/")
    until(
        60,
        "4 MB are not examined",
        lambda: browser.ask(f"{job}progress/").json()["state"] != "uploaded",
    )
    step("a file of 4 MB passes nginx")
