"""The values of a row: repaired and counted, or refused in words."""

import pytest

from library.models import Book
from library.tests.books import SPELLINGS, THE_BOOK, add, isbn_number

from .command import FIELDS, HEADER, OTHERS, ROW, counts, imported, in_batches_of, reason, refused

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


# --- ISBN ---


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_the_same_book(spelling):
    book = add(isbn=THE_BOOK)
    imported(HEADER, f"Emma,Jane Austen,1815,{spelling}")
    assert Book.objects.get().pk == book.pk


@pytest.mark.parametrize(
    ("isbn", "says"),
    [
        ("9783161484101", "check digit should be 0, not 1"),
        ("3161484109", "check digit should be X, not 9"),
        ("123456", "this one has 6"),
        ("12345678", "zeros restored (0012345678): The check digit should be 9, not 8"),
        ("9.78043902348e+12", "a spreadsheet has rounded it"),
        ("9,78044E+12", "a spreadsheet has rounded it"),
        ("", "no ISBN"),
        ("   ", "no ISBN"),
        ("n/a", "found “n”"),
    ],
)
def test_a_bad_isbn_is_refused_in_words(isbn, says):
    assert says in reason(f'Emma,Jane Austen,1815,"{isbn}"')
    assert not Book.objects.exists()


@pytest.mark.parametrize("text", ["439023483", "61120081", "7442912", "0439023483", "439023483.0"])
def test_lost_leading_zeros_are_restored_and_counted(text):
    output = imported(HEADER, f"Title,Author,2008,{text}")
    assert counts(output)["new"] == 1
    lost = len(text.removesuffix(".0")) < 10
    assert ("ISBN: leading zeros restored (1)" in output) == lost
    assert ("ISBN written as 9780306406157.0 (1)" in output) == (text == "439023483.0")


def test_the_first_valid_of_several_columns_wins():
    output = imported(
        "title,author,year,isbn,isbn13,isbn10",
        f"A,B,2000,,{THE_BOOK},",
        "C,D,2000,439023483,9.78043902348e+12,",
        "E,F,2000,9783161484101,,0-306-40615-2",
        f"G,H,2000,2-07-036024-8,978-2-07-036024-6,{'2070360245'}",
    )
    assert set(Book.objects.values_list("isbn", flat=True)) >= {
        THE_BOOK,
        "9780439023481",
        "9780306406157",
    }
    assert counts(output)["new"] >= 3
    assert "wrong ISBN beside a valid one ignored (" in output


@pytest.mark.parametrize(
    "isbns",
    ["0-306-40615-2, 978-0-306-40615-7", "9780306406157/0306406152", "0306406152; 123456",
     "0-306-40615-2 (в пер.)", "978-0-306-40615-7 (hardback)", "9780306406157,9780306406157"],
)  # fmt: skip
def test_an_isbn_is_found_beside_others_and_notes_in_its_cell(isbns):
    imported(HEADER, f'A,B,2000,"{isbns}"')
    assert Book.objects.get().isbn == "9780306406157"


@pytest.mark.parametrize(
    "cells", [f"{THE_BOOK},{isbn_number(7)}", f'"{THE_BOOK}, {isbn_number(7)}",']
)
def test_two_valid_but_different_isbns_refuse_the_row(cells):
    imported("title,author,year,isbn,isbn13", f"A,B,2000,{cells}")
    assert refused()[0]["refused because"] == (
        f"two different ISBNs: {THE_BOOK} and {isbn_number(7)}"
    )


def test_the_same_isbn_with_the_same_data_counts_as_same():
    assert counts(imported(HEADER, ROW, ROW)) == {
        "read": 2, "new": 1, "changed": 0, "same": 1, "refused": 0,
    }  # fmt: skip


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("other", OTHERS, ids=FIELDS)
def test_the_same_isbn_with_other_data_is_refused_naming_the_earlier_row(monkeypatch, size, other):
    in_batches_of(size, monkeypatch)
    assert reason(ROW, other) == "row 2 has the same ISBN but other data"
    assert Book.objects.values_list(*FIELDS).get() == ("Emma", "Jane Austen", 1815)


@pytest.mark.parametrize(
    ("row", "moved"),
    [("Emma,Jane", "Emm,aJane"), ('"Emma\nor",Jane', 'Emma,"or\nJane"')],
)
def test_what_moves_from_the_title_to_the_author_is_other_data(row, moved):
    rows = [f"{each},1815,{THE_BOOK}" for each in (row, moved)]
    assert reason(*rows) == "row 2 has the same ISBN but other data"


def test_a_refused_row_does_not_take_its_isbn():
    imported(HEADER, ROW.replace("1815", ""), ROW)
    assert Book.objects.get().title == "Emma"


# --- Other values ---


@pytest.mark.parametrize("year", ["1815.0", "1815,0", "1815.", " 1815 "])
def test_years_from_spreadsheets_are_read(year):
    imported(HEADER, f'Emma,Jane Austen,"{year}",{THE_BOOK}')
    assert Book.objects.get().publication_year == 1815


@pytest.mark.parametrize(
    ("year", "says"),
    [
        ("", "no publication year"),
        ("0", "greater than or equal to 1"),
        ("-720.0", "years start at 1"),
        ("3000", "can’t be later than"),
        ("99999999999999999", "can’t be later than"),
        ("1815.5", "“1815.5” is not a year"),
        ("c1815", "“c1815” is not a year"),
        ("1_815", "is not a year"),
        ("１８１５", "is not a year"),
    ],
)
def test_a_bad_year_is_refused_in_words(year, says):
    assert says in reason(f"Emma,Jane Austen,{year},{THE_BOOK}")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (f",Jane Austen,1815,{THE_BOOK}", "no title"),
        (f"Emma,   ,1815,{THE_BOOK}", "no author"),
        (f"{'x' * 501},Jane Austen,1815,{THE_BOOK}", "at most 500 characters (it has 501)"),
        (f"Emma,{'Ж' * 742},1815,{THE_BOOK}", "at most 500 characters (it has 742)"),
        (f"Em\x00ma,Jane Austen,1815,{THE_BOOK}", "Null characters are not allowed"),
    ],
)
def test_a_bad_text_is_refused_in_words(row, says):
    assert says in reason(row)
    assert not Book.objects.exists()


def test_500_characters_are_kept_whole():
    imported(HEADER, f"{'Ж' * 500},{'😀' * 500},1815,{THE_BOOK}")
    book = Book.objects.get()
    assert (book.title, book.author) == ("Ж" * 500, "😀" * 500)


def test_all_reasons_of_a_row_are_listed():
    assert reason(",,0,123").split(" | ") == [
        "no title",
        "no author",
        "ISBN “123”: An ISBN has 10 or 13 digits; this one has 3.",
        "publication year: Ensure this value is greater than or equal to 1.",
    ]


def test_outer_spaces_are_removed_and_counted_and_inner_ones_kept():
    output = imported(HEADER, f'" Emma","Jane  Austen ",1815,{THE_BOOK}')
    book = Book.objects.get()
    assert (book.title, book.author) == ("Emma", "Jane  Austen")
    assert "title: spaces at the ends removed (1)" in output
    assert "author: spaces at the ends removed (1)" in output


def test_repairs_of_refused_rows_are_not_counted():
    assert "Repaired" not in imported(HEADER, " Emma,Jane Austen,1815.0,")
