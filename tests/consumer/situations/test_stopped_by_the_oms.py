"""What the OMS reports as canceled is not to be stopped there any more: it stays on the list, and is not `now`."""

import json
from collections.abc import Callable

import pytest

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from consumer.operations.causes import AttentionReason
from consumer.operations.listing import listed
from statemachine.facts import DecisionKind
from statemachine.urgency import Urgency
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import BARE, answer_with, decide, tell

DAY = 24 * 3600
NOW, DEADLINE = Urgency.NOW, Urgency.BY_DEADLINE
L1, L2 = "1-A-1", "1-A-2"
CANCELED, WITHDRAWN = "lines_canceled_after_import", "withdrawn_after_import"


def urgency(rig: Rig, reason: str) -> Urgency | None:
    return listed(rig.row(), rig.policies["alpha"], [reason]).urgency


def explained(rig: Rig, reason: str) -> AttentionReason:
    found = operations.explanation(rig.store, rig.row(), rig.policies["alpha"], rig.clock.now()).attention
    return next(one for one in found if one.reason == reason)


def imported(rig: Rig, quantity: int = 1) -> None:
    answer_with(rig, (L1, quantity), (L2, quantity))
    rig.imported(lines=2, quantity=quantity)


def refund(rig: Rig, line: str, pieces: int | None = None) -> None:
    rig.clock.advance(60)
    changes.refund(rig.mirakl["alpha"], "1-A", line, pieces)
    rig.poll(60)


def oms_cancels(rig: Rig, line: str, pieces: int = 1, oms_id: int = 7) -> None:
    tell(rig, 4, id=oms_id, new_cancellations=[{"items": [{"external_ref": line, "quantity": pieces}]}])


def sends(rig: Rig, line: str, pieces: int, status: int = 512, oms_id: int = 7) -> None:
    parcel = {"tracking": "T1", "items": [{"external_ref": line, "quantity": pieces}]}
    tell(rig, status, id=oms_id, new_shipments=[parcel])


# -- Lines and pieces ------------------------------------------------------------------------------------------------


def test_a_refunded_line_that_the_oms_canceled_stays_and_is_not_now(rig: Rig) -> None:
    imported(rig)
    refund(rig, L2)
    assert urgency(rig, CANCELED) is NOW
    oms_cancels(rig, L2)
    assert (rig.attention(), rig.row().urgency) == ([CANCELED], DEADLINE)
    assert explained(rig, CANCELED).cure.startswith("The OMS canceled it too, so nothing is to be stopped there.")


def test_a_refunded_line_of_which_the_oms_canceled_its_own_order_is_not_now(rig: Rig) -> None:
    parts = [
        {"id": oms_id, "external_ref": "1-A", "items": [{"id": 1, "external_ref": line, "quantity": 1}]}
        for oms_id, line in ((7, L1), (8, L2))
    ]
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=json.dumps(parts)))
    rig.imported(lines=2)
    refund(rig, L2)
    tell(rig, 128, id=8)
    assert (rig.attention(), rig.row().urgency) == ([CANCELED], DEADLINE)


@pytest.mark.parametrize(("pieces", "expected"), [(1, NOW), (2, DEADLINE)])
def test_pieces_are_now_until_the_oms_canceled_as_many(rig: Rig, pieces: int, expected: Urgency) -> None:
    imported(rig, quantity=4)
    refund(rig, L1, 2)
    assert urgency(rig, CANCELED) is NOW
    oms_cancels(rig, L1, pieces)
    assert urgency(rig, CANCELED) is expected


def is_made_again(rig: Rig) -> None:
    tell(rig, 1, id=9)


def leaves(rig: Rig) -> None:
    sends(rig, L2, 1)


@pytest.mark.parametrize("happens", [is_made_again, leaves])
def test_a_canceled_line_that_is_made_again_or_leaves_is_now_again(rig: Rig, happens: Callable[[Rig], None]) -> None:
    imported(rig)
    refund(rig, L2)
    oms_cancels(rig, L2)
    happens(rig)
    assert urgency(rig, CANCELED) is NOW


def test_more_pieces_that_left_than_are_to_be_sent_are_now(rig: Rig) -> None:
    imported(rig, quantity=3)
    refund(rig, L1, 1)
    oms_cancels(rig, L1)
    sends(rig, L1, 2)
    assert urgency(rig, CANCELED) is DEADLINE, "these are to be sent"
    sends(rig, L1, 3)
    assert urgency(rig, CANCELED) is NOW


