"""A line in two parts of the OMS, one that a read leaves out, and one that was vouched for when less was owed."""

import json
from typing import Any

import pytest

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from consumer.operations.causes import AttentionReason
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig, mandatory
from tests.consumer.situations.in_oms_hands import decide, explained

L1, L2 = "1-A-1", "1-A-2"


def tell(rig: Rig, oms_id: int, status: int, **parcel: int) -> None:
    """Let the OMS report a status of one of its orders, with a parcel of these pieces of lines L1 and L2."""
    rig.clock.advance(60)
    items = [{"external_ref": f"1-A-{line[1:]}", "quantity": pieces} for line, pieces in parcel.items()]
    shipments = [{"tracking": f"T{oms_id}", "items": items}] if items else []
    body = {"id": oms_id, "external_ref": "1-A", "status": status, "new_shipments": shipments}
    rig.take_callback("http://alpha", {}, json.dumps(body).encode())
    rig.consume()
    rig.work()


def change_line(rig: Rig, line: str, **fields: Any) -> None:
    changes.set_line(rig.mirakl["alpha"], "1-A", line, **fields)
    rig.poll(60)
    rig.work()


def refund(rig: Rig, line: str, pieces: int | None = None) -> None:
    changes.refund(rig.mirakl["alpha"], "1-A", line, pieces)
    rig.poll(60)
    rig.work()


def reject_refund(rig: Rig, line: str) -> None:
    changes.set_fields(rig.mirakl["alpha"], "1-A", fully_refunded=False)
    change_line(rig, line, refunds=[])


def keep_lines(rig: Rig, count: int) -> None:
    """Let Mirakl show the first lines of the order only."""

    def edit(order: dict[str, Any]) -> None:
        order["order_lines"] = order["order_lines"][:count]

    rig.mirakl["alpha"].change("1-A", "lines left out", "marketplace", edit)
    rig.poll(60)
    rig.work()


