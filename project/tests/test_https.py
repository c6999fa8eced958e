"""What HTTPS=1 and TRUSTED_PROXIES change, seen in the responses of a separate process."""

import json
import os
import subprocess
import sys

import pytest
from django.conf import settings

ASK = """
import json
import django
django.setup()
from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import override_settings
from project.api.throttling import LoginThrottle

def told(answer):
    cookies = {name: bool(cookie["secure"]) for name, cookie in answer.cookies.items()}
    return {"status": answer.status_code, "headers": dict(answer.headers), "cookies": cookies}

def visit(request):
    request.session["visited"] = True
    return HttpResponse()

client = Client(headers={"host": "localhost"})
forwarded = RequestFactory().get(
    "/", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1, 192.0.2.2"}
)
plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
with override_settings(
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    STORAGES=settings.STORAGES | {"staticfiles": plain},
):
    session = SessionMiddleware(visit)(RequestFactory().get("/"))
    print(json.dumps({
        "plain": told(client.get("/admin/login/")),
        "secure": told(client.get("/admin/login/", headers={"X-Forwarded-Proto": "https"})),
        "claimed": told(client.get("/admin/login/", headers={"X-Forwarded-Proto": "gopher"})),
        "health": told(client.get("/health/live/")),
        "session": told(session),
        "scheme": forwarded.scheme,
        "client": LoginThrottle().address(forwarded),
    }))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """answers(HTTPS="1") are the responses of a process with this environment."""
    remembered = {}

    def ask(**environment: str) -> dict:
        key = json.dumps(environment)
        if key not in remembered:
            unset = {"DATABASE_URL", "REDIS_URL", "HTTPS", "TRUSTED_PROXIES", "ALLOWED_HOSTS"}
            clean = {name: value for name, value in os.environ.items() if name not in unset}
            clean |= {
                "DATA_DIR": str(tmp_path_factory.mktemp("data")),
                "DJANGO_SETTINGS_MODULE": "project.settings",
                "PYTHONWARNINGS": "ignore",
            }
            run = subprocess.run(
                [sys.executable, "-c", ASK],
                cwd=settings.BASE_DIR,
                env=clean | environment,
                capture_output=True,
                text=True,
                check=True,
            )
            remembered[key] = json.loads(run.stdout.splitlines()[-1])
        return remembered[key]

    return ask


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
