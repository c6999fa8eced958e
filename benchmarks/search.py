"""Database time of a page of the catalogue; see README.md beside this file."""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
os.environ["THROTTLE_ANON"] = ""

import django  # noqa: E402

django.setup()

from django.db import DatabaseError, connection  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.test import APIClient, APIRequestFactory  # noqa: E402

from library.models import Book  # noqa: E402
from library.search.models import BookWord, Word  # noqa: E402
from project.api.pagination import KeysetPagination  # noqa: E402
from project.base.keyset import total_ordering  # noqa: E402

HOST = {"host": "localhost"}


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
    for pair in ("author,publication_year", "publication_year,title"):
        yield f"ordered by {pair}", {"ordering": pair}
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


def rows_read() -> int:
    """By this connection so far, asking included; MySQL counts them."""
    if connection.vendor != "mysql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(value) for _, value in cursor.fetchall())


def cpu_ms() -> float | None:
    """That MySQL has used for this connection, if the server counts it and lets us read it."""
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute(
            "SELECT SUM(sum_cpu_time) / 1e9 FROM performance_schema.threads JOIN "
            "performance_schema.events_statements_summary_by_thread_by_event_name "
            "USING (thread_id) WHERE processlist_id = CONNECTION_ID()"
        )
        return float(cursor.fetchone()[0]) or None
    return None


def bytes_per_book() -> float:
    tables = [model._meta.db_table for model in (Book, Book.history.model, Word, BookWord)]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT SUM(data_length + index_length) FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_name IN %s",
            [tables],
        )
        return float(cursor.fetchone()[0]) / Book.objects.count()


def measure(runs: int, slow: float, only: str) -> None:
    client = APIClient(headers=HOST)
    print(f"{connection.vendor}, {Book.objects.count():,} books, medians of {runs} runs")
    if connection.vendor == "mysql":
        print(f"{bytes_per_book():,.0f} bytes on disk per book, with its words and history")
    counts_cpu = cpu_ms() is not None
    print(f"\n| page | rows read | database{' CPU' * counts_cpu}, ms | in all, ms |")
    print("|---|--:|--:|--:|")
    asking_ms = statistics.median(-(cpu_ms() or 0) + (cpu_ms() or 0) for _ in range(20))
    before = rows_read()
    cpu_ms(), cpu_ms()
    asking = rows_read() - before
    explained = []
    for name, parameters in cases():
        if only not in name:
            continue
        database, whole, rows = [], [], []
        for _ in range(runs):
            watch = Stopwatch()
            before = rows_read()
            used = cpu_ms()
            start = time.perf_counter()
            with connection.execute_wrapper(watch):
                response = client.get(f"/api/v1/books/?{urlencode(parameters)}")
            whole.append((time.perf_counter() - start) * 1000)
            now = cpu_ms()
            spent = now - used - asking_ms if now and used else watch.seconds * 1000
            database.append(spent)
            rows.append(rows_read() - before - asking)
            assert response.status_code == 200, response.content
        median = statistics.median(database)
        found = len(response.json()["results"])
        print(
            f"| {name} ({found}) | {statistics.median(rows):,.0f} | {median:.1f} "
            f"| {statistics.median(whole):.1f} |",
            flush=True,
        )
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
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--slow", type=float, default=50, help="explain what takes longer (ms)")
    parser.add_argument("--only", default="", help="pages whose name has this text")
    options = parser.parse_args()
    measure(options.runs, options.slow, options.only)


if __name__ == "__main__":
    main()
