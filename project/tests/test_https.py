"""What HTTPS=1 and TRUSTED_PROXIES change in the responses."""

import json

import pytest
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings

from project.api.throttling import LoginThrottle


@pytest.fixture(scope="module")
def answers(settings_with):
    """answers(HTTPS="1") are the responses of a desk with this environment."""
    remembered = {}
    embedded = settings_with()

    def ask(**environment: str) -> dict:
        key = json.dumps(environment)
        if key not in remembered:
            made = settings_with(**environment)
            changed = {name for name in made if made[name] != embedded.get(name)}
            with override_settings(
                SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
                **{name: made[name] for name in changed},
            ):
                remembered[key] = responses()
        return remembered[key]

    return ask


def responses() -> dict:
    client = Client(headers={"host": "localhost"})
    forwarded = RequestFactory().get(
        "/", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1, 192.0.2.2"}
    )
    return {
        "plain": told(client.get("/admin/login/")),
        "secure": told(client.get("/admin/login/", headers={"X-Forwarded-Proto": "https"})),
        "claimed": told(client.get("/admin/login/", headers={"X-Forwarded-Proto": "gopher"})),
        "health": told(client.get("/health/live/")),
        "session": told(SessionMiddleware(visit)(RequestFactory().get("/"))),
        "scheme": forwarded.scheme,
        "client": LoginThrottle().address(forwarded),
    }


def told(answer: HttpResponse) -> dict:
    cookies = {name: bool(cookie["secure"]) for name, cookie in answer.cookies.items()}
    return {"status": answer.status_code, "headers": dict(answer.headers), "cookies": cookies}


def visit(request):
    request.session["visited"] = True
    return HttpResponse()


def behind_tls(answers):
    return answers(HTTPS="1", TRUSTED_PROXIES="1")


def test_plain_requests_are_sent_to_https(answers):
    for asked in ("plain", "claimed"):
        answer = behind_tls(answers)[asked]
        assert "camera=()" in answer["headers"]["Permissions-Policy"]
        assert answer["status"] == 301
        assert answer["headers"]["Location"] == "https://localhost/admin/login/"


def test_health_answers_without_tls(answers):
    assert behind_tls(answers)["health"]["status"] == 200


def test_requests_over_tls_are_answered_with_a_year_of_hsts(answers):
    answer = behind_tls(answers)["secure"]
    assert answer["status"] == 200
    transport = answer["headers"]["Strict-Transport-Security"]
    assert transport == "max-age=31536000; includeSubDomains; preload"


def test_cookies_go_over_tls_only(answers):
    told = behind_tls(answers)
    assert told["secure"]["cookies"] == {"csrftoken": True}
    assert told["session"]["cookies"] == {"sessionid": True}


def test_without_a_proxy_no_request_counts_as_tls(answers):
    assert answers(HTTPS="1")["secure"]["status"] == 301


@pytest.mark.parametrize("proxies", ["0", "1"])
def test_without_https_nothing_of_it(answers, proxies):
    told = answers(TRUSTED_PROXIES=proxies)
    for asked in ("plain", "secure"):
        assert told[asked]["status"] == 200
        assert "Strict-Transport-Security" not in told[asked]["headers"]
        assert told[asked]["cookies"] == {"csrftoken": False}
    assert told["session"]["cookies"] == {"sessionid": False}
    assert told["scheme"] == "http"


@pytest.mark.parametrize(
    ("proxies", "client"), [("0", "127.0.0.1"), ("1", "192.0.2.2"), ("2", "192.0.2.1")]
)
def test_the_number_of_proxies_tells_the_client(answers, proxies, client):
    assert answers(TRUSTED_PROXIES=proxies)["client"] == client
