"""Who may do what: each kind of account at each route of the API and each page of the admin."""

import json

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import Client
from django_celery_results.models import TaskResult
from rest_framework.test import APIClient

from library.models import Book, BulkChange, Import
from library.tests.books import THE_BOOK, add
from members.models import Member, MemberImport, WelcomeEmail
from project.api.authentication import AuthToken

pytestmark = pytest.mark.django_db

# The columns of the tables; "plain" is an account without any permission.
ROLES = ("nobody", "plain", "Cataloguers", "Membership desk", "Operators", "superuser")
METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
BOOK = {"title": "Emma", "author": "Jane Austen", "publication_year": 1815, "isbn": THE_BOOK}
BODIES = {
    "v1/books/": BOOK,
    "v1/books/1/": BOOK,
    "v1/members/1/": {"username": "anna"},
    "v1/members/register/": {"username": "bob", "email": "bob@example.org"},
    "v1/auth/token/": {"username": "known", "password": "secret"},
}
API = """
v1/books/             GET,HEAD,OPTIONS       200 200 200 200 200 200
v1/books/             POST                   401 403 201 403 403 201
v1/books/             PUT,PATCH,DELETE       405 405 405 405 405 405
v1/books/1/           GET,HEAD,OPTIONS       200 200 200 200 200 200
v1/books/1/           PUT,PATCH              401 403 200 403 403 200
v1/books/1/           DELETE                 401 403 204 403 403 204
v1/books/1/           POST                   405 405 405 405 405 405
v1/members/           GET,HEAD,OPTIONS       401 403 403 200 200 200
v1/members/           POST,PUT,PATCH,DELETE  405 405 405 405 405 405
v1/members/1/         GET,HEAD,OPTIONS       401 403 403 200 200 200
v1/members/1/         PATCH                  401 403 403 200 403 200
v1/members/1/         DELETE                 401 403 403 204 403 204
v1/members/1/         POST,PUT               405 405 405 405 405 405
v1/members/register/  POST                   201 201 201 201 201 201
v1/members/register/  OPTIONS                200 200 200 200 200 200
v1/members/register/  GET,HEAD,PUT,PATCH,DELETE  405 405 405 405 405 405
v1/auth/token/        POST                   200 200 200 200 200 200
v1/auth/token/        OPTIONS                401 200 200 200 200 200
v1/auth/token/        DELETE                 401 204 204 204 204 204
v1/auth/token/        GET,HEAD,PUT,PATCH     405 405 405 405 405 405
v1/auth/tokens/       GET,HEAD,OPTIONS       401 200 200 200 200 200
v1/auth/tokens/       POST,PUT,PATCH,DELETE  405 405 405 405 405 405
v1/auth/tokens/1/     DELETE                 401 404 404 404 404 404
v1/auth/tokens/1/     OPTIONS                401 200 200 200 200 200
v1/auth/tokens/1/     GET,HEAD,POST,PUT,PATCH  405 405 405 405 405 405
v1/books/changes/     GET,HEAD,OPTIONS       200 200 200 200 200 200
v1/books/changes/     POST,PUT,PATCH,DELETE  405 405 405 405 405 405
v1/books/export/      GET,HEAD,OPTIONS       200 200 200 200 200 200
v1/books/export/      POST,PUT,PATCH,DELETE  405 405 405 405 405 405
v1/imports/           GET,HEAD,OPTIONS       401 403 200 403 403 200
v1/imports/           POST                   401 403 202 403 403 202
v1/imports/           PUT,PATCH,DELETE       405 405 405 405 405 405
v1/imports/1/         GET,HEAD,OPTIONS       401 403 200 403 403 200
v1/imports/1/         DELETE                 401 403 204 403 403 204
v1/imports/1/         POST,PUT,PATCH         405 405 405 405 405 405
v1/imports/1/refused/  GET,HEAD              401 403 404 403 403 404
v1/imports/1/refused/  OPTIONS               401 403 200 403 403 200
v1/imports/1/refused/  POST,PUT,PATCH,DELETE  405 405 405 405 405 405
v1/members/imports/   GET,HEAD,OPTIONS       401 403 403 200 403 200
v1/members/imports/   POST                   401 403 403 202 403 202
v1/members/imports/   PUT,PATCH,DELETE       405 405 405 405 405 405
v1/members/imports/1/  GET,HEAD,OPTIONS      401 403 403 200 403 200
v1/members/imports/1/  DELETE                401 403 403 204 403 204
v1/members/imports/1/  POST,PUT,PATCH        405 405 405 405 405 405
v1/members/imports/1/refused/  GET,HEAD      401 403 403 404 403 404
v1/members/imports/1/refused/  OPTIONS       401 403 403 200 403 200
v1/members/imports/1/refused/  POST,PUT,PATCH,DELETE  405 405 405 405 405 405
v1/members/changes/   GET,HEAD,OPTIONS       401 403 403 200 200 200
v1/members/changes/   POST,PUT,PATCH,DELETE  405 405 405 405 405 405
schema/               GET,HEAD,OPTIONS       200 200 200 200 200 200
schema/               POST,PUT,PATCH,DELETE  405 405 405 405 405 405
docs/                 GET,HEAD,OPTIONS       200 200 200 200 200 200
docs/                 POST,PUT,PATCH,DELETE  405 405 405 405 405 405
redoc/                GET,HEAD,OPTIONS       200 200 200 200 200 200
redoc/                POST,PUT,PATCH,DELETE  405 405 405 405 405 405
../health/live/       GET,HEAD,OPTIONS       200 200 200 200 200 200
../health/live/       POST,PUT,PATCH,DELETE  405 405 405 405 405 405
../health/ready/      GET,HEAD,OPTIONS       200 200 200 200 200 200
../health/ready/      POST,PUT,PATCH,DELETE  405 405 405 405 405 405
"""
# With PUBLIC_CATALOGUE=0 and PUBLIC_REGISTRATION=0.
CLOSED = """
v1/books/             GET,HEAD,OPTIONS       401 403 200 200 200 200
v1/books/             POST                   401 403 201 403 403 201
v1/books/1/           GET,HEAD,OPTIONS       401 403 200 200 200 200
v1/books/export/      GET,HEAD,OPTIONS       401 403 200 200 200 200
v1/members/register/  POST                   401 403 403 201 403 201
"""
# The pages of each model: its list, and one record's form, history and deletion. Those who see
# only their own tokens do not find (302) another's.
ADMIN = """
library/book                      302 302 200 200 200 200
library/book/add                  302 302 200 403 403 200
library/book/1/change             302 302 200 200 200 200
library/book/1/history            302 302 200 200 200 200
library/book/1/delete             302 302 200 403 403 200
library/historicalbook            302 302 200 200 200 200
library/historicalbook/add        302 302 403 403 403 403
library/historicalbook/1/change   302 302 200 200 200 200
library/historicalbook/1/history  302 302 200 200 200 200
library/historicalbook/1/delete   302 302 403 403 403 403
library/book/export               302 302 200 200 200 200
library/bulkchange                302 302 200 403 403 200
library/bulkchange/add            302 302 403 403 403 403
library/bulkchange/1/change       302 302 200 403 403 200
library/bulkchange/1/progress     302 302 200 403 403 200
library/bulkchange/1/history      302 302 200 403 403 200
library/bulkchange/1/delete       302 302 403 403 403 403
library/import                    302 302 200 403 403 200
library/import/add                302 302 200 403 403 200
library/import/1/change           302 302 200 403 403 200
library/import/1/progress         302 302 200 403 403 200
library/import/1/refused          302 302 200 403 403 200
library/import/1/history          302 302 200 403 403 200
library/import/1/delete           302 302 403 403 403 403
members/member                    302 302 403 200 200 200
members/member/add                302 302 403 200 403 200
members/member/1/change           302 302 403 200 200 200
members/member/1/history          302 302 403 200 200 200
members/member/1/delete           302 302 403 200 403 200
members/memberimport              302 302 403 200 403 200
members/memberimport/add          302 302 403 200 403 200
members/memberimport/1/change     302 302 403 200 403 200
members/memberimport/1/progress   302 302 403 200 403 200
members/memberimport/1/refused    302 302 403 200 403 200
members/memberimport/1/history    302 302 403 200 403 200
members/memberimport/1/delete     302 302 403 403 403 403
members/historicalmember            302 302 403 200 200 200
members/historicalmember/add        302 302 403 403 403 403
members/historicalmember/1/change   302 302 403 200 200 200
members/historicalmember/1/history  302 302 403 200 200 200
members/historicalmember/1/delete   302 302 403 403 403 403
members/welcomeemail              302 302 403 200 200 200
members/welcomeemail/add          302 302 403 403 403 403
members/welcomeemail/1/change     302 302 403 200 200 200
members/welcomeemail/1/history    302 302 403 200 200 200
members/welcomeemail/1/delete     302 302 403 403 403 403
django_celery_results/taskresult            302 302 403 403 200 200
django_celery_results/taskresult/add        302 302 403 403 403 403
django_celery_results/taskresult/1/change   302 302 403 403 200 200
django_celery_results/taskresult/1/history  302 302 403 403 200 200
django_celery_results/taskresult/1/delete   302 302 403 403 403 403
project/authtoken                    302 302 403 403 403 200
project/authtoken/add                302 302 403 403 403 200
project/authtoken/1/change      302 302 403 403 403 200
project/authtoken/1/history     302 302 302 302 302 200
project/authtoken/1/delete      302 302 403 403 403 200
auth/user                         302 302 403 403 403 200
auth/user/add                     302 302 403 403 403 200
auth/user/1/change                302 302 403 403 403 200
auth/user/1/link                  302 302 403 403 403 200
auth/user/1/history               302 302 403 403 403 200
auth/user/1/delete                302 302 403 403 403 200
auth/group                        302 302 403 403 403 200
auth/group/add                    302 302 403 403 403 200
auth/group/1/change               302 302 403 403 403 200
auth/group/1/history              302 302 403 403 403 200
auth/group/1/delete               302 302 403 403 403 200
"""


