"""The answer to the import shows the lines in two orders of the OMS, and one of them left by a status alone.

The lines of the other have not left, whatever the shop's `may_split` says, so they can still be stopped there. When it
leaves though a person had it stopped, its lines left.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details, explained, tell

GOODS_LEFT = "The goods have left"


@pytest.fixture(params=[False, True], ids=["may_split = false", "may_split = true"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    """An imported order: OMS order 7 has line 1-A-1, OMS order 8 has 1-A-2."""
    rig = Rig(tmp_path, oms_table={"may_split": request.param})
    parts = [
        {
            "id": oms_id,
            "ref": f"000{oms_id}",
            "external_ref": "1-A",
            "status": 1,
            "items": [{"id": 1, "external_ref": line, "quantity": 1}],
        }
        for oms_id, line in ((7, "1-A-1"), (8, "1-A-2"))
    ]
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=json.dumps(parts)))
    rig.imported(lines=2)
    return rig


def poll(rig: Rig) -> None:
    rig.poll(600)
    rig.work()


def cure(rig: Rig, reason: str) -> str:
    found = explained(rig)
    return next(one.cure for one in found.attention if one.reason == reason)


def refunded(rig: Rig) -> None:
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")


def in_an_incident(rig: Rig) -> None:
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_state="INCIDENT_OPEN")


def marked_shipped(rig: Rig) -> None:
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_state="SHIPPED")


#: What stops the line, the reason of that, and what is asked once our OR24 has marked the line shipped too.
STOPS = [
    (refunded, "lines_canceled_after_import", []),
    (in_an_incident, "line_incident", ["lines_added_after_import"]),
    (marked_shipped, "shipped_elsewhere", []),
]


def test_a_line_of_the_order_that_has_not_left_is_still_to_be_stopped(rig: Rig) -> None:
    tell(rig, 8, id=8, shipping_tracking="T8")
    refunded(rig)
    poll(rig)
    assert GOODS_LEFT not in cure(rig, "lines_canceled_after_import")


def test_an_address_can_still_be_corrected_for_what_has_not_left(rig: Rig) -> None:
    tell(rig, 8, id=8, shipping_tracking="T8")
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="9 New Row")
    poll(rig)
    assert GOODS_LEFT not in cure(rig, "changed_after_import")


@pytest.mark.parametrize(("stop", "reason", "marked"), STOPS)
@pytest.mark.parametrize("named", [False, True], ids=["by status alone", "the other order named its parcel"])
def test_a_stopped_line_that_leaves_in_its_own_order_is_asked_for_again(
    rig: Rig, stop: Callable[[Rig], None], reason: str, marked: list[str], named: bool
) -> None:
    stop(rig)
    poll(rig)
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    parcel = {"tracking": "T8", "items": [{"external_ref": "1-A-2", "quantity": 1}]}
    tell(rig, 8, id=8, shipping_tracking="T8", **({"new_shipments": [parcel]} if named else {}))
    poll(rig)
    assert (rig.state(), rig.attention()) == ("shipped", marked)
    tell(rig, 8, id=7, shipping_tracking="T7")
    assert reason in rig.attention()
    assert "1-A-1" in details(rig)[reason]
    poll(rig)
    tell(rig, 8, id=7, shipping_tracking="T7")
    assert reason in rig.attention(), "no read and no repeat ends it"
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 8, id=7, shipping_tracking="T7")
    poll(rig)
    assert rig.attention() == []


def test_a_stopped_line_of_an_order_with_another_may_not_be_what_left(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.imported(lines=2)
    refunded(rig)
    poll(rig)
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 8, shipping_tracking="T7")
    poll(rig)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_one_canceled_order_of_two_names_the_lines_that_are_missing(rig: Rig) -> None:
    tell(rig, 128, id=8)
    found = explained(rig).attention
    cause = next(one.cause for one in found if one.reason == "oms_canceled")
    assert cause.startswith("OMS order 8 (0008): all of it, which is 1 of 1-A-2 (MUG-11OZ-WHT), reported at 2026-")
    assert cure(rig, "oms_canceled").startswith(
        "Missing is only 1 of 1-A-2 (MUG-11OZ-WHT), and the other order in the OMS goes on. Agree with the people of "
        "the OMS: cancel or refund only that in Mirakl's portal, or have it made again."
    )
    tell(rig, 128, id=7)
    assert "goes on" not in cure(rig, "oms_canceled").partition("settle")[0], "both are canceled"