def test_a_piece_that_left_before_the_oms_canceled_the_line_is_to_be_stopped_now(rig: Rig) -> None:
    imported(rig, quantity=2)
    sends(rig, L2, 1)
    refund(rig, L2)
    tell(rig, 128, id=7)
    assert urgency(rig, CANCELED) is NOW
    assert explained(rig, CANCELED).cure.startswith("The goods have left. Stop the parcel or arrange its return")


def test_a_line_of_an_order_that_the_oms_canceled_is_not_now_if_no_answer_named_its_lines(rig: Rig) -> None:
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=BARE.decode()))
    rig.imported(lines=2)
    refund(rig, L2)
    assert urgency(rig, CANCELED) is NOW
    tell(rig, 128, id=7)
    assert urgency(rig, CANCELED) is DEADLINE
    assert explained(rig, CANCELED).cure.startswith("The OMS canceled it too, so nothing is to be stopped there.")


# -- All of the order ------------------------------------------------------------------------------------------------


def all_at_once(rig: Rig) -> None:
    tell(rig, 128, id=7)


def line_by_line(rig: Rig) -> None:
    oms_cancels(rig, L1)
    oms_cancels(rig, L2)


@pytest.mark.parametrize("cancels", [all_at_once, line_by_line])
def test_an_order_that_mirakl_took_back_and_the_oms_canceled_is_not_now(
    rig: Rig, cancels: Callable[[Rig], None]
) -> None:
    imported(rig)
    refund(rig, L1)
    refund(rig, L2)
    assert (rig.attention(), rig.row().urgency) == ([WITHDRAWN], NOW)
    cancels(rig)
    assert (rig.attention(), rig.row().urgency) == ([WITHDRAWN], DEADLINE), "the operator still keeps it open"
    assert explained(rig, WITHDRAWN).cause.endswith("; the OMS canceled all of it")
    assert explained(rig, WITHDRAWN).cure.startswith("The OMS canceled it too, so nothing is to be stopped there.")
    is_made_again(rig)
    assert urgency(rig, WITHDRAWN) is NOW


def test_a_parcel_that_left_before_the_oms_canceled_the_rest_is_to_be_stopped_now(rig: Rig) -> None:
    imported(rig)
    sends(rig, L1, 1)
    refund(rig, L1)
    refund(rig, L2)
    tell(rig, 128, id=7)
    assert urgency(rig, WITHDRAWN) is NOW
    assert explained(rig, WITHDRAWN).cure.startswith("The goods have left. Stop the parcel or arrange its return")


@pytest.mark.parametrize("cancels", [all_at_once, line_by_line])
def test_an_order_that_is_gone_and_that_the_oms_canceled_is_not_now(rig: Rig, cancels: Callable[[Rig], None]) -> None:
    imported(rig)
    rig.mirakl["alpha"].remove("1-A")
    for _ in range(3):
        rig.poll(DAY + 60)
    assert urgency(rig, "gone_from_mirakl") is NOW
    cancels(rig)
    assert urgency(rig, "gone_from_mirakl") is DEADLINE
    assert explained(rig, "gone_from_mirakl").cure.startswith("The OMS canceled it too, so nothing is to be stopped")


# -- Lines in an incident --------------------------------------------------------------------------------------------


def in_incident(rig: Rig) -> None:
    imported(rig, quantity=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", L1, order_line_state="INCIDENT_OPEN")
    rig.poll(60)
    assert urgency(rig, "line_incident") is NOW


def test_a_line_in_an_incident_that_the_oms_canceled_is_not_now(rig: Rig) -> None:
    in_incident(rig)
    oms_cancels(rig, L1, 2)
    assert urgency(rig, "line_incident") is DEADLINE
    cure = explained(rig, "line_incident").cure
    assert cure.startswith("The OMS canceled the line, so nothing is to be stopped there. Solve the incident in Mirakl")
    assert "have the line refunded, unless that is done or it is to be sent after all" in cure
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    assert (rig.attention(), rig.row().urgency) == (["line_incident"], DEADLINE)


def test_a_line_in_an_incident_of_which_the_oms_makes_a_piece_is_now(rig: Rig) -> None:
    in_incident(rig)
    changes.refund(rig.mirakl["alpha"], "1-A", L1, 1)
    rig.poll(60)
    oms_cancels(rig, L1, 1)
    assert urgency(rig, "line_incident") is NOW
    assert "If the OMS has the line, stop it there" in explained(rig, "line_incident").cure
