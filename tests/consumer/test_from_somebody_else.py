"""Changes by Mirakl of an order that the OMS has from somebody else: no import of ours tells what was sent."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.simulators.mirakl import changes
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from consumer.operations import orders as operations
from consumer.operations.causes_of_orders import Case, cause_of_order
from statemachine.commands import Policy
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig

Change = Callable[[MiraklSimulator], object]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def details(rig: Rig) -> dict[str, str]:
    return {one.reason: one.detail for one in rig.row().attention}


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


def settle(rig: Rig) -> None:
    rig.clock.advance(1)
    act = operations.Act(DecisionKind.SETTLE, "ana", "seen", rig.clock.now())
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
