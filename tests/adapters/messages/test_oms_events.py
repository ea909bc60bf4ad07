"""Reports of the OMS: callbacks that cannot be read, then what each report adds to the facts."""

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from hashlib import md5, sha1, sha256
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from adapters.errors import Unreadable, UnreadableReason
from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import OmsEventType, ShopIds, decode_oms, find_shop, oms_event, unread_event
from statemachine.facts import Cancellation, Dispatch, OmsStatus, Part, Tracking, Unread
from tests.adapters.messages.helpers import NOW, SHOPS, callback, decoded, reason_of


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"external_ref": ""}, "missing_field"),
        ({"external_ref": None}, "missing_field"),
        ({"external_ref": "a\n"}, "bad_id"),
        ({"id": None}, "missing_field"),
        ({"id": "12a"}, "bad_field"),
        ({"id": 1.5}, "bad_field"),
        ({"id": True}, "bad_field"),
        ({"id": 2**63}, "bad_field"),
        ({"status": None}, "missing_field"),
        ({"status": "eight"}, "bad_field"),
        ({"status": True}, "bad_field"),
    ],
)
def test_a_callback_with_a_wrong_mandatory_field_is_unreadable(change: dict[str, object], reason: str) -> None:
    assert reason_of(decoded, callback(**change)) == reason


def items_of(items: object, **more: Any) -> tuple[tuple[tuple[str, int], ...], ...]:
    event = decoded(callback(new_shipments=[{"items": items}], **more))
    return tuple(one.items for one in event.new_facts.dispatches if not one.covers)


GOOD = {"external_ref": "l", "quantity": "2"}


@pytest.mark.parametrize(
    "item", [7, None, {"quantity": 1}, {"external_ref": "", "quantity": 1}, {"external_ref": "m"}]
    + [{"external_ref": "m", "quantity": wrong} for wrong in (0, -1, "0", "two", True, 1.5, 10**12)],
)  # fmt: skip
def test_an_item_that_cannot_be_read_is_left_out_and_noted(item: object) -> None:
    assert items_of([GOOD, item]) == ((("l", 2),),)
    event = decoded(callback(new_shipments=[{"items": [GOOD, item]}]))
    assert event.note["left_out"] == 1
    assert event.new_facts.unread == (), "status 8 says that everything left"


def test_what_is_left_out_of_a_partial_report_is_told() -> None:
    event = decoded(callback(status=512, new_shipments=[{"items": [GOOD, {}]}]))
    assert event.new_facts.unread == (Unread(NOW, "bad_field", "items.external_ref"),)


def test_each_field_that_is_left_out_of_a_partial_report_is_named_once_and_its_value_is_not() -> None:
    wrong = [{"external_ref": "l", "quantity": "Erika"}, {"external_ref": "l", "quantity": -1}, "Erika"]
    event = decoded(callback(status=512, new_shipments=[{"items": wrong}], new_cancellations="Erika"))
    (unread,) = event.new_facts.unread
    assert unread.fields == "items.quantity, items, new_cancellations"


@pytest.mark.parametrize("lists", [{"new_shipments": {}}, {"new_shipments": [7]}, {"new_cancellations": "none"}])
def test_lists_that_cannot_be_read_cost_no_dispatched_status(lists: dict[str, Any]) -> None:
    event = decoded(callback(**lists))
    assert event.note["left_out"] == 1
    assert [one.covers for one in event.new_facts.dispatches if one.covers] == ["order"]


def test_only_reference_id_and_status_are_needed_and_digits_are_numbers() -> None:
    facts = decoded({"id": "46140204", "external_ref": "00000012-A", "status": "8"}).new_facts
    assert facts.parts == (Part(46140204),)
    assert [one.covers for one in facts.dispatches] == ["order"]
    assert facts.statuses == (OmsStatus(46140204, NOW, 8),)


@pytest.mark.parametrize("status", [1, 4, 32, 256, 512, 520])
def test_every_status_is_a_fact(status: int) -> None:
    assert decoded(callback(status=status)).new_facts.statuses == (OmsStatus(46140204, NOW, status),)


def test_a_time_without_an_offset_is_of_the_company_s_time_zone() -> None:
    parcel = {"dispatch_datetime": "2025-07-06 12:00:00"}
    there = (ShopIds("alpha", 99999, time_zone=ZoneInfo("Europe/Lisbon")),)
    for shops, hour in ((there, 11), (SHOPS, 12)):
        facts = decoded(callback(status=512, new_shipments=[parcel]), shops).new_facts
        assert facts.dispatches[0].at == datetime(2025, 7, 6, hour, tzinfo=UTC)
        assert facts.dispatches[0].told_at == NOW
    parcel["dispatch_datetime"] += "+00:00"
    assert decoded(callback(status=512, new_shipments=[parcel]), there).new_facts.dispatches[0].at.hour == 12


