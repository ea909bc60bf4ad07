"""An order of Mirakl, and the payload that is made of it, for tests."""

import json
from typing import Any

import pytest
import simplejson

from adapters.errors import Unimportable, Unreadable
from adapters.remotes.kornitx_order import OrderRules, build_payload, pieces_in
from tests.support import owed_quantities

#: What a piece costs in a line of which a test says no price: without one, nothing is imported.
PRICE = 9.5


def priced(lines: Any) -> Any:
    """The lines, each with a price."""
    return [{"price_unit": PRICE} | line if isinstance(line, dict) else line for line in lines or ()]


def order(**changes: Any) -> dict[str, Any]:
    address = {
        "firstname": "Ana",
        "lastname": "Silva",
        "company": "Casa",
        "company_2": "Lda",
        "street_1": "Rua das Flores 12",
        "street_2": "  ",
        "additional_info": "3 Esq",
        "city": "Lisboa",
        "state": None,
        "zip_code": "1200-195",
        "country": "Portugal",
        "country_iso_code": "PRT",
        "phone": "",
        "phone_secondary": "+351210000000",
    }
    fields = {
        "order_id": "00000012-A",
        "created_date": "2025-03-04T10:15:00+01:00",
        "currency_iso_code": "EUR",
        "shipping_price": 3.9,
        "shipping_type_code": "STD",
        "customer": {"firstname": "Other", "lastname": "Name", "shipping_address": address, "billing_address": address},
        "order_lines": [
            {
                "order_line_id": "L1",
                "offer_sku": "MUG",
                "product_title": "White mug",
                "quantity": 2,
                "shipping_price": 3.9,
            },
            {"order_line_id": "L2", "offer_sku": "TEE", "order_line_state": "REFUSED"},
            {"order_line_id": "L3", "offer_sku": "TEE", "order_line_state": "CANCELED"},
            {"order_line_id": "L4", "offer_sku": "TEE", "order_line_state": "REFUNDED"},
        ],
    } | changes
    return fields | {"order_lines": priced(fields["order_lines"])}


def with_address(**changes: Any) -> dict[str, Any]:
    value = order()
    value["customer"]["shipping_address"] |= changes
    return value


def quantities(raw: bytes) -> dict[str, int | None]:
    try:
        return owed_quantities(raw)
    except Unreadable:  # an order without an id: `build_payload` reports it too
        return {"L1": 1}


def built(value: Any, *messages: str, **options: Any) -> dict[str, Any]:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    pieces = quantities(raw)
    rules = OrderRules(99999, **options)
    body = build_payload(raw, messages, pieces, rules)
    assert b"\n" not in body
    assert body == build_payload(raw, messages, pieces, rules)
    result = simplejson.loads(body, use_decimal=True)
    assert isinstance(result, dict)
    assert pieces_in(body) == tuple(sorted((item["external_ref"], item["quantity"]) for item in result["items"]))
    return result


def missing(value: Any, **options: Any) -> tuple[str, ...]:
    with pytest.raises(Unimportable) as caught:
        built(value, **options)
    assert "Silva" not in str(caught.value)
    return caught.value.missing
