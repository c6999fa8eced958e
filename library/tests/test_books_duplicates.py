"""A second book with one ISBN is a 409 that names the first."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from rest_framework.test import APIClient

from library.models import Book

from .books import BOOKS, GIVEN, THE_BOOK, add, problem, unsaved, url

pytestmark = pytest.mark.django_db


def test_a_duplicate_is_a_409_with_the_existing_address(staff_api):
    book = add(isbn=THE_BOOK)
    response = staff_api.post(BOOKS, {**GIVEN, "isbn": "3-16-148410-x"})
    assert problem(response, 409, "isbn")["code"] == "unique"
    assert response.json()["existing"].endswith(url(book))


def test_a_change_to_a_taken_isbn_is_a_409(staff_api):
    book, other = add(isbn=THE_BOOK), add()
    response = staff_api.patch(url(other), {"isbn": THE_BOOK})
    problem(response, 409, "isbn")
    assert response.json()["existing"].endswith(url(book))


def test_the_address_is_for_those_who_may_see_it(settings, django_user_model):
    settings.PUBLIC_CATALOGUE = False
    add(isbn=THE_BOOK)
    user = django_user_model.objects.create_user("adder")
    user.user_permissions.add(Permission.objects.get(codename="add_book"))
    client = APIClient()
    client.force_authenticate(user)
    response = client.post(BOOKS, GIVEN)
    problem(response, 409, "isbn")
    assert "existing" not in response.json()
    user.user_permissions.add(Permission.objects.get(codename="change_book"))
    client.force_authenticate(django_user_model.objects.get(pk=user.pk))
    assert "existing" not in client.post(BOOKS, GIVEN).json()
    user.user_permissions.add(Permission.objects.get(codename="view_book"))
    client.force_authenticate(django_user_model.objects.get(pk=user.pk))
    existing = client.post(BOOKS, GIVEN).json()["existing"]
    assert existing == f"http://testserver{url(Book.objects.get())}"


def test_where_everyone_may_read_the_address_is_for_everyone(django_user_model):
    book = add(isbn=THE_BOOK)
    user = django_user_model.objects.create_user("adder")
    user.user_permissions.add(Permission.objects.get(codename="add_book"))
    client = APIClient()
    client.force_authenticate(user)
    assert client.post(BOOKS, GIVEN).json()["existing"].endswith(url(book))


def test_a_book_that_appears_between_check_and_write_is_a_409(staff_api, monkeypatch):
    def overtaken(book: Book, *args: Any, **kwargs: Any) -> None:
        Book.objects.bulk_create([unsaved(isbn=book.isbn)])
        save(book, *args, **kwargs)

    save = Book.save
    monkeypatch.setattr(Book, "save", overtaken)
    # The other's row rolls back together with ours here, so there is nothing to name.
    assert staff_api.post(BOOKS, GIVEN).status_code == 409


@pytest.mark.mysql
@pytest.mark.django_db(transaction=True)
def test_of_simultaneous_books_with_one_isbn_one_is_made_and_the_others_are_409(staff):
    start = Barrier(4)

    def post(number: int) -> int:
        client = APIClient()
        client.force_authenticate(staff)
        start.wait()
        try:
            return client.post(BOOKS, {**GIVEN, "title": f"Number {number}"}).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        codes = sorted(threads.map(post, range(4)))
    assert codes == [201, 409, 409, 409]
    assert Book.objects.count() == 1
