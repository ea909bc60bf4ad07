"""Each field of OR11: docs/mirakl.md 5.12 agrees with Mirakl's description and with the code."""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from adapters.errors import Unimportable, Unreadable
from adapters.messages.snapshots import snapshot_of
from adapters.remotes.kornitx_order import OrderRules, build_payload

ROOT = Path(__file__).resolve().parents[3]
DESCRIPTION = ROOT.parent / "shared" / "mirakl" / "mmp-seller-openapi.json"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

READ, PASSED_ON, IGNORED = "read", "passed on", "ignored"
LINE = "order_lines[]."

#: Values that the code knows. All other fields have a value of their type.
KNOWN: Final = {
    "order_state": "SHIPPING",
    "currency_iso_code": "EUR",
    "order_tax_mode": "TAX_EXCLUDED",
    "payment_workflow": "PAY_ON_ACCEPTANCE",
    "fully_refunded": False,
    "shipping_tracking_url": "https://t.example/1",
    "shipping_deadline": "2026-03-05T12:00:00Z",
    "customer.shipping_address.country_iso_code": "PRT",
    "customer.billing_address.country_iso_code": "PRT",
    LINE + "order_line_state": "SHIPPING",
    LINE + "quantity": 2,
    LINE + "price": 20,
    LINE + "price_unit": 10,
    # A piece that is canceled and one that is refunded, each with its price.
    LINE + "cancelations[].quantity": 1,
    LINE + "cancelations[].amount": 10,
    LINE + "refunds[].quantity": 1,
    LINE + "refunds[].amount": 10,
}
#: Other values, for fields in which the usual change (one more letter, or the number plus one) gives no valid value.
OTHER: Final = {
    "currency_iso_code": "GBP",
    "order_tax_mode": "TAX_INCLUDED",
    "shipping_tracking_url": "https://t.example/2",
    "customer.shipping_address.country_iso_code": "ESP",
    "customer.billing_address.country_iso_code": "ESP",
    LINE + "price": 1,  # what the refund of the sample covers
}
#: Fields that count only where others are absent.
WITHOUT: Final = {
    "shipping_type_label": ("shipping_type_code",),
    "customer.firstname": ("customer.shipping_address.firstname", "customer.shipping_address.lastname"),
    "customer.lastname": ("customer.shipping_address.firstname", "customer.shipping_address.lastname"),
    "customer.shipping_address.street_1": ("customer.shipping_address.street_2",),
    "customer.shipping_address.street_2": ("customer.shipping_address.street_1",),
    "customer.billing_address.phone_secondary": ("customer.billing_address.phone",),
    LINE + "description": (LINE + "product_title",),
}


def rows() -> dict[str, frozenset[str]]:
    """The uses of each field that the table names."""
    page = (ROOT / "docs/mirakl.md").read_text(encoding="utf-8")
    table = page.partition("### 5.12 ")[2].partition("\n#")[0]
    found: dict[str, frozenset[str]] = {}
    for names, uses in re.findall(r"^\| (`.+?`) \| ([a-z, ]+) \|", table, re.MULTILINE):
        for name in re.findall(r"`(.+?)`", names):
            field = re.sub(r"^line\.", LINE, name)
            assert field not in found, f"{name} stands in the table twice"
            found[field] = frozenset(uses.split(", "))
    return found


ROWS = rows()


def row_of(path: str) -> str | None:
    """The longest field of the table that covers this one."""
    covering = [row for row in ROWS if path == row or path.startswith((row + ".", row + "[]"))]
    return max(covering, key=len, default=None)


