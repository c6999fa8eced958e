"""Database time of a page of the catalogue; see README.md beside this file."""

import argparse
import csv
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
os.environ["THROTTLE_ANON"] = ""

import django  # noqa: E402

django.setup()

from django.db import connection, transaction  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.test import APIClient, APIRequestFactory  # noqa: E402
from stdnum import ean  # noqa: E402
from tqdm import tqdm  # noqa: E402

from library.models import Book  # noqa: E402
from library.search.models import BookWord, Word  # noqa: E402
from project.api.pagination import KeysetPagination  # noqa: E402
from project.base.keyset import total_ordering  # noqa: E402

FILL_BATCH_SIZE = 20_000
HOST = {"host": "localhost"}
SYLLABLES = [consonant + vowel for consonant in "bdgklmnrst" for vowel in "aeo"]


# --- Fill ---


def fill(source: Path, count: int) -> None:
    """Add `count` invented books, with the words of a real catalogue at their real frequency."""
    books = invented(source, random.Random(1))
    word_ids = dict(Word.objects.values_list("text", "pk"))
    last = Book.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    with tqdm(total=count, unit=" books", file=sys.stderr) as bar:
        for first in range(last + 1, last + count + 1, FILL_BATCH_SIZE):
            size = min(FILL_BATCH_SIZE, last + count + 1 - first)
            batch = list(islice(books, size))
            for pk, book in enumerate(batch, first):
                book.pk = pk
                book.isbn = isbn_number(pk)
            with transaction.atomic():
                write(batch, word_ids)
            bar.update(size)
    with connection.cursor() as cursor:
        tables = ", ".join(model._meta.db_table for model in (Book, Word, BookWord))
        cursor.execute(f"ANALYZE TABLE {tables}" if connection.vendor == "mysql" else "ANALYZE")


def write(books: list[Book], word_ids: dict[str, int]) -> None:
    """What bulk_create() writes, in a third of its time."""
    wanted = {book.pk: BookWord.ranked_words(book) for book in books}
    new = {text for found in wanted.values() for text, rank in found} - word_ids.keys()
    Word.objects.bulk_create([Word(text=text) for text in sorted(new)])
    word_ids |= Word.objects.ids_of(new)
    insert(Book, [[getattr(book, f.attname) for f in Book._meta.fields] for book in books])
    BookWord.objects.insert(
        sorted((word_ids[text], rank, pk) for pk, found in wanted.items() for text, rank in found)
    )


def insert(model: type[Book], rows: list[list[Any]]) -> None:
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in model._meta.fields)
    marks = ", ".join(["%s"] * len(model._meta.fields))
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES ({marks})", rows
        )


def invented(source: Path, chance: random.Random) -> Iterator[Book]:
    with source.open(encoding="utf-8-sig") as file:
        rows = [
            (row["title"].split(), row["authors"].split(", ")[0]) for row in csv.DictReader(file)
        ]
    words = [word for title, _ in rows for word in title]
    lengths = [len(title) for title, _ in rows]
    names = [author.split() for _, author in rows]
    start = datetime(2020, 1, 1, tzinfo=UTC)
    for number in range(10**9):
        title = chance.choices(words, k=chance.choice(lengths))
        if chance.random() < 0.2:  # as in real catalogues, most words occur once or twice
            title.append("".join(chance.choices(SYLLABLES, k=5)).capitalize())
        author = [chance.choice(names)[0], chance.choice(names)[-1]]
        added = start + timedelta(seconds=150 * number)
        yield Book(
            title=" ".join(title)[:500],
            author=" ".join(author),
            publication_year=2026 - int(chance.expovariate(1 / 20)) % 500,
            created_at=added,
            updated_at=added + timedelta(seconds=chance.randrange(10**7)),
        )


def isbn_number(number: int) -> str:
    body = f"978{number * 387_420_489 % 10**9:09d}"  # scattered; odd and no 5, so no two are equal
    return body + ean.calc_check_digit(body)


# --- Measure ---


