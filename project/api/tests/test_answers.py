"""What an answer says about itself: its type, what it varies on, and who may keep it."""

import pytest

from library.tests.books import BOOKS, add

pytestmark = pytest.mark.django_db

PROBLEM = "application/problem+json"


@pytest.mark.parametrize(
    "accept", [PROBLEM, f"{PROBLEM}, text/html;q=0.5", f"text/html, {PROBLEM};q=0.1", "*/*"]
)
def test_who_asks_for_problem_documents_gets_records_as_json(api, accept):
    book = add()
    answer = api.get(f"{BOOKS}{book.pk}/", headers={"accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    answer = api.get(f"{BOOKS}0/", headers={"accept": accept})
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, PROBLEM)


@pytest.mark.parametrize("path", ["/api/docs/", "/api/redoc/"])
def test_a_page_is_no_problem_document(api, path):
    assert api.get(path, headers={"accept": PROBLEM}).status_code == 406


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", BOOKS),
        ("get", f"{BOOKS}0/"),
        ("get", f"{BOOKS}changes/"),
        ("get", "/api/v1/members/"),
        ("post", "/api/v1/members/register/"),
        ("post", "/api/v1/auth/token/"),
        ("get", "/api/schema/"),
        ("get", "/api/docs/"),
        ("put", BOOKS),
    ],
)
def test_an_answer_varies_on_who_asks_in_which_language_and_for_what(api, method, path):
    names = {name.strip() for name in getattr(api, method)(path).headers["Vary"].split(",")}
    assert names >= {"Accept", "Accept-Language", "Authorization", "Cookie"}


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        (BOOKS, True),
        (f"{BOOKS}changes/", True),
        ("/api/v1/members/", False),
        ("/api/v1/members/0/", False),
        ("/api/v1/members/changes/", False),
        ("/api/v1/auth/tokens/", False),
    ],
)
def test_no_cache_keeps_members_and_tokens(api, staff_api, path, kept):
    for client in (api, staff_api):
        assert ("no-store" in client.get(path).headers.get("Cache-Control", "")) is not kept


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v1", "/api/v1/", "/api/x", "/api/v1/x/y"])
def test_what_is_nowhere_under_api_is_a_problem_document(api, path):
    answer = api.get(path, headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, PROBLEM)
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_a_wrong_host_is_a_problem_document(api):
    answer = api.get(BOOKS, headers={"host": "elsewhere.example"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, PROBLEM)
