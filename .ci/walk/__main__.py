#!/usr/bin/env python3
"""Walks through a running desk from outside, as its users do; standard library only.

walk main URL MAILPIT   the main path, once; the staff password is in DESK_PASSWORD
walk staff URL          the catalogue's work: search box, import and its undo, bulk change, export
walk load URL FILE      registers members until FILE.stop appears; writes accepted ones to FILE.
                        A registration may fail only while FILE.down exists
walk settle URL MAILPIT FILE MOST   each accepted member exists and got the welcome e-mail,
                        at most MOST of them twice and nobody more often
walk counts URL         prints the number of books and of members
walk answers URL        waits until the desk is ready
walk door URL           nginx: slow clients, limits and compression
walk closed URL         nginx while no web runs
walk tls URL            TLS ends at another proxy in front (HTTPS=1, TRUSTED_PROXIES=2)
"""

import random
import sys
from collections.abc import Callable

from catalogue import staff
from client import Browser, expect, new_isbn, page_with_assets, program, sign_in, step, until
from nginx import closed, door, tls
from registering import load, mails, sent, settle


def main_path(base: str, mailpit: str) -> None:
    browser = Browser(base)
    sign_in(browser)
    page_with_assets(browser, "/admin/")
    page_with_assets(browser, "/api/docs/")

    client = program(base)
    word = f"walk{random.randrange(10**8)}"
    book = {
        "title": f"A {word} through the library",
        "author": "Ann Walker",
        "publication_year": 2020,
        "isbn": new_isbn(),
    }
    answer = client.ask("/api/v1/books/", book)
    expect(answer.status == 201, "a book cannot be created", answer)
    found = Browser(base).ask(f"/api/v1/books/?search={word}")
    expect(found.status == 200 and len(found.json()["results"]) == 1, "a book is not found", found)
    step("book created by the API, and found")

    name = f"walker-{random.randrange(10**9)}"
    address = f"{name}@example.org"
    answer = Browser(base).ask("/api/v1/members/register/", {"username": name, "email": address})
    expect(answer.status == 201, "a member cannot register", answer)
    until(60, "the welcome e-mail has not arrived", lambda: mails(mailpit, address))
    step("member registered, welcome e-mail arrived")
    until(20, "the member does not count as welcomed", lambda: sent(client, name))
    page = browser.ask("/admin/django_celery_results/taskresult/")
    expect(page.status == 200, "the task results are not shown", page)
    step("task results shown in the admin")


def answers(base: str) -> None:
    until(60, "the desk is not ready", lambda: Browser(base).ask("/health/ready/").status == 200)


def counts(base: str) -> None:
    client = program(base)
    found = [
        client.ask(f"/api/v1/{path}/?count=true&page_size=1").json()["count"]
        for path in ("books", "members")
    ]
    print(*found)


COMMANDS: dict[str, Callable[..., None]] = {
    "main": main_path,
    "staff": staff,
    "load": load,
    "settle": settle,
    "counts": counts,
    "answers": answers,
    "door": door,
    "closed": closed,
    "tls": tls,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
