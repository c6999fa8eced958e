import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from library.models import Book

from .books import BOOKS, SPELLINGS, THE_BOOK, add, isbn_number, unsaved
from .test_isbn import BAD

pytestmark = pytest.mark.django_db

GIVEN = {"title": "Emma", "author": "Jane Austen", "publication_year": 1815, "isbn": THE_BOOK}


def url(book: Book) -> str:
    return f"{BOOKS}{book.pk}/"


def listed(api: APIClient, **parameters: Any) -> list[str]:
    response = api.get(BOOKS, parameters)
    assert response.status_code == 200, response.content
    return [book["title"] for book in response.json()["results"]]


def problem(response: Any, status: int, field: str | None = None) -> dict[str, Any]:
    """The field's error in a problem document with this status."""
    assert response.status_code == status, response.content
    assert response["Content-Type"].startswith("application/problem+json")
    body = response.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    errors = [error for error in body["errors"] if error["field"] == field]
    assert len(errors) == 1, body
    return errors[0]


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


# --- ISBN ---


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_creates_filters_and_finds_one_record(staff_api, spelling):
    assert staff_api.post(BOOKS, {**GIVEN, "isbn": spelling}).json()["isbn"] == THE_BOOK
    assert listed(staff_api, isbn=spelling) == listed(staff_api, search=spelling) == ["Emma"]
    assert staff_api.post(BOOKS, {**GIVEN, "isbn": THE_BOOK}).status_code == 409


@pytest.mark.parametrize(("text", "says"), BAD.items())
def test_a_bad_isbn_is_a_clear_400(staff_api, text, says):
    body = json.dumps({**GIVEN, "isbn": text})  # escapes lone surrogates, as a client may
    response = staff_api.post(BOOKS, body, content_type="application/json")
    errors = [e for e in response.json()["errors"] if e["field"] == "isbn"]
    assert response.status_code == 400
    assert errors
    if not any(control in text for control in "\x00\ud800"):
        assert says in errors[0]["message"]


@pytest.mark.parametrize(("text", "says"), BAD.items())
def test_a_bad_isbn_in_a_filter_is_a_clear_400(api, text, says):
    query = urlencode({"isbn": text}, errors="surrogatepass")
    error = problem(api.get(f"{BOOKS}?{query}"), 400, "isbn")
    if not any(control in text for control in "\x00\ud800"):
        assert says in error["message"]


@pytest.mark.parametrize("wrong", ["978-3-16-148410-1", "ISBN 3161484109"])
def test_a_search_for_an_isbn_with_a_mistake_says_the_expected_digit(api, wrong):
    error = problem(api.get(BOOKS, {"search": wrong}), 400, "search")
    assert "should be" in error["message"]


# --- Values ---


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("title", "", "blank"),
        ("title", "  ", "blank"),
        ("title", None, "null"),
        ("title", ["x"], "invalid"),
        ("title", "x" * 501, "max_length"),
        ("title", "a\x00b", "null_characters_not_allowed"),
        ("author", "x" * 501, "max_length"),
        ("author", {"a": 1}, "invalid"),
        ("publication_year", 0, "min_value"),
        ("publication_year", -5, "min_value"),
        ("publication_year", timezone.now().year + 2, "max_value"),
        ("publication_year", "soon", "invalid"),
        ("publication_year", 1815.5, "invalid"),
        ("publication_year", None, "null"),
        ("isbn", "", "blank"),
        ("isbn", None, "null"),
        ("isbn", {}, "invalid"),
    ],
)
def test_a_wrong_value_is_a_400_that_names_its_field_once(staff_api, field, value, code):
    response = staff_api.post(BOOKS, {**GIVEN, field: value})
    assert problem(response, 400, field)["code"] == code
    assert not Book.objects.exists()


@pytest.mark.parametrize("field", ["title", "author", "isbn"])
def test_lone_surrogates_in_a_body_are_a_400(staff_api, field):
    body = json.dumps({**GIVEN, field: "a\ud800b"})
    response = staff_api.post(BOOKS, body, content_type="application/json")
    assert response.status_code == 400
    assert {error["field"] for error in response.json()["errors"]} == {field}


