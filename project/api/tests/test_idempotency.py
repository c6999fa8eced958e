"""A POST with an Idempotency-Key acts once, however often it is sent."""

from datetime import timedelta
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.test import APIClient

from library.models import Book
from members.models import Member, WelcomeEmail
from project import tasks
from project.api.idempotency import KEPT, MAX_KEY_LENGTH, IdempotencyKey

BOOKS = "/api/v1/books/"
REGISTER = "/api/v1/members/register/"
DUNE = {
    "title": "Dune",
    "author": "Frank Herbert",
    "publication_year": 1965,
    "isbn": "9780441013593",
}
ANN = {"username": "ann", "email": "ann@example.org"}
pytestmark = pytest.mark.django_db


def post(api, url: str, body: dict, key: str | None = '"4711"', **headers):
    return api.post(url, body, headers={"Idempotency-Key": key} | headers if key else headers)


@pytest.mark.parametrize(
    ("url", "body", "model"), [(BOOKS, DUNE, Book), (REGISTER, ANN, Member)], ids=["book", "member"]
)
def test_the_second_request_gets_the_first_answer_and_creates_nothing(staff_api, url, body, model):
    first, second = (post(staff_api, url, body) for _ in range(2))
    assert [first.status_code, second.status_code] == [201, 201]
    assert second.json() == first.json()
    assert second.headers.get("ETag") == first.headers.get("ETag")
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert model.objects.count() == 1


def test_a_repeated_registration_sends_one_welcome_email(api, django_capture_on_commit_callbacks):
    with (
        patch("members.mail.tasks.send_welcome_emails.delay") as delay,
        django_capture_on_commit_callbacks(execute=True),
    ):
        answers = [post(api, REGISTER, ANN) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert delay.call_count == WelcomeEmail.objects.count() == 1


def test_who_knows_the_request_cannot_tell_whether_it_came(api, settings):
    """Erasing a member leaves the digest for a day."""
    post(api, REGISTER, ANN)
    digests = IdempotencyKey.objects.values_list("digest", "body_digest").get()
    Member.objects.all().delete()
    IdempotencyKey.objects.all().delete()
    settings.SECRET_KEY = "another desk's"
    post(api, REGISTER, ANN)
    others = IdempotencyKey.objects.values_list("digest", "body_digest").get()
    assert set(digests).isdisjoint(others)


def test_without_a_key_a_duplicate_is_a_conflict(staff_api):
    assert [post(staff_api, BOOKS, DUNE, None).status_code for _ in range(2)] == [201, 409]
    assert not IdempotencyKey.objects.exists()


def test_another_key_is_another_request(staff_api):
    assert post(staff_api, BOOKS, DUNE, '"a"').status_code == 201
    assert post(staff_api, BOOKS, DUNE, '"b"').status_code == 409


def test_a_key_with_another_body_is_a_422(staff_api):
    post(staff_api, BOOKS, DUNE)
    answer = post(staff_api, BOOKS, DUNE | {"title": "Dune Messiah"})
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["errors"][0]["code"] == "idempotency_key_reused"
    assert Book.objects.get().title == "Dune"


def test_a_key_belongs_to_its_client_and_its_operation(staff, api):
    other = APIClient()
    other.force_authenticate(User.objects.create_superuser("other"))
    staff_api = APIClient()
    staff_api.force_authenticate(staff)
    assert post(staff_api, BOOKS, DUNE).status_code == 201
    assert post(other, BOOKS, DUNE).status_code == 409
    assert post(staff_api, REGISTER, ANN).status_code == 201
    assert post(api, REGISTER, {"username": "bob", "email": "bob@example.org"}).status_code == 201


def test_strangers_at_two_addresses_have_keys_of_their_own(api):
    assert post(api, REGISTER, ANN).status_code == 201
    elsewhere = APIClient(REMOTE_ADDR="192.0.2.1")
    assert post(elsewhere, REGISTER, ANN).status_code == 409


def test_a_refused_request_may_be_sent_again_with_its_key(staff_api):
    assert post(staff_api, BOOKS, DUNE | {"isbn": "1"}).status_code == 400
    assert post(staff_api, BOOKS, DUNE).status_code == 201


def test_who_may_not_write_stores_no_key(api):
    assert post(api, BOOKS, DUNE).status_code == 401
    assert not IdempotencyKey.objects.exists()


def test_a_process_that_dies_leaves_neither_record_nor_key(staff_api):
    staff_api.raise_request_exception = False
    with patch("library.serializers.BookSerializer.to_representation", side_effect=RuntimeError):
        assert post(staff_api, BOOKS, DUNE).status_code == 500
    assert not Book.objects.exists()
    assert not IdempotencyKey.objects.exists()
    assert post(staff_api, BOOKS, DUNE).status_code == 201


def test_what_was_deleted_meanwhile_is_not_created_again(staff_api):
    post(staff_api, BOOKS, DUNE)
    Book.objects.all().delete()
    answer = post(staff_api, BOOKS, DUNE)
    assert answer.status_code == 404
    assert "has been deleted" in answer.json()["detail"]
    assert not Book.objects.exists()


@pytest.mark.parametrize(
    "key", ["a", '"a"', "x" * MAX_KEY_LENGTH, f'"{"x" * MAX_KEY_LENGTH}"', '"a b"']
)
def test_quotes_are_optional(staff_api, key):
    assert post(staff_api, BOOKS, DUNE, key).status_code == 201
    assert post(staff_api, BOOKS, DUNE, '"' + key.strip('"') + '"').status_code == 201


@pytest.mark.parametrize(
    "key", [" ", '""', '"', 'a"', "a b", "\u00e9", '"a\\"', "x" * (MAX_KEY_LENGTH + 1)]
)
def test_an_impossible_key_is_a_400_that_names_it(staff_api, key):
    answer = post(staff_api, BOOKS, DUNE, key)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert not Book.objects.exists()


def test_a_key_is_kept_for_24_hours(staff_api):
    post(staff_api, BOOKS, DUNE)
    IdempotencyKey.objects.update(created_at=timezone.now() - KEPT + timedelta(minutes=1))
    assert tasks.purge_idempotency_keys() == "0 keys deleted."
    assert post(staff_api, BOOKS, DUNE).status_code == 201
    IdempotencyKey.objects.update(created_at=timezone.now() - KEPT - timedelta(seconds=1))
    assert post(staff_api, BOOKS, DUNE).status_code == 409
    post(staff_api, BOOKS, DUNE | {"isbn": "9780340839935"})
    IdempotencyKey.objects.update(created_at=timezone.now() - KEPT - timedelta(seconds=1))
    assert tasks.purge_idempotency_keys() == "1 keys deleted."


def test_no_body_and_no_key_is_stored(staff_api):
    post(staff_api, REGISTER, ANN, "ann@example.org")
    [stored] = IdempotencyKey.objects.values()
    assert stored["record_id"] == Member.objects.get().pk
    assert not any("ann" in str(value) for value in stored.values())
