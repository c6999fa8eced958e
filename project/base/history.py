"""Who changed which record, when and through which door.

django-simple-history builds the tables and compares versions. The rows are written here: one
INSERT … SELECT copies any number of records inside the database, in the transaction that changes
them, so a row shows what is stored and not what somebody's copy in memory says.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, partial
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import IntegrityError, connection, models, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from simple_history.models import HistoricalRecords

from .database import MAX_PARAMETERS, batches, persistent_transaction

TOKEN_KEY_LENGTH = 8  # of a token's beginning, which is no secret
UNDO_CHUNK_SIZE = 500  # records in one transaction
MAX_LEFT_LISTED = 1000
GAP_SECONDS = 5  # between taking an id and writing its row, at most; it is microseconds


class Door(models.TextChoices):
    ADMIN = "admin", _("Admin")
    API = "api", _("API")
    IMPORT = "import", _("Import")
    BULK = "bulk", _("Bulk action")
    UNDO = "undo", _("Undo")
    COMMAND = "command", _("Command")


class Kind(models.TextChoices):
    ADDED = "+", _("added")
    CHANGED = "~", _("changed")
    DELETED = "-", _("deleted")


@dataclass
class Context:
    door: Door
    user_id: int | None = None
    detail: str = ""
    batch: str = ""
    listed: bool = False  # the batch has its line in the list of all activity


_context: ContextVar[Context | HttpRequest | None] = ContextVar("history", default=None)


def current() -> Context:
    context = _context.get()
    if isinstance(context, HttpRequest):
        # Only now is it known who signed in: the API does not use the session.
        user, token = getattr(context, "user", None), getattr(context, "auth", None)
        match = context.resolver_match
        in_admin = match is not None and "admin" in match.app_names
        key = str(getattr(token, "token_key", ""))[:TOKEN_KEY_LENGTH]
        name = str(getattr(token, "name", None) or (key and f"{key}…"))
        return Context(Door.ADMIN if in_admin else Door.API, getattr(user, "pk", None), name)
    if context is None:
        is_command = sys.argv[0].endswith("manage.py") and len(sys.argv) > 1
        return Context(Door.COMMAND, detail=sys.argv[1] if is_command else "")
    return context


@contextmanager
def recorded_as(
    door: Door, *, user: Any = None, detail: str = "", batch: str = ""
) -> Iterator[None]:
    """All changes inside say this; without a user, the one who is signed in."""
    user_id = current().user_id if user is None else user.pk
    token = _context.set(Context(door, user_id, detail[:255], batch))
    try:
        yield
    finally:
        _context.reset(token)


def history_middleware(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        token = _context.set(request)
        try:
            return get_response(request)
        finally:
            _context.reset(token)

    return middleware


class HistoryRow(models.Model):
    """What History adds to the package's columns."""

    door = models.CharField(_("through"), max_length=10, choices=Door.choices)
    detail = models.CharField(max_length=255)
    # What belongs together and can be undone together.
    batch = models.CharField(max_length=64, db_index=True)
    # Of a batch only the first row, so that an import is one line in the list of all activity.
    listed = models.BooleanField(db_index=True)

    class Meta:
        abstract = True


