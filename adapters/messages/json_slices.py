"""Read JSON: as a dict, or cut into its parts, each as the exact bytes that were received."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from pydantic_core import from_json

from adapters.errors import Unreadable, UnreadableReason
from adapters.messages.text import digest_of


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # Python's parser accepts NaN and Infinity, which are not JSON


#: A longer order is cut out of its page, and never parsed: its values would take up to 30 times its bytes.
LONGEST_ORDER: Final = 1024 * 1024
#: The most orders of one page. Mirakl is asked for 100.
MOST_ORDERS: Final = 1_000
#: The most members of a page. Mirakl's have two.
MOST_MEMBERS: Final = 100
#: The most values of anything that is parsed as a whole: each may take 100 bytes of memory, and while the parser makes
#: them no other thread runs. An answer of 4 MiB could have two million.
MOST_VALUES: Final = 250_000
#: A longer id is no id of an order.
_LONGEST_ID: Final = 200

#: The byte order mark of UTF-8. JSON must not begin with it, but some servers send it.
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_PYTHON: Final = json.JSONDecoder(parse_constant=_no_constant)


@contextmanager
def _not_json() -> Iterator[None]:
    try:
        yield
    except (ValueError, RecursionError):
        raise Unreadable(UnreadableReason.NOT_JSON) from None


def has_too_many_values(raw: bytes) -> bool:
    """Whether the JSON in `raw` may have more than MOST_VALUES. Commas and brackets within texts count too."""
    return len(raw) > MOST_VALUES and sum(map(raw.count, (b",", b"[", b"{"))) > MOST_VALUES


def load_object(raw: bytes) -> dict[str, Any]:
    """Parse the JSON object in `raw`. Raises Unreadable(NOT_JSON), also for more than MOST_VALUES."""
    if has_too_many_values(raw):
        raise Unreadable(UnreadableReason.NOT_JSON, "too many values")
    try:  # not _not_json: entering it takes as long as reading a small object, and this runs twice for each read
        value = _parsed(raw)
    except (ValueError, RecursionError):
        raise Unreadable(UnreadableReason.NOT_JSON) from None
    if not isinstance(value, dict):
        raise Unreadable(UnreadableReason.NOT_JSON, "not an object")
    return value


def _parsed(raw: bytes) -> Any:
    """Parse with pydantic's parser. If it refuses, parse with Python's.

    Pydantic's parser takes half the time, or a sixth if most of the input is one long text. But it refuses lone
    surrogates and deep nesting, which Python's accepts. An order must not be lost because of one bad text. A property
    test holds that both read the same.
    """
    raw = raw.removeprefix(BYTE_ORDER_MARK)
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError:
        return _PYTHON.decode(raw.decode())


# -- Slices --------------------------------------------------------------------------------------------------------
#
# The functions below decode the bytes from Latin-1. Each byte becomes one character, so a slice of the text is a slice
# of the bytes, and one order in a wrong encoding does not make its page unreadable.


@dataclass(frozen=True, slots=True)
class OrderSlice:
    """One order of a page of OR11."""

    raw: bytes  # exactly as received
    identity: str  # the order's id as Latin-1, or a digest: only for finding two slices of the same order


@dataclass(frozen=True, slots=True)
class SlicedPage:
    """The orders of a page of OR11."""

    orders: list[OrderSlice]
    total_count: int | None  # orders in the whole listing; None if the page has no such number (docs/mirakl.md 5.2)


def slice_orders(page: bytes) -> SlicedPage:
    """Cut a page of OR11 into its orders. `"orders": null` is an empty page.

    An order that is not JSON, is nested too deeply, or has more than LONGEST_ORDER bytes, is a slice like the others,
    so that the other orders of the page can be read.

    Raises Unreadable(NOT_JSON) if the end of an order cannot be found, if the page has no `orders` or more than
    MOST_ORDERS, if another member is longer than LONGEST_ORDER, or if there are more than MOST_MEMBERS.
    """
    orders: list[OrderSlice] | None = None
    total_count: int | None = None
    with _not_json():
        members = _members(page.removeprefix(BYTE_ORDER_MARK).decode("latin-1"), _page_value)
        for number, (name, value, _) in enumerate(members):
            if number == MOST_MEMBERS:
                raise ValueError("too many members")
            if name == "orders" and (value is None or isinstance(value, list)):
                orders = value or []
            elif name == "total_count" and isinstance(value, str) and re.fullmatch("[0-9]{1,12}", value):
                total_count = int(value)
    if orders is None:
        raise Unreadable(UnreadableReason.NOT_JSON, "orders")
    return SlicedPage(orders, total_count)


def slice_array(raw: bytes) -> list[bytes]:
    """Cut the JSON array in `raw` into the bytes of its elements. Raises Unreadable(NOT_JSON)."""
    with _not_json():
        text = raw.decode("latin-1")
        elements, end = _elements(text, _skip_space(text, 0), _DECODER.raw_decode)
        _expect_end(text, end)
        return [element for _, element in elements]


def member(raw: bytes, name: str) -> bytes:
    """The bytes of the member `name`, which is ASCII, of the JSON object in `raw`. Raises Unreadable(NOT_JSON).

    b"" if the object has no such member. If it has several, the last one counts, as in `load_object`.
    """
    with _not_json():
        texts = {found: text for found, _, text in _members(raw.removeprefix(BYTE_ORDER_MARK).decode("latin-1"))}
        return texts.get(name, "").encode("latin-1")


#: Keeps numbers as text, because a number of a million digits in one order must not make the whole page unreadable.
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str)
_SPACE: Final = re.compile(r"[ \t\n\r]*")

#: A function that reads a member's value. It takes the member's name, the text and the value's start in it, and returns
#: the value and its end.
_ReadValue = Callable[[str, str, int], tuple[Any, int]]


def _decoded(text: str, start: int) -> tuple[Any, int]:
    """Parse the value at `start`. Returns it and its end. Raises ValueError also for more than LONGEST_ORDER bytes."""
    if len(text) - start <= LONGEST_ORDER:
        return _DECODER.raw_decode(text, start)
    value, length = _DECODER.raw_decode(text[start : start + LONGEST_ORDER])
    return value, start + length


def _any_value(_name: str, text: str, start: int) -> tuple[Any, int]:
    return _DECODER.raw_decode(text, start)


def _page_value(name: str, text: str, start: int) -> tuple[Any, int]:
    if name != "orders" or not text.startswith("[", start):
        return _decoded(text, start)
    elements, end = _elements(text, start, _id_of_order, MOST_ORDERS)
    return [OrderSlice(raw, order_id or digest_of(raw)) for order_id, raw in elements], end


#: A text, or a bracket outside of texts. A text without an end goes to the end of the page: it is not searched again
#: from each of its quotes.
_STRUCTURE: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


def _id_of_order(text: str, start: int) -> tuple[str, int]:
    """Read one order. Returns its id, or "" if it has none, and its end.

    If the order cannot be read, its end is where its brackets close. `snapshots.snapshot_of` then finds what is wrong
    with it.
    """
    try:
        order, end = _decoded(text, start)
    except (ValueError, RecursionError):
        return "", _end_of_object(text, start)
    order_id = str(order["order_id"]) if isinstance(order, dict) and "order_id" in order else ""
    return order_id if len(order_id) <= _LONGEST_ID else "", end


def _end_of_object(text: str, start: int) -> int:
    if text.startswith("{", start):
        depth = 0
        for found in _STRUCTURE.finditer(text, start):
            depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(found.group(), 0)
            if depth == 0:
                return found.end()
    raise ValueError("an order without an end")


def _members(text: str, read: _ReadValue = _any_value) -> Iterator[tuple[str, Any, str]]:
    """Yield the name, the value and the value's text of each member of the object in `text`. Raises ValueError."""
    at = _expect(text, _skip_space(text, 0), "{")
    while not text.startswith("}", at):  # checked after each comma: a comma after the last member is accepted
        if not text.startswith('"', at):
            raise ValueError("a name expected")
        name, end = _DECODER.raw_decode(text, at)
        start = _expect(text, _skip_space(text, end), ":")
        value, end = read(name, text, start)
        yield name, value, text[start:end]
        at, _ = _next(text, end, "}")
    _expect_end(text, at + 1)