def cases() -> Iterator[tuple[str, dict[str, str]]]:
    deep = Book.objects.count() * 9 // 10
    frequent, second = by_frequency()[:2]
    middle = by_frequency()[300]
    rare = (
        Word.objects.filter(pk__gt=Word.objects.count() // 2).exclude(text__regex="[0-9]").first()
    )
    assert rare is not None
    some = Book.objects.order_by("pk")[deep]
    yield "first page", {}
    for name in ("title", "author", "publication_year", "created_at", "id"):
        for sign in ("", "-"):
            ordering = {"ordering": sign + name}
            yield f"ordered by {sign}{name}", ordering
            yield f"ordered by {sign}{name}, page at nine tenths", at(deep, ordering)
    yield f"title has “{frequent}”", {"title": frequent}
    yield f"title has “{middle}”", {"title": middle}
    yield f"title has “{frequent} {second}”", {"title": f"{frequent} {second}"}
    yield f"title has “{rare}”", {"title": str(rare)}
    yield "author has “john”", {"author": "john"}
    yield "author has “john smith”", {"author": "john smith"}
    yield "published in 2001", {"publication_year": "2001"}
    yield "1850 to 1900", {"publication_year_min": "1850", "publication_year_max": "1900"}
    yield "1950 or later", {"publication_year_min": "1950"}
    yield (
        f"title has “{frequent}”, 1850 to 1900",
        {
            "title": frequent,
            "publication_year_min": "1850",
            "publication_year_max": "1900",
        },
    )
    yield "ISBN filter", {"isbn": str(some.isbn)}
    searches = {
        "a frequent word": frequent,
        "two frequent words": f"{frequent} {second}",
        "a middling word": middle,
        "a frequent and a middling word": f"{frequent} {middle}",
        "two middling words": f"{middle} {by_frequency()[301]}",
        "a rare word": str(rare),
        "a frequent and a rare word": f"{frequent} {rare}",
        "a whole title": some.title,
        "a beginning (3 letters or more)": f"{frequent} {str(rare)[:-2]}",
        "an ISBN": str(some.isbn),
        "an unknown word": "qwxzqwxz",
        "words never together": f"{rare} {Word.objects.get(pk=rare.pk + 7)}",
    }
    for name, text in list(searches.items())[:2]:
        position = Book.objects.search(text).count() // 2
        yield f"search {name}, page in the middle", at(position, {"search": text})
    for name, text in searches.items():
        yield f"search {name}", {"search": text}
        for order in ("title", "-publication_year"):
            if "word" in name:
                yield f"search {name}, by {order}", {"search": text, "ordering": order}


def by_frequency() -> list[str]:
    """Words of titles, most frequent first, counted in a sample of the books."""
    counts: dict[str, int] = {}
    for book in Book.objects.order_by("pk")[:20_000]:
        for text, rank in BookWord.ranked_words(book):
            if rank < BookWord.AUTHOR_RANK and len(text) > 1:
                counts[text] = counts.get(text, 0) + 1
    return sorted(counts, key=lambda text: (-counts[text], text))


def at(position: int, parameters: dict[str, str]) -> dict[str, str]:
    """The parameters with the cursor of the page that follows the book at this position."""
    books = Book.objects.all()
    if "search" in parameters:
        books = books.search(parameters["search"])
    if "ordering" in parameters:
        books = books.order_by(parameters["ordering"])
    ordering = total_ordering(books)
    paginator = KeysetPagination()
    paginator.request = Request(APIRequestFactory().get("/api/v1/books/", parameters, headers=HOST))
    paginator.ordering = ordering
    row = books.order_by(*ordering)[position]
    return parameters | {"cursor": paginator._cursor(row, backwards=False)}


class Stopwatch:
    """Time spent in the database, and the statement that took longest."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slowest: tuple[float, str, Any] = (0.0, "", ())

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        start = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            taken = time.perf_counter() - start
            self.seconds += taken
            self.slowest = max(self.slowest, (taken, sql, params), key=lambda s: s[0])


def measure(runs: int, slow: float, only: str) -> None:
    client = APIClient(headers=HOST)
    print(f"{connection.vendor}, {Book.objects.count():,} books, medians of {runs} runs\n")
    print("| page | database, ms | in all, ms |\n|---|--:|--:|")
    explained = []
    for name, parameters in cases():
        if only not in name:
            continue
        database, whole = [], []
        for _ in range(runs):
            watch = Stopwatch()
            start = time.perf_counter()
            with connection.execute_wrapper(watch):
                response = client.get(f"/api/v1/books/?{urlencode(parameters)}")
            whole.append((time.perf_counter() - start) * 1000)
            database.append(watch.seconds * 1000)
            assert response.status_code == 200, response.content
        median = statistics.median(database)
        found = len(response.json()["results"])
        print(f"| {name} ({found}) | {median:.1f} | {statistics.median(whole):.1f} |", flush=True)
        if statistics.median(whole if connection.vendor == "sqlite" else database) > slow:
            explained.append((name, watch.slowest))
    for name, (taken, sql, params) in explained:
        print(
            f"\n{name}: {taken * 1000:.1f} ms\n{sql[:2000] % params if len(params) < 30 else sql[:600]}"
        )
        explain = "EXPLAIN FORMAT=TREE " if connection.vendor == "mysql" else "EXPLAIN QUERY PLAN "
        with connection.cursor() as cursor:
            cursor.execute(explain + sql, params)
            for row in cursor.fetchall():
                print(str(row[-1])[:3000])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    filling = commands.add_parser("fill", help="add invented books")
    filling.add_argument("source", type=Path, help="a CSV file with columns title and authors")
    filling.add_argument("count", type=int)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--runs", type=int, default=7)
    measuring.add_argument("--slow", type=float, default=50, help="explain what takes longer (ms)")
    measuring.add_argument("--only", default="", help="pages whose name has this text")
    options = parser.parse_args()
    if options.command == "fill":
        fill(options.source, options.count)
    else:
        measure(options.runs, options.slow, options.only)


if __name__ == "__main__":
    main()
