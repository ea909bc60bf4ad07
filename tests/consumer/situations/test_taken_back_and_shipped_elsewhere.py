"""Mirakl took a line back that the OMS has, and somebody else reported the order shipped, which marks every line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details, tell
from tests.consumer.situations.test_left_twice import answer

Step = Callable[[Rig], None]


def shipped_in_the_portal(rig: Rig) -> None:
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll(60)


@pytest.mark.parametrize("workflow", ["PAY_ON_ACCEPTANCE", "PAY_ON_DELIVERY", "PAY_ON_SHIPMENT"])
@pytest.mark.parametrize("read_between", [True, False])
def test_the_line_is_taken_out_in_the_oms_though_mirakl_shows_it_shipped(
    rig: Rig, workflow: str, read_between: bool
) -> None:
    rig.imported(lines=2, workflow=workflow)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    if read_between:
        rig.poll(60)
    shipped_in_the_portal(rig)
    assert details(rig) == {"lines_canceled_after_import": "1-A-2", "shipped_elsewhere": ""}
    decide(rig, DecisionKind.SETTLE, "shipped_elsewhere")
    assert rig.attention() == ["lines_canceled_after_import"], "the OMS goes on, and it still has the line"
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_the_line_is_still_taken_out_when_mirakl_has_paid_the_refund(rig: Rig) -> None:
    """Its state is REFUNDED then, and it keeps the `shipped_date` of the portal."""
    rig.imported(lines=2)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll(60)
    rig.mirakl["alpha"].ship_in_portal("1-A", "P9")
    rig.poll(60)
    assert "lines_canceled_after_import" in details(rig)
    changes.pay_refunds(rig.mirakl["alpha"], "1-A")
    rig.poll(60)
    assert "lines_canceled_after_import" in details(rig)


def test_the_line_is_still_taken_out_when_mirakl_has_debited_the_shipment(rig: Rig) -> None:
    mirakl = rig.mirakl["alpha"]
    rig.imported(lines=2, workflow="PAY_ON_SHIPMENT")
    changes.refund(mirakl, "1-A", "1-A-2")
    rig.poll(60)
    for line in ("1-A-1", "1-A-2"):
        changes.set_line(mirakl, "1-A", line, shipped_date="2026-03-01T12:02:00Z")
    for state in ("WAITING_DEBIT_PAYMENT", "SHIPPED"):
        changes.put_in_state(mirakl, "1-A", state)
        rig.poll(60)
        assert "lines_canceled_after_import" in details(rig)
        changes.pay_refunds(mirakl, "1-A")
        rig.poll(60)
        assert "lines_canceled_after_import" in details(rig)


def shipped_in_the_portal_too_early(rig: Rig, quantity: int = 1) -> None:
    """A person settles that the OMS's own goods were meant, and that the OMS goes on."""
    rig.imported(lines=2, quantity=quantity)
    shipped_in_the_portal(rig)
    assert rig.attention() == ["shipped_elsewhere"]
    decide(rig, DecisionKind.SETTLE)
    rig.clock.advance(3600)


def test_a_line_that_is_refunded_before_the_oms_sent_it_is_taken_out_there(rig: Rig) -> None:
    shipped_in_the_portal_too_early(rig)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll(60)
    assert details(rig) == {"lines_canceled_after_import": "1-A-2"}


def test_pieces_that_are_canceled_before_the_oms_sent_them_are_taken_out_there(rig: Rig) -> None:
    shipped_in_the_portal_too_early(rig, quantity=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", quantity=1)
    rig.poll(60)
    assert details(rig) == {"lines_canceled_after_import": "1-A-2 (1 of 2)"}


@pytest.mark.parametrize("pieces", [None, 1])
def test_a_line_that_comes_back_after_the_delivery_is_not_taken_out(rig: Rig, pieces: int | None) -> None:
    shipped_in_the_portal_too_early(rig, quantity=2)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "RECEIVED")
    rig.poll(60)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2", pieces)
    rig.poll(60)
    assert rig.attention() == []


def test_a_line_that_was_refunded_before_the_delivery_stays_to_be_taken_out(rig: Rig) -> None:
    shipped_in_the_portal_too_early(rig)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll(60)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "RECEIVED")
    rig.poll(60)
    assert rig.attention() == ["lines_canceled_after_import"]


