"""What a search finds, and in which order."""

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from library.models import Book
from library.search.models import BookWord, BookWordQuerySet, Word
from library.search.words import words_of
from library.tests.books import SPELLINGS, THE_BOOK, add, titles

pytestmark = pytest.mark.django_db


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
