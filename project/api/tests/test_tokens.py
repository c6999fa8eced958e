from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from library.models import Book
from project.api.authentication import AuthToken

TOKEN = "/api/v1/auth/token/"
MEMBERS = "/api/v1/members/"

pytestmark = pytest.mark.django_db


def ask(api, username: str = "staff", password: object = "staff"):
    return api.post(TOKEN, {"username": username, "password": password})


def bearing(token: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client


def test_a_password_buys_a_token_that_acts_for_its_account(api, staff):
    answer = ask(api)
    assert answer.status_code == 200
    assert answer.json().keys() == {"token", "expiry"}
    token = answer.json()["token"]
    assert bearing(token).get(MEMBERS).status_code == 200
    stored = AuthToken.objects.get()
    assert token not in (stored.digest, stored.token_key), "only its hash is stored"
    assert timedelta(days=29) < stored.expiry - timezone.now() < timedelta(days=31)


def test_an_account_has_several_tokens_and_revokes_one(api, staff):
    one, two = (ask(api).json()["token"] for _ in range(2))
    assert bearing(one).delete(TOKEN).status_code == 204
    assert bearing(one).get(MEMBERS).status_code == 401
    assert bearing(two).get(MEMBERS).status_code == 200


def test_revoking_leaves_the_older_token_and_those_of_others(api, staff):
    User.objects.create_user("other", password="secret", is_superuser=True)
    older, own = (ask(api).json()["token"] for _ in range(2))
    others = ask(api, "other", "secret").json()["token"]
    response = bearing(own).delete(TOKEN)
    assert (response.status_code, response.content) == (204, b"")
    statuses = [bearing(each).get(MEMBERS).status_code for each in (older, own, others)]
    assert statuses == [200, 401, 200]


def test_at_its_expiry_a_token_has_expired(api, staff, monkeypatch):
    token = ask(api).json()["token"]
    expiry = AuthToken.objects.get().expiry
    for early, status in [(timedelta(microseconds=1), 200), (timedelta(0), 401)]:
        monkeypatch.setattr(timezone, "now", lambda early=early: expiry - early)
        assert bearing(token).get(MEMBERS).status_code == status
    ask(api)
    assert not AuthToken.objects.filter(expiry=expiry).exists(), "swept as soon as it is refused"


def test_a_token_without_an_expiry_lasts(api, staff):
    stored, token = AuthToken.objects.create(staff, expiry=None)
    assert bearing(token).get(MEMBERS).status_code == 200
    ask(api)
    assert AuthToken.objects.filter(pk=stored.pk).exists()


def test_the_case_of_a_token_counts(staff):
    _, token = AuthToken.objects.create(staff)
    assert bearing(token.upper()).get(MEMBERS).status_code == 401


def test_an_expired_token_revokes_nothing(staff):
    _, token = AuthToken.objects.create(staff)
    AuthToken.objects.update(expiry=timezone.now())
    assert bearing(token).delete(TOKEN).status_code == 401
    assert AuthToken.objects.exists()


def test_the_longest_name_and_password_are_taken_and_no_longer_ones(api):
    name, password = "n" * 150, "p" * 1000
    User.objects.create_user(name, password=password)
    assert ask(api, name, password).status_code == 200
    for field, given in [
        ("username", (name + "n", password)),
        ("password", (name, password + "p")),
    ]:
        answer = ask(api, *given)
        assert answer.status_code == 400
        [error] = answer.json()["errors"]
        assert (error["field"], error["code"]) == (field, "max_length")


def test_the_expiry_in_the_answer_is_the_stored_one(api, staff):
    told = datetime.fromisoformat(ask(api).json()["expiry"])
    assert told == AuthToken.objects.get().expiry


@pytest.mark.parametrize("method", ["post", "delete", "options"])
def test_the_route_of_the_tokens_knows_no_parameter(staff, method):
    client = bearing(AuthToken.objects.create(staff)[1])
    body = {"username": "staff", "password": "staff"} if method == "post" else None
    answer = getattr(client, method)(f"{TOKEN}?username=staff", body)
    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert (error["field"], error["code"]) == ("username", "unknown")
    assert AuthToken.objects.count() == 1


def test_an_expired_token_is_refused_and_swept_at_the_next_login(api, staff):
    token = ask(api).json()["token"]
    AuthToken.objects.update(expiry=timezone.now())
    assert bearing(token).get(MEMBERS).status_code == 401
    ask(api)
    assert AuthToken.objects.filter(user=staff).count() == 1


def test_the_token_of_an_inactive_account_is_refused(api, staff):
    token = ask(api).json()["token"]
    User.objects.update(is_active=False)
    assert bearing(token).get(MEMBERS).status_code == 401
    assert ask(api).status_code == 401


@pytest.mark.parametrize(("username", "password"), [("staff", "wrong"), ("nobody", "staff")])
def test_a_wrong_login_tells_nothing(api, staff, username, password):
    answer = ask(api, username, password)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["detail"] == "Username and password do not match."


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "staff"},
        {"username": ["staff"], "password": {}},
        {"username": "st\0aff", "password": "staff"},
        {"username": "staff", "password": "x" * 1001},
        {"username": "staff", "password": "staff", "remember": True},
        [],
    ],
)
def test_wrong_credentials_are_a_400(api, staff, body):
    assert api.post(TOKEN, body).status_code == 400