def test_a_line_that_the_oms_takes_out_does_not_bring_the_settled_reason_back(rig: Rig) -> None:
    shipped_in_the_portal_too_early(rig)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll(60)
    tell(rig, 1, new_cancellations=[{"items": [{"external_ref": "1-A-2", "quantity": 1}]}])
    assert "shipped_elsewhere" not in details(rig)
    tell(rig, 4)
    assert "shipped_elsewhere" in details(rig), "the OMS works on the rest"


def test_a_line_that_comes_back_after_the_oms_sent_it_is_not_taken_out(rig: Rig) -> None:
    shipped_in_the_portal_too_early(rig)
    tell(rig, 8, shipping_tracking="T1")
    decide(rig, DecisionKind.SETTLE)
    rig.clock.advance(86400)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll(60)
    assert rig.attention() == []


def test_a_line_that_somebody_marked_before_the_refund_is_not_taken_out(rig: Rig) -> None:
    rig.imported(lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="SHIPPED")
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll(60)
    assert rig.attention() == []


def lower(rig: Rig, pieces: int) -> None:
    rig.clock.advance(60)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", quantity=pieces)
    rig.poll(60)


def refund(rig: Rig, pieces: int | None = None) -> None:
    rig.clock.advance(60)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2", pieces)
    rig.poll(60)


def set_line(rig: Rig, **fields: Any) -> None:
    rig.clock.advance(60)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", **fields)
    rig.poll(60)


def refund_a_piece(rig: Rig) -> None:
    refund(rig, 1)


def reject_refund(rig: Rig) -> None:
    set_line(rig, refunds=[])


def open_incident(rig: Rig) -> None:
    set_line(rig, order_line_state="INCIDENT_OPEN")


def end_incident(rig: Rig) -> None:
    set_line(rig, order_line_state="SHIPPED")


@pytest.mark.parametrize(
    ("out", "back", "named"),
    [
        (refund, reject_refund, "1-A-2 (0, now 2)"),
        (refund_a_piece, reject_refund, "1-A-2 (part of 2, now 2)"),
        (lambda rig: lower(rig, 1), lambda rig: lower(rig, 2), "1-A-2 (1, now 2)"),
        (open_incident, end_incident, "1-A-2 (0, now 2)"),
    ],
)
def test_what_was_taken_out_and_is_to_be_sent_again_is_told(rig: Rig, out: Step, back: Step, named: str) -> None:
    shipped_in_the_portal_too_early(rig, quantity=2)
    out(rig)
    assert rig.attention() != []
    decide(rig, DecisionKind.SETTLE)
    back(rig)
    assert details(rig) == {"lines_added_after_import": named}
    found = operations.explanation(rig.store, rig.row(), rig.policies["alpha"], rig.clock.now())
    assert "Unless somebody sent them, have the OMS make them" in found.attention[0].cure
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_if_the_oms_canceled_it_too_it_is_asked_about_once(rig: Rig) -> None:
    shipped_in_the_portal_too_early(rig)
    refund(rig)
    tell(rig, 1, new_cancellations=[{"items": [{"external_ref": "1-A-2", "quantity": 1}]}])
    reject_refund(rig)
    assert rig.attention() == ["oms_canceled"]
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_a_refund_that_is_rejected_after_somebody_reported_the_order_shipped(rig: Rig) -> None:
    rig.imported(lines=2)
    refund(rig)
    decide(rig, DecisionKind.SETTLE)
    shipped_in_the_portal(rig)
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    reject_refund(rig)
    assert details(rig) == {"lines_added_after_import": "1-A-2 (0, now 1)"}


def test_an_incident_that_ends_with_the_report_of_the_order_needs_nobody_more(rig: Rig) -> None:
    rig.imported(lines=2)
    open_incident(rig)
    decide(rig, DecisionKind.SETTLE)
    shipped_in_the_portal(rig)
    set_line(rig, order_line_state="SHIPPED")
    assert rig.attention() == ["shipped_elsewhere"]


# -- The customer has the goods, so none are to be made ----------------------------------------------------------------


def arrives(rig: Rig) -> None:
    rig.clock.advance(86_400)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "RECEIVED")
    rig.poll(60)


def settle_each(rig: Rig) -> None:
    for reason in dict.fromkeys(rig.attention()):
        decide(rig, DecisionKind.SETTLE, reason)


def cancels_all(rig: Rig) -> None:
    tell(rig, 128)
    settle_each(rig)


def stops_by_phone(rig: Rig) -> None:
    """The OMS reports nothing."""


