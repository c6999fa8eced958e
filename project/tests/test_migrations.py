from importlib import import_module
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from project.api.authentication import AuthToken


@pytest.mark.django_db
def test_no_migration_is_missing():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db(transaction=True)  # MySQL commits with each change of a table
def test_tokens_of_the_package_s_own_table_move_once(staff):
    """However often an interrupted migration runs, and with the time at which they end."""
    kept, secret = AuthToken.objects.create(staff, name="")
    columns = "digest, token_key, user_id, created, expiry"
    moved = ["b" * 128, "b" * 15, staff.pk, timezone.now(), None]
    editor = SimpleNamespace(connection=connection)
    move = import_module("project.migrations.0008_move_tokens").move
    with connection.cursor() as cursor:
        # As knox made it, so far as it matters here.
        cursor.execute(
            "CREATE TABLE knox_authtoken (digest VARCHAR(128) PRIMARY KEY, token_key VARCHAR(25), "
            f"user_id INTEGER, created {connection.data_types['DateTimeField']}, "
            f"expiry {connection.data_types['DateTimeField']})"
        )
        cursor.execute(
            f"INSERT INTO knox_authtoken ({columns}) SELECT {columns} FROM project_authtoken"
        )
        values = connection.ops.adapt_datetimefield_value(moved[3])
        cursor.execute(
            f"INSERT INTO knox_authtoken ({columns}) VALUES (%s, %s, %s, %s, %s)",
            [*moved[:3], values, None],
        )
    move(apps, editor)
    move(apps, editor)  # the table is gone by now
    assert "knox_authtoken" not in connection.introspection.table_names()
    token = AuthToken.objects.get(digest=moved[0])
    assert [token.token_key, token.user_id, token.created, token.expiry, token.name] == [
        *moved[1:],
        "",
    ]
    assert AuthToken.objects.get(digest=kept.digest).expiry == kept.expiry
    assert AuthToken.objects.count() == 2
