"""The word index beside the catalogue, which raw SQL may have changed without it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from project.base.database import MAX_PARAMETERS, persistent_transaction

from .models import BLOOM, BookWord, Word
from .words import bloom_of

if TYPE_CHECKING:
    from library.models import Book


@dataclass(frozen=True)
class Fault:
    """A book whose words in the index are not those of its title and author."""

    book: int
    title: str | None  # None: there is no such book
    missing: list[str]
    extra: list[str]
    stale: bool  # its Bloom filter

    def __str__(self) -> str:
        if self.title is None:
            return f"book {self.book} does not exist: {', '.join(self.extra)}"
        parts = [("missing", self.missing), ("extra", self.extra)]
        faults = [f"{name}: {', '.join(words)}" for name, words in parts if words]
        faults += ["wrong Bloom filter"] if self.stale else []
        return f"book {self.book}, {self.title}: {'; '.join(faults)}"


def verify(repair: bool = False) -> Iterator[tuple[int, list[Fault]]]:
    """For each batch the number of books compared and the faults found, which may be repaired."""
    last = 0
    while ids := _ids_after(last):
        books = _books(ids)
        faults = _faults(ids, books)
        if faults:
            suspects = [fault.book for fault in faults]
            faults = persistent_transaction(partial(_look_again, suspects, repair))
        yield len(books), faults
        last = ids[-1]


def _ids_after(last: int) -> list[int]:
    """The next ids that have a book or words: words alone may be any number."""
    from library.models import Book

    books = Book.objects.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)
    words = BookWord.objects.filter(book__gt=last).order_by("book").values_list("book", flat=True)
    ids = {*books[:MAX_PARAMETERS], *words.distinct()[:MAX_PARAMETERS]}
    return list(islice(sorted(ids), MAX_PARAMETERS))


def _books(ids: Sequence[int], lock: bool = False) -> "dict[int, Book]":
    from library.models import Book

    books = Book.objects.only("title", "author", *BLOOM).filter(pk__in=ids).order_by("pk")
    return {book.pk: book for book in (books.select_for_update() if lock else books)}


def _faults(ids: Sequence[int], books: "dict[int, Book]") -> list[Fault]:
    wanted = {pk: BookWord.ranked_words(book) for pk, book in books.items()}
    known = Word.objects.known({text for words in wanted.values() for text, rank in words})
    due = {(known.get(text), rank, pk) for pk, words in wanted.items() for text, rank in words}
    rows = BookWord.objects.filter(book__in=ids).values_list(*BookWord.COLUMNS)
    held = set()
    blooms = {pk: {(book.bloom_low, book.bloom_high)} for pk, book in books.items()}
    for *row, low, high in rows:
        held.add(tuple(row))
        blooms.setdefault(row[-1], set()).add((low, high))
    stale = {
        pk for pk, words in wanted.items() if blooms[pk] != {bloom_of(text for text, rank in words)}
    }
    unknown = {word for word, rank, pk in held - due}
    texts = dict(Word.objects.filter(pk__in=unknown).values_list("pk", "text"))
    missing, extra = defaultdict(list), defaultdict(list)
    for pk, words in wanted.items():
        for text, rank in sorted(words):
            if (known.get(text), rank, pk) not in held:
                missing[pk].append(f"{text} (rank {rank})")
    for word, rank, pk in held - due:
        extra[pk].append(f"{texts.get(word, '?')} (rank {rank})")
    return [
        Fault(
            pk,
            books[pk].title if pk in books else None,
            missing[pk],
            sorted(extra[pk]),
            pk in stale,
        )
        for pk in sorted({*missing, *extra, *stale})
    ]


def _look_again(ids: list[int], repair: bool) -> list[Fault]:
    """Under a lock: between two reads somebody may have written one of these books."""
    books = _books(ids, lock=True)
    faults = _faults(ids, books)
    if repair:
        BookWord.objects.index([books[fault.book] for fault in faults if fault.title is not None])
        orphaned = [fault.book for fault in faults if fault.title is None]
        BookWord.objects.filter(book__in=orphaned).delete()
    return faults
