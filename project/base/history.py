"""Who changed which record, when and through which door.

django-simple-history builds the tables and compares versions. The rows are written here: one
INSERT … SELECT copies any number of records inside the database, in the transaction that changes
them, so a row shows what is stored and not what somebody's copy in memory says.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection, models, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from simple_history.models import HistoricalRecords

BATCH_SIZE = 900  # below SQLite's old limit of 999 parameters
TOKEN_KEY_LENGTH = 8  # of a token's beginning, which is no secret


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
        name = str(getattr(token, "name", None) or key)
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

    def __init__(self, no_db_index: Sequence[str] = (), **options: Any) -> None:
        super().__init__(
            bases=[HistoryRow],
            history_id_field=models.BigAutoField(),
            excluded_fields=["updated_at"],
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
        # Who may view a record may view its history.
        ordering = {"ordering": ["-history_id"], "get_latest_by": "history_id"}
        return super().get_meta_options(model) | ordering | {"default_permissions": ()}

    def post_save(self, instance: models.Model, created: bool, **kwargs: Any) -> None:  # type: ignore[override]
        record(type(instance), [instance.pk], Kind.ADDED if created else Kind.CHANGED)

    # VersionedModel and its query set record deletions, many in one statement.

    def pre_delete(self, *args: Any, **kwargs: Any) -> None:
        pass

    def post_delete(self, *args: Any, **kwargs: Any) -> None:
        pass


def record(model: type[models.Model], ids: Sequence[int], kind: Kind) -> None:
    """Write the history of these records, which are stored and locked by this transaction."""
    context = current()
    history = model.history.model  # type: ignore[attr-defined]
    head = _first_of_batch(history, context, ids) if context.batch else None
    values = {
        "history_date": timezone.now(),
        "history_type": kind,
        "history_user": context.user_id,
        "door": context.door,
        "detail": context.detail,
        "batch": context.batch,
    }
    fields = [history._meta.get_field(name) for name in values]
    given = [
        field.get_db_prep_save(value, connection)
        for field, value in zip(fields, values.values(), strict=True)
    ]
    quote = connection.ops.quote_name
    copied = ", ".join(quote(field.column) for field in history.tracked_fields)
    added = ", ".join(quote(field.column) for field in fields)
    key = quote(model._meta.pk.column)  # type: ignore[union-attr]
    listed = f"{key} = %s" if context.batch else "1 = %s"
    with connection.cursor() as cursor:
        for start in range(0, len(ids), BATCH_SIZE):
            some = ids[start : start + BATCH_SIZE]
            cursor.execute(  # names are quoted, values are parameters
                f"INSERT INTO {quote(history._meta.db_table)} ({copied}, {added}, listed) "  # nosec
                f"SELECT {copied}, {', '.join(['%s'] * len(given))}, {listed} "
                f"FROM {quote(model._meta.db_table)} "
                f"WHERE {key} IN ({', '.join(['%s'] * len(some))}) ORDER BY {key}",
                [*given, (head or 0) if context.batch else 1, *some],
            )


def _first_of_batch(history: Any, context: Context, ids: Sequence[int]) -> int | None:
    if context.listed or not ids:
        return None

    def remember() -> None:
        context.listed = True

    transaction.on_commit(remember)  # a rollback takes the line back
    return None if history.objects.filter(batch=context.batch).exists() else ids[0]
