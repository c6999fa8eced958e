"""Whichever way a search takes, it finds the same books and reads few rows."""

import re

import pytest
from django.db import connection, models
from django.test.utils import CaptureQueriesContext

from library.models import Book, BookQuerySet
from library.search.models import ANY_WORD, BookWord, BookWordQuerySet, Way, Word
from library.search.terms import Term
from library.tests.books import add, titles
from project.base import keyset

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("rare", [1, 1000])
@pytest.mark.parametrize(("listed", "few"), [(500, 500), (0, 500), (0, 0)])
def test_every_strategy_finds_the_same_books_in_any_order(monkeypatch, listed, few, rare):
    monkeypatch.setattr(BookQuerySet, "MAX_LISTED_IDS", listed)
    monkeypatch.setattr(BookWordQuerySet, "MIN_SORTED_BOOKS", few)
    monkeypatch.setattr(BookWordQuerySet, "PAGE_SIZE", few)
    monkeypatch.setattr(BookWordQuerySet, "MAX_RARE_ROWS", rare)
    for n in range(9):
        add(title=f"{'red' if n % 2 else 'blue'} {'sea' if n % 3 else 'sky'} {n}", author="Red Ink")
    found = Book.objects.search("red sea", ranked=False).order_by("-title")
    assert titles(found) == sorted(titles(Book.objects.search("red sea")), reverse=True)
    assert found.count() == 6
    narrowed = Book.objects.search("sea", False, "red", "ink")
    assert titles(narrowed.order_by("title")) == ["red sea 1", "red sea 5", "red sea 7"]


@pytest.mark.parametrize("way", Way)
def test_words_are_found_among_the_books_of_other_filters(monkeypatch, way):
    monkeypatch.setattr(BookWordQuerySet, "soonest", lambda *args: way)
    monkeypatch.setattr(BookQuerySet, "MAX_LISTED_IDS", 0)
    for n in range(8):
        add(title=f"Red Sea {n}", author="Blue Ink", publication_year=1990 + n % 4)
    add(title="Red", author="Sea", publication_year=1991)
    models.QuerySet.update(Book.objects.all(), bloom_low=ANY_WORD, bloom_high=ANY_WORD)
    books = Book.objects.filter(publication_year=1991).search(title="red sea")
    for found in (books, books.search(author="ink")):
        assert titles(keyset.read_page(found, ["-title", "-id"], 5).rows) == [
            "Red Sea 5",
            "Red Sea 1",
        ]
        assert found.count() == 2
    Word.objects.create(text="unused")
    for nothing in (Book.objects.none(), Book.objects.filter(pk__in=[])):
        assert not nothing.search(title="red sea")
    assert not Book.objects.search(author="unused").search(title="red sea")


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("ordering", [["title", "id"], ["-author", "title", "-id"], ["-id"]])
def test_pages_of_sorted_books_hold_those_that_have_the_words(ordering, backwards):
    for n in range(9):
        add(title=f"{'red' if n % 3 else 'blue'} sea {n % 4}", author=f"A{n % 2}")
    # Filters that allow any word: as after raw SQL, or by chance.
    models.QuerySet.update(BookWord.objects.all(), bloom_low=ANY_WORD, bloom_high=ANY_WORD)
    books = Book.objects.search("red sea", ranked=False)
    assert books.reading.few
    keys, found = None, []
    while (page := keyset.read_page(books, ordering, 2, keys, backwards)).rows:
        found = page.rows + found if backwards else found + page.rows
        keys = keyset.keys_of(page.rows[0 if backwards else -1], ordering)
    assert len(found) == 6
    assert found == list(books.order_by(*ordering))
    assert not keyset.read_page(books.search(author="unknown"), ordering, 2).rows


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("backwards", [False, True])
def test_pages_by_relevance_hold_the_books_of_other_filters(monkeypatch, backwards, way):
    for n in range(9):
        add(title="Sea" + " Red" * (n % 4), author=f"A{n}", publication_year=1990 + n % 2)
    books = Book.objects.filter(publication_year=1990)
    found = list(books.search("sea"))
    monkeypatch.setattr(BookWordQuerySet, "soonest", lambda *args, **options: way)
    books = books.search("sea")
    ordering = keyset.total_ordering(books)
    keys, read = None, []
    while (page := keyset.read_page(books, ordering, 2, keys, backwards)).rows:
        read = page.rows + read if backwards else read + page.rows
        keys = keyset.keys_of(page.rows[0 if backwards else -1], ordering)
    assert read == found
    assert len(found) == 5
    assert not keyset.read_page(books.filter(pk__in=[]), ordering, 2).rows


@pytest.mark.parametrize(
    ("newest", "many"), [((["a b"] * 3), True), (["a", "b", "a"], False), (["c"] * 3, False)]
)
def test_the_newest_books_show_whether_many_have_all_words(monkeypatch, newest, many):
    monkeypatch.setattr(BookWordQuerySet, "MAX_RARE_ROWS", 2)
    monkeypatch.setattr(BookWordQuerySet, "SAMPLE_BOOKS", 3)
    for title in ["a b"] * 4 + newest:
        add(title=title, author="X")
    terms = Word.objects.resolve(["a", "b"])
    assert BookWord.objects.order_by_rarity(terms)[1] == many


def test_a_sample_is_of_all_the_catalogue_but_its_newest_books(monkeypatch):
    """For these a condition on a time holds that does not for the others."""
    asked: list[str] = []
    select = "library.search.models.select"
    monkeypatch.setattr(select, lambda sql: asked.append(sql) or [(1, 1)] * 99)
    BookWord.objects.all()._sample([Term(1, [1])], last=1_000_000)
    windows = re.findall(r"BETWEEN ([0-9]+) AND ([0-9]+)", asked[0])
    middles = [(int(first) + int(last)) // 2 for first, last in windows]
    assert middles == [125_000, 375_000, 625_000, 875_000]


def test_no_search_reads_more_rows_of_a_word_than_it_needs(monkeypatch):
    monkeypatch.setattr(BookWordQuerySet, "MIN_SORTED_BOOKS", 0)
    monkeypatch.setattr(BookWordQuerySet, "PAGE_SIZE", 0)
    add(title="red sea")
    with CaptureQueriesContext(connection) as queries:
        list(Book.objects.search("red sea", ranked=False))
    read = [query["sql"] for query in queries if "library_bookword" in query["sql"]]
    found = [re.findall(r"LIMIT (\d+)", sql) for sql in read]
    # Of each word, the last book, a sample of the rarest, the page.
    assert found == [["1000", "1000"], [], [], []]


@pytest.mark.parametrize("ranked", [True, False])
def test_a_search_for_rare_words_costs_three_queries(django_assert_num_queries, ranked):
    add(title="red sea")
    with django_assert_num_queries(3):  # the words, how many books have them, the books
        assert list(Book.objects.search("red sea", ranked))
    with django_assert_num_queries(3):
        assert list(Book.objects.search(title="red sea"))
