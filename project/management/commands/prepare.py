import secrets
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor

from library.models import Book
from members.models import Member
from project.base import env
from project.base.database import one_at_a_time, wait_for_database, warn_about_server


class Command(BaseCommand):
    help = (
        "Bring the database up to date and, where it is new, add the first staff account "
        "(DJANGO_SUPERUSER_USERNAME, _EMAIL, _PASSWORD) and the sample data if asked."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--sample-data",
            action="store_true",
            help="load the fixtures into an empty database (so does LOAD_SAMPLE_DATA=1)",
        )

    def handle(self, *args: Any, sample_data: bool, verbosity: int, **options: Any) -> str | None:
        sample_data = sample_data or env.flag("LOAD_SAMPLE_DATA", default=False)
        wait_for_database(self.stderr.write)
        warn_about_server(self.stderr.write)
        with one_at_a_time(self.stderr.write):
            return self.prepare(sample_data, verbosity)

    def prepare(self, sample_data: bool, verbosity: int) -> str | None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            self.stderr.write("Bringing the database up to date …")
            call_command("migrate", interactive=False, verbosity=0)
        with transaction.atomic():
            if sample_data and not (Book.objects.exists() or Member.objects.exists()):
                call_command("loaddata", "fixtures/books", "fixtures/members", verbosity=verbosity)
            return self.first_account()

    def first_account(self) -> str | None:
        """The account's name, and its password if generated: shown once, stored as a hash."""
        accounts = get_user_model()._default_manager
        if accounts.exists():
            return None
        username = env.text("DJANGO_SUPERUSER_USERNAME", "admin")
        password = env.text("DJANGO_SUPERUSER_PASSWORD", "")
        generated = None if password else secrets.token_urlsafe(12)
        accounts.create_superuser(
            username, env.text("DJANGO_SUPERUSER_EMAIL", ""), password or generated
        )
        lines = [f"First staff account: {username}"]
        if generated:
            lines.append(f"Its password, shown this once: {generated}")
        return "\n".join(lines)
