"""Goods that leave after a person settled that they must not: told again, and not reported to Mirakl by itself."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from adapters.messages.text import iso
from adapters.simulators.mirakl import changes
from statemachine.attention.ends import can_be_settled
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, tell


def refunded(rig: Rig) -> None:
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")


def with_an_incident(rig: Rig) -> None:
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_state="INCIDENT_OPEN")


def shipped_by_another_centre(rig: Rig) -> None:
    changes.set_centre(rig.mirakl["alpha"], "1-A", "ELSEWHERE")
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")


def gone(rig: Rig) -> None:
    rig.mirakl["alpha"].remove("1-A")
    for _ in range(60):
        rig.poll(3600)


def settle_all(rig: Rig) -> None:
    """A person stops the order in the OMS, and says so."""
    rig.clock.advance(60)
    standing = [one.reason for one in rig.row().attention if can_be_settled(one)]
    decide(rig, DecisionKind.SETTLE, *standing)
    assert {*rig.attention()} <= {"partly_sent"}


def line_of_two(**fields: Any) -> Callable[[Rig], None]:
    """Mirakl shows the second line so."""
    return lambda rig: changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", **fields)


def leave(rig: Rig, *lines: str) -> None:
    """The OMS sends a piece of each of these lines, in one parcel, and says that this is the order."""
    items = [{"external_ref": line, "quantity": 1} for line in lines]
    tell(rig, 8, new_shipments=[{"tracking": "T1", "items": items}])
    rig.poll(600)
    rig.work()


Happens = Callable[[Rig], None]
SITUATIONS = (
    (refunded, "withdrawn_after_import"),
    (with_an_incident, "withdrawn_after_import"),
    (shipped_by_another_centre, "shipped_elsewhere"),
    (gone, "gone_from_mirakl"),
)


@pytest.mark.parametrize(("happens", "reason"), SITUATIONS)
def test_goods_that_leave_after_the_settle_are_told_and_not_reported(rig: Rig, happens: Happens, reason: str) -> None:
    rig.imported()
    happens(rig)
    rig.poll(60)
    settle_all(rig)
    tell(rig, 8, shipping_carrier="DPD", shipping_tracking="T1")
    assert reason in rig.attention()
    rig.poll(60)
    rig.work(300)
    assert reason in rig.attention()
    assert rig.effects() == ["imported"]

    settle_all(rig)
    tell(rig, 64, shipping_carrier="DPD", shipping_tracking="T1")  # the same goods once more
    assert rig.attention() == []


@pytest.mark.parametrize(("happens", "reason"), SITUATIONS)
def test_pieces_that_leave_after_others_are_told_too(rig: Rig, happens: Happens, reason: str) -> None:
    rig.imported(quantity=2)
    happens(rig)
    rig.poll(60)
    settle_all(rig)
    for tracking in ("T1", "T2"):
        items = [{"external_ref": "1-A-1", "quantity": 1}]
        parcel = {"dispatch_datetime": iso(rig.clock.now()), "tracking": tracking, "items": items}
        tell(rig, 512, new_shipments=[parcel])
        assert reason in rig.attention()
        settle_all(rig)
    tell(rig, 8)  # both parcels are all of it
    assert rig.attention() == []


@pytest.mark.parametrize(("happens", "reason"), SITUATIONS)
def test_a_settle_that_was_made_before_the_report_was_applied_does_not_cover_it(
    rig: Rig, happens: Happens, reason: str
) -> None:
    """The person looks at an order whose newest report waits in the log."""
    rig.imported()
    happens(rig)
    rig.poll(60)
    rig.clock.advance(60)
    oms_id = rig.row().facts.parts[0].oms_id
    rig.take_callback("http://alpha", {}, json.dumps({"id": oms_id, "external_ref": "1-A", "status": 8}).encode())
    rig.clock.advance(60)
    decide(rig, DecisionKind.SETTLE, *rig.attention())
    rig.consume()
    assert reason in rig.attention()


def test_the_other_line_of_an_order_leaves_and_is_reported(rig: Rig) -> None:
    rig.imported(lines=2)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll(60)
    settle_all(rig)
    tell(rig, 8, shipping_carrier="DPD", shipping_tracking="T1")
    assert rig.attention() == []
    assert rig.effects()[-1] == "shipped"


@pytest.mark.parametrize(
    "ends",
    [
        line_of_two(order_line_state="REFUNDED", refunds=[{"id": "r", "amount": 12.0}]),
        line_of_two(order_line_state="CANCELED"),
        lambda rig: changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2"),
    ],
)
def test_a_line_that_was_stopped_for_an_incident_and_left_all_the_same_is_told(rig: Rig, ends: Happens) -> None:
    rig.imported(lines=2)
    line_of_two(order_line_state="INCIDENT_OPEN")(rig)
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE, "line_incident")
    ends(rig)
    rig.poll(60)
    assert "lines_canceled_after_import" not in rig.attention()
    leave(rig, "1-A-1", "1-A-2")
    assert (rig.state(), rig.effects()[-1]) == ("shipped", "shipped")
    assert "lines_canceled_after_import" in rig.attention()
    settle_all(rig)
    rig.poll(600)
    assert rig.attention() == []


def test_a_line_that_was_stopped_and_stayed_needs_nobody_when_the_other_leaves(rig: Rig) -> None:
    rig.imported(lines=2)
    line_of_two(order_line_state="INCIDENT_OPEN")(rig)
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE, "line_incident")
    line_of_two(order_line_state="REFUNDED")(rig)
    rig.poll(60)
    leave(rig, "1-A-1")
    assert (rig.state(), rig.attention()) == ("shipped", [])


@pytest.mark.parametrize("asked", [True, False])
def test_a_line_that_goes_on_after_a_settled_incident_and_comes_back_needs_nobody(rig: Rig, asked: bool) -> None:
    """A person lets it go on, or the OMS sends it before that. It is a return after the shipment."""
    rig.imported(lines=2)
    line_of_two(order_line_state="INCIDENT_OPEN")(rig)
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE, "line_incident")
    line_of_two(order_line_state="SHIPPING")(rig)
    rig.poll(60)
    assert rig.attention() == ["lines_added_after_import"]
    if asked:
        decide(rig, DecisionKind.SETTLE, "lines_added_after_import")
    leave(rig, "1-A-1", "1-A-2")
    rig.clock.advance(86_400)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll(60)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_a_line_that_left_with_an_incident_is_told_until_a_settle_though_or24_marks_it_shipped(rig: Rig) -> None:
    rig.imported(lines=2)
    line_of_two(order_line_state="INCIDENT_OPEN")(rig)
    rig.poll(60)
    tell(rig, 8, shipping_tracking="T1")
    rig.poll(600)
    assert (rig.state(), rig.attention()) == ("shipped", ["line_incident"])
    line_of_two(order_line_state="SHIPPED")(rig)
    rig.poll(600)
    assert rig.attention() == ["line_incident"]
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll(600)
    assert rig.attention() == ["line_incident"]
    (one,) = explained(rig).attention
    assert "had an incident when it left, and is now SHIPPED refunded, sent" in one.cause
    decide(rig, DecisionKind.SETTLE, "line_incident")
    rig.poll(600)
    assert rig.attention() == []


def test_a_line_that_was_stopped_for_an_incident_and_left_in_a_parcel_is_told_after_or24_too(rig: Rig) -> None:
    rig.imported(lines=2)
    line_of_two(order_line_state="INCIDENT_OPEN")(rig)
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE, "line_incident")
    leave(rig, "1-A-1", "1-A-2")
    line_of_two(order_line_state="SHIPPED")(rig)
    rig.poll(600)
    assert (rig.state(), rig.attention()) == ("shipped", ["line_incident"])
    decide(rig, DecisionKind.SETTLE, "line_incident")
    rig.poll(600)
    assert rig.attention() == []


@pytest.mark.parametrize("settled", [True, False])
def test_an_incident_that_ended_before_the_line_left_needs_nobody(rig: Rig, settled: bool) -> None:
    rig.imported(lines=2)
    line_of_two(order_line_state="INCIDENT_OPEN")(rig)
    rig.poll(60)
    if settled:
        decide(rig, DecisionKind.SETTLE, "line_incident")
    line_of_two(order_line_state="SHIPPING")(rig)
    rig.poll(60)
    leave(rig, "1-A-1", "1-A-2")
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_all_pieces_leave_though_a_person_settled_that_some_were_taken_out(rig: Rig) -> None:
    """Mirakl shows three pieces as before, and a refund of one."""
    rig.imported(quantity=3)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", quantity=1)
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE, "lines_canceled_after_import")
    items = [{"external_ref": "1-A-1", "quantity": 3}]
    tell(rig, 8, new_shipments=[{"tracking": "T1", "items": items}])
    assert rig.attention() == ["lines_canceled_after_import"]
    rig.poll(600)
    rig.work()
    assert (rig.state(), rig.attention()) == ("shipped", ["lines_canceled_after_import"])
    (one,) = explained(rig).attention
    assert "Arrange the return of what is too much of 1-A-1 (MUG-11OZ-WHT) only, or stop the parcel" in one.cure
    decide(rig, DecisionKind.SETTLE, "lines_canceled_after_import")
    rig.poll(600)
    assert rig.attention() == []


@pytest.mark.parametrize("pieces", [2, 0])
def test_the_pieces_that_were_left_leave_and_need_nobody(rig: Rig, pieces: int) -> None:
    """0: the OMS names no pieces, so its report is about what it still had."""
    rig.imported(quantity=3)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", quantity=1)
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE, "lines_canceled_after_import")
    items = [{"external_ref": "1-A-1", "quantity": pieces}] if pieces else []
    tell(rig, 8, shipping_tracking="T1", new_shipments=[{"tracking": "T1", "items": items}])
    assert rig.attention() == []
