"""The guide on the API's page is true: its quick start runs, its errors are those that come."""

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
import requests
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.utils import timezone
from rest_framework.test import APIClient

from library.models import Book, Import
from library.views import BOOK
from project.api.authentication import AuthToken
from project.api.schema import PROBLEMS, problem_example
from project.jobs.models import State

GUIDE = settings.SPECTACULAR_SETTINGS["DESCRIPTION"]
BOOKS, MEMBERS, IMPORTS = "/api/v1/books/", "/api/v1/members/", "/api/v1/imports/"
EXECUTE = "django.db.backends.utils.CursorWrapper.execute"


# --- Quick start ---


@pytest.fixture
def desk(live_server) -> Any:
    """As the quick start finds it."""
    User.objects.create_superuser("admin", password="s3cret")
    Book.objects.create(
        title="The Dispossessed",
        author="Ursula K. Le Guin",
        publication_year=1974,
        isbn="9780060512750",
    )
    return live_server


def run(desk: Any, language: str, *command: str) -> str:
    schema = requests.get(f"{desk.url}/api/schema/", headers={"Accept": "application/json"}).json()
    guide = schema["info"]["description"]  # which calls the host from which it comes
    code = "\n".join(re.findall(rf"```{language}\n(.*?)```", guide, re.DOTALL))
    code = code.replace('"password": "…"', '"password": "s3cret"')
    done = subprocess.run([*command, code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.django_db(transaction=True)
def test_the_quick_start_runs_in_a_shell_and_in_python(desk):
    answers = run(desk, "sh", "sh", "-euc")
    assert "The Dispossessed" in answers
    assert '"isbn":"9783161484100"' in answers
    assert Import.objects.get().state == State.UPLOADED
    assert run(desk, "python", sys.executable, "-c").split(maxsplit=1)[1] == (
        "A Book of Ours 9783161484100\n"
    )
    assert Book.objects.get(isbn="9783161484100").publication_year == 2025


# --- Errors ---


def documented() -> dict[str, int]:
    """Each code of the guide's table, and its status."""
    rows = re.findall(r"^\| (\d{3}) \| (.+?) \|", GUIDE, re.MULTILINE)
    return {code: int(status) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}


def post(client: APIClient, **values: Any) -> Any:
    return client.post(BOOKS, BOOK | values)


def register(client: APIClient, username: str) -> Any:
    return client.post(f"{MEMBERS}register/", {"username": username, "email": "a@example.org"})


def with_too_many_completions(client: APIClient) -> Any:
    with patch("library.search.models.WordQuerySet.MAX_COMPLETIONS", 1):
        post(client)
        return client.get(f"{BOOKS}?search=o")


def as_a_workbook_that_is_too_long(client: APIClient) -> Any:
    post(client)
    with patch("library.files.views.MAX_XLSX_ROWS", 0):
        return client.get(f"{BOOKS}export/?format=xlsx")


def upload(client: APIClient, name: str, content: bytes) -> Any:
    return client.post(IMPORTS, {"file": SimpleUploadedFile(name, content)}, format="multipart")


def cancelled_twice(client: APIClient) -> Any:
    Import.objects.create(pk=1, name="a.csv", kind="csv")
    return [client.delete(f"{IMPORTS}1/") for _ in range(2)][1]


def with_an_expired_token(client: APIClient) -> Any:
    AuthToken.objects.update(expiry=timezone.now())
    return client.get(MEMBERS)


def without_permission(client: APIClient) -> Any:
    User.objects.update(is_superuser=False)
    return client.get(MEMBERS)


def with_a_key_reused(client: APIClient) -> Any:
    key = {"headers": {"idempotency-key": "k"}}
    client.post(BOOKS, BOOK, **key)
    return client.post(BOOKS, BOOK | {"title": "Another"}, **key)


def deleted_by_an_old_etag(client: APIClient) -> Any:
    address = post(client).headers["Location"]
    return client.delete(address, headers={"if-match": '"0"'})


def too_often(client: APIClient) -> Any:
    throttle = "project.api.throttling.AccountThrottle"
    with patch.multiple(throttle, allow_request=lambda *_: False, wait=lambda _: 30):
        return client.get(BOOKS)


def when_the_database_says(error: Exception) -> Callable[[APIClient], Any]:
    def request(client: APIClient) -> Any:
        with patch(EXECUTE, side_effect=error):
            return client.get(MEMBERS)

    return request


def with_a_fault_of_ours(client: APIClient) -> Any:
    with patch("library.views.BookViewSet.get_queryset", side_effect=ZeroDivisionError):
        return client.get(BOOKS)


JSON = {"content_type": "application/json"}
REQUESTS: dict[str, Callable[[APIClient], Any]] = {
    "required": lambda c: c.post(BOOKS, {}),
    "blank": lambda c: post(c, title=""),
    "null": lambda c: post(c, title=None),
    "invalid": lambda c: post(c, publication_year="1869"),
    "invalid_choice": lambda c: c.get(f"{MEMBERS}?welcome_state=lost"),
    "invalid_isbn": lambda c: post(c, isbn="9783161484101"),
    "min_length": lambda c: register(c, "a"),
    "max_length": lambda c: post(c, title="a" * 501),
    "min_value": lambda c: post(c, publication_year=0),
    "max_value": lambda c: post(c, publication_year=9999),
    "too_short": with_too_many_completions,
    "too_long": lambda c: c.get(BOOKS, {"search": " ".join(map(str, range(2100, 2300)))}),
    "too_many_rows": as_a_workbook_that_is_too_long,
    "empty": lambda c: upload(c, "a.csv", b""),
    "unknown_format": lambda c: upload(c, "a.pdf", b"a"),
    "unknown": lambda c: c.get(f"{BOOKS}?year=1869"),
    "read_only": lambda c: post(c, id=1),
    "repeated": lambda c: c.get(f"{BOOKS}?title=a&title=b"),
    "encoding": lambda c: c.get(f"{BOOKS}?title=%ff"),
    "null_characters_not_allowed": lambda c: c.get(f"{BOOKS}?title=%00a"),
    "surrogate_characters_not_allowed": lambda c: c.post(BOOKS, '{"title": "\\ud800"}', **JSON),
    "parse_error": lambda c: c.post(BOOKS, "{", **JSON),
    "not_authenticated": lambda c: APIClient().get(MEMBERS),
    "authentication_failed": lambda _: APIClient().get(
        MEMBERS, headers={"authorization": "Bearer x"}
    ),
    "token_expired": with_an_expired_token,
    "permission_denied": without_permission,
    "not_found": lambda c: c.get(f"{BOOKS}1/"),
    "method_not_allowed": lambda c: c.put(BOOKS),
    "not_acceptable": lambda c: c.get(BOOKS, headers={"accept": "image/png"}),
    "unique": lambda c: (post(c), post(c))[1],
    "busy": when_the_database_says(OperationalError(1205, "Lock wait timeout exceeded")),
    "ended": cancelled_twice,
    "cursor_ahead": lambda c: c.get(f"{BOOKS}changes/?cursor=1000000000"),
    "precondition_failed": deleted_by_an_old_etag,
    "too_large": lambda c: c.post(BOOKS, "a" * 3_000_000, **JSON),
    "unsupported_media_type": lambda c: c.post(BOOKS, "a", content_type="text/plain"),
    "idempotency_key_reused": with_a_key_reused,
    "throttled": too_often,
    "error": with_a_fault_of_ours,
    "unavailable": when_the_database_says(OperationalError(2006, "Server has gone away")),
}


def test_the_table_has_each_code_that_is_known_here():
    assert documented().keys() == REQUESTS.keys()


@pytest.mark.django_db
@pytest.mark.parametrize("code", REQUESTS)
def test_an_error_comes_as_the_guide_says(staff, code):
    client = APIClient(raise_request_exception=False)
    _, secret = AuthToken.objects.create(staff)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    response = REQUESTS[code](client)
    problem = response.json()
    assert code in [error["code"] for error in problem["errors"]]
    assert response.status_code == problem["status"] == documented()[code]
    status = str(response.status_code)
    if status in PROBLEMS and code == problem_example(status)["errors"][0]["code"]:
        ignored = {"request_id": None, "existing": None}
        assert problem | ignored == problem_example(status) | ignored
