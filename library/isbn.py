"""ISBNs (ISO 2108): any spelling in, 13 digits stored, hyphenated for people."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from stdnum import ean, isbn, numdb

LABEL = re.compile(r"isbn(?:[-\u2010-\u2015 ]?1[03](?=[:\s]))?\s*:?\s*", re.IGNORECASE)
DIGITS = re.compile("[0-9]+")
EXAMPLE = "978-3-16-148410-0"


@lru_cache(maxsize=4096)  # saving a book asks several times
def normalise(text: str) -> str:
    """The 13 digits of an ISBN in any spelling; raises a ValidationError that says what is wrong.

    Accepts ISBN-10 and ISBN-13, a leading "ISBN", spaces and dashes of any kind, and a small x.
    """
    number = text if DIGITS.fullmatch(text) else _characters(text)
    if len(number) == 10:
        return _from_isbn10(number.upper())
    if len(number) != 13:
        raise ValidationError(
            ngettext(
                "An ISBN has 10 or 13 digits; this one has %(count)d.",
                "An ISBN has 10 or 13 digits; this one has %(count)d.",
                len(number),
            )
            % {"count": len(number)},
            code="invalid_isbn",
        )
    if not number.startswith(("978", "979")):
        raise ValidationError(_("A 13-digit ISBN starts with 978 or 979."), code="invalid_isbn")
    if number.startswith("9790"):
        raise ValidationError(
            _("979-0 begins a music number (ISMN), which is no ISBN."), code="invalid_isbn"
        )
    expected = ean.calc_check_digit(number[:-1])
    if number[-1] != expected:
        raise _wrong_check_digit(expected, number[-1])
    return number


def _characters(text: str) -> str:
    text = text.strip()
    if label := LABEL.match(text):
        text = text[label.end() :]
    number = "".join(c for c in text if not _separates(c))
    for position, character in enumerate(number):
        is_check_x = character in "xX" and position == 9 and len(number) == 10
        if character not in "0123456789" and not is_check_x:
            raise _strange(character)
    return number


def hyphenated(number: str) -> str:
    """978-3-16-148410-0 for 9783161484100, by the ranges of the International ISBN Agency."""
    if len(number) != 13 or not DIGITS.fullmatch(number):
        return isbn.format(number)
    starts, ends = _ranges()
    a, b, c = ends[bisect_right(starts, number) - 1]
    parts = number[:a], number[a:b], number[b:c], number[c:12], number[12]
    return "-".join(filter(None, parts))


@cache
def _ranges() -> tuple[list[str], list[tuple[int, int, int]]]:
    """Numbers from which on the parts end elsewhere, and where. stdnum tries all ranges in turn."""
    numbers = numdb.get("isbn")
    starts = sorted({"", *_starts(numbers.prefixes)})
    parts = (isbn.split(start.ljust(13, "0"))[:3] for start in starts)
    lengths = ([len(part) for part in three] for three in parts)
    return starts, [(a, a + b, a + b + c) for a, b, c in lengths]


def _starts(ranges: Iterable[Any], prefix: str = "") -> Iterator[str]:
    for length, low, high, _properties, narrower in ranges:
        yield prefix + low
        if int(high) + 1 < 10**length:
            yield prefix + str(int(high) + 1).zfill(length)
        for number in range(int(low), int(high) + 1) if narrower else ():
            yield from _starts(narrower, prefix + str(number).zfill(length))


def looks_like_isbn(text: str) -> bool:
    """Whether text typed into a search box is meant as an ISBN, valid or not."""
    text = text.strip()
    if label := LABEL.match(text):
        rest = "".join(c for c in text[label.end() :] if not _separates(c))
        return bool(re.fullmatch(r"[0-9]{4,}[0-9xX]", rest))
    if re.fullmatch(r"[0-9]{9}[0-9xX]", text):
        return True
    number = "".join(c for c in text if not _separates(c))
    if re.fullmatch(r"97[89][0-9]{10}", number):
        return True
    # Ten digits with spaces may be years ("1914 1918 45"); with three dashes they are an ISBN.
    dashes = sum(unicodedata.category(c) == "Pd" for c in text)
    return dashes == 3 and bool(re.fullmatch(r"[0-9]{9}[0-9xX]", number))


def beginning_of_isbn(text: str) -> str:
    """The first 4 to 12 digits of an ISBN-13, however it is written so far; else empty."""
    text = text.strip()
    if label := LABEL.match(text):
        text = text[label.end() :]
    number = "".join(c for c in text if not _separates(c))
    if re.fullmatch(r"97[89][0-9]{1,9}", number) and not isbn.is_valid(number):
        return number
    return ""


def with_leading_zeros(text: str) -> str:
    """The ISBN-10 that a spreadsheet took for a number, as 13 digits; else empty."""
    number = text.strip().upper()
    if re.fullmatch(r"[1-9][0-9]{5,7}[0-9X]", number) and isbn.is_valid(number.zfill(10)):
        return isbn.to_isbn13(number.zfill(10))
    return ""


def _separates(character: str) -> bool:
    # Pd: dashes of any kind; Zs: spaces; Cf: the soft hyphen and other invisible marks.
    return unicodedata.category(character) in ("Pd", "Zs", "Cf") or character in "\t\u2212"


def _strange(character: str) -> ValidationError:
    if character.isprintable() and not character.isspace():
        shown = _("“%(text)s”") % {"text": character}
    else:
        shown = f"U+{ord(character):04X}"
    if character.isdigit():
        message = _("Use only the digits 0 to 9 in an ISBN; found %(character)s.")
    else:
        message = _("An ISBN has only digits, or X as the last of ten; found %(character)s.")
    # Not put in here: the filters' package would take a % for the beginning of a parameter.
    return ValidationError(message, "invalid_isbn", {"character": shown})


def _from_isbn10(number: str) -> str:
    if isbn.is_valid(number):
        return isbn.to_isbn13(number)
    for prefix in ("978", "979"):
        if number.isdigit() and ean.is_valid(prefix + number) and isbn.split(prefix + number)[1]:
            raise ValidationError(
                _("These are the last ten digits of a 13-digit ISBN: use %(isbn)s.")
                % {"isbn": hyphenated(prefix + number)},
                code="invalid_isbn",
            )
    expected = next(d for d in "0123456789X" if isbn.is_valid(number[:-1] + d))
    raise _wrong_check_digit(expected, number[-1])


def _wrong_check_digit(expected: str, found: str) -> ValidationError:
    return ValidationError(
        _("The check digit should be %(expected)s, not %(found)s: is a digit mistyped?")
        % {"expected": expected, "found": found},
        code="invalid_isbn",
    )


class IsbnFormField(forms.CharField):
    """Any spelling in, shown hyphenated."""

    def to_python(self, value: Any) -> str | None:
        value = super().to_python(value)
        return normalise(value) if value else None

    def prepare_value(self, value: Any) -> Any:
        return hyphenated(value) if value and isbn.is_valid(value) else value


class IsbnField(models.CharField):
    """13 digits, or None; every write and every exact lookup accepts any spelling."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["max_length"] = 13
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_length"]
        return name, path, args, kwargs

    def to_python(self, value: Any) -> Any:
        value = super().to_python(value)
        return normalise(value) if value else None

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = self.to_python(super().pre_save(model_instance, add))
        setattr(model_instance, self.attname, value)
        return value

    def formfield(self, **kwargs: Any) -> forms.Field | None:
        # Long enough for every spelling, not only for the stored one.
        return super().formfield(**{"form_class": IsbnFormField, **kwargs, "max_length": 40})