def split_in_three(rig: Rig) -> None:
    """Four pieces of the first line are in parts 7 and 8 of the OMS, the second line in part 9."""
    parts = ((7, L1, 2), (8, L1, 2), (9, L2, 1))
    shown = [
        {"id": oms_id, "ref": str(oms_id), "external_ref": "1-A", "status": 1, "items": [_item(line, pieces)]}
        for oms_id, line, pieces in parts
    ]
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=json.dumps(shown)))
    rig.add("1-A", state="SHIPPING", lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", L1, quantity=4)
    rig.poll()
    rig.work()


def _item(line: str, pieces: int) -> dict[str, Any]:
    return {"id": 1, "external_ref": line, "quantity": pieces}


def reasons_of(rig: Rig) -> dict[str, AttentionReason]:
    explanation = explained(rig)
    return {one.reason: one for one in explanation.attention}


def test_a_line_of_which_one_part_left_is_still_to_be_stopped_in_the_other(rig: Rig) -> None:
    split_in_three(rig)
    tell(rig, 7, 8)
    refund(rig, L1)
    canceled = reasons_of(rig)["lines_canceled_after_import"]
    assert not canceled.cause.endswith("sent")
    assert canceled.cure.startswith("Take them out in the OMS")


def test_pieces_of_a_part_that_were_stopped_and_leave_are_told_again(rig: Rig) -> None:
    split_in_three(rig)
    tell(rig, 7, 8)
    refund(rig, L1)
    decide(rig, DecisionKind.SETTLE, "lines_canceled_after_import")
    assert rig.attention() == ["partly_sent"]
    tell(rig, 8, 8, L1=2)
    assert "lines_canceled_after_import" in rig.attention()


def test_an_order_is_not_dispatched_while_a_part_has_pieces_of_a_line(rig: Rig) -> None:
    split_in_three(rig)
    tell(rig, 9, 8)
    tell(rig, 7, 8)
    assert (rig.state(), rig.attention()) == ("imported", ["partly_sent"])
    tell(rig, 8, 8)
    assert "shipped" in rig.effects()


def test_pieces_in_another_part_count_as_stopped_when_the_incident_of_their_line_is_settled(rig: Rig) -> None:
    split_in_three(rig)
    tell(rig, 7, 8)
    change_line(rig, L1, order_line_state="INCIDENT_OPEN")
    decide(rig, DecisionKind.SETTLE, "line_incident")
    change_line(rig, L1, order_line_state="SHIPPING")
    assert "lines_added_after_import" in rig.attention()
    tell(rig, 9, 8)
    assert "shipped" not in rig.effects()


def made_again_as_99(rig: Rig, lines: int) -> None:
    """The OMS cancels the order and makes it again under another id, whose lines are not known."""
    rig.imported(lines=lines)
    tell(rig, rig.row().facts.parts[0].oms_id, 128)
    tell(rig, 99, 4)
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    assert rig.attention() == []


def test_a_line_that_is_refunded_while_the_oms_makes_the_order_again_is_to_be_stopped_there(rig: Rig) -> None:
    made_again_as_99(rig, lines=2)
    refund(rig, L1)
    canceled = reasons_of(rig)["lines_canceled_after_import"]
    assert canceled.cure.startswith("Take them out in the OMS")
    assert "canceled by the OMS" not in canceled.cause


def test_a_line_that_is_shipped_elsewhere_while_the_oms_makes_the_order_again_is_told(rig: Rig) -> None:
    made_again_as_99(rig, lines=1)
    change_line(rig, L1, order_line_state="SHIPPED", shipped_date="2026-03-01T12:00:00Z")
    assert rig.attention() == ["shipped_elsewhere"]
    explanation = explained(rig)
    assert explanation.waits_for == "Mirakl to show it shipped, as it does its lines"


def test_an_order_that_was_made_again_under_another_id_is_shipped_when_that_has_left(rig: Rig) -> None:
    made_again_as_99(rig, lines=2)
    tell(rig, 99, 8)
    assert "shipped" in rig.effects()


def test_a_line_stopped_for_its_incident_does_not_leave_in_a_parcel_with_others(rig: Rig) -> None:
    rig.imported(lines=2)
    change_line(rig, L1, order_line_state="INCIDENT_OPEN")
    explanation = explained(rig)
    assert "cancel" not in explanation.waits_for
    decide(rig, DecisionKind.SETTLE, "line_incident")
    tell(rig, rig.row().facts.parts[0].oms_id, 8, L2=1)
    assert "line_incident" not in rig.attention()


def test_an_order_whose_lines_all_have_an_incident_is_not_to_be_canceled(rig: Rig) -> None:
    rig.imported()
    change_line(rig, L1, order_line_state="INCIDENT_OPEN")
    explanation = explained(rig)
    assert explanation.waits_for == "Mirakl to show how the incident ends"


@pytest.mark.parametrize("why", ["held", "partly_withdrawn"])
def test_an_order_that_waits_for_a_person_can_be_entered_in_the_oms_by_hand(rig: Rig, why: str) -> None:
    rig.add("1-A", state="WAITING_DEBIT_PAYMENT", quantity=3)
    rig.poll()
    if why == "held":
        decide(rig, DecisionKind.HOLD)
    else:
        changes.refund(rig.mirakl["alpha"], "1-A", L1, 1)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPING")
    rig.poll(60)
    assert rig.attention() == [why]
    act = operations.Act(DecisionKind.HANDLED, "ana", "entered", rig.clock.now(), call="import_order")
    operations.decide(rig.store, rig.orders, rig.row(), act, shops=("alpha",))
    rig.work()
    assert rig.state() == "imported"
    if why == "held":
        decide(rig, DecisionKind.RELEASE, "held")
        rig.work()
    assert "imported" not in rig.effects()  # no POST /order of ours


def test_a_line_that_a_read_leaves_out_is_told_and_the_rest_is_not_shipped(rig: Rig) -> None:
    rig.imported(lines=2)
    tell(rig, rig.row().facts.parts[0].oms_id, 512, L1=1)
    keep_lines(rig, 1)
    assert "shipped" not in rig.effects()
    cause = reasons_of(rig)["lines_canceled_after_import"].cause
    assert cause == f"{L2}: 1 went to the OMS, the newest read does not show this line"
    decide(rig, DecisionKind.SETTLE, "lines_canceled_after_import")
    rig.work()
    assert "shipped" in rig.effects()


def test_an_order_of_which_a_read_shows_no_line_is_not_shipped(rig: Rig) -> None:
    rig.imported(lines=2)
    keep_lines(rig, 0)
    tell(rig, rig.row().facts.parts[0].oms_id, 8)
    assert "lines_canceled_after_import" in rig.attention()
    assert "shipped" not in rig.effects()


@pytest.mark.parametrize(("status", "reason"), [(256, "oms_on_hold"), (32, "oms_query")])
@pytest.mark.parametrize("left", ["vouched", "reported"])
def test_a_stop_by_the_oms_of_a_line_that_is_made_again_is_told(rig: Rig, left: str, status: int, reason: str) -> None:
    mandatory(rig, "alpha")
    rig.imported(lines=2)
    oms_id = rig.row().facts.parts[0].oms_id
    refund(rig, L1)
    decide(rig, DecisionKind.SETTLE, "lines_canceled_after_import")
    if left == "vouched":
        decide(rig, DecisionKind.SENT)
    else:
        tell(rig, oms_id, 8)
    reject_refund(rig, L1)
    decide(rig, DecisionKind.SETTLE, "lines_added_after_import")
    tell(rig, oms_id, status)
    assert reason in rig.attention()


def test_a_vouch_made_while_a_piece_was_taken_back_does_not_cover_that_piece(rig: Rig) -> None:
    mandatory(rig, "alpha")
    rig.imported(quantity=3)
    oms_id = rig.row().facts.parts[0].oms_id
    refund(rig, L1, 1)
    decide(rig, DecisionKind.SETTLE, "lines_canceled_after_import")
    decide(rig, DecisionKind.SENT)
    reject_refund(rig, L1)
    tell(rig, oms_id, 512, L1=2)
    assert "lines_added_after_import" in rig.attention()
    assert "shipped" not in rig.effects()
