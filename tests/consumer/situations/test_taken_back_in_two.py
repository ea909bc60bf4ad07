"""Mirakl takes pieces of a line back one after the other, before the shipment and after the delivery."""

import pytest

from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details, tell

LINE = "1-A-1"


def refund(rig: Rig, pieces: int = 1) -> None:
    rig.clock.advance(60)
    changes.refund(rig.mirakl["alpha"], "1-A", LINE, pieces)
    rig.poll(60)
    rig.work()


def settle(rig: Rig) -> None:
    rig.clock.advance(1)
    decide(rig, DecisionKind.SETTLE)


def takes_out(rig: Rig, pieces: int = 1, status: int = 4) -> None:
    tell(rig, status, new_cancellations=[{"items": [{"external_ref": LINE, "quantity": pieces}]}])


@pytest.mark.parametrize("is_reported", [True, False], ids=["the OMS reports it", "taken out by telephone"])
@pytest.mark.parametrize("has_parcel", [True, False])
def test_a_return_after_the_delivery_asks_nobody_though_a_piece_was_taken_out_before(
    rig: Rig, is_reported: bool, has_parcel: bool
) -> None:
    rig.imported(quantity=3)
    refund(rig)
    settle(rig)
    if is_reported:
        takes_out(rig)
    changes.pay_refunds(rig.mirakl["alpha"], "1-A")  # a change of the order after the settle, and no news
    rig.poll(60)
    parcel = {"tracking": "T1", "items": [{"external_ref": LINE, "quantity": 2}]}
    tell(rig, 8, shipping_tracking="T1", **({"new_shipments": [parcel]} if has_parcel else {}))
    rig.poll(300)
    assert (rig.state(), rig.attention()) == ("shipped", [])
    rig.mirakl["alpha"].mark_received("1-A")
    rig.poll(86_400)
    refund(rig)
    assert rig.attention() == []


def test_the_second_half_of_a_line_does_not_bring_the_first_cancellation_back(rig: Rig) -> None:
    rig.imported(lines=2, quantity=2)
    refund(rig)
    settle(rig)
    takes_out(rig)
    refund(rig)
    assert list(details(rig)) == ["lines_canceled_after_import"], "nothing holds the calls of the other line"
    settle(rig)
    takes_out(rig)
    tell(rig, 8, new_shipments=[{"tracking": "T1", "items": [{"external_ref": "1-A-2", "quantity": 2}]}])
    rig.poll(300)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_a_second_part_that_the_oms_canceled_first_can_be_settled_so_that_the_rest_is_shipped(rig: Rig) -> None:
    rig.imported(quantity=3)
    refund(rig)
    settle(rig)
    takes_out(rig)
    takes_out(rig, status=512)
    assert list(details(rig)) == ["oms_canceled"]
    settle(rig)
    refund(rig)
    assert list(details(rig)) == ["lines_canceled_after_import"]
    settle(rig)
    tell(rig, 8, shipping_tracking="T1")
    rig.poll(300)
    rig.work()
    rig.poll(300)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def price_refunded(rig: Rig, amount: float, quantity: int = 0) -> None:
    part = {"id": "1", "amount": amount, "shipping_amount": 0.0, "quantity": quantity, "reason_code": "X"}
    dates = {"created_date": "2026-03-01T12:00:00Z", "transaction_date": None, "transaction_number": None}
    changes.set_line(rig.mirakl["alpha"], "1-A", LINE, refunds=[part | dates | {"state": "REFUNDED"}])
    rig.poll(60)
    assert list(details(rig)) == ["lines_canceled_after_import"]
    settle(rig)


def all_leave(rig: Rig, pieces: int) -> None:
    tell(rig, 8, new_shipments=[{"tracking": "T1", "items": [{"external_ref": LINE, "quantity": pieces}]}])
    rig.poll(300)
    assert rig.state() == "shipped"


@pytest.mark.parametrize(("pieces", "amount"), [(1, 1.2), (3, 1.2), (3, 11.98)])
def test_a_part_of_the_price_that_was_settled_asks_nobody_when_the_pieces_leave(
    rig: Rig, pieces: int, amount: float
) -> None:
    """A piece costs 12.00."""
    rig.imported(quantity=pieces)
    price_refunded(rig, amount)
    all_leave(rig, pieces)
    assert rig.attention() == []


@pytest.mark.parametrize(("quantity", "amount"), [(0, 12.0), (0, 11.99), (1, 1.2), (0, 20.0)])
def test_an_amount_that_may_be_a_piece_is_told_when_all_pieces_leave(rig: Rig, quantity: int, amount: float) -> None:
    rig.imported(quantity=3)
    price_refunded(rig, amount, quantity)
    all_leave(rig, 3)
    assert rig.attention() == ["lines_canceled_after_import"]


def test_a_piece_that_is_refunded_after_a_part_of_the_price_is_told(rig: Rig) -> None:
    rig.imported(quantity=3)
    price_refunded(rig, 1.2)
    refund(rig)
    assert list(details(rig)) == ["lines_canceled_after_import"]
    settle(rig)
    all_leave(rig, 3)
    assert rig.attention() == ["lines_canceled_after_import"]
