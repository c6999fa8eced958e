import json
import re
from typing import Any
from unittest.mock import patch

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import DatabaseError, connection, models, transaction
from django.db.models import ProtectedError
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from library.models import Book, BookQuerySet
from library.search.models import (
    ANY_WORD,
    BookWord,
    BookWordQuerySet,
    Way,
    Word,
    WordQuerySet,
)
from library.search.terms import Term
from library.search.words import bloom_of, words_of
from library.tests.books import SPELLINGS, THE_BOOK, add, index_is_right, indexed, unsaved
from project.base import keyset

pytestmark = pytest.mark.django_db


def titles(books: BookQuerySet) -> list[str]:
    return [book.title for book in books]


# --- However a book is written, the index is right ---


def test_save_and_create_index():
    book = Book.objects.create(
        title="The Sea, the Sea", author="Iris Murdoch", publication_year=1978, isbn=THE_BOOK
    )
    expected = {
        ("the", 4),
        ("sea", 4),
        ("iris", BookWord.AUTHOR_RANK),
        ("murdoch", BookWord.AUTHOR_RANK),
    }
    assert indexed(book) == expected
    book.title = "The Bell"
    book.save(update_fields=["title"])
    assert indexed(book) == {("the", 2), ("bell", 2)} | {p for p in expected if p[1] == 10}
    book.author = "Murdoch"
    book.save(update_fields=["author"])
    assert indexed(book) == {("the", 2), ("bell", 2), ("murdoch", BookWord.AUTHOR_RANK)}


@pytest.mark.parametrize(("length", "rank"), [(1, 1), (2, 2), (8, 8), (9, 9), (10, 9), (30, 9)])
def test_the_rank_is_the_number_of_words_of_the_title_up_to_nine(length, rank):
    book = add(title=" ".join(f"w{n}" for n in range(length)), author="A")
    assert {r for word, r in indexed(book) if word != "a"} == {rank}
    assert list(Book.objects.search(title="w0")) == [book]
    assert not Book.objects.search(author="w0")


def test_books_written_in_bulk_are_all_indexed():
    """More than one batch of each kind."""
    books = Book.objects.bulk_create([unsaved() for _ in range(1000)])
    assert Book.objects.search("title some", ranked=False).count() == 1000
    Book.objects.filter(pk__in=[book.pk for book in books]).update(title="New", author="Else")
    assert set(BookWord.objects.values_list("word__text", "rank")) == {("new", 1), ("else", 10)}
    assert BookWord.objects.count() == 2000


def test_an_update_of_other_columns_leaves_the_words_alone():
    add()
    with patch.object(BookWord.objects.__class__, "index") as index:
        Book.objects.update(publication_year=1999)
        index.assert_not_called()
        Book.objects.update(author="Somebody")
        index.assert_called_once()


def test_a_word_that_somebody_adds_meanwhile_is_shared(monkeypatch):
    looks = []
    known = WordQuerySet.known

    def overtaken(words, texts):
        found = known(words, texts)
        if not looks:
            Word.objects.create(text="emma")
        looks.append(texts)
        return found

    monkeypatch.setattr(WordQuerySet, "known", overtaken)
    book = add(title="Emma")
    assert ("emma", 1) in indexed(book)
    assert Word.objects.filter(text="emma").count() == 1


def test_a_word_is_stored_once_and_kept_while_books_have_it():
    add(title="Emma")
    with pytest.raises(DatabaseError), transaction.atomic():
        Word.objects.create(text="emma")
    with pytest.raises(ProtectedError):
        Word.objects.get(text="emma").delete()


def test_update_indexes():
    first, other = add(), add(title="Untouched")
    Book.objects.filter(pk=first.pk).update(title="New", author="Else")
    assert indexed(first) == {("new", 1), ("else", BookWord.AUTHOR_RANK)}
    assert index_is_right()
    assert other in Book.objects.search("untouched")


