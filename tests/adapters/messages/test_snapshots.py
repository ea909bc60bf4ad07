"""Snapshots: orders of Mirakl that can be read, those that cannot, and the events that carry them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.messages.cloudevents import from_record, record_of
from adapters.messages.json_slices import slice_orders
from adapters.messages.snapshots import decode_snapshot, snapshot_event, snapshot_of
from statemachine.facts import EPOCH, Line, Tracking, Withdrawn
from tests.adapters.messages.helpers import NOW, order, reason_of

SAMPLES = Path(__file__).resolve().parents[3].parent / "shared" / "mirakl" / "samples"


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
        ("a\u202eb", "bad_id"),
        ([], "bad_id"),
    ],
)
def test_an_id_that_cannot_be_a_key_makes_the_order_unreadable(order_id: object, reason: str) -> None:
    assert reason_of(snapshot_of, order(order_id=order_id), NOW) == reason


def test_the_fields_of_a_snapshot() -> None:
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
    assert snapshot.ship_by == EPOCH
    assert snapshot.has_address
    assert snapshot.has_messages
    assert snapshot.tracking == Tracking("DPD UK", "15501234567890")
    assert [(line.id, line.sku, line.quantity, line.is_owed) for line in snapshot.lines] == [
        ("A-1-1", "MUG", 2, True),
        ("", "", None, True),  # null is a line that cannot be read: it is kept, so that no import leaves it out
        ("", "", None, True),  # kept, so that a person looks
    ]
    assert len(snapshot.digest) == 32


@pytest.mark.parametrize("street", [None, "", "  ", 5.5j, {}, []])
def test_an_address_without_a_street_is_no_address(street: object) -> None:
    value = None if isinstance(street, complex) else street
    _, snapshot = snapshot_of(order(customer={"shipping_address": {"street_1": value, "city": "Lyon"}}), NOW)
    assert not snapshot.has_address


def test_a_street_in_street_2_alone_is_an_address() -> None:
    _, snapshot = snapshot_of(order(customer={"shipping_address": {"street_1": None, "street_2": "1 Mill Lane"}}), NOW)
    assert snapshot.has_address


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59-12:00", "2036-03-08T00:00:00Z"])
def test_a_deadline_more_than_ten_years_ahead_is_none(at: str) -> None:
    _, snapshot = snapshot_of(order(shipping_deadline=at, created_date="0001-01-01T00:00:00+02:00"), NOW)
    assert snapshot.ship_by == EPOCH
    assert snapshot.created_at == EPOCH


def test_the_dates_of_the_decision_are_read() -> None:
    dates = {"acceptance_deadline": "2026-03-05T12:00:00Z", "acceptance_decision_date": "2026-03-04T12:00:00+02:00"}
    _, snapshot = snapshot_of(order(**dates), NOW)
    assert snapshot.accept_by == datetime(2026, 3, 5, 12, tzinfo=UTC)
    assert snapshot.accepted_at == datetime(2026, 3, 4, 10, tzinfo=UTC)
    _, snapshot = snapshot_of(order(acceptance_deadline="9999-12-31T00:00:00Z", acceptance_decision_date=None), NOW)
    assert (snapshot.accept_by, snapshot.accepted_at) == (EPOCH, EPOCH)


@pytest.mark.parametrize("wrong", [None, "x", 7, [], {}, [None], [[]], {"shipping_address": 3}])
def test_a_value_of_a_wrong_type_becomes_the_default(wrong: object) -> None:
    raw = order(order_lines=wrong, customer=wrong, last_updated_date=wrong, has_customer_message=wrong)
    _, snapshot = snapshot_of(raw, NOW)
    unreadable = wrong in ([None], [[]])
    assert snapshot.lines == ((Line("", quantity=None),) if unreadable else ())
    assert snapshot.updated_at == NOW
    assert not snapshot.has_messages


def read_from(raw: bytes) -> tuple[str, bytes, str, datetime]:
    order_id, snapshot = snapshot_of(raw, NOW)
    return order_id, raw, snapshot.digest, NOW


def test_a_snapshot_goes_through_the_log_byte_for_byte() -> None:
    raw = b'{ "order_id":"A-1" ,"x":"\\u00e9", "order_state":"SHIPPED"}'
    event = snapshot_event("alpha", *read_from(raw))
    record = record_of("t", event)
    assert from_record(record.value, record.headers) == event
    assert event.id == f"A-1:{snapshot_of(raw, NOW)[1].digest}:2026-03-06T12:00:00.000000Z"
    assert record.key == b"alpha:A-1"
    answer = decode_snapshot(record.value, record.headers, {"alpha"})
    assert answer is not None
    assert answer.raw == raw
    assert answer.trigger == "snapshot"
    assert answer.new_facts.shipped_seen
    assert answer.note == {"mirakl_state": "SHIPPED"}
    assert answer.new_facts.snapshot
    assert answer.new_facts.snapshot.read_at == NOW


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
def test_an_event_with_a_bad_attribute_is_unreadable(change: dict[str, object], reason: str) -> None:
    record = record_of("t", snapshot_event("alpha", *read_from(order())))
    broken = json.dumps(json.loads(record.value) | change).encode()
    assert reason_of(decode_snapshot, broken, record.headers, {"alpha"}) == reason


def test_every_sample_of_a_real_order_is_read() -> None:
    if not SAMPLES.is_dir():
        pytest.skip(f"no samples at {SAMPLES}")
    states = set()
    for path in SAMPLES.glob("*OR11*.json"):
        body = path.read_bytes()
        orders = [one.raw for one in slice_orders(body).orders] if b'"orders"' in body else [body]
        for raw in orders:
            order_id, snapshot = snapshot_of(raw, NOW)
            assert order_id
            assert snapshot.lines
            assert snapshot.created_at > EPOCH
            assert snapshot.updated_at < NOW
            states.add(snapshot.state)
    assert {"WAITING_ACCEPTANCE", "SHIPPING", "SHIPPED", "REFUSED"} <= states


@pytest.mark.parametrize(
    ("line", "withdrawn"),
    [
        ({}, Withdrawn.NONE),
        ({"refunds": [], "cancelations": None}, Withdrawn.NONE),
        ({"refunds": [{"amount": 20.00, "refund_state": "WAITING_REFUND"}]}, Withdrawn.PRICE),
        ({"refunds": [{"amount": "12.50"}, {"amount": 7.5, "state": "REFUNDED"}]}, Withdrawn.PRICE),
        # The customer gets money back for a scratch. The quantity is 1 of 1, so only a person can tell what is owed.
        ({"refunds": [{"amount": 2, "quantity": 1}]}, Withdrawn.PART),
        ({"cancelations": [{"amount": 20, "quantity": 1}]}, Withdrawn.PART),
        # Not a list.
        ({"refunds": {"amount": 20}}, Withdrawn.PRICE),
        ({"refunds": {}}, Withdrawn.NONE),
        ({"refunds": "20.00"}, Withdrawn.PART),
        ({"cancelations": {"amount": 20}}, Withdrawn.PART),
        ({"refunds": None, "cancelations": []}, Withdrawn.NONE),
        ({"refunds": [{"amount": None}]}, Withdrawn.PART),
        ({"refunds": ["?"]}, Withdrawn.PART),
        ({"price": None, "refunds": [{"amount": 20}]}, Withdrawn.PART),
        ({"refunds": [{"amount": "1e9999999"}, {"amount": 1}]}, Withdrawn.PART),
        ({"price": "-1e9999999", "refunds": [{"amount": "sNaN"}]}, Withdrawn.PART),
        ({"price": 0, "refunds": [{"amount": 0}]}, Withdrawn.PART),
    ],
)
def test_what_refunds_and_cancelations_took_of_a_line(line: dict[str, object], withdrawn: Withdrawn) -> None:
    lines = [{"order_line_id": "L1", "quantity": 1, "order_line_state": "SHIPPING", "price": 20.0, **line}]
    _, snapshot = snapshot_of(order(order_lines=lines), NOW)
    assert snapshot.lines[0].withdrawn is withdrawn
    assert snapshot.lines[0].is_owed is (withdrawn is not Withdrawn.PRICE)
    assert snapshot.lines[0].needs_decision is (withdrawn is Withdrawn.PART)


def test_when_a_line_was_taken_back_is_read() -> None:
    line = {
        "order_line_id": "L1",
        "refunds": [{"created_date": "2026-03-02T10:00:00Z"}, {"created_date": "2026-03-01T09:00:00Z"}, {}, "odd"],
        "cancelations": [{"created_date": "2026-03-01T09:00:00Z"}, {"created_date": "soon"}],
    }
    _, snapshot = snapshot_of(order(order_lines=[line, {"order_line_id": "L2"}]), NOW)
    dates = (datetime(2026, 3, 1, 9, tzinfo=UTC), datetime(2026, 3, 2, 10, tzinfo=UTC))
    assert [one.withdrawn_at for one in snapshot.lines] == [dates, ()]


@pytest.mark.parametrize(
    ("taken", "pieces"),
    [
        ([(2, 20.0)], 2),
        ([(2, 19.98), (1, "10.00")], 3),
        ([(2, 5.0)], 0),  # a part of the price
        ([(2, None)], 0),
        ([(0, 20.0)], 0),  # Mirakl's default
        ([(1, 10.0), (None, 10.0)], 0),
        ([("Erika", 10.0)], 0),
        ([], 0),
    ],
)
def test_pieces_count_as_taken_back_if_the_amounts_pay_for_them(taken: list[tuple[Any, Any]], pieces: int) -> None:
    each = [{"quantity": quantity, "amount": amount} for quantity, amount in taken]
    line = {"order_line_id": "L1", "quantity": 4, "price": 40.0}
    for name in ("refunds", "cancelations"):
        _, snapshot = snapshot_of(order(order_lines=[line | {name: each}]), NOW)
        assert snapshot.lines[0].withdrawn_pieces == pieces


@pytest.mark.parametrize(
    ("taken", "price", "is_of_price"),
    [
        ([(0, 1.2)], 40.0, True),
        ([(None, 4.0), (0, 5.9)], 40.0, True),
        ([(0, 5.0), (0, 5.0)], 40.0, False),  # a piece in two amounts
        ([(0, 9.99)], 40.0, False),  # a piece, whose price is rounded
        ([(1, 1.2)], 40.0, False),  # it names a piece
        ([(0, None)], 40.0, False),
        ([(0, 1.2), (0, None)], 40.0, False),
        ([(0, 0.0)], 40.0, False),
        ([(0, 1.2)], None, False),
        ([], 40.0, False),
    ],
)
def test_less_than_one_piece_costs_is_a_part_of_the_price(
    taken: list[tuple[int, float | None]], price: float | None, is_of_price: bool
) -> None:
    each = [{"quantity": quantity, "amount": amount} for quantity, amount in taken]
    for name in ("refunds", "cancelations"):
        line = {"order_line_id": "L1", "quantity": 4, "price": price, name: each}
        _, snapshot = snapshot_of(order(order_lines=[line]), NOW)
        assert snapshot.lines[0].withdrawn_of_price is is_of_price


@pytest.mark.parametrize("quantity", ["1_0", True, False, " ", "1.5", "-1", [], None, "٣x"])
def test_a_quantity_that_is_no_number_is_not_known(quantity: object) -> None:
    _, snapshot = snapshot_of(order(order_lines=[{"order_line_id": "L1", "quantity": quantity}]), NOW)
    assert snapshot.lines[0].quantity is None


def test_an_order_whose_refunds_cover_all_of_it_owes_nothing() -> None:
    lines = [{"order_line_id": "L1", "quantity": 1}, {"order_line_id": "L2", "quantity": 1}]
    _, snapshot = snapshot_of(order(fully_refunded=True, order_lines=lines), NOW)
    assert not snapshot.owed_lines


def test_who_ships_an_order_is_read() -> None:
    _, snapshot = snapshot_of(order(can_shop_ship=False, fulfillment={"center": {"code": "FBM"}}), NOW)
    assert not snapshot.can_ship
    assert snapshot.centre == "FBM"
    _, snapshot = snapshot_of(order(fulfillment=None), NOW)
    assert snapshot.can_ship
    assert snapshot.centre == ""
