"""Pages of the catalogue with several orderings: what a link carries, and its query."""

from itertools import product
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from drf_spectacular.generators import SchemaGenerator

from library.models import Book, BookQuerySet
from project.base import keyset

from .books import BOOKS, add

pytestmark = pytest.mark.django_db


def walk(api, address: str, link: str) -> tuple[list[int], str]:
    """The ids on all pages from this address on, and the address of the last page."""
    found = []
    while True:
        page = api.get(address).json()
        found += [book["id"] for book in page["results"]]
        if not page[link]:
            return found, address
        address = page[link]


@pytest.mark.parametrize(
    "ordering",
    [
        "title,author,publication_year",
        "-title,author,-id",
        "author,-publication_year,title",
        "-publication_year,title",
        "title,-id",
        "-id,title",
    ],
)
def test_pages_of_several_orderings_neither_skip_nor_repeat_in_either_direction(api, ordering):
    for title, author, year in product("tTU", "AB", (2000, 2001)):  # a case makes no difference
        for _ in range(2):
            add(title=title, author=author, publication_year=year)
    names = ordering.split(",")
    whole = list(Book.objects.order_by(*names, "id").values_list("pk", flat=True))
    there, last = walk(api, f"{BOOKS}?ordering={ordering}&page_size=3", "next")
    assert there == whole
    back, page = [], last
    while page:
        answer = api.get(page).json()
        back = [book["id"] for book in answer["results"]] + back
        page = answer["previous"]
    assert back == whole


@pytest.mark.parametrize("filters", ["", "&title=red", "&search=red sea", "&publication_year=2000"])
@pytest.mark.parametrize("listed", [0, 500])
def test_several_orderings_apply_to_what_filters_find(api, monkeypatch, filters, listed):
    monkeypatch.setattr(BookQuerySet, "MAX_LISTED_IDS", listed)
    for number in range(8):
        add(title=f"Red sea {number // 4}", author=f"A{number % 3}", publication_year=2000)
    add(title="Blue sky", publication_year=2001)
    ordering = ("title", "-author", "-id")
    found = Book.objects.filter(title__startswith="Red") if filters else Book.objects.all()
    whole = list(found.order_by(*ordering).values_list("pk", flat=True))
    assert walk(api, f"{BOOKS}?ordering=title,-author&page_size=3{filters}", "next")[0] == whole


def test_a_row_that_goes_while_a_page_is_read_ends_no_walk(monkeypatch):
    books = [add(title="T", author=f"A{number}") for number in range(4)]

    def without_the_first(queryset, ids):
        Book.objects.filter(pk=ids[0]).delete()
        return rows_of(queryset, ids)

    rows_of = keyset.rows_of
    monkeypatch.setattr(keyset, "rows_of", without_the_first)
    page = keyset.read_page(Book.objects.all(), ["title", "author", "id"], 2)
    assert (page.rows, page.more_after) == ([books[1]], True)


def test_a_link_carries_the_filters_and_the_size_but_no_count(api):
    for _ in range(3):
        add(title="Dune")
    page = api.get(f"{BOOKS}?title=dune&page_size=1&count=true").json()
    assert page["count"] == 3
    carried = parse_qs(urlsplit(page["next"]).query)
    assert carried.keys() == {"title", "page_size", "cursor"}
    assert "count" not in api.get(page["next"]).json()


@pytest.mark.parametrize(("sign", "comparison"), [("", ">="), ("-", "<=")])
def test_a_page_starts_where_its_index_does(api, sign, comparison):
    for _ in range(3):
        add()
    following = api.get(f"{BOOKS}?ordering={sign}title&page_size=1").json()["next"]
    with CaptureQueriesContext(connection) as queries:
        api.get(following)
    quote = connection.ops.quote_name("title")
    assert any(f"{quote} {comparison} " in query["sql"] for query in queries)


@pytest.mark.parametrize("key", ["soon", None, {}])
def test_a_cursor_whose_keys_fit_no_more_is_out_of_date(api, key):
    for _ in range(2):
        add()
    address = f"{BOOKS}?ordering=created_at&page_size=1"
    cursor = parse_qs(urlsplit(api.get(address).json()["next"]).query)["cursor"][0]
    keys, *rest = keyset.decrypt(cursor)
    stale = keyset.encrypt([[key, *keys[1:]], *rest])
    response = api.get(address, {"ordering": "created_at", "page_size": 1, "cursor": stale})
    assert response.status_code == 400
    assert [(error["field"], error["message"]) for error in response.json()["errors"]] == [
        ("cursor", "This cursor is out of date.")
    ]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("?cursor=abc", "Invalid cursor: use a “next_cursor”, or begin at the first page again."),
        (
            "?cursor={cursor}x",
            "Invalid cursor: use a “next_cursor”, or begin at the first page again.",
        ),
        (
            "?ordering=-title&cursor={cursor}",
            "This cursor belongs to another ordering or other filters.",
        ),
        ("?page_size=201", "Use a number from 1 to 200."),
        ("?count=yes", "Use true or false."),
    ],
)
def test_what_is_wrong_with_a_page_is_said(api, address, message):
    for _ in range(2):
        add()
    following = api.get(f"{BOOKS}?page_size=1").json()["next"]
    cursor = parse_qs(urlsplit(following).query)["cursor"][0]
    response = api.get(BOOKS + address.replace("{cursor}", cursor))
    assert response.status_code == 400
    assert [error["message"] for error in response.json()["errors"]] == [message]


def test_pages_are_described_in_the_schema():
    schema = SchemaGenerator().get_schema(public=True)
    listing = schema["paths"]["/api/v1/books/"]["get"]
    described = {
        given["name"]: given
        for given in listing["parameters"]
        if given["name"] in ("cursor", "page_size", "count")
    }
    assert described["cursor"].pop("schema")["type"] == "string"
    assert described == {
        "cursor": {
            "in": "query",
            "required": False,
            "name": "cursor",
            "description": "Where the page begins: a `next_cursor` or `previous_cursor`, "
            "together with the same filters and ordering.",
        },
        "page_size": {
            "in": "query",
            "required": False,
            "name": "page_size",
            "description": "Results per page.",
            "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
        },
        "count": {
            "in": "query",
            "required": False,
            "name": "count",
            "description": "`true` adds `count`, the total number of results. "
            "Counting a large catalogue takes longer than reading a page of it.",
            "schema": {"type": "boolean", "default": False},
        },
    }
    page = schema["components"]["schemas"]["PaginatedBookList"]
    assert page["required"] == ["next", "previous", "next_cursor", "previous_cursor", "results"]
    cursor = {"type": ["string", "null"]}
    link = {"type": ["string", "null"], "format": "uri"}
    described = {
        name: {key: value for key, value in each.items() if key != "example"}
        for name, each in page["properties"].items()
    }
    assert described == {
        "count": {"type": "integer", "minimum": 0, "description": "Only with `count=true`."},
        "next": {**link, "description": "The next page; null on the last."},
        "previous": {**link, "description": "The previous page; null on the first."},
        "next_cursor": {**cursor, "description": "The `cursor` of `next`."},
        "previous_cursor": {**cursor, "description": "The `cursor` of `previous`."},
        "results": {"type": "array", "items": {"$ref": "#/components/schemas/Book"}},
    }
    assert page["type"] == "object"
