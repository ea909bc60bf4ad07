"""An order of Mirakl as KornitX takes it (docs/kornitx.md 6, 7, 10)."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import simplejson

from adapters.errors import Unimportable, Unreadable, UnreadableReason
from adapters.messages.text import instant, storable, usable_id
from adapters.remotes.countries import country_code
from statemachine.facts import CLOSED_LINE_STATES

#: No KornitX artwork; the customer's words are the product (docs/kornitx.md 3.3).
TEXTUAL_ITEM: Final = 5


# -- The order, as KornitX wants it (docs/kornitx.md 10) ----------------------------------------------------------


def build_payload(
    raw_order: bytes,
    messages: Sequence[str],
    *,
    company_ref_id: int,
    external_ref_prefix: str = "",
    shipping_methods: Mapping[str, str] | None = None,
) -> bytes:
    """The body of POST /order: the same bytes for the same order. Money stays decimal, digit for digit.

    Raises Unimportable where something is missing that cannot be derived, Unreadable where it is no order at all.
    """
    order = _load(raw_order)
    order_id = _id(order, "order_id")
    missing = [] if order_id else ["order_id"]
    shipping = _object(_object(order, "customer"), "shipping_address")
    created = instant(order.get("created_date"))
    payload = {
        "external_ref": external_ref_prefix + order_id,
        "company_ref_id": company_ref_id,
        "sale_datetime": created.strftime("%Y-%m-%d %H:%M:%S") if created else "",
        "customer_name": _name(shipping) or _name(_object(order, "customer")),
        "customer_email": _text(order, "customer_notification_email"),
        **_phones(shipping),
        **_address("shipping", shipping),
        "shipping_method": _method(order, shipping_methods or {}),
        "shipping_price": _amount(order.get("shipping_price")),
        **_billing(_object(_object(order, "customer"), "billing_address")),
        "payment_trans_id": _text(order, "transaction_number"),
        "payment_type": _text(order, "payment_type"),
        "currency_code": _text(order, "currency_iso_code"),
        "attributes": message_attributes(messages),
        "items": _items(order, missing),
    }
    missing += [source for field, source in _NEEDED.items() if payload.get(field) in ("", None)]
    if missing:
        raise Unimportable(missing)
    return simplejson.dumps(_present(payload), use_decimal=True, allow_nan=False).encode()


#: What KornitX requires, and where it comes from. No postcode: some countries have none.
_NEEDED: Final = {
    "sale_datetime": "created_date",
    "customer_name": "customer.shipping_address.lastname",
    "shipping_address_1": "customer.shipping_address.street_1",
    "shipping_address_4": "customer.shipping_address.city",
    "shipping_country_code": "customer.shipping_address.country_iso_code",
}


def message_attributes(messages: Sequence[str]) -> list[dict[str, str]]:
    """What the customer wrote, as one order attribute, oldest first. The one place that knows its shape
    (docs/kornitx.md 4)."""
    text = "\n\n".join(message.strip() for message in messages if message.strip())
    return [{"name": ":MiraklOrderMessage", "value": text}] if text else []


def _load(raw_order: bytes) -> dict[str, Any]:
    try:
        order = simplejson.loads(raw_order.decode(), use_decimal=True)
    except (ValueError, ArithmeticError, RecursionError):
        raise Unreadable(UnreadableReason.NOT_JSON) from None
    if not isinstance(order, dict):
        raise Unreadable(UnreadableReason.NOT_JSON, "not an object")
    return order


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in ("", None, [])}


def _object(parent: Mapping[str, Any], field: str) -> dict[str, Any]:
    value = parent.get(field)
    return value if isinstance(value, dict) else {}


def _text(fields: Mapping[str, Any], field: str) -> str:
    value = fields.get(field)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return ""
    return storable(str(value))


def _amount(value: object) -> Decimal | int | None:
    """Money as a number; Mirakl's samples hold strings too (docs/mirakl.md 2.1)."""
    try:
        amount = Decimal(value) if isinstance(value, str) else value
    except InvalidOperation:
        return None
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal):
        return None
    return amount if Decimal(amount).is_finite() else None


def _name(fields: Mapping[str, Any]) -> str:
    return f"{_text(fields, 'firstname')} {_text(fields, 'lastname')}".strip()


def _phones(shipping: Mapping[str, Any]) -> dict[str, str]:
    first, second = _text(shipping, "phone"), _text(shipping, "phone_secondary")
    return {"customer_telephone": first or second, "customer_telephone_mobile": second if first else ""}


def _address(kind: str, address: Mapping[str, Any]) -> dict[str, str]:
    """City in line 4 and region in line 5, as the vendor's own plugin has it (docs/kornitx.md 3.1)."""
    iso, label = _text(address, "country_iso_code"), _text(address, "country")
    companies = (_text(address, "company"), _text(address, "company_2"))
    fields = {
        "company": ", ".join(filter(None, companies)),
        "address_1": _text(address, "street_1"),
        "address_2": _text(address, "street_2"),
        "address_3": _text(address, "additional_info"),
        "address_4": _text(address, "city"),
        "address_5": _text(address, "state"),
        "postcode": _text(address, "zip_code"),
        "country": label,
        "country_code": (country_code(iso, label) or "") if iso or label else "",
    }
    return {f"{kind}_{field}": value for field, value in fields.items()}


def _billing(address: Mapping[str, Any]) -> dict[str, str]:
    return {
        "billing_customer_name": _name(address),
        "billing_customer_telephone": _text(address, "phone") or _text(address, "phone_secondary"),
        **_address("billing", address),
    }


def _method(order: Mapping[str, Any], shipping_methods: Mapping[str, str]) -> str:
    code, label = _text(order, "shipping_type_code"), _text(order, "shipping_type_label")
    return shipping_methods.get(code) or shipping_methods.get(label) or code or label


def _items(order: Mapping[str, Any], missing: list[str]) -> list[dict[str, Any]]:
    """The open lines; what they lack is added to `missing`."""
    lines = order.get("order_lines")
    items = []
    for index, line in enumerate(lines if isinstance(lines, list) else []):
        fields = line if isinstance(line, dict) else {}
        quantity = _quantity(fields.get("quantity"))
        if _text(fields, "order_line_state") in CLOSED_LINE_STATES or quantity == 0:
            continue  # 0: partly canceled until nothing was left
        item = {
            "external_ref": _id(fields, "order_line_id"),
            "sku": _text(fields, "offer_sku"),
            "description": _text(fields, "product_title") or _text(fields, "description"),
            "quantity": quantity,
            "type": TEXTUAL_ITEM,
            "unit_sale_price": _amount(fields.get("price_unit")),
        }
        # A description is for people, and the SKU says as much as is known.
        item["description"] = item["description"] or item["sku"]
        sources = {"external_ref": "order_line_id", "sku": "offer_sku", "quantity": "quantity"}
        missing += [f"order_lines[{index}].{source}" for field, source in sources.items() if not item[field]]
        items.append(_present(item))
    if not items:
        missing.append("order_lines")
    return items


def _id(fields: Mapping[str, Any], field: str) -> str:
    """Verbatim, as wire.py reads it: what the OMS tells later is matched by it."""
    value = fields.get(field)
    try:
        return usable_id(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    except ValueError:
        return ""


def _quantity(value: object) -> int | None:
    """Missing counts as 1; None for what is no whole number: making a wrong number of goods is worse than asking."""
    number = _amount(1 if value is None else value)
    return int(number) if number is not None and 0 <= number < 10**9 and number == int(number) else None
