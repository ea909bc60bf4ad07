"""Reports of the OMS: callbacks that cannot be read, then what each report adds to the facts."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.errors import Unreadable
from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import OmsEventType, ShopIds, decode_oms, find_shop, oms_event
from statemachine.facts import Cancellation, Dispatch, Part, Tracking
from tests.adapters.messages.helpers import NOW, SHOPS, callback, decoded, reason_of


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
def test_a_callback_with_a_wrong_mandatory_field_is_unreadable(change: dict[str, object], reason: str) -> None:
    assert reason_of(decoded, callback(**change)) == reason


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
        Dispatch(46140204, at, tracking, (("00000012-A-1", 2),)),
        Dispatch(46140204, at, tracking, (), "order"),
    }
    assert facts.cancellations == ()
    assert decoded(callback()).note == {"status": 8, "status_name": "Dispatched", "shipments": 1, "cancellations": 0}


def test_a_status_without_parcels_dispatches_its_part_where_orders_may_split() -> None:
    payload = callback(status=516, new_shipments=None, shipping_carrier=None, shipping_tracking=" ")
    del payload["new_cancellations"]
    facts = decoded(payload, (ShopIds("alpha", 99999, may_split=True),)).new_facts
    assert facts.dispatches == (Dispatch(46140204, NOW, Tracking(), (), "part"),)


def test_a_parcel_without_date_or_number_takes_those_of_the_order() -> None:
    parcel = {"dispatch_datetime": "0000-00-00 00:00:00", "tracking": None, "tracking_url": "ftp://x", "items": None}
    facts = decoded(callback(status=512, new_shipments=[parcel])).new_facts
    assert facts.dispatches == (Dispatch(46140204, NOW, Tracking("Royal Mail", "AB1"), dated=False),)


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
    assert set(facts.cancellations) == {Cancellation(46140204, (("l", 3),)), Cancellation(46140204)}
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
    assert event.id == oms_event(99999, payload, NOW + timedelta(hours=2)).id
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
