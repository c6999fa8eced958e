"""Readers: each format gives the same rows, and no file takes more than its limits."""

import contextlib
import io
import json
import random
import struct
import zipfile

import pytest
import xlsxwriter

from project.base.files import rows, spreadsheet
from project.base.files.encodings import guess_encoding
from project.base.files.reading import format_of, open_table
from project.base.files.rows import UnreadableFileError

RUSSIAN = "Название;Автор\nМастер и Маргарита;Михаил Булгаков\nИдиот;Фёдор Достоевский\n"
GERMAN = "Titel;Autor\nBücher;Grass\n"


def read(content: bytes, kind: str = "csv", **options):
    with open_table(io.BytesIO(content), kind, len(content), **options) as table:
        return table.header, [row.cells for row in table]


def problems(content: bytes, kind: str = "csv", **options) -> list[str]:
    with open_table(io.BytesIO(content), kind, len(content), **options) as table:
        return [str(row.problem or "") for row in table]


def xlsx(*lines, sheets: tuple[str, ...] = ("Books",)) -> bytes:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as book:
        for name in sheets:
            sheet = book.add_worksheet(name)
            for number, line in enumerate(lines):
                sheet.write_row(number, 0, line)
    return file.getvalue()


def ods(*lines) -> bytes:
    def cell(value) -> str:
        if isinstance(value, str):
            return f'<table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell>'
        return f'<table:table-cell office:value-type="float" office:value="{value}"/>'

    table = "".join(
        f"<table:table-row>{''.join(map(cell, line))}</table:table-row>" for line in lines
    )
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "table", "text")
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr(
            "content.xml",
            f"<office:document-content {names}><office:body><office:spreadsheet>"
            f'<table:table table:name="A">{table}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        )
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.csv", "csv"), ("A.CSV", "csv"), ("a.txt", "csv"), ("a.tsv", "tsv"), ("a.xlsx", "xlsx"),
     ("a.ods", "ods"), ("a.jsonl", "jsonl"), ("a.ndjson", "jsonl"), ("a.exe", ""), ("csv", "")],
)  # fmt: skip
def test_the_format_is_known_by_the_ending(name, kind):
    assert format_of(name) == kind


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"Title,Year\r\nEmma,1815\r\n", "csv"),
        (b"Title;Year\nEmma;1815\n", "csv"),
        (b"Title\tYear\nEmma\t1815", "tsv"),
        (xlsx(["Title", "Year"], ["Emma", 1815]), "xlsx"),
        (ods(["Title", "Year"], ["Emma", 1815]), "ods"),
        (b'{"Title": "Emma", "Year": 1815}\n', "jsonl"),
    ],
    ids=["csv", "semicolons", "tsv", "xlsx", "ods", "jsonl"],
)
def test_every_format_gives_the_same_rows(content, kind):
    assert read(content, kind) == (["Title", "Year"], [["Emma", "1815"]])


# --- Encodings ---


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1251", "koi8-r", "cp866"],
)
def test_the_encoding_of_russian_is_found(encoding):
    header, (first, _) = read(RUSSIAN.encode(encoding), known_headers={"автор"})
    assert header == ["Название", "Автор"]
    assert first == ["Мастер и Маргарита", "Михаил Булгаков"]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
def test_the_encoding_of_german_is_found(encoding):
    assert read(GERMAN.encode(encoding))[1] == [["Bücher", "Grass"]]


def test_a_given_encoding_is_obeyed():
    assert read("Titel;Autor\nБ;Г\n".encode("cp1251"), encoding="cp1252")[1] == [["Á", "Ã"]]


def test_a_few_bad_bytes_leave_a_file_utf_8():
    content = RUSSIAN.encode() + b"Caf\xe9;Jane\n"
    assert guess_encoding(io.BytesIO(content)) == "utf-8"
    assert problems(content)[2] == "it has bytes that are not UTF-8"


def test_the_first_foreign_letter_may_come_late():
    content = b"title,author\n" + b"Emma,Jane\n" * 20_000 + "Идиот,Фёдор\n".encode("cp1251")
    assert guess_encoding(io.BytesIO(content)) == "cp1251"


# --- Shapes ---


def test_a_sheet_keeps_its_row_numbers_and_may_begin_below():
    content = xlsx([], ["", ""], ["Title", "Year"], [], ["Emma", 1815])
    with open_table(io.BytesIO(content), "xlsx", 0) as table:
        assert [(row.number, row.cells) for row in table] == [(4, []), (5, ["Emma", "1815"])]


