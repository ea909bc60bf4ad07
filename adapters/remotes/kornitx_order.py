"""Build the body of KornitX's POST /order from an order of Mirakl (docs/kornitx.md 3, 10)."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import simplejson

from adapters.errors import Unimportable, Unreadable, UnreadableReason
from adapters.messages.countries import country_code
from adapters.messages.text import instant, storable, usable_id, whole_text
from adapters.remotes.kornitx_money import TAX_EXCLUDED, TAX_INCLUDED, Prices

#: KornitX's type of an item without artwork, on which the customer's text is printed (docs/kornitx.md 3.3).
TEXTUAL_ITEM: Final = 5
#: The attribute of an order that names the pick-up point.
PICKUP_POINT: Final = ":MiraklPickupPoint"


@dataclasses.dataclass(frozen=True, slots=True)
class OrderRules:
    """What a shop decides about its orders at the OMS, by its settings."""

    company_ref_id: int
    external_ref_prefix: str = ""
    #: The tax mode in which the shop asks for orders. It counts if an order does not name its own.
    tax_mode: str = TAX_INCLUDED
    #: KornitX's shipping method for the code or the label of Mirakl's shipping type.
    shipping_methods: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: The alpha-2 code for names or codes of countries that the shop uses. It comes before every table.
    countries: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: The name of the attribute for the code of a custom field; "" leaves the field out.
    custom_fields: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Codes of custom fields that an import does not carry in any form.
    left_out: frozenset[str] = frozenset()
    #: Codes of custom fields without which an order, or an order line, is not imported.
    required_order_fields: frozenset[str] = frozenset()
    required_line_fields: frozenset[str] = frozenset()
    #: Codes of custom fields of the order that name the pick-up point, if shipping_pudo_id does not.
    pickup_point_fields: Sequence[str] = ()
    #: Whether the pick-up point also goes into the company line of the shipping address.
    pickup_point_as_company: bool = False


def build_payload(
    raw_order: bytes,
    messages: Sequence[str],
    quantities: Mapping[str, int | None],
    rules: OrderRules,
    external_ref: str = "",
) -> bytes:
    """Build the body of POST /order. The same arguments give the same bytes. Amounts keep every digit.

    `quantities` are the pieces of each line that the seller still has to send, by the line's id; None if Mirakl names
    no number. Other lines are left out. `messages` are the customer's messages, oldest first. `external_ref` "": the
    shop's prefix and the order's id.

    Raises Unimportable if a value is missing that cannot be derived, Unreadable if `raw_order` is not a JSON object.
    """
    order = _load(raw_order)
    order_id = id_of(order, "order_id")
    missing = [] if order_id else ["order_id"]
    shipping = _object(_object(order, "customer"), "shipping_address")
    created = instant(order.get("created_date"))
    point = _pickup_point(order, rules)
    prices = Prices(_tax_mode(order, rules.tax_mode, missing), missing)
    lines = [
        (f"order_lines[{index}].", line)
        for index, line in enumerate(_lines(order))
        if id_of(line, "order_line_id") in quantities
    ]
    if isinstance(order.get("shipping_pudo_id"), dict | list):
        missing.append("shipping_pudo_id (not a text)")
    missing += _absent_fields(order, "order_additional_fields", rules.required_order_fields, rules.custom_fields)
    payload: dict[str, Any] = {
        "external_ref": external_ref or rules.external_ref_prefix + order_id,
        "company_ref_id": rules.company_ref_id,
        "sale_datetime": created.replace(tzinfo=None).isoformat(" ", "seconds") if created else "",
        "customer_name": _name(shipping) or _name(_object(order, "customer")) or _company(shipping),
        "customer_email": text_of(order, "customer_notification_email"),
        **_phones(shipping),
        **_address("shipping", shipping, rules.countries),
        "shipping_company": _joined(point if rules.pickup_point_as_company else "", _company(shipping)),
        "shipping_method": _method(order, rules.shipping_methods),
        **prices.of_shipping(order, lines, is_whole=len(lines) == len(_lines(order))),
        **_billing(_object(_object(order, "customer"), "billing_address"), rules.countries),
        "payment_trans_id": text_of(order, "transaction_number"),
        "payment_type": text_of(order, "payment_type"),
        "currency_code": _currency(order),
        "attributes": [
            *message_attributes(messages),
            *_named(PICKUP_POINT, point),
            *_custom_fields(order, "order_additional_fields", rules.custom_fields),
        ],
        "items": [
            _item(line, quantities[id_of(line, "order_line_id")], prices.of_line(line, at), rules.custom_fields)
            for at, line in lines
        ],
    }
    for (at, line), item in zip(lines, payload["items"], strict=True):
        missing += [f"{at}{name}" for name in _absent_of_item(item, line, rules)]
    missing += [source for field, source in _NEEDED.items() if payload.get(field) in ("", None, [])]
    if missing:
        raise Unimportable(missing)
    return simplejson.dumps(_present(payload), use_decimal=True, allow_nan=False).encode()


#: The fields without which nothing is imported, each with the field of Mirakl's order that it is read from. KornitX
#: does not require the currency, but without one it may take the amounts for those of another. The postcode is not
#: required here, because some countries have none.
_NEEDED: Final = {
    "sale_datetime": "created_date",
    "customer_name": "customer.shipping_address.lastname",
    "shipping_address_1": "customer.shipping_address.street_1",
    "shipping_address_4": "customer.shipping_address.city",
    "shipping_country_code": "customer.shipping_address.country_iso_code",
    "currency_code": "currency_iso_code",
    "items": "order_lines",
}


def pieces_in(payload: bytes) -> tuple[tuple[str, int], ...]:
    """The lines of a payload that `build_payload` built, each with its pieces. Empty if the payload cannot be read."""
    try:
        items = [(item["external_ref"], item["quantity"]) for item in simplejson.loads(payload)["items"]]
    except (ValueError, TypeError, LookupError):
        return ()
    return tuple(sorted((line, pieces) for line, pieces in items if isinstance(line, str) and isinstance(pieces, int)))


def external_ref_in(payload: bytes) -> str:
    """The external_ref of a payload that `build_payload` built. Empty if the payload cannot be read."""
    try:
        return str(simplejson.loads(payload)["external_ref"])
    except (ValueError, TypeError, LookupError):
        return ""


def beginning_with(external_ref: str) -> bytes:
    """How a payload with this external_ref begins, if this version of `build_payload` built it."""
    return f'{{"external_ref": {simplejson.dumps(external_ref)}, '.encode()


_MESSAGES: Final = ":MiraklOrderMessage"


def message_attributes(messages: Sequence[str]) -> list[dict[str, str]]:
    """All the customer's messages, oldest first, in one attribute of the order (docs/kornitx.md 4)."""
    text = "\n\n".join(message.strip() for message in messages if message.strip())
    return _named(_MESSAGES, text)


