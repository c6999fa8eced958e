import json
import os
import subprocess
import sys

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import RequestFactory
from rest_framework.test import APIClient

from members.models import Member
from project import settings as configured
from project.api import throttling

BOOKS = "/api/v1/books/"
EXPORT = "/api/v1/books/export/"
REGISTER = "/api/v1/members/register/"
TOKEN = "/api/v1/auth/token/"

pytestmark = pytest.mark.django_db


@pytest.fixture
def redis_cache(settings):
    """The configured one, with long limits for a busy machine."""
    settings.CACHES = {"default": configured.CACHES["default"] | {"OPTIONS": {}}}


def statuses(client: APIClient, path: str, times: int) -> list[int]:
    return [client.get(path).status_code for _ in range(times)]


def test_strangers_are_limited_by_address(api, limit):
    limit(anon="2/m")
    assert statuses(api, BOOKS, 3) == [200, 200, 429]
    assert api.get(BOOKS, REMOTE_ADDR="192.0.2.1").status_code == 200


def test_accounts_are_limited_by_account(api, staff_api, limit):
    limit(anon="1/m", account="2/m")
    assert statuses(api, BOOKS, 2) == [200, 429]
    assert statuses(staff_api, BOOKS, 3) == [200, 200, 429]


def test_registering_has_a_limit_of_its_own(api, limit):
    limit(anon="1/m", register="2/m")
    assert [api.post(REGISTER, {}).status_code for _ in range(3)] == [400, 400, 429]
    assert api.get(BOOKS).status_code == 200


