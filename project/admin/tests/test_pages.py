"""Every page of the admin as in production: DEBUG off, static files hashed."""

import re

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.templatetags.admin_list import items_for_result
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_celery_results.models import TaskResult

from library.models import Book, BulkChange, Import
from library.tests.books import isbn_number
from members.models import Member, MemberImport, WelcomeEmail
from members.registration import register_member
from project.admin.base import BaseAdmin
from project.admin.cells import rows_of
from project.admin.site import MENU
from project.api.authentication import AuthToken

ADMIN_MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.fixture(scope="session")
def collected(tmp_path_factory):
    """The static files as in the image."""
    from django.test import override_settings

    root = tmp_path_factory.mktemp("static")
    hashed = {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
    with override_settings(
        STATIC_ROOT=root,
        WHITENOISE_SKIP_COMPRESS_EXTENSIONS=["css", "js", "map", "svg", "txt", "md"],  # takes time
        STORAGES={
            "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
            "staticfiles": hashed,
        },
    ):
        call_command("collectstatic", interactive=False, verbosity=0)
    return root, hashed


@pytest.fixture
def served(client, staff, settings, collected):
    root, hashed = collected
    settings.STATIC_ROOT = root
    settings.STORAGES = settings.STORAGES | {"staticfiles": hashed}
    client.force_login(staff)
    return client


@pytest.fixture
def rows(staff):
    """One row of each model of the menu."""
    Book.objects.create(title="Dune", author="Herbert", publication_year=1965, isbn="9780340839935")
    Import.objects.create(name="books.csv", kind="csv", user=staff)
    MemberImport.objects.create(name="members.csv", kind="csv", user=staff)
    BulkChange.objects.create(
        kind="delete", packed_ids=BulkChange.pack([1]), state="done", changed=1
    )
    member = register_member(Member(username="ann", email="ann@example.org"))
    AuthToken.objects.create(staff)
    WelcomeEmail.objects.update(task_id="t-1")
    TaskResult.objects.create(
        task_id="t-1",
        task_name="members.tasks.send_welcome_emails",
        task_args=f'"({member.welcome_email.pk},)"',
        status="FAILURE",
        result='{"exc_type": "AttemptFailed", "exc_message": ["The mail server hung up."]}',
        traceback="Traceback (most recent call last): …",
    )


def pages(model):
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    yield reverse(f"{name}_changelist")
    yield reverse(f"{name}_changelist") + "?q=nothing"
    row = model._default_manager.first()
    yield reverse(f"{name}_change", args=[row.pk])
    yield reverse(f"{name}_history", args=[row.pk])


@pytest.mark.django_db
@pytest.mark.parametrize("model", ADMIN_MODELS, ids=lambda model: model._meta.label)
def test_every_page_works_with_debug_off_and_hashed_files(served, rows, collected, model):
    """And names no other server, and no static file that is not collected.

    test_russian.py opens the same pages in Russian.
    """
    for page in pages(model):
        response = served.get(page)
        assert response.status_code == 200, page
        html = response.content.decode()
        assert "project/admin." in html
        assert '<html lang="en"' in html
        assert re.findall(r'(?:src|href|action)="(?:https?:)?//[^"]*"', html) == [], page
        named = set(re.findall(r'(?:src|href)="/static/([^"]+)"', html))
        assert len(named) > 5
        assert [name for name in named if not (collected[0] / name).is_file()] == [], page
    add = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")
    may_add = admin.site._registry[model].has_add_permission(response.wsgi_request)
    assert served.get(add).status_code == (200 if may_add else 403)


@pytest.mark.django_db
@pytest.mark.parametrize("model", ADMIN_MODELS, ids=lambda model: model._meta.label)
def test_cells_are_those_that_django_would_make(served, rows, model):
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    cl = served.get(reverse(name)).context["cl"]
    shown = re.sub(' data-(empty|label="x")', "", rows_of(cl, ["x"] * len(cl.list_display)))
    expected = ["".join(items_for_result(cl, row, None)) for row in cl.result_list]
    assert expected
    assert shown.splitlines() == [f"<tr>{cells}</tr>" for cells in expected]


@pytest.mark.parametrize("page", ["admin:index", "admin:password_change"])
def test_the_pages_around_them_work_too(served, page):
    assert served.get(reverse(page)).status_code == 200


def test_signing_in_leads_to_the_dashboard(served):
    served.logout()
    login = served.get(reverse("admin:login"))
    assert "project/logo." in login.content.decode()
    User.objects.create_superuser("ann", password="desk")
    response = served.post(reverse("admin:login"), {"username": "ann", "password": "desk"})
    assert response.headers["Location"] == reverse("admin:index")


def test_every_registered_model_is_in_the_menu_once():
    listed = [name for _, names in MENU.values() for name in names]
    assert sorted(listed) == sorted(model.__name__ for model in admin.site._registry)


LONG_LISTS = [model for model in ADMIN_MODELS if isinstance(admin.site._registry[model], BaseAdmin)]


@pytest.mark.parametrize("model", LONG_LISTS, ids=lambda model: model._meta.label)
def test_no_list_counts_without_a_bound(served, rows, model):
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    for query in ("", "?q=ann", "?q=9780340839935", "?all=", "?all=&q=e", "?p=2"):
        cache.clear()  # what one page remembers, the next would not count
        with CaptureQueriesContext(connection) as queries:
            served.get(address + query)
        assert unbounded(queries, "COUNT(") == [], query


@pytest.mark.parametrize(
    "query", ["", "?all=", "?q=dune", "?q=dune&all=", "?years_from=1950&years_to=1999"]
)
def test_a_list_of_many_pages_reads_one(served, monkeypatch, query):
    monkeypatch.setattr(admin.site._registry[Book], "list_per_page", 2)
    books = [Book(title="Dune", author=str(n), publication_year=1965) for n in range(5)]
    for number, book in enumerate(books):
        book.isbn = isbn_number(number)
    Book.objects.bulk_create(books)
    with CaptureQueriesContext(connection) as queries:
        page = served.get(reverse("admin:library_book_changelist") + query)
    assert len(page.context["cl"].result_list) == 2
    assert page.context["cl"].result_count == 5
    assert unbounded(queries, "COUNT(") == []
    # Search names the ids of one page.
    assert [sql for sql in unbounded(queries, "publication_year") if " IN (" not in sql] == []


@pytest.mark.parametrize("search", ["", "?q=ann"])
def test_an_action_on_all_rows_counts_with_a_bound(served, rows, search):
    member = Member.objects.get()
    action = {"action": "delete_selected", "select_across": "1", "_selected_action": member.pk}
    with CaptureQueriesContext(connection) as queries:
        page = served.post(reverse("admin:members_member_changelist") + search, action)
    assert "Erase 1 member?" in page.content.decode()
    assert unbounded(queries, "COUNT(") == []


def unbounded(queries: CaptureQueriesContext, part: str) -> list[str]:
    return [q["sql"] for q in queries if part in q["sql"] and "LIMIT" not in q["sql"]]


@pytest.mark.django_db
def test_the_menu_shows_only_what_the_account_may_see(client, rows):
    clerk = User.objects.create_user("clerk", password="x", is_staff=True)
    clerk.groups.add(Group.objects.get(name="Cataloguers"))
    client.force_login(clerk)
    html = client.get(reverse("admin:index")).content.decode()
    assert reverse("admin:library_book_changelist") in html
    assert reverse("admin:members_member_changelist") not in html
    assert reverse("admin:django_celery_results_taskresult_changelist") not in html


@pytest.mark.django_db
def test_five_groups_ship_with_their_permissions():
    held = {
        group.name: set(group.permissions.values_list("codename", flat=True))
        for group in Group.objects.all()
    }
    assert held == {
        "Cataloguers": {"add_book", "change_book", "delete_book", "view_book"},
        "Membership desk": {
            "view_book",
            "add_member",
            "change_member",
            "delete_member",
            "view_member",
            "view_welcomeemail",
            "change_welcomeemail",
        },
        "Operators": {
            "view_book",
            "view_member",
            "view_welcomeemail",
            "change_welcomeemail",
            "change_dispatch",
            "view_taskresult",
        },
        "Integrator, read": {"view_book", "view_member"},
        "Integrator, write": {
            *("view_book", "add_book", "change_book", "delete_book"),
            *("view_member", "add_member", "change_member", "delete_member"),
        },
    }


def test_models_without_a_use_stay_away():
    assert apps.get_model("django_celery_results", "GroupResult") not in admin.site._registry