def messages_in(payload: bytes) -> str:
    """The customer's messages in a payload that `build_payload` built. Empty if it has none, or cannot be read."""
    try:
        attributes = simplejson.loads(payload)["attributes"]
        return next((str(one["value"]) for one in attributes if one["name"] == _MESSAGES), "")
    except (ValueError, TypeError, LookupError):
        return ""


def _named(name: str, value: str) -> list[dict[str, str]]:
    """The attribute of this name, or none if it has no value."""
    return [{"name": name, "value": value}] if value else []


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


def text_of(fields: Mapping[str, Any], field: str) -> str:
    """The field as text, made safe to store. "" if the field is absent, or is neither a text nor a number."""
    value = fields.get(field)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return ""
    return storable(str(value))


def _currency(order: Mapping[str, Any]) -> str:
    """The code of the currency (ISO 4217). "" if Mirakl names none, or something that is no such code."""
    code = text_of(order, "currency_iso_code").strip()
    return code if len(code) == 3 and code.isascii() and code.isalpha() else ""


def _name(fields: Mapping[str, Any]) -> str:
    return f"{text_of(fields, 'firstname')} {text_of(fields, 'lastname')}".strip()


def _phones(shipping: Mapping[str, Any]) -> dict[str, str]:
    first, second = text_of(shipping, "phone"), text_of(shipping, "phone_secondary")
    return {"customer_telephone": first or second, "customer_telephone_mobile": second if first else ""}


def _company(address: Mapping[str, Any]) -> str:
    return _joined(text_of(address, "company"), text_of(address, "company_2"))


def _joined(*texts: str) -> str:
    return ", ".join(filter(None, texts))


def _address(kind: str, address: Mapping[str, Any], countries: Mapping[str, str]) -> dict[str, str]:
    """The fields of an address. Line 4 is the city, line 5 the region, as in KornitX's plugin (docs/kornitx.md 3.1).

    A street that stands in street_2 alone moves to line 1, which KornitX requires.
    """
    iso, label = text_of(address, "country_iso_code"), text_of(address, "country")
    street, more = text_of(address, "street_1"), text_of(address, "street_2")
    fields = {
        "company": _company(address),
        "address_1": street or more,
        "address_2": more if street else "",
        "address_3": text_of(address, "additional_info"),
        "address_4": text_of(address, "city"),
        "address_5": text_of(address, "state"),
        "postcode": text_of(address, "zip_code"),
        "country": label,
        "country_code": (country_code(iso, label, countries) or "") if iso or label else "",
    }
    return {f"{kind}_{field}": value for field, value in fields.items()}


def _billing(address: Mapping[str, Any], countries: Mapping[str, str]) -> dict[str, str]:
    return {
        "billing_customer_name": _name(address) or _company(address),
        "billing_customer_telephone": text_of(address, "phone") or text_of(address, "phone_secondary"),
        **_address("billing", address, countries),
    }


def _pickup_point(order: Mapping[str, Any], rules: OrderRules) -> str:
    """The pick-up point that the customer chose (docs/mirakl.md 5.2), or "" for none."""
    by_code = dict(_custom_values(order, "order_additional_fields"))
    named = [
        text_of(order, "shipping_pudo_id"),
        *(storable(by_code.get(code) or "") for code in rules.pickup_point_fields),
    ]
    return next(filter(None, named), "")


