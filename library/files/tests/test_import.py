import csv
import io
import os
import random
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from library.files import importing
from library.management.commands import import_books
from library.models import Book, BookQuerySet
from library.tests.books import SPELLINGS, THE_BOOK, add, index_is_right, isbn_number
from project.base.history import undo
from project.imports.batches import Result
from project.imports.records import Entry

pytestmark = pytest.mark.django_db

HEADER = "title,author,publication_year,isbn"
ROW = f"Emma,Jane Austen,1815,{THE_BOOK}"
FIELDS = ("title", "author", "publication_year")
OTHERS = [ROW.replace("Emma", "EMMA"), ROW.replace("Jane", "J."), ROW.replace("1815", "1816")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(*rows: str, name: str = "books.csv", encoding: str = "utf-8", end: str = "\n") -> str:
    Path(name).write_bytes("".join(row + end for row in rows).encode(encoding))
    return name


def run(*arguments: Any, **options: Any) -> str:
    out = io.StringIO()
    call_command("import_books", *arguments, stdout=out, **options)
    return out.getvalue()


def counts(output: str) -> dict[str, int]:
    line = next(line for line in output.splitlines() if line.startswith("read: "))
    return {name: int(n) for name, n in (part.split(": ") for part in line.split(", "))}


def imported(*rows: str, **options: Any) -> str:
    return run(write(*rows), **options)


def refused(name: str = "books.refused.csv") -> list[dict[str, str]]:
    with open(name, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def in_batches_of(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    smaller = partial(importing.import_entries, batch_size=size)
    monkeypatch.setattr(import_books, "import_entries", smaller)


def reason(*rows: str) -> str:
    """Why the last row is refused, under the usual header."""
    imported(HEADER, *rows)
    last = refused()[-1]
    assert int(last["refused row"]) == len(rows) + 1
    return last["refused because"]


# --- Counts ---


def test_new_books_are_added_with_their_words():
    output = imported(HEADER, ROW, f"Persuasion,Jane Austen,1817,{isbn_number(1)}")
    for other in ("Nothing has changed", "Refused rows", "Repaired", "Blank", "dry run"):
        assert other not in output
    assert counts(output) == {"read": 2, "new": 2, "changed": 0, "same": 0, "refused": 0}
    book = Book.objects.get(isbn=THE_BOOK)
    assert (book.title, book.author, book.publication_year) == ("Emma", "Jane Austen", 1815)
    assert Book.objects.search("austen").count() == 2
    assert index_is_right()
    assert os.listdir() == ["books.csv"]


def test_the_same_file_twice_changes_nothing_and_says_so():
    imported(HEADER, ROW)
    before = Book.objects.get()
    output = run("books.csv")
    assert counts(output) == {"read": 1, "new": 0, "changed": 0, "same": 1, "refused": 0}
    assert "\nNothing has changed.\n" in f"\n{output}"
    after = Book.objects.get()
    assert (after.pk, after.updated_at) == (before.pk, before.updated_at)


@pytest.mark.parametrize(("row", "field"), list(zip(OTHERS, FIELDS, strict=True)), ids=FIELDS)
def test_a_row_that_changes_one_column_is_a_change(row, field):
    imported(HEADER, ROW)
    past = timezone.now() - timedelta(days=9)
    Book.objects.update(updated_at=past, version=5)
    before = Book.objects.values(*FIELDS).get()
    output = imported(HEADER, row)
    assert counts(output) == {"read": 1, "new": 0, "changed": 1, "same": 0, "refused": 0}
    assert "Nothing has changed" not in output
    book = Book.objects.get()
    assert book.version == 6
    after = {name: getattr(book, name) for name in FIELDS}
    assert {name for name in FIELDS if after[name] != before[name]} == {field}
    assert ",".join(map(str, after.values())) in row
    assert book.updated_at > past
    assert index_is_right()


def test_only_changed_rows_are_written():
    imported(HEADER, ROW, f"Persuasion,Jane Austen,1817,{isbn_number(1)}")
    past = timezone.now() - timedelta(days=9)
    Book.objects.update(updated_at=past, created_at=past)
    ids = dict(Book.objects.values_list("isbn", "pk"))
    output = imported(
        HEADER, ROW.replace("Emma", "EMMA"), f"Persuasion,Jane Austen,1817,{isbn_number(1)}"
    )
    assert counts(output) == {"read": 2, "new": 0, "changed": 1, "same": 1, "refused": 0}
    changed, same = Book.objects.get(isbn=THE_BOOK), Book.objects.get(isbn=isbn_number(1))
    assert changed.title == "EMMA"
    assert changed.updated_at > past == same.updated_at
    assert changed.created_at == same.created_at == past
    assert dict(Book.objects.values_list("isbn", "pk")) == ids


def test_the_words_follow_a_changed_title():
    add(isbn=THE_BOOK, title="Wrong Name")
    imported(HEADER, ROW)
    assert Book.objects.search("emma").count() == 1
    assert not Book.objects.search("wrong")
    assert index_is_right()


def test_a_dry_run_counts_the_same_and_writes_no_book():
    changed = add(isbn=THE_BOOK, title="Stored")
    rows = [HEADER, ROW, f"New,Author,2000,{isbn_number(10**6)}", "No ISBN,Author,2000,"]
    rehearsal = imported(*rows, dry_run=True)
    assert "no book was written" in rehearsal
    assert list(Book.objects.values_list("pk", "title")) == [(changed.pk, "Stored")]
    assert len(refused()) == 1
    assert counts(rehearsal) == counts(run("books.csv"))


def test_batches_are_upserted_with_a_constant_number_of_queries():
    def queries(count: int) -> int:
        rows = [f"Title {n},Author {n},2000,{isbn_number(n)}" for n in range(count)]
        with CaptureQueriesContext(
            connection,
        ) as captured:
            imported(HEADER, *rows)
        return len(captured)

    few = queries(5)
    Book.objects.all().delete()
    assert queries(60) == few


def test_many_changes_of_one_batch_cost_few_queries():
    rows = [f"Title {n},Author,2000,{isbn_number(n)}" for n in range(100)]
    imported(HEADER, *rows)
    with CaptureQueriesContext(connection) as captured:
        output = imported(HEADER, *(row.replace("Title", "Name") for row in rows))
    assert counts(output)["changed"] == 100
    assert len(captured) < 20
    assert index_is_right()


def failing_save(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> list[Exception]:
    """Each save raises the next error; returns the errors still to be raised."""
    left = list(errors)
    save = importing.save

    def failing(*args: Any) -> Any:
        if left:
            raise left.pop(0)
        return save(*args)

    monkeypatch.setattr(importing, "save", failing)
    return left


@pytest.mark.parametrize(
    "error", [OperationalError(1213, "Deadlock"), IntegrityError(1062, "Duplicate entry")]
)
def test_a_save_is_tried_five_times(monkeypatch, error):
    failing_save(monkeypatch, *[error] * 4)
    assert counts(imported(HEADER, ROW))["new"] == 1
    left = failing_save(monkeypatch, *[error] * 6)
    with pytest.raises(CommandError, match=error.args[1]):
        imported(HEADER, ROW)
    assert len(left) == 1


def test_an_error_that_stays_is_not_tried_again(monkeypatch):
    failing_save(monkeypatch, OperationalError(1142, "denied"))
    with pytest.raises(CommandError, match="denied"):
        imported(HEADER, ROW)
    assert not Book.objects.exists()


def test_a_book_that_somebody_adds_meanwhile_is_updated(monkeypatch):
    create = BookQuerySet.bulk_create

    def overtaken(books: BookQuerySet, *args: Any, **kwargs: Any) -> list[Book]:
        if not Book.objects.exists():
            # Its row is rolled back with ours, so it is new again next time.
            monkeypatch.setattr(importing, "save", with_the_other)
            add(isbn=THE_BOOK, title="The Other's")
        return create(books, *args, **kwargs)

    def with_the_other(*args: Any) -> Any:
        add(isbn=THE_BOOK, title="The Other's")
        return save(*args)

    save = importing.save
    monkeypatch.setattr(BookQuerySet, "bulk_create", overtaken)
    assert counts(imported(HEADER, ROW))["changed"] == 1
    assert Book.objects.get().title == "Emma"


def test_a_batch_is_saved_whole_or_not_at_all(monkeypatch):
    add(isbn=THE_BOOK, title="Stored")
    create = BookQuerySet.bulk_create

    def failing(books: BookQuerySet, objs: list[Book], **kwargs: Any) -> list[Book]:
        if kwargs:  # the changed ones, which come after the new ones
            raise OperationalError(1142, "denied")
        return create(books, objs)

    monkeypatch.setattr(BookQuerySet, "bulk_create", failing)
    with pytest.raises(CommandError, match="denied"):
        imported(HEADER, ROW, f"New,A,2000,{isbn_number(10**6)}")
    assert Book.objects.get().title == "Stored"


def test_a_batch_has_at_most_a_thousand_rows():
    """However long a file is."""
    result = Result()
    blank = (Entry(row, []) for row in range(2, 5000))
    next(importing.import_entries(blank, print, result))
    assert (result.blank, result.last_row) == (1000, 1001)


@pytest.mark.mysql
def test_the_stored_books_of_a_batch_are_locked():
    add(isbn=THE_BOOK, title="Stored")
    with CaptureQueriesContext(connection) as queries:
        imported(HEADER, ROW)
    reads = [q["sql"] for q in queries if q["sql"].startswith("SELECT") and "`version`" in q["sql"]]
    assert "FOR UPDATE" in reads[0]


def test_a_deadlock_is_tried_again(monkeypatch):
    failures = [OperationalError(1213, "Deadlock found"), OperationalError(1205, "Lock wait")]
    save = importing.save

    def failing(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return save(*args)

    monkeypatch.setattr(importing, "save", failing)
    assert counts(imported(HEADER, ROW))["new"] == 1


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


# --- Refused rows ---


def test_refused_rows_can_be_corrected_and_imported_as_they_are():
    header = "title;authors;original_publication_year;isbn;note"
    imported(header, f'"A; B";C;;{THE_BOOK};"keep ""this"""', "D;E;2000;;")
    first, second = refused_with(";")
    assert first["note"] == 'keep "this"'
    assert list(first)[:2] == ["refused row", "refused because"]
    again = run("books.refused.csv")
    assert counts(again)["refused"] == 2
    assert list(refused_with(";", "books.refused.refused.csv")[0]) == list(first)
    text = Path("books.refused.csv").read_text(encoding="utf-8-sig")
    write(*text.replace("C;;", "C;1999;").split("\r\n"), name="books.refused.csv")
    assert counts(run("books.refused.csv"))["new"] == 1
    assert Book.objects.get().title == "A; B"


def refused_with(delimiter: str, name: str = "books.refused.csv") -> list[dict[str, str]]:
    with open(name, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def test_the_refused_rows_of_an_earlier_run_are_not_left():
    imported(HEADER, "No ISBN,A,2000,")
    assert Path("books.refused.csv").exists()
    imported(HEADER, ROW)
    assert not Path("books.refused.csv").exists()


def test_the_file_of_refused_rows_may_be_named(folder):
    output = imported(HEADER, "No ISBN,A,2000,", refused=Path("bad.csv"))
    assert refused("bad.csv")[0]["refused because"] == "no ISBN"
    assert "bad.csv" in output
    for name, says in {
        ".": "folder",
        "books.csv": "the file to import",
        str(folder / "books.csv"): "the file to import",
        "no/x.csv": "written",
    }.items():
        with pytest.raises(CommandError, match=says):
            run("books.csv", refused=Path(name))
    assert counts(run("books.csv"))["refused"] == 1


def test_refused_rows_go_to_the_current_folder(folder):
    (folder / "deep").mkdir()
    run(write(HEADER, "No ISBN,A,2000,", name="deep/list.csv"))
    assert sorted(os.listdir()) == ["deep", "list.refused.csv"]
    assert os.listdir("deep") == ["list.csv"]


def test_refused_rows_are_utf_8_with_a_byte_order_mark_whatever_the_file_was():
    run(write("title,author,year,isbn", "Идиот,Ф,1869,", encoding="cp1251"), encoding="cp1251")
    assert Path("books.refused.csv").read_bytes().startswith(b"\xef\xbb\xbfrefused row,")
    assert refused()[0]["title"] == "Идиот"


def test_a_file_with_only_a_header_imports_nothing():
    output = imported(HEADER)
    assert counts(output)["read"] == 0
    assert "Nothing has changed" not in output


def test_without_a_terminal_there_is_no_progress_bar(capsys):
    imported(HEADER, ROW)
    assert capsys.readouterr().err == ""


# --- Interruptions ---


@pytest.mark.parametrize(
    ("error", "says", "code"),
    [
        (KeyboardInterrupt(), "Interrupted", 130),
        (OperationalError(2006, "Server has gone away"), "gone away", 1),
    ],
)
def test_an_interruption_keeps_and_reports_what_was_done(monkeypatch, error, says, code):
    in_batches_of(2, monkeypatch)
    save = importing.save_books

    def interrupted(books: list[Book], dry_run: bool) -> tuple[int, int]:
        if Book.objects.count() == 2:
            raise error
        return save(books, dry_run)

    monkeypatch.setattr(importing, "save_books", interrupted)
    add(isbn=isbn_number(0))
    with pytest.raises(CommandError) as stop:
        imported(HEADER, *(f"T{n},A,2000,{isbn_number(n)}" for n in range(6)))
    assert says in str(stop.value)
    assert "up to row 3 is saved: 1 new and 1 changed books" in str(stop.value)
    assert stop.value.returncode == code
    assert Book.objects.count() == 2


def test_standard_input_is_read(monkeypatch, folder):
    name = write(HEADER, ROW)
    with open(name, "rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        assert counts(run("-"))["new"] == 1


def test_refused_rows_of_standard_input_have_a_name_too(monkeypatch):
    with open(write(HEADER, "No ISBN,A,2000,", name="any"), "rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        run("-")
    assert refused("books.refused.csv")[0]["title"] == "No ISBN"


def test_the_history_names_the_file_and_one_undo_takes_it_back():
    kept = add(title="Old", isbn=THE_BOOK)
    imported(HEADER, f"New,Ann,2001,{THE_BOOK}", f"Other,Ann,2001,{isbn_number(7)}")
    rows = Book.history.exclude(door="command").order_by("history_id")
    assert list(rows.values_list("door", "detail", "history_type")) == [
        ("import", "books.csv", "+"),
        ("import", "books.csv", "~"),
    ]
    undo(rows[0].batch)
    assert list(Book.objects.values_list("pk", "title")) == [(kept.pk, "Old")]
