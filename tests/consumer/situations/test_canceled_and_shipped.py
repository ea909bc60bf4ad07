"""Somebody said that the goods left, and the OMS cancels them, as the cure of shipped_elsewhere asks for.

Done literally, the cure for goods that are still to be sent would refund a customer who gets a parcel, or send
another.
"""

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from consumer.operations.causes import AttentionReason
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, tell

SHIPPED = "If they left, nothing is missing, so refund nothing and have nothing made again"
TO_BE_SENT = "cancel or refund it in Mirakl's portal, or have it made again"


def cure(rig: Rig) -> str:
    found = explained(rig)
    return next(one.cure for one in found.attention if one.reason == "oms_canceled")


def shipped_in_the_portal(rig: Rig, workflow: str = "PAY_ON_ACCEPTANCE", state: str = "SHIPPED") -> None:
    rig.imported(workflow=workflow)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", state)
    rig.poll()


@pytest.mark.parametrize(
    ("workflow", "state"), [("PAY_ON_ACCEPTANCE", "SHIPPED"), ("PAY_ON_SHIPMENT", "WAITING_DEBIT_PAYMENT")]
)
def test_what_was_shipped_in_the_portal_is_not_refunded_because_the_oms_canceled_it(
    rig: Rig, workflow: str, state: str
) -> None:
    shipped_in_the_portal(rig, workflow, state)
    tell(rig, 128)
    assert "oms_canceled" in rig.attention()
    assert SHIPPED in cure(rig)
    assert TO_BE_SENT not in cure(rig)
    act = operations.Act(DecisionKind.SETTLE, "ana", "seen", rig.clock.now())
    question = operations.question_of(rig.store, rig.row(), act, rig.policies["alpha"], prefix="")
    assert "Mirakl still shows" not in question
    decide(rig, DecisionKind.SETTLE)
    found = explained(rig)
    assert (rig.attention(), "Mirakl still shows" in found.waits_for) == ([], False)


def test_one_line_that_was_shipped_in_the_portal_is_not_refunded_either(rig: Rig) -> None:
    rig.imported(lines=2)
    changes.set_line(
        rig.mirakl["alpha"], "1-A", "1-A-1", order_line_state="SHIPPED", shipped_date="2026-03-01T12:00:00Z"
    )
    rig.poll()
    tell(rig, 4, new_cancellations=[{"items": [{"external_ref": "1-A-1", "quantity": 1}]}])
    assert SHIPPED in cure(rig)


def test_what_a_person_said_had_left_is_not_refunded_because_the_oms_canceled_it(rig: Rig) -> None:
    rig.imported()
    decide(rig, DecisionKind.SENT)
    rig.clock.advance(60)
    tell(rig, 128)
    assert SHIPPED in cure(rig)


def test_what_nobody_said_had_left_is_refunded_or_made_again(rig: Rig) -> None:
    rig.imported()
    tell(rig, 128)
    assert TO_BE_SENT in cure(rig)
    assert SHIPPED not in cure(rig)


def reason(rig: Rig) -> AttentionReason:
    found = explained(rig)
    return next(one for one in found.attention if one.reason == "oms_canceled")


@pytest.mark.parametrize("is_order_shipped", [True, False])
def test_a_line_that_is_shipped_in_the_portal_is_not_missing_beside_one_that_is_refunded(
    rig: Rig, is_order_shipped: bool
) -> None:
    rig.imported(lines=2)
    mirakl = rig.mirakl["alpha"]
    changes.refund(mirakl, "1-A", "1-A-1")
    if is_order_shipped:
        changes.put_in_state(mirakl, "1-A", "SHIPPED")
    else:
        changes.set_line(mirakl, "1-A", "1-A-2", order_line_state="SHIPPED", shipped_date="2026-03-01T12:00:00Z")
    rig.poll(60)
    tell(rig, 128)
    one = reason(rig)
    assert "1-A-2 (MUG-11OZ-WHT): Mirakl shows it shipped" in one.cause
    assert "not to be sent any more" not in one.cause
    assert one.cure.startswith("Mirakl shows none of these lines to be sent (`cause`), so nothing is missing: refund ")
    assert "Mirakl canceled or refunded" not in one.cure


@pytest.mark.parametrize("whole", [True, False])
def test_a_line_that_is_not_in_the_parcel_that_mirakl_debits_is_refunded_or_made_again(rig: Rig, whole: bool) -> None:
    rig.imported(lines=2, workflow="PAY_ON_SHIPMENT")
    mirakl = rig.mirakl["alpha"]
    changes.set_line(mirakl, "1-A", "1-A-1", order_line_state="SHIPPED", shipped_date="2026-03-01T12:00:00Z")
    changes.put_in_state(mirakl, "1-A", "WAITING_DEBIT_PAYMENT")
    rig.poll(60)
    canceled = [{"items": [{"external_ref": "1-A-2", "quantity": 1}]}]
    tell(rig, 128) if whole else tell(rig, 4, new_cancellations=canceled)
    assert SHIPPED not in cure(rig)
    found = "Missing is only 1 of 1-A-2 (MUG-11OZ-WHT): cancel or refund that" if whole else TO_BE_SENT
    assert found in cure(rig)


def test_a_line_that_is_still_to_be_sent_is_named_as_missing_beside_one_that_is_refunded(rig: Rig) -> None:
    rig.imported(lines=2, quantity=2)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")
    rig.poll(60)
    tell(rig, 128)
    assert reason(rig).cure.startswith(
        "Missing is only 2 of 1-A-2 (MUG-11OZ-WHT): cancel or refund that in Mirakl's portal, or have it made again."
    )


@pytest.mark.parametrize("settled_first", [True, False])
def test_a_settle_holds_when_or24_for_the_other_lines_is_made(rig: Rig, settled_first: bool) -> None:
    rig.imported(lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_state="SHIPPED")
    rig.poll()
    if settled_first:
        decide(rig, DecisionKind.SETTLE)
    tell(rig, 4, new_cancellations=[{"items": [{"external_ref": "1-A-1", "quantity": 1}]}])
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    tell(rig, 8, new_shipments=[{"tracking": "T1", "items": [{"external_ref": "1-A-2", "quantity": 1}]}])
    assert (rig.attention(), "shipped" in rig.effects()) == ([], True)
