"""Digests that show whether two reads show the same order, and whether two imports are made from the same values.

Each is a digest of canonical JSON: the members are sorted, and there is no white space between them. So the digest
stays the same if Mirakl sends the members in another order, or with other white space.

If a later version makes the second digest in another way, an import that the OMS rejected goes out once more: the read
counts as changed. The other choice would be to keep the rejection, and then a corrected address would not be tried. The
OMS stored nothing of an import that it rejected, so one more try does no harm.
"""

import json
import re
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any, Final

from adapters.messages.text import digest_of
from statemachine.facts import Line

#: The members of an order of OR11 that an import is made of (remotes/kornitx_order.py), beside its lines and customer.
_OF_ORDER: Final = (
    "order_id",
    "created_date",
    "customer_notification_email",
    "shipping_price",
    "shipping_taxes",
    "shipping_type_code",
    "shipping_type_label",
    "shipping_pudo_id",
    "transaction_number",
    "payment_type",
    "currency_iso_code",
    "order_tax_mode",
    "order_additional_fields",
    "has_customer_message",
)
_OF_CUSTOMER: Final = ("firstname", "lastname", "shipping_address", "billing_address")
_OF_LINE: Final = (
    "order_line_id",
    "offer_sku",
    "product_title",
    "description",
    "price_unit",
    "price",
    "taxes",
    "shipping_price",
    "shipping_taxes",
    "order_line_additional_fields",
)

#: Members that are amounts of money or rates. Mirakl gives them as numbers, and in some answers as texts.
_AMOUNTS: Final = frozenset({"price", "price_unit", "shipping_price", "total_price", "amount", "rate"})
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_AMOUNT: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,6})?")


def digests_of(order: Mapping[str, Any], owed: Iterable[Line], raw: bytes) -> tuple[str, str]:
    """Return two digests of one read of an order, given as parsed and as received.

    The first is of the whole order. The second is of the values that an import of the `owed` lines is made from; other
    fields do not change it.
    """
    plain = _in_one_form(order)
    made_of = _in_one_form(_made_of(order, order, owed)) if plain is None else _made_of(order, plain, owed)
    return _digest(plain) or digest_of(raw), _digest(made_of) or digest_of(raw)


def same_read(raw: bytes, digest: str, stored: str) -> bool:
    """Whether `stored` is the digest of this read. Older versions of orderflow stored the digest of the bytes."""
    return stored in (digest, digest_of(raw))


def _made_of(order: Mapping[str, Any], plain: Mapping[str, Any], owed: Iterable[Line]) -> dict[str, Any]:
    """The values of `plain` that an import is made from. The ids of lines are those of `order`, as received."""
    lines, ids = plain.get("order_lines"), order.get("order_lines")
    some = zip(map(_id_of, ids), lines, strict=True) if isinstance(lines, list) and isinstance(ids, list) else ()
    pieces = {line.id: line.quantity for line in owed}
    # Mirakl promises no order of the lines.
    mine = sorted(((id_, line) for id_, line in some if id_ in pieces), key=itemgetter(0))
    return {
        **_some(plain, _OF_ORDER),
        "customer": _some(plain.get("customer"), _OF_CUSTOMER),
        "order_lines": [_some(line, _OF_LINE) for _, line in mine],
        "owed": sorted(pieces.items()),
    }


def _id_of(line: Any) -> str:
    return str(line.get("order_line_id") if isinstance(line, dict) else None)


def _some(fields: Any, names: Iterable[str]) -> dict[str, Any]:
    """Select these members. A member that is null counts as absent."""
    found = fields if isinstance(fields, dict) else {}
    return {name: found[name] for name in names if found.get(name) is not None}


def _digest(plain: Mapping[str, Any] | None) -> str:
    """The digest of the canonical JSON. Empty if there is none: Python cannot write a number of thousands of digits."""
    try:
        return "" if plain is None else digest_of(_CANONICAL.encode(plain).encode())
    except (ValueError, RecursionError):
        return ""


def _in_one_form(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The value with each number in one form: 1.0 is 1. None if it is nested too deeply."""
    try:
        plain: Mapping[str, Any] = _plain(value, "")
    except RecursionError:
        return None
    return plain


def _plain(value: Any, name: str) -> Any:
    # Parsed JSON has exactly these types. Most values are texts, and this runs for each value of each read.
    kind = type(value)
    if kind is str:
        # An amount may also be a text (docs/mirakl.md 2.1).
        return _number(float(value)) if name in _AMOUNTS and _AMOUNT.fullmatch(value.strip()) else value
    if kind is dict:
        return {key: _plain(member, key) for key, member in value.items()}
    if kind is list:
        return [_plain(member, "") for member in value]
    return _number(value) if kind is float else value


def _number(value: float) -> float:
    return int(value) if value.is_integer() else value