def test_an_update_of_the_filtered_column_indexes():
    book = add(title="Before")
    Book.objects.filter(title="Before").update(title="After")
    assert indexed(book) >= {("after", 1)}


def test_bulk_create_indexes():
    books = Book.objects.bulk_create([unsaved(title="One"), unsaved(title="Two")])
    assert all(book.pk for book in books)
    assert {("one", 1)} <= indexed(books[0])
    assert index_is_right()


def test_bulk_create_finds_its_books_however_their_isbn_is_spelled():
    [book] = Book.objects.bulk_create([unsaved(isbn="978-3-16-148410-0", title="One")])
    assert Book.objects.get(pk=book.pk).isbn == "9783161484100"
    assert index_is_right()


def test_bulk_create_that_ignores_conflicts_keeps_the_words_of_the_stored_book():
    stored = add(title="Stored")
    given = unsaved(title="Given", isbn=stored.isbn)
    assert [book.pk for book in Book.objects.bulk_create([given], ignore_conflicts=True)] == [
        stored.pk
    ]
    assert ("stored", 1) in indexed(stored)
    assert index_is_right()


def test_bulk_update_indexes():
    books = [add(), add()]
    for book in books:
        book.author = "Changed Together"
    Book.objects.bulk_update(books, ["author"])
    assert Book.objects.search("changed").count() == 2
    assert index_is_right()


def test_delete_leaves_no_words():
    book, other = add(), add()
    book.delete()
    Book.objects.filter(pk=other.pk).delete()
    assert not BookWord.objects.exists()


def test_loaddata_indexes(tmp_path):
    fields = {"title": "Loaded", "author": "From File", "publication_year": 1, "isbn": THE_BOOK}
    times = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}
    file = tmp_path / "books.json"
    file.write_text(json.dumps([{"model": "library.book", "pk": 7, "fields": fields | times}]))
    call_command("loaddata", file, verbosity=0)
    assert titles(Book.objects.search("loaded")) == ["Loaded"]
    assert index_is_right()
    book = Book.objects.get()
    assert (book.bloom_low, book.bloom_high) == bloom_of(["loaded", "from", "file"])


@pytest.mark.django_db(transaction=True)
def test_rollback_leaves_no_words():
    class RollbackError(Exception): ...

    book = add(title="Kept")
    with pytest.raises(RollbackError), transaction.atomic():
        add(title="Gone")
        Book.objects.filter(pk=book.pk).update(title="Changed")
        raise RollbackError
    assert titles(Book.objects.search("kept")) == ["Kept"]
    assert BookWord.objects.filter(word__text__in=["gone", "changed"]).count() == 0
    assert index_is_right()


def test_a_failing_index_fails_the_save(monkeypatch):
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("library.search.models.BookWordQuerySet.index", fail)
    with pytest.raises(RuntimeError), transaction.atomic():
        add()
    assert not Book.objects.exists()


def test_a_failing_index_rolls_back_a_bulk_write(monkeypatch):
    add(title="Before")

    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("library.search.models.BookWordQuerySet.index", fail)
    for write in (
        lambda: Book.objects.bulk_create([unsaved(title="After")]),
        lambda: Book.objects.update(title="After"),
    ):
        with pytest.raises(RuntimeError):
            write()
        assert list(Book.objects.values_list("title", flat=True)) == ["Before"]


# --- Search ---


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_isbn_finds_its_book_alone(spelling):
    book = add(isbn=THE_BOOK)
    add(title="9783161484100 in a title")
    assert list(Book.objects.search(spelling)) == [book]


def test_a_wrong_isbn_says_the_expected_digit():
    with pytest.raises(ValidationError, match="should be 0, not 1"):
        Book.objects.search("978-3-16-148410-1")


def test_all_words_must_occur_in_title_or_author():
    book = add(title="War and Peace", author="Leo Tolstoy")
    add(title="War of the Worlds", author="H. G. Wells")
    assert list(Book.objects.search("tolstoy WAR")) == [book]
    assert not Book.objects.search("war wells tolstoy")