def _elements(
    text: str, start: int, read: Callable[[str, int], tuple[Any, int]], most: float = float("inf")
) -> tuple[list[tuple[Any, bytes]], int]:
    """The value and the bytes of each element of the array at `start`, at most so many, and the array's end. Raises
    ValueError."""
    found: list[tuple[Any, bytes]] = []
    at = _expect(text, start, "[")
    more = not text.startswith("]", at)
    while more:
        if len(found) == most:
            raise ValueError("too many")
        value, end = read(text, at)
        found.append((value, text[at:end].encode("latin-1")))
        at, more = _next(text, end, "]")
    return found, at + 1


def _next(text: str, end: int, closing: str) -> tuple[int, bool]:
    """Continue after a value that ends at `end`.

    Returns the start of the next value and True, or the position of `closing` and False. Raises ValueError.
    """
    at = _skip_space(text, end)
    if text.startswith(closing, at):
        return at, False
    return _expect(text, at, ","), True


def _expect(text: str, at: int, token: str) -> int:
    if not text.startswith(token, at):
        raise ValueError(f"{token} expected")
    return _skip_space(text, at + 1)


def _expect_end(text: str, at: int) -> None:
    if _skip_space(text, at) != len(text):
        raise ValueError("more than one value")


def _skip_space(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # the pattern matches any text
