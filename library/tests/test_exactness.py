"""Values are typed strictly: no number for a text, no blank for a filter, no ISMN."""

import re
from datetime import date
from pathlib import Path
from urllib.parse import quote

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from library.filters import BookFilterSet
from library.isbn import looks_like_isbn, normalise
from library.models import Book
from project.api.serializers import TEXT

from .books import BOOKS, THE_BOOK, add

pytestmark = pytest.mark.django_db

GIVEN = {"title": "Emma", "author": "Jane Austen", "publication_year": 1815, "isbn": THE_BOOK}
MUSIC_NUMBER = "9790260000438"
PARAMETERS = [*BookFilterSet.base_filters, "ordering", "cursor", "page_size", "count"]


def codes(response) -> dict[str, str]:
    assert response.status_code == 400, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    return {error["field"]: error["code"] for error in response.json()["errors"]}


# --- Bodies ---


@pytest.mark.parametrize("field", ["title", "author", "isbn"])
@pytest.mark.parametrize("value", [1984, 1.5, 0, True, False, 9783161484100], ids=repr)
def test_only_a_string_is_a_text(staff_api, field, value):
    assert codes(staff_api.post(BOOKS, {**GIVEN, field: value})) == {field: "invalid"}
    book = add()
    assert codes(staff_api.patch(f"{BOOKS}{book.pk}/", {field: value})) == {field: "invalid"}


@pytest.mark.parametrize(
    "value",
    ["1972", "2_000", "２０００", " 2000 ", "", True, False, 1815.5, [1815], {}],
)
def test_only_an_integer_is_a_year(staff_api, value):
    assert codes(staff_api.post(BOOKS, {**GIVEN, "publication_year": value})) == {
        "publication_year": "invalid"
    }


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1815.0000001"])
def test_no_number_that_is_not_whole_is_a_year(staff_api, number):
    body = f'{{"publication_year": {number}}}'
    path = f"{BOOKS}{add().pk}/"
    response = staff_api.patch(path, body, content_type="application/json")
    assert codes(response) == {"publication_year": "invalid"}


def test_a_whole_number_is_an_integer_however_it_is_written(staff_api):
    """As in JSON Schema."""
    path = f"{BOOKS}{add().pk}/"
    response = staff_api.patch(
        path, '{"publication_year": 1815.0}', content_type="application/json"
    )
    assert response.json()["publication_year"] == 1815
    assert "1815.0" not in response.content.decode()


@pytest.mark.parametrize(
    ("year", "code"),
    [(0, "min_value"), (-1, "min_value"), (date.today().year + 2, "max_value")],
)
def test_a_year_out_of_range_says_so_once(staff_api, year, code):
    response = staff_api.post(BOOKS, {**GIVEN, "publication_year": year})
    assert codes(response) == {"publication_year": code}
    assert len(response.json()["errors"]) == 1


def test_the_schema_knows_the_latest_year(api, monkeypatch):
    class NextYear(date):
        @classmethod
        def today(cls) -> date:
            return date(2030, 1, 1)

    monkeypatch.setattr("library.models.date", NextYear)
    monkeypatch.setattr("project.api.serializers.date", NextYear)
    schemas = api.get("/api/schema/", HTTP_ACCEPT="application/json").json()["components"][
        "schemas"
    ]
    year = schemas["BookRequest"]["properties"]["publication_year"]
    assert (year["minimum"], year["maximum"]) == (1, 2031)


# --- Parameters ---


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("value", ["", "%20", "%09%0A", "%C2%A0"], ids=repr)
def test_a_blank_parameter_is_an_error_and_not_the_whole_catalogue(api, name, value):
    add()
    assert codes(api.get(f"{BOOKS}?{name}={value}")) == {name: "blank"}


