"""What cures, causes, questions and `explain` say fits the order: its workflow, its parcels, its other reasons."""

from pathlib import Path
from typing import Any

import pytest

from adapters.simulators.mirakl import changes
from consumer import bootstrap
from consumer.operations import orders as operations
from consumer.operations.causes import AttentionReason
from statemachine.facts import DecisionKind, Tracking
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, tell

DAY = 24 * 3600


def reason(rig: Rig, name: str) -> AttentionReason:
    return next(one for one in explained(rig).attention if one.reason == name)


def act(rig: Rig, kind: DecisionKind, **more: Any) -> operations.Act:
    return operations.Act(kind, "ana", "seen", rig.clock.now(), **more)


def question(rig: Rig, kind: DecisionKind, **more: Any) -> str:
    return operations.question_of(rig.store, rig.row(), act(rig, kind, **more), rig.policies["alpha"], prefix="")


def gone(rig: Rig) -> None:
    """Mirakl does not show the order any more, for two days."""
    rig.mirakl["alpha"].remove("1-A")
    for _ in range(3):
        rig.poll(DAY + 60)


# -- Payments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workflow", "is_made"), [("PAY_ON_SHIPMENT", True), ("PAY_ON_ACCEPTANCE", False)])
def test_the_rest_of_an_order_is_made_where_the_customer_pays_after_a_shipment(
    rig: Rig, workflow: str, is_made: bool
) -> None:
    if is_made:
        rig.imported(workflow=workflow, lines=2)
        changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", shipped_date="2026-03-01T12:00:00Z")
        changes.put_in_state(rig.mirakl["alpha"], "1-A", "WAITING_DEBIT_PAYMENT")
    else:
        rig.add("1-A", state="WAITING_DEBIT_PAYMENT", workflow=workflow)
    rig.poll(60)
    rig.clock.advance(4 * DAY)
    rig.pass_time(minutes=10)
    cure = reason(rig, "payment_late").cure
    assert cure.startswith("Do not make the goods") is not is_made
    assert ("what is still to be sent is made and sent all the same" in cure) is is_made


# -- Orders that Mirakl does not have ----------------------------------------------------------------------------


def test_what_the_oms_canceled_of_an_order_that_is_gone_is_not_made_again(rig: Rig) -> None:
    """As the cure of gone_from_mirakl asks for."""
    rig.imported()
    gone(rig)
    tell(rig, 128)
    assert rig.attention() == ["gone_from_mirakl", "oms_canceled"]
    cure = reason(rig, "oms_canceled").cure
    assert "have nothing made again before the operator has said what became of it" in cure
    assert "cancel or refund it in Mirakl's portal" not in cure
    gone_cure = reason(rig, "gone_from_mirakl").cure
    assert gone_cure.startswith("The OMS canceled it too, so nothing is to be stopped there.")
    assert "stop it in the OMS" not in gone_cure


def sent_and_gone(rig: Rig) -> None:
    rig.imported()
    gone(rig)
    tell(rig, 8, shipping_tracking="T1", shipping_carrier="DPD")


def test_goods_of_an_order_that_mirakl_does_not_show_are_stopped_or_come_back(rig: Rig) -> None:
    sent_and_gone(rig)
    assert "stop the parcel or arrange its return" in reason(rig, "gone_from_mirakl").cure


def test_a_settle_does_not_promise_a_call_for_an_order_that_mirakl_does_not_have(rig: Rig) -> None:
    sent_and_gone(rig)
    unless = "which fails unless Mirakl has the order after all"
    asked = question(rig, DecisionKind.SETTLE)
    assert f"OR23 gives Mirakl the tracking DPD T1, {unless}" in asked
    assert unless in explained(rig).happens_next


def test_calls_for_an_order_that_mirakl_does_not_have_end_by_a_persons_word(rig: Rig) -> None:
    sent_and_gone(rig)
    decide(rig, DecisionKind.SETTLE)
    for _ in range(40):
        rig.work(1800)
        rig.pass_time(minutes=1)
    failing = [one for one in explained(rig).attention if one.reason == "retrying"]
    assert len(failing) == 2
    for one in failing:
        call = one.detail.partition("#")[0]
        ends = f"`orderflow orders handled 1-A --shop alpha --call {call} --reason WHY` ends the tries"
        assert "Mirakl does not show the order any more" in one.cure
        assert ends in one.cure
        operations.decide(rig.store, rig.orders, rig.row(), act(rig, DecisionKind.HANDLED, call=call), shops=("alpha",))
    rig.pass_time(days=1)
    assert "retrying" not in rig.attention()
    assert explained(rig).waits_for.startswith("nothing: Mirakl has not shown the order")


