"""What each page costs at several sizes of the desk, side by side; see README.md beside this file."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
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


# What the README's picture shows, under shorter names.
DRAWN = {
    "search two frequent words": "search, two frequent words",
    "title has a frequent word": "filter by a word of the title",
    "published in 2001": "filter by year",
    "ordered by title, page at nine tenths": "list, page at nine tenths",
    "first page": "list, first page",
    "search a rare word": "search, a rare word",
    "ISBN filter": "filter by ISBN",
}


def draw(path: Path, books: list[int], desks: list[dict[str, Any]]) -> None:
    """Needs matplotlib. Grey on nothing, so that it is read on a light page and on a dark one."""
    import matplotlib as mpl
    from matplotlib import pyplot

    colours = dict.fromkeys(("text", "axes.label", "axes.edge", "xtick", "ytick"), "#8a8f98")
    mpl.rcParams |= {f"{name}{'' if '.' in name else '.'}color": c for name, c in colours.items()}
    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    for page, name in DRAWN.items():
        total = [sum(desk["pages"][page][1:]) for desk in desks]
        axes.plot(books, total, marker="o", label=name)
    axes.set(xscale="log", ylim=0, xlabel="books", ylabel="CPU per request, ms")
    axes.set_xticks(books, [f"{number:,}" for number in books])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path, transparent=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="a CSV file with columns title and authors")
    parser.add_argument("books", type=int, nargs="+", help="such as 10000 1000000 10000000")
    parser.add_argument("--members", type=int, default=1_000_000, help="at most")
    parser.add_argument("--draw", type=Path, help="an SVG file; needs matplotlib")
    options = parser.parse_args()
    for books in options.books:
        prepare(options.source, books, min(books, options.members))
    for kind in ("api", "admin"):
        desks = []
        for books in options.books:
            with tempfile.NamedTemporaryFile() as file:
                run(books, FOLDER / "pages.py", kind, "--json", file.name)
                desks.append(json.load(file))
        print_table(options.books, desks)
        if options.draw and kind == "api":
            draw(options.draw, options.books, desks)


def print_table(books: list[int], desks: list[dict[str, Any]]) -> None:
    print(f"\n| CPU in ms, Python + MySQL | {' | '.join(f'{n:,}' for n in books)} | ratio |")
    print(f"|---|{'--:|' * len(books)}--:|")
    for name, what in (("bytes_per_book", "bytes on disk per book"), ("peak_mb", "MB of memory")):
        print(f"| {what} | {' | '.join(f'{desk[name]:,.0f}' for desk in desks)} | |")
    for page in desks[0]["pages"]:  # the words of a search differ from size to size
        cells = [desk["pages"].get(page) for desk in desks]
        if all(cells):
            shown = " | ".join(f"{python:.1f} + {mysql:.1f}" for _rows, mysql, python in cells)
            (_, *small), (_, *large) = cells[0], cells[-1]
            print(f"| {page} | {shown} | {sum(large) / sum(small):.2f} |", flush=True)


if __name__ == "__main__":
    main()