@pytest.fixture(autouse=True)
def records(settings, tmp_path):
    settings.MEDIA_ROOT = settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    known = User.objects.create_user("known", password="secret", pk=1)
    add(pk=1)
    Import.objects.create(pk=1, name="books.csv", kind="csv")
    MemberImport.objects.create(pk=1, name="members.csv", kind="csv")
    BulkChange.objects.create(pk=1, kind="delete", packed_ids=BulkChange.pack([1]), state="done")
    member = Member.objects.create(pk=1, username="ann", email="ann@example.org")
    WelcomeEmail.objects.create(pk=1, member=member)
    TaskResult.objects.create(pk=1, task_id="1")
    for model in (Book, Member):
        model.history.update(history_id=1)
    token, _ = AuthToken.objects.create(known, pk=1)
    return token


def account(role: str) -> User:
    if role == "superuser":
        return User.objects.create_superuser(role)
    user = User.objects.create_user(role, is_staff=role != "plain")
    if role != "plain":
        user.groups.add(Group.objects.get(name=role))
    return user


def program(role: str) -> APIClient:
    client = APIClient()
    if role != "nobody":
        client.credentials(HTTP_AUTHORIZATION=f"Token {AuthToken.objects.create(account(role))[1]}")
    return client


def state() -> list[list[dict]]:
    return [list(model.objects.values()) for model in (Book, Member, WelcomeEmail)]


