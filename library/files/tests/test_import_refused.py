"""The file of refused rows that the command import_books leaves."""

import csv
import io
import os
from pathlib import Path

import pytest
from django.core.management import CommandError

from library.models import Book
from library.tests.books import THE_BOOK

from .command import HEADER, ROW, counts, imported, refused, run, write

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


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


def test_refused_rows_of_standard_input_have_a_name_too(monkeypatch):
    with open(write(HEADER, "No ISBN,A,2000,", name="any"), "rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        run("-")
    assert refused("books.refused.csv")[0]["title"] == "No ISBN"