def _method(order: Mapping[str, Any], shipping_methods: Mapping[str, str]) -> str:
    code, label = text_of(order, "shipping_type_code"), text_of(order, "shipping_type_label")
    return shipping_methods.get(code) or shipping_methods.get(label) or code or label


def tax_mode_of(raw_order: bytes) -> str:
    """The tax mode that an order names, or "" for none. Raises Unreadable if `raw_order` is not a JSON object."""
    return text_of(_load(raw_order), "order_tax_mode")


def _tax_mode(order: Mapping[str, Any], asked: str, missing: list[str]) -> str:
    """The tax mode of the order's amounts (docs/mirakl.md 5.2)."""
    mode = text_of(order, "order_tax_mode") or asked
    if mode not in (TAX_INCLUDED, TAX_EXCLUDED):
        missing.append("order_tax_mode (not known)")
    return mode


def _lines(order: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every line of the order. A line that is not an object becomes an empty one, so the others keep their indexes."""
    lines = order.get("order_lines")
    return [line if isinstance(line, dict) else {} for line in (lines if isinstance(lines, list) else [])]


def _item(
    line: Mapping[str, Any], quantity: int | None, prices: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    """The item for one line."""
    sku = text_of(line, "offer_sku")
    return _present(
        {
            "external_ref": id_of(line, "order_line_id"),
            "sku": sku,
            # Only people read the description. Without one they see the SKU.
            "description": text_of(line, "product_title") or text_of(line, "description") or sku,
            "quantity": quantity,
            "type": TEXTUAL_ITEM,
            **prices,
            "attributes": _custom_fields(line, "order_line_additional_fields", names),
        }
    )


def _absent_of_item(item: Mapping[str, Any], line: Mapping[str, Any], rules: OrderRules) -> list[str]:
    """The names of the line's fields that its item needs and that have no value, or none that can be written."""
    sources = {"external_ref": "order_line_id", "sku": "offer_sku", "quantity": "quantity"}
    absent = _absent_fields(line, "order_line_additional_fields", rules.required_line_fields, rules.custom_fields)
    return absent + [source for field, source in sources.items() if not item.get(field)]


def _custom_fields(parent: Mapping[str, Any], field: str, names: Mapping[str, str]) -> list[dict[str, str]]:
    """Mirakl's custom fields as attributes (docs/kornitx.md 4). A field without a value is left out.

    A marketplace often keeps the text of a personalised product in such a field. `names` gives the attribute's name for
    the code of a field, or "" to leave the field out. A code that is not in `names` gets the name `:Mirakl.CODE`.
    """
    named = [(names.get(code, f":Mirakl.{code}"), value) for code, value in _custom_values(parent, field)]
    return [{"name": name, "value": value} for name, value in named if name and value]


def _absent_fields(
    parent: Mapping[str, Any], field: str, required: Collection[str], names: Mapping[str, str]
) -> list[str]:
    """The names of the custom fields without which no import is built: required but empty, or impossible to write."""
    values = _custom_values(parent, field)
    absent = set(required) - {code for code, value in values if value}
    unwritten = {code for code, value in values if value is None and names.get(code) != ""}
    return [*_strange_fields(parent, field), *(f"{field}.{code}" for code in sorted(absent | unwritten))]


def _strange_fields(parent: Mapping[str, Any], field: str) -> list[str]:
    """Name the custom fields if a value among them has no code, or if they are no list of fields: a text for the goods
    may be in there."""
    found = parent.get(field) or []
    fields = found if isinstance(found, list) else [found]
    strange = [one for one in fields if one and not (isinstance(one, dict) and _has_code_or_no_value(one))]
    return [f"{field} (not a list of codes and values)"] if strange or fields is not found else []


def _has_code_or_no_value(custom_field: Mapping[str, Any]) -> bool:
    return bool(text_of(custom_field, "code")) or _custom_value(custom_field.get("value")) == ""


def _custom_values(parent: Mapping[str, Any], field: str) -> list[tuple[str, str | None]]:
    """The code and the value of each custom field that has both. None is a value that cannot be written as text."""
    found = parent.get(field)
    fields = [one for one in (found if isinstance(found, list) else []) if isinstance(one, dict)]
    values = [(text_of(one, "code"), _custom_value(one.get("value"))) for one in fields]
    return [(code, value) for code, value in values if code and value != ""]


def _custom_value(value: object) -> str | None:
    """The value of a custom field as text, whole and with its line breaks, because the goods may carry it.

    Mirakl gives a text, a number, a boolean, or a list of texts. "" for no value. None for anything else.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        texts = [_custom_value(one) for one in value]
        return None if None in texts else _joined(*filter(None, texts))
    if isinstance(value, str | int | Decimal):
        text = whole_text(str(value))
        return text if text.strip() else ""
    return None


def id_of(fields: Mapping[str, Any], field: str) -> str:
    """The id in this field, unchanged, because the OMS's reports are matched by it. "" if `usable_id` refuses it."""
    value = fields.get(field)
    try:
        return usable_id(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    except ValueError:
        return ""
