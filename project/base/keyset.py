"""Keyset pages: a page starts after the last key of the one before, not at a row number.

A page costs the same at any depth. Ties are neither skipped nor repeated, as they are by DRF's
CursorPagination (encode/django-rest-framework#7887).
"""

import hashlib
import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from django.core.exceptions import EmptyResultSet, FieldDoesNotExist, ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections
from django.db.models import Model, Q, QuerySet
from django.utils.crypto import salted_hmac
from django.utils.tree import Node

from .database import rows_by_key

SALT = "project.base.keyset"
NO_LIMIT = 2**63 - 1  # which still keeps MySQL from merging a query into the one around
PART = "_part"  # as the first key of an ordering: which of the query set's parts a row is in


class CursorError(ValueError):
    """The text is no cursor, or its keys fit another list."""


@dataclass
class Page:
    rows: list[Any]
    more_before: bool
    more_after: bool


@dataclass(frozen=True)
class Reading:
    """What a query set knows of how its pages are read soonest."""

    # Fields whose conditions the index of any ordering answers: it alone is to tell the ids.
    ids_first: frozenset[str] = frozenset()
    few: bool = False  # so that all are to be sorted
    parts: tuple[Q, ...] = ()  # that are to be looked for one by one
    driving_table: str = ""  # that a page is found along, if the database is to be told


def reading_of(queryset: QuerySet) -> Reading:
    return getattr(queryset, "reading", Reading())


def read_page(
    queryset: QuerySet,
    ordering: list[str],
    size: int,
    keys: list[Any] | None = None,
    backwards: bool = False,
) -> Page:
    """The rows that follow these keys, or precede them; without keys the first or last page.

    Raises CursorError if the keys do not fit the ordering.
    """
    ordering = reverse(ordering) if backwards else ordering
    page = after(queryset, ordering, keys)[: size + 1]
    ids = None
    # Rows of some values of its first key stand together in an index, which skips none.
    reading = reading_of(queryset)
    skipped_by = reading.ids_first - {ordering[0].removeprefix("-")}
    if reading.parts:
        parts = read_parts(queryset, ordering, size + 1, keys)
        ids = list(parts)
    elif has_runs(queryset, ordering):
        ids = read_runs(queryset, ordering, size + 1, keys)
    elif has_late_conditions(queryset, ordering):
        ids = read_sorted(queryset, ordering, size + 1, keys)
    elif skipped_by and not queryset.query.annotation_select:
        ids = list(page.values_list("pk", flat=True))  # an index alone tells them
    if ids is None and reading.driving_table:
        page = driven_by(reading.driving_table, page)
    rows = list(page) if ids is None else rows_of(queryset, ids[:size])
    if ids is not None and ordering[0].removeprefix("-") == PART:
        for row in rows:
            setattr(row, PART, parts[row.pk])
    more = len(rows if ids is None else ids) > size and bool(rows)  # one may be gone by now
    rows = rows[:size]
    if backwards:
        rows.reverse()
        return Page(rows, more_before=more, more_after=bool(rows) and keys is not None)
    return Page(rows, more_before=bool(rows) and keys is not None, more_after=more)


def read_parts(
    queryset: QuerySet, ordering: list[str], size: int, keys: list[Any] | None = None
) -> dict[Any, int]:
    """The ids of the rows that follow these keys, each with the number of its part.

    No index gives an ordering of rows that meet one condition or another. It gives those of each
    part, which come one after the other, or else are sorted together.
    """
    first, *others = ordering
    in_turn, falling = first.removeprefix("-") == PART, first.startswith("-")
    ids: dict[Any, int] = {}
    for number, condition in sorted(enumerate(reading_of(queryset).parts), reverse=falling):
        part, missing = queryset.filter(condition), size
        if in_turn:
            begun = keys is not None and number == keys[0]
            if not (keys is None or begun or (number < keys[0]) == falling):
                continue
            missing -= len(ids)
            part = after(part, others, keys[1:] if keys and begun else None)
        else:
            part = after(part, ordering, keys)
        ids |= dict.fromkeys(part.values_list("pk", flat=True)[:missing], number)
    if in_turn:
        return ids
    together = queryset.filter(pk__in=ids).order_by(*ordering)
    return {pk: ids[pk] for pk in together.values_list("pk", flat=True)[:size]}


def has_runs(queryset: QuerySet, ordering: list[str]) -> bool:
    """Whether an index has the first key of this ordering, and none has the others too."""
    first, *others = ordering
    key = queryset.model._meta.pk.name
    if not others or others == [f"-{key}" if first.startswith("-") else key]:
        return False  # every index ends with the id
    if queryset.query.annotation_select or reading_of(queryset).few:
        return False
    return has_index(queryset.model, first.removeprefix("-"))


