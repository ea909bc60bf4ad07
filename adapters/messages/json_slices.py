"""JSON read exactly: one object, and the bytes of each order of an OR11 page."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from pydantic_core import from_json

from adapters.errors import Unreadable, UnreadableReason

# -- JSON --------------------------------------------------------------------------------------------------------


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


_JSON: Final = json.JSONDecoder(parse_constant=_no_constant)


def _parsed(raw: bytes) -> Any:
    """By pydantic's parser, which takes half the time of Python's, or a sixth where one long text is most of it.

    It refuses more: lone surrogates, deep nesting. One bad text is no reason to lose an order, so Python's has the
    last word.
    """
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError:
        return _JSON.decode(raw.decode())


def load_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`. Raises Unreadable(UnreadableReason.NOT_JSON)."""
    try:
        value = _parsed(raw)
    except (ValueError, RecursionError):
        raise Unreadable(UnreadableReason.NOT_JSON) from None
    if not isinstance(value, dict):
        raise Unreadable(UnreadableReason.NOT_JSON, "not an object")
    return value


_SPACE: Final = re.compile(r"[ \t\n\r]*")
#: Numbers stay text: one absurd number in one order must not make the whole page unreadable.
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str)


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches always


def _expect(text: str, at: int, token: str) -> int:
    if not text.startswith(token, at):
        raise ValueError(f"{token} expected")
    return _skip(text, at + 1)


def _elements(text: str, at: int) -> Iterator[tuple[Any, int, int]]:
    """Value, start and end of each element of the array at `at`."""
    at = _expect(text, at, "[")
    while not text.startswith("]", at):
        value, end = _DECODER.raw_decode(text, at)
        yield value, at, end
        at = _skip(text, end)
        if not text.startswith("]", at):
            at = _expect(text, at, ",")


def _members(text: str) -> Iterator[tuple[str, Any, int, int]]:
    """Name, value, start and end of the value of each member of the object that `text` is."""
    at = _expect(text, _skip(text, 0), "{")
    while not text.startswith("}", at):
        if not text.startswith('"', at):
            raise ValueError("a name expected")
        name, end = _DECODER.raw_decode(text, at)
        start = _expect(text, _skip(text, end), ":")
        value, end = _DECODER.raw_decode(text, start)
        yield name, value, start, end
        at = _skip(text, end)
        if not text.startswith("}", at):
            at = _expect(text, at, ",")
    if _skip(text, at + 1) != len(text):
        raise ValueError("more than one value")


def slice_orders(body: bytes) -> tuple[list[bytes], int | None]:
    """The bytes of each order of an OR11 page exactly as received, and total_count where it is given
    (docs/mirakl.md 5.2).

    Raises Unreadable(UnreadableReason.NOT_JSON), also for a page that has no list of orders.
    """
    orders: list[bytes] | None = None
    total: int | None = None
    try:
        text = body.decode("latin-1")  # a byte a character: one order in a wrong encoding spoils itself alone
        for name, value, start, _ in _members(text):
            if name == "orders" and isinstance(value, list):
                orders = [text[first:end].encode("latin-1") for _, first, end in _elements(text, start)]
            elif name == "total_count" and isinstance(value, str) and re.fullmatch("[0-9]{1,12}", value):
                total = int(value)
    except (ValueError, RecursionError):
        raise Unreadable(UnreadableReason.NOT_JSON) from None
    if orders is None:
        raise Unreadable(UnreadableReason.NOT_JSON, "orders")
    return orders, total
