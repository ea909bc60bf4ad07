"""Cancelations, refunds and other changes of an order show in OR11 as Mirakl's description says."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.simulators.books import Books
from adapters.simulators.mirakl import changes
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.orders import ALPHA, Line, build_order

Json = dict[str, Any]
AT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


@pytest.fixture
def mirakl() -> MiraklSimulator:
    simulator = MiraklSimulator(ALPHA, Books(), lambda: AT)
    lines = [Line("MUG-11OZ-WHT", 3, 12.0), Line("TEE-BLK-M")]
    simulator.add_order(build_order(ALPHA, "1-A", created=AT, lines=lines, state="SHIPPING"))
    return simulator


def shown(simulator: MiraklSimulator) -> Json:
    found: Json = json.loads(simulator.listing.body("1-A"))
    return found


def test_a_refund_of_one_line_leaves_the_order_and_the_line_in_shipping(mirakl: MiraklSimulator) -> None:
    changes.refund(mirakl, "1-A", "1-A-1")
    order = shown(mirakl)
    assert (order["order_state"], order["fully_refunded"]) == ("SHIPPING", False)
    first, second = order["order_lines"]
    assert (first["order_line_state"], first["refunds"][0]["refund_state"]) == ("SHIPPING", "WAITING_REFUND")
    assert first["refunds"][0]["amount"] == 36.0
    assert first["refunds"][0]["quantity"] == 3
    assert second["refunds"] == []


def test_refunds_of_every_line_make_the_order_fully_refunded(mirakl: MiraklSimulator) -> None:
    changes.refund(mirakl, "1-A", "1-A-1", 1)
    changes.refund(mirakl, "1-A", "1-A-2")
    assert shown(mirakl)["fully_refunded"] is False
    changes.refund(mirakl, "1-A", "1-A-1", 2)
    assert shown(mirakl)["fully_refunded"] is True


def test_a_paid_refund_of_a_whole_line_ends_the_line(mirakl: MiraklSimulator) -> None:
    changes.refund(mirakl, "1-A", "1-A-2")
    changes.refund(mirakl, "1-A", "1-A-1", 1)
    changes.pay_refunds(mirakl, "1-A")
    assert [line["order_line_state"] for line in shown(mirakl)["order_lines"]] == ["SHIPPING", "REFUNDED"]


def test_pieces_that_are_canceled_leave_the_quantity_as_it_is(mirakl: MiraklSimulator) -> None:
    changes.cancel_pieces(mirakl, "1-A", "1-A-1", 2)
    line = shown(mirakl)["order_lines"][0]
    assert (line["quantity"], line["cancelations"][0]["quantity"]) == (3, 2)


def test_a_withheld_order_cannot_be_shipped_until_it_is_given_back(mirakl: MiraklSimulator) -> None:
    changes.withhold(mirakl, "1-A")
    assert shown(mirakl)["can_shop_ship"] is False
    assert not mirakl.ship_in_portal("1-A", "T1")
    assert shown(mirakl)["shipping_tracking"] is None, "what was refused changed nothing"
    changes.withhold(mirakl, "1-A", False)
    assert shown(mirakl)["can_shop_ship"] is True
    assert not mirakl.ship_in_portal("1-A", "T1", "NO-SUCH-CARRIER")
    assert shown(mirakl)["order_state"] == "SHIPPING"
    assert mirakl.ship_in_portal("1-A", "T1")
    assert shown(mirakl)["shipping_tracking"] == "T1"


def test_the_date_lies_ahead_until_the_next_change(mirakl: MiraklSimulator) -> None:
    changes.date_ahead(mirakl, "1-A", timedelta(days=400))
    assert shown(mirakl)["last_updated_date"] == "2027-04-05T09:00:00Z"
    changes.set_centre(mirakl, "1-A", "OPERATOR-1")
    assert shown(mirakl)["last_updated_date"] == "2026-03-01T09:00:00Z"
    assert shown(mirakl)["can_shop_ship"] is False


def test_a_line_that_left_before_the_others_stays_sent(mirakl: MiraklSimulator) -> None:
    changes.set_line(mirakl, "1-A", "1-A-2", order_line_state="RECEIVED")
    mirakl.ship("1-A")
    assert [line["order_line_state"] for line in shown(mirakl)["order_lines"]] == ["SHIPPED", "RECEIVED"]


def test_a_removed_order_is_not_shown(mirakl: MiraklSimulator) -> None:
    mirakl.remove("1-A")
    assert mirakl.state("1-A") is None
    assert mirakl.orders_count() == 0
