from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import connections, models, transaction
from django.db.models import Exists, F, Max, OuterRef, Q, Value
from django.db.models.functions import Abs, Length
from django.db.models.lookups import Exact, Range
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.utils.translation import gettext_lazy as _

from project.base.fields import AlphabeticCharField, BinaryCharField
from project.base.versioned import VersionedModel, VersionedQuerySet

from .isbn import IsbnField, hyphenated, looks_like_isbn, normalise
from .words import words_of

T = TypeVar("T")


def latest_year() -> int:
    return date.today().year + 1


def not_after_next_year(year: int) -> None:
    if year > (latest := latest_year()):
        raise ValidationError(
            _("A publication year is at most %(latest)d."),
            code="max_value",
            params={"latest": latest},
        )


class TooManyWords(ValidationError):
    """The beginning of a word fits more words than a search can look up."""

    def __init__(self, beginning: str) -> None:
        super().__init__(
            _("Too many words begin with “%(beginning)s”: type more letters."),
            code="too_short",
            params={"beginning": beginning},
        )


class WordQuerySet(models.QuerySet["Word"]):
    MOST_COMPLETIONS = 500

    def ids_of(self, texts: Collection[str]) -> dict[str, int]:
        """The id of each text, adding the words that are new."""
        known = self.known(texts)
        if missing := sorted(set(texts) - known.keys()):  # one order for all: no deadlocks
            self.bulk_create([Word(text=text) for text in missing], ignore_conflicts=True)  # type: ignore[misc]
            known |= self.known(missing)
        return known

    def known(self, texts: Collection[str]) -> dict[str, int]:
        return {
            text: pk
            for batch in batches(sorted(set(texts)), 900)
            for text, pk in self.filter(text__in=batch).values_list("text", "pk")
        }

    def meant_by(self, words: Sequence[str]) -> list[list[int]]:
        """For each word the ids that it stands for.

        The last word counts as a beginning where the catalogue does not know it as a whole.
        """
        known = self.known(words)
        meant = [[known[word]] if word in known else [] for word in words]
        if words and not meant[-1]:
            meant[-1] = self.beginning_with(words[-1])
        return meant

    def beginning_with(self, beginning: str) -> list[int]:
        fitting = self.filter(text__gte=beginning, text__lt=beginning + "\U0010ffff")
        ids = list(fitting.values_list("pk", flat=True)[: self.MOST_COMPLETIONS + 1])
        if len(ids) > self.MOST_COMPLETIONS:
            raise TooManyWords(beginning)
        return ids


class Word(models.Model):
    """A folded word of any title or author (see words.py)."""

    text = BinaryCharField(max_length=64, unique=True)

    objects = WordQuerySet.as_manager()

    def __str__(self) -> str:
        return self.text


