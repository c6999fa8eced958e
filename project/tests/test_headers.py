"""Headers of every answer, whoever gives it."""

import pytest
from django.test import Client


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/admin/login/", 200),
        ("/admin/", 302),
        ("/", 302),
        ("/api/docs/", 200),
        ("/api/v1/books/", 200),
        ("/api/v1/books/0/", 404),
        ("/nowhere", 404),
        ("/health/live/", 200),
        ("/static/some.css", 200),
    ],
)
def test_pages_may_ask_the_browser_for_no_device(settings, tmp_path, path, status):
    settings.STATIC_ROOT = tmp_path
    (tmp_path / "some.css").touch()
    answer = Client().get(path)
    assert answer.status_code == status
    policy = answer.headers["Permissions-Policy"].split(", ")
    for feature in ("camera", "microphone", "geolocation", "payment", "usb", "fullscreen"):
        assert f"{feature}=()" in policy
    assert all(part.endswith("=()") for part in policy)


def test_a_wrong_host_is_told_so_too():
    answer = Client().get("/", headers={"host": "elsewhere.example"})
    assert answer.status_code == 400
    assert "camera=()" in answer.headers["Permissions-Policy"]


@pytest.mark.django_db
def test_a_failure_is_told_so_too(monkeypatch):
    def fail(*args):
        raise RuntimeError

    monkeypatch.setattr("project.health.database_state", fail)
    answer = Client(raise_request_exception=False).get("/health/ready/")
    assert answer.status_code == 500
    assert "camera=()" in answer.headers["Permissions-Policy"]