def test_case_accents_and_apostrophes_do_not_matter():
    book = add(title="Les Misérables", author="Flann O’Brien")
    assert list(Book.objects.search("MISERABLES obrien")) == [book]


def test_short_titles_come_first_then_long_ones_then_authors():
    author = add(title="Selected Letters", author="Emma Woodhouse")
    long = add(title="The Annotated Emma of Jane Austen")
    short = add(title="Emma")
    assert list(Book.objects.search("emma")) == [short, long, author]


def test_of_equal_matches_the_older_comes_first():
    books = [add(title=title) for title in ("Emma B", "Emma A", "Emma C")]
    assert list(Book.objects.search("emma")) == books


def test_a_match_in_the_title_counts_before_one_in_the_author():
    author = add(title="Letters", author="Dickens")
    both = add(title="Dickens: a Life", author="Dickens")
    assert list(Book.objects.search("dickens")) == [both, author]


def test_the_rarest_word_decides_the_order():
    long, short = add(title="Sea and Sky and Sand"), add(title="Sky Sea")
    for n in range(3):
        add(title=f"Sea {n}")
    assert list(Book.objects.search("sea sky")) == [short, long]
    long, short = add(title="The Red Ink of the Sea"), add(title="Red", author="Sea")
    assert list(Book.objects.search("sea red")) == [short, long]


def test_every_word_is_needed_however_many_they_are():
    for title in ("red sea", "red sky", "sea sky"):
        add(title=title)
    for ranked in (True, False):
        assert not Book.objects.search("red sea sky", ranked)
    book = add(title="red sea sky")
    for ranked in (True, False):
        assert list(Book.objects.search("red sea sky", ranked)) == [book]


def test_a_word_given_again_is_one_word():
    book = add(title="Sea", author="Sea")
    for name in ("text", "title", "author"):
        assert list(Book.objects.search(**{name: "sea " * 50})) == [book]


def test_a_book_with_the_word_in_title_and_author_comes_once():
    book = add(title="Dickens: a Life", author="Dickens")
    for ranked in (True, False):
        assert list(Book.objects.search("dickens", ranked)) == [book]


def test_the_last_word_may_be_a_beginning_if_it_is_no_whole_word():
    book = add(title="Wuthering Heights", author="Emily Brontë")
    other = add(title="Wutherford", author="Emily Wuthers-Smith")
    assert set(Book.objects.search("emily wuth")) == {book, other}
    assert list(Book.objects.search("emily wutherford")) == [other]
    assert not Book.objects.search("wuth emily")
    assert not Book.objects.search("emily uthering")


@pytest.mark.parametrize("word", ["buzz", "buя", "bu中", "bu9"])
def test_a_beginning_may_continue_with_any_letter(word):
    book = add(title=word)
    assert list(Book.objects.search("bu")) == [book]


def test_a_beginning_that_fits_a_word_of_title_and_author_finds_the_book_once():
    book = add(title="Bakery Baker Baking", author="Baker")
    for ranked in (True, False):
        assert list(Book.objects.search("bak", ranked)) == [book]


def test_a_beginning_of_too_many_words_is_refused(monkeypatch):
    monkeypatch.setattr("library.search.models.WordQuerySet.MAX_COMPLETIONS", 2)
    add(title="aaa aab")
    assert Book.objects.search("aa").count() == 1
    add(title="aac")
    with pytest.raises(ValidationError, match="type more letters"):
        Book.objects.search("aa")


def test_a_beginning_fits_up_to_500_words_and_no_more_are_read():
    Word.objects.bulk_create([Word(text=f"a{n:03}") for n in range(500)])
    assert not Book.objects.search("a")
    Word.objects.create(text="aa")
    with CaptureQueriesContext(connection) as queries, pytest.raises(ValidationError):
        Book.objects.search("a")
    assert "LIMIT 501" in queries[-1]["sql"]


