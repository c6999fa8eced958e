"""How text becomes the words that the search index holds."""

import re
import unicodedata

MAX_WORD_LENGTH = 64
# Han and kana are written without spaces: each character is a word.
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+"
)
APOSTROPHES = re.compile("['’ʼ`´]")


def words_of(text: str) -> list[str]:
    """The words in order, folded: no case, accents or apostrophes (O’Brien becomes obrien)."""
    folded = unicodedata.normalize("NFKD", APOSTROPHES.sub("", text)).casefold()
    plain = "".join(c for c in folded if not unicodedata.combining(c))
    return [word[:MAX_WORD_LENGTH] for word in WORD.findall(unicodedata.normalize("NFC", plain))]
