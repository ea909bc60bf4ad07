"""Mirakl took lines back, a person takes them out in the OMS, and the OMS reports that: one act, one settle."""

from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from consumer.operations.causes import AttentionReason
from statemachine.facts import DecisionKind
from tests.consumer.in_oms_hands import decide, lower, tell
from tests.consumer.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def refunded(rig: Rig, *lines: str) -> None:
    for line in lines:
        changes.refund(rig.mirakl["alpha"], "1-A", line)
    rig.poll(60)


def oms_cancels(rig: Rig, **lines: int) -> None:
    """The OMS cancels so many pieces of each of these lines."""
    items = [{"external_ref": f"1-A-{name[1:]}", "quantity": pieces} for name, pieces in lines.items()]
    tell(rig, 4, new_cancellations=[{"items": items}])


def cures(rig: Rig) -> dict[str, AttentionReason]:
    found = operations.explanation(rig.store, rig.row(), rig.policies["alpha"], rig.clock.now())
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


@pytest.mark.parametrize("taken_back", [changes.cancel_pieces, changes.refund])
def test_pieces_that_both_took_out_are_not_taken_out_or_refunded_once_more(
    rig: Rig, taken_back: Callable[..., None]
) -> None:
    """Mirakl shows three pieces as before, so only a person can tell that the OMS canceled no more."""
    rig.imported(quantity=3)
    rig.clock.advance(60)
    taken_back(rig.mirakl["alpha"], "1-A", "1-A-1", 2)
    rig.poll(60)
    assert cures(rig)["lines_canceled_after_import"].cure.startswith("Take them out in the OMS")
    oms_cancels(rig, L1=2)
    found = cures(rig)
    assert list(found) == ["lines_canceled_after_import", "oms_canceled"]
    canceled, by_oms = found.values()
    assert canceled.cause.endswith(" for 2 pieces, 2 canceled by the OMS")
    assert "If these are as many as Mirakl took back, nothing is to be taken out any more" in canceled.cure
    assert "; 1-A-1 (MUG-11OZ-WHT): Mirakl shows 3 pieces, and a " in by_oms.cause
    assert by_oms.cause.endswith(" for 2 pieces")
    assert "nothing is missing, so refund nothing and have nothing made again: `orderflow orders settle" in by_oms.cure


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
    assert "oms_canceled" in rig.attention()


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
    assert cures(rig)["oms_canceled"].cure.startswith(
        "Mirakl canceled or refunded these lines too, all or a part. Compare:"
    )


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
