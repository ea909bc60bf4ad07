"""Helpers of the tests of messages: samples of each message, and functions that read a message."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import strategies as st

from adapters.errors import Unreadable, UnreadableReason
from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import ShopIds, decode_oms, oms_event
from statemachine.events import Event

NOW = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
SHOPS = (ShopIds("alpha", 99999),)

#: Any JSON value, and also NaN and Infinity, which Python writes and reads although they are not JSON.
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def reason_of(call: Any, *args: Any) -> UnreadableReason:
    """The reason with which a call raises Unreadable."""
    with pytest.raises(Unreadable) as caught:
        call(*args)
    assert isinstance(caught.value.reason, UnreadableReason)
    return caught.value.reason


def order(**changes: Any) -> bytes:
    """An order of OR11."""
    return json.dumps({"order_id": "A-1", "order_state": "SHIPPING"} | changes).encode()


def callback(**changes: Any) -> dict[str, Any]:
    """KornitX's callback for an order that was dispatched."""
    return {
        "id": 46140204,
        "ref": "8679131463FC8D18",
        "external_ref": "00000012-A",
        "status": 8,
        "status_name": "Dispatched",
        "shipping_carrier": " Royal Mail ",
        "shipping_tracking": "AB1",
        "new_shipments": [
            {
                "dispatch_datetime": "2025-03-06 12:04:19",
                "tracking": "AB1",
                "tracking_url": "https://track.example/AB1",
                "items": [{"quantity": 2, "ref": "C3", "external_ref": "00000012-A-1"}],
            }
        ],
        "new_cancellations": [],
    } | changes


def decoded(payload: dict[str, Any], shops: tuple[ShopIds, ...] = SHOPS) -> Event:
    """The event that the consumer reads from a record with this callback."""
    record = record_of("t", oms_event(99999, json.dumps(payload).encode(), NOW))
    event = decode_oms(record.value, record.headers, shops)
    assert event is not None
    return event
