"""The export of the current list."""

import csv
import io
import json

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from python_calamine import load_workbook

from library.files import exporting
from library.models import Book
from library.tests.books import THE_BOOK, add

from .imports import examined

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("files")]

EXPORT = reverse("admin:library_book_export")
LIST = reverse("admin:library_book_changelist")


def titles(client, query: str) -> list[str]:
    text = b"".join(client.get(f"{EXPORT}?format=csv&verbatim=1&{query}")).decode()
    return [row["title"] for row in csv.DictReader(io.StringIO(text))]


def shown(client, query: str) -> list[str]:
    return [book.title for book in client.get(f"{LIST}?{query}").context["cl"].result_list]


@pytest.mark.parametrize(
    "query", ["", "q=emma", "q=austen", "q=emma+austen", "years_from=1800&years_to=1899", "years_to=1899",
              "o=2", "o=-3.1", "q=austen&o=-1", "q=nothing", "added=today", "p=2&o=-1"],
)  # fmt: skip
def test_it_is_the_list_with_its_search_filters_and_order(desk, query):
    for title, author, year in [
        ("Emma", "Jane Austen", 1815), ("About Emma", "Somebody", 1990),
        ("Persuasion", "Jane Austen", 1817), ("Austen", "Emma Jane", 2001), ("Z", "A", 1700),
    ]:  # fmt: skip
        add(title=title, author=author, publication_year=year)
    expected = shown(desk, query.removeprefix("p=2&"))
    assert titles(desk, query) == expected


def test_more_books_than_a_page_or_a_batch_are_all_exported(desk, monkeypatch):
    monkeypatch.setattr(exporting, "BATCH_SIZE", 3)
    for number in range(60):
        add(title=f"{number:02}")
    assert titles(desk, "") == [f"{number:02}" for number in range(60)]
    assert titles(desk, "o=-1") == [f"{number:02}" for number in reversed(range(60))]


def test_a_book_that_is_deleted_meanwhile_is_left_out(desk):
    first, second = add(title="A"), add(title="B")
    response = desk.get(f"{EXPORT}?format=jsonl")
    second.delete()
    assert [json.loads(line)["title"] for line in b"".join(response).splitlines()] == ["A"]
    assert first


def test_csv_for_spreadsheets_has_no_formulas_and_exact_isbns(desk):
    add(title="=1+1", author="@cmd", publication_year=1815, isbn=THE_BOOK)
    response = desk.get(f"{EXPORT}?format=csv")
    text = b"".join(response).decode()
    assert text.splitlines() == [
        "\ufefftitle,author,publication_year,isbn",
        "'=1+1,'@cmd,1815,978-3-16-148410-0",
    ]
    assert response.headers["Content-Disposition"].endswith('.csv"')


def test_csv_for_spreadsheets_has_the_delimiter_that_they_expect_in_the_language(desk):
    add(title="Обломов; роман", author="Гончаров, И. А.", publication_year=1859, isbn=THE_BOOK)
    for query, text in (
        ("", '"Обломов; роман";Гончаров, И. А.;1859;978-3-16-148410-0'),
        ("&verbatim=1", f'Обломов; роман,"Гончаров, И. А.",1859,{THE_BOOK}'),
    ):
        response = desk.get(f"{EXPORT}?format=csv{query}", headers={"Accept-Language": "ru"})
        assert b"".join(response).decode().splitlines()[1] == text


@pytest.mark.parametrize("kind", ["csv&verbatim=1", "xlsx", "jsonl"])
def test_what_is_exported_is_imported_unchanged(desk, kind):
    for title in ["Emma", "Ёлка; а, б", "line\nbreak", 'q"uote', "=1+1", "-1", "'=x", "007"]:
        add(title=title)
    content = b"".join(desk.get(f"{EXPORT}?format={kind}"))
    job = examined(content=content, name=f"all.{kind.partition('&')[0]}")
    assert (job.problem, job.found["same"], job.found["read"]) == (None, 8, 8)


def test_xlsx_holds_texts_and_numbers(desk):
    add(title="=1+1", author="A", publication_year=1815, isbn=THE_BOOK)
    content = b"".join(desk.get(f"{EXPORT}?format=xlsx"))
    assert load_workbook(io.BytesIO(content)).get_sheet_by_index(0).to_python() == [
        ["title", "author", "publication_year", "isbn"],
        ["=1+1", "A", 1815, THE_BOOK],
    ]


def test_xlsx_of_too_many_rows_is_refused_in_words(desk, monkeypatch):
    monkeypatch.setattr(exporting, "MAX_XLSX_ROWS", 1)
    add()
    assert desk.get(f"{EXPORT}?format=xlsx").status_code == 200
    add()
    response = desk.get(f"{EXPORT}?format=xlsx&q=title", follow=True)
    assert "XLSX holds at most 1 rows" in response.content.decode()
    assert response.redirect_chain[0][0] == f"{LIST}?q=title"


def test_a_filter_that_cannot_be_leads_to_the_list(desk):
    response = desk.get(f"{EXPORT}?format=csv&publication_year=soon")
    assert response.headers["Location"] == f"{LIST}?publication_year=soon"


def test_a_format_that_does_not_exist_is_not_found(desk):
    assert desk.get(f"{EXPORT}?format=pdf").status_code == 404


@pytest.mark.parametrize(("permission", "status"), [("view_book", 200), ("add_member", 403)])
def test_who_may_see_the_list_may_export_it(client, permission, status):
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename=permission))
    client.force_login(clerk)
    assert client.get(f"{EXPORT}?format=csv").status_code == status


def test_the_list_offers_the_export_with_its_own_parameters(desk):
    add(title="Emma")
    page = desk.get(f"{LIST}?q=emma&o=-1").content.decode()
    for part in ("q=emma", "o=-1", "format=xlsx"):
        assert part in page.partition(f'href="{EXPORT}')[2].partition('"')[0]
    Book.objects.all().delete()
    assert EXPORT not in desk.get(LIST).content.decode()
