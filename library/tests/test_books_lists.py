"""The list of books for programs: filters, orderings, pages."""

from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from library.models import Book
from library.search.models import BookWordQuerySet

from .books import BOOKS, THE_BOOK, add, listed, problem, unsaved, url

pytestmark = pytest.mark.django_db


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


@pytest.mark.parametrize(
    ("query", "later"),
    [
        ({"search": "sea"}, "Seas"),  # by then there is another form to come after the word
        ({"search": "sea", "author": "sea"}, "Sea"),  # by then it is rarer as an author
    ],
)
def test_so_does_one_whose_word_gives_another_order_by_now(api, monkeypatch, query, later):
    monkeypatch.setattr(BookWordQuerySet, "MAX_RARE_ROWS", 1)
    for title in ("Sea", "Sky", "Sun"):
        add(title=title, author="Sea")
    link = api.get(BOOKS, query | {"page_size": 1}).json()["next"]
    add(title=later, author="X")
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
