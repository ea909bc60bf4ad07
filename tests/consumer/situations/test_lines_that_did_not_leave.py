"""A status of the OMS that the order left says nothing of lines that the OMS never got, or canceled."""

from adapters.simulators.mirakl import changes
from consumer.operations.causes import AttentionReason
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, tell


def the_reason(rig: Rig) -> AttentionReason:
    (one,) = explained(rig).attention
    return one


def without_the_first(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_state="INCIDENT_OPEN")
    rig.poll()
    rig.work()


def test_an_incident_of_a_line_that_the_oms_never_got_is_not_one_of_goods_that_left(rig: Rig) -> None:
    without_the_first(rig)
    tell(rig, 8)
    one = the_reason(rig)
    assert (one.reason, one.cause.endswith("the OMS does not have it")) == ("line_incident", True)
    assert "The goods have left" not in one.cure


def test_a_settle_of_it_holds_when_the_other_line_leaves(rig: Rig) -> None:
    without_the_first(rig)
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 8)
    assert (rig.attention(), "shipped" in rig.effects()) == ([], True)


def test_a_line_that_the_oms_canceled_with_its_status_that_the_order_left_did_not_leave(rig: Rig) -> None:
    rig.imported(lines=2)
    parcel = {"tracking": "T1", "items": [{"external_ref": "1-A-1", "quantity": 1}]}
    tell(rig, 8, new_shipments=[parcel], new_cancellations=[{"items": [{"external_ref": "1-A-2", "quantity": 1}]}])
    decide(rig, DecisionKind.SETTLE)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll()
    assert rig.attention() == [], "the person who settled that the OMS canceled it knows that it did not leave"
