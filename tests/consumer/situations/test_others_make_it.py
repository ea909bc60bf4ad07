"""What is stopped, canceled or sent of one line or part says nothing of what the OMS makes of the others."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig, mandatory
from tests.consumer.situations.in_oms_hands import decide, details, explained


def split(rig: Rig, quantity: int, *parts: tuple[int, Sequence[tuple[str, int]]]) -> None:
    """Import an order of two lines, `quantity` of the first. The OMS makes these parts of it."""
    body = [
        {
            "id": oms_id,
            "ref": str(oms_id),
            "external_ref": "1-A",
            "status": 1,
            "items": [{"id": 1, "external_ref": line, "quantity": pieces} for line, pieces in items],
        }
        for oms_id, items in parts
    ]
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=json.dumps(body)))
    rig.add("1-A", state="SHIPPING", lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", quantity=quantity)
    rig.poll()
    rig.work()
    assert rig.state() == "imported"


def tell(rig: Rig, oms_id: int, status: int, **more: object) -> None:
    rig.clock.advance(60)
    body = {"id": oms_id, "external_ref": "1-A", "status": status} | more
    rig.take_callback("http://alpha", {}, json.dumps(body).encode())
    rig.consume()
    rig.work()


def change(rig: Rig, line: str, **fields: Any) -> None:
    rig.clock.advance(60)
    changes.set_line(rig.mirakl["alpha"], "1-A", line, **fields)
    rig.poll()
    rig.work()


def refund(rig: Rig, line: str, pieces: int | None = None) -> None:
    rig.clock.advance(60)
    changes.refund(rig.mirakl["alpha"], "1-A", line, pieces)
    rig.poll()
    rig.work()


def causes(rig: Rig) -> dict[str, tuple[str, str]]:
    found = explained(rig)
    return {one.reason: (one.cause, one.cure) for one in found.attention}


def test_a_line_shipped_in_the_portal_and_refunded_before_its_settle_stays_on_the_list(rig: Rig) -> None:
    rig.imported(lines=2)
    change(rig, "1-A-1", order_line_state="SHIPPED", shipped_date="2026-03-01T12:00:00Z")
    assert details(rig) == {"shipped_elsewhere": "1-A-1"}
    change(rig, "1-A-1", order_line_state="REFUNDED")
    assert details(rig) == {"shipped_elsewhere": "1-A-1"}
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


@pytest.mark.parametrize("what", ["refund", "incident"])
def test_a_part_that_left_does_not_say_that_the_line_left_if_another_part_makes_it_too(rig: Rig, what: str) -> None:
    split(rig, 4, (7, [("1-A-1", 2)]), (8, [("1-A-1", 2)]), (9, [("1-A-2", 1)]))
    tell(rig, 7, 8)
    if what == "refund":
        refund(rig, "1-A-1")
    else:
        change(rig, "1-A-1", order_line_state="INCIDENT_OPEN")
    reason = {"refund": "lines_canceled_after_import", "incident": "line_incident"}[what]
    cause, cure = causes(rig)[reason]
    assert (", sent" in cause, "have left" in cure) == (False, False)
    decide(rig, DecisionKind.SETTLE, reason)
    if what == "incident":
        change(rig, "1-A-1", order_line_state="SHIPPING")
        assert details(rig)["lines_added_after_import"] == "1-A-1 (2, now 4)"


def made_again(rig: Rig) -> None:
    """The OMS cancels its order 7 and makes all of it again as 99."""
    split(rig, 1, (7, [("1-A-1", 1), ("1-A-2", 1)]))
    tell(rig, 7, 128)
    tell(rig, 99, 4)
    decide(rig, DecisionKind.SETTLE, "oms_canceled")


def test_a_line_that_the_oms_makes_again_under_a_new_id_is_not_canceled(rig: Rig) -> None:
    made_again(rig)
    refund(rig, "1-A-1")
    cause, cure = causes(rig)["lines_canceled_after_import"]
    assert ("canceled by the OMS" in cause, "nothing is to be stopped" in cure) == (False, False)


def test_a_line_that_the_oms_makes_again_and_that_was_shipped_in_the_portal_is_told(rig: Rig) -> None:
    made_again(rig)
    change(rig, "1-A-1", order_line_state="SHIPPED", shipped_date="2026-03-01T12:00:00Z")
    assert details(rig) == {"shipped_elsewhere": "1-A-1"}


def test_the_other_line_that_leaves_does_not_bring_a_settled_incident_back(rig: Rig) -> None:
    split(rig, 1, (7, [("1-A-1", 1), ("1-A-2", 1)]))
    change(rig, "1-A-1", order_line_state="INCIDENT_OPEN")
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 7, 8, new_shipments=[{"tracking": "T1", "items": [{"external_ref": "1-A-2", "quantity": 1}]}])
    assert ("shipped" in rig.effects(), rig.attention()) == (True, [])


def test_a_refund_that_is_rejected_after_our_shipment_is_told_if_the_line_was_taken_out(rig: Rig) -> None:
    split(rig, 1, (7, [("1-A-1", 1), ("1-A-2", 1)]))
    refund(rig, "1-A-1")
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 7, 8, new_shipments=[{"tracking": "T1", "items": [{"external_ref": "1-A-2", "quantity": 1}]}])
    rig.poll(600)
    assert ("shipped" in rig.effects(), rig.state(), rig.attention()) == (True, "shipped", [])
    change(rig, "1-A-1", refunds=[])
    assert details(rig) == {"lines_added_after_import": "1-A-1 (0, now 1)"}
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_a_refund_that_is_rejected_after_the_oms_canceled_the_line_is_told_after_our_shipment_too(rig: Rig) -> None:
    split(rig, 1, (7, [("1-A-1", 1)]), (8, [("1-A-2", 1)]))
    tell(rig, 7, 128)
    refund(rig, "1-A-1")
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    tell(rig, 8, 8)
    rig.poll(600)
    assert ("shipped" in rig.effects(), rig.attention()) == (True, [])
    change(rig, "1-A-1", refunds=[])
    assert rig.attention() == ["oms_canceled"]


def test_a_hold_in_the_oms_is_told_after_a_vouch_if_more_is_to_be_sent_since(rig: Rig) -> None:
    mandatory(rig, "alpha")
    rig.imported(lines=2)
    refund(rig, "1-A-1")
    decide(rig, DecisionKind.SETTLE, "lines_canceled_after_import")
    decide(rig, DecisionKind.SENT)
    change(rig, "1-A-1", refunds=[])
    decide(rig, DecisionKind.SETTLE, "lines_added_after_import")
    tell(rig, rig.row().facts.parts[0].oms_id, 256)
    assert "oms_on_hold" in rig.attention()


def test_a_vouch_for_a_part_of_a_line_does_not_cover_the_piece_whose_refund_is_rejected(rig: Rig) -> None:
    mandatory(rig, "alpha")
    rig.imported(quantity=3)
    refund(rig, "1-A-1", 1)
    decide(rig, DecisionKind.SETTLE, "lines_canceled_after_import")
    decide(rig, DecisionKind.SENT)
    change(rig, "1-A-1", refunds=[])
    parcel = {"tracking": "T1", "items": [{"external_ref": "1-A-1", "quantity": 2}]}
    tell(rig, rig.row().facts.parts[0].oms_id, 8, new_shipments=[parcel])
    assert ("shipped" in rig.effects(), "lines_added_after_import" in rig.attention()) == (False, True)


def test_a_person_vouches_and_the_oms_goes_on_with_an_order_that_is_canceled(rig: Rig) -> None:
    rig.imported(lines=2)
    decide(rig, DecisionKind.SENT)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "CANCELED")
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    tell(rig, rig.row().facts.parts[0].oms_id, 4)
    assert rig.attention() == ["canceled_after_import"]


@pytest.mark.parametrize("more", [[("1-A-1", 2)], [("1-A-1", 1), ("1-A-2", 1)]])
def test_a_number_that_is_reported_again_with_other_items_is_one_parcel(rig: Rig, more: list[tuple[str, int]]) -> None:
    split(rig, 3 if len(more) == 1 else 2, (7, [("1-A-1", 3), ("1-A-2", 1)]))
    for items in ([("1-A-1", 1)], more):
        listed = [{"external_ref": line, "quantity": pieces} for line, pieces in items]
        tell(rig, 7, 512, new_shipments=[{"tracking": "T1", "items": listed}])
    tell(rig, 7, 512, new_shipments=[{"tracking": "T2", "items": [{"external_ref": "1-A-2", "quantity": 1}]}])
    assert ("shipped" in rig.effects(), "partly_sent" in rig.attention()) == (False, True)