def test_numbers_of_sheets_are_exact_and_dates_are_dates():
    from datetime import date

    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["ISBN", "Share", "Day"])
        sheet.write_row(1, 0, [9780306406157, 0.5])
        sheet.write_datetime(1, 2, date(1999, 12, 31), book.add_format({"num_format": "yyyy"}))
    assert read(file.getvalue(), "xlsx")[1] == [["9780306406157", "0.5", "1999-12-31"]]


def test_another_sheet_may_be_chosen():
    content = xlsx(["Title"], ["Emma"], sheets=("A", "B"))
    for asked, found in {"": "A", "B": "B", "gone": "A"}.items():
        with open_table(io.BytesIO(content), "xlsx", 0, sheet=asked) as table:
            assert (table.sheet, table.sheets) == (found, ["A", "B"])


def test_the_first_sheet_that_holds_anything_is_read():
    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as book:
        chart = book.add_chart({"type": "line"})
        chart.add_series({"values": "=Books!$A$1:$A$1"})
        book.add_chartsheet().set_chart(chart)
        book.add_worksheet("Blank")
        book.add_worksheet("Books").write(0, 0, "Title")
    assert read(file.getvalue(), "xlsx")[0] == ["Title"]


def test_json_lines_may_lack_keys_and_hold_lists():
    lines = [{"title": "A", "authors": ["B", "C"], "year": 2000}, {"year": None, "title": "D"}]
    content = "\n".join(map(json.dumps, lines)).encode()
    assert read(content, "jsonl") == (
        ["title", "authors", "year"],
        [["A", "B, C", "2000"], ["D", "", ""]],
    )


