"""When two reads show the same order, and when two imports are made of the same values."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.errors import Unimportable
from adapters.messages.identity import same_read
from adapters.messages.snapshots import snapshot_of
from adapters.messages.text import digest_of
from adapters.remotes.kornitx_order import OrderRules, build_payload
from adapters.simulators.orders import MARKETPLACES, Line, build_order
from adapters.store.facts_json import facts_from_json, facts_to_json
from statemachine.facts import Facts, Snapshot
from tests.adapters.messages.helpers import NOW


def sample() -> dict[str, Any]:
    lines = [Line("MUG-11OZ-WHT", 2), Line("MUG-11OZ-WHT", 1)]
    order: dict[str, Any] = build_order(MARKETPLACES["alpha"], "1-A", created=NOW, lines=lines, state="SHIPPING")
    order |= {"order_additional_fields": [{"code": "gift", "type": "STRING", "value": "For Canary"}]}
    return json.loads(json.dumps(order, default=str))  # type: ignore[no-any-return]


def read(order: Any, **style: Any) -> Snapshot:
    return snapshot_of(json.dumps(order, **style).encode(), NOW)[1]


def test_the_order_of_members_and_white_space_are_no_change() -> None:
    order = sample()
    turned = dict(reversed(order.items()))
    turned["order_lines"] = [dict(reversed(line.items())) for line in order["order_lines"]]
    assert read(turned, indent=2) == read(order)
    assert read(order | {"order_state": "SHIPPED"}).digest != read(order).digest


def test_a_version_before_stored_the_digest_of_the_bytes() -> None:
    raw = json.dumps(sample()).encode()
    digest = snapshot_of(raw, NOW)[1].digest
    assert digest != digest_of(raw)
    assert same_read(raw, digest, digest)
    assert same_read(raw, digest, digest_of(raw))
    assert not same_read(raw + b" ", digest, digest_of(raw))


@pytest.mark.parametrize("value", [b"[" * 900 + b"]" * 900, b"1e400"])
def test_an_order_at_the_edge_of_what_can_be_read_has_a_digest(value: bytes) -> None:
    raw = b'{"order_id": "1-A", "order_state": "SHIPPING", "x": ' + value + b"}"
    assert snapshot_of(raw, NOW)[1].digest


def test_a_field_that_no_import_is_made_of_leaves_the_import_as_it_is() -> None:
    order = sample()
    other = order | {"last_updated_date": "2026-03-07T00:00:00Z", "has_incident": True, "references": {"x": 1}}
    other["order_lines"] = [
        line | {"received_date": "2026-03-07", "total_commission": 7} for line in order["order_lines"]
    ]
    assert read(other).digest != read(order).digest
    assert read(other).import_digest == read(order).import_digest


def test_a_number_in_another_form_and_an_amount_as_text_are_no_change() -> None:
    order, other = sample(), sample()
    order |= {"shipping_price": 4.5, "x": {"y": [1, 10**400]}}
    order["order_lines"][0] |= {"price_unit": 30, "price": 30, "taxes": [{"amount": 5, "rate": 20.0}]}
    other |= {"shipping_price": "4.50", "x": {"y": [1.0, 10**400]}}
    other["order_lines"][0] |= {"price_unit": "30.00", "price": 30.0, "taxes": [{"amount": "5.0", "rate": "20"}]}
    assert read(other) == read(order)
    other["order_lines"][0] |= {"price_unit": "30.01"}
    assert read(other).import_digest != read(order).import_digest
    assert read(order | {"x": {"y": ["1"]}}).digest != read(order | {"x": {"y": [1]}}).digest


def test_half_a_character_in_any_text_can_be_stored_and_sent() -> None:
    """JSON allows a surrogate without its other half. No database and no other JSON parser takes it."""
    for path in paths(sample()):
        other = sample()
        if path == ("order_id",) or not isinstance(at(other, path), str):
            continue
        set_at(other, path, "a\ud800")
        snapshot = read(other)
        text = facts_to_json(Facts(snapshot=snapshot))
        assert facts_from_json(text).snapshot == snapshot, path
        assert not is_lone.search(str(snapshot)), path
        assert not is_lone.search(str(payload(other))), path


is_lone = re.compile("[\ud800-\udfff]|\\\\ud[89a-f]")


def test_a_line_that_is_not_owed_any_more_makes_another_import() -> None:
    order = sample()
    order["order_lines"][1]["order_line_state"] = "CANCELED"
    assert read(order).import_digest != read(sample()).import_digest


def test_whatever_changes_the_payload_changes_what_the_import_is_made_of() -> None:
    """So a rejected order is imported again as soon as the cause of the rejection is mended."""
    before, changed = read(sample()), 0
    for path in paths(sample()):
        other = sample()
        set_at(other, path, "7" if isinstance(at(other, path), str) else 7)
        if payload(other) != payload(sample()):
            changed += 1
            assert read(other).import_digest != before.import_digest, path
    assert changed > 30


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of each member that is neither an object nor a list."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in members:
        yield from paths(inner, (*path, name)) if isinstance(inner, dict | list) else [(*path, name)]


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


def set_at(value: Any, path: tuple[Any, ...], new: Any) -> None:
    at(value, path[:-1])[path[-1]] = new


def payload(order: Any) -> object:
    try:
        lines = {line.id: line.quantity for line in read(order).owed_lines}
        return build_payload(json.dumps(order).encode(), (), lines, OrderRules(company_ref_id=1))
    except Unimportable as error:
        return error.missing
