"""Short digests of the values that an import carries beside lines and pieces, each with a name that people understand.

The facts of an import keep the digests of the read that the import was made from. If a later read has another digest
for a name, this value has changed since the import. A digest covers named fields only, so a new field of Mirakl's,
another order of members or other white space does not change it.

No setting decides about a digest, because an import and a later read may be of different settings. Those of the custom
fields are made field by field, and an import keeps which fields it left out (statemachine/questions/by_field.py).
Prices have another formula if Mirakl shows them without tax (`order_tax_mode`).

Whoever changes how the digest of a content is made gives the content the next number in FORMULAS. Otherwise every open
order comes to the list, though nothing changed at Mirakl (questions/formulas.py).
"""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from hashlib import sha256
from json.encoder import encode_basestring_ascii
from operator import itemgetter
from typing import Any, Final

from adapters.messages.countries import country_code
from adapters.messages.text import usable_id
from statemachine.facts import MESSAGES, WITHDRAWN_OF
from statemachine.questions.by_field import code_digest, joined
from statemachine.questions.formulas import FIRST, numbered

#: The fields of an address that reach the OMS (docs/kornitx.md 10). The country comes too, by its code or its label.
_ADDRESS: Final = (
    *("firstname", "lastname", "company", "company_2", "street_1", "street_2", "additional_info"),
    *("city", "state", "zip_code", "phone", "phone_secondary"),
)
#: The number of the formula of each content whose digest is not made as at first. WITHDRAWN_OF stands for the
#: withdrawals of every line: a digest by another formula counts as another withdrawal (questions/settled.py), as few
#: lines have one, and a second one that nobody sees makes too many goods. MESSAGES keeps the first formula: no other
#: values of it are kept (questions/other_values.py), so a new one would hide a message.
FORMULAS: Final[Mapping[str, int]] = {"custom fields": 2, "custom fields of lines": 2}
#: The numbers of the formulas of contents that Mirakl shows without tax, if it is asked for them so. After a change of
#: the shop's `order_tax_mode` the amounts differ, though nothing changed.
WITHOUT_TAX: Final[Mapping[str, int]] = {"prices": 2}


def formula_for(name: str) -> int:
    """The number of the formula by which this version makes the digest of this content."""
    return FORMULAS.get(WITHDRAWN_OF if name.startswith(WITHDRAWN_OF) else name, FIRST)


def is_of_this_version(name: str, formula: int) -> bool:
    """Whether this version makes digests of this content by this formula."""
    return formula in (formula_for(name), WITHOUT_TAX.get(name))


