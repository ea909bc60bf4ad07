"""Goods that leave although Mirakl took them back stay on the list until a person settles it, also after OR24."""

import pytest

from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, tell

LINE = "1-A-1"


def refund(rig: Rig, pieces: int | None = None) -> None:
    changes.refund(rig.mirakl["alpha"], "1-A", LINE, pieces)
    rig.poll(60)
    rig.work()


def shown_shipped(rig: Rig) -> None:
    rig.poll(300)
    rig.work()
    assert (rig.state(), "shipped" in rig.effects()) == ("shipped", True)


@pytest.mark.parametrize("pieces", [1, None], ids=["a piece", "all of the line"])
def test_it_stays_on_the_list_after_the_order_is_shipped(rig: Rig, pieces: int | None) -> None:
    rig.imported(lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", quantity=1)
    refund(rig, pieces)
    tell(rig, 8)
    shown_shipped(rig)
    assert rig.attention() == ["lines_canceled_after_import"]
    explanation = explained(rig)
    assert explanation.attention[0].cure.startswith("The goods have left. What is to arrive is perhaps in the same")
    decide(rig, DecisionKind.SETTLE, "lines_canceled_after_import")
    assert rig.attention() == []
    rig.poll(300)
    assert rig.attention() == []


def test_a_settle_before_the_shipment_is_enough_and_a_return_after_it_needs_nobody(rig: Rig) -> None:
    rig.imported(quantity=3)
    refund(rig, 1)
    decide(rig, DecisionKind.SETTLE, "lines_canceled_after_import")
    tell(rig, 512, new_shipments=[{"tracking": "T1", "items": [{"external_ref": LINE, "quantity": 2}]}])
    tell(rig, 8)
    shown_shipped(rig)
    assert rig.attention() == []
    refund(rig, 2)
    assert rig.attention() == []


def test_a_line_that_a_vouch_does_not_count_is_not_said_to_have_left(rig: Rig) -> None:
    rig.imported(lines=2)
    refund(rig)
    decide(rig, DecisionKind.SENT)
    canceled = next(one for one in explained(rig).attention if one.reason == "lines_canceled_after_import")
    assert not canceled.cause.endswith("sent")
    assert canceled.cure.startswith("Take them out in the OMS")


@pytest.mark.parametrize("parcels", [True, False])
def test_a_settle_of_an_earlier_incident_does_not_end_that_the_line_left_in_another_one(
    rig: Rig, parcels: bool
) -> None:
    def incident(state: str) -> None:
        changes.set_line(rig.mirakl["alpha"], "1-A", LINE, order_line_state=state)
        rig.poll(60)

    rig.imported(lines=2)
    incident("INCIDENT_OPEN")
    decide(rig, DecisionKind.SETTLE)
    incident("SHIPPING")
    decide(rig, DecisionKind.SETTLE, "lines_added_after_import")  # the OMS goes on with the line
    assert rig.attention() == []
    incident("INCIDENT_OPEN")
    items = [{"external_ref": line, "quantity": 1} for line in (LINE, "1-A-2")]
    tell(rig, 8, new_shipments=[{"tracking": "T1", "items": items}] if parcels else [])
    shown_shipped(rig)
    assert rig.attention() == ["line_incident"]
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    tell(rig, 64)
    assert rig.attention() == []
