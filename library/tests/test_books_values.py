"""What a program may write into a book, and what it is told of the rest."""

import json
from urllib.parse import urlencode

import pytest
from django.utils import timezone

from library.models import Book

from .books import BOOKS, GIVEN, SPELLINGS, THE_BOOK, listed, problem
from .test_isbn import BAD

pytestmark = pytest.mark.django_db


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