class BookQuerySet(VersionedQuerySet["Book"]):
    MOST_WORDS = 40
    FEW = 3000  # so many ids are named one by one

    def search(self, text: str, ranked: bool = True) -> "BookQuerySet":
        """The book with this ISBN, else the books with all these words, best matches first.

        RANKED=False finds the same books for a list that is sorted in another way.
        Raises ValidationError for an ISBN with a mistake in it, and for TooManyWords.
        """
        if looks_like_isbn(text):
            return self.filter(isbn=normalise(text))
        terms = Word.objects.meant_by(self._words(text))
        if not terms or not all(terms):
            return self.none()
        return self._ranked(terms) if ranked else self._with_all(terms)

    def with_title_words(self, text: str) -> "BookQuerySet":
        return self._with_words(text, rank__lt=BookWord.AUTHOR)

    def with_author_words(self, text: str) -> "BookQuerySet":
        return self._with_words(text, rank=BookWord.AUTHOR)

    def _with_words(self, text: str, **place: int) -> "BookQuerySet":
        words = self._words(text)
        known = Word.objects.known(words)
        if not words or len(known) < len(words):
            return self.none()
        return self._with_all([[known[word]] for word in words], **place)

    def _words(self, text: str) -> list[str]:
        words = list(dict.fromkeys(words_of(text)))
        if len(words) > self.MOST_WORDS:
            raise ValidationError(
                _("Search for at most %(most)d words."),
                code="too_long",
                params={"most": self.MOST_WORDS},
            )
        return words

    def _ranked(self, terms: list[list[int]]) -> "BookQuerySet":
        """Along the primary key of the rarest word's rows, which is the order of relevance."""
        (rarest, *others), _many = BookWord.objects.survey(terms)
        # Named by the word: a cursor must not go on in the order of another one, should that
        # have become the rarest meanwhile.
        word = f"_word{rarest[0]}"
        books = self.filter(words__word__in=rarest).annotate(
            **{word: F("words__word"), "_rank": F("words__rank"), "_id": F("words__book")}
        )
        # Once per book, though the word may stand in its title and be its author's name.
        better = Q(word__in=rarest[:1], rank__lt=OuterRef("_rank"))
        if len(rarest) > 1:
            better = Q(word__in=rarest) & (
                Q(word__lt=OuterRef(word)) | Q(word=OuterRef(word), rank__lt=OuterRef("_rank"))
            )
        places = BookWord.objects.filter(book=OuterRef("_id"))
        for term in others:
            books = books.filter(tested(places.filter(word__in=term)))
        books = books.filter(tested(places.filter(better), exist=False))
        return books.order_by(word, "_rank", "_id")  # type: ignore[misc]

    def _with_all(self, terms: list[list[int]], **place: int) -> "BookQuerySet":
        """For any ordering: few books are named by their ids, to be sorted; where there are
        many, a page of them is soon met on the way along the ordering's own index."""
        terms, many = BookWord.objects.survey(terms, **place)
        if not many:
            ids = BookWord.objects.books_with(terms, **place)[: self.FEW + 1]
            if len(ids) <= self.FEW:
                return self.filter(pk__in=set(ids))
        books = self
        for term in terms:
            same_book = BookWord.objects.filter(word__in=term, book=OuterRef("pk"), **place)
            books = books.filter(tested(same_book))
        return books

    def in_batches(self, size: int = 1000) -> Iterator[list["Book"]]:
        """All books by id, in memory of one batch (a MySQL cursor would hold all of them)."""
        books: BookQuerySet = self.order_by("pk")
        last = 0
        while batch := list(books.filter(pk__gt=last)[:size]):
            yield batch
            last = batch[-1].pk

    # Every way to write books keeps their words, in one transaction.

    def bulk_create(  # type: ignore[override]
        self, objs: Iterable["Book"], *args: Any, **kwargs: Any
    ) -> list["Book"]:
        with transaction.atomic(using=self.db):
            books = super().bulk_create(objs, *args, **kwargs)  # type: ignore[arg-type]
            ids: dict[str, int] = {}
            # Read again: MySQL does not return the ids, and on a conflict the stored title may
            # be another one than that of the object.
            for batch in batches([book.isbn for book in books], 900):
                stored = list(self.model.objects.filter(isbn__in=batch))
                BookWord.objects.index(stored)
                ids |= {book.isbn: book.pk for book in stored}
            for book in books:
                book.pk = ids[book.isbn]
        return books  # type: ignore[return-value]

    bulk_create.alters_data = True  # type: ignore[attr-defined]

    def update(self, **kwargs: Any) -> int:
        """Also what bulk_update() calls."""
        if not kwargs.keys() & {"title", "author"}:
            return super().update(**kwargs)
        with transaction.atomic(using=self.db):
            ids = list(self.values_list("pk", flat=True))
            changed = super().update(**kwargs)
            for batch in batches(ids, 900):
                BookWord.objects.index(self.model.objects.filter(pk__in=batch))
        return changed

    update.alters_data = True  # type: ignore[attr-defined]


