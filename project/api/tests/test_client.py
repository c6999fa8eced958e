"""A client that openapi-python-client generates from the schema, without a warning, does the work."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User

from library.models import Book
from library.tests.books import THE_BOOK
from project.api.authentication import AuthToken
from project.base import history
from project.imports.serializers import MEDIA_TYPES
from project.jobs.tasks import work

pytestmark = [pytest.mark.sweep, pytest.mark.django_db(transaction=True)]

PACKAGE = "library_desk_client"


@pytest.fixture
def generated(live_server, tmp_path, monkeypatch) -> Iterator[Any]:
    """The module of an operation, by its name: generated.books_list.sync(…)."""
    binaries = Path(sys.executable).parent  # where it finds ruff, which formats what it writes
    command = [
        binaries / "openapi-python-client",
        "generate",
        "--fail-on-warning",
        "--meta",
        "none",
    ]
    # It knows one kind of file, leaves out each other media type with a warning, and, told that
    # they are files, labels any file as the last of them: application/octet-stream in the schema.
    config = tmp_path / "config.json"
    files = dict.fromkeys(MEDIA_TYPES, "application/octet-stream")
    config.write_text(json.dumps({"content_type_overrides": files}))
    command += [
        "--config",
        config,
        "--url",
        f"{live_server.url}/api/schema/",
        "--output-path",
        tmp_path / PACKAGE,
    ]
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "arning" not in done.stdout + done.stderr
    monkeypatch.syspath_prepend(tmp_path)
    files = (tmp_path / PACKAGE / "api").glob("*/*_*.py")
    names = [file.relative_to(tmp_path).with_suffix("").parts for file in files]
    operations = {parts[-1]: import_module(".".join(parts)) for parts in names}
    yield SimpleNamespace(
        **{name: module for name, module in operations.items() if not name.startswith("_")},
        package=import_module(PACKAGE),
        models=import_module(f"{PACKAGE}.models"),
    )
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_a_generated_client_walks_the_main_path(generated, live_server, monkeypatch):
    monkeypatch.setattr(history, "GAP_SECONDS", 0)  # of the numbers that conflicts used up
    User.objects.create_superuser("program", password="secret")
    models = generated.models
    stranger = generated.package.Client(live_server.url)
    got = generated.auth_token_create.sync(
        client=stranger, body=models.CredentialsRequest(username="program", password="secret")
    )
    assert isinstance(got.expiry, datetime)
    client = generated.package.AuthenticatedClient(live_server.url, token=got.token)

    body = models.BookRequest(
        title="Emma", author="Jane Austen", publication_year=1815, isbn="978-3-16-148410-0"
    )
    answers = [
        generated.books_create.sync_detailed(client=client, body=body, idempotency_key="4711")
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    book = answers[0].parsed
    assert answers[1].parsed.id == book.id
    conflict = generated.books_create.sync_detailed(client=client, body=body)
    assert isinstance(conflict.parsed, models.Problem)
    assert [error.code for error in conflict.parsed.errors] == ["unique"]
    body.isbn, body.title = "9780141439518", "Pride and Prejudice"
    other = generated.books_create.sync(client=client, body=body)

    order = models.BooksListOrderingItem
    options: dict[str, Any] = {"ordering": [order.AUTHOR, order.TITLE_DESC], "page_size": 1}
    page = generated.books_list.sync(client=stranger, count=True, author="austen", **options)
    assert ([each.id for each in page.results], page.count) == ([other.id], 2)
    options["cursor"] = page.next_cursor
    page = generated.books_list.sync(client=stranger, author="austen", **options)
    assert ([each.id for each in page.results], page.next_cursor) == ([book.id], None)

    read = generated.books_retrieve.sync_detailed(book.id, client=stranger)
    change = models.PatchedBookRequest(publication_year=1816)
    etag = read.headers["ETag"]
    for status in (200, 412):
        answer = generated.books_partial_update.sync_detailed(
            book.id, client=client, body=change, if_match=etag
        )
        assert answer.status_code == status
    known = generated.books_retrieve.sync_detailed(
        other.id, client=stranger, if_none_match=answers[0].headers["ETag"]
    )
    assert known.status_code == 304
    removed = generated.books_destroy.sync_detailed(other.id, client=client)
    assert removed.status_code == 204

    member = generated.members_register.sync(
        client=stranger, body=models.RegistrationRequest(username="ann", email="ann@example.org")
    )
    found = generated.members_list.sync(client=client, search="ann")
    assert [each.id for each in found.results] == [member.id]
    assert found.results[0].welcome_email.state is models.WelcomeEmailState.QUEUED
    assert isinstance(generated.members_list.sync(client=stranger), models.Problem)

    feed = generated.books_changes.sync(client=stranger, cursor="0")
    kinds = models.ChangeKind
    assert [(each.id, each.change) for each in feed.results] == [
        (book.id, kinds.CREATED),
        (other.id, kinds.CREATED),
        (book.id, kinds.CHANGED),
        (other.id, kinds.DELETED),
    ]
    assert generated.auth_token_revoke.sync_detailed(client=client).status_code == 204
    for each in (stranger, client):
        each.get_httpx_client().close()


@pytest.mark.parametrize("form", [False, True])
def test_a_generated_client_imports_a_file(generated, live_server, settings, tmp_path, form):
    settings.MEDIA_ROOT = tmp_path
    token = AuthToken.objects.create(User.objects.create_superuser("program"))[1]
    client = generated.package.AuthenticatedClient(live_server.url, token=token)
    models, types = generated.models, import_module(f"{PACKAGE}.types")
    rows = f"title|author|year|number\nEmma|Jane Austen|1815|{THE_BOOK}".encode()
    columns: dict[str, Any] = {"isbn_column": ["number"]}
    for dry_run in (True, False):
        file = types.File(io.BytesIO(rows), "new.csv", "text/csv")
        if form:
            flag = models.BookImportUploadRequestDryRun(str(dry_run).lower())
            mark = models.BookImportUploadRequestDelimiter.VERTICAL_BAR
            fields = columns | {"dry_run": flag, "delimiter": mark}
            answer = generated.imports_create.sync_detailed(
                client=client, body=models.BookImportUploadRequest(file, **fields)
            )
        else:
            mark = models.ImportsCreateDelimiter.VERTICAL_BAR
            options = columns | {"dry_run": dry_run, "delimiter": mark, "filename": "new.csv"}
            answer = generated.imports_create.sync_detailed(client=client, body=file, **options)
        assert answer.status_code == 202, answer.content
        while generated.imports_retrieve.sync(answer.parsed.id, client=client).state in (
            *(models.ImportState.UPLOADED, models.ImportState.QUEUED),
        ):
            work("import", answer.parsed.id)
        seen = generated.imports_retrieve.sync(answer.parsed.id, client=client)
        assert (seen.filename, seen.found.new) == ("new.csv", 1)
        assert (seen.state, Book.objects.count()) == (
            (models.ImportState.EXAMINED, 0) if dry_run else (models.ImportState.DONE, 1)
        )
    client.get_httpx_client().close()
