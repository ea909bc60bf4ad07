"""A question says what a person has to do in the OMS first, and a cure names no remote that was not asked."""

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from consumer.operations.listing import listed
from statemachine.facts import DecisionKind
from statemachine.urgency import Urgency
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, lower, question, tell

LACKS_A_LINE = (
    '[{"id": 7, "ref": "7", "external_ref": "1-A", "items": [{"id": 1, "external_ref": "1-A-1", "quantity": 1}]}]'
)


def cures(rig: Rig) -> dict[str, str]:
    return {one.reason: one.cure for one in explained(rig).attention}


def test_goods_that_left_are_not_to_be_made_though_the_oms_lacks_them(rig: Rig) -> None:
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=LACKS_A_LINE))
    rig.imported(lines=2)
    assert "have it corrected there" in cures(rig)["lines_not_imported"]
    assert "nobody has to make the missing ones now; on the list until a settle: lines_not_imported" in (
        question(rig, DecisionKind.SENT)
    )
    decide(rig, DecisionKind.SENT)
    assert cures(rig)["lines_not_imported"].startswith("The goods have left. Nobody has to make them any more")


def test_goods_without_a_payment_are_held_in_the_oms_before_the_reason_is_settled(rig: Rig) -> None:
    rig.imported()
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "WAITING_DEBIT_PAYMENT")
    rig.poll()
    assert "When the OMS has it on hold, `" in cures(rig)["payment_awaited_again"]
    assert "put the order on hold in the OMS first" in question(rig, DecisionKind.SETTLE, "payment_awaited_again")


def test_goods_that_left_while_the_money_is_awaited_again_are_to_be_stopped_at_once(rig: Rig) -> None:
    rig.imported()
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "WAITING_DEBIT_PAYMENT")
    rig.poll()
    decide(rig, DecisionKind.SETTLE, "payment_awaited_again")
    tell(rig, 8, shipping_tracking="T1")
    assert rig.attention() == ["sent_before_shipping"]
    assert listed(rig.row(), rig.policies["alpha"]).urgency is Urgency.NOW
    assert "Stop the parcel or arrange its return, and ask the operator" in cures(rig)["sent_before_shipping"]


def sends(rig: Rig, pieces: int, status: int = 8) -> None:
    """The OMS sends so many pieces of the first line, in one parcel."""
    items = [{"external_ref": "1-A-1", "quantity": pieces}]
    tell(rig, status, new_shipments=[{"tracking": "T1", "items": items}])


def test_pieces_that_left_though_they_were_canceled_are_to_be_stopped_at_once(rig: Rig) -> None:
    rig.imported(quantity=3)
    lower(rig)
    decide(rig, DecisionKind.SETTLE, "lines_canceled_after_import")
    sends(rig, 3)
    assert rig.attention() == ["quantity_exceeds_order"]
    (one,) = explained(rig).attention
    assert one.cause.endswith("3 in parcels, 1 to be sent, 2 canceled or refunded since the import")
    assert "Arrange the return of what is too much of 1-A-1 (MUG-11OZ-WHT) only, or stop the parcel" in one.cure
    assert listed(rig.row(), rig.policies["alpha"]).urgency is Urgency.NOW


def test_the_rest_of_a_line_of_which_a_part_was_refunded_is_not_simply_made(rig: Rig) -> None:
    """A person keyed in the two pieces that the operator named; Mirakl still shows three, and a refund."""
    rig.add("1-A", state="SHIPPING", quantity=3)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.poll()
    assert rig.attention() == ["partly_withdrawn"]
    decide(rig, DecisionKind.HANDLED)
    sends(rig, 2, status=512)
    assert rig.attention() == ["partly_sent"]
    (one,) = explained(rig).attention
    assert "2 of 3 in parcels, and Mirakl shows a refund of" in one.cause
    assert one.cure.startswith("A part of the line is canceled or refunded, so the rest is perhaps not to be sent")
    assert "If all of these have left, `orderflow orders sent 1-A" in one.cure


def test_more_pieces_than_anybody_ordered_are_asked_of_the_oms(rig: Rig) -> None:
    rig.imported(quantity=2)
    sends(rig, 3)
    assert rig.attention() == ["quantity_exceeds_order"]
    (one,) = explained(rig).attention
    assert one.cause.endswith("3 in parcels, 2 ordered")
    assert one.cure.startswith("Ask the OMS what really left")
    assert listed(rig.row(), rig.policies["alpha"]).urgency is Urgency.BY_DEADLINE


def test_goods_that_left_before_the_first_shipping_wait_for_a_read(rig: Rig) -> None:
    rig.add("1-A", state="WAITING_ACCEPTANCE")
    rig.switch(paused=("accept",))
    rig.poll()
    tell(rig, 8, shipping_tracking="T1")
    assert rig.attention() == ["sent_before_shipping"]
    assert listed(rig.row(), rig.policies["alpha"]).urgency is Urgency.WAITS


def test_a_withdrawn_order_is_stopped_in_the_oms_before_the_reason_is_settled(rig: Rig) -> None:
    rig.imported()
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")
    rig.poll()
    assert "stop the order in the OMS first" in question(rig, DecisionKind.SETTLE, "withdrawn_after_import")


def test_an_import_that_lacks_a_field_of_mirakl_is_not_asked_of_the_oms(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    changes.set_fields(rig.mirakl["alpha"], "1-A", currency_iso_code=None)
    rig.poll()
    rig.work()
    found = cures(rig)["import_rejected"]
    assert found.startswith("The OMS was not asked")
    assert "orderflow orders handled 1-A --shop alpha --call import_order --reason WHY`" in found
