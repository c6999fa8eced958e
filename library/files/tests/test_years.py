"""Years as catalogues write them: repaired and counted, or refused with the reason."""

from collections import Counter

import pytest

from library.files.entries import book_of
from library.files.importing import Books
from library.tests.books import THE_BOOK
from project.imports.columns import choose_columns
from project.imports.records import Entry, RefusedError


def year(text: str) -> tuple[int, list[str]]:
    repairs: Counter[str] = Counter()
    texts = {"title": ["A"], "author": ["B"], "publication_year": [text], "isbn": [THE_BOOK]}
    return book_of(Entry(2, ["A"], texts), repairs).publication_year, list(repairs)


@pytest.mark.parametrize(
    "text",
    ["1972 г.", "1972г", "1972 год", "[1972]", "(1972)", "[1972?]", "1972?", "c. 1972", "C.1972",
     "ca. 1972", "circa 1972", "ок. 1972", "Ок. 1972 г.", "около 1972", "um 1972", "[c. 1972]",
     "[ок. 1972 г.]", "c. [1972]", "1972.", "©1972", "© 1972", "cop. 1972"],
)  # fmt: skip
def test_a_year_in_the_words_of_catalogues_is_read_and_counted(text):
    found, repairs = year(text)
    assert found == 1972
    assert len(repairs) == 1


@pytest.mark.parametrize("text", ["1999-12-31", "31.12.1999", "12/31/1999"])
def test_a_full_date_gives_its_year(text):
    assert year(text) == (1999, ["year taken from a full date"])


@pytest.mark.parametrize("text", ["1972", "800", "+1972"])
def test_a_plain_year_needs_no_repair(text):
    assert year(text) == (int(text), [])


@pytest.mark.parametrize(
    "text",
    ["44 BC", "44BC", "44 B.C.", "44 BCE", "44 b.c.e.", "44 до н. э.", "44 г. до н.э.",
     "ок. 44 до н. э.", "44 до Р. Х.", "44 v. Chr.", "-44", "−44", "-44.0"],
)  # fmt: skip
def test_a_year_bc_is_refused_with_that_reason(text):
    with pytest.raises(RefusedError) as refused:
        year(text)
    assert refused.value.reasons == [f"publication year: “{text}” is BC, and years start at 1"]


@pytest.mark.parametrize("text", ["c1972", "1972-1975", "1972/73", "19??", "12345?", "c. 12"])
def test_what_may_be_another_year_is_not_guessed_at(text):
    with pytest.raises(RefusedError):
        year(text)


@pytest.mark.parametrize(
    "header",
    [
        ["Titel", "Autor", "Jahr", "ISBN"],
        ["Buchtitel", "Verfasser", "Erscheinungsjahr", "ISBN-Nr."],
        ["Haupttitel", "Verfasser/in", "Ersch.-Jahr", "ISBN-Nr."],
        ["Haupttitel:", "Autorin", "Veröffentlichungsjahr", "isbn_13"],
        ["Заглавие", "Авторы", "Год издания", "ISBN"],
        ["Заглавие", "Автор (ы)", "Год изд.", "ISBN"],
        ["Title:", "Author(s)", "Year", "ISBN"],
        ["Book Title", "Writer", "Year_of-Publication", "ISBN10"],
    ],
)
def test_headers_of_three_languages_are_recognised(header):
    assert choose_columns(Books(), header) == {
        "title": [0], "author": [1], "publication_year": [2], "isbn": [3],
    }  # fmt: skip
