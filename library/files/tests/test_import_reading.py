"""How the command import_books reads a file: columns, encodings, shapes."""

import random
from pathlib import Path

import pytest
from django.core.management import CommandError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from library.models import Book
from library.tests.books import THE_BOOK, isbn_number

from .command import HEADER, ROW, counts, imported, reason, refused, run, write

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


# --- Columns ---


@pytest.mark.parametrize(
    "header",
    [
        "title,authors,original_publication_year,isbn13",
        "Title,Author,Year,ISBN-13",
        "Название;Автор;Год издания;ISBN",
        "Наименование книги;Ф.И.О. автора;Год изд.;ISBN/ISSN",
        "  Book Title |Writer|Published| isbn10 ",
        "Заглавие\tАвторы\tГод\tisbn",
        '"title","author","publication year","isbn"',
    ],
)
def test_headers_and_delimiters_are_guessed(header):
    delimiter = next(d for d in "\t|;," if d in header)
    imported(header, ROW.replace(",", delimiter))
    assert Book.objects.get().title == "Emma"


@pytest.mark.parametrize(
    ("given", "delimiter"), [("tab", "\t"), ("\\t", "\t"), ("\t", "\t"), (":", ":")]
)
def test_a_delimiter_may_be_given(given, delimiter):
    write(HEADER.replace(",", delimiter), ROW.replace(",", delimiter))
    assert counts(run("books.csv", delimiter=given))["new"] == 1
    assert Book.objects.get().title == "Emma"


def test_a_given_delimiter_overrides_the_header():
    name = write("title,author,publication_year,isbn;a;b", ROW)
    with pytest.raises(CommandError, match="No column looks like the title"):
        run(name, delimiter=";")


def test_columns_may_be_given_and_others_are_ignored():
    output = imported(
        "id,original_title,title,who,when,code",
        f"1,Emma,Emma (Penguin),Jane Austen,1815,{THE_BOOK}",
        column=["title=original_title", "author=WHO", "publication_year=when", "isbn=code"],
    )
    assert Book.objects.get().title == "Emma"
    assert "title <- original_title" in output


def test_several_columns_may_be_given_for_the_isbn():
    imported(
        "title,author,year,a,b",
        f"Emma,Jane Austen,1815,,{THE_BOOK}",
        column=["isbn=a", "isbn=b"],
    )
    assert Book.objects.get().isbn == THE_BOOK


@pytest.mark.parametrize(
    ("header", "options", "says"),
    [
        ("title,author,year", {}, "--column isbn=COLUMN. The file has: title, author, year."),
        ("a,b,c,d", {}, "--column title=COLUMN"),
        (HEADER, {"column": ["title=name"]}, "There is no column “name”; the file has: title, "),
        (HEADER, {"column": ["titel=title"]}, "fields are title, author, publication_year, isbn"),
        (HEADER, {"column": ["title"]}, "write it as FIELD=COLUMN"),
        (HEADER, {"column": ["title=title", "title=author"]}, "given twice"),
        (f"{HEADER},Title", {}, "Two columns are called “title”"),
        (HEADER, {"encoding": "klingon"}, "no encoding called “klingon”"),
        (HEADER, {"encoding": "hex"}, "no encoding called “hex”"),
        (HEADER, {"delimiter": ",,"}, "no delimiter"),
        (HEADER, {"delimiter": '"'}, "no delimiter"),
        (HEADER, {"delimiter": "\n"}, "no delimiter"),
        (HEADER, {"delimiter": "\r"}, "no delimiter"),
        ('title,"author', {}, "The first row is not a CSV header"),
        ("\n" * 20, {}, "The first rows are blank."),
        ("x" * 2**20, {}, "longer than 1 MiB"),
    ],
)
def test_what_stops_the_import_is_reported_in_one_line(header, options, says):
    with pytest.raises(CommandError) as error:
        imported(header, ROW, **options)
    assert says in str(error.value)
    assert "\n" not in str(error.value)[:-1]
    assert "What was done" not in str(error.value)
    assert not Book.objects.exists()


def test_a_header_in_another_encoding_asks_for_it():
    name = write("Название,Автор,Год,ISBN", ROW, encoding="cp1251")
    with pytest.raises(CommandError, match="The first row is not UTF-8: give the right --encoding"):
        run(name)
    assert counts(run(name, encoding="cp1251"))["new"] == 1


