"""The pages that take the place of Django's own where something is wrong."""

from unittest.mock import patch
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import SuspiciousOperation
from django.test import Client
from django.urls import reverse

INDEX = reverse("admin:index")
pytestmark = pytest.mark.django_db


@pytest.fixture
def web() -> Client:
    return Client(raise_request_exception=False)


def page_of(response, status: int, language: str = "en") -> str:
    """The page, after a look at what each of them has."""
    html = response.content.decode()
    assert response.status_code == status
    assert response.headers["Content-Type"].startswith("text/html")
    assert f'<html lang="{language}"' in html
    assert html.count("<h1") == 1
    assert f'href="{INDEX}"' in html, "a way on"
    assert response.headers["X-Request-ID"] in html, "what the log knows it by"
    return html


@pytest.mark.parametrize(
    ("language", "title"), [("en", "Page not found"), ("ru", "Страница не найдена")]
)
def test_a_page_that_is_not_there_in_the_readers_language(web, language, title):
    web.cookies["django_language"] = language
    assert title in page_of(web.get("/nothing/"), 404, language)


def test_a_page_that_the_account_may_not_see(web):
    web.force_login(User.objects.create_user("ann", is_staff=True))
    html = page_of(web.get(reverse("admin:members_dispatch_pause")), 403)
    assert "You don’t have access to this page" in html


def test_a_form_that_outlived_its_session():
    web = Client(enforce_csrf_checks=True)
    html = page_of(web.post(reverse("admin:login"), {"username": "ann"}), 403)
    assert "This form has expired" in html
    assert "DEBUG" not in html


@pytest.mark.parametrize(
    ("referer", "offered"), [("http://testserver/a/?b=1", True), ("http://evil.example/", False)]
)
def test_an_expired_form_can_be_opened_again_if_it_is_ours(referer, offered):
    web = Client(enforce_csrf_checks=True)
    answer = web.post(reverse("admin:login"), headers={"referer": referer})
    assert (f'href="{referer}"' in page_of(answer, 403)) == offered


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        (ZeroDivisionError("secret"), 500, "Something went wrong"),
        (SuspiciousOperation("secret"), 400, "Bad request"),
    ],
)
def test_a_fault_tells_nothing_of_itself(web, error, status, title):
    with patch("project.api.throttling.LoginThrottle", side_effect=error):
        html = page_of(web.get(reverse("admin:login")), status)
    assert title in html
    assert "secret" not in html


def test_a_form_that_is_too_large(web, staff):
    web.force_login(staff)
    form = {"title": "x" * (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)}
    kind = "application/x-www-form-urlencoded"
    answer = web.post(reverse("admin:library_book_add"), urlencode(form), content_type=kind)
    assert "Too much data" in page_of(answer, 413)


def test_a_name_that_the_desk_does_not_answer_to(web):
    page_of(web.get(INDEX, headers={"host": "evil.example"}), 400)


def test_an_error_page_asks_the_database_for_nothing(web, django_assert_num_queries):
    with django_assert_num_queries(0):
        page_of(web.get("/nothing/"), 404)