def test_strangers_export_less_often_than_they_read(api, staff_api, limit):
    limit(export="2/h", anon="100/h", account=None)
    answers = [api.get(EXPORT) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["RateLimit"].startswith('"export";r=1')
    assert int(answers[2].headers["Retry-After"]) > 0
    assert api.get(BOOKS).status_code == 200
    assert statuses(staff_api, EXPORT, 3) == [200, 200, 200]


def test_an_account_exports_within_its_own_limit(staff_api, limit):
    limit(export="1/h", account="2/h")
    assert statuses(staff_api, EXPORT, 3) == [200, 200, 429]


def test_guessing_passwords_is_limited_by_address_and_locks_no_account(api, staff, limit):
    limit(login="2/m")
    guess = {"username": "staff", "password": "wrong"}
    assert [api.post(TOKEN, guess).status_code for _ in range(3)] == [401, 401, 429]
    right = {"username": "staff", "password": "staff"}
    assert api.post(TOKEN, right, REMOTE_ADDR="192.0.2.1").status_code == 200


def test_who_logs_in_is_counted_by_address_and_not_by_account(api, staff, staff_api, limit):
    limit(login="1/m", account="9/m")
    right = {"username": "staff", "password": "staff"}
    assert api.post(TOKEN, right).headers["RateLimit-Policy"] == '"login";q=1;w=60'
    assert staff_api.post(TOKEN, right).status_code == 429


def test_revoking_a_token_counts_as_any_request_of_its_account(api, staff, limit):
    limit(login="1/m", account="2/m")
    token = api.post(TOKEN, {"username": "staff", "password": "staff"}).json()["token"]
    header = {"authorization": f"Token {token}"}
    answer = api.delete(TOKEN, headers=header)
    assert answer.status_code == 204
    assert answer.headers["RateLimit"] == '"account";r=1;t=40'


def test_accounts_do_not_share_a_count(staff_api, limit):
    limit(account="1/m")
    other = APIClient()
    other.force_authenticate(User.objects.create_user("other"))
    assert statuses(staff_api, BOOKS, 2) == [200, 429]
    assert statuses(other, BOOKS, 2) == [200, 429]


def test_a_forged_address_does_not_help(api, limit):
    limit(anon="1/m")
    api.get(BOOKS)
    assert api.get(BOOKS, HTTP_X_FORWARDED_FOR="192.0.2.1").status_code == 429


@pytest.mark.parametrize(
    ("proxies", "forwarded", "client"),
    [
        (0, "192.0.2.1", "10.0.0.7"),
        (1, None, "10.0.0.7"),
        (1, "192.0.2.1", "192.0.2.1"),
        (1, "6.6.6.6, 192.0.2.1", "192.0.2.1"),  # what the client wrote itself stands on the left
        (2, "6.6.6.6, 192.0.2.1, 10.0.0.8", "192.0.2.1"),
        (2, "192.0.2.1", "192.0.2.1"),  # straight to the inner proxy
        (1, "192.0.2.1:5678", "192.0.2.1"),
        (1, "[2001:db8:1:2:3::4]:80", "2001:db8:1:2::/64"),
        (1, "[2001:db8:1:2:3::4]", "2001:db8:1:2::/64"),
        (1, "2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        (1, "2001:db8:1:3::9", "2001:db8:1:3::/64"),
        (1, "::ffff:192.0.2.1", "192.0.2.1"),
        (1, "[::ffff:192.0.2.1]:80", "192.0.2.1"),
        (1, "192.0.2.1, nonsense", "10.0.0.7"),
        (1, "192.0.2.1, ", "10.0.0.7"),
        (1, "unknown", "10.0.0.7"),
        (1, "[", "10.0.0.7"),
        (1, "192.0.2.1:80:90", "10.0.0.7"),
    ],
)
def test_the_client_is_who_the_outermost_trusted_proxy_saw(settings, proxies, forwarded, client):
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": proxies}
    headers = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.7", **headers)
    assert throttling.LoginThrottle().address(request) == client


@pytest.mark.parametrize("proxies", [0, 1])
def test_who_is_connected_directly_counts_by_network_too(settings, proxies):
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": proxies}
    headers = {"X-Forwarded-For": "nonsense"}
    request = RequestFactory().get("/", REMOTE_ADDR="2001:db8::1", headers=headers)
    assert throttling.LoginThrottle().address(request) == "2001:db8::/64"


def test_without_any_address_there_is_one_count(api, limit):
    """As behind a Unix socket."""
    limit(anon="1/m")
    assert [api.get(BOOKS, REMOTE_ADDR="").status_code for _ in range(2)] == [200, 429]


def test_clients_behind_a_proxy_each_have_their_own_limit(api, limit, settings):
    limit(anon="1/m")
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}
    for client in ("192.0.2.1:1000", "192.0.2.2:1000", "[2001:db8::1]:9", "2001:db8:0:1::1"):
        assert api.get(BOOKS, HTTP_X_FORWARDED_FOR=client).status_code == 200
    for same in ("192.0.2.1:2000", "192.0.2.2", "2001:db8::ffff", "[2001:db8:0:1::2]:9"):
        assert api.get(BOOKS, HTTP_X_FORWARDED_FOR=same).status_code == 429


def test_answers_say_what_is_left(api, limit):
    limit(anon="2/m")
    first, second, third = (api.get(BOOKS) for _ in range(3))
    assert first.headers["RateLimit-Policy"] == '"anon";q=2;w=60'
    assert first.headers["RateLimit"] == '"anon";r=1;t=40'
    assert second.headers["RateLimit"] == '"anon";r=0;t=40'
    assert third.headers["RateLimit"] == '"anon";r=0;t=40'
    assert third.headers["Retry-After"] == "40"
    assert third.headers["Content-Type"] == "application/problem+json"
    assert third.json()["errors"][0]["code"] == "throttled"
    assert "Retry-After" not in first.headers


def test_the_next_window_begins_anew(api, limit, monkeypatch):
    limit(anon="1/m")
    assert statuses(api, BOOKS, 2) == [200, 429]
    later = throttling.time.time() + 40
    monkeypatch.setattr(throttling.time, "time", lambda: later)
    assert api.get(BOOKS).status_code == 200


def test_without_a_rate_there_is_no_limit(api, limit):
    limit(anon=None)
    answer = api.get(BOOKS)
    assert answer.status_code == 200
    assert "RateLimit" not in answer.headers


def test_health_is_not_limited(api, limit):
    limit(anon="1/m")
    for path in ("/health/live/", "/health/ready/"):
        assert statuses(api, path, 3) == [200] * 3


def test_a_dead_cache_lets_through_logs_and_is_left_alone(api, limit, monkeypatch, caplog):
    calls = []

    def fail(*args, **kwargs):
        calls.append(args)
        raise ConnectionError

    limit(anon="1/m")
    with monkeypatch.context() as patch:  # undone before the settings are
        patch.setattr(throttling.cache, "count", fail)
        assert statuses(api, BOOKS, 3) == [200] * 3
    assert "No limits are enforced" in caplog.text
    assert len(calls) == 1, "a silent cache must not delay every request"


@pytest.mark.redis
def test_processes_share_the_limit(api, limit, redis_cache):
    """Another process has its own connections to the same count."""
    from django.core.cache import caches

    limit(anon="2/m")
    assert statuses(api, BOOKS, 1) == [200]
    number = int(throttling.time.time() // 60)
    other = caches.create_connection("default")
    assert other.incr(f"throttle:anon:127.0.0.1:{number}") == 2
    assert api.get(BOOKS).status_code == 429


# --- The defaults ---


def test_the_default_rates():
    """Of the settings, in an environment that sets none."""
    unset = {
        "THROTTLE_ANON",
        "THROTTLE_ACCOUNT",
        "THROTTLE_REGISTER",
        "THROTTLE_LOGIN",
        "THROTTLE_DUPLICATE",
    }
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    code = (
        "from project.settings import REST_FRAMEWORK; import json;"
        "print(json.dumps(REST_FRAMEWORK['DEFAULT_THROTTLE_RATES']))"
    )
    command = [sys.executable, "-c", code]
    output = subprocess.check_output(command, cwd=configured.BASE_DIR, env=environment)
    assert json.loads(output) == DEFAULTS


DEFAULTS = {
    "anon": "600/m",
    "account": "3000/m",
    "export": "30/h",
    "register": "60/m",
    "duplicate": "10/h",
    "login": "20/m",
}
GUESS = {"username": "staff", "password": "wrong"}


@pytest.mark.parametrize(
    ("scope", "number", "method", "path", "body"),
    [
        ("anon", 600, "get", BOOKS, None),
        ("anon", 600, "get", f"{BOOKS}1/", None),
        ("anon", 600, "options", BOOKS, None),
        ("anon", 600, "get", "/api/schema/", None),
        ("anon", 600, "get", "/api/docs/", None),
        ("anon", 600, "get", "/api/redoc/", None),
        ("register", 60, "post", REGISTER, {}),
        ("login", 20, "post", TOKEN, GUESS),
    ],
)
def test_each_default_limit_ends_at_its_number_and_with_its_window(
    api, limit, monkeypatch, scope, number, method, path, body
):
    limit(**DEFAULTS)

    def ask():
        return getattr(api, method)(path, body) if body is not None else getattr(api, method)(path)

    start = int(throttling.time.time()) // 60 * 60
    first = ask()
    assert first.headers["RateLimit-Policy"] == f'"{scope}";q={number};w=60'
    assert first.headers["RateLimit"] == f'"{scope}";r={number - 1};t=40'
    window = f"throttle:{scope}:127.0.0.1:{start // 60}"
    cache.set(window, number - 1)
    assert ask().status_code == first.status_code
    assert (refused := ask()).status_code == 429
    assert refused.headers["Retry-After"] == "40"
    assert refused.json()["errors"][0]["code"] == "throttled"
    for seconds, retry_after in [(20.5, "40"), (59, "1"), (59.999, "1")]:
        monkeypatch.setattr(throttling.time, "time", lambda at=start + seconds: at)
        assert (refused := ask()).status_code == 429
        assert refused.headers["Retry-After"] == retry_after
    monkeypatch.setattr(throttling.time, "time", lambda: start + 60)
    assert (answer := ask()).status_code == first.status_code
    assert answer.headers["RateLimit"] == f'"{scope}";r={number - 1};t=60'
    assert "Retry-After" not in answer.headers


def test_an_account_has_3000_requests_a_minute_whatever_its_address(staff, staff_api, limit):
    limit(**DEFAULTS)
    answer = staff_api.get(BOOKS)
    assert answer.headers["RateLimit-Policy"] == '"account";q=3000;w=60'
    cache.set(f"throttle:account:user-{staff.pk}:{int(throttling.time.time()) // 60}", 2999)
    assert staff_api.get(BOOKS, REMOTE_ADDR="192.0.2.1").status_code == 200
    assert staff_api.get(BOOKS).status_code == 429
    assert staff_api.get(BOOKS, REMOTE_ADDR="192.0.2.1").status_code == 429


@pytest.mark.parametrize(("period", "seconds"), [("s", 1), ("m", 60), ("h", 3600), ("d", 86400)])
def test_a_window_lasts_as_long_as_its_rate_says(api, limit, monkeypatch, period, seconds):
    limit(anon=f"1/{period}")
    start = int(throttling.time.time()) // 86400 * 86400
    for at, status in [(0, 200), (0, 429), (seconds - 0.5, 429), (seconds, 200)]:
        monkeypatch.setattr(throttling.time, "time", lambda at=at: start + at)
        answer = api.get(BOOKS)
        assert answer.status_code == status
        assert answer.headers["RateLimit-Policy"] == f'"anon";q=1;w={seconds}'


def test_who_asks_for_taken_addresses_registers_nobody_for_a_while(api, staff_api, limit):
    limit(duplicate="2/h", register="60/m")
    Member.objects.create(username="ann", email="ann@example.org")

    def register(client, name: str):
        body = {"username": name, "email": f"{name}@example.org"}
        return client.post("/api/v1/members/register/", body)

    taken = [register(api, "ann") for _ in range(2)]
    assert [answer.status_code for answer in taken] == [409, 409]
    assert "existing" not in taken[0].json()
    for name in ("ann", "bob"):  # the same for both, so it tells nothing
        refused = register(api, name)
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) > 0
    assert not Member.objects.filter(username="bob").exists()
    known = register(staff_api, "ann")
    assert known.status_code == 409
    assert "duplicate" not in known.headers["RateLimit"], "staff may ask as often as they like"
    assert register(staff_api, "bob").status_code == 201


def test_registrations_that_meet_nobody_do_not_count_as_duplicates(api, limit):
    limit(duplicate="1/h")
    for number in range(3):
        body = {"username": f"ann{number}", "email": f"ann{number}@example.org"}
        assert api.post("/api/v1/members/register/", body).status_code == 201
