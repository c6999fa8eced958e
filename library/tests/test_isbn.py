import pytest
from django.core.exceptions import ValidationError
from hypothesis import example, given
from hypothesis import strategies as st
from stdnum import isbn as stdnum_isbn

from library.isbn import _ranges, hyphenated, looks_like_isbn, normalise

from .books import SPELLINGS, THE_BOOK, add, isbn_number

BAD = {
    "9783161484101": "should be 0, not 1",
    "978-3-16-148410-5": "should be 0, not 5",
    "3161484109": "should be X, not 9",
    "316148410": "this one has 9",
    "97831614841000": "this one has 14",
    "978316148410X": "“X”",
    "31614841XX": "“X”",
    "abc": "“a”",
    "9773161484100": "starts with 978 or 979",
    "8608833870": "",
    "９７８３１６１４８４１００": "digits 0 to 9",
    "978316148410٠": "digits 0 to 9",
    "97831614\x0084100": "U+0000",
    "97831614\ud80084100": "U+D800",
    "9783161484\n100": "U+000A",
}


@pytest.mark.parametrize("text", SPELLINGS)
def test_every_spelling_is_one_number(text):
    assert normalise(text) == THE_BOOK


@given(st.from_regex(r"97[89][0-9]{10}|[0-9]{13}", fullmatch=True))
@example("0-306-40615-2")
@example("0306406152")
def test_hyphens_stand_where_stdnum_sets_them(number):
    assert hyphenated(number) == stdnum_isbn.format(number)


def test_no_range_of_stdnum_is_missed():
    starts, _ = _ranges()
    firsts = [int(start.ljust(12, "0")) for start in starts[1:]]
    numbers = {f"{number:012}5" for first in firsts for number in (first - 1, first, first + 1)}
    assert [n for n in numbers if hyphenated(n) != stdnum_isbn.format(n)] == []


@pytest.mark.parametrize(("text", "says"), BAD.items())
def test_what_is_wrong_is_said(text, says):
    with pytest.raises(ValidationError) as error:
        normalise(text)
    assert says in error.value.messages[0]
    assert error.value.code == "invalid_isbn"


@pytest.mark.parametrize("number", ["979-10-90636-07-1", "978-3-16-148410-0"])
def test_for_the_last_ten_of_13_digits_the_whole_number_is_suggested(number):
    ten = normalise(number)[3:]
    assert not stdnum_isbn.is_valid(ten)
    with pytest.raises(ValidationError) as error:
        normalise(ten)
    assert error.value.messages == [
        f"These are the last ten digits of a 13-digit ISBN: use {number}."
    ]
    assert error.value.code == "invalid_isbn"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("978316148410", "An ISBN has 10 or 13 digits; this one has 12."),
        ("1", "An ISBN has 10 or 13 digits; this one has 1."),
        ("9773161484100", "A 13-digit ISBN starts with 978 or 979."),
        ("978316148410a", "An ISBN has only digits, or X as the last of ten; found “a”."),
        ("97831614841\t \x7f0", "An ISBN has only digits, or X as the last of ten; found U+007F."),
        ("978316148410٠", "Use only the digits 0 to 9 in an ISBN; found “٠”."),
        ("3161484101", "The check digit should be X, not 1: is a digit mistyped?"),
        ("9783161484109", "The check digit should be 0, not 9: is a digit mistyped?"),
    ],
)
def test_the_reason_is_a_whole_sentence(text, sentence):
    with pytest.raises(ValidationError) as error:
        normalise(text)
    assert error.value.messages == [sentence]
    assert error.value.code == "invalid_isbn"


@pytest.mark.parametrize(
    "separator", [" ", "-", "\t", "\xa0", "\xad", "\u200b", "\u2011", "\u2212"]
)
def test_blanks_dashes_and_invisible_marks_separate(separator):
    assert normalise(separator.join("9783161484100")) == THE_BOOK


@given(st.integers(0, 10**9 - 1))
def test_every_right_number_survives_hyphens_and_ten_digits(number):
    thirteen = isbn_number(number)
    assert normalise(thirteen) == normalise(hyphenated(thirteen)) == thirteen
    assert normalise(stdnum_isbn.to_isbn10(thirteen)) == thirteen


@given(st.integers(0, 10**9 - 1), st.integers(0, 12), st.integers(1, 9))
def test_no_single_wrong_digit_passes(number, position, shift):
    right = isbn_number(number)
    wrong = right[:position] + str((int(right[position]) + shift) % 10) + right[position + 1 :]
    with pytest.raises(ValidationError):
        normalise(wrong)


@given(st.text() | st.text("0123456789-xX ISBNisbn:", max_size=25))
@example("ISBN")
@example("")
def test_any_text_is_a_number_or_a_clear_error(text):
    looks_like_isbn(text)
    try:
        number = normalise(text)
    except ValidationError as error:
        assert all(error.messages)
    else:
        assert normalise(number) == number
        assert stdnum_isbn.is_valid(number)


@pytest.mark.parametrize("text", SPELLINGS)
def test_searching_a_spelling_means_the_number(text):
    assert looks_like_isbn(text)


@pytest.mark.parametrize(
    "text",
    [
        "316148410x", "316148410X", "3161484100", "3-16-148410-x", "3-16-148410-X", "3-16-148410-9",
        "ISBN 316148410x", "ISBN 316148410X", "isbn 12345", "9783161484109", "979 10 90636 07 1",
    ],
)  # fmt: skip
def test_what_means_an_isbn_may_also_be_wrong(text):
    assert looks_like_isbn(text)


@pytest.mark.parametrize(
    "text",
    [
        "1984", "1914 1918 45", "catch 22", "isbn", "isbn agency", "", "31614841001", "316148410",
        "977 3161484100", "97831614841001", "31-61484-100", "3-1-6-148410-x", "isbn 1234",
        "3-16-148410-y", "isbn 12345y",
    ],
)  # fmt: skip
def test_words_and_years_are_no_isbn(text):
    assert not looks_like_isbn(text)


@pytest.mark.django_db
@pytest.mark.parametrize("text", SPELLINGS)
def test_the_column_holds_13_digits_by_whatever_path(text):
    from library.models import Book

    book = add(isbn=text)
    assert book.isbn == THE_BOOK
    assert Book.objects.get(isbn=text) == book
    Book.objects.update(isbn=text)
    Book.objects.bulk_update([Book(pk=book.pk, isbn=text)], ["isbn"])
    assert Book.objects.values_list("isbn", flat=True).get() == THE_BOOK


@pytest.mark.django_db
def test_the_model_form_takes_every_spelling_and_says_the_expected_digit():
    from django.forms import modelform_factory

    from library.models import Book

    form = modelform_factory(Book, fields=["title", "author", "publication_year", "isbn"])
    given = {"title": "T", "author": "A", "publication_year": 2000}
    for text in SPELLINGS:
        assert form({**given, "isbn": text}).is_valid()
    wrong = form({**given, "isbn": "9783161484101"})
    assert "should be 0, not 1" in wrong.errors["isbn"][0]


@pytest.mark.django_db
def test_a_form_leaves_room_for_every_spelling_and_keeps_what_was_mistyped():
    from django.forms import modelform_factory

    from library.models import Book

    form = modelform_factory(Book, fields=["isbn"])
    assert 'maxlength="40"' in str(form()["isbn"])
    assert 'value="9783161484101"' in str(form({"isbn": "9783161484101"})["isbn"])
    assert 'value="978-3-16-148410-0"' in str(form({"isbn": THE_BOOK})["isbn"])
