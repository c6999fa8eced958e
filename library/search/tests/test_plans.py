"""How many rows MySQL reads for a page: by its own counters, so no clock decides.

With PLAN_BOOKS=1000000 on a large catalogue, in some minutes.
"""

import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import isqrt
from typing import Any

import pytest
from django.db import connection

from library.filters import BookFilterSet
from library.models import Book, BookQuerySet
from library.search.models import BookWord, BookWordQuerySet, Way, Word
from library.search.terms import Part, Term
from library.search.words import bloom_of, stem_of
from library.tests.books import isbn_number
from project.base import keyset
from project.base.tests.reads import rows_read

pytestmark = [pytest.mark.mysql, pytest.mark.django_db]

BOOKS = int(os.environ.get("PLAN_BOOKS", 20_000))
PAGE = 50
# Of every how many books have it. Of the middling ones it takes longest to find a page.
FREQUENT = {"the": 2, "of": 4, "and": 10}
MIDDLING = {f"middling{n}": max(isqrt(BOOKS) // n, 2) for n in (1, 2, 3, 4, 8, 20)}
BEGINNING = {f"begin{n:02}": 20 for n in range(12)}
EVERY = {**FREQUENT, **MIDDLING, **BEGINNING, "rare": BOOKS // 30}
AUTHORS = {"john": 40, "smith": 90, "ann": isqrt(BOOKS) // 4}
ORDERINGS = ["title", "author", "publication_year", "created_at", "updated_at", "id"]


def sql(statement: str, rows: list[Any] | None = None) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows) if rows else cursor.execute(statement)


@pytest.fixture(scope="module", autouse=True)
def catalogue(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        write()
        sql("ANALYZE TABLE library_book, library_word, library_bookword")
        yield
        for table in ("library_bookword", "library_word", "library_book"):
            sql(f"TRUNCATE TABLE {table}")


def write() -> None:
    chance = random.Random(1)
    texts = [*EVERY, *AUTHORS, *(f"filler{n}" for n in range(500))]
    ids = {text: pk for pk, text in enumerate(texts, 1)}
    sql(
        "INSERT INTO library_word (id, text, stem) VALUES (%s, %s, %s)",
        [(pk, text, stem_of(text)) for text, pk in ids.items()],
    )
    start = datetime(2020, 1, 1, tzinfo=UTC)
    for first in range(1, BOOKS + 1, 10_000):
        books, words = [], []
        for pk in range(first, min(first + 10_000, BOOKS + 1)):
            title = [text for text, each in EVERY.items() if chance.random() * each < 1]
            # Of any length: the order of relevance begins with short titles.
            title += [f"filler{chance.randrange(500)}" for _ in range(chance.randint(1, 8))]
            author = [text for text, each in AUTHORS.items() if chance.random() * each < 1]
            author = author or [f"filler{chance.randrange(500)}"]
            chance.shuffle(title)
            bloom = bloom_of({*title, *author})
            rank = min(len(title), BookWord.LONG_TITLE_RANK)
            words += [(ids[text], rank, pk, *bloom) for text in set(title)]
            words += [(ids[text], BookWord.AUTHOR_RANK, pk, *bloom) for text in author]
            year = 2026 - int(chance.expovariate(1 / 20)) % 500
            times = [start + timedelta(minutes=chance.randrange(10**6)) for _ in range(2)]
            books.append(
                (pk, " ".join(title), " ".join(author), year, isbn_number(pk), *times, 1, *bloom)
            )
        sql(
            "INSERT INTO library_book (id, title, author, publication_year, isbn, created_at, "
            "updated_at, version, bloom_low, bloom_high) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, "
            "%s, %s)",
            books,
        )
        BookWord.objects.insert(sorted(words))


@pytest.fixture(autouse=True)
def samples(monkeypatch) -> int:
    """What is read to choose a way; of a small catalogue less, or it would be all of it."""
    if BOOKS < 1_000_000:
        monkeypatch.setattr(BookQuerySet, "MAX_LISTED_IDS", 20)
        for name in ("MAX_RARE_ROWS", "SAMPLE_BOOKS", "MIN_SORTED_BOOKS"):
            monkeypatch.setattr(BookWordQuerySet, name, 100)
        monkeypatch.setattr(BookWordQuerySet, "MAX_SORTED_ROWS", 300)
        monkeypatch.setattr(BookWordQuerySet, "MANY_BOOKS", 0)
    words = BookWordQuerySet
    return (
        3 * words.MAX_RARE_ROWS
        + 2 * 9 * words.SAMPLE_BOOKS
        + 2 * words.MAX_SORTED_ROWS
        + words.SAMPLE_BOOKS
        + 2 * words.SAMPLE_GROWTH * words.MIN_SAMPLE_ROWS
    )


def page_of(books: BookQuerySet, ordering: list[str], keys: list[Any] | None = None) -> list[Any]:
    return keyset.read_page(books, ordering, PAGE, keys).rows


def middle_of(column: str) -> list[Any]:
    book = Book.objects.get(pk=BOOKS // 2)
    return keyset.keys_of(book, [column] if column == "id" else [column, "id"])


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("column", ORDERINGS)
def test_a_page_of_all_books_reads_only_its_rows_at_any_depth(column, sign):
    ordering = [sign + column] if column == "id" else [sign + column, f"{sign}id"]
    for keys in (None, middle_of(column)):
        assert rows_read(lambda keys=keys: page_of(Book.objects.all(), ordering, keys)) < 3 * PAGE


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        "title,author",
        "title,-publication_year",
        "-title,id",
        "author,-publication_year,title",
        "publication_year,title",
        "-publication_year,created_at",
        "created_at,updated_at,title",
    ],
)
def test_a_page_in_order_of_several_fields_reads_few_rows(fields, backwards):
    ordering = keyset.total_ordering(Book.objects.order_by(*fields.split(",")))
    for keys in (None, keyset.keys_of(Book.objects.get(pk=BOOKS // 2), ordering)):

        def page(keys=keys):
            return keyset.read_page(Book.objects.all(), ordering, PAGE, keys, backwards).rows

        assert rows_read(page) < 6 * isqrt(BOOKS * PAGE)


SEARCHES = [
    "the",
    *MIDDLING,
    "rare",
    "the of",
    "the middling1",
    "the middling4",
    "the middling20",
    "the rare",
    "of and",
    "begin",
    "the begin",
    "middling4 begin",
    # Few books have all of them: the samples of a small catalogue are too small to tell.
    *(["middling8 middling20", "middling4 the of"] if BOOKS >= 200_000 else []),
]


@pytest.mark.parametrize("text", SEARCHES)
def test_a_page_of_a_search_by_relevance_reads_few_rows(samples, text):
    books = Book.objects.search(text)
    most = samples + 4 * isqrt(BOOKS * PAGE)
    assert rows_read(lambda: page_of(books, keyset.total_ordering(books))) < most


@pytest.mark.parametrize("column", ORDERINGS)
@pytest.mark.parametrize("text", SEARCHES)
def test_a_page_of_a_search_in_another_order_reads_few_rows(samples, text, column):
    for sign in ("", "-"):
        ordering = [sign + column] if column == "id" else [sign + column, f"{sign}id"]

        def page(ordering=ordering):
            return page_of(Book.objects.search(text, ranked=False), ordering)

        assert rows_read(page) < samples + 6 * isqrt(BOOKS * PAGE)


@pytest.mark.parametrize("author", [*AUTHORS, "john smith"])
def test_a_page_of_an_author_reads_few_rows(samples, author):
    def page():
        return page_of(Book.objects.search(author=author), ["title", "id"])

    assert rows_read(page) < samples + 6 * isqrt(BOOKS * PAGE)


@pytest.mark.parametrize("title", ["the", *MIDDLING])
def test_a_page_of_a_title_filter_reads_few_rows(samples, title):
    def page():
        return page_of(Book.objects.search(title=title), ["title", "id"])

    assert rows_read(page) < samples + 6 * isqrt(BOOKS * PAGE)


@pytest.mark.parametrize("title", ["the", *MIDDLING])
def test_a_page_of_a_word_in_years_of_few_books_reads_few_rows(samples, title):
    asked = {"title": title, "publication_year_max": "1930"}

    def page():
        return page_of(BookFilterSet(asked, Book.objects.all()).qs, ["title", "id"])

    assert rows_read(page) < samples + 6 * isqrt(BOOKS * PAGE)


@pytest.mark.parametrize("search", ["", "the"])
@pytest.mark.parametrize("title", ["the", "middling1", "middling4"])
@pytest.mark.parametrize("author", ["john", "ann"])
def test_a_page_with_words_of_several_fields_reads_few_rows(samples, search, title, author):
    for ranked in (True, False):

        def page(ranked=ranked):
            books = Book.objects.search(search, ranked, title, author)
            by_relevance = search and ranked
            return page_of(books, keyset.total_ordering(books) if by_relevance else ["title", "id"])

        assert rows_read(page) < samples + 6 * isqrt(BOOKS * PAGE)


@pytest.mark.parametrize("text", ["the", "middling4", "middling20"])
@pytest.mark.parametrize("year", [2020, 2000, 1980])
def test_a_page_by_relevance_in_a_year_reads_few_rows(samples, text, year):
    def page():
        books = Book.objects.filter(publication_year=year).search(text)
        return page_of(books, keyset.total_ordering(books))

    assert rows_read(page) < samples + 6 * isqrt(BOOKS * PAGE)


@pytest.mark.parametrize(("year", "along"), [({"gte": 1990}, True), ({"lte": 1600}, False)])
def test_rows_of_a_word_are_read_where_the_others_leave_many_of_its_books(year, along):
    [(condition, value)] = year.items()
    books = Book.objects.filter(**{f"publication_year__{condition}": value}).search("the")
    assert bool(books.reading.driving_table) is along


@pytest.mark.parametrize(
    ("title", "years", "way"),
    [
        ("the", {}, Way.ORDERING),
        ("the", {"publication_year_min": "1990"}, Way.ORDERING),
        ("middling8", {"publication_year_max": "1930"}, Way.OTHERS),
        ("middling1", {"publication_year_min": "1990"}, Way.WORDS),
    ],
)
def test_candidates_come_from_where_they_are_fewest(samples, title, years, way):
    books = BookFilterSet(years, Book.objects.all()).qs
    word = Word.objects.get(text=title)
    term = Term(word.pk, [word.pk], frozenset([word.stem]), Part.TITLE)
    assert BookWord.objects.soonest(books, [term]) == way


@pytest.mark.parametrize("years", [(2001, 2001), (1950, 2100), (1900, 1920), (1850, 1900)])
@pytest.mark.parametrize("column", ["title", "author", "publication_year"])
def test_a_page_of_some_years_reads_few_rows(years, column):
    first, last = years
    books = Book.objects.filter(publication_year__gte=first, publication_year__lte=last)
    books = books.reading_ids_first("publication_year")  # as the filter of API and admin does

    assert rows_read(lambda: page_of(books, [column, "id"])) < 6 * isqrt(BOOKS * PAGE)


@pytest.mark.parametrize("ordering", [None, ["title", "id"], ["publication_year", "id"]])
def test_a_page_of_a_year_alone_reads_few_rows(ordering):
    books = Book.objects.search("2001", ranked=ordering is None)
    order = ordering or keyset.total_ordering(books)
    assert rows_read(lambda: page_of(books, order)) < 100 * PAGE, "one book in 70 is of that year"


def test_words_are_looked_for_only_in_books_of_the_years_asked_for():
    asked = {"title": "the", "publication_year_max": "1950"}
    sql = str(BookFilterSet(asked, Book.objects.all()).qs.query)
    assert 0 < sql.index("`publication_year` <=") < sql.index("EXISTS")


def test_words_are_looked_for_after_all_that_an_index_entry_tells():
    asked = {"title": "the", "search": "of", "ordering": "title"}
    sql = str(BookFilterSet(asked, Book.objects.all()).qs.query)
    assert sql.rindex("bloom_low") < sql.index("EXISTS")


def test_a_walk_along_an_ordering_reads_its_index_alone(monkeypatch):
    monkeypatch.setattr(BookQuerySet, "MAX_LISTED_IDS", 0)
    monkeypatch.setattr(BookWordQuerySet, "MIN_SORTED_BOOKS", 0)
    monkeypatch.setattr(BookWordQuerySet, "PAGE_SIZE", 0)
    books = Book.objects.search("middling1", ranked=False)
    assert books.reading.ids_first
    for column in ORDERINGS[:-1]:
        plan = books.order_by(column, "id").values("pk")[:PAGE].explain()
        index = {"publication_year": "year"}.get(column, column.removesuffix("_at"))
        assert f"Covering index scan on library_book using library_book_{index}" in plan, plan


def test_words_are_as_frequent_as_this_file_says():
    for text, each in {"the": 2, "middling1": isqrt(BOOKS)}.items():
        word = Word.objects.get(text=text)
        assert BookWord.objects.filter(word=word).count() == pytest.approx(BOOKS / each, rel=0.4)
