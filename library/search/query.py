"""Finding books by their words, their year or their ISBN."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Self

from django.core.exceptions import EmptyResultSet, ValidationError
from django.db.models import Case, CharField, ExpressionWrapper, F, IntegerField, Q, Value, When
from django.db.models.expressions import RawSQL
from django.utils.translation import gettext as _

from library.isbn import beginning_of_isbn, looks_like_isbn, normalise, with_leading_zeros
from project.base.keyset import NO_LIMIT, PART, Reading, is_late
from project.base.versioned import VersionedQuerySet

from .models import BLOOM, BookWord, Way, Word, select
from .terms import AUTHOR_RANK, Condition, Part, Term
from .words import stem_of, words_of

if TYPE_CHECKING:
    from library.models import Book  # noqa: F401

YEAR = re.compile("1[0-9]{3}|20[0-9]{2}")
IN_PART = {
    Part.ANY: Q(),
    Part.TITLE: Q(words__rank__lt=AUTHOR_RANK),
    Part.AUTHOR: Q(words__rank=AUTHOR_RANK),
}


@dataclass(frozen=True)
class YearOrWord:
    """A number among the words: the year of publication, or a word such as 1984."""

    year: int
    word: Term

    def books(self) -> Q:
        has_word = Condition(self.word.of_book("{0}"), "pk", late=True)
        return Q(publication_year=self.year) | Q(has_word)


class SearchQuerySet(VersionedQuerySet["Book"]):
    MAX_WORDS = 40
    MAX_IDS = 3000  # in one IN (…)
    MAX_LISTED_IDS = 500  # that are cheaper to list than to ask for again
    reading = Reading()

    def search(
        self, text: str = "", ranked: bool = True, title: str = "", author: str = ""
    ) -> Self:
        """The book with this ISBN, or the books with all these words, best matches first.

        Words of the text count in all their forms, those of title and author as they are given, in
        that field. ranked=False finds the same books for a list in another order, as does a search
        without a text. Raises ValidationError by parameter, called search, title or author: for a
        mistyped ISBN, for too many words, and where too many begin like the last.
        """
        # All at once, for how a page is found soonest depends on all of them.
        with naming("title"):
            terms = self._exactly(title, Part.TITLE)
        with naming("author"):
            terms += self._exactly(author, Part.AUTHOR)
        if terms and not text:
            return self._with_all(terms)
        with naming("search"):
            if (books := self._with_isbn(text, ranked)) is not None:
                return books._with_all(terms) if terms else books
            return self._with_words(text, ranked, terms)

    def _with_words(self, text: str, ranked: bool, terms: list[Term]) -> Self:
        if not (words := self._words(text)):
            return self.none()
        found = Word.objects.resolve(words)
        years = years_among(words, found)
        others = [term for word, term in zip(words, found, strict=True) if word not in years]
        if not others and len(years) > 1:  # "1914 1918": all are words
            others, years = found, {}
        if not others and not terms:
            return self._of_year(years[words[0]], ranked)
        terms = others + terms
        books = self if ranked else self._with_all(terms)
        for year in years.values():
            books = books._narrowed(year)
        return books._ranked(terms) if ranked else books

    def _exactly(self, text: str, part: Part) -> list[Term]:
        words = self._words(text)
        if text and not words:
            return [Term(None, [])]  # which nothing has
        known = Word.objects.known(words)
        ids = {word: [known[word]] if word in known else [] for word in words}
        return [Term(known.get(w), ids[w], frozenset([stem_of(w)]), part) for w in words]

    def _words(self, text: str) -> list[str]:
        words = list(dict.fromkeys(words_of(text)))
        if len(words) > self.MAX_WORDS:
            raise ValidationError(
                _("Search for at most %(most)d words."),
                code="too_long",
                params={"most": self.MAX_WORDS},
            )
        return words

    def _with_isbn(self, text: str, ranked: bool) -> Self | None:
        """Unless the text is none."""
        if beginning := beginning_of_isbn(text):
            return self._isbn_beginning_with(beginning, ranked)
        if looks_like_isbn(text):
            return self.filter(isbn=normalise(text))
        completed = with_leading_zeros(text)
        if completed and self._rows().filter(isbn=completed).exists():  # whatever the filters
            return self.filter(isbn=completed)
        return None

    def _isbn_beginning_with(self, digits: str, ranked: bool) -> Self:
        # Not startswith, whose LIKE BINARY reads MySQL's whole index; and as plain text, because
        # the field takes only whole numbers.
        books = self.alias(_isbn=ExpressionWrapper(F("isbn"), CharField()))
        found = books.filter(_isbn__gte=digits, _isbn__lt=digits + "a")  # letters follow digits
        return found.order_by("isbn") if ranked else found

    def _of_year(self, year: YearOrWord, ranked: bool) -> Self:
        """Books with the number in the title or the author, then those published in that year."""
        rows = BookWord.objects.filter(word__in=year.word.ids)
        ids = rows.order_by("word", "rank", "book").values_list("book", flat=True)
        by_word = set(ids[: self.MAX_IDS + 1])
        if len(by_word) > self.MAX_IDS:
            return self._ranked([year.word]) if ranked else self._with_all([year.word])
        of_word, of_year = Q(pk__in=by_word), Q(publication_year=year.year)
        books = self.filter(of_year | of_word)
        books.reading = replace(self.reading, parts=(of_word, of_year & ~of_word))
        if not ranked:
            return books
        part = Case(When(of_word, then=0), default=1) if by_word else Value(1)
        return books.alias(**{PART: part}).order_by(PART, "title", "pk")

    def _narrowed(self, year: YearOrWord) -> Self:
        """By the ids where they are few: no ordering has to look for them."""
        most = self.MAX_IDS + 1
        by_year = self.order_by().filter(publication_year=year.year)
        by_word = BookWord.objects.filter(word__in=year.word.ids)
        ids = {
            *by_year.values_list("pk", flat=True)[:most],
            *by_word.values_list("book", flat=True)[:most],
        }
        return self.filter(pk__in=ids) if len(ids) < most else self.filter(year.books())

    def _ranked(self, terms: list[Term]) -> Self:
        """In the order of the primary key of the rarest word's rows, which is that of relevance.

        If it has several forms, the rows as typed come first.
        """
        if not all(term.ids for term in terms):
            return self.none()
        terms, _many = BookWord.objects.order_by_rarity(terms)
        rarest, *others = terms
        # Named after the term: if another has become the rarest, of another word or of the same
        # in another part, an old cursor must not continue in its order.
        key = f"_{rarest.part.name}{rarest.typed or rarest.ids[0]}"
        row = ["words__book", "words__rank", "words__word"]
        if len(rarest.ids) == 1 or rarest.too_many:
            form: Any = F("words__word")
            key += "s" * rarest.too_many
            better = "(own.word_id, own.`rank`) < ({2}, {1})"
        else:
            # 0 for the word as it was typed, 1 for its other forms.
            typed = f"({{0}} <> {rarest.typed})" if rarest.typed else "1"
            form = Condition(typed, "words__word", output_field=IntegerField())
            key += "_forms" if rarest.typed else "_longer"
            row += ["version"]
            # MySQL is to check this after sorting, only for the books of one page: so it names a
            # column of the book.
            better = "(own.`rank` >= 0 OR own.`rank` = {3}) AND "
            better += f"({typed.format('own.word_id')}, own.`rank`, own.word_id) < "
            better += f"({typed.format('{2}')}, {{1}}, {{2}})"
        conditions = [Q(words__word__in=rarest.ids), IN_PART[rarest.part]]
        is_walk = False
        if self.query.where and (len(rarest.ids) == 1 or rarest.too_many):
            way = BookWord.objects.soonest(self, terms, by_relevance=True)
            is_walk = way is not Way.WORDS
            if way is Way.OTHERS and len(ids := self._ids_with(terms)) <= self.MAX_IDS:
                conditions, is_walk = [*conditions, Q(pk__in=ids)], False
        for term in others:
            blooms = (f"words__{half}" for half in BLOOM)
            conditions += [Q(Condition(term.allowed("{0}", "{1}"), *blooms))]
            conditions += [Q(Condition(term.of_book("{0}"), "words__book"))]
        # Once per book, even if it has several of the words, or one in title and author.
        first = f"(EXISTS (SELECT 1 {rarest.rows_of('{0}')} AND {better}) = 0)"  # nosec
        conditions += [Q(Condition(first, *row))]
        books = self.filter(*conditions)
        books = books.annotate(**{key: form}, _rank=F("words__rank"), _id=F("words__book"))
        if is_walk:
            books.reading = replace(self.reading, driving_table=BookWord._meta.db_table)
        return books.order_by(key, "_rank", "_id")

    def _with_all(self, terms: list[Term]) -> Self:
        """For any ordering: a few books are found by their words or by the other conditions, and
        sorted; of many, a page soon turns up along the ordering's own index, which tells most of
        the others by itself."""
        if not all(term.ids for term in terms):
            return self.none()
        words = BookWord.objects
        terms, many = words.order_by_rarity(terms)
        found = words.books_allowed(terms)
        if len(terms) == 1:
            rows = select(f"{found} LIMIT {self.MAX_LISTED_IDS + 1}")
            if len(rows) <= self.MAX_LISTED_IDS:
                return self.filter(pk__in={pk for (pk,) in rows})
        has = having(terms)
        way = words.soonest(self, terms, many)
        if way is Way.ORDERING:
            books = self.filter(*allowing(terms), *has).reading_ids_first(*BLOOM)
        elif way is Way.OTHERS:
            candidates = self.filter(*allowing(terms)).order_by().values("pk")[:NO_LIMIT]
            try:
                books = self.filter(*has, pk__in=ids_by(*candidates.query.sql_with_params()))
            except EmptyResultSet:
                return self.none()
        else:
            books = self.filter(*has[1:], pk__in=ids_by(f"{found} LIMIT {NO_LIMIT}"))
        few = way is not Way.ORDERING or self.reading.few
        books.reading = replace(books.reading, few=few)
        # Late conditions last: what an index entry answers spares asking them.
        books.query.where.children.sort(key=is_late)
        return books

    def _ids_with(self, terms: list[Term]) -> list[int]:
        """Of at most one more than MAX_IDS, found by the other conditions."""
        books = self.order_by().filter(*allowing(terms), *having(terms))
        return list(books.values_list("pk", flat=True)[: self.MAX_IDS + 1])

    def reading_ids_first(self, *fields: str) -> Self:
        """For conditions on these fields, which the index of an ordering answers by itself."""
        books = self._chain()  # type: ignore[attr-defined]
        books.reading = replace(self.reading, ids_first=self.reading.ids_first | {*fields})
        return books

    def _clone(self) -> Self:
        clone = super()._clone()  # type: ignore[misc]
        clone.reading = self.reading
        return clone


def allowing(terms: list[Term]) -> list[Condition]:
    return [Condition(term.allowed("{0}", "{1}"), *BLOOM) for term in terms]


def having(terms: list[Term]) -> list[Condition]:
    return [Condition(term.of_book("{0}"), "pk", late=True) for term in terms]


def ids_by(sql: str, parameters: Sequence[Any] = ()) -> RawSQL:
    """These ids, found before all else: the statement has a limit."""
    return RawSQL(f"SELECT * FROM ({sql}) found", parameters)  # nosec


@contextmanager
def naming(parameter: str) -> Iterator[None]:
    """Attribute errors to this parameter."""
    try:
        yield
    except ValidationError as error:
        raise ValidationError({parameter: error}) from None


def years_among(words: list[str], terms: list[Term]) -> dict[str, YearOrWord]:
    latest = date.today().year + 1
    return {
        word: YearOrWord(int(word), term)
        for word, term in zip(words, terms, strict=True)
        if YEAR.fullmatch(word) and int(word) <= latest
    }