def read_runs(
    queryset: QuerySet, ordering: list[str], size: int, keys: list[Any] | None = None
) -> list[Any]:
    """The ids of the rows that follow these keys, without sorting all of the table.

    Rows with the same first key, a run, stand together in its index. A page is what is left of the
    run that it begins in, whole runs, and the first rows of the run that it ends in.
    """
    if not has_runs(queryset, ordering):
        return list(after(queryset, ordering, keys).values_list("pk", flat=True)[:size])
    first, *others = ordering
    field = first.removeprefix("-")
    ids: list[Any] = []
    if keys is not None:
        ids = read_runs(queryset.filter(**{field: keys[0]}), others, size, keys[1:])
        queryset = queryset.filter(_beyond(queryset.model, first, keys[0]))
    following = queryset.order_by(first).values_list("pk", field)
    if len(ids) < size and (found := dict(following[: size - len(ids)])):
        *_, last = found.values()
        whole = queryset.filter(_beyond(queryset.model, reverse([first])[0], last), pk__in=found)
        ids += whole.order_by(*ordering).values_list("pk", flat=True)
        ids += read_runs(queryset.filter(**{field: last}), others, size - len(ids))
    return ids


def is_late(condition: Any) -> bool:
    """Whether it takes long to ask of a row, and is true of nearly all that meet the others."""
    if isinstance(condition, Node):
        return any(map(is_late, condition.children))
    return getattr(getattr(condition, "lhs", None), "late", False)


def has_late_conditions(queryset: QuerySet, ordering: list[str]) -> bool:
    """Whether few rows are to be sorted before they are asked, by columns of their own table."""
    if not reading_of(queryset).few or queryset.query.annotation_select:
        return False
    columns = {field.name for field in queryset.model._meta.concrete_fields}
    is_plain = {name.removeprefix("-") for name in ordering} <= columns
    joined = len(queryset.query.alias_map) > 1
    return is_plain and not joined and any(map(is_late, queryset.query.where.children))


def read_sorted(
    queryset: QuerySet, ordering: list[str], size: int, keys: list[Any] | None = None
) -> list[Any]:
    """The ids of the rows that follow these keys; late conditions are asked of sorted rows."""
    connection = connections[queryset.db]
    quote = connection.ops.quote_name
    rows = after(queryset, ordering, keys).order_by()
    conditions = rows.query.where.children
    late = [condition for condition in conditions if is_late(condition)]
    compiler = rows.query.get_compiler(connection=connection)
    checks = [compiler.compile(condition) for condition in late]
    names = [name.removeprefix("-") for name in ordering]
    rows.query.where.children = [each for each in conditions if not is_late(each)]
    query = rows.values(*names)[:NO_LIMIT].query
    try:
        inner, parameters = query.get_compiler(connection=connection).as_sql()
    except EmptyResultSet:
        return []
    table, key = (quote(name) for name in (rows.model._meta.db_table, rows.model._meta.pk.column))
    columns = (quote(rows.model._meta.get_field(name).column) for name in names)
    order = ", ".join(
        f"found.{column}{' DESC' * name.startswith('-')}"
        for column, name in zip(columns, ordering, strict=True)
    )
    # As they name the joined row, they are asked after sorting, until the page is full.
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT /*+ JOIN_PREFIX(found) */ found.{key} FROM ({inner}) found"  # nosec
            f" JOIN {table} ON {table}.{key} = found.{key}"
            f" WHERE {' AND '.join(sql for sql, _ in checks)} ORDER BY {order} LIMIT {size}",
            [*parameters, *(value for _, values in checks for value in values)],
        )
        return [pk for (pk,) in cursor.fetchall()]


def driven_by(table: str, page: QuerySet) -> Any:
    """The same rows. MySQL takes no account of the limit where it chooses an index to begin with."""
    try:
        sql, parameters = page.query.sql_with_params()
    except EmptyResultSet:
        return []
    hint = f"SELECT /*+ JOIN_PREFIX({table}) */"
    return page.model._default_manager.using(page.db).raw(
        sql.replace("SELECT", hint, 1), parameters
    )


def rows_of(queryset: QuerySet, ids: list[Any]) -> list[Any]:
    """In this order."""
    found = {row.pk: row for row in rows_by_key(queryset, ids)}
    return [found[pk] for pk in ids if pk in found]


