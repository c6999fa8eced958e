"""The word index, which keeps searches fast at any size of the catalogue."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import connections, models, router
from django.db.models.constants import OnConflict
from django.utils.translation import gettext as _

from project.base.database import MAX_PARAMETERS, batches
from project.base.fields import BinaryCharField
from project.base.keyset import is_late

from .terms import AUTHOR_RANK, LONG_TITLE_RANK, Term
from .words import MAX_WORD_LENGTH, bloom_of, stem_of, words_of

if TYPE_CHECKING:
    from library.models import Book

BLOOM = ("bloom_low", "bloom_high")
ANY_WORD = 2**63 - 1


def select(sql: str, *parameters: Any, using: str = "") -> list[tuple[Any, ...]]:
    """The rows of a statement. To build it anew takes the ORM ten times as long as to run it."""
    with connections[using or router.db_for_read(Word)].cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


class WordQuerySet(models.QuerySet["Word"]):
    MAX_COMPLETIONS = 500
    MAX_STEMS = 64  # that a search asks Bloom filters for

    def ids_of(self, texts: Collection[str]) -> dict[str, int]:
        """The id of each text, adding the words that are new."""
        known = self.known(texts)
        if missing := sorted(set(texts) - known.keys()):  # always in one order: no deadlocks
            # Not bulk_create(), as below.
            ignore = connections[self.db].ops.insert_statement(OnConflict.IGNORE)
            with connections[self.db].cursor() as cursor:
                cursor.executemany(
                    f"{ignore} library_word (text, stem) VALUES (%s, %s)",  # nosec
                    [(text, stem_of(text)) for text in missing],
                )
            known |= self.known(missing)
        return known

    def known(self, texts: Collection[str]) -> dict[str, int]:
        return dict(self._rows("text, id", "text", texts))

    def resolve(self, words: Sequence[str]) -> list[Term]:
        """What each word stands for: itself and its other forms.

        The last word counts as a prefix too if the catalogue does not have it as a whole word.
        """
        stems = [stem_of(word) for word in words]
        forms: dict[str, dict[str, int]] = {}
        for stem, text, pk in self._rows("stem, text, id", "stem", stems):
            forms.setdefault(stem, {})[text] = pk
        terms = [
            Term(
                forms.get(stem, {}).get(word),
                sorted(forms.get(stem, {}).values()),
                frozenset([stem]),
            )
            for word, stem in zip(words, stems, strict=True)
        ]
        if words and terms[-1].typed is None:
            longer = self.beginning_with(words[-1])
            found = {*longer.values(), stems[-1]}
            terms[-1] = Term(
                None,
                sorted({*terms[-1].ids, *longer}),
                frozenset(found if len(found) <= self.MAX_STEMS else ()),
            )
        return terms

    def _rows(self, columns: str, by: str, values: Collection[str]) -> Iterator[tuple[Any, ...]]:
        for batch in batches(sorted(set(values)), MAX_PARAMETERS):
            marks = ", ".join(["%s"] * len(batch))
            yield from select(f"SELECT {columns} FROM library_word WHERE {by} IN ({marks})", *batch)  # nosec

    def beginning_with(self, beginning: str) -> dict[int, str]:
        """The stems of these words by their ids; raises ValidationError for too many."""
        fitting = self.filter(text__gte=beginning, text__lt=beginning + "\U0010ffff")
        stems = dict(fitting.values_list("pk", "stem")[: self.MAX_COMPLETIONS + 1])
        if len(stems) > self.MAX_COMPLETIONS:
            raise ValidationError(
                _("Too many words begin with “%(beginning)s”: type more letters."),
                code="too_short",
                params={"beginning": beginning},
            )
        return stems


class StemField(BinaryCharField):
    """Follows the text, however the word is written."""

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        stem = stem_of(model_instance.text)  # type: ignore[attr-defined]
        setattr(model_instance, self.attname, stem)
        return stem


class Word(models.Model):
    """A folded word of a title or author (see words.py)."""

    text = BinaryCharField(max_length=MAX_WORD_LENGTH, unique=True)
    # The default is for a process of the version before, which may still run after migrating.
    stem = StemField(max_length=MAX_WORD_LENGTH, db_default="", editable=False)

    objects = WordQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["stem"], name="library_word_stem")]

    def __str__(self) -> str:
        return self.text


class BloomField(models.BigIntegerField):
    """A half of the Bloom filter of a book, which follows its title and author.

    Until it is known, it allows any word: also of what raw SQL adds.
    """

    def __init__(self, **options: Any) -> None:
        options |= {"default": ANY_WORD, "db_default": ANY_WORD, "editable": False}
        super().__init__(**options)

    def deconstruct(self) -> Any:
        name, path, arguments, options = super().deconstruct()
        for option in ("default", "db_default", "editable"):
            del options[option]
        return name, path, arguments, options

    def pre_save(self, model_instance: models.Model, add: bool) -> int:
        if self.attname == BLOOM[0]:  # which comes first
            words = words_of(model_instance.title) + words_of(model_instance.author)  # type: ignore[attr-defined]
            for half, bits in zip(BLOOM, bloom_of(words), strict=True):
                setattr(model_instance, half, bits)
        return getattr(model_instance, self.attname)


class Way(Enum):
    """Where the candidates for a page come from."""

    WORDS = "rows of the rarest word"
    OTHERS = "books that meet the other conditions"
    ORDERING = "entries of the ordering's index"


class BookWordQuerySet(models.QuerySet["BookWord"]):
    MAX_RARE_ROWS = 1000
    SAMPLE_BOOKS = 1000
    MAX_SORTED_ROWS = 3000
    PAGE_SIZE = 50
    BOOK_COST = 18  # a book to look up and sort, in entries of an index to read
    MIN_SORTED_BOOKS = 500
    SAMPLE_WINDOWS = 4
    MAX_SAMPLED_WORDS = 16  # by the primary key
    SAMPLE_GROWTH = 30
    MIN_SAMPLE_ROWS = 50
    ASKED_BOOKS = 300  # of a sample, for the other conditions
    COUNTED_PAGES = 20
    MANY_BOOKS = 200_000  # among fewer, a wrong index costs less than to find the right one

    def index(self, books: Iterable["Book"], new: bool = False) -> None:
        """Bring the words of these saved books in line with their titles and authors.

        New ones have no words to look for, and their filters were set as they were written.
        """
        wanted = {book.pk: (BookWord.ranked_words(book), book) for book in books}
        ids = Word.objects.ids_of(
            {text for words, _book in wanted.values() for text, rank in words}
        )
        due, stale = [], []
        for pk, (words, book) in wanted.items():
            bloom = book.bloom_low, book.bloom_high
            if not new and bloom != (right := bloom_of(text for text, rank in words)):
                bloom = book.bloom_low, book.bloom_high = right
                stale.append((*bloom, pk))
            due += [(ids[text], rank, pk, *bloom) for text, rank in words]
        held = {
            row
            for batch in batches([] if new else list(wanted), MAX_PARAMETERS)
            for row in self.filter(book__in=batch).values_list(*BookWord.COLUMNS)
        }
        for batch in batches(sorted(held.difference(due)), 300):  # SQLite's limit of an OR is 1,000
            self.filter(pk__in=[row[:3] for row in batch]).delete()
        self.insert(sorted(row for row in due if row not in held))
        if stale:
            book_table = connections[self.db].ops.quote_name(book._meta.db_table)
            with connections[self.db].cursor() as cursor:
                cursor.executemany(
                    f"UPDATE {book_table} SET bloom_low = %s, bloom_high = %s WHERE id = %s",  # nosec
                    stale,
                )

    def insert(self, rows: list[tuple[int, ...]]) -> None:
        """Add rows with these COLUMNS."""
        # Not bulk_create(): these rows, about eight a book, are most of the work of an import.
        columns = ", ".join(map(connections[self.db].ops.quote_name, BookWord.COLUMNS))
        with connections[self.db].cursor() as cursor:
            for batch in batches(rows, 1000):
                values = str(batch)[1:-1]  # numbers in tuples are written as in SQL
                cursor.execute(f"INSERT INTO library_bookword ({columns}) VALUES {values}")  # nosec

    def books_with(self, terms: list[Term]) -> str:
        """A statement for the ids of books with all these terms; the first is the rarest."""
        has = "".join(f" AND {term.of_book('hit.book_id')}" for term in terms[1:])
        # Long titles first: if there are many hits, they turn up sooner there.
        order = "word_id DESC, `rank` DESC, book_id DESC"
        return f"{self.books_allowed(terms)}{has} ORDER BY {order}"

    def books_allowed(self, terms: list[Term]) -> str:
        """A statement for the ids of books with the first, whose filters allow the others."""
        allowed = "".join(
            f" AND {term.allowed('hit.bloom_low', 'hit.bloom_high')}" for term in terms[1:]
        )
        return f"SELECT book_id FROM library_bookword hit WHERE {terms[0].among()}{allowed}"  # nosec

    def soonest(
        self, books: Any, terms: list[Term], many: bool = False, by_relevance: bool = False
    ) -> Way:
        """How a page of these books with all these terms, rarest first, is found soonest.

        Along the ordering's index, it takes N / found entries for each row. The other ways look
        all candidates up and sort them. An entry and a row of a word take about as long to read,
        a book to look up BOOK_COST times as long. So for one word no way reads more than √N times
        a constant.

        In order of relevance the rows of the first term are the index, and whoever counts what is
        found reads more of them.
        """
        if terms[0].rows is not None and terms[0].rows <= self.MIN_SORTED_BOOKS:
            return Way.WORDS
        narrowed = bool(books.query.where)
        if many and not narrowed:
            return Way.ORDERING
        last = self._last_book()
        if by_relevance and last < self.MANY_BOOKS:
            return Way.WORDS
        rows, hits, scale = self._sample(terms, last)
        held = len(hits) * scale
        share = 1.0
        if narrowed and hits:
            met, asked = self._ask(books, hits)
            share = (met + 0.5) / asked
        # Without a stem for the Bloom filter, the words of each book are looked up.
        entry_cost = 1 if all(term.stems for term in terms) else self.BOOK_COST
        by_words = rows + self.BOOK_COST * held
        part = self.PAGE_SIZE / max(held * share, 1)  # of the catalogue, for a page
        if by_relevance:
            costs = {Way.ORDERING: min(self.COUNTED_PAGES * part, 1) * by_words}
        else:
            is_told = not narrowed or books.reading.ids_first  # by an entry of any index
            cost = entry_cost if is_told else self.BOOK_COST
            costs = {Way.WORDS: by_words, Way.ORDERING: part * last * cost}
        if narrowed and not any(map(is_late, books.query.where.children)):
            costs[Way.OTHERS] = share * (last * entry_cost + self.BOOK_COST * held)
        return min(costs, key=costs.__getitem__)

    def _last_book(self) -> int:
        return select("SELECT MAX(book_id) FROM library_bookword")[0][0] or 0

    def _ask(self, books: models.QuerySet, hits: list[int]) -> tuple[int, int]:
        """How many of some of these books meet the other conditions, and of how many."""
        asked = hits[:: len(hits) // self.ASKED_BOOKS + 1]
        return books.order_by().filter(pk__in=asked).count(), len(asked)

    def _sample(self, terms: list[Term], last: int) -> tuple[int, list[int], int]:
        """About how many rows the rarest has, some books that seem to have all, of how many each.

        From a sample of the catalogue, which grows until enough rows are in it: some windows of
        ids, in which the primary key finds the rows of each rank. Many words have too many ranges.
        The newest books are in none of them, for a condition on a time holds for all of these.
        """
        if not last:  # deleted meanwhile
            return 0, [], 1
        rarest, *others = terms
        if len(rarest.ids) > self.MAX_SAMPLED_WORDS:
            found = self._in_the_newest_books(terms)
            scale = max(last // self.SAMPLE_BOOKS, 1)
            return len(found[0]) * scale, sorted(set.intersection(*found)), scale
        hit = " AND ".join(["1 = 1", *(term.allowed("bloom_low", "bloom_high") for term in others)])
        ranks = ", ".join(map(str, range(1, AUTHOR_RANK + 1)))
        windows = max(self.SAMPLE_WINDOWS // len(rarest.ids), 1)
        step = max(last // windows, 1)
        width = step if rarest.rows is not None else min(self.SAMPLE_BOOKS // windows, step)
        while True:
            starts = range(1 + (step - width) // 2, last + 1, step)
            ids = " OR ".join(f"book_id BETWEEN {id_} AND {id_ + width - 1}" for id_ in starts)
            rows = select(
                f"SELECT book_id, {hit} FROM library_bookword"  # nosec
                f" WHERE {rarest.among()} AND `rank` IN ({ranks}) AND ({ids})"
            )
            if len(rows) >= self.MIN_SAMPLE_ROWS or width == step:
                scale = max(step // width, 1)
                return len(rows) * scale, [book for book, hit in rows if hit], scale
            width = min(width * self.SAMPLE_GROWTH, step)

    def order_by_rarity(self, terms: list[Term]) -> tuple[list[Term], bool]:
        """The terms, rarest first, and whether many books clearly have all of them.

        Rows of rare words are counted, those of frequent words only in the newest books. If the
        rarest is still too frequent to sort the rows of its forms, it counts as typed only, and a
        beginning word by word.
        """
        many = False
        if len(terms) > 1:
            counts = self._counts(terms, self.MAX_RARE_ROWS)
            many = min(counts) == self.MAX_RARE_ROWS
            if many:
                found = self._in_the_newest_books(terms)
                # A term that Bloom filters are not asked for is better the first.
                costs = [1 if term.stems else self.BOOK_COST for term in terms]
                counts = [len(books) // cost for books, cost in zip(found, costs, strict=True)]
                many = len(set.intersection(*found)) * 100 >= self.SAMPLE_BOOKS
            else:
                terms = [replace(term, rows=rows) for term, rows in zip(terms, counts, strict=True)]
            terms = [terms[i] for i in sorted(range(len(terms)), key=counts.__getitem__)]
        rarest = terms[0]
        if rarest.rows is None and len(rarest.ids) > 1:
            [rows] = self._counts([rarest], self.MAX_SORTED_ROWS + 1)
            if rows > self.MAX_SORTED_ROWS:
                ids = [rarest.typed] if rarest.typed else rarest.ids
                terms = [replace(rarest, ids=ids, too_many=True), *terms[1:]]
        return terms, many

    def _counts(self, terms: list[Term], most: int) -> list[int]:
        counts = (
            f"(SELECT COUNT(*) FROM (SELECT 1 FROM library_bookword WHERE {term.among()}"  # nosec
            f" LIMIT {most}) some)"
            for term in terms
        )
        return list(select(f"SELECT {', '.join(counts)}")[0])

    def _in_the_newest_books(self, terms: list[Term]) -> list[set[int]]:
        words = ", ".join(str(word) for term in terms for word in term.ids)
        has = ", ".join(f"({term.among()})" for term in terms)
        # ABS keeps SQLite on the index by book; otherwise it reads all rows of the words.
        rows = select(
            f"SELECT book_id, {has} FROM library_bookword WHERE book_id >"  # nosec
            f" (SELECT MAX(book_id) FROM library_bookword) - {self.SAMPLE_BOOKS}"
            f" AND ABS(word_id) IN ({words})"
        )
        return [{book for book, *found in rows if found[i]} for i in range(len(terms))]


class BookWord(models.Model):
    """A word of a book, with its rank.

    The primary key, by which InnoDB clusters the rows, is also the order of relevance: rank 1 is
    a title of one word, 2 a title of two, …, 9 a longer title, 10 the author.

    Without foreign keys in the database: to check them took a fifth of its work for an import.
    Rows are written and deleted under the lock of their book, and no word is ever deleted;
    verify_index finds what SQL of others did.
    """

    LONG_TITLE_RANK = LONG_TITLE_RANK
    AUTHOR_RANK = AUTHOR_RANK
    COLUMNS = ("word_id", "rank", "book_id", *BLOOM)

    pk = models.CompositePrimaryKey("word_id", "rank", "book_id")
    word = models.ForeignKey(
        Word, models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    rank = models.PositiveSmallIntegerField()
    book = models.ForeignKey(
        "library.Book", models.CASCADE, related_name="words", db_index=False, db_constraint=False
    )
    # As the book's: a search for several words reads the rows of one, and looks up few books.
    bloom_low = models.BigIntegerField(db_default=ANY_WORD, editable=False)
    bloom_high = models.BigIntegerField(db_default=ANY_WORD, editable=False)

    objects = BookWordQuerySet.as_manager()

    class Meta:
        # The rank is for SQLite; InnoDB adds it anyway.
        indexes = [models.Index(fields=["book", "word", "rank"], name="library_bookword_book_word")]

    def __str__(self) -> str:
        return f"{self.word_id} {self.rank} {self.book_id}"

    @classmethod
    def ranked_words(cls, book: "Book") -> set[tuple[str, int]]:
        title = words_of(book.title)
        rank = min(len(title), cls.LONG_TITLE_RANK)
        return {(word, rank) for word in title} | {
            (word, cls.AUTHOR_RANK) for word in words_of(book.author)
        }
