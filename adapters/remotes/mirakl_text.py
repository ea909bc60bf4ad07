"""Convert the HTML of Mirakl's messages to plain text (docs/mirakl.md 5.10).

A customer writes the messages, so that their text may be anything. Python's own HTML parser took a minute for 20 kB of
`<a <a <a`. Each pattern below ends at the next angle bracket, so that the time grows with the length alone.
"""

import html
import re
from typing import Final

from adapters.messages.text import storable

_BREAKS: Final = frozenset({"br", "p", "div", "li", "ul", "ol", "tr", "table", "h1", "h2", "h3", "h4", "blockquote"})
_INLINE: Final = frozenset(
    {"a", "b", "i", "u", "s", "em", "strong", "span", "font", "small", "big", "sub", "sup"}
    | {"td", "th", "thead", "tbody", "img", "hr", "html", "head", "body"}
)
#: A tag, with its name; or a declaration, which has none. An attribute in quotes may hold ">".
_TAG: Final = re.compile(r"""<(?:/?([A-Za-z][^\s<>/"']*)(?:[^<>"']|"[^"<]*"|'[^'<]*'|["'])*+|[!?][^<>]*)>""")
#: A character by its number. No character has a number of more digits, and Python refuses a very long one.
_LONG_NUMBER: Final = re.compile(r"&#(?=[xX]?[0-9A-Fa-f]{9})")


def plain_text(body: str) -> str:
    """Convert a message's body to plain text.

    Line breaks and paragraphs become newlines, and entities become characters. Several empty lines become one. A tag
    that is in none of the lists above is kept as written, because the customer may have written "<ANA>" as the text to
    be printed.
    """
    text, at = [], 0
    shown = _without_comments(body.replace("\r\n", "\n"))
    for tag in _TAG.finditer(shown):
        text += [_characters(shown[at : tag.start()]), _of_tag(tag)]
        at = tag.end()
    text.append(_characters(shown[at:]))
    lines = [storable(line, 50_000) for line in "".join(text).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _without_comments(body: str) -> str:
    pieces, at = [], 0
    while (start := body.find("<!--", at)) >= 0 and (end := body.find("-->", start + 2)) >= 0:
        pieces.append(body[at:start])
        at = end + 3
    return "".join([*pieces, body[at:]])


def _of_tag(tag: re.Match[str]) -> str:
    """What a tag leaves in the text."""
    name = (tag[1] or "").lower()
    if name in _BREAKS:
        return "\n" if name != "br" or not tag[0].startswith("</") else ""
    return "" if not name or name in _INLINE else tag[0]


def _characters(text: str) -> str:
    return html.unescape(_LONG_NUMBER.sub("&amp;#", text))
