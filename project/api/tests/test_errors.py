"""Whatever a client sends, it gets a problem document (RFC 9457) and never a 5xx."""

import json
from http import HTTPStatus
from unittest.mock import patch

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.db.models.sql.compiler import SQLCompiler
from django.test import Client

from library.models import Book
from library.tests.books import add
from members.models import Member

pytestmark = pytest.mark.django_db

REGISTER = "/api/v1/members/register/"
BOOKS = "/api/v1/books/"


@pytest.fixture
def web() -> Client:
    """As a browser or a program sees it: what Python raises arrives as a page."""
    return Client(raise_request_exception=False)


def problem(response, status: int) -> dict:
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"] == HTTPStatus(status).phrase
    assert body["detail"]
    for error in body["errors"]:
        assert error.keys() == {"field", "code", "message"}
    return body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "required"),
        (b"[" * 100_000, "parse_error"),
        (b'{"a":' * 100_000, "parse_error"),
        (b"{", "parse_error"),
        (b"\xff\xfe{}", "parse_error"),
        (b'{"username": NaN}', "parse_error"),
        (b'{"username": ' + b"9" * 5000 + b"}", "parse_error"),
        (b'{"username": 1e999, "email": 1e999}', "invalid"),
        (b'{"username": ' + b"[" * 500 + b"]" * 500 + b', "email": {}}', "invalid"),
        (b"[]", "invalid"),
        (b"null", "null"),
        (b'"text"', "invalid"),
        (b"1", "invalid"),
        (b'{"\\ud800": 1}', "unknown"),
        (
            b'{"username": "a\\ud800bc", "email": "a@example.org"}',
            "surrogate_characters_not_allowed",
        ),
    ],
)
def test_hostile_bodies(web, body, code):
    errors = problem(web.post(REGISTER, body, content_type="application/json"), 400)["errors"]
    assert code in {error["code"] for error in errors}


def test_a_body_over_the_limit_is_not_read(web):
    body = json.dumps({"username": "a" * 10_000_000})
    problem(web.post(REGISTER, body, content_type="application/json"), 413)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "/;/"])
def test_a_body_that_is_not_json(web, kind):
    problem(web.generic("POST", REGISTER, b"username=ann", kind), 415)


@pytest.mark.parametrize("charset", ["zlib", "utf-16", "hex", "punycode", "undefined", "idna", "x"])
def test_odd_charsets(web, charset):
    kind = f"application/json; charset={charset}"
    assert web.generic("POST", REGISTER, b'{"username": 1', kind).status_code == 400
    assert web.generic("GET", BOOKS, b"", kind).status_code == 200


def test_a_refused_accept_header(web):
    problem(web.get(BOOKS, headers={"accept": "text/html"}), 406)


def test_a_method_that_is_not_offered(web):
    response = web.put(REGISTER, {})
    problem(response, 405)
    assert response.headers["Allow"] == "POST, OPTIONS"


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/nothing",
        "/api/v1",
        "/api/v1/",
        "/api/docs/nothing/",
        "/api/v1/nothing/",
        "/api/v2/books/",
        "/api/v1/books/0/",
        "/api/v1/books/x/",
        "/api/v1/books/%00/",
        "/api/v1/books/%D9%A3/",
        f"/api/v1/books/{'9' * 30}/",
        f"/api/v1/books/{'9' * 5000}/",
    ],
)
def test_what_is_not_there(web, path):
    problem(web.get(path), 404)


@pytest.mark.parametrize(
    "query",
    [
        "x=1",
        "%00=1",
        "title=a&title=b",
        "search=%00",
        "publication_year=1e400",
        f"publication_year={'9' * 5000}",
        "updated_since=0000-01-01T00:00:00Z",
        "updated_since=10000-01-01T00:00:00Z",
        "page_size=0",
        "page_size=%D9%A3",
        "count=yes",
        "cursor=x",
        "cursor=a:b:c",
        "cursor=%FF%00",
        "ordering=",
        "ordering=title,--title",
        "&".join(f"x{i}=1" for i in range(2000)),
    ],
    ids=lambda query: query[:30],
)
def test_hostile_parameters(web, query):
    problem(web.get(f"{BOOKS}?{query}"), 400)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("titel", "title"),
        ("ISBN", "isbn"),
        ("publication_yeer", "publication_year"),
        ("year", "publication_year"),  # spelt like search
        ("max", "publication_year_max"),
        ("since", "updated_since"),
        ("size", "page_size"),
    ],
)
def test_an_unknown_parameter_names_the_one_that_was_meant(web, name, meant):
    [error] = problem(web.get(f"{BOOKS}?{name}=x"), 400)["errors"]
    assert (error["field"], error["code"]) == (name, "unknown")
    assert error["message"] == f"Unknown parameter. Did you mean {meant}?"


