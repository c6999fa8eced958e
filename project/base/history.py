"""Who changed what, and by which door."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _


class Door(models.TextChoices):
    ADMIN = "admin", _("Admin")
    API = "api", _("API")
    IMPORT = "import", _("Import")
    BULK = "bulk", _("Bulk action")
    UNDO = "undo", _("Undo")
    COMMAND = "command", _("Command")


@contextmanager
def recorded_as(
    door: Door, *, user: Any = None, detail: str = "", batch: str = ""
) -> Iterator[None]:
    """All changes inside say this."""
    yield
