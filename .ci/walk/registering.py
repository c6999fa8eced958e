"""Members who register under load, and the welcome e-mails that they get."""

import random
import time
import urllib.parse
from http.client import HTTPException
from pathlib import Path

from client import Browser, expect, program, step


def mails(mailpit: str, address: str) -> int:
    answer = Browser(mailpit).ask(f"/api/v1/search?query=to:{urllib.parse.quote(address)}")
    return len(answer.json()["messages"])


def sent(client: Browser, name: str) -> bool:
    answer = client.ask(f"/api/v1/members/?username={name}")
    results = answer.json()["results"] if answer.status == 200 else []
    return len(results) == 1 and results[0]["welcome_email"]["state"] == "sent"


def load(base: str, file: str) -> None:
    """A light load: each member tries again until accepted."""
    stop, down, run = Path(f"{file}.stop"), Path(f"{file}.down"), random.randrange(10**6)
    number, failures = 0, 0
    with Path(file).open("a") as out:
        while not stop.exists():
            number += 1
            name = f"load-{run}-{number}"
            account = {"username": name, "email": f"{name}@example.org"}
            failed_before = False
            while True:
                excused = down.exists()
                try:
                    answer = Browser(base).ask("/api/v1/members/register/", account)
                    status, text = answer.status, answer.text
                except (OSError, HTTPException) as error:
                    status, text = 0, repr(error)
                # 400 and 409 then mean "registered already": only the response was lost.
                if status == 201 or (failed_before and status in (400, 409)):
                    out.write(f"{name}\n")
                    out.flush()
                    break
                excused = (excused or down.exists()) and status in (0, 502, 503, 504)
                expect(excused, f"a registration failed: {status} {text[:500]}")
                failures, failed_before = failures + 1, True
                if stop.exists():
                    break
                time.sleep(1)
            time.sleep(0.3)
    step(f"{number} registrations; {failures} attempts failed while database or nginx was down")


def settle(base: str, mailpit: str, file: str, most: str) -> None:
    client, started = program(base), time.monotonic()
    names = waiting = Path(file).read_text().split()
    expect(len(names) > 20, f"only {len(names)} members registered under load")
    end = time.monotonic() + 400
    while waiting:
        waiting = [name for name in waiting if not sent(client, name)]
        expect(time.monotonic() < end, f"{len(waiting)} members wait for their e-mail: {waiting}")
        time.sleep(1)
    waited = time.monotonic() - started
    got = [mails(mailpit, f"{name}@example.org") for name in names]
    missing = [name for name, count in zip(names, got, strict=True) if not count]
    expect(not missing, f"counted as welcomed, but without an e-mail: {missing}")
    twice = got.count(2)
    step(f"{len(names)} members, all welcomed after {waited:.0f} s, {twice} of them twice")
    expect(max(got) <= 2, f"somebody got {max(got)} e-mails")
    expect(twice <= int(most), f"{twice} members got their e-mail twice; at most {most} may")
