"""Requests that say what they have read: RFC 9110, 13."""

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.test import APIClient

from library.models import Book
from members.models import Member, WelcomeEmail
from members.registration import register_member

pytestmark = pytest.mark.django_db
BOOKS, MEMBERS = "/api/v1/books/", "/api/v1/members/"
DUNE = {"title": "Dune", "author": "Herbert", "publication_year": 1965, "isbn": "9780340839935"}


@pytest.fixture
def book():
    return Book.objects.create(**DUNE)


@pytest.fixture
def member():
    return register_member(Member(username="ann", email="ann@example.org"))


@pytest.fixture(params=["book", "member"])
def case(request):
    """The address of a record, and two changes of it."""
    record = request.getfixturevalue(request.param)
    if request.param == "book":
        return f"{BOOKS}{record.pk}/", {"title": "T"}, {"author": "A"}
    return f"{MEMBERS}{record.pk}/", {"username": "bob"}, {"email": "bob@example.org"}


def test_a_record_is_read_created_and_changed_with_its_tag(staff_api, case):
    url, change, _ = case
    first = staff_api.get(url)["ETag"]
    assert first.startswith('"1') and first.endswith('"')
    changed = staff_api.patch(url, change)
    assert changed["ETag"] != first
    assert changed["ETag"] == staff_api.get(url)["ETag"] == staff_api.head(url)["ETag"]


def test_a_created_book_has_its_tag(staff_api):
    created = staff_api.post(BOOKS, DUNE)
    assert created["ETag"] == '"1"'
    assert staff_api.get(f"{BOOKS}{created.json()['id']}/")["ETag"] == '"1"'


@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize("form", ["{tag}", "W/{tag}", '"other", {tag}', "*"])
def test_what_is_known_is_not_sent_again(staff_api, case, method, form):
    url = case[0]
    tag = staff_api.get(url)["ETag"]
    response = getattr(staff_api, method)(url, headers={"if-none-match": form.format(tag=tag)})
    assert (response.status_code, response.content, response["ETag"]) == (304, b"", tag)


@pytest.mark.parametrize("known", ['"0"', '"other"', "1", "", "W/"])
def test_what_is_not_known_is_sent(staff_api, case, known):
    assert staff_api.get(case[0], headers={"if-none-match": known}).status_code == 200


def test_after_a_change_the_old_tag_is_no_longer_known(staff_api, case):
    url, change, _ = case
    tag = staff_api.get(url)["ETag"]
    staff_api.patch(url, change)
    assert staff_api.get(url, headers={"if-none-match": tag}).status_code == 200


def test_a_member_has_a_new_tag_once_its_mail_is_sent(staff_api, member):
    url, tags = f"{MEMBERS}{member.pk}/", set()
    sent = WelcomeEmail.State.SENT
    for columns in ({}, {"state": sent, "sent_at": timezone.now()}, {"sent_at": timezone.now()}):
        WelcomeEmail.objects.filter(member=member).update(**columns or {"state": "queued"})
        tags.add(staff_api.get(url)["ETag"])
    assert len(tags) == 3


def test_a_member_without_a_mail_has_a_tag_too(staff_api):
    member = Member.objects.create(username="old", email="old@example.org")
    assert staff_api.get(f"{MEMBERS}{member.pk}/")["ETag"] == '"1"'


@pytest.mark.parametrize("method", ["patch", "put", "delete"])
def test_who_writes_on_an_old_tag_is_refused_and_told_the_new_one(staff_api, book, method):
    url = f"{BOOKS}{book.pk}/"
    old = staff_api.get(url)["ETag"]
    new = staff_api.patch(url, {"author": "A"})["ETag"]
    response = getattr(staff_api, method)(url, DUNE, headers={"if-match": old})
    assert response.status_code == 412
    assert response["Content-Type"] == "application/problem+json"
    assert response["ETag"] == new
    [error] = response.json()["errors"]
    assert error["code"] == "precondition_failed"
    book.refresh_from_db()
    assert (book.title, book.author) == ("Dune", "A")


@pytest.mark.parametrize(
    ("given", "status"),
    [("{tag}", 200), ('"x", {tag}', 200), ("*", 200), ("W/{tag}", 412), ("", 412), ("1", 412)],
)
def test_if_match_names_the_tag_strongly(staff_api, case, given, status):
    url, change, _ = case
    header = {"if-match": given.format(tag=staff_api.get(url)["ETag"])}
    assert staff_api.patch(url, change, headers=header).status_code == status