def contents_of(order_id: str, order: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return (name, digest) of each thing that an import of this order of OR11 carries, and of each custom field that
    it may leave out, sorted by name.

    A digest is salted with the order's id, and has only 32 bits, so that the value cannot be found from it. The result
    is empty, which means not known, if Python cannot write a value as JSON: it is nested too deeply, or it holds a
    number of thousands of digits.
    """
    try:
        of = written(order_id)
        without_tax = WITHOUT_TAX if order.get("order_tax_mode") == "TAX_EXCLUDED" else {}
        return tuple(
            sorted(
                (name, numbered(_digest(of, name, value), without_tax.get(name, formula_for(name))))
                for name, value in _values(order).items()
            )
        )
    except (ValueError, RecursionError):
        return ()


def shown_contents(order: Mapping[str, Any]) -> dict[str, dict[tuple[str, str], str]]:
    """Return for each name in `contents_of` its values, each by the id of its line and its field. Personal data.

    The line is "" if the value belongs to the whole order, and the field is "" if the name says all. `messages` and
    the withdrawals of lines are left out. Nothing is returned of an order for which `contents_of` returns nothing.
    """
    try:
        values = _values(order)
    except (ValueError, RecursionError):
        return {}
    lists: dict[str, tuple[str, ...]] = {
        "shipping address": (*_ADDRESS, "country"),
        "billing address": (*_ADDRESS, "country"),
        "customer": ("firstname", "lastname", "customer_notification_email"),
    }
    shown: dict[str, dict[tuple[str, str], str]] = {}
    for name, value in values.items():
        if isinstance(value, str):
            shown[name] = {("", ""): value}
        elif name in lists and isinstance(value, list):
            shown[name] = {("", field): one for field, one in zip(lists[name], value, strict=True)}
        elif isinstance(value, _ByField):
            shown[name] = _joined((id_, code, one) for code, all_of_it in value.items() for id_, one in all_of_it)
        elif name in ("articles", "prices") and isinstance(value, list):
            shown[name] = _joined((id_, "", one) for id_, one in value)
    return shown


def _joined(values: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str], str]:
    """The values by line and field. If two have the same, both are shown."""
    found: dict[tuple[str, str], str] = {}
    for line_id, field, value in values:
        key = line_id, field
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


class _ByField(dict[str, list[tuple[str, str]]]):
    """By the code of a custom field, the ids of lines with the values that they have; the id is "" for the order."""


def _values(order: Mapping[str, Any]) -> dict[str, object]:
    customer = _object(order.get("customer"))
    lines = sorted(
        ((_id(line.get("order_line_id")), line) for line in _objects(order.get("order_lines"))), key=itemgetter(0)
    )
    values: dict[str, object] = {
        "shipping address": _address(customer.get("shipping_address")),
        "billing address": _address(customer.get("billing_address")),
        "shipping method": _text(order.get("shipping_type_code")) or _text(order.get("shipping_type_label")),
        "pick-up point": _text(order.get("shipping_pudo_id")),
        "custom fields": _custom_fields([("", order.get("order_additional_fields"))]),
        "custom fields of lines": _custom_fields(
            (id_, line.get("order_line_additional_fields")) for id_, line in lines
        ),
        "articles": [(id_, _text(line.get("offer_sku"))) for id_, line in lines],
        "prices": [(id_, _number(line.get("price_unit"))) for id_, line in lines],
        MESSAGES: order.get("has_customer_message") is True,
    }
    email = _text(order.get("customer_notification_email"))
    if any(_texts(_object(customer.get("shipping_address")), "firstname", "lastname")):
        values["email"] = email
    else:  # the OMS gets the customer's name where the address has none (remotes/kornitx_order.py)
        values["customer"] = [*_texts(customer, "firstname", "lastname"), email]
    for id_, line in lines:
        if taken := [*_objects(line.get("cancelations")), *_objects(line.get("refunds"))]:
            values[WITHDRAWN_OF + id_] = sorted([_text(one.get("id")), _number(one.get("amount"))] for one in taken)
    return values


def _digest(order_id: str, name: str, value: object) -> str:
    """The digest of the JSON array of the three, without the number of its formula. `order_id` is JSON already."""
    if isinstance(value, _ByField):
        return joined({code_digest(code): _digest(order_id, f"{name} {code}", one) for code, one in value.items()})
    return sha256(f"[{order_id}, {written(name)}, {written(value)}]".encode()).hexdigest()[:8]


def written(value: object) -> str:
    """The text that `json.dumps` gives, sooner for lists of lists of texts.

    `json.dumps` makes an encoder for each of the ten values of a read, which takes longer than writing them.
    """
    if type(value) is str:
        return encode_basestring_ascii(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return json.dumps(value)


def _address(value: object) -> list[str]:
    address = _object(value)
    iso, label = _texts(address, "country_iso_code", "country")
    return [*_texts(address, *_ADDRESS), country_code(iso, label) or iso or label]


def _custom_fields(lists: Iterable[tuple[str, object]]) -> _ByField:
    """The fields that have a value, as the import writes them (docs/kornitx.md 4). `lists`: ids of lines, each with the
    list of its fields."""
    found = _ByField()
    for id_, fields in lists:
        for one in _objects(fields):
            code, value = _text(one.get("code")), _custom_value(one.get("value"))
            if code and value:
                found.setdefault(code, []).append((id_, value))
    for values in found.values():
        values.sort()
    return found


def _custom_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return ", ".join(filter(None, map(_custom_value, value))) if isinstance(value, list) else _text(value)


def _texts(fields: Mapping[str, Any], *names: str) -> list[str]:
    return [_text(fields.get(name)) for name in names]


def _text(value: object) -> str:
    if value is None:
        return ""
    return json.dumps(value, sort_keys=True, default=str) if isinstance(value, dict | list) else str(value).strip()


def _id(value: object) -> str:
    """The id of a line as the snapshot has it: "" if it cannot be stored."""
    try:
        return usable_id(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    except ValueError:
        return ""


def _number(value: object) -> str:
    """An amount in one form. Mirakl gives it as a number or as a text, with or without closing zeros.

    See docs/mirakl.md 2.1.
    """
    try:
        return str(Decimal(_text(value)).normalize())
    except ArithmeticError:
        return _text(value)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