def test_a_parameter_without_equals_sign_is_blank_too(api):
    assert codes(api.get(f"{BOOKS}?isbn")) == {"isbn": "blank"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_nul_is_refused_in_each_parameter(api, name):
    expected = {name: "null_characters_not_allowed"}
    assert codes(api.get(f"{BOOKS}?{name}=%00")) == expected
    assert codes(api.get(f"{BOOKS}?{name}=a%00b")) == expected


@pytest.mark.parametrize("name", ["publication_year", "publication_year_min"])
@pytest.mark.parametrize(
    "value", ["2_000", "２０００", " 2000", "2000 ", "2000.0", "+2000", "-2000", "2e3", "٢٠٠٠", "²"]
)
def test_a_year_in_a_filter_is_written_with_ascii_digits(api, name, value):
    assert codes(api.get(f"{BOOKS}?{name}={quote(value)}")) == {name: "invalid"}


@pytest.mark.parametrize(
    ("value", "code"), [("0", "min_value"), ("10000", "max_value"), ("9" * 10, "invalid")]
)
def test_a_year_in_a_filter_is_from_1_to_9999(api, value, code):
    assert codes(api.get(f"{BOOKS}?publication_year={value}")) == {"publication_year": code}
    for year in ("1", "9999"):
        assert api.get(f"{BOOKS}?publication_year={year}").status_code == 200


@pytest.mark.parametrize(
    "value", ["２０", "2_0", " 20", "20 ", "+20", "²", "201", "0", "0000009999", "9" * 5000]
)
def test_a_page_size_is_written_with_ascii_digits(api, value):
    assert codes(api.get(f"{BOOKS}?page_size={quote(value)}")) == {"page_size": "invalid"}


def test_a_time_is_written_with_ascii_digits(api):
    value = quote("２０２６-01-31T00:00:00Z")
    assert codes(api.get(f"{BOOKS}?updated_since={value}")) == {"updated_since": "invalid"}


def test_the_schema_tells_what_parameters_take(api):
    paths = api.get("/api/schema/", HTTP_ACCEPT="application/json").json()["paths"]
    parameters = {p["name"]: p for p in paths[BOOKS]["get"]["parameters"]}
    for name in ("publication_year", "publication_year_min", "publication_year_max"):
        assert parameters[name]["schema"] == {"type": "integer", "minimum": 1, "maximum": 9999}
        assert parameters[name]["description"].startswith("Published in this year")
    for name in ("search", "title", "author", "cursor"):
        assert parameters[name]["schema"] == {"type": "string", "minLength": 1, "pattern": TEXT}
    assert parameters["isbn"]["schema"] == {"type": "string", "format": "isbn"}


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("value", ["%", "100%", "5%s", "%(a)s", "978%d0747532699"])
def test_a_percent_sign_is_only_a_character(api, name, value):
    """Also in the messages, which are templates."""
    response = api.get(BOOKS, {name: value})
    assert response.status_code == (200 if name in ("search", "title", "author") else 400)
    if name == "isbn":
        assert "found “%”" in response.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    "blank", [*map(chr, (9, 10, 28, 31, 32, 133, 160, 8195, 12288, 65279)), ""]
)
def test_what_is_blank_is_blank_in_parameters_and_bodies_alike(staff_api, blank):
    assert not re.search(TEXT, blank)
    assert codes(staff_api.get(BOOKS, {"title": blank})) == {"title": "blank"}
    assert codes(staff_api.post(BOOKS, {**GIVEN, "title": blank})) == {"title": "blank"}


def test_a_text_is_as_long_as_it_was_sent(staff_api):
    """Not as what is left of it without the spaces around it."""
    given = {**GIVEN, "title": " " * 250 + "x" + " " * 249}
    assert staff_api.post(BOOKS, given).json()["title"] == "x"
    given = {**GIVEN, "title": f"{given['title']} "}
    assert codes(staff_api.post(BOOKS, given)) == {"title": "max_length"}


