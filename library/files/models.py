from django.db import models

from project.imports import models as imports
from project.imports.records import Records


class Import(imports.Import):
    """A catalogue file."""

    @property
    def records(self) -> Records:
        from .importing import BOOKS  # which reads the model of books

        return BOOKS


class ImportPage(imports.ImportPage):
    job = models.ForeignKey(Import, models.CASCADE, related_name="pages")
