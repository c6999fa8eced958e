"""The catalogue as a file, for programs."""

import csv
import io
import json

import pytest
from python_calamine import load_workbook

from library.files import exporting, views
from library.tests.books import THE_BOOK, add

pytestmark = pytest.mark.django_db

EXPORT = "/api/v1/books/export/"
LIST = "/api/v1/books/"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def content(response) -> bytes:
    assert response.status_code == 200, response.content
    return b"".join(response)


def titles(api, query: str) -> list[str]:
    text = content(api.get(f"{EXPORT}?{query}")).decode()
    return [row["title"] for row in csv.DictReader(io.StringIO(text))]


@pytest.mark.parametrize(
    "query",
    ["", "search=emma", "search=emma+austen", "title=emma", "author=austen", "publication_year=1990",
     "publication_year_min=1800&publication_year_max=1899", "ordering=-publication_year",
     "search=austen&ordering=-title", "ordering=author", "ordering=-author", "title=nothing",
     f"isbn={THE_BOOK}"],
)  # fmt: skip
def test_it_is_the_list_with_its_filters_search_and_ordering(api, query):
    for title, author, year in [
        ("Emma", "Jane Austen", 1815), ("About Emma", "Somebody", 1990),
        ("Persuasion", "Jane Austen", 1817), ("Austen", "Emma Jane", 2001), ("Z", "A", 1700),
    ]:  # fmt: skip
        add(title=title, author=author, publication_year=year)
    listed = api.get(f"{LIST}?{query}").json()["results"]
    assert titles(api, query) == [book["title"] for book in listed]


def test_more_books_than_a_page_or_a_batch_are_all_exported(api, monkeypatch):
    monkeypatch.setattr(exporting, "BATCH_SIZE", 3)
    for number in range(60):
        add(title=f"{number:02}")
    assert titles(api, "") == [f"{number:02}" for number in range(60)]


def test_programs_get_the_values_as_they_are(api):
    add(title="=1+1", author="@cmd", publication_year=1815, isbn=THE_BOOK)
    expected = f"title,author,publication_year,isbn\r\n=1+1,@cmd,1815,{THE_BOOK}\r\n"
    for query in ("", "?verbatim=true", "?format=csv"):
        assert content(api.get(EXPORT + query)).decode() == expected
    guarded = content(api.get(f"{EXPORT}?verbatim=false")).decode()
    assert guarded.splitlines()[1] == "'=1+1,'@cmd,1815,978-3-16-148410-0"
    assert guarded.startswith("\ufeff")


def test_a_line_of_json_is_a_book(api):
    add(title="Ёлка", author="А", publication_year=1815, isbn=THE_BOOK)
    [line] = content(api.get(f"{EXPORT}?format=jsonl")).splitlines()
    assert json.loads(line) == {
        "title": "Ёлка", "author": "А", "publication_year": 1815, "isbn": THE_BOOK,
    }  # fmt: skip


def test_xlsx_is_a_workbook(api):
    add(title="=1+1", author="A", publication_year=1815, isbn=THE_BOOK)
    response = api.get(f"{EXPORT}?format=xlsx")
    sheet = load_workbook(io.BytesIO(content(response))).get_sheet_by_index(0).to_python()
    assert sheet[1] == ["=1+1", "A", 1815, THE_BOOK]


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("", "*/*", "text/csv"),
        ("", "text/csv", "text/csv"),
        ("", "text/*", "text/csv"),
        ("", "application/x-ndjson", "application/x-ndjson"),
        ("", XLSX, XLSX),
        ("", "application/x-ndjson;q=0.5, text/csv;q=0.1", "text/csv"),
        ("?format=jsonl", "text/csv", "application/x-ndjson"),
        ("?format=xlsx", "text/html,application/json", XLSX),
    ],
)
def test_the_parameter_or_else_the_accept_header_chooses_the_format(api, query, accept, media_type):
    response = api.get(EXPORT + query, headers={"Accept": accept})
    assert response.headers["Content-Type"].partition(";")[0] == media_type
    assert "Accept" in response.headers["Vary"]
    ending = {"text/csv": "csv", XLSX: "xlsx"}.get(media_type, "jsonl")
    disposition = response.headers["Content-Disposition"]
    assert disposition.startswith("attachment") and disposition.endswith(f'.{ending}"')


@pytest.mark.parametrize("accept", ["application/json", "application/problem+json", "text/html"])
def test_what_is_no_format_of_it_is_not_acceptable(api, accept):
    response = api.get(EXPORT, headers={"Accept": accept})
    assert response.status_code == 406
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("format=ods", "format", "invalid_choice"),
        ("format=", "format", "blank"),
        ("format=csv&format=xlsx", "format", "repeated"),
        ("verbatim=1", "verbatim", "invalid"),
        ("page_size=5", "page_size", "unknown"),
        ("cursor=x", "cursor", "unknown"),
        ("formt=csv", "formt", "unknown"),
        ("ordering=price", "ordering", "invalid"),
        ("isbn=1", "isbn", "invalid"),
    ],
)
def test_a_wrong_parameter_is_named(api, query, field, code):
    response = api.get(f"{EXPORT}?{query}")
    assert response.status_code == 400
    [error] = response.json()["errors"]
    assert error["field"] == field
    assert error["code"] == code or field == "isbn"


def test_format_is_no_parameter_of_the_list(api):
    assert api.get(f"{LIST}?format=csv").json()["errors"][0]["code"] == "unknown"


def test_more_books_than_xlsx_holds_are_refused_and_csv_is_not(api, monkeypatch):
    add(), add()
    monkeypatch.setattr(views, "MAX_XLSX_ROWS", 1)
    response = api.get(f"{EXPORT}?format=xlsx")
    assert response.status_code == 400
    assert response.json()["errors"][0]["code"] == "too_many_rows"
    assert len(titles(api, "format=csv")) == 2
