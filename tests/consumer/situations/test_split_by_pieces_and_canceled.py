"""Pieces that Mirakl took back and the OMS canceled, and what becomes of the rest: one settle for one event."""

import json

import httpx
import pytest

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, tell


def imported(rig: Rig, *orders: dict[str, int]) -> None:
    """As these orders of the OMS, 7 and those after it, each with so many pieces of each line."""
    parts = [
        {
            "id": 7 + number,
            "external_ref": "1-A",
            "items": [{"id": 1, "external_ref": f"1-A-{name[1:]}", "quantity": n} for name, n in order.items()],
        }
        for number, order in enumerate(orders)
    ]
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=json.dumps(parts)))
    names = {name for order in orders for name in order}
    rig.imported(lines=len(names), quantity=sum(order.get("L1", 0) for order in orders))


def refund(rig: Rig, pieces: int | None = None, line: str = "1-A-1") -> None:
    rig.clock.advance(60)
    changes.refund(rig.mirakl["alpha"], "1-A", line, pieces)
    rig.poll(60)


def oms_cancels(rig: Rig, pieces: int, oms_id: int = 7) -> None:
    items = [{"external_ref": "1-A-1", "quantity": pieces}]
    tell(rig, 4, id=oms_id, new_cancellations=[{"items": items}])


def leaves(rig: Rig, oms_id: int, parcel: int = 0, line: str = "1-A-1") -> None:
    items = [{"external_ref": line, "quantity": parcel}]
    more = {"new_shipments": [{"tracking": f"T{oms_id}", "items": items}]} if parcel else {}
    tell(rig, 8, id=oms_id, shipping_tracking=f"T{oms_id}", **more)
    rig.poll(600)
    rig.work()


# -- Each piece in an order of its own -------------------------------------------------------------------------------


def test_an_order_that_is_made_again_does_not_bring_the_cancellation_of_another_back(rig: Rig) -> None:
    imported(rig, {"L1": 1}, {"L1": 1})
    refund(rig, 1)
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 128, id=7)
    assert rig.attention() == [], "both took back the same"
    tell(rig, 128, id=8)
    assert rig.attention() == ["oms_canceled"]
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 1, id=20)
    assert rig.attention() == []
    leaves(rig, 20)
    rig.poll(300)
    assert (rig.state(), rig.attention()) == ("shipped", [])


@pytest.mark.parametrize("parcel", [0, 1])
@pytest.mark.parametrize("settled_first", [True, False])
def test_an_order_that_was_canceled_whole_is_settled_once(rig: Rig, settled_first: bool, parcel: int) -> None:
    imported(rig, {"L1": 1}, {"L1": 1})
    refund(rig, 1)
    assert rig.attention() == ["lines_canceled_after_import"]
    if settled_first:
        decide(rig, DecisionKind.SETTLE)
    tell(rig, 128, id=8)
    if not settled_first:
        assert rig.attention() == ["lines_canceled_after_import"]
        decide(rig, DecisionKind.SETTLE)
    leaves(rig, 7, parcel)
    assert (rig.state(), rig.attention()) == ("shipped", []), "no reason holds the calls of the rest"


def test_the_other_two_of_three_orders_leave_after_one_settle(rig: Rig) -> None:
    imported(rig, {"L1": 1}, {"L1": 1}, {"L1": 1})
    leaves(rig, 7)
    refund(rig, 1)
    tell(rig, 128, id=8)
    decide(rig, DecisionKind.SETTLE, "lines_canceled_after_import")
    leaves(rig, 9)
    assert (rig.state(), rig.attention()) == ("shipped", [])


@pytest.mark.parametrize("settled_first", [True, False])
def test_an_order_that_the_oms_canceled_first_is_settled_once(rig: Rig, settled_first: bool) -> None:
    imported(rig, {"L1": 1}, {"L1": 1}, {"L1": 1})
    tell(rig, 128, id=9)
    if settled_first:
        decide(rig, DecisionKind.SETTLE)
    refund(rig, 1)
    assert len(rig.attention()) == (0 if settled_first else 1)
    if not settled_first:
        decide(rig, DecisionKind.SETTLE)
    leaves(rig, 7)
    leaves(rig, 8)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_an_order_that_was_canceled_without_a_refund_is_told_when_the_rest_leaves(rig: Rig) -> None:
    imported(rig, {"L1": 1}, {"L1": 1}, {"L1": 1})
    refund(rig, 1)
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 128, id=8)
    tell(rig, 128, id=9)
    leaves(rig, 7)
    assert rig.attention() == ["oms_canceled"]


