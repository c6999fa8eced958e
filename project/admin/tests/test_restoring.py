"""A version of a record, or a deleted one, brought back from its history."""

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from library.models import Book
from library.tests.books import THE_BOOK, add, index_is_right, unsaved

from .history_pages import group_member, history_of, restore_of, text_of

pytestmark = pytest.mark.django_db


def version(book, title):
    return Book.history.filter(id=book.pk, title=title).first()


def test_a_version_is_restored_after_a_look_at_what_changes(desk, staff):
    book = add(title="Dune", author="Herbert")
    Book.objects.update(title="Doon", publication_year=1984)
    page = desk.get(restore_of(version(book, "Dune")))
    assert "Title Doon Dune" in text_of(page)
    assert Book.objects.get().title == "Doon", "looking changes nothing"
    form = {"version": page.context["object"].version}
    response = desk.post(restore_of(version(book, "Dune")), form, follow=True)
    assert response.redirect_chain[-1][0] == history_of(book.pk)
    book = Book.objects.get()
    assert (book.title, book.publication_year) == ("Dune", 2000)
    assert index_is_right()
    newest = Book.history.first()
    assert (newest.door, newest.history_user, newest.title) == ("undo", staff, "Dune")
    entry = LogEntry.objects.get()
    assert entry.get_change_message() == "Changed Title and Publication year."


def test_a_version_is_not_restored_over_what_somebody_saves_meanwhile(desk):
    book = add(title="Dune")
    Book.objects.update(title="Doon")
    form = {"version": Book.objects.get().version}
    Book.objects.update(author="Somebody")
    response = desk.post(restore_of(version(book, "Dune")), form)
    assert response.status_code == 409
    assert "Changed after you opened this page" in text_of(response)
    assert Book.objects.get().title == "Doon"
    desk.post(restore_of(version(book, "Dune")), {"version": response.context["object"].version})
    assert Book.objects.get().title == "Dune"


def test_an_isbn_that_is_taken_meanwhile_is_said_in_words(desk):
    book = add(title="Dune", isbn=THE_BOOK)
    Book.objects.update(title="Doon", isbn=unsaved().isbn)
    other = add(title="Other", isbn=THE_BOOK)
    form = {"version": Book.objects.get(pk=book.pk).version}
    response = desk.post(restore_of(version(book, "Dune")), form)
    assert "A book with this ISBN is in the catalogue already." in text_of(response)
    assert reverse("admin:library_book_change", args=[other.pk]) in response.content.decode()
    assert Book.objects.get(pk=book.pk).title == "Doon"


def test_a_deleted_book_comes_back_as_it_was(desk):
    book = add(title="Dune", isbn=THE_BOOK)
    before = Book.objects.values("pk", "title", "author", "publication_year", "isbn", "created_at")
    before = before.get()
    desk.post(reverse("admin:library_book_delete", args=[book.pk]), {"post": "yes"})
    page = desk.get(history_of(book.pk))
    assert "This record has been deleted." in text_of(page)
    restorable = [each for each in page.context["versions"] if each.restorable]
    assert [each.history_type for each in restorable] == ["-"]
    assert "ISBN 978-3-16-148410-0" in text_of(desk.get(restore_of(restorable[0])))
    desk.post(restore_of(restorable[0]), {"version": ""})
    assert Book.objects.values(*before).get() == before
    assert index_is_right()
    assert "Restored after deletion" in text_of(desk.get(history_of(book.pk)))


def test_a_deleted_book_whose_isbn_is_taken_stays_deleted(desk):
    book = add(isbn=THE_BOOK)
    pk = book.pk
    book.delete()
    other = add(isbn=THE_BOOK)
    response = desk.post(restore_of(Book.history.filter(id=pk).first()), {"version": ""})
    assert reverse("admin:library_book_change", args=[other.pk]) in response.content.decode()
    assert Book.objects.get() == other


def test_two_who_bring_back_the_same_book_add_it_once(desk):
    book = add()
    pk = book.pk
    book.delete()
    deleted = Book.history.filter(id=pk).first()
    desk.post(restore_of(deleted), {"version": ""})
    assert desk.post(restore_of(deleted), {"version": ""}).status_code == 409
    assert Book.objects.get().pk == pk


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("method", ["get", "post"])
def test_restoring_needs_the_permission_to_write(client, deleted, method):
    book = add(title="Dune")
    pk = book.pk
    Book.objects.update(title="Doon")
    first = version(book, "Dune")
    if deleted:
        Book.objects.all().delete()
    group_member(client, "Membership desk")  # may look at books
    assert not any(each.restorable for each in client.get(history_of(pk)).context["versions"])
    assert getattr(client, method)(restore_of(first), {"version": 2}).status_code == 403


def test_a_version_of_another_record_is_not_restored(desk):
    book, other = add(title="A"), add(title="B")
    foreign = reverse("admin:library_book_restore", args=[book.pk, version(other, "B").pk])
    book = Book.objects.get(pk=book.pk)
    assert desk.post(foreign, {"version": book.version}).status_code == 404
    assert Book.objects.get(pk=book.pk).title == "A"
