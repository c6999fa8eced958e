"""Merging books from their list."""

import pytest
from django.urls import reverse

from library.bulk.models import BulkChange, Kind
from library.models import Book
from library.tests.books import add, index_is_right
from project.jobs.tasks import work

from .selections import LIST, chosen, merge, page

pytestmark = pytest.mark.django_db


def test_the_chosen_values_stay_in_the_chosen_record(desk):
    first, second = add(title="Hobbit"), add(title="The Hobbit")
    shown = merge(desk, first, second)
    assert [name for name, _, values in shown.context["fields"] if len(values) > 1] == [
        "title",
        "isbn",
    ]
    answer = merge(desk, first, second, keep=first.pk, **chosen(title=second, isbn=second))
    assert answer["Location"] == reverse("admin:library_book_change", args=[first.pk])
    kept = Book.objects.get()
    assert (kept.pk, kept.title, kept.isbn) == (first.pk, "The Hobbit", second.isbn)
    assert index_is_right()


def test_a_merge_is_undone_as_a_whole(desk):
    first, second, third = add(title="Hobbit"), add(title="The Hobbit"), add(title="Hobbits")
    before = set(Book.objects.values_list("pk", "title", "isbn"))
    merge(desk, first, second, third, keep=third.pk, **chosen(title=second, isbn=first))
    assert Book.objects.count() == 1
    job = BulkChange.objects.get()
    assert (job.kind, job.changed) == (Kind.MERGE, 3)
    desk.post(page(job, "undo"))
    work("bulkchange", job.pk)
    assert set(Book.objects.values_list("pk", "title", "isbn")) == before


@pytest.mark.parametrize("change", ["title", "gone", "stranger", "foreign value"])
def test_what_has_changed_meanwhile_is_not_merged(desk, change):
    first, second, other = add(), add(), add()
    given = {"keep": first.pk} | chosen(title=second, isbn=second)
    if change == "title":
        Book.objects.filter(pk=second.pk).update(title="Another")
    elif change == "gone":
        given |= chosen(title=first, isbn=first)
        Book.objects.filter(pk=second.pk).delete()
    elif change == "stranger":
        given["keep"] = other.pk
    else:
        given["author"] = "Nobody's"
    before = Book.objects.count()
    merge(desk, first, second, **given)
    assert Book.objects.count() == before
    assert not BulkChange.objects.exists()


@pytest.mark.parametrize("number", [1, 11])
def test_two_to_ten_books_are_merged(desk, number):
    answer = merge(desk, *[add() for _ in range(number)])
    assert answer.status_code == 302
    assert "Select 2 to 10 books" in desk.get(LIST).content.decode()
