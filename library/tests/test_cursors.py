"""A cursor holds the keys of the last row: it fits a URL, and belongs to one list alone."""

import base64
import random
import zlib
from contextlib import suppress
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.core import signing

from library.models import Book
from project.base import keyset

from .books import BOOKS, add

pytestmark = pytest.mark.django_db

CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
# Letters of many planes, none repeated: they do not compress.
PLANES = [
    chr(c)
    for start in (0x10400, 0x12000, 0x1F300, 0x20000, 0x30000)
    for c in range(start, start + 600)
]
# gunicorn's limit for the whole request line, which begins "GET " and ends " HTTP/1.1".
LONGEST_LINE = 8190


def cursor_of(link: str) -> str:
    return parse_qs(urlsplit(link).query)["cursor"][0]


def walk(api, address: str, link: str = "next") -> list[int]:
    found = []
    while address:
        assert len(f"GET {address} HTTP/1.1") < LONGEST_LINE
        page = api.get(address)
        assert page.status_code == 200, page.content
        found += [book["id"] for book in page.json()["results"]]
        address = page.json()[link]
    return found


@pytest.mark.parametrize("letters", [CYRILLIC, PLANES], ids=["cyrillic", "planes"])
@pytest.mark.parametrize("length", [499, 500])
def test_a_walk_over_the_longest_titles_and_authors_fits_a_url(api, letters, length):
    chance = random.Random(length)
    start = "".join(chance.choice(letters) for _ in range(length - 1))
    for number in range(6):  # ties in the title, which differ in the last letter of the author
        author = "".join(chance.choice(letters) for _ in range(length - 1))
        add(title=start + letters[number // 3], author=author + letters[number])
    for ordering in ("title,author", "-author,title"):
        address = f"{BOOKS}?{urlencode({'ordering': ordering, 'page_size': 1})}"
        expected = list(Book.objects.order_by(*ordering.split(",")).values_list("pk", flat=True))
        assert walk(api, address) == expected
        last = address
        while following := api.get(last).json()["next"]:
            last = following
        assert walk(api, last, "previous") == expected[::-1]


def test_the_longest_cursor_leaves_room_for_filters(api):
    chance = random.Random(1)
    letters = [chr(chance.randrange(0x10000, 0x110000)) for _ in range(1000)]
    for number in range(2):
        add(
            title="".join(letters[:500]), author="".join(letters[500:]), publication_year=number + 1
        )
    link = api.get(f"{BOOKS}?ordering=title,author&page_size=1").json()["next"]
    assert len(cursor_of(link)) < 4500  # with escapes instead of UTF-8 it would have 5,800


@pytest.mark.parametrize("ordering", ["title", "-title", "author,title", "created_at", "id"])
def test_a_row_changed_or_removed_between_two_pages_skips_and_repeats_no_other(api, ordering):
    books = {add(title=f"T{n}", author=f"A{n % 2}").pk for n in range(7)}
    address = f"{BOOKS}?ordering={ordering}&page_size=2"
    page = api.get(address).json()
    first, last = (book["id"] for book in page["results"])
    Book.objects.filter(pk=last).update(title="T99", author="A99")
    found = walk(api, page["next"])
    assert set(found) - {last} == books - {first, last}
    assert len(found) == len(set(found))
    page = api.get(address).json()
    gone = [book["id"] for book in page["results"]]
    Book.objects.filter(pk=gone[1]).delete()
    assert sorted(walk(api, page["next"])) == sorted(books - set(gone))


@pytest.mark.parametrize("title", ["Secret Garden", "Таинственный сад"])
def test_no_text_can_be_read_in_a_cursor(api, title):
    for _ in range(2):
        add(title=title)
    cursor = cursor_of(api.get(f"{BOOKS}?page_size=1").json()["next"])
    content = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    for start in range(len(content)):  # compressed text is readable
        with suppress(zlib.error):
            content += zlib.decompressobj().decompress(content[start:])
        with suppress(zlib.error):
            content += zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[start:])
    for word in title.split():
        assert word.encode() not in content
        assert word.encode("unicode-escape") not in content


def test_the_cursors_stand_beside_the_links(api):
    for n in range(3):
        add(title=f"T{n}")
    first = api.get(f"{BOOKS}?page_size=1").json()
    assert first["next_cursor"] == cursor_of(first["next"])
    assert first["previous_cursor"] is None
    second = api.get(BOOKS, {"page_size": 1, "cursor": first["next_cursor"]}).json()
    assert second["results"] == api.get(first["next"]).json()["results"]
    assert second["previous_cursor"] == cursor_of(second["previous"])
    last = api.get(BOOKS, {"page_size": 1, "cursor": second["next_cursor"]}).json()
    assert (last["next"], last["next_cursor"]) == (None, None)


def test_a_place_has_the_same_cursor_whenever_it_is_asked(api):
    for _ in range(2):
        add()
    links = {api.get(f"{BOOKS}?page_size=1").json()["next"] for _ in range(3)}
    assert len(links) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"ordering": "-title"},
        {"ordering": "title,author"},
        {"search": "t"},
        {"title": "t0"},
        {"author": "other"},
        {"publication_year": "1999"},
        {"publication_year_min": "1"},
        {"publication_year_max": "9999"},
        {"updated_since": "2000-01-01T00:00:00Z"},
    ],
    ids=str,
)
def test_a_cursor_is_bound_to_its_filters_and_ordering(api, other):
    for n in range(3):
        add(title=f"T{n}")
    cursor = cursor_of(api.get(f"{BOOKS}?page_size=1").json()["next"])
    assert api.get(f"{BOOKS}?cursor={cursor}").status_code == 200
    response = api.get(f"{BOOKS}?{urlencode(other | {'cursor': cursor})}")
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == ["cursor"]


def test_a_filter_of_the_first_page_is_needed_on_the_next(api):
    for n in range(3):
        add(title=f"T{n}", publication_year=2000)
    cursor = cursor_of(api.get(f"{BOOKS}?publication_year=2000&page_size=1").json()["next"])
    assert api.get(f"{BOOKS}?publication_year=2000&cursor={cursor}").status_code == 200
    assert api.get(f"{BOOKS}?cursor={cursor}").status_code == 400


def test_a_cursor_is_bound_to_its_path(staff_api):
    for _ in range(2):
        add()
    cursor = cursor_of(staff_api.get(f"{BOOKS}?ordering=id&page_size=1").json()["next"])
    response = staff_api.get(f"/api/v1/members/?ordering=id&cursor={cursor}")
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == ["cursor"]


@pytest.mark.parametrize("content", ["", [], ["T0"], [["T0", 1], False, "x"], {"a": 1}], ids=repr)
def test_a_cursor_of_an_older_version_is_a_400(api, content):
    add()
    for cursor in (
        signing.dumps(content, salt="project.api.pagination", compress=True),
        keyset.encrypt(content),
    ):
        response = api.get(BOOKS, {"cursor": cursor})
        assert response.status_code == 400
        assert [error["field"] for error in response.json()["errors"]] == ["cursor"]


@pytest.mark.parametrize("cursor", ["a", "ab", "é", "AAAA", "A" * 23, "A" * 4000, "=", "%00"])
def test_what_is_no_cursor_is_a_400(api, cursor):
    response = api.get(BOOKS, {"cursor": cursor})
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == ["cursor"]


def test_a_cursor_made_with_another_key_is_a_400(api, settings):
    for _ in range(2):
        add()
    link = api.get(f"{BOOKS}?page_size=1").json()["next"]
    settings.SECRET_KEY = "another"
    assert api.get(link).status_code == 400
