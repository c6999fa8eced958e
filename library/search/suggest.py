"""What a search that found nothing may have meant: the nearest known words."""

import re
from collections import Counter
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.db.models import Count
from rapidfuzz.distance import OSA

from .models import BookWord, Word, select
from .terms import Part, Term
from .words import words_of

if TYPE_CHECKING:
    from library.models import Book, BookQuerySet

MIN_LETTERS = 4
MIN_LETTERS_OF_TWO_ERRORS = 9
COMMON_LETTERS = 4  # at the beginning of a word with two errors
MAX_COMPARED_WORDS = 5000
MAX_BOOKS = 2000
MAX_RAREST_WORDS = 16
MAX_UNKNOWN_WORDS = 3
MAX_AUTHOR_WORDS = 8
MAX_AUTHORS = 10
ALPHABETS = ("abcdefghijklmnopqrstuvwxyz", "абвгдежзиклмнопрстуфхцчшщъыьэюя")
# The keys of a Russian keyboard under the characters of an English one.
KEYS = "qwertyuiop[]asdfghjkl;'zxcvbnm,.`"
RUSSIAN_KEYS = "йцукенгшщзхъфывапролджэячсмитьбюё"
LAYOUTS = (str.maketrans(KEYS, RUSSIAN_KEYS), str.maketrans(RUSSIAN_KEYS, KEYS))
TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def suggestion(text: str, books: "BookQuerySet") -> str:
    """What the search may have meant, if that finds something; else empty."""
    return corrected(text, books) or in_the_other_layout(text, books)


def in_the_other_layout(text: str, books: "BookQuerySet") -> str:
    """What the same keys write on a Russian keyboard, or on an English one."""
    for layout in LAYOUTS:
        meant = text.lower().translate(layout)
        try:
            if (
                len(text) >= MIN_LETTERS
                and meant != text.lower()
                and books.search(meant, ranked=False).exists()
            ):
                return meant
        except ValidationError:
            continue
    return ""


def corrected(text: str, books: "BookQuerySet") -> str:
    """The search with its unknown words replaced by the nearest known ones."""
    words = list(dict.fromkeys(words_of(text)))
    try:
        terms = dict(zip(words, Word.objects.resolve(words), strict=True))
    except ValidationError:
        return ""
    unknown = [word for word, term in terms.items() if term.typed is None and word.isalpha()]
    if not 1 <= len(unknown) <= MAX_UNKNOWN_WORDS:
        return ""
    meant = {word: found for word in unknown if (found := nearest(word))}
    sought = [
        Term(None, sorted(meant[word].values())) if word in meant else term
        for word, term in terms.items()
        if word.isalpha()  # a number may be the year
    ]
    if not meant or not all(term.ids for term in sought):
        return ""
    book, chosen = together(sought, meant)
    if book is None:
        return ""
    spelled = tokens(f"{book.title} {book.author}")
    typed = tokens(text)
    meant_text = " ".join(
        spelled.get(chosen[word], chosen[word]).lower() if word in chosen else typed.get(word, word)
        for word in words
    )
    return meant_text if books.search(meant_text, ranked=False).exists() else ""


def together(
    terms: list[Term], meant: dict[str, dict[str, int]]
) -> tuple["Book | None", dict[str, str]]:
    """The corrections that most books have together, and one of these books."""
    from library.models import Book

    texts = {pk: text for found in meant.values() for text, pk in found.items()}
    rows = BookWord.objects.filter(word__in=texts)
    best: tuple[int, ...] = ()
    if len(terms) == 1:
        counted = rows.order_by().values_list("word").annotate(books=Count("rank"))
        best = tuple(counted.order_by("-books").values_list("word", flat=True)[:1])
        ids = list(rows.filter(word__in=best).values_list("book", flat=True)[:1])
    else:
        held = books_of_the_rarest(terms)
        counts: Counter[tuple[int, ...]] = Counter()
        for words in held.values():
            if all(words & {*term.ids} for term in terms):
                counts.update(product(*(words & {*found.values()} for found in meant.values())))
        best = next((combination for combination, _count in counts.most_common(1)), ())
        ids = [pk for pk, words in held.items() if words >= {*best}][:1]
    book = Book.objects.filter(pk__in=ids).first() if best else None
    return book, {word: texts[pk] for word, pk in zip(meant, best, strict=False)}


def books_of_the_rarest(terms: list[Term]) -> dict[int, set[int]]:
    """Which of the terms' words the first books of the rarest term have, each of its words alike."""
    rarest = BookWord.objects.order_by_rarity(terms)[0][0].ids[:MAX_RAREST_WORDS]
    ids = {
        book
        for word in rarest
        for book in BookWord.objects.filter(word=word)
        .order_by("word", "rank", "book")
        .values_list("book", flat=True)[: MAX_BOOKS // len(rarest)]
    }
    every = {word for term in terms for word in term.ids}
    held: dict[int, set[int]] = {}
    for book, word in BookWord.objects.filter(book__in=ids, word__in=every).values_list(
        "book", "word"
    ):
        held.setdefault(book, set()).add(word)
    return held


def tokens(text: str) -> dict[str, str]:
    """How each word is written in a text, by its folded form."""
    return {word: token for token in TOKEN.findall(text) for word in words_of(token)}


def nearest(word: str) -> dict[str, int]:
    """Known words with one error less, or of long words two; the ids by the text."""
    if len(word) < MIN_LETTERS:
        return {}
    found = Word.objects.known([near for near in one_error_from(word) if len(near) >= MIN_LETTERS])
    if found or len(word) < MIN_LETTERS_OF_TWO_ERRORS:
        return found
    beginning = word[:COMMON_LETTERS]
    alike = Word.objects.filter(text__gte=beginning, text__lt=beginning + "\U0010ffff")
    rows = alike.order_by("text").values_list("text", "pk")[:MAX_COMPARED_WORDS]
    return {text: pk for text, pk in rows if OSA.distance(word, text, score_cutoff=2) <= 2}


def one_error_from(word: str) -> set[str]:
    """Every text with a letter missing, added, changed or exchanged with its neighbour."""
    letters = next((alphabet for alphabet in ALPHABETS if word[0] in alphabet), "")
    cuts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    return {
        *(a + b[1:] for a, b in cuts if b),
        *(a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1),
        *(a + c + b[1:] for a, b in cuts if b for c in letters),
        *(a + c + b for a, b in cuts for c in letters),
    } - {word}


def authors_like(text: str) -> list[str]:
    """Authors with these words, the last of which may be incomplete; those of most books first."""
    from library.models import Book

    words = list(dict.fromkeys(words_of(text)))[:MAX_AUTHOR_WORDS]
    try:
        terms = [replace(term, part=Part.AUTHOR) for term in Word.objects.resolve(words)]
    except ValidationError:
        return []
    if not terms or not all(term.ids for term in terms):
        return []
    ordered, _many = BookWord.objects.order_by_rarity(terms)
    found = BookWord.objects.books_with(ordered)
    ids = [pk for (pk,) in select(f"{found} LIMIT {MAX_BOOKS}")]
    counts = Counter(Book.objects.filter(pk__in=ids).values_list("author", flat=True))
    return [name for name, _count in counts.most_common(MAX_AUTHORS)]
