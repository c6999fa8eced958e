"""The admin's login allows no more guesses than the API's, and locks nobody out."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from project.admin.site import too_many_attempts
from project.api import throttling

LOGIN, TOKEN = "/admin/login/", "/api/v1/auth/token/"
ELSEWHERE = "192.0.2.1"
WRONG = {"username": "staff", "password": "wrong"}
RIGHT = {"username": "staff", "password": "staff"}

pytestmark = pytest.mark.django_db


def sign_in(client, account=RIGHT, address="127.0.0.1", **headers):
    return client.post(LOGIN, account, REMOTE_ADDR=address, **headers)


def test_the_right_password_signs_in(client, staff, limit):
    limit(login="1/m")
    answer = sign_in(client)
    assert answer.status_code == 302
    assert answer.url == reverse("admin:index")
    assert client.get(reverse("admin:index")).status_code == 200


def test_over_the_limit_even_the_right_password_is_not_looked_at(client, staff, limit):
    limit(login="2/m")
    assert [sign_in(client, WRONG).status_code for _ in range(2)] == [200, 200]
    answer = sign_in(client)
    assert answer.status_code == 429
    assert "_auth_user_id" not in client.session


def test_the_refusal_is_the_login_page_as_it_was_filled_in(client, staff, limit):
    limit(login="1/m")
    path = f"{LOGIN}?next=/admin/library/book/"
    client.post(path, WRONG)
    answer = client.post(path, WRONG | {"username": 'o"hara'})
    page = answer.content.decode()
    assert "admin/login.html" in [template.name for template in answer.templates]
    assert 'value="o&quot;hara"' in page
    assert f'action="{path}"' in page, "where to go afterwards is kept"
    assert "wrong" not in page, "the password is not repeated"
    assert "Too many login attempts. Try again in 40 seconds." in page
    assert answer.headers["Retry-After"] == "40"
    assert "no-store" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("rate", "wait"),
    [
        ("1/s", "1 second."),
        ("1/m", "40 seconds."),
        ("1/h", "60 minutes."),
        ("1/d", "1440 minutes."),
    ],
)
def test_it_says_how_long_to_wait_and_never_less(client, limit, rate, wait):
    limit(login=rate)
    sign_in(client, WRONG)
    assert f"Try again in {wait}" in sign_in(client, WRONG).content.decode()


def test_it_says_so_in_russian(client, limit):
    limit(login="1/m")
    sign_in(client, WRONG)
    answer = sign_in(client, WRONG, HTTP_ACCEPT_LANGUAGE="ru")
    text = "Слишком много попыток входа. Повторите через 40 секунд."
    assert text in answer.content.decode()


def test_the_next_window_begins_anew(client, staff, limit, monkeypatch):
    limit(login="1/m")
    assert [sign_in(client, WRONG).status_code for _ in range(2)] == [200, 429]
    later = throttling.time.time() + 39
    monkeypatch.setattr(throttling.time, "time", lambda: later)
    assert sign_in(client).status_code == 429
    monkeypatch.setattr(throttling.time, "time", lambda: later + 1)
    assert sign_in(client).status_code == 302


def test_guesses_lock_the_account_for_nobody_elsewhere(client, staff, limit):
    limit(login="1/m")
    assert [sign_in(client, WRONG).status_code for _ in range(3)] == [200, 429, 429]
    assert sign_in(client, address=ELSEWHERE).status_code == 302


def test_being_signed_in_gives_no_further_guesses(client, staff, limit):
    limit(login="1/m")
    assert sign_in(client, WRONG).status_code == 200
    client.force_login(staff)
    assert sign_in(client, WRONG).status_code == 429


def test_looking_at_the_page_counts_for_nothing(client, staff, limit):
    limit(login="1/m")
    assert [client.get(LOGIN).status_code for _ in range(3)] == [200] * 3
    assert sign_in(client).status_code == 302


@pytest.mark.parametrize("first", ["page", "api"])
def test_both_doors_share_the_count(client, api, staff, limit, first):
    limit(login="2/m")
    doors = {"page": lambda: sign_in(client, WRONG), "api": lambda: api.post(TOKEN, WRONG)}
    doors[first]()
    doors.pop(first)
    (second,) = doors.values()
    assert second().status_code in (200, 401)
    assert second().status_code == 429


def test_other_requests_do_not_use_it_up(client, api, staff, limit):
    limit(login="1/m", anon="9/m")
    api.get("/api/v1/books/")
    assert sign_in(client).status_code == 302


def test_without_a_rate_there_is_no_limit(client, limit):
    limit(login=None)
    assert [sign_in(client, WRONG).status_code for _ in range(5)] == [200] * 5


def test_a_dead_cache_keeps_nobody_out(client, staff, limit, monkeypatch):
    def fail(*args, **kwargs):
        raise ConnectionError

    limit(login="1/m")
    with monkeypatch.context() as patch:  # undone before the settings are
        patch.setattr(throttling.cache, "count", fail)
        assert [sign_in(client, WRONG).status_code for _ in range(3)] == [200] * 3
        assert sign_in(client).status_code == 302


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1 second."), (119, "119 seconds."), (120, "2 minutes."), (121, "3 minutes.")],
)
def test_from_two_minutes_on_it_says_minutes_rounded_up(seconds, text):
    assert too_many_attempts(seconds).endswith(f"Try again in {text}")


def test_a_forbidden_page_names_the_account_that_is_signed_in(client):
    client.force_login(User.objects.create_user("plain"))
    page = client.get(f"{LOGIN}?next=/admin/library/book/").content.decode()
    assert "You are logged in as plain, but this account has no access to this page." in page


def test_the_form_carries_its_csrf_token(staff):
    client = Client(enforce_csrf_checks=True)
    form = client.get(LOGIN).content.decode().partition("<form")[2].partition("</form>")[0]
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)[1]
    assert client.post(LOGIN, RIGHT).status_code == 403
    assert client.post(LOGIN, RIGHT | {"csrfmiddlewaretoken": token}).status_code == 302


def test_the_address_of_the_logout_logs_nobody_out(client, staff):
    client.force_login(staff)
    answer = client.get(reverse("admin:logout"))
    assert answer.headers["Location"] == reverse("admin:index")
    assert client.get(reverse("admin:index")).status_code == 200


def test_a_form_that_was_sent_after_the_session_is_said_to_have_done_nothing(client, staff):
    books, said = reverse("admin:library_book_changelist"), "nothing was done"
    by_script = {"Sec-Fetch-Mode": "cors"}
    for address, headers in ((reverse("admin:logout"), {}), (books, by_script)):
        client.post(address, headers=headers)
        sign_in(client)
        assert said not in client.get(books).content.decode()
        client.logout()
    client.post(books, {"action": "change_year"})
    sign_in(client)
    assert said in client.get(books).content.decode()
    assert said not in client.get(books).content.decode()