def check_table(role: str, table: str) -> None:
    client = program(role)
    before = state()
    for line in table.strip().splitlines():
        route, methods, *statuses = line.split()
        for method in methods.split(","):
            with transaction.atomic():  # each meets the same records
                check(client, method, route, int(statuses[ROLES.index(role)]), before)
                transaction.set_rollback(True)


@pytest.mark.parametrize("role", ROLES)
def test_each_role_at_each_route(role):
    check_table(role, API)


def check(client: APIClient, method: str, route: str, status: int, before: list) -> None:
    path = f"/api/{route}".replace("/api/..", "")
    body = json.dumps(BODIES.get(route, {})) if method in ("POST", "PUT", "PATCH") else ""
    content_type = "application/x-ndjson" if "imports/" in route else "application/json"
    response = client.generic(method, path, body, content_type)
    assert response.status_code == status, f"{method} {path}"
    if status >= 400:
        assert response.headers["Content-Type"] == "application/problem+json"
        assert state() == before, f"{method} {path}"
    if status == 401:
        assert response.headers["WWW-Authenticate"] == "Bearer"
    if status == 405:
        assert method not in response.headers["Allow"].split(", ")
    if method == "HEAD":
        assert b"".join(response) == b""
    if method == "OPTIONS" and status == 200:
        assert response.headers["Content-Type"] == "application/json"
        assert "OPTIONS" in response.headers["Allow"]


@pytest.mark.parametrize("role", ROLES)
def test_each_role_where_catalogue_and_registration_are_closed(settings, role):
    settings.PUBLIC_CATALOGUE = settings.PUBLIC_REGISTRATION = False
    check_table(role, CLOSED)


def test_every_route_stands_in_the_table_with_every_method(api):
    listed: dict[str, set[str]] = {}
    for line in API.strip().splitlines():
        route, methods, *_ = line.split()
        listed.setdefault(route, set()).update(methods.split(","))
    assert all(methods == METHODS for methods in listed.values())
    paths = api.get("/api/schema/", HTTP_ACCEPT="application/json").json()["paths"]
    documented = {path.replace("{id}", "1").replace("/api/", "") for path in paths}
    assert documented <= {route.replace("..", "") for route in listed}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_at_each_admin_page(role, records):
    client = Client()
    if role != "nobody":
        client.force_login(account(role))
    before = state()
    for line in ADMIN.strip().splitlines():
        page, *statuses = line.split()
        path = f"/admin/{page}/"
        status = int(statuses[ROLES.index(role)])
        response = client.get(path)
        assert response.status_code == status, path
        if role in ("nobody", "plain"):
            assert response.headers["Location"] == f"/admin/login/?next={path}"
        if status != 200:  # nor by what the page's form would send
            client.post(path, {"post": "yes"})
            assert state() == before, path


def test_every_model_of_the_admin_stands_in_the_table():
    listed = {"/".join(line.split()[0].split("/")[:2]) for line in ADMIN.strip().splitlines()}
    assert listed == {
        f"{model._meta.app_label}/{model._meta.model_name}" for model in admin.site._registry
    }
