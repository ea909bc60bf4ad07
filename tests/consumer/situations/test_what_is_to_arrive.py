"""What a person reads of goods that have to come back, in a parcel that perhaps holds others that are to arrive."""

from collections.abc import Callable

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from consumer.operations.causes import AttentionReason
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, lower, tell

CANCELED, ELSEWHERE = "lines_canceled_after_import", "shipped_elsewhere"
MUG = "MUG-11OZ-WHT"
STOP = "Stop the parcel or arrange its return"


def reason(rig: Rig, name: str) -> AttentionReason:
    found = explained(rig).attention
    return next(one for one in found if one.reason == name)


def question(rig: Rig, name: str) -> str:
    act = operations.Act(DecisionKind.SETTLE, "ana", "seen", rig.clock.now(), only=(name,))
    return operations.question_of(rig.store, rig.row(), act, rig.policies["alpha"], prefix="")


def parcel(number: str, *lines: str, pieces: int = 1) -> dict[str, object]:
    return {"tracking": number, "items": [{"external_ref": line, "quantity": pieces} for line in lines]}


def refunded(rig: Rig, pieces: int | None = None) -> None:
    """Of two lines with three pieces each, Mirakl refunds the first, all or some pieces."""
    rig.imported(lines=2, quantity=3)
    rig.clock.advance(60)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", pieces)
    rig.poll(60)


@pytest.mark.parametrize("is_read", [False, True])
def test_a_refunded_line_comes_back_and_the_other_line_arrives(rig: Rig, is_read: bool) -> None:
    refunded(rig)
    tell(rig, 8)
    if is_read:
        rig.poll(600)
        assert rig.state() == "shipped"
    cure = reason(rig, CANCELED).cure
    assert cure.startswith(
        f"The goods have left. What is to arrive is perhaps in the same parcel: 3 of 1-A-2 ({MUG}). Arrange the return "
        f"of 1-A-1 ({MUG}) only, or stop the parcel and have 3 of 1-A-2 ({MUG}) sent again, clear the money with the "
    )


def test_a_parcel_of_its_own_is_stopped(rig: Rig) -> None:
    refunded(rig)
    tell(rig, 4, new_shipments=[parcel("T1", "1-A-1", pieces=3)])
    tell(rig, 8, new_shipments=[parcel("T2", "1-A-2", pieces=3)])
    assert reason(rig, CANCELED).cure.startswith(f"The goods have left. {STOP}")


@pytest.mark.parametrize("together", ["one report", "one number"])
def test_a_parcel_with_both_lines_is_not_stopped(rig: Rig, together: str) -> None:
    refunded(rig)
    if together == "one report":
        tell(rig, 8, new_shipments=[parcel("T1", "1-A-1", "1-A-2", pieces=3)])
    else:
        tell(rig, 4, new_shipments=[parcel("T1", "1-A-1", pieces=3)])
        tell(rig, 8, new_shipments=[parcel("T1", "1-A-2", pieces=3)])
    assert f"3 of 1-A-2 ({MUG}). Arrange the return of 1-A-1 ({MUG}) only" in reason(rig, CANCELED).cure


def test_goods_that_are_all_taken_back_are_stopped(rig: Rig) -> None:
    rig.imported()
    rig.clock.advance(60)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")
    tell(rig, 8)
    rig.poll(600)
    assert reason(rig, CANCELED).cure.startswith(f"The goods have left. {STOP}")


@pytest.mark.parametrize(
    ("fewer", "left"),
    [(lambda rig: changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 2), "the rest"), (lower, "1")],
    ids=["refunded", "lowered"],
)
def test_of_a_line_of_which_pieces_were_taken_back_the_rest_arrives(
    rig: Rig, fewer: Callable[[Rig], None], left: str
) -> None:
    rig.imported(quantity=3)
    rig.clock.advance(60)
    fewer(rig)
    rig.poll(60)
    tell(rig, 8)
    assert reason(rig, CANCELED).cure.startswith(
        f"The goods have left. What is to arrive is perhaps in the same parcel: {left} of 1-A-1 ({MUG}). Ask the OMS "
        "how many pieces left: if no more than these, nothing has to come back. Arrange the return of what is too much "
    )