def test_too_many_words_are_refused():
    with pytest.raises(ValidationError, match="at most 40"):
        Book.objects.search(" ".join(f"w{n}" for n in range(41)))


def test_a_long_title_finds_its_book():
    title = " ".join(f"w{n}" for n in range(40))
    book = add(title=title)
    assert list(Book.objects.search(title)) == [book]


@pytest.mark.parametrize("text", ["", "   ", "…", "%", "'; DROP TABLE", "unknown"])
def test_a_search_without_known_words_finds_nothing(text):
    add()
    for name in ("text", "title", "author"):
        assert not Book.objects.search(**{name: text})


def test_filters_look_in_their_own_field():
    book = add(title="Emma", author="Jane Austen")
    assert list(Book.objects.search(title="emma")) == [book]
    assert not Book.objects.search(title="austen")
    assert list(Book.objects.search(author="austen jane")) == [book]
    assert not Book.objects.search(author="emma")
    assert not Book.objects.search(author="jan")
    assert not Book.objects.search(title="emma unknown")
    assert not Book.objects.search(author="unknown austen")


@pytest.mark.parametrize("rare", [1, 1000])  # whether the words are frequent
@pytest.mark.parametrize("author", ["red", "blue"])  # the rarest, or not
def test_words_of_all_fields_are_looked_for_together(monkeypatch, rare, author):
    monkeypatch.setattr(BookWordQuerySet, "MAX_RARE_ROWS", rare)
    for n in range(9):
        add(title=f"{'Sea' if n % 2 else 'Sky'} Red {n}", author="Blue" if n % 3 else "Red Ink")
    names = {"blue": ["Sea Red 1", "Sea Red 5", "Sea Red 7"], "red": ["Sea Red 3"]}[author]
    for text in ("seas", "sea", ""):
        title = "red" if text else "sea"
        for ranked in (True, False):
            found = Book.objects.search(text, ranked, title, author)
            assert titles(found.order_by("title")) == names
            assert sorted(titles(found)) == names
    assert not Book.objects.search("sea", title="ink")
    assert not Book.objects.search("sea", author="sky")
    assert not Book.objects.search("…", title="red")
    assert not Book.objects.search("sea", author="unknown")


@pytest.mark.parametrize("ranked", [True, False])
def test_an_isbn_and_a_year_go_with_words_of_fields(ranked):
    book = add(title="Red", author="Ink", publication_year=1984)
    other = add(title="Red 1984", author="Blue", publication_year=2000)
    for text in (book.isbn, book.isbn[:-1]):
        assert list(Book.objects.search(text, ranked, author="ink")) == [book]
        assert not Book.objects.search(text, ranked, author="blue")
    assert set(Book.objects.search("1984", ranked, title="red")) == {book, other}
    assert list(Book.objects.search("1984", ranked, author="ink")) == [book]
    assert not Book.objects.search("1984", ranked, author="1984")


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


TEXTS = st.lists(st.sampled_from(["sea", "sky", "Séa", "red", "x"]), min_size=1, max_size=10)


class TestSearchIsWhatItSays(TestCase):
    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.tuples(TEXTS, TEXTS), max_size=4), TEXTS)
    def test_ranked_search_finds_exactly_the_books_with_all_words(self, books, sought):
        stored = [add(title=" ".join(t), author=" ".join(a)) for t, a in books]
        text = " ".join(sought)
        expected = [
            book
            for book in stored
            if set(words_of(text)) <= {word for word, _ in BookWord.ranked_words(book)}
        ]
        complete = all(Word.objects.filter(text=word).exists() for word in words_of(text))
        for ranked in (True, False):
            found = list(Book.objects.search(text, ranked))
            assert len(found) == len(set(found))
            if complete:  # else the last word counts as a beginning
                assert set(found) == set(expected)
