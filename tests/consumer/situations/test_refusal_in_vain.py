"""A person refuses an order that Mirakl accepted already: our first answer arrived, and we did not learn it."""

import pytest

from consumer.operations import orders as operations
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig


def act(rig: Rig, kind: DecisionKind, lines: tuple[str, ...] = ()) -> None:
    one = operations.Act(kind, "ana", "sold out", rig.clock.now(), lines=lines)
    operations.decide(rig.store, rig.orders, rig.row(), one, shops=("alpha",))


@pytest.mark.parametrize("lines", [(), ("1-A-2",)])
def test_a_refusal_that_took_no_effect_is_told_and_holds_the_import(rig: Rig, lines: tuple[str, ...]) -> None:
    rig.fail("OR21", "timeout_after")
    rig.add("1-A", lines=2)
    rig.poll()
    rig.work()
    act(rig, DecisionKind.REFUSE, lines)
    rig.work(10)
    rig.poll(200)
    rig.mirakl["alpha"].confirm_debit("1-A")
    for _ in range(3):
        rig.poll(200)
        rig.work()
    assert rig.attention() == ["refusal_not_applied"]
    assert rig.state() == "shipping"
    act(rig, DecisionKind.RELEASE)
    rig.work(10)
    assert rig.state() == "imported"


def test_a_refusal_of_a_line_that_took_effect_is_no_reason(rig: Rig) -> None:
    rig.switch(effects=False)
    rig.add("1-A", lines=2)
    rig.poll()
    act(rig, DecisionKind.REFUSE, ("1-A-2",))
    rig.switch(effects=True)
    rig.work(10)
    rig.poll(200)
    rig.mirakl["alpha"].confirm_debit("1-A")
    rig.poll(200)
    rig.work()
    assert rig.state() == "imported"
    assert rig.attention() == []
