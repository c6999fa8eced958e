"""The refused rows of an import as a file: to correct and to upload again."""

import csv
import io
from urllib.parse import unquote

import pytest

from library.tests.books import isbn_number
from project.base.files.tests.test_reading import xlsx
from project.imports.models import PAGE_SIZE

from .imports import BAD, examined, url

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("files")]


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("books.csv", "books.refused.csv"),
        ("Книги 1.csv", "книги-1.refused.csv"),
        ("книги.refused.csv", "книги.refused.csv"),
        ("….csv", "rows.refused.csv"),
    ],
)
def test_refused_rows_are_named_after_their_file(desk, name, offered):
    header = desk.get(url(examined(name=name), "refused")).headers["Content-Disposition"]
    _kind, _, parameter = header.partition("; ")
    encoded = parameter.removeprefix("filename*=utf-8''").removeprefix("filename=").strip('"')
    assert unquote(encoded) == offered


def test_refused_rows_are_corrected_and_uploaded_again(desk):
    content = f'title;author;year;isbn;note\nA;B;;{isbn_number(1)};"x;y"\nC;D;2000;;\n'.encode()
    job = examined(content=content)
    response = desk.get(url(job, "refused"))
    assert 'filename="books.refused.csv"' in response.headers["Content-Disposition"]
    text = b"".join(response).decode("utf-8-sig")
    header, first, second = csv.reader(io.StringIO(text, newline=""), delimiter=";")
    assert header == ["refused row", "refused because", "title", "author", "year", "isbn", "note"]
    assert first == ["2", "no publication year", "A", "B", "", isbn_number(1), "x;y"]
    assert second[:2] == ["3", "no ISBN"]
    corrected = text.replace("A;B;;", "A;B;1999;").encode("utf-8-sig")
    again = examined(content=corrected, name="books.refused.csv")
    assert (again.found["new"], again.found["refused"]) == (1, 1)
    twice = b"".join(desk.get(url(again, "refused"))).decode("utf-8-sig")
    assert next(csv.reader(io.StringIO(twice), delimiter=";")) == header


def test_refused_rows_are_for_a_spreadsheet_of_the_readers_language(desk):
    """And those two columns are known again in any other."""
    job = examined(
        content=xlsx(["Titel", "Autor", "Jahr", "ISBN"], ["A", "B", "", ""]), name="a.xlsx"
    )
    russian = b"".join(desk.get(url(job, "refused"), headers={"Accept-Language": "ru"}))
    header, row, _end = russian.decode("utf-8-sig").split("\r\n")
    assert header == "отклонённая строка;причины;Titel;Autor;Jahr;ISBN"
    assert row == "2;нет года издания | нет ISBN;A;B;;"
    again = examined(content=russian, name="a.refused.csv")
    english = b"".join(desk.get(url(again, "refused"))).decode("utf-8-sig")
    assert english.startswith("refused row;refused because;Titel;")


def test_refused_rows_of_many_pages_are_all_there(desk):
    job = examined(*[BAD] * (PAGE_SIZE + 1), "Caf\u00e9,A,2000,")
    text = b"".join(desk.get(url(job, "refused"))).decode()
    assert text.count("no ISBN") == PAGE_SIZE + 2
    assert text.count("\ufeff") == 1