def sends_the_other_line(rig: Rig) -> None:
    parcel = {"tracking": "T1", "items": [{"external_ref": "1-A-1", "quantity": 1}]}
    tell(rig, 512, new_shipments=[parcel])
    settle_each(rig)


@pytest.mark.parametrize("in_the_oms", [stops_by_phone, cancels_all, sends_the_other_line])
def test_a_complaint_after_the_delivery_takes_nothing_out_of_the_oms(rig: Rig, in_the_oms: Step) -> None:
    """A colleague shipped the line from stock, and had the OMS stop it."""
    shipped_in_the_portal_too_early(rig)
    in_the_oms(rig)
    arrives(rig)
    open_incident(rig)
    assert rig.attention() == ["line_incident"]
    decide(rig, DecisionKind.SETTLE)
    set_line(rig, order_line_state="RECEIVED")
    assert rig.attention() == []


@pytest.mark.parametrize("out", [refund, open_incident])
@pytest.mark.parametrize("of_the_oms", [True, False])
def test_what_is_to_be_sent_again_after_the_delivery_is_told_only_if_the_oms_sent_some_of_it(
    rig: Rig, out: Step, of_the_oms: bool
) -> None:
    """If the OMS sent nothing of it, what somebody else sent has arrived."""
    shipped_in_the_portal_too_early(rig)
    out(rig)
    decide(rig, DecisionKind.SETTLE)
    if of_the_oms:
        sends_the_other_line(rig)
    arrives(rig)
    set_line(rig, refunds=[], order_line_state="RECEIVED")
    assert rig.attention() == (["lines_added_after_import"] if of_the_oms else [])


def test_what_the_oms_cancels_after_it_was_taken_out_is_asked_about_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    answer(rig, (7, {"1-A-1": 1}), (8, {"1-A-2": 1}))
    shipped_in_the_portal_too_early(rig)
    refund(rig)
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 128, id=8)
    reject_refund(rig)
    assert rig.attention() == ["lines_added_after_import"]
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    tell(rig, 1, id=20)
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 128, id=20)
    assert rig.attention() == ["oms_canceled"], "what was made again is canceled too"


# -- The OMS canceled all of it, so oms_canceled does not ask --------------------------------------------------------


def refunded(rig: Rig) -> None:
    rig.clock.advance(60)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")
    rig.poll(60)


def refunded_and_settled(rig: Rig) -> None:
    refunded(rig)
    decide(rig, DecisionKind.SETTLE)


def shipped_under_p9(rig: Rig) -> None:
    rig.mirakl["alpha"].ship_in_portal("1-A", "P9")
    rig.poll(60)


def canceled_in_the_oms(rig: Rig) -> None:
    tell(rig, 128)


@pytest.mark.parametrize("refund", [refunded, refunded_and_settled])
@pytest.mark.parametrize("canceled_first", [True, False])
def test_what_was_refunded_and_canceled_and_left_elsewhere_stays_until_a_settle(
    rig: Rig, refund: Callable[[Rig], None], canceled_first: bool
) -> None:
    rig.imported()
    refund(rig)
    acts = [canceled_in_the_oms, shipped_under_p9]
    for act in acts if canceled_first else acts[::-1]:
        act(rig)
    assert rig.attention() == ["shipped_elsewhere"]
    (one,) = operations.explanation(rig.store, rig.row(), rig.policies["alpha"], rig.clock.now()).attention
    assert one.cause == "in the OMS: all canceled"
    assert one.cure.startswith(
        "Mirakl took the order back, and the OMS canceled it, so nothing is to be stopped there."
    )
    assert "If goods left elsewhere, stop the parcel or arrange its return" in one.cure
    decide(rig, DecisionKind.SETTLE)
    rig.poll(600)
    assert rig.attention() == []


def test_what_the_oms_was_to_send_for_the_colleague_and_canceled_after_a_refund_is_over(rig: Rig) -> None:
    """A person settled that the goods of the OMS were meant, so none left elsewhere."""
    rig.imported()
    shipped_under_p9(rig)
    decide(rig, DecisionKind.SETTLE)
    refunded(rig)
    assert rig.attention() == ["lines_canceled_after_import"]
    canceled_in_the_oms(rig)
    assert rig.attention() == []


def test_what_the_oms_canceled_before_the_refund_is_asked_by_oms_canceled(rig: Rig) -> None:
    rig.imported()
    shipped_under_p9(rig)
    canceled_in_the_oms(rig)
    refunded(rig)
    assert rig.attention() == ["oms_canceled"]