def test_the_sign_for_what_is_no_utf8_may_itself_be_looked_for(api):
    assert api.get(BOOKS, {"title": "\ufffd"}).status_code == 200
    assert codes(api.get(f"{BOOKS}?title=%EF%BF%BD&author=%EF%BF%BD%FF")) == {
        "title": "encoding",
        "author": "encoding",
    }


@pytest.mark.parametrize(("blanks", "status"), [(40 - 13, 201), (41 - 13, 400)])
def test_a_spelling_of_an_isbn_has_at_most_forty_characters(staff_api, blanks, status):
    isbn = THE_BOOK[:3] + " " * blanks + THE_BOOK[3:]
    assert staff_api.post(BOOKS, {**GIVEN, "isbn": isbn}).status_code == status


def test_the_form_offers_no_year_before_the_first(client, staff):
    client.force_login(staff)
    assert 'min="1"' in client.get("/admin/library/book/add/").content.decode()


# --- Music numbers ---


@pytest.mark.parametrize(
    "text", [MUSIC_NUMBER, "979-0-060-11561-5", "ISBN 979 0 9016791 7 7", "9790000000001"]
)
def test_a_music_number_is_no_isbn_on_any_path(
    staff_api, client, staff, tmp_path, monkeypatch, text
):
    with pytest.raises(ValidationError, match="music number"):
        normalise(text)
    assert looks_like_isbn(text)
    for response, field in [
        (staff_api.post(BOOKS, {**GIVEN, "isbn": text}), "isbn"),
        (staff_api.get(BOOKS, {"isbn": text}), "isbn"),
        (staff_api.get(BOOKS, {"search": text}), "search"),
    ]:
        [error] = response.json()["errors"]
        assert (response.status_code, error["field"]) == (400, field)
        assert "music number" in error["message"]
    client.force_login(staff)
    page = client.post("/admin/library/book/add/", {**GIVEN, "isbn": text})
    assert "music number" in page.content.decode()
    file = tmp_path / "books.csv"
    file.write_text(f"title,author,publication_year,isbn\nEmma,Jane Austen,1815,{text}\n")
    monkeypatch.chdir(tmp_path)  # where the file of refused rows goes
    call_command("import_books", str(file), verbosity=0)
    assert "music number" in Path("books.refused.csv").read_text()
    with pytest.raises(ValidationError), transaction.atomic():
        add(isbn=text)
    assert not Book.objects.exists()


def test_ten_digits_are_never_suggested_as_a_music_number():
    with pytest.raises(ValidationError) as error:
        normalise(MUSIC_NUMBER[3:])
    assert "979-0" not in error.value.messages[0]


def test_other_numbers_of_979_are_an_isbn():
    assert normalise("979-10-90636-07-1") == "9791090636071"
    assert add(isbn="979-10-90636-07-1").isbn == "9791090636071"


def write_isbn(number: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE library_book SET isbn = %s", [number])


def test_the_database_refuses_a_music_number():
    add()
    refused = pytest.raises(DatabaseError, match="library_book_isbn_no_music_number")
    with refused, transaction.atomic():
        write_isbn(MUSIC_NUMBER)
    write_isbn("9791090636071")


@pytest.mark.django_db(transaction=True)
def test_the_upgrade_names_the_books_that_are_in_its_way():
    book = add(title="Requiem")
    try:
        call_command("migrate", "library", "0002", verbosity=0)
        write_isbn(MUSIC_NUMBER)
        with pytest.raises(CommandError, match=rf"{book.pk} \({MUSIC_NUMBER}, Requiem\)"):
            call_command("migrate", "library", "0003", verbosity=0)
        write_isbn(THE_BOOK)
    finally:
        call_command("migrate", "library", verbosity=0)
    book.refresh_from_db()
    assert (book.title, book.isbn) == ("Requiem", THE_BOOK)
    with pytest.raises(DatabaseError):
        write_isbn(MUSIC_NUMBER)
