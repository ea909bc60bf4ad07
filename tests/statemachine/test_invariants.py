"""What must never happen to an order is noticed where it happens."""

from dataclasses import replace

import pytest

from statemachine.commands import CommandKind, Policy
from statemachine.events import Event, Trigger
from statemachine.facts import Attempt, Facts, Handover, Line, Part
from statemachine.invariants import Invariant, broken_by, is_lost
from statemachine.joining import join, snapshot_facts
from statemachine.plan import Plan, plan
from statemachine.states import State, state_of
from tests.statemachine.lives import answer, at, event, read


def claim(kind: CommandKind) -> Event:
    return event(Trigger.CALL, "claim", Facts(attempts=(Attempt(kind, ""),)))


def broken(facts: Facts, what: Event) -> list[Invariant]:
    return list(broken_by(what, state_of(facts), facts))


SHIPPING = snapshot_facts(read("SHIPPING"))


@pytest.mark.parametrize("state", ["REFUSED", "CANCELED"])
def test_a_call_for_an_ended_order_is_noticed(state: str) -> None:
    assert broken(snapshot_facts(read(state)), claim(CommandKind.IMPORT)) == [Invariant.CALLED_AFTER_END]


def test_an_import_of_an_order_that_the_oms_has_is_noticed() -> None:
    assert broken(SHIPPING, claim(CommandKind.IMPORT)) == []
    there = join(SHIPPING, Facts(parts=(Part(1),)))
    assert broken(there, claim(CommandKind.IMPORT)) == [Invariant.IMPORTED_TWICE]
    assert broken(there, claim(CommandKind.CONFIRM)) == []


def test_a_second_shipment_is_noticed() -> None:
    confirmed = join(SHIPPING, Facts(answers=(answer(CommandKind.CONFIRM, answered=10, grace=50),)))
    assert broken(confirmed, claim(CommandKind.CONFIRM)) == [Invariant.SHIPPED_TWICE]
    shipped = snapshot_facts(read("SHIPPED"))
    assert broken(shipped, claim(CommandKind.CONFIRM)) == [Invariant.SHIPPED_TWICE]
    disproved = join(confirmed, snapshot_facts(read("SHIPPING", updated=100, began=100)))
    assert broken(disproved, claim(CommandKind.CONFIRM)) == [], "the read shows that OR24 was not applied"


@pytest.mark.parametrize(
    ("quantity", "largest", "carried", "noticed"),
    [(2, 2, 2, False), (2, 2, 3, True), (1, 3, 3, False), (None, 1, 9, False)],
)
def test_an_import_of_more_pieces_than_were_ordered_is_noticed(
    quantity: int | None, largest: int, carried: int, noticed: bool
) -> None:
    snapshot = replace(read("SHIPPING"), lines=(Line("L1", quantity=quantity),))
    facts = Facts(snapshot=snapshot, pieces=(("L1", largest),))
    handed = event(Trigger.CALL, "handover", Facts(handovers=(Handover(at(0), (("L1", carried),)),)))
    assert (broken(facts, handed) == [Invariant.QUANTITY_ABOVE_ORDERED]) is noticed


def test_an_order_that_waits_for_nobody_is_noticed() -> None:
    policy = Policy()
    assert not is_lost(SHIPPING, policy, plan(SHIPPING, policy))
    assert is_lost(SHIPPING, policy, Plan(State.SHIPPING, (), ()))
    assert not is_lost(SHIPPING, policy, Plan(State.CANCELED, (), ()))