@pytest.mark.parametrize(("received", "hour"), [((1, 12), 1), ((0, 51), 0)])
def test_in_the_hour_that_repeats_in_autumn_the_later_instant_before_the_report_counts(
    received: tuple[int, int], hour: int
) -> None:
    """01:10 is 00:10 UTC (BST) and 01:10 UTC (GMT). A report of 00:51 UTC cannot name the second."""
    there = (ShopIds("alpha", 99999, time_zone=ZoneInfo("Europe/London")),)
    report = callback(status=512, new_shipments=[{"dispatch_datetime": "2026-10-25 01:10:00"}])
    record = record_of(
        "oms", oms_event(99999, json.dumps(report).encode(), datetime(2026, 10, 25, *received, tzinfo=UTC))
    )
    event = decode_oms(record.value, record.headers, there)
    assert event is not None
    assert event.new_facts.dispatches[0].at == datetime(2026, 10, 25, hour, 10, tzinfo=UTC)


def test_a_dispatch_in_the_future_counts_as_the_moment_it_was_told() -> None:
    for when in ("2999-01-01 00:00:00", "9999-12-31 23:59:59"):
        facts = decoded(callback(new_shipments=[{"dispatch_datetime": when}])).new_facts
        assert {one.at for one in facts.dispatches} == {NOW}
    decoded(callback(new_shipments=[{"dispatch_datetime": "0001-01-01 00:00:00"}]), EAST)


def test_a_report_dated_after_its_receipt_counts_as_of_the_receipt() -> None:
    parcel = {"tracking": "T", "items": [{"external_ref": "L1", "quantity": 1}]}
    event = oms_event(99999, json.dumps(callback(new_shipments=[parcel])).encode(), NOW + timedelta(days=2))
    record = record_of("t", event)
    read = decode_oms(record.value, record.headers, SHOPS, NOW)
    assert read is not None
    assert {(one.at, one.told_at) for one in read.new_facts.dispatches} == {(NOW, NOW)}


@pytest.mark.parametrize(
    ("items", "left_out"),
    [([{"external_ref": "L1", "quantity": 0.5}], True), ("L1", True), ([], False), (None, False)],
)
def test_only_a_cancellation_without_items_is_one_of_the_whole_order(items: object, left_out: bool) -> None:
    facts = decoded(callback(status=4, new_cancellations=[{"items": items}])).new_facts
    assert [bool(one.items) for one in facts.cancellations] == [left_out]
    assert bool(facts.unread) is left_out


EAST = (ShopIds("alpha", 99999, time_zone=ZoneInfo("Asia/Tokyo")),)


def test_an_id_that_is_only_a_digest_of_the_data_gets_the_time_of_the_event() -> None:
    record = record_of("t", oms_event(99999, json.dumps(callback()).encode(), NOW))
    envelope = json.loads(record.value)
    data = json.dumps(callback()).encode()
    value = json.dumps(envelope | {"data": None}).encode().replace(b'"data": null', b'"data":' + data)

    def id_of(given: str) -> str:
        event = decode_oms(value.replace(envelope["id"].encode(), given.encode()), record.headers, SHOPS)
        assert event is not None
        return event.event_id

    hexadecimal = sha256(data).hexdigest()
    in_base64 = b64encode(sha1(data).digest()).decode()
    for digest in (hexadecimal, hexadecimal[:32], f"sha256:{hexadecimal}", md5(data).hexdigest(), in_base64):
        assert id_of(digest) == f"{digest}:2026-03-06T12:00:00.000000Z"
    for other in ("n1", sha256(b"other").hexdigest()):
        assert id_of(other) == other


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"time": None}, "bad_field"), ({"subject": "B"}, "bad_field"), ({"data": {"external_ref": "A-1"}}, "bad_field")],
)
def test_a_record_that_cannot_be_read_is_told_on_the_order_that_it_names(change: dict[str, Any], reason: str) -> None:
    record = record_of("t", oms_event(99999, json.dumps(callback(external_ref="A-1")).encode(), NOW))
    value = json.dumps(json.loads(record.value) | change).encode()
    error = Unreadable(UnreadableReason(reason), "data.status")
    event = unread_event(SHOPS, value, record.headers, error, NOW)
    assert event is not None
    assert (event.shop, event.order_id) == ("alpha", "A-1")
    assert event.new_facts.unread == (Unread(NOW, reason, "data.status"),)
    assert [one.at for one in event.new_facts.receipts] == [NOW], "so it is no repeat of the report before it"
    assert unread_event((), value, record.headers, error, NOW) is None
    assert unread_event(SHOPS, b"{", record.headers, error, NOW) is None


def test_no_error_text_quotes_a_value() -> None:
    with pytest.raises(Unreadable) as caught:
        decoded(callback(status="Jane Doe"))
    assert str(caught.value) == "bad_field: status"


def test_an_order_dispatched_as_a_whole_with_its_parcel() -> None:
    facts = decoded(callback(status="8")).new_facts
    at = datetime(2025, 3, 6, 12, 4, 19, tzinfo=UTC)
    tracking = Tracking("Royal Mail", "AB1", "https://track.example/AB1")
    assert facts.parts == (Part(46140204, "8679131463FC8D18"),)
    assert set(facts.dispatches) == {
        Dispatch(46140204, at, tracking, (("00000012-A-1", 2),), told_at=NOW),
        Dispatch(46140204, at, tracking, (), "order", told_at=NOW),
    }
    assert facts.cancellations == ()
    assert decoded(callback()).note == {"status": 8, "status_name": "Dispatched", "shipments": 1, "cancellations": 0}


