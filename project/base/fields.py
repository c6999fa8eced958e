"""Text columns that compare the same way on SQLite and MySQL."""

from typing import Any, ClassVar

from django.core.validators import EmailValidator, ProhibitNullCharactersValidator
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


class Collated(models.CharField):
    """Text with a collation per database, which CharField.db_collation cannot say."""

    collations: ClassVar[dict[str, str]]
    # Forms and serializers refuse NUL; the model does so for everything else.
    default_validators = [ProhibitNullCharactersValidator()]

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        return super().db_parameters(connection) | {
            "collation": self.collations.get(connection.vendor)
        }


class CaseInsensitive(Collated):
    """Stored as typed, compared without case; accents count (by default MySQL ignores them)."""

    collations = {"mysql": "utf8mb4_0900_as_ci", "sqlite": "NOCASE"}


class CaseInsensitiveCharField(CaseInsensitive):
    pass


class CaseInsensitiveEmailField(CaseInsensitive, models.EmailField):
    # Django's own accepts "localhost" as a domain.
    default_validators = [EmailValidator(allowlist=[])]


class BinaryCharField(Collated):
    """Compared code point by code point, as SQLite does anyway."""

    collations = {"mysql": "utf8mb4_bin"}


class AlphabeticCharField(Collated):
    """Sorted and compared as people read: without case (on MySQL without accents too)."""

    collations = {"sqlite": "NOCASE"}