def test_an_order_with_a_wrong_reference_leads_to_the_right_one(tmp_path: Path) -> None:
    rig = Rig(tmp_path, oms_table={"other_channels": False})
    tell_of_unknown(rig)
    waits = "the first read that shows it at Mirakl; until now only the OMS reports on it"
    assert explained(rig).waits_for == waits
    rig.poll(DAY + 1)
    bootstrap.new_housekeeping(rig.base).turn()
    cure = reason(rig, "unknown_to_mirakl").cure
    assert "If its external_ref is wrong, correct it there" in cure
    assert "make the decision `sent` about the right order" in cure
    decide(rig, DecisionKind.SETTLE)
    found = explained(rig)
    assert found.waits_for == "nothing: no read has shown the order at Mirakl; ana settled that: seen"
    assert found.happens_next == "a read shows it at Mirakl after all; else nothing"


def tell_of_unknown(rig: Rig) -> None:
    rig.take_callback("http://alpha", {}, b'{"id": 7, "external_ref": "1-A", "status": 8}')
    rig.consume()


# -- Calls -------------------------------------------------------------------------------------------------------


def test_an_answer_that_mirakl_never_applies_is_counted(rig: Rig) -> None:
    rig.imported()
    rig.fail("OR24", "204_not_applied", 20)
    tell(rig, 8)
    rig.pass_time(hours=6)
    cause = reason(rig, "not_applied").cause
    assert cause.startswith("Mirakl said yes to OR24 (confirm_shipment) ")
    assert " times, the last time at 2026-03-01 " in cause
    assert cause.endswith(" still shows SHIPPING")


def test_after_another_tracking_or24_is_made_once_more_as_the_question_says(rig: Rig) -> None:
    rig.imported()
    rig.fail("OR24", "answer", status=400, content='{"message": "no"}')
    tell(rig, 8, shipping_tracking="T1", shipping_carrier="DPD")
    rig.poll(600)
    rig.work()
    assert rig.attention() == ["shipment_rejected"]
    assert "is not made again until `orders retry`" in explained(rig).happens_next
    named = Tracking(carrier="DPD", number="T2")
    operations.decide(rig.store, rig.orders, rig.row(), act(rig, DecisionKind.SENT, tracking=named), shops=("alpha",))
    assert explained(rig).happens_next == (
        "OR23 gives Mirakl the tracking DPD T2; then OR24 (confirm_shipment) is made once more"
    )
    rig.work()
    rig.poll(600)
    assert rig.effects() == ["imported", "tracking", "tracking", "shipped"]


# -- Parcels -----------------------------------------------------------------------------------------------------


def test_a_number_that_a_person_names_leaves_out_the_first_parcel_and_the_question_says_so(rig: Rig) -> None:
    rig.imported(lines=2)
    items = [{"external_ref": "1-A-1", "quantity": 1}]
    tell(rig, 4, new_shipments=[{"tracking": "T1", "carrier": "DPD", "items": items}])
    assert rig.attention() == ["partly_sent"]
    left_out = "T1, reported before, is left out"
    assert left_out in question(rig, DecisionKind.SENT, tracking=Tracking(carrier="DPD", number="T2"))
    for same in (Tracking(), Tracking(carrier="DPD", number="T1")):
        assert "left out" not in question(rig, DecisionKind.SENT, tracking=same)


def test_goods_that_left_of_an_order_in_a_state_that_is_not_known_are_not_told_to_mirakl(rig: Rig) -> None:
    rig.imported()
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "BEING_THOUGHT_OVER")
    rig.poll()
    before = reason(rig, "unknown_state").cure
    assert before.startswith("Look at the order in Mirakl's portal.")
    tell(rig, 8)
    after = reason(rig, "unknown_state").cure
    assert after.startswith("The goods have left. Nothing of it is reported to Mirakl until a read shows a state that")


@pytest.mark.parametrize("state", ["RECEIVED", "CLOSED"])
def test_that_the_customer_has_the_parcel_is_said(rig: Rig, state: str) -> None:
    rig.imported()
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll()
    assert explained(rig).waits_for == "a person (see attention): Mirakl shows it shipped"
    changes.put_in_state(rig.mirakl["alpha"], "1-A", state)
    rig.poll()
    assert explained(rig).waits_for.startswith("a person (see attention): Mirakl shows it received by the customer")


# -- Several reasons ---------------------------------------------------------------------------------------------


def test_what_is_stopped_in_the_oms_comes_before_what_is_changed_there(rig: Rig) -> None:
    rig.imported()
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="7 Other Road")
    rig.poll()
    assert reason(rig, "changed_after_import").cure.startswith("Compare both, correct")
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll()
    assert rig.attention() == ["changed_after_import", "shipped_elsewhere"]
    first = "First see to shipped_elsewhere: what is stopped in the OMS is not made. "
    assert reason(rig, "changed_after_import").cure.startswith(first)
    assert not reason(rig, "shipped_elsewhere").cure.startswith("First")
