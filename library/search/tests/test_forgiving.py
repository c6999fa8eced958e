"""Searches that find what was meant: other word forms, years, parts of an ISBN, corrections."""

from datetime import date
from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from library.models import Book, BookQuerySet
from library.search.models import BookWord, BookWordQuerySet, Word
from library.search.suggest import one_error_from, suggestion
from library.search.terms import Term
from library.search.words import stem_of
from library.tests.books import add
from project.base import keyset

pytestmark = pytest.mark.django_db


# --- Word forms ---


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Мастер и Маргарита", "мастера"),
        ("Мастер и Маргарита", "МАРГАРИТУ мастером"),
        ("Новый мир", "нового мира"),
        ("Великие истории", "история великая"),
        ("Ёлка", "елки"),
        ("The Book of Sand", "books"),
        ("Running Books", "run book"),
        ("The Reader’s Digest", "readers digests"),
    ],
)
def test_a_search_finds_other_forms_of_its_words(title, text):
    book = add(title=title)
    add(title="Other")
    for ranked in (True, False):
        assert list(Book.objects.search(text, ranked)) == [book]


@pytest.mark.parametrize(("title", "text"), [("Sea", "seal"), ("Мир", "мирт"), ("W2", "w23")])
def test_other_words_stay_other_words(title, text):
    add(title=title)
    assert not Book.objects.search(text)


def test_words_as_typed_come_before_their_other_forms():
    """Whatever the number of words and the order in which they were added."""
    plural = add(title="Books")
    long, short = add(title="A Book in the Hand"), add(title="Book")
    both = add(title="Books and Book")
    author = add(title="Sea", author="Book")
    assert list(Book.objects.search("book")) == [short, both, long, author, plural]
    assert list(Book.objects.search("books")) == [plural, both, short, long, author]


def test_a_frequent_word_counts_as_typed_if_no_rarer_one_goes_with_it(monkeypatch):
    monkeypatch.setattr(BookWordQuerySet, "MAX_SORTED_ROWS", 2)
    one, many, rare = add(title="Book"), add(title="Books"), add(title="Rare Books")
    for ranked in (True, False):
        assert list(Book.objects.search("book", ranked)) == [one]
        assert set(Book.objects.search("books", ranked)) == {many, rare}
        assert list(Book.objects.search("rare book", ranked)) == [rare]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("text", ["sea", "red sea"])
def test_the_words_of_a_frequent_beginning_come_one_after_the_other(monkeypatch, text, backwards):
    """Each with its shortest titles first, and each book once, without sorting their rows."""
    monkeypatch.setattr(BookWordQuerySet, "MAX_SORTED_ROWS", 2)
    monkeypatch.setattr(BookWordQuerySet, "MAX_RARE_ROWS", 2)
    both = add(title="Seal Season Red")
    long, short = add(title="The Red Seal"), add(title="Red Seal")
    other = add(title="Season", author="Red")
    books = Book.objects.search(text)
    assert list(books) == [short, both, long, other]
    ordering = keyset.total_ordering(books)
    first = keyset.read_page(books, ordering, 3, None, backwards).rows
    end = keyset.keys_of(first[0 if backwards else -1], ordering)
    assert len(first + keyset.read_page(books, ordering, 3, end, backwards).rows) == 4
    assert set(Book.objects.search(text, ranked=False)) == {both, long, short, other}


def test_a_term_without_filters_comes_first_unless_it_is_far_more_frequent(monkeypatch):
    monkeypatch.setattr(BookWordQuerySet, "MAX_RARE_ROWS", 2)
    monkeypatch.setattr(BookWordQuerySet, "BOOK_COST", 3)
    for title in ("Red", "Red", *["Blue"] * 4, *["Green"] * 8):
        add(title=title, author="X")
    ids = Word.objects.known(["red", "blue", "green"])
    red = Term(ids["red"], [ids["red"]], frozenset(["red"]))
    for text, is_first in (("blue", True), ("green", False)):
        beginning = Term(None, [ids[text]])
        (first, _), _many = BookWord.objects.order_by_rarity([red, beginning])
        assert (first == beginning) == is_first


def test_filters_by_title_and_author_take_words_as_typed():
    add(title="Books", author="Walker")
    assert not Book.objects.search(title="book")
    assert not Book.objects.search(author="walkers")


