"""Goods that the OMS still makes while the money went back or is awaited, or somebody else shipped."""

import pytest

from adapters.simulators.mirakl import changes
from adapters.simulators.orders import MARKETPLACES, Line, build_order
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, tell


def go_on(rig: Rig) -> None:
    for _ in range(3):
        rig.poll(200)
        rig.work()


@pytest.mark.parametrize("how", ["refunded", "canceled"])
def test_a_withdrawn_line_of_another_part_stays_told_after_our_own_or24(rig: Rig, how: str) -> None:
    mirakl, lines = rig.mirakl["alpha"], [Line("MUG-1", 1), Line("TEE-1", 1)]
    rig.oms.knobs.routes.update({"MUG": "a", "TEE": "b"})
    now = rig.clock.now()
    mirakl.add_order(build_order(MARKETPLACES["alpha"], "1-A", created=now, lines=lines, state="SHIPPING"))
    rig.poll()
    rig.work()
    if how == "refunded":
        changes.refund(mirakl, "1-A", "1-A-2")
    else:
        mirakl.cancel_line("1-A", "1-A-2")
    rig.poll()
    assert rig.attention() == ["lines_canceled_after_import"]
    tell(rig, 8, shipping_tracking="T1")  # of the first part only
    go_on(rig)
    assert (rig.state(), rig.attention()) == ("shipped", ["lines_canceled_after_import"])
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_an_order_given_to_another_centre_stays_told_and_gets_no_or23(rig: Rig) -> None:
    rig.imported()
    mirakl = rig.mirakl["alpha"]
    changes.set_centre(mirakl, "1-A", "ACME")
    rig.poll()
    assert rig.attention() == ["not_ours_to_ship"]
    changes.put_in_state(mirakl, "1-A", "SHIPPED")
    rig.poll()
    assert rig.attention() == ["shipped_elsewhere"]
    rig.oms.dispatch("1-A", tracking="T1")
    rig.consume()
    rig.work()
    go_on(rig)
    assert (rig.attention(), "tracking" in rig.effects()) == (["shipped_elsewhere"], False)
    decide(rig, DecisionKind.SETTLE)
    rig.work()
    assert (rig.attention(), "tracking" in rig.effects()) == ([], False)


def test_an_order_that_a_person_marked_shipped_is_told_until_a_settle_that_knows_that_the_oms_sent_it(rig: Rig) -> None:
    rig.imported()
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll()
    assert rig.attention() == ["shipped_elsewhere"]
    tell(rig, 8, shipping_tracking="T1")
    assert rig.attention() == ["shipped_elsewhere"]
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_a_partly_sent_order_that_mirakl_cancels_names_the_rest_and_a_later_dispatch(rig: Rig) -> None:
    rig.imported(lines=2)
    tell(rig, 512, new_shipments=[{"tracking": "T1", "items": [{"external_ref": "1-A-1", "quantity": 1}]}])
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "CANCELED")
    rig.poll()
    assert rig.attention() == ["canceled_after_dispatch", "canceled_after_import"]
    decide(rig, DecisionKind.SETTLE, "canceled_after_dispatch")
    assert rig.attention() == ["canceled_after_import"]
    tell(rig, 8, shipping_tracking="T2")
    assert rig.attention() == ["canceled_after_dispatch"]


def test_a_partly_sent_order_whose_money_goes_back_waits_for_no_rest(rig: Rig) -> None:
    rig.imported(lines=2)
    tell(rig, 512, new_shipments=[{"tracking": "T1", "items": [{"external_ref": "1-A-1", "quantity": 1}]}])
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")
    rig.poll()
    assert rig.attention() == ["lines_canceled_after_import", "partly_sent"], "the other line is owed"
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll()
    assert rig.attention() == ["withdrawn_after_import"]
    decide(rig, DecisionKind.SETTLE)
    go_on(rig)
    assert (rig.attention(), rig.effects()) == ([], ["imported"])


@pytest.mark.parametrize(("state", "reason"), [("CANCELED", "canceled_after_import"), ("REFUSED", "dead_in_mirakl")])
def test_a_dead_order_that_a_person_did_not_find_in_the_oms_is_told_when_the_oms_reports_on_it(
    rig: Rig, state: str, reason: str
) -> None:
    rig.fail("order", "timeout_after", 1)
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    changes.put_in_state(rig.mirakl["alpha"], "1-A", state)
    rig.poll()
    assert rig.attention() == [reason]
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    tell(rig, 4)
    assert rig.attention() == [reason]
    rig.clock.advance(1)
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 2)
    assert rig.attention() == [reason]  # the settle did not stop it


def parcel(tracking: str, line: str) -> dict[str, object]:
    return {"tracking": tracking, "items": [{"external_ref": line, "quantity": 1}]}


@pytest.mark.parametrize("by", ["marketplace", "oms"])
def test_a_parcel_with_a_line_that_a_person_had_taken_out_is_told_once(rig: Rig, by: str) -> None:
    """The OMS was told to stop the line, or canceled it itself, and made it all the same."""
    rig.imported(lines=2)
    if by == "oms":
        tell(rig, 4, new_cancellations=[{"items": [{"external_ref": "1-A-2", "quantity": 1}]}])
        decide(rig, DecisionKind.SETTLE, "oms_canceled")
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll(60)
    assert rig.attention() == ([] if by == "oms" else ["lines_canceled_after_import"])
    if by == "marketplace":
        decide(rig, DecisionKind.SETTLE)
    tell(rig, 512, new_shipments=[parcel("T1", "1-A-1")])
    go_on(rig)
    assert (rig.state(), rig.attention()) == ("shipped", [])
    tell(rig, 512, new_shipments=[parcel("T2", "1-A-2")])
    assert rig.attention() == ["lines_canceled_after_import"]
    rig.clock.advance(60)
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 512, new_shipments=[parcel("T2", "1-A-2")])
    go_on(rig)
    assert rig.attention() == []


def test_goods_for_which_a_person_vouched_and_whose_money_goes_back_are_told_and_hold_or24(rig: Rig) -> None:
    rig.fail("order", "answer", 1, status=400, content='{"error": {"message": "no", "code": 0}}')
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    rig.switch(paused=("ship",))
    decide(rig, DecisionKind.SENT)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")
    rig.poll()
    assert rig.attention() == ["withdrawn_after_import"]
    rig.switch(paused=())
    go_on(rig)
    assert "shipped" not in rig.effects()


def test_lines_in_an_incident_whose_money_went_back_are_not_shipped_without_a_person(rig: Rig) -> None:
    rig.imported(lines=2)
    for line in ("1-A-1", "1-A-2"):
        changes.set_line(rig.mirakl["alpha"], "1-A", line, order_line_state="INCIDENT_OPEN")
        changes.refund(rig.mirakl["alpha"], "1-A", line)
    rig.poll()
    rig.oms.dispatch("1-A", tracking="T1")
    rig.consume()
    rig.work()
    assert (rig.effects(), "withdrawn_after_import" in rig.attention()) == (["imported"], True)


def test_money_awaited_again_while_an_import_may_have_landed_is_told(rig: Rig) -> None:
    rig.fail("order", "timeout_after", 1)
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "WAITING_DEBIT_PAYMENT")
    rig.poll()
    assert rig.attention() == ["payment_awaited_again"]
