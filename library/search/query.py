"""Finding books by their words or their ISBN."""

from typing import TYPE_CHECKING, Self

from django.core.exceptions import ValidationError
from django.db.models import F, OuterRef, Q
from django.utils.translation import gettext as _

from library.isbn import looks_like_isbn, normalise
from project.base.versioned import VersionedQuerySet

from .models import BookWord, Word, exists_per_row
from .words import words_of

if TYPE_CHECKING:
    from library.models import Book  # noqa: F401


class SearchQuerySet(VersionedQuerySet["Book"]):
    MAX_WORDS = 40
    MAX_IDS = 3000  # in one IN (…)

    def search(self, text: str, ranked: bool = True) -> Self:
        """The book with this ISBN, or the books with all these words, best matches first.

        ranked=False finds the same books for a list in another order. Raises ValidationError for
        a mistyped ISBN, and TooManyWordsError.
        """
        if looks_like_isbn(text):
            return self.filter(isbn=normalise(text))
        terms = Word.objects.resolve(self._words(text))
        if not terms or not all(terms):
            return self.none()
        return self._ranked(terms) if ranked else self._with_all(terms)

    def with_title_words(self, text: str) -> Self:
        return self._with_words(text, rank__lt=BookWord.AUTHOR_RANK)

    def with_author_words(self, text: str) -> Self:
        return self._with_words(text, rank=BookWord.AUTHOR_RANK)

    def _with_words(self, text: str, **rank: int) -> Self:
        words = self._words(text)
        known = Word.objects.known(words)
        if not words or len(known) < len(words):
            return self.none()
        return self._with_all([[known[word]] for word in words], **rank)

    def _words(self, text: str) -> list[str]:
        words = list(dict.fromkeys(words_of(text)))
        if len(words) > self.MAX_WORDS:
            raise ValidationError(
                _("Search for at most %(most)d words."),
                code="too_long",
                params={"most": self.MAX_WORDS},
            )
        return words

    def _ranked(self, terms: list[list[int]]) -> Self:
        """In the order of the primary key of the rarest word's rows, which is that of relevance."""
        (rarest, *others), many = BookWord.objects.order_by_rarity(terms)
        # Named after the word: if another word has become the rarest, an old cursor must not
        # continue in its order.
        word = f"_word{rarest[0]}"
        books = self.filter(words__word__in=rarest).annotate(
            **{word: F("words__word"), "_rank": F("words__rank"), "_id": F("words__book")}
        )
        # Once per book, even if title and author share the word.
        better = Q(word__in=rarest[:1], rank__lt=OuterRef("_rank"))
        if len(rarest) > 1:
            better = Q(word__in=rarest) & (
                Q(word__lt=OuterRef(word)) | Q(word=OuterRef(word), rank__lt=OuterRef("_rank"))
            )
        rows = BookWord.objects.filter(book=OuterRef("_id"))
        for term in others:
            books = books.filter(exists_per_row(rows.filter(word__in=term)))
        books = books.filter(exists_per_row(rows.filter(better), exist=False))
        return books.order_by(word, "_rank", "_id")

    def _with_all(self, terms: list[list[int]], **rank: int) -> Self:
        """For any ordering: a few books are selected by id and sorted; of many, a page soon turns
        up along the ordering's own index."""
        terms, many = BookWord.objects.order_by_rarity(terms, **rank)
        if not many:
            ids = BookWord.objects.books_with(terms, **rank)[: self.MAX_IDS + 1]
            if len(ids) <= self.MAX_IDS:
                return self.filter(pk__in=set(ids))
        books = self
        for term in terms:
            same_book = BookWord.objects.filter(word__in=term, book=OuterRef("pk"), **rank)
            books = books.filter(exists_per_row(same_book))
        return books