def test_each_word_is_stored_with_its_stem_however_it_is_written():
    add(title="Books Книги")
    Word.objects.create(text="walking")
    stems = dict(Word.objects.values_list("text", "stem"))
    assert (stems["books"], stems["walking"]) == ("book", "walk")
    assert stems["книги"] == stem_of("книга")


def test_looking_up_words_costs_one_query(django_assert_num_queries):
    add(title="One Two Three")
    with django_assert_num_queries(1):
        Word.objects.resolve(["ones", "twos", "three"])


def test_words_without_stems_are_filled_and_filling_goes_on_where_it_stopped(monkeypatch):
    fill = import_module("library.migrations.0007_fill_word_stems")
    monkeypatch.setattr(fill, "BATCH_SIZE", 2)
    add(title="Books Walks Seas Skies", author="Cats")
    Word.objects.exclude(text="seas").update(stem="")
    Word.objects.filter(text="seas").update(stem="kept")
    fill.fill(apps, SimpleNamespace(connection=connection))
    stems = dict(Word.objects.values_list("text", "stem"))
    assert stems == {"books": "book", "walks": "walk", "seas": "kept", "skies": "sky"} | {
        "cats": "cat"
    }


# --- Years ---


def test_a_year_among_the_words_is_the_year_or_the_word():
    by_year = add(title="Harry Potter", author="Rowling", publication_year=1997)
    by_word = add(title="Rowling in 1997", publication_year=2003)
    add(title="Other", author="Rowling", publication_year=1998)
    add(title="Potter", publication_year=1997)
    for text in ("rowling 1997", "1997 ROWLING"):
        for ranked in (True, False):
            assert set(Book.objects.search(text, ranked)) == {by_year, by_word}


def test_a_number_alone_finds_the_word_first_and_then_the_year():
    of_year = [add(title=title, publication_year=1984) for title in ("B", "A")]
    word = add(title="1984", publication_year=1949)
    add(title="C", publication_year=1985)
    assert list(Book.objects.search("1984")) == [word, of_year[1], of_year[0]]
    assert list(Book.objects.search("1984", ranked=False).order_by("title")) == [
        word,
        of_year[1],
        of_year[0],
    ]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("ordering", [(), ("title",), ("-publication_year",), ("-created_at",)])
def test_the_pages_of_a_number_alone_hold_each_book_once_in_order(ordering, backwards):
    for title in ("Sea", "1984", "Sky", "The year 1984", "Air"):
        add(title=title, publication_year=1984)
        add(title=f"{title} of 1984", publication_year=1950)
        add(title=title.replace("1984", "Sun"), publication_year=1985)
    books = Book.objects.search("1984", ranked=not ordering)
    books = books.order_by(*ordering) if ordering else books
    keys, found = None, []
    order = keyset.total_ordering(books)
    while (page := keyset.read_page(books, order, 3, keys, backwards)).rows:
        found = [*page.rows, *found] if backwards else [*found, *page.rows]
        keys = keyset.keys_of(page.rows[0 if backwards else -1], order)
    assert len(found) == 10
    assert found == list(books.order_by(*order))


@pytest.mark.parametrize("most", [0, 3000])
def test_every_strategy_finds_the_same_books_of_a_year(monkeypatch, most):
    monkeypatch.setattr(BookQuerySet, "MAX_IDS", most)
    found = [add(title="Sea", publication_year=1950), add(title="Sea 1950")]
    add(title="Sky", publication_year=1950)
    for ranked in (True, False):
        assert set(Book.objects.search("sea 1950", ranked)) == set(found)


@pytest.mark.parametrize(
    ("year", "counts"),
    [(999, False), (1000, True), (date.today().year + 1, True), (date.today().year + 2, False)],
)
def test_a_plausible_year_is_from_1000_to_the_next(year, counts):
    add(title="Sea", publication_year=year)
    assert Book.objects.search(f"sea {year}").exists() is counts


def test_two_numbers_are_words():
    book = add(title="1914–1918", publication_year=1930)
    add(title="Other", publication_year=1914)
    assert list(Book.objects.search("1914 1918")) == [book]


def test_a_title_with_a_year_finds_its_book():
    book = add(title="2001: A Space Odyssey", publication_year=1968)
    assert list(Book.objects.search("2001 a space odyssey")) == [book]


# --- ISBNs ---


