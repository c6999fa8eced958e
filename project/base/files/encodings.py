"""Which encoding a text file has."""

import re
from typing import BinaryIO

from charset_normalizer import from_bytes

# Of the 8-bit encodings only these are guessed: short texts do not tell cp1252 from cp1250, nor
# cp1251 from Mac Cyrillic. People may choose others.
CYRILLIC = ["cp1251", "koi8_r", "cp866"]
LATIN = "cp1252"
# In Latin scripts a letter that is not ASCII stands beside one that is: Bücher, Café.
AMID_ASCII = re.compile(rb"(?<=[A-Za-z])[\x80-\xff]|[\x80-\xff](?=[A-Za-z])")
SAMPLE_SIZE = 2**16  # bytes that are not ASCII's lines
MAX_SEARCH_SIZE = 2**26  # bytes in which they are looked for
MAX_LINE_SIZE = 2**20  # bytes


def marked_encoding(start: bytes) -> str:
    """The encoding that a byte order mark at the start names."""
    if start.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    return "utf-16" if start.startswith((b"\xff\xfe", b"\xfe\xff")) else ""


def guess_encoding(file: BinaryIO) -> str:
    """By its byte order mark, its zeros, or the lines that are not ASCII; rewinds the file."""
    start = file.read(1024)
    encoding = marked_encoding(start)
    if not encoding and b"\0" in start:
        # Of most letters one byte of two is zero: the second one in little endian.
        encoding = "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"
    if not encoding:
        file.seek(0)
        encoding = _guess_by_lines(file)
    file.seek(0)
    return encoding


def _guess_by_lines(file: BinaryIO) -> str:
    sample, seen = b"", 0
    while len(sample) < SAMPLE_SIZE and seen < MAX_SEARCH_SIZE:
        line = file.readline(MAX_LINE_SIZE)
        if not line:
            break
        seen += len(line)
        if not line.isascii():
            sample += line
    # A file in UTF-8 with a few bad bytes is still one: they cost their rows.
    bad = sum("\udc80" <= c <= "\udcff" for c in sample.decode("utf-8", "surrogateescape"))
    foreign = sum(byte >= 0x80 for byte in sample)
    if bad * 10 <= foreign:
        return "utf-8"
    if len(AMID_ASCII.findall(sample)) * 2 > foreign:
        return LATIN
    match = from_bytes(sample, cp_isolation=CYRILLIC).best()
    return match.encoding if match else LATIN
