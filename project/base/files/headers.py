"""Which row of a file is its header. Also read by a script without Django (sheet_rows)."""

import re
from collections.abc import Iterable, Sequence, Set

MAX_ROWS_ABOVE = 20  # above the header: titles, dates, blank rows
OTHER_ENDING = re.compile(r"\s*(?:\((?:ы|s|en|in)\)|/(?:in|innen))$")  # Автор(ы), Verfasser/in


def plain(name: str) -> str:
    """A header as it is compared: without case, "_", "-", a last dot or colon, another ending."""
    name = " ".join(name.replace("_", " ").replace("-", " ").strip(" :.").casefold().split())
    return OTHER_ENDING.sub("", name)


def count_known(names: Iterable[str], known: Set[str]) -> int:
    return len(known & {plain(name) for name in names})


def header_index(counts: Sequence[int]) -> int | None:
    """Of rows with so many known names the first that has two, which a title hardly has."""
    return next((index for index, count in enumerate(counts) if count > 1), None)


def first_index(given: int | None, found: int | None, filled: Sequence[int], rows: int) -> int:
    """Where the table begins: at the given row, else the found one, else the first with anything."""
    if given and given <= rows:
        return given - 1
    return filled[0] if given == 0 or found is None else found
