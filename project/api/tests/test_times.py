"""The API writes and reads UTC, whatever TIME_ZONE the pages are shown in."""

from datetime import UTC, datetime

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from library.models import Book
from library.tests.books import BOOKS, add
from members.models import Member, WelcomeEmail
from project.api.authentication import AuthToken

pytestmark = pytest.mark.django_db

MEMBERS = "/api/v1/members/"
MOMENT = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
WRITTEN = "2026-01-31T12:30:00Z"
BOOK = {"title": "T", "author": "A", "publication_year": 2000, "isbn": "9783161484100"}


@pytest.fixture(autouse=True, params=["Pacific/Auckland", "America/New_York", "UTC"])
def zone(settings, request):
    settings.TIME_ZONE = request.param


@pytest.fixture
def member() -> Member:
    member = Member.objects.create(username="ann", email="ann@example.org")
    WelcomeEmail.objects.create(member=member, sent_at=MOMENT)
    Member.objects.update(registered_at=MOMENT)
    return member


def test_times_of_books_are_utc(api, staff_api):
    book = add()
    Book.objects.update(created_at=MOMENT, updated_at=MOMENT)
    for answer in (api.get(BOOKS).json()["results"][0], api.get(f"{BOOKS}{book.pk}/").json()):
        assert (answer["created_at"], answer["updated_at"]) == (WRITTEN, WRITTEN)
    for answer in (
        staff_api.post(BOOKS, BOOK).json(),
        staff_api.patch(f"{BOOKS}{book.pk}/", {"title": "Other"}).json(),
        staff_api.put(f"{BOOKS}{book.pk}/", BOOK | {"isbn": book.isbn}).json(),
    ):
        assert answer["updated_at"].endswith("Z")


def test_times_of_members_are_utc(api, staff_api, member):
    path = f"{MEMBERS}{member.pk}/"
    for answer in (
        staff_api.get(MEMBERS).json()["results"][0],
        staff_api.get(path).json(),
        staff_api.patch(path, {"username": "anna"}).json(),
    ):
        assert answer["registered_at"] == answer["welcome_email"]["sent_at"] == WRITTEN
    given = {"username": "bob", "email": "bob@example.org"}
    assert api.post(f"{MEMBERS}register/", given).json()["registered_at"].endswith("Z")


def test_the_expiry_of_a_token_is_utc(api, staff):
    answer = api.post("/api/v1/auth/token/", {"username": "staff", "password": "staff"}).json()
    assert answer["expiry"].endswith("Z")
    assert datetime.fromisoformat(answer["expiry"]) == AuthToken.objects.get().expiry


@pytest.mark.parametrize(
    "time", [WRITTEN, WRITTEN.lower(), "2026-01-31T12:30:00.000Z", "2026-02-01T01:30:00%2B13:00"]
)
def test_times_in_filters_count_from_the_offset_they_give(api, staff_api, member, time):
    add()
    Book.objects.update(updated_at=MOMENT)
    assert len(api.get(f"{BOOKS}?updated_since={time}").json()["results"]) == 1
    later = time.replace(":30:00", ":30:01")
    assert len(api.get(f"{BOOKS}?updated_since={later}").json()["results"]) == 0
    for query, found in [
        (f"registered_after={time}", 1),
        (f"registered_after={later}", 0),
        (f"registered_before={time}", 0),
        (f"registered_before={later}", 1),
    ]:
        assert len(staff_api.get(f"{MEMBERS}?{query}").json()["results"]) == found


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-31T12:30:00", "2026-01-31", "2026-01-31 12:30:00Z", "20260131T123000Z",
        "2026-01-31T12:30Z", "2026-W05-6T12:30:00Z", "2026-01-31T12:30:00 01:00",
        "2026-01-31T12:30:00+01", "2026-01-31T12:30:00+01:60", "2026-01-31T24:00:00Z",
        "2026-02-30T12:30:00Z", " 2026-01-31T12:30:00Z",
    ],
)  # fmt: skip
def test_a_time_without_an_offset_or_in_another_form_is_refused(api, staff_api, time):
    """As the schema says, format date-time: whose midnight would a date mean?"""
    for path, name in [
        (BOOKS, "updated_since"),
        (MEMBERS, "updated_since"),
        (MEMBERS, "registered_after"),
        (MEMBERS, "registered_before"),
    ]:
        response = staff_api.get(path, {name: time})
        assert response.status_code == 400, response.content
        [error] = response.json()["errors"]
        assert (error["field"], error["code"]) == (name, "invalid")
        assert "2026-01-31T00:00:00Z" in error["message"]


def test_pages_keep_the_time_zone_of_the_desk(staff, settings, client):
    APIClient().get(BOOKS)
    assert timezone.get_current_timezone_name() == settings.TIME_ZONE
