"""What a customer sends back: Mirakl may show fewer pieces of a line than were sent."""

from pathlib import Path

import pytest

from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, lower, tell


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.imported(quantity=3)
    return rig


def dispatch(rig: Rig, pieces: int) -> None:
    items = [{"external_ref": "1-A-1", "quantity": pieces}]
    tell(rig, 8, new_shipments=[{"tracking": "T1", "items": items}])
    rig.poll(600)


def test_pieces_that_come_back_after_the_delivery_need_no_person(rig: Rig) -> None:
    dispatch(rig, 3)
    assert rig.state() == "shipped"
    for left in (2, 1):
        changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
        lower(rig, left)
        assert rig.attention() == []


def test_more_pieces_than_mirakl_showed_before_they_left_are_shown_after_the_delivery(rig: Rig) -> None:
    lower(rig, 2)
    assert rig.attention() == ["lines_canceled_after_import"]
    decide(rig, DecisionKind.SETTLE)
    dispatch(rig, 3)
    assert (rig.state(), rig.attention()) == ("shipped", ["quantity_exceeds_order"])
    lower(rig, 1)
    (one,) = explained(rig).attention
    assert one.cause == "1-A-1 (MUG-11OZ-WHT): 3 in parcels, 2 to be sent, 1 canceled or refunded since the import"
