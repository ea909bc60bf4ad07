"""Changes by Mirakl of an order that the OMS has from somebody else: no import of ours tells what was sent."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from adapters.simulators.mirakl import changes
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from consumer.operations import orders as operations
from consumer.operations.cases import Case
from consumer.operations.causes_of_orders import cause_of_order
from statemachine.commands import Policy
from statemachine.facts import DecisionKind, Line
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import details

Change = Callable[[MiraklSimulator], object]


def reported(rig: Rig) -> None:
    """The OMS reports on the order, which it has from the connector before us."""
    rig.clock.advance(60)
    rig.take_callback("http://alpha", {}, json.dumps({"id": 900, "external_ref": "1-A", "status": 4}).encode())
    rig.consume()


def taken_over(rig: Rig) -> None:
    rig.switch(effects=False)
    rig.add("1-A", state="SHIPPING", lines=2, quantity=3)
    rig.poll()
    reported(rig)
    rig.switch(effects=True)


def settle(rig: Rig, *only: str) -> None:
    rig.clock.advance(1)
    act = operations.Act(DecisionKind.SETTLE, "ana", "seen", rig.clock.now(), only=only)
    operations.decide(rig.store, rig.orders, rig.row(), act, shops=("alpha",))


CHANGES: dict[str, tuple[Change, dict[str, str]]] = {
    "nothing": (lambda m: None, {}),
    "a line": (lambda m: changes.refund(m, "1-A", "1-A-2"), {"lines_canceled_after_import": "1-A-2"}),
    "fewer pieces": (
        lambda m: changes.set_line(m, "1-A", "1-A-2", quantity=1),
        {"lines_canceled_after_import": "1-A-2 (1 of 3)"},
    ),
    "more pieces": (
        lambda m: changes.set_line(m, "1-A", "1-A-2", quantity=4),
        {"lines_added_after_import": "1-A-2 (3, now 4)"},
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_lines_that_change_after_the_first_read_are_told(rig: Rig, what: str) -> None:
    taken_over(rig)
    change, expected = CHANGES[what]
    change(rig.mirakl["alpha"])
    rig.poll()
    assert rig.state() == "imported"
    assert details(rig) == expected


def test_a_part_of_a_line_a_new_address_and_a_message_are_told(rig: Rig) -> None:
    taken_over(rig)
    m = rig.mirakl["alpha"]
    changes.refund(m, "1-A", "1-A-2", 1)
    changes.set_address(m, "1-A", street_1="95 New")
    m.post_message("1-A", "BLUE")
    rig.poll()
    assert rig.attention() == ["changed_after_import", "lines_canceled_after_import", "message_after_import"]
    assert details(rig)["changed_after_import"].startswith("shipping address ")
    assert details(rig)["lines_canceled_after_import"].startswith("1-A-2 (part of 3, ")


def test_the_cause_says_that_somebody_else_sent_the_order(rig: Rig) -> None:
    taken_over(rig)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="95 New")
    rig.poll()
    facts = rig.row().facts
    causes = {str(one.reason): cause_of_order(Case(one, facts, Policy())) for one in rig.row().attention}
    assert "somebody else sent it to the OMS, Mirakl showed 3 at 20" in causes["lines_canceled_after_import"]
    assert "somebody else sent the order to the OMS; compared with" in causes["changed_after_import"]


def test_a_settle_ends_a_change_and_not_the_next_one(rig: Rig) -> None:
    taken_over(rig)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", quantity=2)
    rig.poll()
    settle(rig)
    assert rig.attention() == []
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", quantity=1)
    rig.poll()
    assert details(rig) == {"lines_canceled_after_import": "1-A-2 (1 of 2)"}


@pytest.mark.parametrize("pieces", [1, 3])
def test_what_was_withdrawn_before_the_first_read_is_told_because_the_oms_may_have_it(rig: Rig, pieces: int) -> None:
    rig.add("1-A", state="SHIPPING", lines=2, quantity=3)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", pieces)
    rig.poll()
    reported(rig)
    assert rig.state() == "imported"
    assert rig.attention() == ["lines_canceled_after_import"]


def test_a_line_that_the_seller_refused_at_the_acceptance_is_not_told(rig: Rig) -> None:
    rig.switch(effects=False)
    rig.add("1-A", lines=2)
    rig.poll()
    rig.mirakl["alpha"].accept("1-A", {"1-A-1": True, "1-A-2": False})
    rig.mirakl["alpha"].confirm_debit("1-A")
    rig.poll()
    reported(rig)
    assert rig.state() == "imported"
    assert rig.attention() == []


def test_an_import_of_ours_is_compared_with_what_it_sent(rig: Rig) -> None:
    """What was withdrawn before our import was left out of it."""
    rig.switch(effects=False)
    rig.add("1-A", state="SHIPPING", lines=2, quantity=3)
    rig.poll()
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll()
    rig.switch(effects=True)
    rig.work()
    assert rig.state() == "imported"
    assert rig.attention() == []


# -- What the OMS may not make --------------------------------------------------------------------------------------


def add_line(order: dict[str, Any]) -> None:
    """Mirakl adds a line, for example an exchange."""
    order["order_lines"].append(copy.deepcopy(order["order_lines"][0]) | {"order_line_id": "1-A-3"})


MORE: dict[str, tuple[Change, str]] = {
    "more pieces": (lambda m: changes.set_line(m, "1-A", "1-A-2", quantity=4), "1-A-2 (3, now 4)"),
    "a new line": (lambda m: m.change("1-A", "line_added", "marketplace", add_line), "1-A-3 (0, now 3)"),
}


@pytest.mark.parametrize("is_settled", [False, True], ids=["told", "settled"])
@pytest.mark.parametrize("what", MORE)
def test_a_status_of_the_oms_does_not_cover_what_mirakl_added_since_the_first_read(
    rig: Rig, what: str, is_settled: bool
) -> None:
    taken_over(rig)
    change, detail = MORE[what]
    change(rig.mirakl["alpha"])
    rig.poll(60)
    assert details(rig)["lines_added_after_import"] == detail
    for reason in rig.attention() if is_settled else ():
        settle(rig, reason)
    dispatched(rig)
    assert "shipped" not in rig.effects(), "goods would be short"
    assert "partly_sent" in rig.attention()
    assert is_settled or "lines_added_after_import" in rig.attention()
    parcels = [{"tracking": "T1", "items": [{"external_ref": one.id, "quantity": one.quantity} for one in lines(rig)]}]
    dispatched(rig, 512, new_shipments=parcels)
    assert "shipped" in rig.effects()


def lines(rig: Rig) -> tuple[Line, ...]:
    snapshot = rig.row().facts.snapshot
    return snapshot.owed_lines if snapshot else ()


def dispatched(rig: Rig, status: int = 8, **more: object) -> None:
    rig.clock.advance(60)
    body = {"id": 900, "external_ref": "1-A", "status": status, "shipping_tracking": "T1"} | more
    rig.take_callback("http://alpha", {}, json.dumps(body).encode())
    rig.consume()
    rig.work()


# -- Lines that had ended before the first read ---------------------------------------------------------------------


def taken_over_with(rig: Rig, state: str) -> None:
    """The first read shows the second line in this state."""
    rig.switch(effects=False)
    rig.add("1-A", state="SHIPPING", lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state=state)
    rig.poll()
    reported(rig)
    rig.switch(effects=True)


@pytest.mark.parametrize("state", ["CANCELED", "WAITING_REFUND", "WAITING_REFUND_PAYMENT", "REFUNDED"])
def test_a_line_that_mirakl_took_back_before_the_first_read_is_told(rig: Rig, state: str) -> None:
    taken_over_with(rig, state)
    assert details(rig) == {"lines_canceled_after_import": "1-A-2"}
    cause = cause_of_order(Case(rig.row().attention[0], rig.row().facts, Policy()))
    assert "somebody else sent the order to the OMS, with or without this line" in cause
    settle(rig)
    dispatched(rig)
    assert "shipped" in rig.effects()


@pytest.mark.parametrize("state", ["SHIPPED", "RECEIVED", "CLOSED", "REFUSED"])
def test_a_line_that_had_left_or_was_refused_before_the_first_read_is_not_told(rig: Rig, state: str) -> None:
    """The day of change-over: of two lines, one is still to be sent."""
    taken_over_with(rig, state)
    assert rig.attention() == []
    dispatched(rig)
    assert "shipped" in rig.effects()


def test_a_line_in_an_incident_at_the_first_read_that_is_owed_later_may_not_be_in_the_oms(rig: Rig) -> None:
    taken_over_with(rig, "INCIDENT_OPEN")
    assert rig.attention() == ["line_incident"]
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="SHIPPING")
    rig.poll(60)
    assert details(rig) == {"lines_added_after_import": "1-A-2 (0, now 1)"}
    dispatched(rig)
    assert "shipped" not in rig.effects()


def test_a_line_in_an_incident_at_the_first_read_that_is_refunded_may_be_in_the_oms(rig: Rig) -> None:
    taken_over_with(rig, "INCIDENT_OPEN")
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="REFUNDED")
    rig.poll(60)
    assert details(rig) == {"lines_canceled_after_import": "1-A-2"}