def after(queryset: QuerySet, ordering: list[str], keys: list[Any] | None) -> QuerySet:
    """(a > x) or (a = x and b > y) or …, and a >= x in front, where the index starts."""
    queryset = queryset.order_by(*ordering)
    if keys is None:
        return queryset
    condition, equal = Q(), Q()
    try:
        for name, key in zip(ordering, keys, strict=True):
            condition |= equal & _beyond(queryset.model, name, key)
            field = name.removeprefix("-")
            equal &= Q(**({f"{field}__isnull": True} if key is None else {field: key}))
        first = ordering[0].removeprefix("-")
        if not is_nullable(queryset.model, first):
            comparison = "lte" if ordering[0].startswith("-") else "gte"
            condition &= Q(**{f"{first}__{comparison}": keys[0]})
        return queryset.filter(condition)
    except (ValidationError, ValueError, TypeError):
        raise CursorError from None


def _beyond(model: type[Model], name: str, key: Any) -> Q:
    """Both databases sort NULL before every value."""
    field = name.removeprefix("-")
    rising = not name.startswith("-")
    if not is_nullable(model, field):
        return Q(**{f"{field}__{'gt' if rising else 'lt'}": key})
    if key is None:
        return Q(**{f"{field}__isnull": False}) if rising else Q(pk__in=[])
    if rising:
        return Q(**{f"{field}__gt": key})
    return Q(**{f"{field}__lt": key}) | Q(**{f"{field}__isnull": True})


def has_index(model: type[Model], name: str) -> bool:
    """Whether an index begins with this field, which is never NULL."""
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:  # an annotation, or of another table
        return False
    if is_nullable(model, name):
        return False
    firsts = [index.fields[0] for index in model._meta.indexes if index.fields]
    return bool(
        getattr(field, "unique", False) or getattr(field, "db_index", False) or name in firsts
    )


def is_nullable(model: type[Model], path: str) -> bool:
    options = model._meta
    for part in path.split("__"):
        try:
            field = options.get_field(part)
        except FieldDoesNotExist:  # an annotation, or pk
            return False
        if field.null or field.auto_created and not field.concrete:  # a reverse relation
            return True
        if field.is_relation and field.related_model:
            options = field.related_model._meta
    return False


def keys_of(row: Model, ordering: list[str]) -> list[Any]:
    return [_value(row, name.removeprefix("-")) for name in ordering]


def _value(row: Any, path: str) -> Any:
    for part in path.split("__"):
        row = getattr(row, part, None)
    return row.pk if isinstance(row, Model) else row


def total_ordering(queryset: QuerySet) -> list[str]:
    """The query set's ordering up to the id, or with the id appended: no two rows are equal.

    The id sorts in the direction of the key before it, so one index serves both.
    """
    ordering = list(queryset.query.order_by or queryset.model._meta.ordering)
    key = queryset.model._meta.pk.name
    ordering = [f"-{key}" if name == "-pk" else key if name == "pk" else name for name in ordering]
    for place, name in enumerate(ordering, 1):
        # A search calls the id `_id` where it sorts by another table's copy of it.
        if name.removeprefix("-") in (key, "_id"):
            return ordering[:place]
    return [*ordering, f"-{key}" if ordering and ordering[-1].startswith("-") else key]


def reverse(ordering: list[str]) -> list[str]:
    return [name[1:] if name.startswith("-") else f"-{name}" for name in ordering]


def fingerprint(path: str, parameters: Iterable[tuple[str, Any]], ordering: list[str]) -> str:
    """Of the list that a cursor belongs to."""
    text = json.dumps([path, sorted(parameters), ordering])
    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()


def encrypt(content: list[Any]) -> str:
    """A cursor: nobody reads the names of people in it, or makes one up.

    Compressed, so that two titles of 500 characters fit a URL; and the same place always has the
    same cursor.
    """
    text = json.dumps(content, cls=KeyEncoder, ensure_ascii=False, separators=(",", ":"))
    sealed = _cipher().encrypt(zlib.compress(text.encode(), 9), None)
    return urlsafe_b64encode(sealed).decode().rstrip("=")


def decrypt(cursor: str) -> Any:
    try:
        sealed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return json.loads(zlib.decompress(_cipher().decrypt(sealed, None)))
    except (InvalidTag, ValueError):
        raise CursorError from None


def _cipher() -> AESSIV:
    return AESSIV(salted_hmac(SALT, "cursor", algorithm="sha512").digest())


class KeyEncoder(DjangoJSONEncoder):
    """Times with their microseconds, which DjangoJSONEncoder cuts to milliseconds."""

    def default(self, o: Any) -> Any:
        return o.isoformat() if hasattr(o, "isoformat") else super().default(o)
