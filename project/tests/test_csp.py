"""Every inline script of every page must be one that the policy names by its hash."""

import re
from base64 import b64encode
from hashlib import sha256

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from members.mail.actions import ACTIONS
from members.models import Member
from members.registration import register_member

pytestmark = pytest.mark.django_db

# Pages other than those of the models; add new pages of the admin here.
PAGES = [
    "admin:index",
    "admin:activity",
    "admin:password_change",
    "admin:members_dispatch_pause",
    "admin:members_dispatch_resume",
    "swagger-ui",
    "redoc",
]

SCRIPT = re.compile(rb"<script(?P<attributes>[^>]*)>(?P<code>.*?)</script>", re.DOTALL)
HANDLER = re.compile(rb"<[^>]+\son[a-z]+\s*=")
THIRD_PARTY = re.compile(rb"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["'](?:https?:)?//""")


@pytest.fixture
def staff_client(staff) -> Client:
    client = Client()
    client.force_login(staff)
    return client


def breaches(response) -> list[str]:
    """What the browser would block, or fetch from elsewhere."""
    policy = response.headers["Content-Security-Policy"]
    found = []
    for script in SCRIPT.finditer(response.content):
        attributes, code = script["attributes"], script["code"]
        if b"src=" in attributes or b"application/json" in attributes or not code.strip():
            continue
        # Browsers hash the script as it stands, line ends normalised (HTML, 13.2.3.5).
        digest = sha256(code.replace(b"\r\n", b"\n")).digest()
        source = f"'sha256-{b64encode(digest).decode()}'"
        if source not in policy:
            found.append(f"{source} of {code.decode().strip()[:80]!r}")
    found += [match[0].decode() for match in HANDLER.finditer(response.content)]
    found += [match[0].decode() for match in THIRD_PARTY.finditer(response.content)]
    return found


def check(response) -> None:
    assert response.status_code == 200
    assert breaches(response) == []


def test_policy_is_strict(client):
    policy = client.get(reverse("admin:login")).headers["Content-Security-Policy"]
    directives = {
        name: sources.split()
        for name, _, sources in (part.strip().partition(" ") for part in policy.split(";"))
    }
    assert directives["default-src"] == ["'self'"]
    assert directives["frame-ancestors"] == directives["object-src"] == ["'none'"]
    assert directives["base-uri"] == directives["form-action"] == ["'self'"]
    assert directives["style-src"] == ["'self'", "'unsafe-inline'"]
    assert directives["img-src"] == ["'self'", "data:"]
    assert directives["worker-src"] == ["'self'", "blob:"]
    allowed = {"'self'"} | {s for s in directives["script-src"] if s.startswith("'sha256-")}
    assert set(directives["script-src"]) == allowed


def test_login_page(client):
    check(client.get(reverse("admin:login")))


@pytest.mark.parametrize("name", PAGES)
def test_page(staff_client, name):
    check(staff_client.get(reverse(name)))


def test_swagger_ui_shows_our_schema_to_nobody(client):
    """Except on localhost, where browser tests run, it would ask its maker's validator."""
    assert b'"validatorUrl": null' in client.get(f"{reverse('swagger-ui')}?script=").content


def test_every_list_and_form_of_the_admin(staff_client, staff, rf):
    request = rf.get("/")
    request.user = staff
    for model, model_admin in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        check(staff_client.get(reverse(f"{name}_changelist")))
        if model_admin.has_add_permission(request):
            check(staff_client.get(reverse(f"{name}_add")))


def test_pages_of_one_record(staff_client, staff):
    name = "admin:auth_user"
    ann = User.objects.create_user("ann")
    for page in ("change", "delete", "history", "link"):
        check(staff_client.get(reverse(f"{name}_{page}", args=[ann.pk])))


def test_pages_of_one_welcome_email(staff_client, staff):
    welcome = register_member(Member(username="ann", email="ann@example.org")).welcome_email
    for page in ("change", "history", *ACTIONS):
        check(staff_client.get(reverse(f"admin:members_welcomeemail_{page}", args=[welcome.pk])))


def test_a_script_that_the_policy_does_not_name_is_noticed(staff_client):
    response = staff_client.get(reverse("admin:index"))
    response.content += b'<script>alert(1)</script><b onclick="x()"><img src="https://x.example/">'
    assert len(breaches(response)) == 3
