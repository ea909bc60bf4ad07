"""When two reads show the same order, and when two imports are made of the same values.

Both are digests of canonical JSON: the members are sorted, and no white space stands between them. So an answer of
Mirakl in another order of members, or with other white space, is no other order.
"""

import json
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


def order_digest(order: Mapping[str, Any], raw: bytes) -> str:
    """The digest of one read of an order, given as parsed and as received. Equal for the same order."""
    return _digest(order) or digest_of(raw)


def same_read(raw: bytes, digest: str, stored: str) -> bool:
    """Whether a read is the one whose digest is `stored`. A version before stored the digest of the bytes."""
    return stored in (digest, digest_of(raw))


def import_digest(order: Mapping[str, Any], owed: Iterable[Line], raw: bytes) -> str:
    """The digest of what an import of these lines is made of. A change of any other field leaves it as it is."""
    lines = order.get("order_lines")
    some = [_some(line, _OF_LINE) for line in lines] if isinstance(lines, list) else []
    pieces = {line.id: line.quantity for line in owed}
    made_of = {
        **_some(order, _OF_ORDER),
        "customer": _some(order.get("customer"), _OF_CUSTOMER),
        "order_lines": [line for line in some if str(line.get("order_line_id")) in pieces],
        "owed": sorted(pieces.items()),
    }
    return _digest(made_of) or digest_of(raw)


def _some(fields: Any, names: Iterable[str]) -> dict[str, Any]:
    """These members. One that is null counts as absent."""
    found = fields if isinstance(fields, dict) else {}
    return {name: found[name] for name in names if found.get(name) is not None}


def _digest(value: Mapping[str, Any]) -> str:
    """Empty for a value that Python cannot write, because of its depth or of a number of thousands of digits."""
    try:
        return digest_of(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
    except (ValueError, RecursionError):
        return ""