def test_a_year_beyond_any_column_is_a_400(staff_api):
    response = staff_api.post(BOOKS, {**GIVEN, "publication_year": 10**30})
    assert response.status_code == 400
    assert {error["field"] for error in response.json()["errors"]} == {"publication_year"}


@pytest.mark.parametrize("year", [1, timezone.now().year + 1])
def test_the_first_and_the_next_year_are_years(staff_api, year):
    assert staff_api.post(BOOKS, {**GIVEN, "publication_year": year}).status_code == 201


def test_500_characters_of_any_kind_are_kept(staff_api):
    title = "😀" * 500
    assert staff_api.post(BOOKS, {**GIVEN, "title": title}).json()["title"] == title


def test_an_unknown_field_is_named(staff_api):
    response = staff_api.post(BOOKS, {**GIVEN, "titel": "x"})
    assert problem(response, 400, "titel")["code"] == "unknown"


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '"x"', "[" * 100_000, "\xff"])
def test_a_body_that_is_no_json_object_is_a_400(staff_api, body):
    response = staff_api.post(BOOKS, body.encode("latin-1"), content_type="application/json")
    assert response.status_code == 400
    assert response["Content-Type"].startswith("application/problem+json")


# --- Duplicates ---


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


# --- Filters ---


@pytest.fixture
def shelf() -> list[Book]:
    return [
        add(title="Emma", author="Jane Austen", publication_year=1815),
        add(title="Persuasion", author="Jane Austen", publication_year=1817),
        add(title="Jane Eyre", author="Charlotte Brontë", publication_year=1847),
    ]


@pytest.mark.parametrize(
    ("parameters", "titles"),
    [
        ({"title": "jane"}, ["Jane Eyre"]),
        ({"title": "eyre JANE"}, ["Jane Eyre"]),
        ({"title": "austen"}, []),
        ({"author": "austen"}, ["Emma", "Persuasion"]),
        ({"author": "bronte"}, ["Jane Eyre"]),
        ({"publication_year": 1815}, ["Emma"]),
        ({"publication_year_min": 1817}, ["Jane Eyre", "Persuasion"]),
        ({"publication_year_max": 1817}, ["Emma", "Persuasion"]),
        ({"publication_year_min": 1816, "publication_year_max": 1820}, ["Persuasion"]),
        ({"search": "jane"}, ["Jane Eyre", "Emma", "Persuasion"]),
        ({"search": "jane", "ordering": "-title"}, ["Persuasion", "Jane Eyre", "Emma"]),
        ({"search": "jane em"}, ["Emma"]),
        ({"search": "jane", "author": "austen", "title": "emma"}, ["Emma"]),
        ({"title": "nothing"}, []),
        ({"title": "jane nothing"}, []),
        ({"title": "…"}, []),
        ({"author": "…"}, []),
    ],
)
def test_each_filter_finds(api, shelf, parameters, titles):
    assert listed(api, **parameters) == titles


def test_the_isbn_filter_finds_one(api, shelf):
    assert listed(api, isbn=shelf[1].isbn) == ["Persuasion"]


def test_updated_since_finds_later_changes(api, shelf):
    Book.objects.update(updated_at=timezone.now() - timedelta(days=2))
    Book.objects.filter(title="Emma").update(updated_at=timezone.now())
    since = (timezone.now() - timedelta(days=1)).isoformat()
    assert listed(api, updated_since=since) == ["Emma"]
    assert listed(api, updated_since=since.replace("+00:00", "Z")) == ["Emma"]
    moment = Book.objects.get(title="Emma").updated_at
    assert listed(api, updated_since=moment.isoformat()) == ["Emma"]
    later = moment + timedelta(microseconds=1)
    assert listed(api, updated_since=later.isoformat()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("publication_year", "soon"),
        ("publication_year", "0"),
        ("publication_year_min", "1e3"),
        ("publication_year_max", "99999999999999999999"),
        ("updated_since", "yesterday"),
        ("isbn", "1"),
        ("ordering", "isbn"),
        ("ordering", "version"),
        ("ordering", ""),
        ("ordering", "--title"),
        ("page_size", "0"),
        ("page_size", "201"),
        ("page_size", "-1"),
        ("page_size", "ten"),
        ("page_size", "1" * 30),
        ("count", "yes"),
        ("cursor", ""),
        ("cursor", "abc"),
        ("cursor", "\ud800"),
        ("title", "a\x00b"),
        ("author", "a\x00b"),
        ("search", "a\x00b"),
        ("search", " ".join(f"w{n}" for n in range(50))),
        ("title", " ".join(f"w{n}" for n in range(50))),
        ("author", " ".join(f"w{n}" for n in range(50))),
    ],
)
def test_a_wrong_parameter_is_a_400_that_names_it(api, shelf, name, value):
    problem(api.get(f"{BOOKS}?{urlencode({name: value}, errors='surrogatepass')}"), 400, name)


