"""Hostile bytes first: whatever arrives, a decoder answers or raises Unreadable with a reason of the closed set."""

import json
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Unreadable, UnreadableReason
from adapters.messages import oms_events, snapshots, text
from adapters.messages.cloudevents import CloudEvent, from_record, record_of
from adapters.messages.json_slices import SlicedPage, member, slice_array, slice_orders
from adapters.messages.oms_events import ShopIds, decode_oms, find_shop, oms_event
from adapters.messages.snapshots import decode_snapshot, snapshot_event, snapshot_of
from adapters.messages.text import instant
from statemachine.events import Event
from statemachine.facts import EPOCH, Cancellation, Dispatch, Part, Tracking

SAMPLES = Path(__file__).resolve().parents[3].parent / "shared" / "mirakl" / "samples"
NOW = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
SHOPS = (ShopIds("alpha", 99999),)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
#: Objects whose members carry the names that the models read, so that the values reach them.
ORDERS = st.dictionaries(
    st.sampled_from([*snapshots.MiraklOrder.model_fields, "order_id", "order_lines", "customer"]), JSON_VALUES
)
CALLBACKS = st.dictionaries(st.sampled_from([*oms_events.KornitXCallback.model_fields]), JSON_VALUES)


def reason_of(call: Any, *args: Any) -> str:
    with pytest.raises(Unreadable) as caught:
        call(*args)
    assert caught.value.reason in UnreadableReason
    return caught.value.reason


def callback(**changes: Any) -> dict[str, Any]:
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


def said(payload: dict[str, Any], shops: tuple[ShopIds, ...] = SHOPS) -> Event:
    record = record_of("t", oms_event(99999, json.dumps(payload).encode(), NOW))
    answer = decode_oms(record.value, record.headers, shops)
    assert answer is not None
    return answer


def order(**changes: Any) -> bytes:
    return json.dumps({"order_id": "A-1", "order_state": "SHIPPING"} | changes).encode()


def texts_of(value: Any) -> list[str]:
    if is_dataclass(value):
        return [text for field in fields(value) for text in texts_of(getattr(value, field.name))]
    if isinstance(value, tuple | list):
        return [text for one in value for text in texts_of(one)]
    return [value] if isinstance(value, str) else []


# -- Any bytes ---------------------------------------------------------------------------------------------------


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
    """Python reads NaN and Infinity as numbers; JSON has no such word."""
    words: list[str] = []
    json.loads(raw, parse_constant=words.append)
    return not words


def test_an_order_in_a_wrong_encoding_spoils_itself_alone() -> None:
    good, bad = b'{"order_id": "A-1"}', b'{"order_id": "\xff"}'
    orders = slice_orders(b'{"orders": [' + bad + b", " + good + b"]}").orders
    assert [order.raw for order in orders] == [bad, good]
    assert reason_of(snapshot_of, bad, NOW) == "not_json"


@given(ORDERS)
def test_only_the_id_makes_an_order_unreadable_and_what_is_kept_can_be_stored(value: dict[str, Any]) -> None:
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
        assert said(value).shop == "alpha"
    with suppress(Unreadable):
        for text in texts_of(said(callback() | value)):
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


# -- Slices ------------------------------------------------------------------------------------------------------

SPACES = st.text(" \t\r\n", max_size=3)
ODD = [
    '{"order_id" : "é\\u00e9"}',
    '{ "b":1.50e+3,\t"a":[ ] }',
    "{}",
    '"\\ud800"',
    "[1 , 2]",
    "null",
    "-0.0",
    "9" * 5000,
    "NaN",
]