def test_if_none_match_keeps_a_record_from_being_written(staff_api, case):
    url, change, _ = case
    assert staff_api.patch(url, change, headers={"if-none-match": "*"}).status_code == 412
    weak = f"W/{staff_api.get(url)['ETag']}"
    assert staff_api.patch(url, change, headers={"if-none-match": weak}).status_code == 412
    assert staff_api.patch(url, change, headers={"if-none-match": '"0"'}).status_code == 200


def test_if_none_match_names_the_tag_too(staff_api, case):
    url, change, _ = case
    header = {"if-none-match": f'"other", {staff_api.get(url)["ETag"]}'}
    assert staff_api.patch(url, change, headers=header).status_code == 412
    assert staff_api.delete(url, headers=header).status_code == 412
    assert staff_api.get(url).status_code == 200


def test_a_record_that_has_changed_is_not_deleted(staff_api, case):
    url, change, _ = case
    old = staff_api.get(url)["ETag"]
    new = staff_api.patch(url, change)["ETag"]
    refused = staff_api.delete(url, headers={"if-match": old})
    assert (refused.status_code, refused["ETag"]) == (412, new)
    assert staff_api.get(url).status_code == 200
    assert staff_api.delete(url, headers={"if-match": new}).status_code == 204
    assert staff_api.get(url).status_code == 404


@pytest.mark.parametrize("method", ["get", "head"])
@pytest.mark.parametrize("known", ["*", '"1"'])
def test_who_may_not_read_is_not_told_that_nothing_changed(settings, case, method, known):
    settings.PUBLIC_CATALOGUE = False
    plain = APIClient()
    plain.force_authenticate(User.objects.create_user("plain"))
    for client, status in [(APIClient(), 401), (plain, 403)]:
        response = getattr(client, method)(case[0], headers={"if-none-match": known})
        assert response.status_code == status
        assert "ETag" not in response


def test_a_condition_for_writers_does_not_keep_from_reading(staff_api, case):
    assert staff_api.get(case[0], headers={"if-match": '"0"'}).status_code == 200


def test_without_a_condition_the_last_writer_wins_column_by_column(staff_api, case):
    url, one, other = case
    assert staff_api.patch(url, one).status_code == staff_api.patch(url, other).status_code == 200
    assert staff_api.get(url).json().items() >= (one | other).items()


def test_the_tag_is_compared_only_for_who_may_write(api, book):
    reader = APIClient()
    url = f"{BOOKS}{book.pk}/"
    assert reader.patch(url, {}, headers={"if-match": '"0"'}).status_code == 401


def test_a_concurrent_change_of_another_column_is_kept(staff_api, case, monkeypatch):
    """Somebody writes another column between our read and our write."""
    url, one, other = case
    model = Book if "books" in url else Member
    from project.api.serializers import StrictModelSerializer

    check = StrictModelSerializer.is_valid

    def with_somebody_else(serializer, **kwargs):
        model.objects.all().update(**other)
        return check(serializer, **kwargs)

    monkeypatch.setattr(StrictModelSerializer, "is_valid", with_somebody_else)
    assert staff_api.patch(url, one).status_code == 200
    assert model.objects.filter(**one | other).exists()


@pytest.mark.parametrize("body", [{}, {"title": "Dune"}, DUNE])
def test_a_patch_that_changes_nothing_moves_nothing(staff_api, book, body):
    before = staff_api.get(f"{BOOKS}{book.pk}/")
    response = staff_api.patch(f"{BOOKS}{book.pk}/", body)
    assert (response.status_code, response["ETag"]) == (200, before["ETag"])
    assert response.json() == before.json()


def test_lists_and_refusals_carry_no_tag(staff_api, api, book):
    assert "ETag" not in staff_api.get(BOOKS)
    assert "ETag" not in staff_api.patch(f"{BOOKS}{book.pk}/", {"title": ""})
    assert "ETag" not in staff_api.delete(f"{BOOKS}{book.pk}/")


def test_a_new_record_has_an_address(staff_api, api):
    answer = staff_api.post(BOOKS, DUNE)
    assert answer["Location"] == f"http://testserver{BOOKS}{answer.json()['id']}/"
    ann = {"username": "ann", "email": "ann@example.org"}
    answer = staff_api.post(f"{MEMBERS}register/", ann)
    assert staff_api.get(answer["Location"])["ETag"] == answer["ETag"]
    bob = {"username": "bob", "email": "bob@example.org"}
    assert "Location" not in api.post(f"{MEMBERS}register/", bob), "a stranger may not see members"
