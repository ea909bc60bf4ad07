"""Mirakl took lines back, a person takes them out in the OMS, and the OMS reports that: one act, one settle."""

import json
from collections.abc import Callable

import pytest

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from consumer.operations.causes import AttentionReason
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, lower, tell


def refunded(rig: Rig, *lines: str) -> None:
    for line in lines:
        changes.refund(rig.mirakl["alpha"], "1-A", line)
    rig.poll(60)


def oms_cancels(rig: Rig, **lines: int) -> None:
    """The OMS cancels so many pieces of each of these lines."""
    items = [{"external_ref": f"1-A-{name[1:]}", "quantity": pieces} for name, pieces in lines.items()]
    tell(rig, 4, new_cancellations=[{"items": items}])


def cures(rig: Rig) -> dict[str, AttentionReason]:
    found = explained(rig)
    return {one.reason: one for one in found.attention}


def test_a_line_that_mirakl_took_back_before_is_asked_for_once(rig: Rig) -> None:
    rig.imported(lines=2)
    refunded(rig, "1-A-2")
    assert rig.attention() == ["lines_canceled_after_import"]
    oms_cancels(rig, L2=1)
    assert rig.attention() == ["lines_canceled_after_import"]
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_a_settle_before_the_report_of_the_oms_is_the_only_one(rig: Rig) -> None:
    rig.imported(lines=2)
    refunded(rig, "1-A-2")
    rig.clock.advance(60)
    decide(rig, DecisionKind.SETTLE)
    oms_cancels(rig, L2=1)
    assert rig.attention() == []
    tell(rig, 8)
    rig.poll(600)
    assert rig.effects() == ["imported", "shipped"], "no reason holds the calls of the rest"


def test_an_order_that_mirakl_took_back_is_asked_for_once(rig: Rig) -> None:
    rig.imported()
    refunded(rig, "1-A-1")
    assert rig.attention() == ["withdrawn_after_import"]
    rig.clock.advance(60)
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 128)
    assert rig.attention() == []


def test_a_line_with_an_incident_that_a_person_stopped_is_asked_for_once(rig: Rig) -> None:
    rig.imported(lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="INCIDENT_OPEN")
    rig.poll(60)
    rig.clock.advance(60)
    decide(rig, DecisionKind.SETTLE, "line_incident")
    oms_cancels(rig, L2=1)
    assert rig.attention() == []


# -- Pieces, of which Mirakl leaves the number of the line as it was -------------------------------------------------


TakesBack = Callable[..., None]


def taken_back(rig: Rig, how: TakesBack, pieces: int, of: int = 3) -> None:
    """Mirakl takes so many pieces back, and still shows all in `quantity`."""
    rig.imported(quantity=of)
    rig.clock.advance(60)
    how(rig.mirakl["alpha"], "1-A", "1-A-1", pieces)
    rig.poll(60)


def rest_leaves(rig: Rig) -> None:
    tell(rig, 8, shipping_tracking="T1")
    rig.work()
    rig.poll(600)


@pytest.mark.parametrize("how", [changes.cancel_pieces, changes.refund])
@pytest.mark.parametrize("settled_first", [True, False])
def test_as_many_pieces_as_mirakl_took_back_are_settled_once(rig: Rig, how: TakesBack, settled_first: bool) -> None:
    taken_back(rig, how, 2)
    assert cures(rig)["lines_canceled_after_import"].cure.startswith("Take them out in the OMS")
    if settled_first:
        decide(rig, DecisionKind.SETTLE)
    oms_cancels(rig, L1=2)
    if not settled_first:
        (one,) = cures(rig).values()
        assert one.reason == "lines_canceled_after_import"
        assert one.cause.endswith(" for 2 pieces, 2 canceled by the OMS: both 2")
        assert one.cure.startswith("The OMS canceled as many pieces as Mirakl took back (`cause`), so nothing is to ")
        decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    rest_leaves(rig)
    assert (rig.state(), rig.attention()) == ("shipped", []), "no reason holds the calls of the rest"


def test_the_rest_that_left_before_a_settle_does_not_come_back(rig: Rig) -> None:
    taken_back(rig, changes.cancel_pieces, 2)
    oms_cancels(rig, L1=2)
    rest_leaves(rig)
    (one,) = cures(rig).values()
    assert (rig.state(), one.cause.endswith(": both 2, sent")) == ("shipped", True)
    assert one.cure.startswith("The OMS canceled as many pieces as Mirakl took back")
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_pieces_that_left_though_both_took_them_out_are_told(rig: Rig) -> None:
    taken_back(rig, changes.cancel_pieces, 2)
    oms_cancels(rig, L1=2)
    parcel = {"tracking": "T1", "items": [{"external_ref": "1-A-1", "quantity": 3}]}
    tell(rig, 8, new_shipments=[parcel])
    assert cures(rig)["lines_canceled_after_import"].cure.startswith("The goods have left.")