@given(st.lists(st.sampled_from(ODD)), st.lists(SPACES, min_size=12, max_size=12), st.integers(0, 10**6) | st.none())
def test_slices_are_the_very_bytes(orders: list[str], space: list[str], total: int | None) -> None:
    inner = f"{space[0]},{space[1]}".join(orders)
    count = "" if total is None else f',{space[2]}"total_count"{space[3]}:{space[4]}{total}{space[5]}'
    page = f'{space[6]}{{{space[7]}"orders"{space[8]}:{space[9]}[{space[10]}{inner}{space[11]}]{count}}}{space[0]}'
    sliced = slice_orders(page.encode())
    assert [order.raw for order in sliced.orders] == [one.encode() for one in orders]
    assert sliced.total_count == total
    assert slice_array(f"{space[0]}[{space[10]}{inner}{space[11]}]{space[1]}".encode()) == [o.encode() for o in orders]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"orders":null}',
        b'{"orders":[{}',
        b'{"orders":[{}]',
        b'{"orders":[{}]}x',
        b'{"orders":[1,]}',
        b'{"orders":[1 2]}',
        b'{1:[],"orders":[]}',
        b"<html>",
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_page_without_orders_is_unreadable(body: bytes) -> None:
    assert reason_of(slice_orders, body) == "not_json"


@pytest.mark.parametrize("text", [b"", b"{}", b"[", b"[1,]", b"[1 2]", b"[1]x", b"\xef\xbb\xbf[]"])
def test_a_text_that_is_no_array_is_unreadable(text: bytes) -> None:
    assert reason_of(slice_array, text) == "not_json"


@pytest.mark.parametrize(
    ("order", "identity"),
    [
        (b'{"order_id": "A-1"}', "A-1"),
        (b'{"order_id": "A-1", "customer": "\xff"}', "A-1"),
        (b'{"order_id": 12}', "12"),
        (b"{}", text.digest_of(b"{}")),
        (b"null", text.digest_of(b"null")),
    ],
)
def test_orders_of_a_page_are_told_apart_whether_or_not_they_can_be_used(order: bytes, identity: str) -> None:
    (found,) = slice_orders(b'{"orders": [' + order + b"]}").orders
    assert found.identity == identity


def test_a_member_keeps_its_bytes() -> None:
    raw = '{"a": 1, "data" : { "x":"é\\u00e9", "n": 1.50 } , "b": []}'.encode()
    assert member(raw, "data") == '{ "x":"é\\u00e9", "n": 1.50 }'.encode()
    assert member(raw, "c") == b""
    assert reason_of(member, b'{"data": 1', "data") == "not_json"


def test_total_count_that_is_no_number_is_no_count() -> None:
    assert slice_orders(b'{"total_count": null, "orders": []}') == SlicedPage([], None)


# -- Snapshots ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order_id", "reason"),
    [
        (None, "missing_field"),
        ("", "missing_field"),
        (12, "bad_id"),
        ("x" * 201, "bad_id"),
        ("a\x00", "bad_id"),
        ("a\ud800", "bad_id"),
        ("  ", "bad_id"),
        ("..", "bad_id"),
        ("a\n", "bad_id"),
        ([], "bad_id"),
    ],
)
def test_ids_that_cannot_be_keys(order_id: object, reason: str) -> None:
    assert reason_of(snapshot_of, order(order_id=order_id), NOW) == reason


def test_a_snapshot_holds_what_the_machine_reads() -> None:
    raw = order(
        payment_workflow="PAY_ON_ACCEPTANCE",
        last_updated_date="2026-03-01T17:41:02.318+01:00",
        created_date="2026-03-01T10:00:00Z",
        shipping_deadline="soon",
        shipping_company="DPD UK",
        shipping_tracking=15501234567890,
        shipping_tracking_url="javascript:alert(1)",
        has_customer_message=True,
        customer={"shipping_address": {"street_1": "1 Mill Lane"}},
        order_lines=[{"order_line_id": "A-1-1", "quantity": "2", "offer_sku": "MUG"}, None, {"order_line_id": None}],
    )
    order_id, snapshot = snapshot_of(raw, NOW)
    assert order_id == "A-1"
    assert snapshot.updated_at == datetime(2026, 3, 1, 16, 41, 2, 318000, tzinfo=UTC)
    assert (snapshot.ship_by, snapshot.has_address, snapshot.has_messages) == (EPOCH, True, True)
    assert snapshot.tracking == Tracking("DPD UK", "15501234567890")
    assert [(line.id, line.sku, line.quantity, line.is_open) for line in snapshot.lines] == [
        ("A-1-1", "MUG", 2, True),
        ("", "", 1, True),  # kept, so that nobody forgets its goods
    ]
    assert len(snapshot.content) == 32


