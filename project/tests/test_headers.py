"""Headers of every response, whichever code makes it."""

import pytest
from django.contrib.auth.models import Group
from django.test import Client

FEATURES = (
    *("accelerometer", "autoplay", "browsing-topics", "camera", "display-capture"),
    *("encrypted-media", "fullscreen", "geolocation", "gyroscope", "hid", "idle-detection"),
    *("local-fonts", "magnetometer", "microphone", "midi", "payment", "picture-in-picture"),
    *("publickey-credentials-get", "screen-wake-lock", "serial", "usb", "xr-spatial-tracking"),
)
GUARDS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


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
    assert answer.headers["Permissions-Policy"].split(", ") == [f"{name}=()" for name in FEATURES]
    for header, value in GUARDS.items():
        assert answer.headers[header] == value
    if not path.startswith("/static/"):
        assert answer.headers["X-Frame-Options"] == "DENY"


@pytest.mark.django_db
def test_a_session_is_out_of_reach_of_scripts_and_other_sites(staff):
    client = Client()
    answer = client.post("/admin/login/", {"username": "staff", "password": "staff"})
    cookie = answer.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["max-age"] == 14 * 24 * 3600


@pytest.mark.django_db
def test_no_other_site_sends_a_form_of_the_admin(staff):
    client = Client(enforce_csrf_checks=True)
    client.force_login(staff)
    answer = client.post("/admin/auth/group/add/", {"name": "Intruders"})
    assert answer.status_code == 403
    assert not Group.objects.filter(name="Intruders").exists()
    answer = client.post(
        "/i18n/setlang/", {"language": "ru"}
    )  # the middleware's guard, not a view's
    assert answer.status_code == 403


def test_the_answer_to_a_wrong_host_has_them_too():
    answer = Client().get("/", headers={"host": "elsewhere.example"})
    assert answer.status_code == 400
    assert "camera=()" in answer.headers["Permissions-Policy"]


@pytest.mark.django_db
def test_the_answer_after_a_failure_has_them_too(monkeypatch):
    def fail(*args):
        raise RuntimeError

    monkeypatch.setattr("project.api.health.database_state", fail)
    answer = Client(raise_request_exception=False).get("/health/ready/")
    assert answer.status_code == 500
    assert "camera=()" in answer.headers["Permissions-Policy"]
