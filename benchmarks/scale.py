"""What each page costs at several sizes of the desk, side by side; see README.md beside this file."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import MySQLdb

FOLDER = Path(__file__).resolve().parent
SERVER = urlsplit(os.environ["DATABASE_URL"])


def run(books: int, *command: object) -> float:
    """Seconds that this command of Python takes on the desk of this size."""
    url = SERVER._replace(path=f"{SERVER.path}_{books}").geturl()
    start = time.monotonic()
    subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=FOLDER.parent,
        env=os.environ | {"DATABASE_URL": url},
        stdout=sys.stderr,
        check=True,
    )
    return time.monotonic() - start


def prepare(source: Path, books: int, members: int) -> None:
    """Fill a database of its own, unless an earlier run has."""
    name = f"{SERVER.path[1:]}_{books}"
    server = MySQLdb.connect(
        host=SERVER.hostname, port=SERVER.port, user=SERVER.username, password=SERVER.password
    )
    if server.cursor().execute(f"SHOW DATABASES LIKE '{name}'"):
        return
    server.cursor().execute(f"CREATE DATABASE `{name}`")
    run(books, "manage.py", "migrate", "--verbosity", "0")
    seconds = run(books, FOLDER / "fill.py", source, books, "--members", members)
    print(f"{books:,} books and {members:,} members: filled in {seconds:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="a CSV file with columns title and authors")
    parser.add_argument("books", type=int, nargs="+", help="such as 10000 1000000 10000000")
    parser.add_argument("--members", type=int, default=1_000_000, help="at most")
    options = parser.parse_args()
    for books in options.books:
        prepare(options.source, books, min(books, options.members))
    for kind in ("api", "admin"):
        columns = []
        for books in options.books:
            with tempfile.NamedTemporaryFile() as file:
                run(books, FOLDER / "pages.py", kind, "--json", file.name)
                columns.append(json.load(file))
        print(
            f"\n| CPU in ms, Python + MySQL | {' | '.join(f'{n:,}' for n in options.books)} | ratio |"
        )
        print(f"|---|{'--:|' * len(columns)}--:|")
        for page in columns[0]:  # the words of a search differ from size to size
            cells = [column.get(page) for column in columns]
            if all(cells):
                shown = " | ".join(f"{python:.1f} + {mysql:.1f}" for _rows, mysql, python in cells)
                (_, *small), (_, *large) = cells[0], cells[-1]
                print(f"| {page} | {shown} | {sum(large) / sum(small):.2f} |", flush=True)


if __name__ == "__main__":
    main()
