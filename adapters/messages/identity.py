"""Digests that show whether two reads show the same order, and whether two imports are made from the same values.

Each is a digest of canonical JSON: the members are sorted, and there is no white space between them. So the digest
stays the same if Mirakl sends the members in another order, or with other white space.
"""

import json
import re
from collections.abc import Iterable, Mapping
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
    "delivery_date",
)
_OF_CUSTOMER: Final = ("firstname", "lastname", "shipping_address", "billing_address")
_OF_LINE: Final = (
    "order_line_id",
    "offer_sku",
    "product_title",
    "description",
    "price_unit",
    "price",
    "price_additional_info",
    "taxes",
    "shipping_price",
    "shipping_taxes",
    "order_line_additional_fields",
)

#: Members that are amounts of money or rates. Mirakl gives them as numbers, and in some answers as texts.
_AMOUNTS: Final = frozenset({"price", "price_unit", "shipping_price", "total_price", "amount", "rate"})
_AMOUNT: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,6})?")


def order_digest(order: Mapping[str, Any], raw: bytes) -> str:
    """The digest of one read of an order, given as parsed and as received. The same order has the same digest."""
    return _digest(order) or digest_of(raw)


def same_read(raw: bytes, digest: str, stored: str) -> bool:
    """Whether `stored` is the digest of this read. Older versions of orderflow stored the digest of the bytes."""
    return stored in (digest, digest_of(raw))


def import_digest(order: Mapping[str, Any], owed: Iterable[Line], raw: bytes) -> str:
    """The digest of the values that an import of these lines is made from. Other fields do not change it."""
    lines = order.get("order_lines")
    some = [_some(line, _OF_LINE) for line in lines] if isinstance(lines, list) else []
    pieces = {line.id: line.quantity for line in owed}
    made_of = {
        **_some(order, _OF_ORDER),
        "customer": _some(order.get("customer"), _OF_CUSTOMER),
        # Mirakl promises no order of the lines.
        "order_lines": sorted((line for line in some if _id_of(line) in pieces), key=_id_of),
        "owed": sorted(pieces.items()),
    }
    return _digest(made_of) or digest_of(raw)


def _id_of(line: Mapping[str, Any]) -> str:
    return str(line.get("order_line_id"))


def _some(fields: Any, names: Iterable[str]) -> dict[str, Any]:
    """Select these members. A member that is null counts as absent."""
    found = fields if isinstance(fields, dict) else {}
    return {name: found[name] for name in names if found.get(name) is not None}


def _digest(value: Mapping[str, Any]) -> str:
    """The digest of the canonical JSON, in which a number has one form. Empty if Python cannot write the value as JSON.

    Python cannot write a value that is nested too deeply, or a number of thousands of digits.
    """
    try:
        return digest_of(json.dumps(_plain(value), sort_keys=True, separators=(",", ":")).encode())
    except (ValueError, RecursionError):
        return ""


def _plain(value: Any, name: str = "") -> Any:
    """The value with each number in one form: 1.0 is 1. An amount may also be a text (docs/mirakl.md 2.1)."""
    if isinstance(value, dict):
        return {key: _plain(member, key) for key, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    if name in _AMOUNTS and isinstance(value, str) and _AMOUNT.fullmatch(value.strip()):
        value = float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value
