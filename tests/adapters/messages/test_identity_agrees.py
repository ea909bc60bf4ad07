"""The digests are those that versions before stored: the fast form agrees with the simple one on any order."""

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.messages.identity import digests_of
from adapters.messages.text import digest_of
from adapters.simulators.orders import ALPHA, build_order
from adapters.simulators.orders import Line as Ordered
from statemachine.facts import Line
from tests.adapters.messages.helpers import JSON_VALUES, NOW

#: What the stored digests are made of: as in identity.py, whose change would make every stored order a changed one.
OF_ORDER = (
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
OF_CUSTOMER = ("firstname", "lastname", "shipping_address", "billing_address")
OF_LINE = (
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
AMOUNTS = frozenset({"price", "price_unit", "shipping_price", "total_price", "amount", "rate"})
AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,6})?")
NAMES = [*OF_ORDER, *OF_LINE, *OF_CUSTOMER, *AMOUNTS, "order_lines", "customer"]
VALUES = JSON_VALUES | st.sampled_from(
    ["1.0", " 2.50 ", "-3", 4.0, 1e300, True, "x", {"amount": "7.00"}, [{"rate": 1.0}]]
)


def simple(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: simple(member, key) for key, member in value.items()}
    if isinstance(value, list):
        return [simple(member) for member in value]
    if name in AMOUNTS and isinstance(value, str) and AMOUNT.fullmatch(value.strip()):
        value = float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def some(fields: Any, names: Any) -> dict[str, Any]:
    found = fields if isinstance(fields, dict) else {}
    return {name: found[name] for name in names if found.get(name) is not None}


def digest(value: Any, raw: bytes) -> str:
    try:
        return digest_of(json.dumps(simple(value), sort_keys=True, separators=(",", ":")).encode())
    except (ValueError, RecursionError):
        return digest_of(raw)


def simply(order: dict[str, Any], owed: list[Line], raw: bytes) -> tuple[str, str]:
    lines = order.get("order_lines")
    mine = [some(line, OF_LINE) for line in lines] if isinstance(lines, list) else []
    pieces = {line.id: line.quantity for line in owed}
    made_of = {
        **some(order, OF_ORDER),
        "customer": some(order.get("customer"), OF_CUSTOMER),
        "order_lines": sorted(
            (line for line in mine if str(line.get("order_line_id")) in pieces),
            key=lambda line: str(line.get("order_line_id")),
        ),
        "owed": sorted(pieces.items()),
    }
    return digest(order, raw), digest(made_of, raw)


@given(
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4),
    st.lists(st.sampled_from(["1-A-1", "1-A-2", "5", "5.0", "None", ""]), unique=True),
)
def test_both_forms_agree(of_order: dict[str, Any], of_line: dict[str, Any], ids: list[str]) -> None:
    order = build_order(ALPHA, "1-A", created=NOW, lines=[Ordered("MUG"), Ordered("CUP")], state="SHIPPING")
    order["order_lines"][0] |= of_line
    order["order_lines"].append({"order_line_id": 5.0})
    order |= of_order
    owed = [Line(id=one, state="SHIPPING", sku="MUG", quantity=1) for one in ids]
    assert digests_of(order, owed, b"raw") == simply(order, owed, b"raw")


def test_both_forms_agree_on_an_order_that_is_too_deep() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    order = {"order_id": "1-A", "currency_iso_code": "EUR", "else": deep}
    assert digests_of(order, [], b"raw") == simply(order, [], b"raw")
    assert digests_of(order, [], b"raw")[0] == digest_of(b"raw")
