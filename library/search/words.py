"""How text becomes the words that the search index holds."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

import snowballstemmer

MAX_WORD_LENGTH = 64
# Han and kana are written without spaces: each character is a word.
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+"
)
LATIN_WORD = re.compile("[a-z]{3,}")
CYRILLIC_WORD = re.compile("[а-я]{3,}")
VOWEL_AND_I = re.compile("(?<=[аеиоуыэюя])и")
ENGLISH = snowballstemmer.stemmer("english")
RUSSIAN = snowballstemmer.stemmer("russian")
APOSTROPHES = re.compile("['’ʼ`´]")


def words_of(text: str) -> list[str]:
    """The words in order, folded: no case, accents or apostrophes (O’Brien becomes obrien)."""
    return [*_words_of(text)]


@lru_cache(maxsize=4096)  # a batch of books, whose words are needed twice
def _words_of(text: str) -> tuple[str, ...]:
    plain = APOSTROPHES.sub("", text)
    if plain.isascii():
        plain = plain.lower()
    else:
        folded = unicodedata.normalize("NFKD", plain).casefold()
        plain = "".join(c for c in folded if not unicodedata.combining(c))
        plain = unicodedata.normalize("NFC", plain)
    words = WORD.findall(plain)
    return tuple(word[:MAX_WORD_LENGTH] for word in words)


@lru_cache(maxsize=65_536)
def stem_of(word: str) -> str:
    """What the forms of a folded word have in common, in English or Russian by its script."""
    if LATIN_WORD.fullmatch(word):
        return ENGLISH.stemWord(word)
    if CYRILLIC_WORD.fullmatch(word):
        # Folding made й an и, by which the stemmer would not know an ending such as -ый.
        return RUSSIAN.stemWord(VOWEL_AND_I.sub("й", word))
    return word


def bloom_mask(stem: str) -> tuple[int, int]:
    """The bits of a stem in the two halves of a book's Bloom filter, three in each.

    63 bits a half, because SQLite's integers are signed. Of the books without a word, 1 in 400
    seems to have it.
    """
    number = int.from_bytes(blake2b(stem.encode(), digest_size=8).digest())
    bits = [number >> shift & 0x3FF for shift in range(0, 60, 10)]
    low, high = ({1 << bit % 63 for bit in half} for half in (bits[:3], bits[3:]))
    return sum(low), sum(high)


@lru_cache(maxsize=65_536)
def _mask_of(word: str) -> tuple[int, int]:
    return bloom_mask(stem_of(word))


def bloom_of(words: Iterable[str]) -> tuple[int, int]:
    """A book's Bloom filter: the masks of all its words."""
    low = high = 0
    for in_low, in_high in map(_mask_of, words):
        low |= in_low
        high |= in_high
    return low, high
