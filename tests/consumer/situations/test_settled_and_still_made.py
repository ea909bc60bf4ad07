"""A person settles that goods are stopped in the OMS, and the OMS reports that it works on them."""

import pytest

from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, tell


def canceled(rig: Rig) -> None:
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "CANCELED")


def refused(rig: Rig) -> None:
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "REFUSED")


def refunded(rig: Rig) -> None:
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")


def shipped_by_somebody_else(rig: Rig) -> None:
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")


def payment_awaited(rig: Rig) -> None:
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "WAITING_DEBIT_PAYMENT")


STOPPED = {
    canceled: "canceled_after_import",
    refused: "dead_in_mirakl",
    refunded: "withdrawn_after_import",
    shipped_by_somebody_else: "shipped_elsewhere",
    payment_awaited: "payment_awaited_again",
}


@pytest.mark.parametrize("change", STOPPED)
def test_goods_that_a_settle_says_are_stopped_and_the_oms_still_makes_are_shown_again(rig: Rig, change) -> None:  # type: ignore[no-untyped-def]
    rig.imported(workflow="PAY_ON_DELIVERY")
    change(rig)
    rig.poll()
    for reason in rig.attention():
        decide(rig, DecisionKind.SETTLE, reason)
    assert rig.attention() == []
    tell(rig, 4)
    assert rig.attention() == [STOPPED[change]]
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    tell(rig, 4)  # a repeat of the same callback is no news
    assert rig.attention() == []


@pytest.mark.parametrize("status", [32, 128, 256])
def test_an_oms_that_stands_still_after_a_settle_makes_nothing(rig: Rig, status: int) -> None:
    rig.imported()
    canceled(rig)
    rig.poll()
    decide(rig, DecisionKind.SETTLE)
    tell(rig, status)
    assert rig.attention() == []
