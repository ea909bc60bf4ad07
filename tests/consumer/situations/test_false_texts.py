"""What explain says is true, also of orders to which unusual things happened."""

import json

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig, mandatory
from tests.consumer.situations.in_oms_hands import decide, explained, lost_then_refused, lower, tell


def test_an_or24_that_mandatory_tracking_prevents_is_not_said_to_be_refused_by_mirakl(rig: Rig) -> None:
    mandatory(rig, "alpha")
    rig.imported()
    tell(rig, 8)
    assert "orderflow did not make the call confirm_shipment: this shipping method requires" in explained(rig).waits_for


def test_an_order_that_grew_after_a_person_vouched_does_not_go_to_the_oms(rig: Rig) -> None:
    rig.switch(paused=("import",))
    rig.add("1-A", state="SHIPPING", quantity=1)
    rig.poll()
    decide(rig, DecisionKind.SENT)
    rig.switch(paused=("import", "ship"))
    lower(rig, 2)
    rig.switch()
    rig.work()
    found = explained(rig)
    assert found.why_here.startswith("Mirakl shows more to send than what left")
    assert found.happens_next == "the OMS reports that the rest left, or a person vouches for it"


def test_an_import_without_an_answer_may_have_gone_to_the_oms(rig: Rig) -> None:
    lost_then_refused(rig, lines=2)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")
    rig.poll()
    (one,) = [one for one in explained(rig).attention if one.reason == "lines_canceled_after_import"]
    assert "1 may have gone to the OMS" in one.cause
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "CANCELED")
    rig.poll()
    assert explained(rig).why_here.startswith("canceled before the OMS confirmed an import")


def test_a_line_that_mirakl_and_the_oms_canceled_is_not_to_be_taken_out(rig: Rig) -> None:
    rig.imported(lines=2)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")
    rig.poll(60)
    tell(rig, 4, new_cancellations=[{"items": [{"external_ref": "1-A-1", "quantity": 1}]}])
    (one,) = explained(rig).attention
    assert one.cause.endswith("canceled by the OMS")
    assert one.cure.startswith("The OMS canceled it too")


def test_an_error_of_one_part_is_shown_after_another_part_left(rig: Rig) -> None:
    parts = [
        {"id": 7, "ref": "7", "external_ref": "1-A", "items": [{"id": 1, "external_ref": "1-A-1", "quantity": 1}]},
        {"id": 8, "ref": "8", "external_ref": "1-A", "items": [{"id": 2, "external_ref": "1-A-2", "quantity": 1}]},
    ]
    parts[1]["has_error"] = True
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=json.dumps(parts)))
    rig.imported(lines=2)
    assert rig.attention() == ["held_in_oms"]
    tell(rig, 8, id=7)
    (one,) = [one for one in explained(rig).attention if one.reason == "held_in_oms"]
    assert one.cause == "held: OMS order 8 (8)"
    tell(rig, 8, id=8)
    assert "held_in_oms" not in rig.attention()
