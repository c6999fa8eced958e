from typing import Any

from django.core.management.base import BaseCommand

from project.base.database import wait_for_database


class Command(BaseCommand):
    help = "Wait until the database accepts our login, for at most DATABASE_WAIT seconds."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        wait_for_database(self.stderr.write)
