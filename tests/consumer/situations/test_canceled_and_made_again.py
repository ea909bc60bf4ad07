"""The OMS cancels pieces, and they are to be made all the same: in another order, or because a refund was rejected."""

import json
from collections.abc import Callable

import pytest

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from consumer.operations.causes import AttentionReason
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import BARE, answer_with, decide, details, lower, tell


def imported(rig: Rig, pieces: int = 3) -> None:
    """As order 7 of the OMS, whose answer names the line and its pieces."""
    answer_with(rig, ("1-A-1", pieces))
    rig.imported(quantity=pieces)


def oms_cancels(rig: Rig, oms_id: int = 7, line: str = "1-A-1", pieces: int = 1) -> None:
    items = [{"external_ref": line, "quantity": pieces}]
    tell(rig, 4, id=oms_id, new_cancellations=[{"items": items}])


def made_again(rig: Rig) -> None:
    tell(rig, 1, id=9)


def sent_again(rig: Rig) -> None:
    tell(rig, 8, id=9, new_shipments=[{"tracking": "T9", "items": [{"external_ref": "1-A-1", "quantity": 1}]}])


def refund(rig: Rig, pieces: int | None = 1, line: str = "1-A-1") -> None:
    rig.clock.advance(60)
    changes.refund(rig.mirakl["alpha"], "1-A", line, pieces)
    rig.poll(60)


def reject_refund(rig: Rig) -> None:
    rig.clock.advance(60)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", refunds=[])
    rig.poll(60)


def explained(rig: Rig, reason: str) -> AttentionReason:
    found = operations.explanation(rig.store, rig.row(), rig.policies["alpha"], rig.clock.now())
    return next(one for one in found.attention if one.reason == reason)


# -- Lines, of which one is made again ---------------------------------------------------------------------------------


def agreed_and_the_rest_is_canceled(rig: Rig) -> None:
    """The OMS cancels L1, which is refunded as agreed. Then it cancels all of its order, to make L2 again as 20."""
    answer_with(rig, ("1-A-1", 1), ("1-A-2", 1))
    rig.imported(lines=2)
    oms_cancels(rig)
    refund(rig, None)
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    tell(rig, 128, id=7)
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    assert rig.attention() == []


def sent_as_20(rig: Rig, *lines: str) -> None:
    items = [{"external_ref": line, "quantity": 1} for line in lines]
    tell(rig, 8, id=20, new_shipments=[{"tracking": "T20", "items": items}])
    rig.poll(300)


def test_an_agreed_line_is_not_in_the_parcel_of_the_other_one(rig: Rig) -> None:
    agreed_and_the_rest_is_canceled(rig)
    sent_as_20(rig, "1-A-2")
    rig.poll(300)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_an_agreed_line_that_the_next_parcel_of_this_order_holds_is_told(rig: Rig) -> None:
    agreed_and_the_rest_is_canceled(rig)
    sent_as_20(rig, "1-A-2")
    sent_as_20(rig, "1-A-1")
    assert details(rig) == {"lines_canceled_after_import": "1-A-1"}


def without_lines(rig: Rig) -> None:
    tell(rig, 8, id=20)


def both_lines(rig: Rig) -> None:
    sent_as_20(rig, "1-A-1", "1-A-2")


def a_line_that_is_not_ours_too(rig: Rig) -> None:
    sent_as_20(rig, "1-A-2", "X-1")


def another_number_later(rig: Rig) -> None:
    sent_as_20(rig, "1-A-2")
    tell(rig, 8, id=20, shipping_tracking="T21")


@pytest.mark.parametrize(
    "report",
    [without_lines, both_lines, a_line_that_is_not_ours_too, another_number_later],
    ids=lambda one: one.__name__,
)
def test_an_agreed_line_that_perhaps_left_is_told(rig: Rig, report: Callable[[Rig], None]) -> None:
    agreed_and_the_rest_is_canceled(rig)
    report(rig)
    assert details(rig) == {"lines_canceled_after_import": "1-A-1"}


# -- In another order of the OMS -------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [made_again, sent_again])
@pytest.mark.parametrize("less", [refund, lambda rig: lower(rig, 2)])
def test_a_piece_that_is_made_again_is_to_be_taken_out(rig: Rig, again, less) -> None:  # type: ignore[no-untyped-def]
    imported(rig)
    oms_cancels(rig)
    again(rig)
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    assert "lines_canceled_after_import" not in rig.attention()
    rig.clock.advance(60)
    less(rig)
    assert "lines_canceled_after_import" in rig.attention(), "the OMS makes three, and two are to be sent"


def test_a_refund_before_the_settle_is_not_what_the_oms_canceled(rig: Rig) -> None:
    imported(rig)
    oms_cancels(rig)
    made_again(rig)
    refund(rig)
    one = explained(rig, "lines_canceled_after_import")
    assert one.cause.endswith(" for 1 piece, 1 canceled by the OMS, and perhaps made again in OMS order 9")
    assert one.cure.startswith("The OMS canceled pieces of it, and perhaps makes these again in another order")


