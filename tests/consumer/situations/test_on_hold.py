"""An order that the OMS holds is let go only if it is to be made."""

from collections.abc import Callable

import pytest

from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, tell

DAY = 24 * 3600


def cure(rig: Rig) -> str:
    shown = explained(rig).attention
    return next(one.cure for one in shown if one.reason == "oms_on_hold")


def unpaid(rig: Rig) -> None:
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "WAITING_DEBIT_PAYMENT")


def of_others(rig: Rig) -> None:
    changes.set_centre(rig.mirakl["alpha"], "1-A", "ELSEWHERE")


def gone(rig: Rig) -> None:
    rig.mirakl["alpha"].remove("1-A")
    for _ in range(3):
        rig.poll(DAY + 60)


def taken_back(rig: Rig) -> None:
    for line in ("1-A-1", "1-A-2"):
        changes.refund(rig.mirakl["alpha"], "1-A", line)


@pytest.mark.parametrize(
    ("happens", "reason", "says"),
    [
        (unpaid, "payment_awaited_again", "Mirakl waits for the customer's money: leave the order on hold"),
        (of_others, "not_ours_to_ship", "somebody else ships this order: leave it on hold"),
        (gone, "gone_from_mirakl", "do not show the order any more: leave it on hold"),
        (taken_back, "withdrawn_after_import", "no line of it to be sent: have it canceled in the OMS"),
    ],
)
def test_what_another_reason_told_to_hold_is_not_let_go(
    rig: Rig, happens: Callable[[Rig], None], reason: str, says: str
) -> None:
    rig.imported(lines=2)
    happens(rig)
    rig.poll(600)
    tell(rig, 256)
    assert {reason, "oms_on_hold"} <= {*rig.attention()}
    assert says in cure(rig)
    assert "let it go there" not in cure(rig)
    if reason != "not_ours_to_ship":  # only a read ends that
        decide(rig, DecisionKind.SETTLE, reason)
    assert says in cure(rig)


def test_what_a_line_needs_that_is_to_be_stopped_comes_before_letting_the_order_go(rig: Rig) -> None:
    rig.imported(lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="INCIDENT_OPEN")
    rig.poll()
    tell(rig, 256)
    assert cure(rig).startswith("First see to line_incident: what is stopped in the OMS is not made. Look in the OMS")


def test_an_order_that_is_to_be_made_is_let_go(rig: Rig) -> None:
    rig.imported()
    tell(rig, 256)
    assert cure(rig).startswith("Look in the OMS why it is on hold, and let it go there")
    unpaid(rig)
    rig.poll(600)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPING")
    rig.poll(600)
    assert cure(rig).startswith("Look in the OMS why it is on hold, and let it go there")