@pytest.mark.parametrize(
    "header",
    [
        "Token",
        "Token ",
        "Token a b",
        "Token \xff\xfe",
        "Token é",
        "Token " + "f" * 64,
        "Token " + "f" * 100_000,
        "token \x00",
        "Bearer f",
        "Basic c3RhZmY6c3RhZmY=",
        "\xff",
        "",
    ],
)
def test_garbage_in_the_header_is_a_401(api, header):
    answer = api.get(MEMBERS, HTTP_AUTHORIZATION=header)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_wrong_token_is_refused_even_where_everyone_may_read(api):
    assert api.get("/api/v1/books/", HTTP_AUTHORIZATION="Token x").status_code == 401


def test_revoking_needs_a_token(api, staff):
    assert api.delete(TOKEN).status_code == 401
    client = APIClient()
    client.force_login(staff)
    assert client.delete(TOKEN).status_code == 400


def test_getting_a_token_needs_no_csrf_token(staff):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(staff)
    assert ask(client).status_code == 200


def test_a_token_costs_one_query_however_many_there_are(staff, django_assert_num_queries):
    for _ in range(5):
        _, token = AuthToken.objects.create(staff)
    for queries in (3, 2):  # the token with its account, the books; once a minute its last use
        with django_assert_num_queries(queries):
            assert bearing(token).get("/api/v1/books/").status_code == 200


@pytest.mark.parametrize("field", ["username", "password"])
@pytest.mark.parametrize("value", [12345, 1.5, True, None, ""], ids=repr)
def test_only_a_string_is_a_name_or_a_password(api, field, value):
    User.objects.create_user("12345", password="12345")
    answer = api.post(TOKEN, {"username": "12345", "password": "12345", field: value})
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not AuthToken.objects.exists()


def test_blanks_belong_to_a_password_and_not_to_a_name(api):
    User.objects.create_user("program", password=" secret ")
    assert ask(api, "program", "secret").status_code == 401
    assert ask(api, " program ", " secret ").status_code == 200


def test_a_token_lasts_30_days_to_the_second(api, staff, settings):
    token = ask(api).json()["token"]
    lifetime = AuthToken.objects.get().expiry - AuthToken.objects.get().created
    assert abs(lifetime - timedelta(days=30)) < timedelta(seconds=1)
    AuthToken.objects.update(expiry=timezone.now() + timedelta(minutes=1))
    assert bearing(token).get(MEMBERS).status_code == 200
    AuthToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert bearing(token).get(MEMBERS).status_code == 401


def test_a_login_sweeps_no_token_of_others_and_none_that_lasts(api, staff):
    other = User.objects.create_user("other")
    expired, _ = AuthToken.objects.create(other)
    AuthToken.objects.update(expiry=timezone.now() - timedelta(days=1))
    lasting, _ = AuthToken.objects.create(staff)
    ask(api)
    assert AuthToken.objects.filter(pk__in=[expired.pk, lasting.pk]).count() == 2


def test_a_token_acts_with_no_more_than_its_account_may(api):
    User.objects.create_user("plain", password="secret")
    token = ask(api, "plain", "secret").json()["token"]
    assert bearing(token).get(MEMBERS).status_code == 403
    assert bearing(token).get("/api/v1/books/").status_code == 200


