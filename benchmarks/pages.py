"""What a page of the API or of the admin costs; see README.md beside this file."""

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
os.environ["THROTTLE_ANON"] = ""

import django  # noqa: E402

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.db import DatabaseError, connection, models, transaction  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import reverse  # noqa: E402
from django_celery_results.models import TaskResult  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.test import APIRequestFactory  # noqa: E402

from library.models import Book  # noqa: E402
from library.search.models import BookWord, Word  # noqa: E402
from members.models import Member, WelcomeEmail  # noqa: E402
from project.api.pagination import KeysetPagination  # noqa: E402
from project.base.keyset import total_ordering  # noqa: E402

HOST = {"host": "localhost"}
Page = tuple[str, Callable[[], Any]]


def api_pages() -> Iterator[Page]:
    client = Client(headers=HOST)
    for name, parameters in cases():
        yield name, partial(client.get, f"/api/v1/books/?{urlencode(parameters)}")


def cases() -> Iterator[tuple[str, dict[str, str]]]:
    deep = Book.objects.count() * 9 // 10
    frequent, second = by_frequency()[:2]
    middle = by_frequency()[300]
    rare = rare_word()
    some = Book.objects.order_by("pk")[deep]
    yield "first page", {}
    for name in ("title", "author", "publication_year", "created_at", "id"):
        for sign in ("", "-"):
            ordering = {"ordering": sign + name}
            yield f"ordered by {sign}{name}", ordering
            yield f"ordered by {sign}{name}, page at nine tenths", at(deep, ordering)
    for pair in ("author,publication_year", "publication_year,title"):
        yield f"ordered by {pair}", {"ordering": pair}
    yield "title has a frequent word", {"title": frequent}
    yield "title has a middling word", {"title": middle}
    yield "title has two frequent words", {"title": f"{frequent} {second}"}
    yield "title has a rare word", {"title": str(rare)}
    yield "author has “john”", {"author": "john"}
    yield "author has “john smith”", {"author": "john smith"}
    yield "published in 2001", {"publication_year": "2001"}
    yield "1850 to 1900", {"publication_year_min": "1850", "publication_year_max": "1900"}
    yield "1950 or later", {"publication_year_min": "1950"}
    yield (
        "title has a frequent word, 1850 to 1900",
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


def rare_word() -> Word:
    later = Word.objects.filter(pk__gt=Word.objects.count() // 2)
    return later.exclude(text__regex="[0-9]")[0]


@cache
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


# --- Pages of the admin: every ordering and filter that a list offers, and those of one row ---


def admin_pages() -> Iterator[Page]:
    """As an administrator; what is saved and deleted is rolled back."""
    client = Client(headers=HOST | {"accept-language": "en"})
    user = User.objects.filter(username="benchmark").first()
    client.force_login(user or User.objects.create_superuser("benchmark"))
    yield "dashboard", partial(client.get, reverse("admin:index"))
    frequent, second = by_frequency()[:2]
    words = {
        "two frequent words": f"{frequent} {second}",
        "a middling word": by_frequency()[300],
        "a rare word": str(rare_word()),
    }
    names = {"many of one beginning": "reader1", "one name": "reader777"}
    one = TaskResult.objects.order_by("pk")[TaskResult.objects.count() // 2]
    searches: dict[type[models.Model], dict[str, str]] = {
        Book: words,
        Member: names,
        WelcomeEmail: names,
        TaskResult: {"its id": one.task_id},
    }
    for model, texts in searches.items():
        prefix = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        plural = str(model._meta.verbose_name_plural)
        for name, address in list_addresses(client, reverse(f"{prefix}_changelist"), texts):
            yield f"{plural}: {name}", partial(client.get, address)
        middle = model._base_manager.order_by("pk")[model._base_manager.count() // 2]
        change, history, delete = (
            reverse(f"{prefix}_{page}", args=[middle.pk])
            for page in ("change", "history", "delete")
        )
        yield f"{plural}: change page", partial(client.get, change)
        if model in (Book, Member):
            yield f"{plural}: history page", partial(client.get, history)
            yield f"{plural}: delete page", partial(client.get, delete)
            data = form_data(client, change)
            yield f"{plural}: change", partial(rolled_back, client, change, data)
            yield f"{plural}: delete", partial(rolled_back, client, delete, {"post": "yes"})


def list_addresses(
    client: Client, address: str, texts: dict[str, str]
) -> Iterator[tuple[str, str]]:
    def shown(query: str = "") -> Any:
        return context(client, address + query)["cl"]

    first = shown()
    yield "first page", address
    if first.last_link:
        yield "last page", address + first.last_link
        yield "last page but one", address + shown(first.last_link).previous_link
    for number, column in enumerate(first.list_display):
        if column in first.sortable_by and first.get_ordering_field(column):
            for sign in ("", "-"):
                yield f"ordered by column {sign}{number}", f"{address}?o={sign}{number}"
    for filter_ in first.filter_specs:
        for choice in filter_.choices(first):
            query = choice["query_string"].lstrip("?")
            if query and choice["display"]:  # what is typed has none
                yield f"{filter_.title}: {choice['display']}", f"{address}?{query}"
    for name, text in texts.items():
        yield f"search {name}", f"{address}?{urlencode({'q': text})}"


def context(client: Client, address: str) -> dict[str, Any]:
    return getattr(client.get(address), "context_data")  # noqa: B009  # of a TemplateResponse


def form_data(client: Client, address: str) -> dict[str, Any]:
    """What the browser sends when a form is saved as it is shown, but for the first field."""
    form = context(client, address)["adminform"].form
    data = {field.html_name: field.value() or "" for field in form}
    first = next(iter(data))
    return data | {first: f"{data[first]}x"}


def rolled_back(client: Client, address: str, data: dict[str, Any]) -> Any:
    with transaction.atomic():
        response = client.post(address, data)
        transaction.set_rollback(True)
    assert response.status_code == 302, response.content
    return response


# --- Measuring ---


class Stopwatch:
    """Time spent in the database, and the statement that took longest."""

    def __init__(self) -> None:
        self.seconds = 0.0  # in all
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


def measure(pages: Iterator[Page], runs: int, slow: float, only: str) -> dict[str, list[float]]:
    """Medians of each page: rows read, ms of the database, CPU ms of Python."""
    counts_cpu = cpu_ms() is not None
    print(f"\n| page | rows read | database{' CPU' * counts_cpu}, ms | Python CPU, ms |")
    print("|---|--:|--:|--:|")
    asking_ms = statistics.median(-(cpu_ms() or 0) + (cpu_ms() or 0) for _ in range(20))
    before = rows_read()
    cpu_ms(), cpu_ms()
    asking = rows_read() - before
    found: dict[str, list[float]] = {}
    explained = []
    for name, ask in pages:
        if only not in name:
            continue
        measured = []
        ask()  # what the first of a kind compiles and remembers
        for _ in range(runs):
            watch = Stopwatch()
            before, used = rows_read(), cpu_ms()
            start = time.process_time()
            with connection.execute_wrapper(watch):
                response = ask()
            python = (time.process_time() - start) * 1000
            now = cpu_ms()
            assert response.status_code in (200, 302), response.content
            database = now - used - asking_ms if now and used else watch.seconds * 1000
            measured.append((rows_read() - before - asking, database, python))
        found[name] = [statistics.median(values) for values in zip(*measured, strict=True)]
        rows, database, python = found[name]
        print(f"| {name} | {rows:,.0f} | {database:.1f} | {python:.1f} |", flush=True)
        if database > slow:
            explained.append((name, watch.slowest))
    for name, (taken, sql, params) in explained:
        text = (sql % tuple(params))[:2000] if len(params) < 30 else sql[:600]
        print(f"\n{name}: {taken * 1000:.1f} ms\n{text}")
        explain = "EXPLAIN FORMAT=TREE " if connection.vendor == "mysql" else "EXPLAIN QUERY PLAN "
        with connection.cursor() as cursor:
            cursor.execute(explain + sql, params)
            for row in cursor.fetchall():
                print(str(row[-1])[:3000])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["api", "admin"])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--slow", type=float, default=50, help="explain what takes longer (ms)")
    parser.add_argument("--only", default="", help="pages whose name has this text")
    parser.add_argument("--json", type=Path, help="writes the numbers here, too")
    options = parser.parse_args()
    print(f"{connection.vendor}, {Book.objects.count():,} books, medians of {options.runs} runs")
    disk = bytes_per_book() if connection.vendor == "mysql" else 0
    if disk:
        print(f"{disk:,.0f} bytes on disk per book, with its words and history")
    pages = {"api": api_pages, "admin": admin_pages}[options.kind]()
    found = measure(pages, options.runs, options.slow, options.only)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux
    print(f"\n{peak_mb:.0f} MB of memory at most")
    if options.json:
        desk = {"bytes_per_book": disk, "peak_mb": peak_mb, "pages": found}
        options.json.write_text(json.dumps(desk, ensure_ascii=False))


if __name__ == "__main__":
    main()