@pytest.mark.parametrize("name", ["zzz", "a", "_"])
def test_an_unknown_parameter_that_is_like_none_names_none(web, name):
    [error] = problem(web.get(f"{BOOKS}?{name}=x"), 400)["errors"]
    assert error["message"] == "Unknown parameter."


@pytest.mark.parametrize("route", ["books/", "books/{}/", "members/{}/", "members/register/"])
@pytest.mark.parametrize("method", ["get", "head", "options", "post", "put", "patch", "delete"])
def test_only_lists_know_parameters(staff_api, route, method):
    """Only reading has parameters; writing has none."""
    book, member = add(), Member.objects.create(username="ann", email="ann@example.org")
    path = "/api/v1/" + route.format(book.pk if "books" in route else member.pk)
    response = getattr(staff_api, method)(f"{path}?ordering=id")
    status = response.status_code
    if status != 405:
        lists = route == "books/" and method in ("get", "head")
        assert status == (200 if lists else 400)
        if status == 400 and method != "head":
            errors = response.json()["errors"]
            assert [(e["field"], e["code"]) for e in errors] == [("ordering", "unknown")]
    assert Book.objects.filter(pk=book.pk).exists() and Member.objects.exists()


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/docs/", "/api/schema/", BOOKS])
def test_a_foreign_host(web, path):
    problem(web.get(path, headers={"host": "evil.example"}), 400)


@pytest.mark.parametrize("path", ["/apiary", "/apis/", "/admin/api/"])
def test_a_path_that_only_begins_like_the_api_gets_a_page(web, staff, path):
    web.force_login(staff)
    response = web.get(path)
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")


def test_a_session_without_a_csrf_token(staff):
    web = Client(enforce_csrf_checks=True)
    web.force_login(staff)
    response = web.post(REGISTER, {}, content_type="application/json")
    assert "CSRF" in problem(response, 403)["detail"]
    token = web.get("/api/docs/?script=").wsgi_request.META["CSRF_COOKIE"]
    response = web.post(
        REGISTER, {}, content_type="application/json", headers={"x-csrftoken": token}
    )
    assert problem(response, 400)["errors"][0]["code"] == "required"


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("GET", f"{BOOKS}0/", b"", {}, 404, "not_found"),
        ("GET", "/api/v1/nothing/", b"", {}, 404, "not_found"),
        ("POST", BOOKS, b"{}", {}, 401, "not_authenticated"),
        ("GET", BOOKS, b"", {"authorization": "Token x"}, 401, "authentication_failed"),
        ("PUT", REGISTER, b"{}", {}, 405, "method_not_allowed"),
        ("GET", BOOKS, b"", {"accept": "text/html"}, 406, "not_acceptable"),
        ("POST", REGISTER, b"x", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        ("POST", REGISTER, b"x" * 2_621_441, {}, 413, "too_large"),
        ("POST", REGISTER, b"{", {}, 400, "parse_error"),
        ("GET", BOOKS, b"", {"host": "evil.example"}, 400, "parse_error"),
    ],
)
def test_an_error_about_no_field_says_so_and_has_its_code(
    web, method, path, body, headers, status, code
):
    kind = headers.pop("content-type", "application/json")
    response = web.generic(method, path, body, kind, headers=headers)
    answer = problem(response, status)
    [error] = answer["errors"]
    assert (error["field"], error["code"], error["message"]) == (None, code, answer["detail"])


@pytest.mark.parametrize("names", [["message", "code"], ["code", "message", "x"]])
def test_a_field_may_have_the_name_of_a_part_of_an_error(staff_api, names):
    book = add()
    given = dict.fromkeys(names, "1")
    for response in (
        staff_api.patch(f"{BOOKS}{book.pk}/", given),
        staff_api.get(BOOKS, given),
    ):
        errors = problem(response, 400)["errors"]
        assert [(error["field"], error["code"]) for error in errors] == [
            (name, "unknown") for name in names
        ]


def test_a_crash_is_a_problem_too(web):
    with patch("members.views.MemberViewSet.get_serializer", side_effect=ZeroDivisionError):
        response = web.post(REGISTER, {}, content_type="application/json")
    body = problem(response, 500)
    assert "ZeroDivision" not in json.dumps(body)


