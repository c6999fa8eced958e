"""Forms as a browser sends them: with the page's values, including hidden fields."""

from html.parser import HTMLParser
from typing import Any


class _Inputs(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.inside = False
        self.values: dict[str, str] = {}

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.inside |= given.get("id") == "content-main"
        if not self.inside or tag != "input" or not given.get("name"):
            return
        if given.get("type") == "submit" or (
            given.get("type") == "radio" and "checked" not in given
        ):
            return
        self.values[str(given["name"])] = given.get("value") or ""


def filled(response: Any) -> dict[str, str]:
    """What the page's main form sends if nothing is changed."""
    parser = _Inputs()
    parser.feed(response.content.decode())
    return parser.values
