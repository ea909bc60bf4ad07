"""A part of a line is withdrawn after a person settled another withdrawal: told in the right direction."""

from typing import Any

from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, tell


def show(rig: Rig, **fields: Any) -> None:
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", **fields)
    rig.poll(60)
    rig.work()


def refund(rig: Rig) -> None:
    """The customer asks for the money of one piece."""
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.poll(60)
    rig.work()


def reject_the_second_refund(rig: Rig) -> None:
    show(rig, refunds=rig.mirakl["alpha"].order("1-A")["order_lines"][0]["refunds"][:1])


def settle(rig: Rig) -> None:
    rig.clock.advance(5)
    decide(rig, DecisionKind.SETTLE)
    rig.work()


def told(rig: Rig) -> str:
    """The cause and the cure of the only reason."""
    (one,) = explained(rig).attention
    return f"{one.cause} {one.cure}"


def test_a_part_of_a_line_that_was_taken_out_is_to_be_made_again(rig: Rig) -> None:
    rig.imported(lines=2, quantity=2)
    for _ in range(2):
        refund(rig)
    settle(rig)
    reject_the_second_refund(rig)
    assert rig.attention() == ["lines_added_after_import"]
    assert "as settled it makes 0" in told(rig)
    assert "Have the OMS make them too" in told(rig)
    settle(rig)
    assert rig.attention() == []
    tell(rig, 8)
    assert "shipped" not in rig.effects()
    assert rig.attention() == ["partly_sent"]


def test_an_incident_that_was_settled_leaves_a_part_to_be_made_again(rig: Rig) -> None:
    rig.imported(lines=2, quantity=2)
    refund(rig)
    settle(rig)
    show(rig, order_line_state="INCIDENT_OPEN")
    settle(rig)
    show(rig, order_line_state="SHIPPING")
    assert rig.attention() == ["lines_added_after_import"]
    assert "Take them out" not in told(rig)


def test_a_smaller_withdrawal_than_the_settled_one_names_no_direction_and_is_not_sent_by_a_status(rig: Rig) -> None:
    """Mirakl does not say reliably how many pieces a refund is about."""
    rig.imported(lines=2, quantity=3)
    refund(rig)
    settle(rig)
    refund(rig)
    assert "It may be more or fewer pieces" in told(rig)
    settle(rig)
    reject_the_second_refund(rig)
    assert rig.attention() == ["lines_canceled_after_import"]
    assert "It may be more or fewer pieces" in told(rig)
    tell(rig, 8)
    assert "shipped" not in rig.effects()
    assert rig.attention() == ["lines_canceled_after_import", "partly_sent"]
    settle(rig)
    rig.poll(60)
    assert rig.effects()[-1] == "shipped"
    assert rig.attention() == []


def test_the_first_withdrawal_of_a_part_is_taken_out(rig: Rig) -> None:
    rig.imported(lines=2, quantity=3)
    refund(rig)
    assert rig.attention() == ["lines_canceled_after_import"]
    assert "Take them out" in told(rig)


def test_a_piece_that_was_taken_out_is_told_if_its_refund_is_rejected_after_or24(rig: Rig) -> None:
    rig.imported(quantity=3)
    refund(rig)
    settle(rig)
    tell(rig, 8, new_shipments=[{"tracking": "T1", "items": [{"external_ref": "1-A-1", "quantity": 2}]}])
    rig.poll(600)
    assert (rig.state(), rig.attention()) == ("shipped", [])
    show(rig, refunds=[])
    assert rig.attention() == ["lines_added_after_import"]
    settle(rig)
    assert rig.attention() == []