@pytest.mark.parametrize("street", [None, "", "  ", 5.5j, {}, []])
def test_no_street_is_no_address(street: object) -> None:
    value = None if isinstance(street, complex) else street
    _, snapshot = snapshot_of(order(customer={"shipping_address": {"street_1": value, "city": "Lyon"}}), NOW)
    assert not snapshot.has_address


@pytest.mark.parametrize("wrong", [None, "x", 7, [], {}, [None], [[]], {"shipping_address": 3}])
def test_wrong_types_become_defaults(wrong: object) -> None:
    raw = order(order_lines=wrong, customer=wrong, last_updated_date=wrong, has_customer_message=wrong)
    _, snapshot = snapshot_of(raw, NOW)
    assert (snapshot.lines, snapshot.updated_at, snapshot.has_messages) == ((), NOW, False)


def test_instants() -> None:
    assert instant("2023-02-27 12:04:19") == datetime(2023, 2, 27, 12, 4, 19, tzinfo=UTC)
    for none in ("0000-00-00", "0000-00-00 00:00:00", "", None, 1, "0001-01-01T00:00:00+23:00"):
        assert instant(none) is None


# -- CloudEvents -------------------------------------------------------------------------------------------------


def test_a_snapshot_goes_through_the_log_byte_for_byte() -> None:
    raw = b'{ "order_id":"A-1" ,"x":"\\u00e9", "order_state":"SHIPPED"}'
    event = snapshot_event("alpha", *reversed_of(raw))
    record = record_of("t", event)
    assert from_record(record.value, record.headers) == event
    assert event.id == f"A-1:{text.digest_of(raw)}:2026-03-06T12:00:00.000000Z"
    assert record.key == b"alpha:A-1"
    answer = decode_snapshot(record.value, record.headers, {"alpha"})
    assert answer is not None
    assert answer.raw == raw
    assert answer.trigger == "snapshot"
    assert answer.says.shipped_seen
    assert answer.note == {"mirakl_state": "SHIPPED"}
    assert answer.says.snapshot
    assert answer.says.snapshot.read_at == NOW


def reversed_of(raw: bytes) -> tuple[str, bytes, Any]:
    order_id, snapshot = snapshot_of(raw, NOW)
    return order_id, raw, snapshot


def test_inlined_data_keeps_its_bytes_and_binary_mode_is_read() -> None:
    event = CloudEvent("1", "/s", "t", "x", NOW, b'{ "a" : 1.50 }', {"companyrefid": "9", "partitionkey": "9:x"})
    record = record_of("t", event)
    value, headers = record.value, record.headers
    assert record.key == b"9:x"
    assert headers[0][1].startswith(b"application/cloudevents+json")
    assert json.loads(value)["data"] == {"a": 1.5}
    assert from_record(value, headers) == event
    assert from_record(value, ()) == event  # the publisher forgot the header
    binary = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_source", b"/s"),
        ("CE_type", b"t"),
        ("ce_subject", b"x"),
        ("ce_time", b"2026-03-06T12:00:00Z"),
        ("ce_companyrefid", b"9"),
        ("ce_partitionkey", b"9:x"),
        ("content-type", b"application/json"),
    ]
    assert from_record(event.data, binary) == event


