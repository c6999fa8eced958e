"""The API of books: its five actions, who may do them, and what they cost."""

from urllib.parse import quote

import pytest
from django.contrib.auth.models import Permission
from rest_framework.test import APIClient

from library.models import Book

from .books import BOOKS, GIVEN, THE_BOOK, add, isbn_number, problem, unsaved, url

pytestmark = pytest.mark.django_db


# --- The five actions ---


def test_create(staff_api):
    response = staff_api.post(BOOKS, GIVEN)
    assert response.status_code == 201
    book = Book.objects.get()
    assert response.json().items() >= {**GIVEN, "id": book.pk}.items()
    assert response.json().keys() == {*GIVEN, "id", "created_at", "updated_at"}


def test_retrieve_and_list(api):
    book = add(**GIVEN)
    one = api.get(url(book)).json()
    assert one.items() >= GIVEN.items()
    assert one["created_at"].endswith("Z")
    page = api.get(BOOKS).json()
    assert list(page) == ["next", "previous", "next_cursor", "previous_cursor", "results"]
    assert page["results"] == [one]


def test_replace(staff_api):
    book = add()
    response = staff_api.put(url(book), GIVEN)
    assert response.status_code == 200
    book.refresh_from_db()
    assert (book.title, book.isbn) == ("Emma", THE_BOOK)
    missing = staff_api.put(url(book), {**GIVEN, "author": ""})
    assert problem(missing, 400, "author")["code"] == "blank"
    assert problem(staff_api.put(url(book), {"title": "T"}), 400, "isbn")["code"] == "required"


def test_change_of_some_fields(staff_api):
    book = add(**GIVEN)
    before, created = book.updated_at, book.created_at
    response = staff_api.patch(url(book), {"publication_year": 1816})
    assert response.status_code == 200
    book.refresh_from_db()
    assert (book.publication_year, book.title) == (1816, "Emma")
    assert book.updated_at > before
    assert book.created_at == created


def test_remove(staff_api):
    book = add()
    assert staff_api.delete(url(book)).status_code == 204
    assert staff_api.get(url(book)).status_code == 404


def test_its_own_isbn_in_another_spelling_is_no_conflict(staff_api):
    book = add(**GIVEN)
    assert staff_api.patch(url(book), {"isbn": "3-16-148410-x"}).status_code == 200


def test_the_caller_cannot_set_times_and_id(staff_api):
    book = add(**GIVEN)
    given = {"id": 99, "created_at": "2000-01-01T00:00:00Z", "title": "Other"}
    response = staff_api.patch(url(book), given)
    assert response.status_code == 400
    named = {error["field"]: error["code"] for error in response.json()["errors"]}
    assert named == {"id": "read_only", "created_at": "read_only"}
    assert Book.objects.get().title == book.title
    problem(staff_api.post(BOOKS, {**GIVEN, "isbn": "9780141439518", "id": 99}), 400, "id")


def test_a_record_may_be_sent_back_as_it_was_read(staff_api):
    book = add(**GIVEN)
    read = staff_api.get(url(book)).json()
    assert staff_api.put(url(book), {**read, "title": "Other"}).json()["title"] == "Other"


# --- Who may ---


def test_everyone_reads_and_nobody_anonymous_writes(api):
    book = add()
    assert api.get(BOOKS).status_code == api.get(url(book)).status_code == 200
    assert api.options(BOOKS).status_code == 200
    for response in (
        api.post(BOOKS, GIVEN),
        api.put(url(book), GIVEN),
        api.patch(url(book), {}),
        api.delete(url(book)),
    ):
        problem(response, 401)
        assert response["WWW-Authenticate"]


def test_an_account_needs_the_permission_of_the_action(django_user_model):
    book = add()
    user = django_user_model.objects.create_user("reader")
    client = APIClient()
    client.force_authenticate(user)
    problem(client.post(BOOKS, GIVEN), 403)
    problem(client.patch(url(book), {"title": "T"}), 403)
    problem(client.delete(url(book)), 403)
    user.user_permissions.add(Permission.objects.get(codename="change_book"))
    client.force_authenticate(django_user_model.objects.get(pk=user.pk))
    assert client.patch(url(book), {"title": "T"}).status_code == 200
    problem(client.delete(url(book)), 403)


def test_a_closed_catalogue_is_for_those_with_the_view_permission(
    api, staff_api, settings, django_user_model
):
    settings.PUBLIC_CATALOGUE = False
    book = add()
    problem(api.get(BOOKS), 401)
    problem(api.get(url(book)), 401)
    client = APIClient()
    client.force_authenticate(django_user_model.objects.create_user("reader"))
    problem(client.get(BOOKS), 403)
    assert staff_api.get(BOOKS).status_code == 200


def test_what_is_not_there_is_a_404(api, staff_api):
    problem(api.get(f"{BOOKS}999999/"), 404)
    problem(staff_api.delete(f"{BOOKS}{10**30}/"), 404)
    add(pk=1)
    for other in ("x", "-1", "+1", " 1", "１", "1.0"):
        assert api.get(f"{BOOKS}{quote(other)}/").status_code == 404


def test_a_method_that_is_not_offered_is_a_405(staff_api):
    problem(staff_api.delete(BOOKS), 405)
    problem(staff_api.post(url(add()), GIVEN), 405)


def test_an_answer_other_than_json_is_a_406(api):
    assert api.get(BOOKS, headers={"accept": "text/csv"}).status_code == 406


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_body_other_than_json_is_a_415(staff_api, media_type):
    problem(staff_api.post(BOOKS, "title=x", content_type=media_type), 415)


# --- What it costs ---


@pytest.mark.parametrize(
    ("parameters", "queries"),
    [
        ({}, 1),
        ({"ordering": "-publication_year"}, 1),
        ({"isbn": THE_BOOK}, 1),
        ({"search": THE_BOOK}, 1),
        ({"publication_year_min": "1990", "ordering": "-publication_year"}, 1),
        ({"publication_year_min": "1990", "ordering": "title"}, 2),
        ({"search": "title"}, 2),
        ({"search": "title some author"}, 5),
        ({"search": "titl"}, 3),
        ({"search": "title", "ordering": "title"}, 3),
        ({"title": "title", "author": "some"}, 5),
    ],
)
def test_a_list_costs_the_same_queries_for_any_number_of_books(
    api, django_assert_max_num_queries, parameters, queries
):
    Book.objects.bulk_create([unsaved() for _ in range(30)])
    with django_assert_max_num_queries(queries):
        api.get(BOOKS, parameters)


def test_a_search_in_another_order_sorts_the_few_books_that_it_found(
    api, django_assert_num_queries
):
    add(title="Emma")
    with django_assert_num_queries(3) as queries:
        api.get(BOOKS, {"search": "emma", "ordering": "author"})
    assert "library_bookword" not in queries[-1]["sql"]


def test_adding_a_book_of_known_words_costs_few_queries(staff_api, django_assert_max_num_queries):
    add(title=GIVEN["title"], author=GIVEN["author"], isbn=isbn_number(7))
    with django_assert_max_num_queries(6):  # book, history, words (2), BEGIN and COMMIT
        response = staff_api.post(BOOKS, GIVEN)
    assert response.status_code == 201


def test_a_detail_costs_one_query(api, django_assert_max_num_queries):
    book = add()
    with django_assert_max_num_queries(1):
        api.get(url(book))
