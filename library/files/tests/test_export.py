import csv
import io
import os
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from library.files import exporting
from library.management.commands import export_books
from library.models import Book
from library.tests.books import THE_BOOK, add, unsaved

from .command import counts, run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def exported() -> str:
    out = io.StringIO()
    call_command("export_books", stdout=out)
    return out.getvalue()


def test_the_catalogue_goes_to_standard_output():
    add(title='Say "Emma", twice', author="Jane Austen", publication_year=1815, isbn=THE_BOOK)
    assert list(csv.reader(io.StringIO(exported()))) == [
        ["title", "author", "publication_year", "isbn"],
        ['Say "Emma", twice', "Jane Austen", "1815", THE_BOOK],
    ]


def test_an_empty_catalogue_is_a_header():
    assert exported() == "title,author,publication_year,isbn\r\n"


def test_an_exported_catalogue_is_imported_unchanged():
    for title in ["Emma", "Ёлка; а, б", "line\nbreak", "car\rreturn", 'q"uote', "a\tb|c", "=1+1"]:
        add(title=title, author="😀 " + title)
    before = list(Book.objects.order_by("pk").values_list())
    out = io.StringIO()
    call_command("export_books", "all.csv", stdout=out)
    assert out.getvalue() == "7 books written to all.csv.\n"
    assert Path("all.csv").read_bytes() == exported().encode()
    total = counts(run("all.csv"))
    assert total == {"read": 7, "new": 0, "changed": 0, "same": 7, "refused": 0}
    assert list(Book.objects.order_by("pk").values_list()) == before
    Book.objects.all().delete()
    assert counts(run("all.csv"))["new"] == 7


def test_books_are_read_in_batches(django_assert_num_queries, monkeypatch):
    Book.objects.bulk_create([unsaved() for _ in range(7)])
    monkeypatch.setattr(exporting, "BATCH_SIZE", 3)
    with django_assert_num_queries(5):  # the count, three with books, one without
        assert exported().count("\r\n") == 8


def test_every_book_is_written_once_from_the_oldest_on(monkeypatch):
    titles = ["C", "A", "E", "B", "D", "A", "C"]
    for title in titles:
        add(title=title)
    monkeypatch.setattr(exporting, "BATCH_SIZE", 2)
    out = io.StringIO()
    call_command("export_books", "all.csv", stdout=out)
    assert "7 books" in out.getvalue()
    with open("all.csv", newline="") as file:
        assert [row["title"] for row in csv.DictReader(file)] == titles


@pytest.mark.parametrize(
    ("error", "seen"),
    [(OSError(28, "No space left on device"), CommandError), (KeyboardInterrupt(), None)],
    ids=repr,
)
def test_a_failed_export_leaves_the_old_file_and_nothing_else(monkeypatch, folder, error, seen):
    (folder / "all.csv").write_text("old")
    Book.objects.bulk_create([unsaved() for _ in range(3)])

    def fail() -> None:
        raise error

    monkeypatch.setattr(export_books, "whole_catalogue", fail)
    with pytest.raises(seen or type(error), match="No space left" if seen else None):
        call_command("export_books", "all.csv")
    assert (folder / "all.csv").read_text() == "old"
    assert os.listdir() == ["all.csv"]


def test_a_reader_that_has_seen_enough_is_no_error(monkeypatch, folder):
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    add()
    with (folder / "stdout").open("w") as file:
        monkeypatch.setattr("sys.stdout", file)
        call_command("export_books", stdout=Closed())
        file.write("flushed into nothing")
    assert (folder / "stdout").read_text() == ""


@pytest.mark.parametrize(("name", "says"), [(".", "folder"), ("no/all.csv", "No such file")])
def test_a_place_that_cannot_be_written_is_reported(name, says):
    with pytest.raises(CommandError, match=says):
        call_command("export_books", name)


@pytest.mark.parametrize("name", ["all.tsv", "all.xlsx", "all.jsonl", "all.CSV"])
def test_the_ending_gives_the_format_and_import_reads_it(name):
    for title in ["Emma", "Ёлка; а, б\t", "=1+1"]:
        add(title=title.strip())
    out = io.StringIO()
    call_command("export_books", name, stdout=out)
    assert out.getvalue() == f"3 books written to {name}.\n"
    assert counts(run(name)) == {"read": 3, "new": 0, "changed": 0, "same": 3, "refused": 0}


def test_what_cannot_be_written_is_said(monkeypatch, folder):
    with pytest.raises(CommandError, match="ODS is only read"):
        call_command("export_books", "all.ods")
    monkeypatch.setattr(export_books, "MAX_XLSX_ROWS", 1)
    Book.objects.bulk_create([unsaved() for _ in range(2)])
    with pytest.raises(CommandError, match="XLSX holds 1 books, not 2"):
        call_command("export_books", "all.xlsx")
    assert os.listdir() == []