def test_a_tombstone_is_nothing() -> None:
    assert from_record(None, ()) is None
    assert decode_oms(None, (), SHOPS) is None
    assert decode_snapshot(None, (), {"alpha"}) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"specversion": "0.3"}, "not_cloudevent"),
        ({"id": ""}, "missing_field"),
        ({"id": "x" * 301}, "bad_field"),
        ({"time": "yesterday"}, "bad_field"),
        ({"time": None}, "missing_field"),
        ({"source": 5}, "bad_field"),
        ({"data_base64": "?"}, "bad_field"),
        ({"data_base64": 5}, "bad_field"),
        ({"type": "other"}, "unknown_type"),
        ({"shop": "beta"}, "unknown_shop"),
        ({"readat": "x"}, "bad_field"),
        ({"subject": "B"}, "bad_field"),
    ],
)
def test_bad_envelopes(change: dict[str, object], reason: str) -> None:
    record = record_of("t", snapshot_event("alpha", *reversed_of(order())))
    broken = json.dumps(json.loads(record.value) | change).encode()
    assert reason_of(decode_snapshot, broken, record.headers, {"alpha"}) == reason


# -- KornitX -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"external_ref": ""}, "missing_field"),
        ({"external_ref": None}, "missing_field"),
        ({"external_ref": "a\n"}, "bad_id"),
        ({"id": None}, "missing_field"),
        ({"id": "12"}, "bad_field"),
        ({"id": True}, "bad_field"),
        ({"id": 2**63}, "bad_field"),
        ({"status": None}, "missing_field"),
        ({"status": "eight"}, "bad_field"),
        ({"status": True}, "bad_field"),
        ({"new_shipments": {}}, "bad_field"),
        ({"new_shipments": [7]}, "bad_field"),
        ({"new_shipments": [{"items": [{"external_ref": "", "quantity": 1}]}]}, "missing_field"),
        ({"new_shipments": [{"items": [{"external_ref": "l", "quantity": 0}]}]}, "bad_field"),
        ({"new_shipments": [{"items": [{"external_ref": "l"}]}]}, "missing_field"),
        ({"new_cancellations": [{"items": [{"quantity": 1}]}]}, "missing_field"),
    ],
)
def test_callbacks_that_are_dead_letters(change: dict[str, object], reason: str) -> None:
    assert reason_of(said, callback(**change)) == reason


def test_no_error_text_quotes_a_value() -> None:
    with pytest.raises(Unreadable) as caught:
        said(callback(status="Jane Doe"))
    assert str(caught.value) == "bad_field: status"


def test_a_whole_order_dispatched_with_its_parcel() -> None:
    says = said(callback(status="8")).says
    at = datetime(2025, 3, 6, 12, 4, 19, tzinfo=UTC)
    tracking = Tracking("Royal Mail", "AB1", "https://track.example/AB1")
    assert says.parts == (Part(46140204, "8679131463FC8D18"),)
    assert set(says.dispatches) == {
        Dispatch(46140204, at, tracking, (("00000012-A-1", 2),)),
        Dispatch(46140204, at, tracking, (), "order"),
    }
    assert says.cancellations == ()
    assert said(callback()).note == {"status": 8, "status_name": "Dispatched", "shipments": 1, "cancellations": 0}


def test_a_status_alone_dispatches_the_part_where_orders_may_split() -> None:
    payload = callback(status=516, new_shipments=None, shipping_carrier=None, shipping_tracking=" ")
    del payload["new_cancellations"]
    says = said(payload, (ShopIds("alpha", 99999, may_split=True),)).says
    assert says.dispatches == (Dispatch(46140204, NOW, Tracking(), (), "part"),)


def test_parcels_without_date_or_number_take_the_orders() -> None:
    parcel = {"dispatch_datetime": "0000-00-00 00:00:00", "tracking": None, "tracking_url": "ftp://x", "items": None}
    says = said(callback(status=512, new_shipments=[parcel])).says
    assert says.dispatches == (Dispatch(46140204, NOW, Tracking("Royal Mail", "AB1"), dated=False),)


