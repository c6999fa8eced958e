"""REQUIRE_ISBN=0: books that have no ISBN, through every door."""

import json
import re

import pytest
from django.core.management import call_command
from django.db import IntegrityError
from django.urls import reverse

from library.files.importing import Books
from library.models import Book
from project.imports.columns import MissingColumnError, choose_columns

from .books import BOOKS, THE_BOOK, add, index_is_right

ADD = reverse("admin:library_book_add")
LIST = reverse("admin:library_book_changelist")
OLD = {"title": "Walden", "author": "Henry Thoreau", "publication_year": 1854}
pytestmark = pytest.mark.django_db


@pytest.fixture
def optional(settings):
    settings.REQUIRE_ISBN = False


def import_file(folder, *rows: str) -> None:
    file = folder / "books.csv"
    file.write_text("\n".join(rows))
    call_command("import_books", str(file), refused=folder / "refused.csv")


def test_by_default_each_book_has_one(desk, staff_api, tmp_path):
    assert desk.post(ADD, OLD | {"isbn": ""}).context["adminform"].form.errors.keys() == {"isbn"}
    for body in (OLD, OLD | {"isbn": None}, OLD | {"isbn": ""}):
        assert staff_api.post(BOOKS, body).status_code == 400
    import_file(tmp_path, "title,author,year,isbn", "Walden,Henry Thoreau,1854,")
    assert "no ISBN" in (tmp_path / "refused.csv").read_text()
    with pytest.raises(MissingColumnError):
        choose_columns(Books(), ["title", "author", "year"])
    assert not Book.objects.exists()


def test_the_form_takes_several_books_without(optional, desk):
    for year in (1854, 1855):
        answer = desk.post(ADD, OLD | {"publication_year": year, "isbn": " "})
        assert answer.status_code == 302
    assert list(Book.objects.values_list("isbn", flat=True)) == [None, None]
    assert desk.get(LIST).content.decode().count("Walden") >= 2
    change = desk.get(reverse("admin:library_book_change", args=[Book.objects.first().pk]))
    assert change.context["adminform"].form["isbn"].value() in (None, "")


def without_isbn(**changes) -> dict[str, str]:
    return OLD | {"isbn": "", **changes}


@pytest.mark.parametrize("isbn", [None, THE_BOOK])
def test_the_form_says_once_that_the_catalogue_has_such_a_book(optional, desk, isbn):
    book = add(**OLD, isbn=isbn)
    page = desk.post(ADD, without_isbn(title=" Walden "))
    address = reverse("admin:library_book_change", args=[book.pk])
    assert f'The catalogue already has “<a href="{address}">Walden</a>”' in page.content.decode()
    assert Book.objects.count() == 1
    version = page.context["adminform"].form["version"].value()
    assert desk.post(ADD, without_isbn(version=version)).status_code == 302
    assert Book.objects.count() == 2


def test_it_asks_anew_of_another_book(optional, desk):
    add(**OLD, isbn=None)
    add(**OLD | {"title": "Emma"}, isbn=None)
    told = desk.post(ADD, without_isbn()).context["adminform"].form["version"].value()
    page = desk.post(ADD, without_isbn(title="Emma", version=told))
    assert "The catalogue already has" in page.content.decode()
    assert Book.objects.count() == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "walden"},  # an import takes it for another book too
        {"author": "Thoreau"},
        {"publication_year": 1855},
        {"isbn": THE_BOOK},
    ],
)
def test_it_does_not_ask_of_a_book_that_differs(optional, desk, changes):
    add(**OLD, isbn=None)
    assert desk.post(ADD, without_isbn(**changes)).status_code == 302


def test_it_asks_only_when_a_book_is_added(optional, desk):
    add(**OLD, isbn=None)
    other = add(**OLD | {"title": "Emma"}, isbn=None)
    change = reverse("admin:library_book_change", args=[other.pk])
    assert desk.post(change, without_isbn(version=other.version)).status_code == 302
    assert Book.objects.filter(title="Walden").count() == 2


def test_an_isbn_can_be_added_and_taken_away(optional, desk, staff_api):
    url = f"{BOOKS}{staff_api.post(BOOKS, OLD).json()['id']}/"
    assert staff_api.patch(url, {"isbn": THE_BOOK}).json()["isbn"] == THE_BOOK
    assert staff_api.patch(url, {"isbn": None}).json()["isbn"] is None
    assert Book.objects.get().isbn is None


def test_the_api_takes_no_isbn_as_null_or_nothing(optional, staff_api):
    answers = [staff_api.post(BOOKS, OLD), staff_api.post(BOOKS, OLD | {"isbn": None})]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert [answer.json()["isbn"] for answer in answers] == [None, None]
    assert staff_api.post(BOOKS, OLD | {"isbn": ""}).status_code == 400, "blank is no ISBN"
    assert staff_api.post(BOOKS, OLD | {"isbn": "1"}).status_code == 400
    assert len(staff_api.get(BOOKS, {"search": "walden"}).json()["results"]) == 2