class Book(VersionedModel):
    """One title in the catalogue, known to the world by its ISBN."""

    title = AlphabeticCharField(_("title"), max_length=500)
    author = AlphabeticCharField(_("author"), max_length=500)
    publication_year = models.PositiveSmallIntegerField(
        _("publication year"), validators=[MinValueValidator(1), not_after_next_year]
    )
    isbn = IsbnField(
        _("ISBN"),
        unique=True,
        error_messages={"unique": _("A book with this ISBN is in the catalogue already.")},
    )
    created_at = models.DateTimeField(_("added"), auto_now_add=True)

    objects = BookQuerySet.as_manager()

    class Meta:
        verbose_name = _("book")
        verbose_name_plural = _("books")
        ordering = ["title", "pk"]  # pk makes pages stable when titles repeat
        indexes = [
            # One per ordering and range filter of the API and the admin; InnoDB adds the id.
            models.Index(fields=["title"], name="library_book_title"),
            models.Index(fields=["author"], name="library_book_author"),
            models.Index(fields=["publication_year"], name="library_book_year"),
            models.Index(fields=["created_at"], name="library_book_created"),
            models.Index(fields=["updated_at"], name="library_book_updated"),
        ]
        constraints = [
            models.CheckConstraint(
                name="library_book_publication_year_range",
                condition=Q(publication_year__gte=1, publication_year__lte=9999),
                violation_error_message=_("A publication year is from 1 to 9999."),
            ),
            models.CheckConstraint(
                name="library_book_title_length",
                condition=Range(Length("title"), (1, 500)),
                violation_error_message=_("A title has 1 to 500 characters."),
            ),
            models.CheckConstraint(
                name="library_book_author_length",
                condition=Range(Length("author"), (1, 500)),
                violation_error_message=_("An author has 1 to 500 characters."),
            ),
            models.CheckConstraint(
                name="library_book_isbn_13_digits",
                condition=Q(isbn__regex=r"^97[89][0-9]{10}$"),
                violation_error_message=_("An ISBN is stored as 13 digits."),
            ),
            models.CheckConstraint(
                name="library_book_isbn_no_music_number",
                condition=~Q(isbn__regex=r"^9790"),
                violation_error_message=_("979-0 begins a music number (ISMN), which is no ISBN."),
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def hyphenated_isbn(self) -> str:
        return hyphenated(self.isbn)


@receiver(post_save, sender=Book)
def index_words(
    instance: Book, update_fields: Collection[str] | None = None, **kwargs: Any
) -> None:
    # A signal, for loaddata does not call save().
    if update_fields is None or {"title", "author"} & set(update_fields):
        BookWord.objects.index([instance])


class BookWordQuerySet(models.QuerySet["BookWord"]):
    RARE = 1000
    SAMPLE = 1000

    def index(self, books: Iterable[Book]) -> None:
        """Make the words of these saved books those of their present titles and authors."""
        wanted = {book.pk: BookWord.places(book) for book in books}
        ids = Word.objects.ids_of({text for places in wanted.values() for text, _ in places})
        due = {(ids[text], rank, book) for book, places in wanted.items() for text, rank in places}
        held = {
            row
            for batch in batches(list(wanted), 900)
            for row in self.filter(book__in=batch).values_list("word_id", "rank", "book_id")
        }
        for batch in batches(sorted(held - due), 300):  # SQLite's limit of an OR is 1,000
            self.filter(pk__in=batch).delete()
        self.insert(sorted(due - held))

    def insert(self, rows: list[tuple[int, int, int]]) -> None:
        """Add rows of word, rank and book."""
        # Not bulk_create(): eight small rows per book are most of the work of an import.
        database = connections[self.db]
        names = [str(field.column) for field in self.model._meta.concrete_fields]
        table, *columns = map(database.ops.quote_name, [self.model._meta.db_table, *names])
        with database.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES (%s, %s, %s)", rows
            )

    def books_with(self, terms: list[list[int]], **place: int) -> models.QuerySet[Any, int]:
        """The ids of books with all TERMS, of which the first is the rarest."""
        rarest, *others = terms
        hits = self.filter(word__in=rarest, **place)
        for term in others:
            hits = hits.filter(tested(self.filter(word__in=term, book=OuterRef("book"), **place)))
        # From the long titles: where there are many hits, they are met sooner there.
        return hits.order_by("-word", "-rank", "-book").values_list("book", flat=True)

    def survey(self, terms: list[list[int]], **place: int) -> tuple[list[list[int]], bool]:
        """TERMS from the rarest on, and whether it is plain that many books have them all.

        The rows of rare words are counted, those of frequent ones only in the newest books.
        """
        if len(terms) == 1:
            return terms, False
        counts = [self.filter(word__in=ids, **place)[: self.RARE].count() for ids in terms]
        many = min(counts) == self.RARE
        if many:
            newest = self.aggregate(Max("book"))["book__max"]
            words = {word for ids in terms for word in ids}
            # Abs: along the index by book; SQLite would rather read all rows of the words.
            sample = (
                self.filter(book__gt=newest - self.SAMPLE, **place)
                .alias(number=Abs("word", output_field=models.BigIntegerField()))
                .filter(number__in=words)
            )
            rows = list(sample.values_list("book", "word"))
            found = [{book for book, word in rows if word in ids} for ids in terms]
            counts = [len(books) for books in found]
            many = len(set.intersection(*found)) * 100 >= self.SAMPLE
        return [terms[i] for i in sorted(range(len(terms)), key=counts.__getitem__)], many


class BookWord(models.Model):
    """A word's place in a book.

    The primary key, by which InnoDB clusters the rows, is also the order of relevance: rank 1 is
    a title of one word, rank 2 one of two, …, 9 a longer one, 10 the author.
    """

    LONG_TITLE = 9
    AUTHOR = 10

    pk = models.CompositePrimaryKey("word_id", "rank", "book_id")
    word = models.ForeignKey(Word, models.PROTECT, related_name="+", db_index=False)
    rank = models.PositiveSmallIntegerField()
    book = models.ForeignKey(Book, models.CASCADE, related_name="words", db_index=False)

    objects = BookWordQuerySet.as_manager()

    class Meta:
        # With the rank for SQLite; InnoDB would add it anyway.
        indexes = [models.Index(fields=["book", "word", "rank"], name="library_bookword_book_word")]

    def __str__(self) -> str:
        return f"{self.word_id} {self.rank} {self.book_id}"

    @classmethod
    def places(cls, book: Book) -> set[tuple[str, int]]:
        title = words_of(book.title)
        rank = min(len(title), cls.LONG_TITLE)
        return {(word, rank) for word in title} | {
            (word, cls.AUTHOR) for word in words_of(book.author)
        }


def tested(rows: BookWordQuerySet, exist: bool = True) -> Exact:
    """Whether ROWS exist, tested book by book.

    As a bare EXISTS it may become a join, in an order that MySQL and SQLite guess wrongly.
    """
    return Exact(Exists(rows), Value(exist))


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