def test_a_line_that_is_made_again_after_its_refund_is_to_be_taken_out(rig: Rig) -> None:
    rig.imported(lines=2)
    oms_cancels(rig, rig.row().facts.parts[0].oms_id, "1-A-2")
    decide(rig, DecisionKind.SETTLE)
    refund(rig, None, "1-A-2")
    assert rig.attention() == []
    tell(rig, 1, id=99)
    one = explained(rig, "lines_canceled_after_import")
    assert one.cause.endswith(", 1 canceled by the OMS, and perhaps made again in OMS order 99")
    assert "Ask the OMS how many it makes now" in one.cure


def test_a_piece_that_the_other_order_cancels_is_taken_out(rig: Rig) -> None:
    imported(rig)
    oms_cancels(rig)
    made_again(rig)
    decide(rig, DecisionKind.SETTLE)
    refund(rig)
    decide(rig, DecisionKind.SETTLE)
    oms_cancels(rig, 9)
    assert rig.attention() == ["oms_canceled"]
    one = explained(rig, "oms_canceled")
    assert ", 2 canceled by the OMS, 1 of these perhaps made again in OMS order 9" in one.cause
    assert one.cure.startswith("The OMS did not cancel its other order:")


def test_a_piece_beside_an_order_that_may_have_it_is_not_just_missing(rig: Rig) -> None:
    imported(rig)
    oms_cancels(rig)
    assert explained(rig, "oms_canceled").cure.startswith("Agree with the people of the OMS")
    made_again(rig)
    assert explained(rig, "oms_canceled").cure.startswith("The OMS did not cancel its other order:")


def test_a_piece_of_an_order_that_was_made_again_is_compared_by_the_people_of_the_oms(rig: Rig) -> None:
    imported(rig)
    tell(rig, 128)
    made_again(rig)
    decide(rig, DecisionKind.SETTLE)
    refund(rig)
    oms_cancels(rig, 9)
    assert "and the OMS's reports do not tell how many pieces it canceled" in explained(rig, "oms_canceled").cure
    of_mirakl = explained(rig, "lines_canceled_after_import")
    assert of_mirakl.cause.endswith(", canceled by the OMS: OMS order 7 (0007), not canceled: OMS order 9")
    assert "its reports do not tell how many it makes now: ask the people of the OMS, and take out" in of_mirakl.cure


@pytest.mark.parametrize("reports_first", [True, False])
def test_an_order_whose_lines_no_answer_shows_makes_again_only_what_was_canceled_before(
    rig: Rig, reports_first: bool
) -> None:
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=BARE.decode()))
    rig.imported(quantity=3)
    acts = [made_again, oms_cancels]
    for act in acts if reports_first else acts[::-1]:
        act(rig)
    decide(rig, DecisionKind.SETTLE)
    refund(rig)
    assert rig.attention() == ([] if reports_first else ["lines_canceled_after_import"])


def test_a_second_order_beside_all_pieces_of_the_answer_may_make_what_is_canceled_later(rig: Rig) -> None:
    imported(rig)
    made_again(rig)
    oms_cancels(rig)
    decide(rig, DecisionKind.SETTLE)
    refund(rig)
    assert rig.attention() == ["lines_canceled_after_import"]


# -- Because the refund was rejected ---------------------------------------------------------------------------------


def test_pieces_whose_refund_is_rejected_after_the_settle_are_missing(rig: Rig) -> None:
    imported(rig, 2)
    oms_cancels(rig)
    decide(rig, DecisionKind.SETTLE)
    for _ in range(2):
        refund(rig)
        assert "oms_canceled" not in rig.attention()
        reject_refund(rig)
        assert "oms_canceled" in rig.attention(), "the OMS makes one, and two are to be sent"
        decide(rig, DecisionKind.SETTLE, "oms_canceled")
        assert "oms_canceled" not in rig.attention()


def test_pieces_hold_the_shipment_back_after_the_refund_is_rejected(rig: Rig) -> None:
    imported(rig, 2)
    oms_cancels(rig)
    decide(rig, DecisionKind.SETTLE)
    refund(rig)
    reject_refund(rig)
    tell(rig, 8)
    rig.poll(600)
    assert (rig.state(), rig.attention(), rig.effects()) == ("dispatched", ["oms_canceled"], ["imported"])


def test_a_settle_of_the_difference_does_not_count_when_the_refund_is_rejected(rig: Rig) -> None:
    imported(rig, 5)
    refund(rig, 2)
    oms_cancels(rig, pieces=3)
    assert explained(rig, "oms_canceled").cure.startswith("Missing is only 1 of")
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    assert "oms_canceled" not in rig.attention()
    reject_refund(rig)
    assert "oms_canceled" in rig.attention(), "now three are missing"
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    assert "oms_canceled" not in rig.attention()


def test_the_pieces_of_one_of_two_orders_are_missing_when_the_refund_is_rejected(rig: Rig) -> None:
    parts = [
        {"id": oms_id, "external_ref": "1-A", "items": [{"id": 1, "external_ref": "1-A-1", "quantity": pieces}]}
        for oms_id, pieces in ((7, 2), (8, 1))
    ]
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=json.dumps(parts)))
    rig.imported(quantity=3)
    tell(rig, 128, id=8)
    decide(rig, DecisionKind.SETTLE)
    refund(rig)
    assert rig.attention() == []
    reject_refund(rig)
    assert details(rig)["oms_canceled"].startswith("8 ")