@pytest.mark.parametrize("required", [True, False])
def test_the_schema_says_whether_it_may_be_null(settings, api, required):
    settings.REQUIRE_ISBN = required
    schemas = api.get("/api/schema/", HTTP_ACCEPT="application/json").json()["components"][
        "schemas"
    ]
    isbn = schemas["BookRequest"]["properties"]["isbn"]
    assert ("null" in str(isbn["type"])) is not required
    assert ("isbn" in schemas["BookRequest"]["required"]) is required


def test_two_with_one_isbn_are_still_refused(optional):
    add(isbn=THE_BOOK)
    with pytest.raises(IntegrityError):
        add(isbn=THE_BOOK)


def test_an_import_knows_them_by_title_author_and_year(optional, tmp_path):
    rows = ("title,author,year,isbn", "Walden,Henry Thoreau,1854,", "Walden,Henry Thoreau,1855,")
    import_file(tmp_path, *rows, "Walden,Henry Thoreau,1854,")  # repeated in the file
    assert Book.objects.count() == 2
    versions = set(Book.objects.values_list("pk", "version"))
    import_file(tmp_path, *rows, "walden,Henry Thoreau,1854,", f"Emma,Jane Austen,1815,{THE_BOOK}")
    assert Book.objects.count() == 4  # another spelling is another book
    assert versions <= set(Book.objects.values_list("pk", "version"))
    assert Book.history.filter(title__iexact="walden", history_type="+").count() == 3
    assert index_is_right()


def test_an_import_without_the_isbn_of_a_stored_book_adds_no_second_one(optional, tmp_path):
    add(**OLD, isbn=THE_BOOK)
    import_file(tmp_path, "title,author,year", "Walden,Henry Thoreau,1854")
    assert Book.objects.get().isbn == THE_BOOK


def test_a_wrong_isbn_is_refused_and_not_left_out(optional, tmp_path):
    import_file(tmp_path, "title,author,year,isbn", "Walden,Henry Thoreau,1854,3161484101")
    assert not Book.objects.exists()
    assert "check digit" in (tmp_path / "refused.csv").read_text()


def test_they_are_exported_and_imported_again(optional, tmp_path):
    add(**OLD, isbn=None)
    for ending in ("csv", "xlsx", "jsonl"):
        file = tmp_path / f"out.{ending}"
        call_command("export_books", str(file))
        assert b"None" not in file.read_bytes()
        call_command("import_books", str(file), refused=tmp_path / "refused.csv")
    assert json.loads(file.read_text())["isbn"] in (None, "")
    assert Book.objects.count() == 1


@pytest.mark.parametrize("query", ["format=csv", "format=csv&verbatim=1", "format=xlsx"])
def test_their_list_is_exported(optional, desk, query):
    add(**OLD, isbn=None)
    answer = desk.get(f"{reverse('admin:library_book_export')}?{query}")
    assert answer.status_code == 200
    assert b"None" not in answer.getvalue()


@pytest.mark.parametrize(("choice", "found"), [("no", "Walden"), ("yes", "Emma")])
def test_the_list_finds_those_without(optional, desk, choice, found):
    add(**OLD, isbn=None)
    add(title="Emma")
    rows = desk.get(LIST, {"has_isbn": choice}).context["cl"].result_list
    assert [book.title for book in rows] == [found]


def test_where_each_has_one_the_list_offers_no_such_filter(desk):
    assert "has_isbn" not in [
        spec.parameter_name for spec in desk.get(LIST).context["cl"].filter_specs
    ]


def test_merging_may_keep_the_isbn_of_either(optional, desk):
    bare, full = add(**OLD, isbn=None), add(**OLD, isbn=THE_BOOK)
    selection = {"action": "merge_books", "_selected_action": [bare.pk, full.pk]}
    shown = desk.post(LIST, selection)
    assert dict((name, values) for name, _, values in shown.context["fields"])["isbn"] == [
        ("", "–"),
        (THE_BOOK, "978-3-16-148410-0"),
    ]
    desk.post(LIST, selection | OLD | {"confirmed": "1", "keep": bare.pk, "isbn": THE_BOOK})
    assert (Book.objects.get().pk, Book.objects.get().isbn) == (bare.pk, THE_BOOK)


@pytest.mark.parametrize("action", ["merge_books", "delete_selected"])
def test_nothing_stands_for_it_where_a_page_asks_about_books(optional, desk, action):
    books = [add(title="Dune", author="Herbert", isbn=None) for _ in range(2)]
    selection = {"action": action, "_selected_action": [book.pk for book in books]}
    page = desk.post(LIST, selection).content.decode()
    assert "Herbert" in page
    assert not re.search(r"·\s*(·|</)", page)