# --- Listing and revoking ---

TOKENS = "/api/v1/auth/tokens/"


def test_an_account_lists_its_own_tokens_and_no_secret(api, staff):
    AuthToken.objects.create(User.objects.create_user("other"))
    named = {"username": "staff", "password": "staff", "name": "nightly copy"}
    secret = api.post(TOKEN, named).json()["token"]
    answer = bearing(secret).get(TOKENS)
    [token] = answer.json()["results"]
    stored = AuthToken.objects.get(user=staff)
    assert token == {
        "id": stored.pk,
        "name": "nightly copy",
        "prefix": secret[:15],
        "created": token["created"],
        "expiry": token["expiry"],
        "last_used_at": f"{stored.last_used_at:%Y-%m-%dT%H:%M:%S.%f}Z",
    }
    assert secret not in answer.content.decode()
    assert stored.digest not in answer.content.decode()


def test_an_account_revokes_one_of_its_tokens_and_none_of_others(api, staff):
    _, secret = AuthToken.objects.create(staff)
    lost, _ = AuthToken.objects.create(staff)
    others, _ = AuthToken.objects.create(User.objects.create_user("other"))
    assert bearing(secret).delete(f"{TOKENS}{others.pk}/").status_code == 404
    assert bearing(secret).delete(f"{TOKENS}{lost.pk}/").status_code == 204
    assert not AuthToken.objects.filter(pk=lost.pk).exists()
    assert AuthToken.objects.filter(pk=others.pk).exists()
    assert bearing(secret).get(TOKENS).status_code == 200


def test_one_token_too_many_revokes_the_one_unused_for_longest(api, staff, settings):
    settings.TOKENS_PER_ACCOUNT = 2
    old, fresh = (AuthToken.objects.create(staff)[0] for _ in range(2))
    AuthToken.objects.filter(pk=old.pk).update(last_used_at=timezone.now() + timedelta(hours=1))
    others, _ = AuthToken.objects.create(User.objects.create_user("other"))
    with CaptureQueriesContext(connection) as queries:
        ask(api)
    if connection.features.has_select_for_update:  # or two at once would make one too many
        assert any("FOR UPDATE" in query["sql"] for query in queries)
    left = set(AuthToken.objects.values_list("pk", flat=True))
    assert {old.pk, others.pk} < left
    assert fresh.pk not in left


def test_the_last_use_is_written_once_a_minute(staff, monkeypatch):
    stored, token = AuthToken.objects.create(staff)
    start = timezone.now()
    for seconds, written in [(0, 0), (59, 0), (60, 60)]:
        moment = start + timedelta(seconds=seconds)
        monkeypatch.setattr(timezone, "now", lambda moment=moment: moment)
        bearing(token).get("/api/v1/books/")
        stored.refresh_from_db()
        assert stored.last_used_at == start + timedelta(seconds=written)


def test_a_token_works_while_the_database_takes_no_writes(staff, monkeypatch):
    _, secret = AuthToken.objects.create(staff)

    def refuse(*args, **kwargs):
        raise OperationalError(1290, "read only")

    monkeypatch.setattr(QuerySet, "update", refuse)
    assert bearing(secret).get(MEMBERS).status_code == 200


@pytest.mark.parametrize("keyword", ["Bearer", "bearer", "Token", "TOKEN"])
def test_both_keywords_are_accepted(api, staff, keyword):
    _, token = AuthToken.objects.create(staff)
    assert api.get(MEMBERS, HTTP_AUTHORIZATION=f"{keyword} {token}").status_code == 200


def test_expired_is_told_from_wrong_for_a_token_that_existed_alone(staff):
    _, token = AuthToken.objects.create(staff)
    AuthToken.objects.update(expiry=timezone.now())
    codes = [
        bearing(text).get(MEMBERS).json()["errors"][0]["code"] for text in (token, token[::-1])
    ]
    assert codes == ["token_expired", "authentication_failed"]


def test_a_change_is_recorded_by_the_name_of_its_token(staff):
    _, token = AuthToken.objects.create(staff, name="nightly copy")
    book = {"title": "Dune", "author": "Herbert", "publication_year": 1965, "isbn": "9780441013593"}
    assert bearing(token).post("/api/v1/books/", book).status_code == 201
    assert Book.history.get().detail == "nightly copy"
