"""What a remote wrote about a call, without personal data.

An error may quote the order. So each word of it that occurs in a value of the order is left out, unless the value has
a technical name, such as a SKU or a state. If the order is not stored, nothing of the text is shown.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

#: Values with these names, in Mirakl's order and in the OMS's payload, are not about a person.
_TECHNICAL: Final = frozenset(
    {"order_id", "order_state", "order_line_id", "order_line_state", "offer_sku", "product_sku", "sku", "external_ref"}
    | {"currency_iso_code", "country_iso_code", "shipping_country_code", "shipping_type_code", "payment_workflow"}
    | {"code", "type", "channel", "tax_code", "product_title", "title", "description"}
)
#: Words that a remote's text cannot lack without saying the opposite. They are shown, also if the order has them.
NEGATIONS: Final = frozenset({"not", "no", "cannot", "never", "neither", "nor", "none", "without"})
#: What stands for a word that is left out.
_GAP: Final = "..."
_WORD: Final = re.compile(r"[^\W_]+")
_PERSONAL_BY_FORM: Final = re.compile(r"\S+@\S+|\+?\d[\d ()/-]{4,}\d")


def without_personal_data(words: str, *bodies: bytes | None) -> str:
    """The words without those that a value in one of these JSON texts holds. Empty if no text can be read."""
    values = [value for body in bodies for value in _values_in(body)]
    if not values:
        return ""
    technical, personal = _words_of(values, technical=True), _words_of(values, technical=False)
    shown = _PERSONAL_BY_FORM.sub(lambda found: found[0] if _plain(found[0]) in technical else _GAP, words)
    shown = _WORD.sub(lambda found: _GAP if _is_of(_plain(found[0]), personal) else found[0], shown)
    return re.sub(r"(?:\.\.\.\W*){2,}", f"{_GAP} ", shown).strip()


def _words_of(values: Sequence[tuple[str, str]], *, technical: bool) -> set[str]:
    return {word for name, text in values if (name in _TECHNICAL) is technical for word in _words_in(text)}


def _is_of(word: str, personal: set[str]) -> bool:
    """Whether the word is one of these, or begins one, because a remote may cut what it quotes. A negation is not."""
    if word in NEGATIONS:
        return False
    return word in personal or (len(word) >= 3 and any(one.startswith(word) for one in personal))


def _words_in(text: str) -> Iterator[str]:
    return (_plain(word) for word in _WORD.findall(text) if len(word) > 1)


def _plain(text: str) -> str:
    """The text as it compares: without accents, in lower case."""
    bare = unicodedata.normalize("NFKD", text)
    return "".join(one for one in bare if not unicodedata.combining(one)).casefold()


def _values_in(body: bytes | None) -> Iterator[tuple[str, str]]:
    """(name, text) of every text and number in a JSON text."""
    try:
        todo = [("", json.loads(body or b"null"))]
    except (ValueError, RecursionError):
        return
    while todo:
        name, value = todo.pop()
        if isinstance(value, dict):
            todo += value.items()
        elif isinstance(value, list):
            todo += [(name, one) for one in value]
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            yield name, str(value)