def test_a_line_that_left_before_the_rest_of_its_order_was_canceled_is_not_canceled(rig: Rig) -> None:
    imported(rig, {"L1": 1, "L2": 1})
    tell(rig, 4, new_shipments=[{"tracking": "T7", "items": [{"external_ref": "1-A-1", "quantity": 1}]}])
    refund(rig, line="1-A-2")
    for reason in rig.attention():
        decide(rig, DecisionKind.SETTLE, reason)
    tell(rig, 128)
    assert "oms_canceled" not in rig.attention()


def test_a_canceled_order_that_leaves_all_the_same_is_perhaps_one_parcel_too_many(rig: Rig) -> None:
    imported(rig, {"L1": 1}, {"L1": 1})
    refund(rig, 1)
    tell(rig, 128, id=8)
    decide(rig, DecisionKind.SETTLE)
    leaves(rig, 7)
    leaves(rig, 8)
    found = explained(rig)
    (one,) = found.attention
    assert one.reason == "oms_canceled"
    assert "reported since that its goods left" in one.cure
    assert "stop that parcel or arrange its return" in one.cure


# -- More that the OMS cancels later ---------------------------------------------------------------------------------


def missing(rig: Rig) -> list[str]:
    """What each reason oms_canceled says is missing."""
    found = explained(rig)
    cures = [one.cure for one in found.attention if one.reason == "oms_canceled"]
    return [cure.partition("Missing is only ")[2].partition(" of ")[0] for cure in cures]


@pytest.mark.parametrize("settled_first", [True, False])
def test_what_the_oms_cancels_after_both_is_one_reason_with_its_own_pieces(rig: Rig, settled_first: bool) -> None:
    """Nobody makes any piece of the line then."""
    imported(rig, {"L1": 3})
    refund(rig, 1)
    oms_cancels(rig, 1)
    if settled_first:
        decide(rig, DecisionKind.SETTLE)
    oms_cancels(rig, 2)
    assert missing(rig) == ["2"]
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    assert "oms_canceled" not in rig.attention()


def test_the_missing_pieces_of_two_reasons_add_up(rig: Rig) -> None:
    imported(rig, {"L1": 5})
    oms_cancels(rig, 2)
    oms_cancels(rig, 1)
    assert missing(rig) == ["", ""]
    refund(rig, 1)
    assert missing(rig) == ["1", "1"]


def test_what_mirakl_took_back_counts_first_for_what_a_person_settled(rig: Rig) -> None:
    imported(rig, {"L1": 5})
    oms_cancels(rig, 1)
    decide(rig, DecisionKind.SETTLE)
    oms_cancels(rig, 2)
    refund(rig, 1)
    assert missing(rig) == ["2"], "the one that was settled is refunded, as the person said"


def test_each_of_two_orders_that_were_canceled_whole_names_its_own_pieces(rig: Rig) -> None:
    imported(rig, {"L1": 2}, {"L1": 2})
    refund(rig, 1)
    tell(rig, 128, id=7)
    tell(rig, 128, id=8)
    assert missing(rig) == ["1", "2"]


# -- Goods that come back after the shipment -------------------------------------------------------------------------


@pytest.mark.parametrize("back", [1, 2, None])
def test_a_return_after_the_shipment_does_not_bring_the_cancellation_back(rig: Rig, back: int | None) -> None:
    imported(rig, {"L1": 3})
    refund(rig, 1)
    oms_cancels(rig, 1)
    decide(rig, DecisionKind.SETTLE)
    leaves(rig, 7, 2)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "RECEIVED")
    rig.poll(60)
    refund(rig, back)
    assert "oms_canceled" not in rig.attention()
    changes.pay_refunds(rig.mirakl["alpha"], "1-A")
    rig.poll(60)
    assert "oms_canceled" not in rig.attention()


def test_a_return_does_not_end_a_cancellation_that_came_while_or24_was_made_and_nobody_settled(rig: Rig) -> None:
    imported(rig, {"L1": 3})
    rig.nets["alpha"].hook = lambda request: reported_meanwhile(rig, request)
    leaves(rig, 7)
    rig.consume()
    assert (rig.state(), rig.attention()) == ("shipped", ["oms_canceled"])
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "RECEIVED")
    rig.poll(60)
    refund(rig, 1)
    assert "oms_canceled" in rig.attention()
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    assert "oms_canceled" not in rig.attention()


def reported_meanwhile(rig: Rig, request: httpx.Request) -> None:
    """The OMS cancels a piece while OR24 is under way."""
    if request.url.path.endswith("/ship"):
        body = {"id": 7, "external_ref": "1-A", "status": 8} | {
            "new_cancellations": [{"items": [{"external_ref": "1-A-1", "quantity": 1}]}]
        }
        rig.take_callback("http://alpha", {}, json.dumps(body).encode())
        rig.clock.advance(1)