@pytest.mark.parametrize(
    "text", ["9783", "978-3-16", "978316148410", "978-3-16-148410-", "ISBN 978 3161", "9783161484"]
)
def test_the_beginning_of_an_isbn_finds_its_books_in_order(text):
    second = add(isbn="9783161484100")
    add(isbn="9780340839935")
    assert list(Book.objects.search(text)) == [second]
    assert list(Book.objects.search(text, ranked=False)) == [second]


def test_three_digits_are_no_beginning_of_an_isbn():
    add(isbn="9783161484100")
    book = add(title="978")
    assert list(Book.objects.search("978")) == [book]


def test_a_whole_wrong_isbn_stays_an_error():
    for text in ("9783161484101", "ISBN 316148410", "3-16-148410-0"):
        with pytest.raises(ValidationError):
            Book.objects.search(text)


def test_a_beginning_is_read_from_the_index():
    with CaptureQueriesContext(connection) as queries:
        list(Book.objects.search("97831"))
    assert "LIKE" not in queries[-1]["sql"]


@pytest.mark.parametrize(
    ("isbn10", "short"), [("0340839937", "340839937"), ("0001048171", "1048171")]
)
def test_an_isbn_that_lost_its_zeros_is_completed(isbn10, short):
    book = add(isbn=isbn10)
    assert list(Book.objects.search(short)) == [book]


def test_which_book_an_isbn_without_its_zeros_names_does_not_depend_on_filters(api):
    add(title="One", isbn="9780306406157", publication_year=1950)
    add(title="Part 306406152", isbn=None, publication_year=2001)
    asked = {"search": "306406152", "publication_year": 2001}
    assert api.get("/api/v1/books/", asked).json()["results"] == []


def test_a_number_that_is_no_isbn_of_the_catalogue_is_a_word():
    book = add(title="340839937")
    assert list(Book.objects.search("340839937")) == [book]


# --- Did you mean …? ---


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("hary poter", "harry potter"),
        ("harry potter and teh secret", ""),  # three letters are too few
        ("HARRY pottre", "HARRY potter"),
        ("tolstoi", "tolstoy"),
        ("война тостой", "война толстой"),
        ("вайна", "война"),
        ("misrables", "misérables"),
        ("obrein", "o’brien"),
        ("encyclopodeia", "encyclopaedia"),
        ("poter 1997", "potter 1997"),
        ("poter 1998", ""),
        ("potter tolstoi", ""),  # never together
        ("potter", ""),
        ("xyzzyx", ""),
        ("", ""),
        ("%%% …", ""),
    ],
)
def test_a_search_that_finds_nothing_gets_the_nearest_words(text, meant):
    add(title="Harry Potter and the Secret", author="Rowling", publication_year=1997)
    add(title="War and Peace", author="Leo Tolstoy")
    add(title="Война и мир", author="Лев Толстой")
    add(title="Les Misérables", author="Flann O’Brien")
    add(title="Encyclopaedia")
    assert suggestion(text, Book.objects.all()) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [("djqyf b vbh", "война и мир"), ("Njkcnjq", "толстой"), ("Рфккн Зщееук", "harry potter"),
     ("vjkjrj", ""), ("q", "")],
)  # fmt: skip
def test_what_was_typed_in_the_other_layout_is_understood(text, meant):
    add(title="Harry Potter")
    add(title="Война и мир", author="Лев Толстой")
    add(title="й")
    assert suggestion(text, Book.objects.all()) == meant


def test_of_equally_near_words_the_more_frequent_is_meant():
    add(title="Barry")
    for _ in range(2):
        add(title="Harry")
    add(title="Larry")
    assert suggestion("garry", Book.objects.all()) == "harry"


def test_words_that_go_together_are_meant():
    for _ in range(3):
        add(title="Mary Poppins")
    add(title="Harry Potter")
    assert suggestion("hary poter", Book.objects.all()) == "harry potter"


def test_a_suggestion_costs_few_queries_whatever_the_catalogue(django_assert_max_num_queries):
    add(title="Harry Potter")
    with django_assert_max_num_queries(16):
        suggestion("hary poter", Book.objects.all())


def test_one_error_is_a_letter_missing_added_changed_or_exchanged():
    near = one_error_from("emma")
    assert near >= {"mma", "emmma", "emna", "mema", "emmas", "gemma"}
    assert near.isdisjoint({"emma", "em", "amme", "emmasx"})
    assert "миp" not in one_error_from("мир")
    assert "миру" in one_error_from("мир")
