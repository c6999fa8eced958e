"""The schema, Swagger UI and ReDoc keep the API's rules: JSON errors, known parameters."""

from unittest.mock import patch

import pytest
from django.db import OperationalError
from django.test import Client

pytestmark = pytest.mark.django_db

PATHS = ["/api/schema/", "/api/docs/", "/api/redoc/"]
ACCEPTED = {"/api/schema/": "application/vnd.oai.openapi", "/api/docs/": "text/html"}


def problem(response, status: int) -> dict:
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["title"] and body["detail"] and body["errors"]
    return body


@pytest.mark.parametrize("path", PATHS)
class TestEachPage:
    def test_opens(self, client, path):
        response = client.get(path)
        assert response.status_code == 200
        expected = ACCEPTED.get(path, "text/html")
        assert response.headers["Content-Type"].startswith(expected)

    @pytest.mark.parametrize("accept", ["*/*", "text/html", "application/json"])
    def test_options_are_json(self, client, path, accept):
        response = client.options(path, headers={"accept": accept})
        if accept == "text/html":
            problem(response, 406)
        else:
            assert response.status_code == 200
            assert response.headers["Content-Type"] == "application/json"
            assert response.headers["Allow"] == "GET, HEAD, OPTIONS"

    @pytest.mark.parametrize("accept", ["image/png", "text/csv"])
    def test_a_refused_accept_header(self, client, path, accept):
        problem(client.get(path, headers={"accept": accept}), 406)

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "trace"])
    def test_a_method_that_is_not_offered(self, client, path, method):
        problem(getattr(client, method)(path), 405)

    def test_a_wrong_token(self, client, path):
        problem(client.get(path, headers={"authorization": "Token x"}), 401)

    def test_without_the_database(self, client, path):
        lost = OperationalError(2006, "Server has gone away")
        with patch("django.db.backends.utils.CursorWrapper.execute", side_effect=lost):
            response = client.get(path, headers={"authorization": f"Token {'f' * 64}"})
        problem(response, 503)
        assert int(response.headers["Retry-After"]) > 0

    def test_a_crash(self, path):
        client = Client(raise_request_exception=False)
        view = "drf_spectacular.views.get_relative_url"
        if path == "/api/schema/":
            view = "drf_spectacular.generators.SchemaGenerator.get_schema"
        query = "?script=" if path == "/api/docs/" else ""
        with patch(view, side_effect=ZeroDivisionError):
            problem(client.get(path + query), 500)

    def test_too_many_requests(self, client, settings, path):
        rates = settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"] | {"anon": "1/d"}
        settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_THROTTLE_RATES": rates}
        assert client.get(path).status_code == 200
        problem(client.get(path), 429)

    @pytest.mark.parametrize(
        ("query", "field", "code"),
        [
            ("x=1", "x", "unknown"),
            ("version=%0Aa", "version", "unknown"),
            ("lang=xx", "lang", "invalid"),
            ("lang=en-gb", "lang", "invalid"),
            ("lang=", "lang", "blank"),
            ("lang=en&lang=ru", "lang", "repeated"),
        ],
    )
    def test_parameters_are_known(self, client, path, query, field, code):
        [error] = problem(client.get(f"{path}?{query}"), 400)["errors"]
        assert (error["field"], error["code"]) == (field, code)
        assert client.get(f"{path}?lang=ru").status_code == 200


def test_the_script_of_the_page_is_a_script(client):
    response = client.get("/api/docs/?script=")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("application/javascript")
    problem(client.get("/api/redoc/?script="), 400)


@pytest.mark.parametrize("kind", ["application/vnd.oai.openapi+json", "application/json"])
def test_the_schema_comes_as_json_too(client, kind):
    response = client.get("/api/schema/", headers={"accept": kind})
    assert response.headers["Content-Type"].startswith(kind)
    assert response.json()["openapi"] == "3.1.0"
