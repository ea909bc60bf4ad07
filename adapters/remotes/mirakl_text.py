"""Convert the HTML of Mirakl's messages to plain text (docs/mirakl.md 5.10)."""

import re
from html.parser import HTMLParser
from typing import Final

from adapters.messages.text import storable

_BREAKS: Final = frozenset({"br", "p", "div", "li", "ul", "ol", "tr", "table", "h1", "h2", "h3", "h4", "blockquote"})
_INLINE: Final = frozenset(
    {"a", "b", "i", "u", "s", "em", "strong", "span", "font", "small", "big", "sub", "sup"}
    | {"td", "th", "thead", "tbody", "img", "hr", "html", "head", "body"}
)


class _PlainText(HTMLParser):
    """Collects the text of an HTML document.

    A tag that is in none of the lists above is kept as written, because the customer may have written "<ANA>" as the
    text to be printed.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._tag(tag, self.get_starttag_text() or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag != "br":
            self._tag(tag, f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def _tag(self, tag: str, as_written: str) -> None:
        if tag in _BREAKS:
            self.pieces.append("\n")
        elif tag not in _INLINE:
            self.pieces.append(as_written)


def plain_text(html: str) -> str:
    """Convert a message's body to plain text.

    Line breaks and paragraphs become newlines, and entities become characters. Several empty lines become one.
    """
    parser = _PlainText()
    parser.feed(html.replace("\r\n", "\n"))
    parser.close()
    lines = [storable(line, 50_000) for line in "".join(parser.pieces).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
