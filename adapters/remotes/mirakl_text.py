"""Convert the HTML of Mirakl's messages to plain text (docs/mirakl.md 5.10).

A customer writes the messages, so that their text may be anything. Python's own HTML parser took a minute for 20 kB of
`<a <a <a`. Each pattern below ends at the next angle bracket, so that the time grows with the length alone.
"""

import html
import re
from typing import Final

from adapters.messages.text import storable, web_url

_BREAKS: Final = frozenset({"br", "p", "div", "li", "ul", "ol", "tr", "table", "h1", "h2", "h3", "h4", "blockquote"})
_INLINE: Final = frozenset(
    {"a", "b", "i", "u", "s", "em", "strong", "span", "font", "small", "big", "sub", "sup"}
    | {"td", "th", "thead", "tbody", "img", "hr", "html", "head", "body"}
)
#: A tag, with its name; or a declaration, which has none. An attribute in quotes may hold ">".
_TAG: Final = re.compile(r"""<(?:/?([A-Za-z][^\s<>/"']*)(?:[^<>"']|"[^"<]*"|'[^'<]*'|["'])*+|[!?][^<>]*)>""")
#: An attribute of a tag: its name, and its value if it has one.
_ATTRIBUTE: Final = re.compile(r"""([^\s<>"'/=]+)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s<>"']+))?""")
#: A character by its number. No character has a number of more digits, and Python refuses a very long one.
_LONG_NUMBER: Final = re.compile(r"&#(?=[xX]?[0-9A-Fa-f]{9})")


def plain_text(body: str) -> str:
    """Convert a message's body to plain text.

    Line breaks and paragraphs become newlines, and entities become characters. Several empty lines become one. The
    address of a link stands behind its words, if they do not have it. A picture leaves its words and its address. A tag
    that is in none of the lists above is kept as written, because the customer may have written "<ANA>" as the text to
    be printed.
    """
    text: list[str] = []
    at, link, words_at = 0, "", 0
    shown = _without_comments(body.replace("\r\n", "\n"))
    for tag in _TAG.finditer(shown):
        text.append(_characters(shown[at : tag.start()]))
        at = tag.end()
        if _name_of(tag) == "a":  # a link begins or ends, and each ends the link before
            text.append(_behind("".join(text[words_at:]), link))
            link, words_at = _attribute(tag, "href"), len(text)
        text.append(_of_tag(tag))
    text.append(_characters(shown[at:]))
    text.append(_behind("".join(text[words_at:]), link))
    lines = [storable(line, 50_000) for line in "".join(text).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def has_picture(body: str) -> bool:
    """Whether a message has a picture between its words."""
    return any(_name_of(tag) == "img" for tag in _TAG.finditer(_without_comments(body)))


def _without_comments(body: str) -> str:
    pieces, at = [], 0
    while (start := body.find("<!--", at)) >= 0 and (end := body.find("-->", start + 2)) >= 0:
        pieces.append(body[at:start])
        at = end + 3
    return "".join([*pieces, body[at:]])


def _of_tag(tag: re.Match[str]) -> str:
    """What a tag leaves in the text."""
    name = _name_of(tag)
    if name == "img":
        return " ".join(["", *filter(None, (_attribute(tag, "alt"), web_url(_attribute(tag, "src")))), ""])
    if name in _BREAKS:
        return "\n" if name != "br" or not tag[0].startswith("</") else ""
    return "" if not name or name in _INLINE else tag[0]


def _name_of(tag: re.Match[str]) -> str:
    return (tag[1] or "").lower()


def _attribute(tag: re.Match[str], name: str) -> str:
    """The value of the tag's attribute of this name. "" for none."""
    for found in _ATTRIBUTE.finditer(tag[0], tag.end(1) - tag.start()):
        if found[1].lower() == name:
            return _characters((found[2] or "").strip("\"'")).strip()
    return ""


def _behind(words: str, link: str) -> str:
    """What stands behind the words of a link: its address, if it is not a part of them. A link within the page, such as
    "#top", leads to nothing here."""
    bare = re.sub("^(https?://|mailto:|tel:)", "", link, flags=re.IGNORECASE).rstrip("/")
    if not bare or bare.startswith("#") or bare in words:
        return ""
    return f" ({link})" if words.strip() else link


def _characters(text: str) -> str:
    return html.unescape(_LONG_NUMBER.sub("&amp;#", text))