@pytest.mark.parametrize("name", ["title", "author", "search"])
def test_bytes_that_are_no_text_find_nothing(api, shelf, name):
    response = api.get(f"{BOOKS}?{name}=%ED%A0%80%FF")
    assert response.status_code in (200, 400)


def test_an_unknown_parameter_is_named_with_the_one_meant(api):
    error = problem(api.get(BOOKS, {"titel": "x"}), 400, "titel")
    assert error["code"] == "unknown"
    assert "title" in error["message"]


def test_a_repeated_parameter_is_named(api):
    assert problem(api.get(f"{BOOKS}?title=a&title=b"), 400, "title")["code"] == "repeated"


def test_a_parameter_where_none_is_known_is_named(api):
    problem(api.get(f"{url(add())}?page_size=5"), 400, "page_size")


# --- Orderings and pages ---


def walk(api: APIClient, address: str, link: str = "next") -> list[list[int]]:
    pages = []
    while address:
        page = api.get(address).json()
        pages.append([book["id"] for book in page["results"]])
        address = page[link]
    return pages


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("name", ["title", "author", "publication_year", "created_at", "id"])
def test_pages_neither_skip_nor_repeat_on_ties_in_either_direction(api, name, sign):
    for n in range(7):
        add(title=f"T{n // 3}", author=f"A{n % 2}", publication_year=2000 + n % 3)
    moment = timezone.now()
    Book.objects.filter(pk__gt=Book.objects.order_by("pk")[2].pk).update(created_at=moment)
    whole = list(Book.objects.order_by(f"{sign}{name}", f"{sign}id").values_list("pk", flat=True))
    address = f"{BOOKS}?ordering={sign}{name}&page_size=2"
    pages = walk(api, address)
    assert [len(page) for page in pages] == [2, 2, 2, 1]
    assert sum(pages, []) == whole
    last = address
    while following := api.get(last).json()["next"]:
        last = following
    back = walk(api, last, "previous")
    assert sum(reversed(back), []) == whole


@pytest.mark.parametrize("ordering", ["--title", "title,", ",title", "-", "isbn", "title,x"])
def test_a_wrong_ordering_names_its_parameter_and_what_is_allowed(api, ordering):
    error = problem(api.get(BOOKS, {"ordering": ordering}), 400, "ordering")
    assert error["code"] == "invalid"
    assert "title, author, publication_year, created_at, updated_at, id" in error["message"]


@pytest.mark.parametrize(
    "ordering",
    [
        " title , -author ",
        ["title", "-author"],
        ["title", "-author,title"],
        "title,-title,-author,author",
    ],
)
def test_orderings_are_separated_or_repeated_and_the_first_of_a_field_counts(api, ordering):
    one, two, other = add(title="B", author="x"), add(title="B", author="y"), add(title="A")
    page = api.get(BOOKS, {"ordering": ordering, "page_size": 2}).json()
    assert [book["id"] for book in page["results"]] == [other.pk, two.pk]
    assert [book["id"] for book in api.get(page["next"]).json()["results"]] == [one.pk]


def test_each_of_repeated_orderings_is_checked(api):
    problem(api.get(BOOKS, {"ordering": ["isbn", "title"]}), 400, "ordering")
    problem(api.get(BOOKS, {"ordering": ["title", " "]}), 400, "ordering")
    problem(api.get(BOOKS, {"ordering": ["title", "a\0"]}), 400, "ordering")


@pytest.mark.parametrize(
    ("time", "found"),
    [
        ("0001-01-01T00:00:00+14:00", 1),
        ("0999-12-31T23:59:59Z", 1),
        ("1000-01-01T00:00:00Z", 1),
        ("9998-12-31T23:59:59Z", 0),
        ("9999-12-31T23:59:59.999999-14:00", 0),
    ],
)
def test_a_time_that_no_database_could_hold_is_before_or_after_all(api, time, found):
    add()
    response = api.get(BOOKS, {"updated_since": time})
    assert len(response.json()["results"]) == found