def test_the_newest_parcel_gives_the_orders_number_where_it_has_none() -> None:
    parcels = [
        {"dispatch_datetime": "2025-03-07 10:00:00", "tracking": "NEW", "tracking_url": "https://t/NEW"},
        {"dispatch_datetime": "2025-03-06 10:00:00", "tracking": "OLD"},
    ]
    says = said(callback(new_shipments=parcels, shipping_tracking="")).says
    whole = next(one for one in says.dispatches if one.covers)
    assert (whole.tracking.number, whole.tracking.url, whole.at.day) == ("NEW", "https://t/NEW", 7)


def test_cancellations() -> None:
    canceled = [{"items": [{"external_ref": "l", "quantity": 1}, {"external_ref": "l", "quantity": 2}]}]
    says = said(callback(status=128, new_shipments=[], new_cancellations=canceled)).says
    assert set(says.cancellations) == {Cancellation(46140204, (("l", 3),)), Cancellation(46140204)}
    assert says.dispatches == ()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, oms_events.OMS_DISPATCHED_TYPE),
        ({"status": 512}, oms_events.OMS_DISPATCHED_TYPE),
        ({"status": 128, "new_shipments": []}, oms_events.OMS_CANCELLED_TYPE),
        ({"status": 4, "new_shipments": [], "new_cancellations": [{}]}, oms_events.OMS_CANCELLED_TYPE),
        ({"status": 4, "new_shipments": []}, oms_events.OMS_STATUS_TYPE),
    ],
)
def test_the_type_follows_the_data(change: dict[str, Any], kind: str) -> None:
    payload = json.dumps(callback(**change)).encode()
    event = oms_event(99999, payload, NOW)
    assert event.type == kind
    assert event.id == oms_event(99999, payload, NOW + timedelta(hours=2)).id
    assert event.extensions == {"partitionkey": "99999:00000012-A", "companyrefid": "99999"}


def test_subject_and_reference_must_agree_and_the_company_be_known() -> None:
    record = record_of("t", oms_event(99999, json.dumps(callback()).encode(), NOW))
    value, headers = record.value, record.headers
    envelope = json.loads(value)
    assert reason_of(decode_oms, json.dumps(envelope | {"subject": "B"}).encode(), headers, SHOPS) == "bad_field"
    del envelope["companyrefid"]
    assert reason_of(decode_oms, json.dumps(envelope).encode(), headers, SHOPS) == "missing_field"
    assert reason_of(decode_oms, value, headers, ()) == "unknown_company"
    del envelope["data"]
    assert reason_of(decode_oms, json.dumps(envelope).encode(), headers, SHOPS) == "missing_field"


def test_the_longest_prefix_wins() -> None:
    plain, fr, fr2 = ShopIds("plain", 9), ShopIds("fr", 9, "FR-"), ShopIds("fr2", 9, "FR-2-")
    assert find_shop([plain, fr, fr2], "9", "FR-2-A") == (fr2, "A")
    assert find_shop([plain, fr, fr2], "9", "FR-A") == (fr, "A")
    assert find_shop([plain, fr], "9", "A") == (plain, "A")
    assert reason_of(find_shop, [fr], "9", "FR-") == "unknown_company"
    assert reason_of(find_shop, [fr], "8", "FR-A") == "unknown_company"


# -- Real payloads -----------------------------------------------------------------------------------------------


def test_every_sample_order_is_understood() -> None:
    if not SAMPLES.is_dir():
        pytest.skip(f"no samples at {SAMPLES}")
    states = set()
    for path in SAMPLES.glob("*OR11*.json"):
        body = path.read_bytes()
        orders = [one.raw for one in slice_orders(body).orders] if b'"orders"' in body else [body]
        for raw in orders:
            order_id, snapshot = snapshot_of(raw, NOW)
            assert order_id and snapshot.lines and snapshot.created_at > EPOCH and snapshot.updated_at < NOW
            states.add(snapshot.state)
    assert {"WAITING_ACCEPTANCE", "SHIPPING", "SHIPPED", "REFUSED"} <= states