def test_json_lines_may_lack_a_key_at_first_and_hold_what_nobody_asks_for():
    lines = [
        {"title": "A", "size": {"cm": 20}},
        {"title": "B", "isbn": "9783161484100", "lent": True},
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    assert read(content, "jsonl") == (["title", "isbn"], [["A", ""], ["B", "9783161484100"]])


TITLED = [["Catalogue", "", ""], ["as of 1 May", "", ""], [], ["No.", "Title", "Year"]]


@pytest.mark.parametrize("kind", ["csv", "xlsx", "ods"])
def test_a_header_may_stand_below_titles(kind):
    lines = [*TITLED, ["1", "Emma", "1815"]]
    content = {
        "csv": "\n".join("; ".join(line) for line in lines).replace("Catalogue; ; ", "Catalogue"),
        "xlsx": xlsx(*lines),
        "ods": ods(*lines),
    }[kind]
    content = content.encode() if isinstance(content, str) else content
    known = frozenset({"title", "year"})
    with open_table(io.BytesIO(content), kind, 0, known_headers=known) as table:
        assert table.header == ["No.", "Title", "Year"]
        assert [(row.number, [cell.strip() for cell in row.cells]) for row in table] == [
            (5, ["1", "Emma", "1815"])
        ]


def test_blank_lines_may_stand_above_a_header_that_nobody_knows():
    assert read(b"\r\n\r\nA,B\r\n1,2\r\n") == (["A", "B"], [["1", "2"]])


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
@pytest.mark.parametrize(
    ("header_row", "header", "numbers"),
    [(None, ["Title", "Year"], [4, 5]), (2, ["Books", "old"], [3, 4, 5]), (0, ["", ""], [2, 3, 4, 5]),
     (99, ["Title", "Year"], [4, 5])],
)  # fmt: skip
def test_the_header_may_be_given_or_missing(kind, header_row, header, numbers):
    lines = [["", ""], ["Books", "old"], ["Title", "Year"], ["Emma", "1815"], ["Dune", "1965"]]
    content = xlsx(*lines) if kind == "xlsx" else "\n".join(map(";".join, lines)).encode()
    known = frozenset({"title", "year"})
    with open_table(
        io.BytesIO(content), kind, 0, known_headers=known, header_row=header_row
    ) as table:
        assert (table.header, [row.number for row in table if row.cells]) == (header, numbers)
        assert table.header_row == {None: 3, 99: 3}.get(header_row, header_row)


def test_the_sheet_with_the_table_is_read():
    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as book:
        book.add_worksheet("About").write(0, 0, "What is in this file")
        for name, line in {"Books": ["Title", "Year"], "More": ["Title", "Year"]}.items():
            book.add_worksheet(name).write_row(3, 0, line)
    known = frozenset({"title", "year"})
    for asked, found in {"": "Books", "More": "More", "About": "About"}.items():
        content = io.BytesIO(file.getvalue())
        with open_table(content, "xlsx", 0, sheet=asked, known_headers=known) as table:
            assert table.sheet == found


@pytest.mark.parametrize(
    "line", ["[1]", "{", '{"a": {"b": 1}}', '{"a": true}', '{"a": "\\ud800"}', "[" * 9999]
)
def test_a_line_that_is_no_object_of_texts_costs_its_row_only(line):
    content = '{"a": "b"}\n' + line + '\n{"a": "c"}\n'
    assert [bool(problem) for problem in problems(content.encode(), "jsonl")] == [
        False,
        True,
        False,
    ]


# --- Limits ---


def unreadable(content: bytes, kind: str = "xlsx") -> str:
    with pytest.raises(UnreadableFileError) as error:
        read(content, kind)
    return str(error.value)


def bomb(size: int) -> bytes:
    file = io.BytesIO(xlsx(["Title"]))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/image1.bin", b"\0" * size)
    return file.getvalue()


@pytest.fixture
def unparsed(monkeypatch):
    """No spreadsheet is handed to the parser."""
    monkeypatch.setattr(spreadsheet.SpreadsheetFile, "_start", lambda *args: pytest.fail("parsed"))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(unparsed):
    assert "zip bomb" in unreadable(bomb(20 * 2**20))


def test_what_unpacks_to_too_much_is_refused(unparsed, monkeypatch):
    monkeypatch.setattr(spreadsheet, "MAX_UNPACKED_SIZE", 2**20)
    assert "larger than 1 MB" in unreadable(bomb(2**20))


def test_a_lying_zip_is_refused(unparsed, monkeypatch):
    monkeypatch.setattr(spreadsheet, "MAX_UNPACKED_SIZE", 2**20)
    size = 5 * 2**20
    content = bomb(size).replace(struct.pack("<I", size), struct.pack("<I", 5))
    assert "larger than 1 MB" in unreadable(content)
    monkeypatch.setattr(spreadsheet, "MAX_UNPACKED_SIZE", 2**24)
    assert "damaged" in unreadable(content)


def test_a_sheet_that_claims_cells_without_end_ends_its_reader_only():
    file = io.BytesIO()
    with xlsxwriter.Workbook(file) as book:
        sheet = book.add_worksheet()
        sheet.write(0, 0, "Title")
        sheet.write(1_048_575, 16_383, "far")
    assert "too much memory or time" in unreadable(file.getvalue())


def test_a_reader_that_is_killed_amid_a_row_is_said(monkeypatch, tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, signal\n"
        """print('{"sheets": ["Books"], "sheet": "Books", "rows": 9}\\n["Title"]\\n["Em', end="", flush=True)\n"""
        "os.kill(os.getpid(), signal.SIGXCPU)\n"
    )
    monkeypatch.setattr(spreadsheet, "SCRIPT", script)
    assert "too much memory or time" in unreadable(xlsx(["Title"]))


@pytest.mark.parametrize("content", [b"", b"Title,Author\n", b"PK\x03\x04", xlsx(["Title"])[:200]])
def test_what_is_no_spreadsheet_is_said(content):
    assert any(text in unreadable(content) for text in ("not XLSX", "damaged"))


def test_a_zip_without_a_sheet_is_damaged():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "a")
    assert "damaged" in unreadable(file.getvalue())


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_spreadsheet_is_read_or_refused_in_words(seed):
    chance = random.Random(seed)
    content = bytearray(xlsx(["Title", "Year"], ["Emma", 1815]))
    for _ in range(chance.choice([1, 5, 50])):
        content[chance.randrange(4, len(content))] = chance.randrange(256)
    with contextlib.suppress(UnreadableFileError):
        read(bytes(content), "xlsx")


def test_a_spreadsheet_named_csv_is_said():
    assert "give it its own ending" in unreadable(xlsx(["Title"]), "csv")


def test_an_empty_sheet_is_said():
    assert "“Books” is empty" in unreadable(xlsx())


@pytest.mark.parametrize("kind", ["csv", "xlsx", "jsonl"])
def test_more_columns_than_the_limit_are_refused(monkeypatch, kind):
    monkeypatch.setattr(rows, "MAX_COLUMNS", 2)
    contents = {"csv": b"a,b,c", "xlsx": xlsx(["a", "b", "c"]), "jsonl": b'{"a":1,"b":1,"c":1}'}
    assert "3 columns; at most 2" in unreadable(contents[kind], kind)


def test_a_header_that_csv_cannot_parse_is_said():
    assert "not a CSV header" in unreadable(b"x" * 200_000 + b",title\n1,2\n", "csv")


def test_a_long_cell_costs_its_row(monkeypatch):
    monkeypatch.setattr(rows, "MAX_CELL_LENGTH", 3)
    assert problems(b"a\nabc\nabcd\n") == ["", "a cell has more than 3 characters"]
