from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models, router, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Length
from django.db.models.lookups import LessThanOrEqual
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.utils.translation import gettext_lazy as _

from project.fields import AlphabeticCharField, BinaryCharField

from .isbn import IsbnField, hyphenated, looks_like_isbn, normalise
from .words import words_of

T = TypeVar("T")


def not_after_next_year(year: int) -> None:
    if year > (latest := date.today().year + 1):
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
        known = self._known(texts)
        if missing := sorted(set(texts) - known.keys()):  # one order for all: no deadlocks
            self.bulk_create([Word(text=text) for text in missing], ignore_conflicts=True)
            known |= self._known(missing)
        return known

    def _known(self, texts: Collection[str]) -> dict[str, int]:
        return {
            text: pk
            for batch in batches(sorted(texts), 900)
            for text, pk in self.filter(text__in=batch).values_list("text", "pk")
        }

    def meant_by(self, words: Sequence[str]) -> list[list[int]]:
        """For each word the ids that it stands for.

        The last word counts as a beginning where the catalogue does not know it as a whole.
        """
        known = self._known(set(words))
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


class BookQuerySet(models.QuerySet["Book"]):
    def search(self, text: str) -> "BookQuerySet":
        """The book with this ISBN, else the books with all these words, best matches first.

        Raises ValidationError for an ISBN with a mistake in it and for TooManyWords.
        """
        if looks_like_isbn(text):
            return self.filter(isbn=normalise(text))
        terms = Word.objects.meant_by(words_of(text))
        if not terms or not all(terms):
            return self.none()
        rarest = BookWord.objects.rarest(terms)
        books = self.annotate(_word=F("words__word_id"), _rank=F("words__rank")).filter(
            _word__in=rarest
        )
        if len(rarest) == 1:
            repeated = Q(word_id=rarest[0], rank__lt=OuterRef("_rank"))
        else:
            repeated = Q(word_id__in=rarest) & (
                Q(word_id__lt=OuterRef("_word"))
                | Q(word_id=OuterRef("_word"), rank__lt=OuterRef("_rank"))
            )
        books = books.filter(~Exists(BookWord.objects.filter(repeated, book=OuterRef("pk"))))
        others = [term for term in terms if term is not rarest]
        return books._with(others).order_by("_word", "_rank", "pk")

    def with_title_words(self, text: str) -> "BookQuerySet":
        return self._with_all(text, rank__lt=BookWord.AUTHOR)

    def with_author_words(self, text: str) -> "BookQuerySet":
        return self._with_all(text, rank=BookWord.AUTHOR)

    def _with_all(self, text: str, **place: int) -> "BookQuerySet":
        words = words_of(text)
        known = Word.objects._known(set(words))
        if not words or not all(word in known for word in words):
            return self.none()
        return self._with([[known[word]] for word in words], **place)

    def _with(self, terms: Iterable[Collection[int]], **place: int) -> "BookQuerySet":
        books = self
        for ids in terms:
            hits = BookWord.objects.filter(book=OuterRef("pk"), word_id__in=ids, **place)
            books = books.filter(Exists(hits))
        return books

    def in_batches(self, size: int = 1000) -> Iterator[list["Book"]]:
        """All books by id, in memory of one batch (a MySQL cursor would hold all of them)."""
        books = self.order_by("pk")
        last = 0
        while batch := list(books.filter(pk__gt=last)[:size]):
            yield batch
            last = batch[-1].pk

    # Every way to write books keeps their words, in one transaction.

    def bulk_create(self, objs: Iterable["Book"], *args: Any, **kwargs: Any) -> list["Book"]:
        with transaction.atomic(using=self.db):
            books = super().bulk_create(objs, *args, **kwargs)
            if any(book.pk is None for book in books):  # MySQL does not return the ids
                isbns = [book.isbn for book in books]
                ids = dict(self.model.objects.filter(isbn__in=isbns).values_list("isbn", "pk"))
                for book in books:
                    book.pk = ids[book.isbn]
            BookWord.objects.index(books)
        return books

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


class Book(models.Model):
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
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

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
                condition=~Q(title="") & LessThanOrEqual(Length("title"), 500),
                violation_error_message=_("A title has 1 to 500 characters."),
            ),
            models.CheckConstraint(
                name="library_book_author_length",
                condition=~Q(author="") & LessThanOrEqual(Length("author"), 500),
                violation_error_message=_("An author has 1 to 500 characters."),
            ),
            models.CheckConstraint(
                name="library_book_isbn_13_digits",
                condition=Q(isbn__regex=r"^97[89][0-9]{10}$"),
                violation_error_message=_("An ISBN is stored as 13 digits."),
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def save(self, *args: Any, **kwargs: Any) -> None:
        with transaction.atomic(using=kwargs.get("using") or router.db_for_write(Book)):
            super().save(*args, **kwargs)  # with its words: index_words

    @property
    def hyphenated_isbn(self) -> str:
        return hyphenated(self.isbn)


@receiver(post_save, sender=Book)
def index_words(instance: Book, **kwargs: Any) -> None:
    # A signal, for loaddata does not call save().
    BookWord.objects.index([instance])


class BookWordQuerySet(models.QuerySet["BookWord"]):
    CLOSE_ENOUGH = 2000

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
        obsolete: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for word, rank, book in held - due:
            obsolete[book].append((word, rank))
        for book, places in obsolete.items():
            gone = Q()
            for word, rank in places:
                gone |= Q(word=word, rank=rank)
            self.filter(gone, book=book).delete()
        self.bulk_create([BookWord(word_id=w, rank=r, book_id=b) for w, r, b in sorted(due - held)])

    def rarest(self, terms: Sequence[list[int]]) -> list[int]:
        """The term with the fewest rows, counted no further than it matters."""
        if len(terms) == 1:
            return terms[0]
        return min(terms, key=lambda ids: self.filter(word__in=ids)[: self.CLOSE_ENOUGH].count())


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
        indexes = [models.Index(fields=["book", "word"], name="library_bookword_book_word")]

    def __str__(self) -> str:
        return f"{self.word_id} {self.rank} {self.book_id}"

    @classmethod
    def places(cls, book: Book) -> set[tuple[str, int]]:
        title = words_of(book.title)
        rank = min(len(title), cls.LONG_TITLE)
        return {(word, rank) for word in title} | {
            (word, cls.AUTHOR) for word in words_of(book.author)
        }


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