def test_a_file_that_cannot_be_opened_is_said(folder):
    for name, says in {"absent.csv": "No such file", ".": "Is a directory"}.items():
        with pytest.raises(CommandError, match=says):
            run(name)
    (folder / "empty.csv").touch()
    with pytest.raises(CommandError, match="The file is empty"):
        run("empty.csv")


# --- Encodings and shapes ---


@pytest.mark.parametrize(
    ("encoding", "options"),
    [
        ("utf-8", {}),
        ("utf-8-sig", {}),
        ("utf-16", {}),
        ("utf-8-sig", {"encoding": "cp1251"}),
        ("cp1251", {"encoding": "cp1251"}),
        ("utf-16-le", {"encoding": "utf-16-le"}),
    ],
)
def test_encodings(encoding, options):
    name = write(HEADER, f"Идиот,Фёдор Достоевский,1869,{THE_BOOK}", encoding=encoding)
    run(name, **options)
    assert Book.objects.get().author == "Фёдор Достоевский"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system(end):
    run(write(HEADER, ROW, end=end))
    assert Book.objects.get().publication_year == 1815


def test_a_last_line_without_end_is_read(folder):
    (folder / "books.csv").write_text(f"{HEADER}\n{ROW}")
    assert counts(run("books.csv"))["new"] == 1


def test_bad_bytes_refuse_their_row_and_are_kept(folder):
    bad = b"Caf\xe9,Jane Austen,1815," + isbn_number(1).encode()
    (folder / "books.csv").write_bytes(b"\n".join([HEADER.encode(), bad, ROW.encode()]))
    assert counts(run("books.csv")) == {"read": 2, "new": 1, "changed": 0, "same": 0, "refused": 1}
    assert "not UTF-8" in refused()[0]["refused because"]
    assert b"Caf\xe9" in (folder / "books.refused.csv").read_bytes()


@pytest.mark.parametrize("row", ["Emma", f"{ROW},more", "Emma,Jane Austen,1815"])
def test_a_ragged_row_is_refused(row):
    assert "the header has 4" in reason(row)


def test_row_numbers_are_those_of_a_spreadsheet():
    output = imported(HEADER, "", '"two\nlines",A,2000,', ",,,", "No ISBN,A,2000,")
    assert [row["refused row"] for row in refused()] == ["3", "5"]
    assert refused()[0]["title"] == "two\nlines"
    assert "Blank rows skipped: 2" in output


def test_a_quote_that_is_not_closed_costs_its_row_only():
    rows = [f"T{n},A,2000,{isbn_number(n)}" for n in range(5)]
    output = imported(HEADER, *rows[:2], f'"Open,A,2000,{THE_BOOK}', *rows[2:])
    assert counts(output) == {"read": 6, "new": 5, "changed": 0, "same": 0, "refused": 1}
    text = Path("books.refused.csv").read_text(encoding="utf-8-sig")
    assert text.splitlines()[1] == f'4,its quotes are not well-formed,"Open,A,2000,{THE_BOOK}'


def test_quotes_within_quotes_are_not_guessed_at():
    assert reason(f'"She said "no" once",A,2000,{THE_BOOK}') == "its quotes are not well-formed"
    output = run("books.refused.csv", refused=Path("again.csv"))
    assert counts(output)["refused"] == 1
    assert Path("again.csv").read_text(encoding="utf-8-sig").splitlines()[1] == (
        f'2,its quotes are not well-formed,"She said "no" once",A,2000,{THE_BOOK}'
    )


class TestAnyFile(TestCase):
    @settings(max_examples=150, deadline=None)
    @given(
        st.binary(max_size=200)
        | st.lists(st.text('abc",;\n\r\0 9ЖX', max_size=30), max_size=5).map(
            lambda rows: "\n".join([HEADER, ROW, *rows]).encode()
        )
    )
    def test_any_bytes_are_imported_or_refused_without_a_crash(self, content):
        Path("any.csv").write_bytes(content)
        try:
            output = run("any.csv", delimiter=random.choice(["", ","]))
        except CommandError:
            return
        total = counts(output)
        assert total["read"] == sum(total.values()) - total["read"]