@pytest.mark.parametrize("settled_first", [True, False])
def test_pieces_that_the_oms_canceled_first_are_settled_once(rig: Rig, settled_first: bool) -> None:
    """The person cancels them in Mirakl's portal, as the cure asks for."""
    rig.imported(quantity=3)
    oms_cancels(rig, L1=2)
    rig.clock.advance(60)
    if settled_first:
        decide(rig, DecisionKind.SETTLE)
    changes.cancel_pieces(rig.mirakl["alpha"], "1-A", "1-A-1", 2)
    rig.poll(60)
    assert len(rig.attention()) == (0 if settled_first else 1)
    if not settled_first:
        decide(rig, DecisionKind.SETTLE)
    rest_leaves(rig)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_fewer_pieces_than_mirakl_took_back_leave_the_difference_to_be_taken_out(rig: Rig) -> None:
    taken_back(rig, changes.cancel_pieces, 2)
    oms_cancels(rig, L1=1)
    (one,) = cures(rig).values()
    assert one.cause.endswith(", 1 canceled by the OMS: 1 left to be taken out")
    assert one.cure.startswith("The OMS canceled a part of it already. Take out only what the `cause` says is left to ")


def test_of_more_pieces_than_mirakl_took_back_only_the_difference_is_missing(rig: Rig) -> None:
    taken_back(rig, changes.cancel_pieces, 2, of=5)
    oms_cancels(rig, L1=3)
    (one,) = cures(rig).values()
    assert one.reason == "oms_canceled"
    assert one.cause.endswith(" for 2 pieces, 3 canceled by the OMS: 1 more than Mirakl")
    assert one.cure.startswith(
        "Missing is only 1 of 1-A-1 (MUG-11OZ-WHT): cancel or refund that in Mirakl's portal, or have it made again."
    )
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_more_that_mirakl_takes_back_later_is_told(rig: Rig) -> None:
    taken_back(rig, changes.cancel_pieces, 1, of=5)
    decide(rig, DecisionKind.SETTLE)
    oms_cancels(rig, L1=1)
    rig.clock.advance(60)
    changes.cancel_pieces(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.poll(60)
    assert rig.attention() == ["lines_canceled_after_import"]


def test_pieces_of_which_mirakl_takes_the_refund_back_are_told_again(rig: Rig) -> None:
    taken_back(rig, changes.refund, 2)
    oms_cancels(rig, L1=2)
    decide(rig, DecisionKind.SETTLE)
    rig.clock.advance(60)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", refunds=[])
    rig.poll(60)
    assert rig.attention() == ["oms_canceled"]


def of_unknown_pieces(rig: Rig) -> None:
    """A refund that names no pieces, which is Mirakl's default."""
    rig.imported(quantity=3)
    rig.clock.advance(60)
    now = rig.clock.now().isoformat()
    refund = {"id": "R1", "amount": 5.0, "quantity": 0, "created_date": now}
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", refunds=[refund])
    rig.poll(60)


def test_an_unknown_number_of_pieces_is_compared_by_a_person_and_settled_once(rig: Rig) -> None:
    of_unknown_pieces(rig)
    oms_cancels(rig, L1=2)
    (one,) = cures(rig).values()
    assert one.reason == "oms_canceled"
    assert one.cure.startswith("Mirakl took back a part too, and its amounts do not tell how many pieces: ask the ")
    assert "If it canceled fewer, have the difference taken out there before it is made" in one.cure
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    rest_leaves(rig)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_another_unknown_part_after_the_settle_is_told(rig: Rig) -> None:
    of_unknown_pieces(rig)
    oms_cancels(rig, L1=2)
    decide(rig, DecisionKind.SETTLE)
    rig.clock.advance(600)
    line = rig.mirakl["alpha"].order("1-A")["order_lines"][0]
    more = line["refunds"][0] | {"id": "R2", "created_date": rig.clock.now().isoformat()}
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", refunds=[*line["refunds"], more])
    rig.poll(60)
    assert rig.attention() == ["lines_canceled_after_import"]


def test_a_refund_of_a_part_of_the_price_takes_no_piece_back(rig: Rig) -> None:
    """A person settled it as a rebate. The OMS cancels as many pieces as it names, for a cause of its own."""
    rig.imported(quantity=3)
    rig.clock.advance(60)
    rebate = {"id": "R1", "amount": 1.0, "quantity": 2, "created_date": rig.clock.now().isoformat()}
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", refunds=[rebate])
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE)
    oms_cancels(rig, L1=2)
    assert rig.attention() == ["oms_canceled"]


# -- A line that the OMS canceled, and that the person refunds as agreed ---------------------------------------------


@pytest.mark.parametrize("settled_first", [True, False])
def test_a_line_that_is_refunded_because_the_oms_canceled_it_is_settled_once(rig: Rig, settled_first: bool) -> None:
    rig.imported(lines=2)
    oms_cancels(rig, L2=1)
    if settled_first:
        decide(rig, DecisionKind.SETTLE)
    refunded(rig, "1-A-2")
    assert rig.attention() == ([] if settled_first else ["oms_canceled"])
    if not settled_first:
        decide(rig, DecisionKind.SETTLE)
    rest_leaves(rig)
    assert (rig.state(), rig.attention()) == ("shipped", [])