def test_more_pieces_than_are_to_arrive_come_back_alone(rig: Rig) -> None:
    rig.imported(quantity=3)
    lower(rig)
    decide(rig, DecisionKind.SETTLE, CANCELED)
    tell(rig, 8, new_shipments=[parcel("T1", "1-A-1", pieces=3)])
    cure = reason(rig, "quantity_exceeds_order").cure
    assert f"1 of 1-A-1 ({MUG}). Arrange the return of what is too much of 1-A-1 ({MUG}) only" in cure


def test_a_line_with_an_incident_comes_back_and_the_other_line_arrives(rig: Rig) -> None:
    rig.imported(lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_state="INCIDENT_OPEN")
    rig.poll(60)
    tell(rig, 8)
    assert (
        f"1 of 1-A-2 ({MUG}). Arrange the return of 1-A-1 ({MUG}) only, or stop the parcel and have 1 of 1-A-2 ({MUG}) "
        "sent again, unless the customer is to get the line"
    ) in reason(rig, "line_incident").cure


# -- Lines that somebody else marked shipped -------------------------------------------------------------------------


def marked(rig: Rig) -> None:
    rig.imported(lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_state="SHIPPED")
    rig.poll()


def test_lines_of_which_a_colleague_meant_our_goods_are_not_stopped(rig: Rig) -> None:
    marked(rig)
    cure = reason(rig, ELSEWHERE).cure
    assert cure.startswith(
        "Find out first who marked these lines shipped. If a colleague meant the OMS's own goods, let "
    )
    assert "If they left too, arrange the return of these lines only" in cure
    assert "unless this is what was meant, stop only that there first" in question(rig, ELSEWHERE)


def test_lines_that_the_oms_sent_too_are_not_stopped_together_with_others(rig: Rig) -> None:
    marked(rig)
    decide(rig, DecisionKind.SETTLE, ELSEWHERE)
    tell(rig, 8, new_shipments=[parcel("T1", "1-A-1", "1-A-2")])
    cure = reason(rig, ELSEWHERE).cure
    assert cure.startswith(
        "The OMS reported that it sent these lines. If whoever marked them shipped meant this parcel, "
    )
    assert "arrange the return of these lines from the second, because it may hold others" in cure
    assert f"but not that of what is to arrive and is perhaps in it: 1 of 1-A-2 ({MUG})" in question(rig, ELSEWHERE)


def test_a_line_with_an_incident_is_not_to_arrive_after_our_or24_marked_it_shipped(rig: Rig) -> None:
    rig.imported(lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_state="INCIDENT_OPEN")
    rig.poll(60)
    tell(rig, 8)
    rig.poll(600)
    assert rig.state() == "shipped"
    assert (
        f"What is to arrive is perhaps in the same parcel: 1 of 1-A-2 ({MUG}). Arrange the return of 1-A-1 ({MUG}) "
        f"only, or stop the parcel and have 1 of 1-A-2 ({MUG}) sent again"
    ) in reason(rig, "line_incident").cure


@pytest.mark.parametrize("is_read", [False, True])
def test_beside_a_refunded_line_one_with_an_incident_is_not_sent_again(rig: Rig, is_read: bool) -> None:
    rig.imported(lines=3)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_state="INCIDENT_OPEN")
    rig.poll(60)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll(60)
    tell(rig, 8)
    if is_read:
        rig.poll(600)
        assert rig.state() == "shipped"
    cure = reason(rig, CANCELED).cure
    assert f"What is to arrive is perhaps in the same parcel: 1 of 1-A-3 ({MUG}). Arrange the return of 1-A-2" in cure
