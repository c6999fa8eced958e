"""Records that several people write: no edit is lost, and a deleted record stays deleted."""

from collections.abc import Collection
from typing import Any, Self, TypeVar

from django.db import models, router, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

Record = TypeVar("Record", bound=models.Model)


class VersionedQuerySet(models.QuerySet[Record]):
    def update(self, **kwargs: Any) -> int:
        """bulk_update() calls it too."""
        raised = {"version": F("version") + 1, "updated_at": timezone.now()}
        return super().update(**raised | kwargs)

    update.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        with transaction.atomic(using=self.db):
            ids = list(self.order_by().values_list("pk", flat=True))
            rows = self.model._base_manager.using(self.db).filter(pk__in=ids)
            # Lock first: a concurrent write may add a related row after the related rows are
            # deleted, and the database then refuses to delete the record (MySQL's 1451).
            list(rows.order_by("pk").select_for_update().values_list("pk"))
            return rows.delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]


class VersionedModel(models.Model):
    """Saving writes only the columns changed since they were read, and raises the version.

    A save without a change writes nothing. Raises DoesNotExist if the record was deleted meanwhile.
    """

    version = models.PositiveIntegerField(_("version"), default=1, editable=False)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    _stored: dict[str, Any]

    class Meta:
        abstract = True

    def save(self, *, using: Any = None, update_fields: Any = None, **kwargs: Any) -> None:
        using = using or router.db_for_write(type(self), instance=self)
        gone = False
        # No savepoint, which costs two more statements: as with Django's own save(), a caller that
        # goes on after an error inside a transaction sets one itself.
        with transaction.atomic(using=using, savepoint=False):
            if self._state.adding or kwargs.get("force_insert"):
                super().save(using=using, update_fields=update_fields, **kwargs)
            elif changed := self._changed(update_fields):
                rows = type(self)._base_manager.using(using).filter(pk=self.pk)
                version = rows.select_for_update().values_list("version", flat=True).first()
                gone = version is None
                if version is not None:
                    self.version = version + 1
                    super().save(using=using, update_fields={*changed, "version", "updated_at"})
        if gone:
            raise self.DoesNotExist(f"{self._meta.verbose_name} {self.pk} was deleted meanwhile.")
        self._stored = self._columns()

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic(using=kwargs.get("using")):
            rows = type(self)._base_manager.filter(pk=self.pk)
            list(rows.select_for_update().values_list("pk"))  # as the query set does
            return super().delete(*args, **kwargs)

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:
        record = super().from_db(*args, **kwargs)
        record._stored = record._columns()
        return record

    def refresh_from_db(  # type: ignore[override]
        self, using: Any = None, fields: Any = None, **kwargs: Any
    ) -> None:
        super().refresh_from_db(using, fields, **kwargs)
        read = self._columns()
        fresh = {name: read[name] for name in read if fields is None or name in fields}
        self._stored = getattr(self, "_stored", {}) | fresh  # bulk_create() leaves none

    def _columns(self) -> dict[str, Any]:
        """The loaded ones."""
        names = (field.attname for field in self._meta.concrete_fields)
        return {name: self.__dict__[name] for name in names if name in self.__dict__}

    def _changed(self, among: Collection[str] | None) -> set[str]:
        stored = getattr(self, "_stored", {})  # bulk_create() leaves none
        return {
            field.name
            for field in self._meta.concrete_fields
            if field.attname in self.__dict__
            and not field.primary_key
            and (among is None or field.name in among or field.attname in among)
            and (
                field.attname not in stored
                or field.to_python(getattr(self, field.attname)) != stored[field.attname]
            )
        } - {"version", "updated_at"}
