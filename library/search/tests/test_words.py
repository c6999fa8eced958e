import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from library.search.words import MAX_WORD_LENGTH, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    {
        "Harry Potter and the Half-Blood Prince": "harry potter and the half blood prince",
        "O’Brien's  Ulysses (1922), #2": "obriens ulysses 1922 2",
        "Les Misérables": "les miserables",
        "Straße STRASSE": "strasse strasse",
        "Мастер и Маргарита. Ёлка": "мастер и маргарита елка",
        "ﬁnance": "finance",
        "snake_case": "snake case",
        "吾輩は猫": "吾 輩 は 猫",
        "한국어 책": "한국어 책",
        "İstanbul": "istanbul",
        "?!… —": "",
        "": "",
    }.items(),
)
def test_words_are_folded(text, words):
    assert words_of(text) == words.split()


@given(st.text(st.characters(codec="utf-8")))
@example("ΰ" * 70)
@example("ẞ" * 64)
def test_folding_is_stable_short_and_blind_to_form_and_case(text):
    words = words_of(text)
    assert all(0 < len(word) <= MAX_WORD_LENGTH for word in words)
    assert words_of(unicodedata.normalize("NFC", text)) == words
    assert words_of(unicodedata.normalize("NFD", text)) == words
    assert words_of(" ".join(words)) == words
