"""Records that several people write: no edit is lost, and a deleted record stays deleted."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, Self, TypeVar

from django.db import models, router, transaction
from django.db.models import F
from django.db.models.signals import post_save
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .database import MAX_PARAMETERS, batches, insert_rows
from .history import Kind, history_of, record

Record = TypeVar("Record", bound=models.Model)


class VersionedQuerySet(models.QuerySet[Record]):
    """Every way to write records writes their history in the same transaction."""

    def written(
        self, records: Sequence[Record], fields: Collection[str], new: bool = False
    ) -> None:
        """For what else depends on these records, of which a bulk write set these fields."""

    def bulk_create(
        self,
        objs: Iterable[Record],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[Record]:
        with transaction.atomic(using=self.db):
            everything, objs = list(objs), []
            for each in everything:
                if getattr(each, self.model.key_field):  # type: ignore[attr-defined]
                    objs.append(each)
                else:  # nothing to find it by afterwards
                    each.save(using=self.db, force_insert=True)
            if not objs:
                return everything
            fields = [field.name for field in self.model._meta.concrete_fields]
            if not (ignore_conflicts or update_conflicts):
                last = self._rows().order_by("-pk").values_list("pk", flat=True).first() or 0
                insert_rows(objs, self.db)
                self._read_ids(objs, last)
                record(self.model, [each.pk for each in objs], Kind.ADDED)
                self.written(objs, fields, new=True)
                return everything
            keys = [self._key(record) for record in objs]
            before = self._snapshots(self._with_keys(keys, lock=True))
            super().bulk_create(
                objs, batch_size, ignore_conflicts, update_conflicts, update_fields, unique_fields
            )
            # Read them back: MySQL does not return ids, and on a conflict the stored values may
            # differ from the object's.
            stored = self._with_keys(keys)
            after = self._snapshots(stored)
            record(self.model, [pk for pk in after if pk not in before], Kind.ADDED)
            self._record_changes(before, after)
            self.written(stored, fields)
            ids = {self._key(record): record.pk for record in stored}
            for each, key in zip(objs, keys, strict=True):
                each.pk = ids.get(key, each.pk)
        return everything

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def update(self, **kwargs: Any) -> int:
        """bulk_update() calls it too."""
        raised = {"version": F("version") + 1, "updated_at": timezone.now()}
        with transaction.atomic(using=self.db):
            ids = list(self.order_by().values_list("pk", flat=True))
            rows = self._rows().filter(pk__in=ids)
            before = self._snapshots(rows.order_by("pk").select_for_update())
            # Only rows that are locked; some may fit no more.
            count = models.QuerySet.update(self.filter(pk__in=ids), **raised | kwargs)
            stored = list(rows)
            self._record_changes(before, self._snapshots(stored))
            self.written(stored, kwargs)
        return count

    update.alters_data = True  # type: ignore[attr-defined]

    def delete(self) -> tuple[int, dict[str, int]]:
        with transaction.atomic(using=self.db):
            ids = list(self.order_by().values_list("pk", flat=True))
            rows = self._rows().filter(pk__in=ids)
            # Lock first: a concurrent write may add a related row after the related rows are
            # deleted, and the database then refuses to delete the record (MySQL's 1451).
            locked = rows.order_by("pk").select_for_update().values_list("pk", flat=True)
            record(self.model, list(locked), Kind.DELETED)
            return rows.delete()

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def _rows(self) -> models.QuerySet[Record]:
        return self.model._base_manager.using(self.db).order_by()

    def _key(self, record: Record) -> str:
        return str(getattr(record, self.model.key_field)).lower()  # type: ignore[attr-defined]

    def _read_ids(self, records: Sequence[Record], after: int) -> None:
        """Those of new rows, which MySQL does not return."""
        unknown = {self._key(each): each for each in records if each.pk is None}
        later = self._rows().filter(pk__gt=after)  # some of them may be others'
        for key, pk in later.values_list(self.model.key_field, "pk"):  # type: ignore[attr-defined]
            if each := unknown.get(key.lower()):
                each.pk = pk

    def _with_keys(self, keys: Sequence[str], lock: bool = False) -> list[Record]:
        found = self._in_batches(keys)
        return [each for rows in found for each in (rows.select_for_update() if lock else rows)]

    def _in_batches(self, keys: Sequence[str]) -> Iterator[models.QuerySet[Record]]:
        name = f"{self.model.key_field}__in"  # type: ignore[attr-defined]
        for some in batches(keys, MAX_PARAMETERS):
            yield self._rows().filter(**{name: some})

    def _snapshots(self, records: Iterable[Record]) -> dict[int, tuple[Any, ...]]:
        fields = history_of(self.model).tracked_fields
        names = [field.attname for field in fields if field.name != "version"]
        values = attrgetter(*names)
        return {record.pk: values(record) for record in records}

    def _record_changes(self, before: dict[int, Any], after: dict[int, Any]) -> None:
        changed = [pk for pk in after if pk in before and before[pk] != after[pk]]
        record(self.model, changed, Kind.CHANGED)


class VersionedModel(models.Model):
    """Saving writes only the columns changed since they were read, and raises the version.

    A save without a change writes nothing. Raises DoesNotExist if the record was deleted meanwhile.
    """

    version = models.PositiveIntegerField(_("version"), default=1, editable=False)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    key_field: ClassVar[str]  # unique: by it bulk_create() finds what it has written
    _stored: dict[str, Any]

    class Meta:
        abstract = True

    def save(self, *, using: Any = None, update_fields: Any = None, **kwargs: Any) -> None:
        using = using or router.db_for_write(type(self), instance=self)
        gone = False
        # No savepoint, which costs two more statements: as with Django's own save(), a caller that
        # goes on after an error inside a transaction sets one itself.
        with transaction.atomic(using=using, savepoint=False):
            is_new = self._state.adding or kwargs.get("force_insert")
            if is_new and self.pk is None:
                insert_rows([self], using)
                how = {"created": True, "raw": False, "update_fields": None, "using": using}
                post_save.send(type(self), instance=self, **how)
            elif is_new:
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
            locked = list(
                rows.select_for_update().values_list("pk", flat=True)
            )  # as the query set does
            record(type(self), locked, Kind.DELETED)
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
        loaded = self.__dict__
        return {name: loaded[name] for name in self._column_names() if name in loaded}

    @classmethod
    @cache
    def _column_names(cls) -> list[str]:
        return [field.attname for field in cls._meta.concrete_fields]

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