@pytest.fixture(scope="module")
def fields() -> dict[str, str]:
    """Each field of an order that holds no others, with its type, as Mirakl describes it."""
    if not DESCRIPTION.is_file():
        pytest.skip(f"Mirakl's description of its API is not at {DESCRIPTION}")
    api = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
    answer = api["paths"]["/api/orders"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]

    def resolved(schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = api["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema

    def leaves(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
        schema = resolved(schema)
        inner = [*schema.get("allOf", ()), *schema.get("anyOf", ()), *schema.get("oneOf", ())]
        for one in inner:
            yield from leaves(one, path)
        for name, value in schema.get("properties", {}).items():
            yield from leaves(value, f"{path}.{name}" if path else name)
        if "items" in schema:
            yield from leaves(schema["items"], path + "[]")
        elif not inner and "properties" not in schema:
            yield path, "date" if schema.get("format") == "date-time" else schema.get("type", "string")

    order = resolved(answer)["properties"]["orders"]["items"]
    # The value of a custom field stands in sub-schemas that the type chooses (docs/mirakl.md 12).
    values = {
        f"{field}[].value": "string" for field in ("order_additional_fields", LINE + "order_line_additional_fields")
    }
    return dict(leaves(order, "")) | values


def test_the_table_has_each_field_of_the_description_and_no_other(fields: dict[str, str]) -> None:
    assert [path for path in fields if row_of(path) is None] == []
    used = {row_of(path) for path in fields}
    assert sorted(ROWS.keys() - used) == ["acceptance_deadline"], "observed, not in the description"
    assert {use for uses in ROWS.values() for use in uses} == {READ, PASSED_ON, IGNORED}
    assert [row for row, uses in ROWS.items() if IGNORED in uses and len(uses) > 1] == []


def test_the_code_does_with_each_field_what_the_table_says(fields: dict[str, str]) -> None:
    kinds = fields | {"acceptance_deadline": "date"}
    wrong = []
    for path, kind in kinds.items():
        order = sample(kinds)
        for other in WITHOUT.get(path, ()):
            put(order, other, None)
        before, uses = effects(order), set()
        for value in (OTHER.get(path, other_value(get(order, path), kind)), None):
            changed = copy.deepcopy(order)
            put(changed, path, value)
            uses |= difference(before, effects(changed))
        row = row_of(path)
        if uses != ROWS[row or ""] - {IGNORED}:
            wrong.append(f"{path}: {sorted(uses)}, the table says {sorted(ROWS[row or ''])}")
    assert wrong == [], "\n".join(wrong)


def effects(order: Any) -> tuple[object, object, object]:
    """What the state machine sees of an order, what of it is compared after an import, and what the OMS gets."""
    raw = json.dumps(order).encode()
    try:
        order_id, snapshot = snapshot_of(raw, NOW)
    except Unreadable as error:
        return str(error), None, None
    pieces = {line.id: line.quantity for line in snapshot.lines}  # whether they are owed or not
    try:
        payload: object = build_payload(raw, (), pieces, OrderRules(1))
    except Unimportable as error:
        payload = error.missing
    # References decide nothing: `orders list --text` looks for them.
    seen = replace(snapshot, digest="", import_digest="", contents=(), references="")
    return (order_id, seen), snapshot.contents, payload


def difference(one: tuple[object, ...], other: tuple[object, ...]) -> set[str]:
    """What a field is used for, by the effects of its two values.

    A field that is only compared after an import counts as read. Whether it is also passed on follows from the payload.
    """
    decides, compared, sent = (a != b for a, b in zip(one, other, strict=True))
    return {READ for _ in [0] if decides or (compared and not sent)} | {PASSED_ON for _ in [0] if sent}


def sample(kinds: dict[str, str]) -> dict[str, Any]:
    """An order that has every field, with one element in each list."""
    order: dict[str, Any] = {}
    for index, (path, kind) in enumerate(kinds.items()):
        values = {"date": "2026-02-01T12:00:00Z", "boolean": True, "integer": 3, "number": 1.25}
        put(order, path, KNOWN.get(path, values.get(kind, f"text {index}")))
    return order


def other_value(value: Any, kind: str) -> Any:
    if kind == "boolean":
        return not value
    if kind == "date":
        return value.replace("T12", "T13")
    return value + 1 if isinstance(value, int | float) else f"{value} x"


def put(holder: Any, path: str, value: Any) -> None:
    """Set a field. Objects and lists around the field are made if they are absent."""
    *above, last = path.split(".")
    for name in above:
        bare = name.removesuffix("[]")
        holder = holder.setdefault(bare, [{}] if bare != name else {})
        holder = holder[0] if bare != name else holder
    holder[last.removesuffix("[]")] = [value] if last.endswith("[]") else value


def get(holder: Any, path: str) -> Any:
    for name in path.split("."):
        holder = holder[name.removesuffix("[]")]
        holder = holder[0] if name.endswith("[]") else holder
    return holder