def test_outside_the_api_errors_are_pages(web):
    response = web.get("/nothing/")
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OperationalError(1205, "Lock wait timeout exceeded"), 409),
        (OperationalError(1213, "Deadlock found"), 409),
        (OperationalError("database is locked"), 409),
        (OperationalError("database table is locked: library_book"), 409),
        (OperationalError(3118, "Access denied for user 'app'. Account is locked."), 503),
        (OperationalError("unable to open database file"), 503),
        (OperationalError(2006, "Server has gone away"), 503),
        (OperationalError(2013, "Lost connection"), 503),
        (InterfaceError(0, ""), 503),
    ],
    ids=repr,
)
def test_database_errors(web, error, status, caplog):
    with patch("members.serializers.register_member", side_effect=error):
        body = {"username": "ann", "email": "ann@example.org"}
        response = web.post(REGISTER, body, content_type="application/json")
    [said] = problem(response, status)["errors"]
    assert (said["field"], said["code"]) == (None, "busy" if status == 409 else "unavailable")
    assert response.headers.get("Retry-After") == (None if status == 409 else "10")
    assert ("The database is not available" in caplog.text) == (status == 503)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_a_missing_slash_changes_neither_method_nor_body(web, method):
    response = getattr(web, method)("/api/v1/books/1")
    assert response.status_code == 308
    assert response.headers["Location"] == "/api/v1/books/1/"


def test_errors_speak_the_caller_s_language(web):
    response = web.get("/api/v1/members/", headers={"accept-language": "ru"})
    assert "Учетные данные" in problem(response, 401)["detail"]


@pytest.mark.parametrize("path", ["/admin/login/", "/api/v1/books/"])
def test_without_its_database_every_page_says_when_to_ask_again(web, path):
    web.cookies["sessionid"] = "x" * 32
    lost = OperationalError(2006, "Server has gone away")
    with patch("django.db.backends.utils.CursorWrapper.execute", side_effect=lost):
        response = web.get(path)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "10"
    if path.startswith("/admin/"):
        assert "The database is not available" in response.content.decode()
    else:
        assert problem(response, 503)["errors"][0]["code"] == "unavailable"


@pytest.mark.django_db(transaction=True)
def test_a_connection_lost_while_a_form_is_checked_is_no_server_error(web, staff):
    """Django swallows the error of one check and stumbles over the next."""
    web.force_login(staff)
    lost = OperationalError(2013, "Lost connection to server during query")
    form = {"username": "ann", "email": "ann@example.org"}
    with patch("django.db.models.sql.compiler.SQLCompiler.has_results", side_effect=lost):
        response = web.post("/admin/members/member/add/", form)
    assert response.status_code == 503


@pytest.mark.django_db(transaction=True)
def test_a_form_whose_check_lost_the_connection_is_saved_over_a_new_one(web, staff):
    web.force_login(staff)
    ask = SQLCompiler.execute_sql
    lost = [OperationalError(2013, "Lost connection to server during query")]

    def lose(compiler: SQLCompiler, *args, **options):
        if "_check" in compiler.query.annotations and lost:  # Q.check, which tells nobody
            raise lost.pop()
        return ask(compiler, *args, **options)

    form = {"username": "ann", "email": "ann@example.org"}
    with (
        patch("django.db.models.sql.compiler.SQLCompiler.execute_sql", lose),
        patch.object(connection, "savepoint_rollback", side_effect=OperationalError(2006)),
    ):
        response = web.post("/admin/members/member/add/", form)
    assert not lost and response.status_code == 302


def test_every_error_of_a_body_is_reported_at_once(api):
    body = {"username": "a b", "email": "no address", "extra": 1}
    answer = api.post("/api/v1/members/register/", body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == ["username", "email", "extra"]


@pytest.mark.parametrize("bytes_of_no_text", ["%ED%A0%80", "%FF", "abc%C3"])
def test_a_parameter_that_is_not_utf8_is_refused(api, bytes_of_no_text):
    answer = api.get(f"/api/v1/books/?search={bytes_of_no_text}")
    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert (error["field"], error["code"]) == ("search", "encoding")


@pytest.mark.django_db
@pytest.mark.parametrize("url", ["/api/v1/books/", "/api/v1/members/", "/api/v1/auth/token/"])
@pytest.mark.parametrize("method", ["TRACE", "PUT", "BREW", "DISPATCH"])
def test_an_unknown_method_is_a_405_whoever_asks_with_whatever_parameters(api, url, method):
    answer = api.generic(method, f"{url}?unknown=1", HTTP_AUTHORIZATION="Token x")
    assert answer.status_code == 405
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "GET" in answer.headers["Allow"] or "POST" in answer.headers["Allow"]


def test_a_problem_names_the_request_as_header_and_logs_do(api, db):
    answer = api.get("/api/v1/members/")
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
