"""What an import must know about the records that a file adds and changes."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model

from project.base.files.rows import Problem, Row

Record = TypeVar("Record", bound=Model)


class RefusedError(Exception):
    def __init__(self, *reasons: str) -> None:
        self.reasons = list(reasons)


@dataclass
class Entry:
    """One row of a file: the texts as given; a field may have several columns."""

    row: int
    original: list[str]
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    problem: Problem | None = None
    raw: str = ""  # the line itself, if it could not be parsed


def entries_of(rows: Iterable[Row], columns: Mapping[str, Sequence[int]]) -> Iterator[Entry]:
    for row in rows:
        yield entry_of(row, columns)


def entry_of(row: Row, columns: Mapping[str, Sequence[int]]) -> Entry:
    cells = row.cells
    if row.problem or not cells:
        return Entry(row.number, cells, problem=row.problem, raw=row.raw)
    texts = {name: [cells[index] for index in indexes] for name, indexes in columns.items()}
    return Entry(row.number, cells, texts)


@dataclass(frozen=True)
class Column:
    """A field of the record, and how its column is recognised."""

    name: str
    headers: Sequence[str]  # in order of preference, as plain() writes them
    missing: str  # what is said of a file without it
    several: bool = False  # of which the valid one counts


@dataclass
class Comparison(Generic[Record]):
    """The records of a file beside the stored ones."""

    new: list[Record] = field(default_factory=list)
    changed: list[tuple[Record, list[Any]]] = field(default_factory=list)  # with the old values
    same: list[Record] = field(default_factory=list)
    refused: list[tuple[Record, Problem]] = field(default_factory=list)


class Records(ABC, Generic[Record]):
    model: type[Record]
    columns: ClassVar[Sequence[Column]]
    compared: ClassVar[Sequence[str]]  # the fields that an import changes

    @property
    def fields(self) -> list[str]:
        return [column.name for column in self.columns]

    def requires(self, column: Column) -> bool:
        """Whether a file must have it."""
        return True

    @abstractmethod
    def record_of(self, entry: Entry, repairs: Counter[str]) -> Record:
        """The entry as an unsaved record; adds what had to be repaired to repairs.

        Raises RefusedError with every reason why it cannot be one, in the active language.
        """

    @abstractmethod
    def keys(self, record: Record) -> Mapping[str, str]:
        """What no two rows of a file may share, and what is said of a row that does."""

    @abstractmethod
    def compare(self, records: Sequence[Record], lock: bool = False) -> Comparison[Record]: ...

    @abstractmethod
    def write(self, found: Comparison[Record]) -> None:
        """Save what is new and what is changed; its records are locked."""

    def identity(self, record: Record) -> Any:
        """Two rows of the same record and the same identity say the same."""
        return [getattr(record, name) for name in self.compared]

    def values(self, record: Record) -> list[Any]:
        """As a page of the import keeps them."""
        return [getattr(record, name) for name in self.fields]

    def record_with(self, values: Iterable[Any]) -> Record:
        return self.model(**dict(zip(self.fields, values, strict=False)))

    def shown(self, name: str, value: Any) -> str:
        return "" if value is None else str(value)

    def label(self, name: str) -> str:
        return label(self.model, name)


def label(model: type[Model], name: str) -> str:
    return str(model._meta.get_field(name).verbose_name)  # type: ignore[union-attr]


def refuse_invalid(record: Model, reasons: Sequence[str], names: Iterable[str]) -> None:
    """Raise RefusedError with these reasons, and with what these fields of the model refuse."""
    found = list(reasons)
    for name in names:
        field: Any = record._meta.get_field(name)
        try:
            setattr(record, name, field.clean(getattr(record, name), record))
        except ValidationError as error:
            found += [f"{label(type(record), name)}: {message}" for message in error.messages]
    if found:
        raise RefusedError(*found)
