"""A decoder returns an event for any bytes, or raises Unreadable with a reason of the closed set."""

import json
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Unreadable
from adapters.messages.cloudevents import from_record
from adapters.messages.json_slices import slice_orders
from adapters.messages.oms_events import KornitXCallback, decode_oms, oms_event
from adapters.messages.snapshots import MiraklOrder, decode_snapshot, snapshot_of
from tests.adapters.messages.helpers import JSON_VALUES, NOW, SHOPS, callback, decoded, reason_of

#: Objects whose members have the names that the models read, so that the values reach the models.
ORDERS = st.dictionaries(
    st.sampled_from([*MiraklOrder.model_fields, "order_id", "order_lines", "customer"]), JSON_VALUES
)
CALLBACKS = st.dictionaries(st.sampled_from([*KornitXCallback.model_fields]), JSON_VALUES)


@given(st.binary(max_size=60) | JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_unreadable(raw: bytes) -> None:
    for call in (
        lambda: slice_orders(raw),
        lambda: snapshot_of(raw, NOW),
        lambda: decode_snapshot(raw, (), {"alpha"}),
        lambda: decode_oms(raw, (), SHOPS),
        lambda: oms_event(1, raw, NOW),
    ):
        with suppress(Unreadable):
            call()


def is_json(raw: bytes) -> bool:
    """Whether the value is JSON. Python also reads NaN and Infinity, which are not JSON."""
    found: list[str] = []
    json.loads(raw, parse_constant=found.append)
    return not found


def texts_of(value: Any) -> list[str]:
    if is_dataclass(value):
        return [text for field in fields(value) for text in texts_of(getattr(value, field.name))]
    if isinstance(value, tuple | list):
        return [text for one in value for text in texts_of(one)]
    return [value] if isinstance(value, str) else []


@given(ORDERS)
def test_only_its_id_makes_an_order_unreadable_and_every_text_can_be_stored(value: dict[str, Any]) -> None:
    raw = json.dumps({**value, "order_id": "A-1"}, allow_nan=True).encode()
    if not is_json(raw):
        assert reason_of(snapshot_of, raw, NOW) == "not_json"
        return
    order_id, snapshot = snapshot_of(raw, NOW)
    assert order_id == "A-1"
    for stored in texts_of(snapshot):
        assert "\x00" not in stored
        stored.encode()


@given(CALLBACKS)
def test_any_callback_is_read_or_unreadable(value: dict[str, Any]) -> None:
    with suppress(Unreadable):
        assert decoded(value).shop == "alpha"
    with suppress(Unreadable):
        for text in texts_of(decoded(callback() | value)):
            text.encode()


@given(
    st.dictionaries(st.sampled_from(["specversion", "id", "source", "type", "subject", "time", "data"]), JSON_VALUES)
)
def test_any_envelope_is_read_or_unreadable(value: dict[str, Any]) -> None:
    with suppress(Unreadable):
        from_record(json.dumps({"specversion": "1.0"} | value).encode(), ())
    with suppress(Unreadable):
        from_record(
            b"{}",
            [("ce_specversion", b"1.0"), *((f"ce_{k}", repr(v).encode("utf-8", "replace")) for k, v in value.items())],
        )


@pytest.mark.parametrize(
    "raw", [b"[" * 100_000, b'{"a":' * 100_000, b'{"order_id":' + b"9" * 5000 + b"}", b"\xff\xfe{\x00"]
)
def test_deep_huge_and_foreign_json_is_unreadable(raw: bytes) -> None:
    assert reason_of(snapshot_of, raw, NOW) == "not_json"
    assert reason_of(oms_event, 1, raw, NOW) == "not_json"