def test_a_time_is_written_in_ascii(api):
    response = api.get(BOOKS, {"updated_since": "२०२६-01-01T00:00:00Z"})
    assert problem(response, 400, "updated_since")["code"] == "invalid"


def test_what_changed_last_can_come_first_or_last(api, shelf):
    for title in ("Persuasion", "Emma"):
        book = Book.objects.get(title=title)
        book.publication_year += 1
        book.save()
    assert listed(api, ordering="-updated_at")[:2] == ["Emma", "Persuasion"]
    assert listed(api, ordering="updated_at")[-2:] == ["Persuasion", "Emma"]


def test_several_orderings_apply_in_turn(api, shelf):
    assert listed(api, ordering="author,-publication_year") == ["Jane Eyre", "Persuasion", "Emma"]


def test_ranked_search_pages_in_both_directions(api):
    for n in range(5):
        add(title=f"Sea {'deep ' * (n % 2)}{n}", author="Sea Side")
    address = f"{BOOKS}?search=sea&page_size=2"
    ranked = [book.pk for book in Book.objects.search("sea")]
    pages = walk(api, address)
    assert sum(pages, []) == ranked
    last = address
    while following := api.get(last).json()["next"]:
        last = following
    assert sum(reversed(walk(api, last, "previous")), []) == ranked


def test_a_search_whose_order_has_changed_meanwhile_refuses_the_cursor(api):
    for n in range(3):
        add(title=f"Sea sky {n}")
    add(title="sea")
    link = api.get(f"{BOOKS}?search=sea+sky&page_size=1").json()["next"]  # in the order of sky
    add(title="sky")
    add(title="sky")
    problem(api.get(link), 400, "cursor")


def test_a_book_added_or_removed_meanwhile_shifts_no_page(api):
    books = [add(title=f"T{n}") for n in range(6)]
    page = api.get(f"{BOOKS}?page_size=3").json()
    books[0].delete()
    add(title="A")
    following = api.get(page["next"]).json()
    assert [book["title"] for book in following["results"]] == ["T3", "T4", "T5"]


@pytest.mark.parametrize(
    "other", [{"ordering": "-title"}, {"search": "x"}, {"title": "t"}, {"isbn": THE_BOOK}]
)
def test_a_cursor_of_another_list_is_a_400(api, other):
    for n in range(3):
        add(title=f"T{n}")
    cursor = api.get(f"{BOOKS}?page_size=1").json()["next"].split("cursor=")[1].split("&")[0]
    problem(api.get(f"{BOOKS}?cursor={cursor}&{urlencode(other)}"), 400, "cursor")


def test_a_tampered_cursor_is_a_400(api):
    for n in range(3):
        add(title=f"T{n}")
    link = api.get(f"{BOOKS}?page_size=1").json()["next"]
    cursor = link.split("cursor=")[1].split("&")[0]
    other = ("B" if cursor[5] == "A" else "A").join([cursor[:5], cursor[6:]])
    problem(api.get(link.replace(cursor, other)), 400, "cursor")


def test_another_page_size_may_use_the_cursor(api):
    for n in range(5):
        add(title=f"T{n}")
    link = api.get(f"{BOOKS}?page_size=1").json()["next"]
    page = api.get(link.replace("page_size=1", "page_size=200")).json()
    assert [book["title"] for book in page["results"]] == ["T1", "T2", "T3", "T4"]


def test_the_count_is_given_on_request(api, shelf):
    assert api.get(BOOKS, {"count": "true"}).json()["count"] == 3
    assert (
        api.get(BOOKS, {"count": "true", "author": "austen", "page_size": 1}).json()["count"] == 2
    )
    assert api.get(BOOKS, {"count": "true", "search": "jane"}).json()["count"] == 3
    assert "count" not in api.get(BOOKS, {"count": "false"}).json()


def test_a_page_has_50_books_by_default(api):
    Book.objects.bulk_create([unsaved() for _ in range(51)])
    assert len(listed(api)) == 50
    assert len(listed(api, page_size=200)) == 51


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
