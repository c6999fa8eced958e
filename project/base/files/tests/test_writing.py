import csv
import io

import pytest
from python_calamine import load_workbook

from project.base.files.writing import csv_lines, guarded, json_lines, write_xlsx


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0"])
def test_what_a_spreadsheet_takes_for_a_formula_is_guarded(start):
    assert guarded(f"{start}1") == f"'{start}1"


@pytest.mark.parametrize("value", ["", "a=1", "1984", " =1", "'", 1984])
def test_everything_else_stays(value):
    assert guarded(value) == value


def test_csv_survives_quotes_delimiters_and_line_ends():
    row = ['say "a"', "b;c,d", "e\r\nf", "g\rh"]
    assert list(csv.reader(io.StringIO(csv_lines([row], ";"), newline=""), delimiter=";")) == [row]


def test_json_lines_keep_letters_and_numbers():
    assert json_lines(["a", "b"], [["Ё", 1]]) == '{"a": "Ё", "b": 1}\n'


def test_texts_of_xlsx_are_neither_formulas_nor_links_nor_numbers():
    file = io.BytesIO()
    texts = ["=1+1", "http://example.org", "0306406152", "{=A1}"]
    assert list(write_xlsx(file, ["A", "B", "C", "D", "E"], [[[*texts, 1984]], []])) == [1, 0]
    file.seek(0)
    sheet = load_workbook(file).get_sheet_by_index(0)
    assert sheet.to_python() == [["A", "B", "C", "D", "E"], [*texts, 1984]]