def test_a_status_without_parcels_dispatches_its_part_where_orders_may_split() -> None:
    payload = callback(status=516, new_shipments=None, shipping_carrier=None, shipping_tracking=" ")
    del payload["new_cancellations"]
    facts = decoded(payload, (ShopIds("alpha", 99999, may_split=True),)).new_facts
    assert facts.dispatches == (Dispatch(46140204, NOW, Tracking(), (), "part", told_at=NOW, timed=False),)


def test_a_parcel_without_date_or_number_takes_those_of_the_order() -> None:
    parcel = {"dispatch_datetime": "0000-00-00 00:00:00", "tracking": None, "tracking_url": "ftp://x", "items": None}
    facts = decoded(callback(status=512, new_shipments=[parcel])).new_facts
    undated = Dispatch(46140204, NOW, Tracking("Royal Mail", "AB1"), dated=False, told_at=NOW, timed=False)
    assert facts.dispatches == (undated,)


def test_an_order_without_a_number_takes_that_of_the_newest_parcel() -> None:
    parcels = [
        {"dispatch_datetime": "2025-03-07 10:00:00", "tracking": "NEW", "tracking_url": "https://t/NEW"},
        {"dispatch_datetime": "2025-03-06 10:00:00", "tracking": "OLD"},
    ]
    facts = decoded(callback(new_shipments=parcels, shipping_tracking="")).new_facts
    whole = next(one for one in facts.dispatches if one.covers)
    assert whole.tracking.number == "NEW"
    assert whole.tracking.url == "https://t/NEW"
    assert whole.at.day == 7


def test_quantities_of_a_canceled_line_are_added_up() -> None:
    canceled = [{"items": [{"external_ref": "l", "quantity": 1}, {"external_ref": "l", "quantity": 2}]}]
    facts = decoded(callback(status=128, new_shipments=[], new_cancellations=canceled)).new_facts
    assert set(facts.cancellations) == {Cancellation(46140204, (("l", 3),), NOW), Cancellation(46140204, (), NOW)}
    assert facts.dispatches == ()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, OmsEventType.DISPATCHED),
        ({"status": 512}, OmsEventType.DISPATCHED),
        ({"status": 128, "new_shipments": []}, OmsEventType.CANCELLED),
        ({"status": 4, "new_shipments": [], "new_cancellations": [{}]}, OmsEventType.CANCELLED),
        ({"status": 4, "new_shipments": []}, OmsEventType.STATUS_CHANGED),
    ],
)
def test_the_type_of_an_event_follows_its_data(change: dict[str, Any], kind: str) -> None:
    payload = json.dumps(callback(**change)).encode()
    event = oms_event(99999, payload, NOW)
    assert event.type == kind
    assert event.id != oms_event(99999, payload, NOW + timedelta(hours=2)).id
    assert event.extensions == {"partitionkey": "99999:00000012-A", "companyrefid": "99999"}


def test_subject_and_external_ref_have_to_be_equal_and_the_company_has_to_be_known() -> None:
    record = record_of("t", oms_event(99999, json.dumps(callback()).encode(), NOW))
    value, headers = record.value, record.headers
    envelope = json.loads(value)
    assert reason_of(decode_oms, json.dumps(envelope | {"subject": "B"}).encode(), headers, SHOPS) == "bad_field"
    del envelope["companyrefid"]
    assert reason_of(decode_oms, json.dumps(envelope).encode(), headers, SHOPS) == "missing_field"
    assert reason_of(decode_oms, value, headers, ()) == "unknown_company"
    del envelope["data"]
    assert reason_of(decode_oms, json.dumps(envelope).encode(), headers, SHOPS) == "missing_field"


def test_the_shop_with_the_longest_prefix_gets_the_order() -> None:
    plain, fr, fr2 = ShopIds("plain", 9), ShopIds("fr", 9, "FR-"), ShopIds("fr2", 9, "FR-2-")
    assert find_shop([plain, fr, fr2], "9", "FR-2-A") == (fr2, "A")
    assert find_shop([plain, fr, fr2], "9", "FR-A") == (fr, "A")
    assert find_shop([plain, fr], "9", "A") == (plain, "A")
    assert reason_of(find_shop, [fr], "9", "FR-") == "unknown_company"
    assert reason_of(find_shop, [fr], "8", "FR-A") == "unknown_company"


def test_a_prefix_that_a_shop_had_before_fits_too() -> None:
    alpha, beta = ShopIds("alpha", 9, "A-", former_prefixes=("", "X-")), ShopIds("beta", 9, "B-")
    found = {ref: find_shop([alpha, beta], "9", ref) for ref in ("A-1", "1", "X-1", "B-1")}
    assert found == {"A-1": (alpha, "1"), "1": (alpha, "1"), "X-1": (alpha, "1"), "B-1": (beta, "1")}
