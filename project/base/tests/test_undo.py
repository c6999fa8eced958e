"""What a batch did is taken back, except what somebody changed afterwards."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from library.models import Book
from library.tests.books import add, index_is_right, unsaved
from members.models import Member
from project.base import history
from project.base.history import Door, Undone, recorded_as, undo

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[1, 2, 500])
def chunks(request, monkeypatch):
    monkeypatch.setattr(history, "UNDO_CHUNK_SIZE", request.param)


def catalogue() -> set[tuple]:
    return set(
        Book.objects.values_list("pk", "title", "author", "publication_year", "isbn", "created_at")
    )


def batch(name="import-7", **options):
    return recorded_as(Door.IMPORT, batch=name, **options)


def counts(undone) -> tuple[int, int, int, int]:
    return undone.deleted, undone.restored, undone.undeleted, undone.left_count


def work(books: list[Book]) -> None:
    """Adds two, changes two (one of them twice), deletes one."""
    with batch():
        Book.objects.bulk_create([unsaved(), unsaved()])
        Book.objects.filter(pk__in=[books[0].pk, books[1].pk]).update(title="Changed", author="X")
        Book.objects.filter(pk=books[1].pk).update(title="Changed twice")
        books[2].delete()


@pytest.fixture
def books() -> list[Book]:
    return [add(title=f"T{number}") for number in range(5)]


@pytest.mark.mysql
def test_records_are_locked_before_it_is_asked_who_changed_them(books):
    work(books)
    with CaptureQueriesContext(connection) as queries:
        undo("import-7")
    sql = [query["sql"] for query in queries]
    first = next(i for i, each in enumerate(sql) if "FROM `library_book`" in each)
    asked = next(i for i, each in enumerate(sql) if "`publication_year`" in each)
    assert "FOR UPDATE" in sql[first] and first <= asked


def test_a_batch_is_taken_back_whole(books, chunks):
    before = catalogue()
    work(books)
    assert catalogue() != before
    undone = undo("import-7")
    assert catalogue() == before
    assert counts(undone) == (2, 2, 1, 0)
    assert undone.left == []
    assert index_is_right()


def test_a_second_run_does_nothing(books, chunks):
    work(books)
    undo("import-7")
    rows = Book.history.count()
    assert counts(undo("import-7")) == (0, 0, 0, 0)
    assert Book.history.count() == rows


def test_what_changes_after_the_undo_is_not_undone_again(books):
    work(books)
    undo("import-7")
    Book.objects.filter(pk=books[0].pk).update(title="Mine")
    assert counts(undo("import-7")) == (0, 0, 0, 0)
    assert Book.objects.get(pk=books[0].pk).title == "Mine"


def test_a_run_that_was_interrupted_goes_on(books, monkeypatch):
    monkeypatch.setattr(history, "UNDO_CHUNK_SIZE", 1)
    before = catalogue()
    work(books)

    def stop(undone):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        undo("import-7", progress=stop)
    assert counts(undo("import-7")) == (1, 2, 1, 0)
    assert catalogue() == before


def test_the_progress_is_told_after_each_chunk(books, monkeypatch):
    monkeypatch.setattr(history, "UNDO_CHUNK_SIZE", 2)
    work(books)
    told = []
    undo("import-7", progress=lambda undone: told.append(sum(counts(undone))))
    assert told == [2, 4, 5]


@pytest.mark.parametrize("change", ["save", "update", "delete", "another batch"])
def test_what_somebody_changed_afterwards_is_left_and_named(books, change, chunks):
    work(books)
    book = Book.objects.get(pk=books[0].pk)
    if change == "save":
        book.publication_year = 1901
        book.save()
    elif change == "update":
        Book.objects.filter(pk=book.pk).update(publication_year=1901)
    elif change == "delete":
        Book.objects.filter(pk=book.pk).delete()
    else:
        with batch("import-8"):
            Book.objects.filter(pk=book.pk).update(publication_year=1901)
    undone = undo("import-7")
    assert counts(undone) == (2, 1, 1, 1)
    [left] = undone.left
    assert (left.model, left.pk, left.name) == ("library.Book", book.pk, "Changed")
    assert str(left.reason) == "changed afterwards"
    stored = Book.objects.filter(pk=book.pk).values_list("title", "publication_year")
    assert list(stored) == ([] if change == "delete" else [("Changed", 1901)])


def test_what_somebody_changed_between_two_changes_of_the_batch_is_left(books):
    with batch():
        Book.objects.filter(pk=books[0].pk).update(title="A")
    Book.objects.filter(pk=books[0].pk).update(author="Somebody")
    with batch():
        Book.objects.filter(pk=books[0].pk).update(title="B")
    assert counts(undo("import-7")) == (0, 0, 0, 1)
    assert Book.objects.get(pk=books[0].pk).author == "Somebody"


@pytest.mark.parametrize("taken_back", ["by undo", "by hand"])
@pytest.mark.parametrize("change", ["changed", "deleted"])
def test_a_change_that_was_taken_back_does_not_keep_the_batch(books, chunks, change, taken_back):
    before = catalogue()
    work(books)
    written = Book.objects.exclude(pk__in=[books[3].pk, books[4].pk])
    with batch("bulk-8"):
        written.delete() if change == "deleted" else written.update(author="Somebody")
    if taken_back == "by undo":
        undo("bulk-8")
    else:
        for version in reversed(Book.history.filter(batch="import-7").exclude(history_type="-")):
            history.put_back(version, Book.objects.filter(pk=version.id).first())
    assert counts(undo("import-7")) == (2, 2, 1, 0)
    assert catalogue() == before


def test_a_batch_that_goes_on_after_a_change_was_taken_back_is_undone_whole(books):
    before = catalogue()
    with batch():
        Book.objects.filter(pk=books[0].pk).update(title="A")
    with batch("bulk-8"):
        Book.objects.filter(pk=books[0].pk).update(title="Somebody")
    undo("bulk-8")
    with batch():
        Book.objects.filter(pk=books[0].pk).update(title="B")
    assert counts(undo("import-7")) == (0, 1, 0, 0)
    assert catalogue() == before


def test_changes_of_before_the_batch_stay(books):
    Book.objects.filter(pk=books[0].pk).update(title="Before")
    work(books)
    undo("import-7")
    assert Book.objects.get(pk=books[0].pk).title == "Before"


@pytest.mark.parametrize("deleted", [False, True])
def test_a_record_whose_isbn_is_taken_meanwhile_is_left(books, deleted):
    isbn = books[0].isbn
    with batch():
        if deleted:
            books[0].delete()
        else:
            Book.objects.filter(pk=books[0].pk).update(isbn=unsaved().isbn)
        Book.objects.filter(pk=books[1].pk).update(title="Changed")
    add(isbn=isbn)
    undone = undo("import-7")
    assert counts(undone) == (0, 1, 0, 1)
    assert undone.left[0].name == "T0"
    assert Book.objects.filter(isbn=isbn).count() == 1


def test_a_batch_that_adds_and_deletes_a_book_leaves_nothing_to_do(books):
    with batch():
        add().delete()
    assert counts(undo("import-7")) == (0, 0, 0, 0)


def test_an_undo_is_recorded_and_can_be_undone(books, staff):
    before = catalogue()
    work(books)
    after = {row[1:] for row in catalogue()}
    undo("import-7", user=staff)
    version = Book.history.first()
    assert (version.door, version.history_user, version.detail, version.batch) == (
        *("undo", staff),
        *("import-7", "undo-import-7"),
    )
    undo("undo-import-7")
    assert {row[1:] for row in catalogue()} == after
    undo("undo-undo-import-7")
    assert catalogue() == before


def test_a_book_that_comes_back_has_a_version_that_no_earlier_state_had(books):
    pk, old = books[2].pk, books[2].version
    work(books)
    undo("import-7")
    assert Book.objects.get(pk=pk).version == old + 1


def test_a_record_without_earlier_values_is_left(books):
    Book.history.filter(id=books[0].pk).delete()
    work(books)
    undone = undo("import-7")
    assert str(undone.left[0].reason) == "its earlier values are not known"
    assert Book.objects.get(pk=books[0].pk).title == "Changed"


def test_only_the_first_that_are_left_are_listed_but_all_are_counted(books, monkeypatch):
    monkeypatch.setattr(history, "MAX_LEFT_LISTED", 2)
    with batch():
        Book.objects.update(title="Changed")
    Book.objects.update(title="Changed again")
    undone = undo("import-7")
    assert (undone.left_count, len(undone.left)) == (5, 2)


def test_a_lost_lock_is_tried_again(books, monkeypatch):
    work(books)
    undo_chunk, failures = history._undo, [OperationalError(1213, "Deadlock found")] * 2

    def failing(*args):
        if failures:
            raise failures.pop()
        return undo_chunk(*args)

    monkeypatch.setattr(history, "_undo", failing)
    assert counts(undo("import-7")) == (2, 2, 1, 0)


def test_members_that_a_batch_registered_are_erased():
    kept = Member.objects.create(username="ann", email="ann@example.org")
    with batch():
        Member.objects.bulk_create([Member(username="bob", email="bob@example.org")])
        Member.objects.filter(pk=kept.pk).update(email="new@example.org")
    assert counts(undo("import-7")) == (1, 1, 0, 0)
    assert list(Member.objects.values_list("username", "email")) == [("ann", "ann@example.org")]
    assert not Member.history.filter(username="bob").exists()
    assert counts(undo("import-7")) == (0, 0, 0, 0)


@pytest.mark.mysql
@pytest.mark.django_db(transaction=True)
def test_whoever_edits_during_an_undo_loses_nothing_and_history_tells_what_is_stored(monkeypatch):
    monkeypatch.setattr(history, "UNDO_CHUNK_SIZE", 5)
    books = [add(title="before", publication_year=2000) for _ in range(20)]
    with batch():
        Book.objects.update(title="batch")
        books += Book.objects.bulk_create([unsaved(title="new") for _ in range(20)])
    deleted = books[1::4]
    saved = set()

    def edit() -> None:
        for book in reversed(books[::2]):
            with suppress(Book.DoesNotExist):
                copy = Book.objects.get(pk=book.pk)
                copy.publication_year = 1901
                copy.save()
                saved.add(book.pk)
        connection.close()

    def delete() -> None:
        for book in deleted:
            Book.objects.filter(pk=book.pk).delete()
        connection.close()

    def take_back() -> Undone:
        try:
            return undo("import-7")
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        others = [pool.submit(edit), pool.submit(delete)]
        undone = pool.submit(take_back).result()
        for other in others:
            other.result()

    stored = {book.pk: book for book in Book.objects.all()}
    assert saved <= {pk for pk, book in stored.items() if book.publication_year == 1901}
    left = {each.pk for each in undone.left}
    assert {pk for pk, book in stored.items() if book.title in ("batch", "new")} <= left
    for book in books:
        newest = Book.history.filter(id=book.pk).first()
        if book.pk in stored:
            assert newest.history_type != "-"
            for field in Book.history.model.tracked_fields:
                assert getattr(newest, field.attname) == getattr(stored[book.pk], field.attname)
        else:
            assert newest.history_type == "-"
