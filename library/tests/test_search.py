import json
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from library.models import Book, BookQuerySet, BookWord, BookWordQuerySet, TooManyWords, Word
from library.words import words_of

from .books import SPELLINGS, THE_BOOK, add, index_is_right, indexed, unsaved

pytestmark = pytest.mark.django_db


def titles(books: BookQuerySet) -> list[str]:
    return [book.title for book in books]


# --- The index is right, whatever way a book is written ---


def test_save_and_create_index():
    book = Book.objects.create(
        title="The Sea, the Sea", author="Iris Murdoch", publication_year=1978, isbn=THE_BOOK
    )
    places = {("the", 4), ("sea", 4), ("iris", BookWord.AUTHOR), ("murdoch", BookWord.AUTHOR)}
    assert indexed(book) == places
    book.title = "The Bell"
    book.save(update_fields=["title"])
    assert indexed(book) == {("the", 2), ("bell", 2)} | {p for p in places if p[1] == 10}


def test_update_indexes():
    first, other = add(), add(title="Untouched")
    Book.objects.filter(pk=first.pk).update(title="New", author="Else")
    assert indexed(first) == {("new", 1), ("else", BookWord.AUTHOR)}
    assert index_is_right()
    assert other in Book.objects.search("untouched")


def test_update_of_what_is_filtered_by_itself_indexes():
    book = add(title="Before")
    Book.objects.filter(title="Before").update(title="After")
    assert indexed(book) >= {("after", 1)}


def test_bulk_create_indexes():
    books = Book.objects.bulk_create([unsaved(title="One"), unsaved(title="Two")])
    assert all(book.pk for book in books)
    assert {("one", 1)} <= indexed(books[0])
    assert index_is_right()


def test_bulk_create_that_ignores_conflicts_keeps_the_words_of_the_stored_book():
    stored = add(title="Stored")
    Book.objects.bulk_create([unsaved(title="Given", isbn=stored.isbn)], ignore_conflicts=True)
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


@pytest.mark.django_db(transaction=True)
def test_rollback_leaves_no_words():
    class Rollback(Exception): ...

    book = add(title="Kept")
    with pytest.raises(Rollback), transaction.atomic():
        add(title="Gone")
        Book.objects.filter(pk=book.pk).update(title="Changed")
        raise Rollback
    assert titles(Book.objects.search("kept")) == ["Kept"]
    assert BookWord.objects.filter(word__text__in=["gone", "changed"]).count() == 0
    assert index_is_right()


def test_a_failing_index_fails_the_save(monkeypatch):
    def fail(*args: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("library.models.BookWordQuerySet.index", fail)
    with pytest.raises(RuntimeError), transaction.atomic():
        add()
    assert not Book.objects.exists()


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


def test_a_book_with_the_word_in_title_and_author_comes_once():
    book = add(title="Dickens: a Life", author="Dickens")
    for ranked in (True, False):
        assert list(Book.objects.search("dickens", ranked)) == [book]


def test_the_last_word_may_be_a_beginning_where_it_is_no_word():
    book = add(title="Wuthering Heights", author="Emily Brontë")
    other = add(title="Wutherford", author="Emily Wuther-Smith")
    assert set(Book.objects.search("emily wuth")) == {book, other}
    assert list(Book.objects.search("emily wuther")) == [other]
    assert not Book.objects.search("wuth emily")


def test_a_beginning_that_fits_a_word_of_title_and_author_finds_the_book_once():
    book = add(title="Bakery Baking", author="Baker")
    for ranked in (True, False):
        assert list(Book.objects.search("bak", ranked)) == [book]


def test_a_beginning_of_too_many_words_is_refused(monkeypatch):
    monkeypatch.setattr("library.models.WordQuerySet.MOST_COMPLETIONS", 2)
    add(title="aaa aab")
    assert Book.objects.search("aa").count() == 1
    add(title="aac")
    with pytest.raises(TooManyWords, match="type more letters"):
        Book.objects.search("aa")


def test_too_many_words_are_refused():
    with pytest.raises(ValidationError, match="at most 40"):
        Book.objects.search(" ".join(f"w{n}" for n in range(41)))


def test_a_title_of_many_words_finds_its_book():
    title = " ".join(f"w{n}" for n in range(40))
    book = add(title=title)
    assert list(Book.objects.search(title)) == [book]


@pytest.mark.parametrize("text", ["", "   ", "…", "%", "'; DROP TABLE", "unknown"])
def test_what_has_no_known_words_finds_nothing(text):
    add()
    assert not Book.objects.search(text)


def test_filters_look_in_their_own_field():
    book = add(title="Emma", author="Jane Austen")
    assert list(Book.objects.with_title_words("emma")) == [book]
    assert not Book.objects.with_title_words("austen")
    assert list(Book.objects.with_author_words("austen jane")) == [book]
    assert not Book.objects.with_author_words("emma")
    assert not Book.objects.with_author_words("jan")


@pytest.mark.parametrize(("few", "rare"), [(0, 1), (0, 1000), (3000, 1), (3000, 1000)])
def test_every_strategy_finds_the_same_books_in_any_order(monkeypatch, few, rare):
    monkeypatch.setattr(BookQuerySet, "FEW", few)
    monkeypatch.setattr(BookWordQuerySet, "RARE", rare)
    for n in range(9):
        add(title=f"{'red' if n % 2 else 'blue'} {'sea' if n % 3 else 'sky'} {n}", author="Red Ink")
    found = Book.objects.search("red sea", ranked=False).order_by("-title")
    assert titles(found) == sorted(titles(Book.objects.search("red sea")), reverse=True)
    assert found.count() == 6
    narrowed = Book.objects.with_title_words("red").with_author_words("ink").search("sea", False)
    assert titles(narrowed.order_by("title")) == ["red sea 1", "red sea 5", "red sea 7"]


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
            if set(words_of(text)) <= {word for word, _ in BookWord.places(book)}
        ]
        complete = all(Word.objects.filter(text=word).exists() for word in words_of(text))
        for ranked in (True, False):
            found = list(Book.objects.search(text, ranked))
            assert len(found) == len(set(found))
            if complete:  # else the last word counts as a beginning
                assert set(found) == set(expected)
