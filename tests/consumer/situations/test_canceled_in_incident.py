"""The OMS cancels a line because of its incident, as line_incident asks for: the customer's money is not forgotten."""

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations.causes import AttentionReason
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, tell

LINE, MUG = "1-A-1", "MUG-11OZ-WHT"
SETTLE = "Then `orderflow orders settle 1-A --shop alpha --only oms_canceled --reason WHY`"


def reason(rig: Rig, name: str = "oms_canceled") -> AttentionReason:
    found = explained(rig).attention
    return next(one for one in found if one.reason == name)


def in_incident(rig: Rig, state: str = "INCIDENT_OPEN") -> None:
    """Of two lines with two pieces each, the first gets an incident."""
    rig.imported(lines=2, quantity=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", LINE, order_line_state=state)
    rig.poll(60)


def canceled(rig: Rig, line: str = LINE, pieces: int = 2) -> None:
    tell(rig, 4, new_cancellations=[{"items": [{"external_ref": line, "quantity": pieces}]}])


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("state", ["INCIDENT_OPEN", "INCIDENT_CLOSED"])
def test_a_line_that_was_stopped_for_its_incident_is_refunded_unless_it_is_to_be_sent(
    rig: Rig, state: str, pieces: int
) -> None:
    in_incident(rig, state)
    canceled(rig, pieces=pieces)
    assert reason(rig).cure == (
        f"Mirakl shows an incident of {LINE} ({MUG}) (`cause`), so have nothing of it made again before that is "
        "solved: have it refunded in Mirakl's portal, unless it is to be sent after all. "
        f"{SETTLE}; of what is made again, when it has left."
    )
    changes.refund(rig.mirakl["alpha"], "1-A", LINE)
    rig.poll(60)
    assert "oms_canceled" not in rig.attention() or "refund nothing more" in reason(rig).cure


def test_the_other_line_of_the_canceled_order_is_missing_too(rig: Rig) -> None:
    in_incident(rig)
    tell(rig, 128)
    cure = reason(rig).cure
    assert cure.startswith(f"Mirakl shows an incident of {LINE} ({MUG}) (`cause`), so have nothing of it made again")
    assert f"Missing too is 2 of 1-A-2 ({MUG}): cancel or refund that there, or have it made again. Then" in cure


def test_nothing_is_refunded_of_the_other_line_that_was_refunded(rig: Rig) -> None:
    in_incident(rig)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll(60)
    tell(rig, 128)
    cure = reason(rig).cure
    assert "have it refunded in Mirakl's portal, unless it is to be sent after all. Mirakl does not wait for" in cure
    assert f"(`cause`): refund nothing of them and have none made again. {SETTLE}" in cure


def test_it_is_not_known_how_many_pieces_of_the_other_line_are_missing(rig: Rig) -> None:
    in_incident(rig)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", refunds=[{"id": "r", "amount": 5.0}])
    rig.poll(60)
    tell(rig, 128)
    assert f"Ask the operator how many pieces of 1-A-2 ({MUG}) are to be sent (`cause`). Then" in reason(rig).cure


def test_a_settle_of_the_incident_says_enough_before_the_oms_cancels_the_line(rig: Rig) -> None:
    in_incident(rig)
    decide(rig, DecisionKind.SETTLE, "line_incident")
    canceled(rig)
    assert rig.attention() == []


def other_line_leaves(rig: Rig) -> None:
    """The OMS sends the second line, and our OR24 marks both."""
    tell(rig, 8, new_shipments=[{"tracking": "T1", "items": [{"external_ref": "1-A-2", "quantity": 2}]}])
    rig.poll(600)
    rig.work()
    assert (rig.state(), "shipped" in rig.effects()) == ("shipped", True)


def test_a_line_that_the_oms_cancels_after_our_or24_marked_it_is_refunded(rig: Rig) -> None:
    in_incident(rig)
    other_line_leaves(rig)
    assert rig.attention() == ["line_incident"]
    canceled(rig)
    assert rig.attention() == ["oms_canceled"]
    assert reason(rig).cause.endswith(
        f"; {LINE} ({MUG}): Mirakl shows it SHIPPED, as OR24 marked the whole order, and it had an incident then"
    )
    assert reason(rig).cure.startswith(
        "Our OR24 reported the whole order shipped, these lines too. The OMS canceled them, so nobody makes them. Look "
        "in Mirakl's portal how their incident, refund or cancelation ended: have them refunded, unless that is done "
    )
    changes.refund(rig.mirakl["alpha"], "1-A", LINE)
    rig.poll(60)
    assert "have them refunded" not in reason(rig).cure


@pytest.mark.parametrize("first", ["oms_canceled", "line_incident"])
def test_a_line_whose_cancellation_and_incident_are_settled_is_asked_about_once_after_our_or24(
    rig: Rig, first: str
) -> None:
    in_incident(rig)
    canceled(rig)
    decide(rig, DecisionKind.SETTLE, first)
    decide(rig, DecisionKind.SETTLE)
    other_line_leaves(rig)
    assert rig.attention() == ["lines_added_after_import"]
    assert "If the customer is not to get the line, refund it there" in reason(rig, "lines_added_after_import").cure
    decide(rig, DecisionKind.SETTLE)
    rig.poll(600)
    assert rig.attention() == []


def test_a_line_whose_incident_was_settled_before_the_oms_canceled_it_is_asked_about_once(rig: Rig) -> None:
    in_incident(rig)
    decide(rig, DecisionKind.SETTLE, "line_incident")
    canceled(rig)
    other_line_leaves(rig)
    assert rig.attention() == ["lines_added_after_import"]


def test_a_line_of_which_only_the_cancellation_was_settled_is_asked_about_after_our_or24(rig: Rig) -> None:
    in_incident(rig)
    canceled(rig)
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    other_line_leaves(rig)
    assert rig.attention() == ["oms_canceled"]
    assert "have them refunded, unless that is done" in reason(rig).cure