# -- More than Mirakl took back, or something else -------------------------------------------------------------------


@pytest.mark.parametrize(("pieces", "reasons"), [(1, []), (2, ["oms_canceled"])])
def test_more_pieces_than_mirakl_took_back_are_told(rig: Rig, pieces: int, reasons: list[str]) -> None:
    rig.imported(quantity=3)
    lower(rig, 2)
    decide(rig, DecisionKind.SETTLE)
    oms_cancels(rig, L1=pieces)
    assert rig.attention() == reasons


@pytest.mark.parametrize(("pieces", "reasons"), [(2, []), (3, ["oms_canceled"])])
def test_the_report_on_taken_out_pieces_stays_answered_when_the_rest_leaves(
    rig: Rig, pieces: int, reasons: list[str]
) -> None:
    rig.imported(quantity=4)
    lower(rig, 2)
    decide(rig, DecisionKind.SETTLE)
    oms_cancels(rig, L1=pieces)
    assert rig.attention() == reasons
    tell(rig, 8, shipping_tracking="T1")
    assert rig.attention() == reasons
    if not reasons:
        rig.work()
        rig.poll(600)
        assert (rig.state(), rig.attention()) == ("shipped", [])


def test_pieces_in_two_reports_are_counted_together(rig: Rig) -> None:
    rig.imported(quantity=3)
    lower(rig, 2)
    decide(rig, DecisionKind.SETTLE)
    oms_cancels(rig, L1=1)
    assert rig.attention() == []
    tell(rig, 5, new_cancellations=[{"items": [{"external_ref": "1-A-1", "quantity": 1}]}])
    assert rig.attention() == ["oms_canceled"]


def told_by(rig: Rig, oms_id: int, status: int, canceled: int = 0) -> None:
    items = [{"external_ref": "1-A-1", "quantity": canceled}]
    tell(rig, status, id=oms_id, new_cancellations=[{"items": items}] if canceled else [])


def test_a_piece_of_an_order_that_the_oms_made_again_with_fewer_pieces_is_told(rig: Rig) -> None:
    rig.imported(quantity=3)
    lower(rig, 2)
    decide(rig, DecisionKind.SETTLE)
    told_by(rig, rig.row().facts.parts[0].oms_id, 128)
    told_by(rig, 99, 4)
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    told_by(rig, 99, 4, canceled=1)
    assert rig.attention() == ["oms_canceled"]


def test_a_piece_beside_an_order_that_was_canceled_as_a_whole_is_told(rig: Rig) -> None:
    parts = [
        {"id": oms_id, "external_ref": "1-A", "items": [{"id": 1, "external_ref": "1-A-1", "quantity": pieces}]}
        for oms_id, pieces in ((7, 2), (8, 1))
    ]
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=json.dumps(parts)))
    rig.imported(quantity=3)
    lower(rig, 2)
    decide(rig, DecisionKind.SETTLE)
    told_by(rig, 8, 128)
    assert rig.attention() == [], "this is the piece that Mirakl took back"
    told_by(rig, 7, 4, canceled=1)
    assert rig.attention() == ["oms_canceled"]


def test_another_line_that_the_oms_cancels_too_is_told(rig: Rig) -> None:
    rig.imported(lines=3)
    refunded(rig, "1-A-2")
    oms_cancels(rig, L2=1, L3=1)
    assert "oms_canceled" in rig.attention()


def test_the_whole_order_is_told_if_mirakl_took_back_a_line(rig: Rig) -> None:
    rig.imported(lines=2)
    refunded(rig, "1-A-2")
    tell(rig, 128)
    assert "oms_canceled" in rig.attention()


def test_a_refund_after_the_report_is_no_answer_to_it_until_a_settle(rig: Rig) -> None:
    rig.imported(lines=2)
    oms_cancels(rig, L2=1)
    refunded(rig, "1-A-2")
    assert "oms_canceled" in rig.attention()
    one = cures(rig)["oms_canceled"]
    assert one.cause.endswith("; 1-A-2 (MUG-11OZ-WHT): none is to be sent any more: Mirakl shows SHIPPING refunded")
    assert one.cure.startswith("Mirakl canceled or refunded the same (`cause`), so nothing is missing: refund nothing ")


def test_a_refund_that_is_rejected_afterwards_is_told(rig: Rig) -> None:
    """Nobody makes the line, and it is to be sent after all."""
    rig.imported(lines=2)
    refunded(rig, "1-A-2")
    oms_cancels(rig, L2=1)
    decide(rig, DecisionKind.SETTLE)
    rig.clock.advance(60)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", refunds=[])
    rig.poll()
    assert "oms_canceled" in rig.attention()