class History(HistoricalRecords):
    """Newest first is the order of the primary key, which every index ends with."""

    def __init__(
        self,
        no_db_index: Sequence[str] = (),
        excluded_fields: Sequence[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(
            bases=[HistoryRow],
            history_id_field=models.BigAutoField(),
            excluded_fields=["updated_at", *excluded_fields],
            no_db_index=no_db_index,
            **options,
        )

    def get_extra_fields(self, model: type[models.Model], fields: Any) -> dict[str, Any]:
        extra = super().get_extra_fields(model, fields)
        del extra["history_change_reason"]
        extra["history_date"] = models.DateTimeField(_("when"))
        extra["history_type"] = models.CharField(
            _("kind"), max_length=1, choices=Kind.choices, db_index=True
        )
        # Without a constraint, and kept when the account is deleted: who it was stays recorded.
        extra["history_user"] = models.ForeignKey(
            settings.AUTH_USER_MODEL,
            models.DO_NOTHING,
            verbose_name=_("who"),
            null=True,
            related_name="+",
            db_constraint=False,
        )
        return extra

    def get_meta_options(self, model: type[models.Model]) -> dict[str, Any]:
        through = models.Index(
            fields=["door", "listed"], name=f"{model._meta.db_table}_history_door"
        )
        return super().get_meta_options(model) | {
            "ordering": ["-history_id"],
            "get_latest_by": "history_id",
            "default_permissions": (),  # who may view a record may view its history
            "indexes": [through],  # one door among 1,000,000 changes through others
        }

    def post_save(self, instance: models.Model, created: bool, **kwargs: Any) -> None:
        record(type(instance), [instance.pk], Kind.ADDED if created else Kind.CHANGED)

    # VersionedModel and its query set record deletions, many in one statement.

    def pre_delete(self, *args: Any, **kwargs: Any) -> None:
        pass

    def post_delete(self, *args: Any, **kwargs: Any) -> None:
        pass


@cache
def history_of(model: type[models.Model]) -> Any:
    """Its history's model. `model.history` makes a class of manager each time it is read."""
    return model.history.model  # type: ignore[attr-defined]


def record(model: type[models.Model], ids: Sequence[int], kind: Kind) -> None:
    """Write the history of these records, which are stored and locked by this transaction."""
    context = current()
    # Of a batch only the first is listed: -1 is no id.
    listed = (_first_of_batch(model, context, ids) or -1) if context.batch else 0
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    given = (now, kind, context.user_id, context.door, context.detail, context.batch, listed)
    with connection.cursor() as cursor:
        for some in batches(ids, MAX_PARAMETERS):
            marks = ", ".join(["%s"] * len(some))
            cursor.execute(f"{_copying(model)} IN ({marks}) ORDER BY id", [*given, *some])


@cache
def _copying(model: type[models.Model]) -> str:
    """To write it anew takes longer than to send it."""
    history, quote = history_of(model), connection.ops.quote_name
    copied = ", ".join(quote(column.column) for column in history.tracked_fields)
    return (  # names are quoted
        f"INSERT INTO {quote(history._meta.db_table)} ({copied}, history_date, history_type,"  # nosec
        " history_user_id, door, detail, batch, listed)"
        f" SELECT {copied}, %s, %s, %s, %s, %s, %s, %s IN (0, id)"
        f" FROM {quote(model._meta.db_table)} WHERE id"
    )


def _first_of_batch(model: type[models.Model], context: Context, ids: Sequence[int]) -> int | None:
    if context.listed or not ids:
        return None

    def remember() -> None:
        context.listed = True

    transaction.on_commit(remember)  # a rollback takes the line back
    known = history_of(model).objects.filter(batch=context.batch)
    return None if known.exists() else ids[0]


def final_rows(model: type[models.Model], after: int, size: int) -> list[Any]:
    """The next rows of the history by id, none of which a later commit will precede.

    Ids rise in the order of writing, but transactions end in another. MySQL's dirty read shows
    the rows of open ones too: everything before the first of them is final. An id without a row
    was rolled back, or its row is about to come: what follows it waits for GAP_SECONDS. SQLite has
    one writer.
    """
    rows = (
        model.history.filter(history_id__gt=after)  # type: ignore[attr-defined]
        .order_by("history_id")
        .values_list("history_id", "id", "history_type", "history_date", named=True)
    )
    if connection.vendor != "mysql" or connection.in_atomic_block:
        return list(rows[:size])
    with connection.cursor() as cursor:  # of the next statement alone
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
    written = list(rows.values_list("history_id", flat=True)[:size])
    committed = rows.filter(history_id__lte=written[-1]) if written else ()
    settled = timezone.now() - timedelta(seconds=GAP_SECONDS)
    final = []
    for number, row in zip(written, committed, strict=False):
        gap = number != after + 1 and row.history_date > settled
        if gap or number != row.history_id:
            break
        final.append(row)
        after = number
    return final


def as_record(version: Any) -> Any:
    """The record with the values of this version, unsaved."""
    names = [column.attname for column in version.tracked_fields]
    return version.instance_type(**{name: getattr(version, name) for name in names})


def shown_fields(model: Any) -> list[models.Field]:
    """What people enter: neither keys nor what the program sets."""
    return [each for each in model._meta.concrete_fields if each.editable and not each.primary_key]


def put_back(version: Any, record: Any = None) -> Any:
    """Save the record with the values of this version; if it is deleted, under its old id."""
    if record is not None:
        for each in shown_fields(version.instance_type):
            setattr(record, each.attname, getattr(version, each.attname))
        record.save()
        return record
    record = as_record(version)
    versions = version.instance_type.history.filter(id=record.pk)
    record.version = versions.values_list("version", flat=True)[0] + 1
    record.updated_at = timezone.now()
    with transaction.atomic():
        record.save_base(raw=True, force_insert=True)  # keeps the time at which it was added
    return record


@dataclass
class Left:
    """A record that undo() did not touch."""

    model: str
    pk: int
    name: str
    reason: Any


@dataclass
class Undone:
    deleted: int = 0  # the batch had added them
    restored: int = 0  # they have their values of before again
    undeleted: int = 0
    left_count: int = 0
    left: list[Left] = field(default_factory=list)  # the first MAX_LEFT_LISTED

    def leave(self, version: Any, reason: Any) -> None:
        self.left_count += 1
        name = version.instance_type._meta.label
        self.left.append(Left(name, version.id, str(as_record(version)), reason))

    def add(self, other: "Undone") -> None:
        self.deleted += other.deleted
        self.restored += other.restored
        self.undeleted += other.undeleted
        self.left_count += other.left_count
        self.left = (self.left + other.left)[:MAX_LEFT_LISTED]


def undo(
    batch: str,
    *,
    user: Any = None,
    detail: str = "",
    progress: Callable[[Undone], None] | None = None,
) -> Undone:
    """Take back what this batch did, but nothing that somebody changed afterwards.

    Each chunk is one transaction. A second run goes on where the first one ended, and leaves alone
    what has been undone. The undo is a batch itself, undo-<batch>, and can be undone.
    """
    undone = Undone()
    with recorded_as(Door.UNDO, user=user, detail=detail or batch, batch=f"undo-{batch}"):
        for model in apps.get_models():
            if not hasattr(model._meta, "simple_history_manager_attribute"):
                continue
            rows = model.history.filter(batch=batch).order_by("history_id")  # type: ignore[attr-defined]
            last = 0
            while chunk := list(
                rows.filter(history_id__gt=last).values_list("history_id", "id")[:UNDO_CHUNK_SIZE]
            ):
                last = chunk[-1][0]
                ids = sorted({pk for _number, pk in chunk})
                undone.add(persistent_transaction(partial(_undo, model, ids, batch)))
                if progress is not None:
                    progress(undone)
    return undone


def _undo(model: Any, ids: list[int], batch: str) -> Undone:
    undone = Undone()
    # Locked first: whoever is changing one of them has by now recorded it.
    rows = model._base_manager.filter(pk__in=ids).order_by("pk").select_for_update()
    stored = {record.pk: record for record in rows}
    versions: dict[int, list[Any]] = {}
    for version in model.history.filter(id__in=ids).order_by("history_id"):
        versions.setdefault(version.id, []).append(version)
    added = []
    # What is still there goes back first: it may hold a value that a deleted record had.
    for pk in sorted(versions, key=lambda pk: pk not in stored):
        all_versions = versions[pk]
        if any(version.batch == f"undo-{batch}" for version in all_versions):
            continue
        first = next(i for i, version in enumerate(all_versions) if version.batch == batch)
        before = all_versions[first - 1] if first else None
        if not _stands(batch, all_versions[first:]):
            undone.leave(all_versions[-1], _("changed afterwards"))
        elif before is None and all_versions[0].history_type != Kind.ADDED:
            undone.leave(all_versions[-1], _("its earlier values are not known"))
        elif before is None or before.history_type == Kind.DELETED:
            added += [pk] if pk in stored else []
        else:
            try:
                with transaction.atomic():
                    put_back(before, stored.get(pk))
            except IntegrityError:
                undone.leave(before, _("another record now has its earlier values"))
            else:
                undone.restored += pk in stored
                undone.undeleted += pk not in stored
    model._default_manager.filter(pk__in=added).delete()
    undone.deleted += len(added)
    return undone


def _stands(batch: str, versions: list[Any]) -> bool:
    """Whether what the batch wrote is what the record says.

    A change that was itself taken back does not count.
    """
    written = None
    for version, following in zip(versions, [*versions[1:], None], strict=True):
        if version.batch == batch:
            written = _state(version)
        if (following is None or following.batch == batch) and _state(version) != written:
            return False
    return True


def _state(version: Any) -> dict[str, Any] | None:
    if version.history_type == Kind.DELETED:
        return None
    names = (column.attname for column in version.tracked_fields if column.name != "version")
    return {name: getattr(version, name) for name in names}
