"""What must never happen to an order. The rules and the constraints of the store prevent it; this module notices it.

Each broken invariant is a bug. It is counted and logged (`invariant_broken`), and changes nothing for the order.
"""

from collections.abc import Iterator
from enum import StrEnum

from statemachine.commands import CommandKind, Policy
from statemachine.events import Event, Trigger
from statemachine.facts import Facts, Handover
from statemachine.plan import Plan
from statemachine.questions.payloads import import_known
from statemachine.questions.readings import is_pending, last_answer
from statemachine.states import State
from statemachine.waits import waits_for


class Invariant(StrEnum):
    """The label `invariant` of orderflow_invariant_violations_total."""

    LOST = "lost"  # an open order waits for nothing
    CALLED_AFTER_END = "called_after_end"  # a call was claimed for an order that Mirakl shows refused or canceled
    IMPORTED_TWICE = "imported_twice"  # an import was claimed for an order that the OMS has
    SHIPPED_TWICE = "shipped_twice"  # OR24 was claimed for an order that is shipped, or whose OR24 was just answered
    QUANTITY_ABOVE_ORDERED = "quantity_above_ordered"  # an import carries more pieces than any read showed


def broken_by(event: Event, state: State, facts: Facts) -> Iterator[Invariant]:
    """The invariants that this event breaks. `state` and `facts` are those of the order before it."""
    if event.trigger is not Trigger.CALL:
        return
    for kind in sorted({one.kind for one in event.new_facts.attempts}):
        if state.is_final:
            yield Invariant.CALLED_AFTER_END
        elif kind == CommandKind.IMPORT and import_known(facts):
            yield Invariant.IMPORTED_TWICE
        elif kind == CommandKind.CONFIRM and (
            state is State.SHIPPED or is_pending(facts, last_answer(facts, CommandKind.CONFIRM))
        ):
            yield Invariant.SHIPPED_TWICE
    if any(_carries_too_much(facts, one) for one in event.new_facts.handovers):
        yield Invariant.QUANTITY_ABOVE_ORDERED


def is_lost(facts: Facts, policy: Policy, wanted: Plan) -> bool:
    """Whether an order that is not at its end waits for nothing (waits.py)."""
    if wanted.due or wanted.attention or wanted.wakes_at is not None:  # most orders; `waits_for` takes longer
        return False
    return not wanted.state.is_at_its_end and not waits_for(facts, policy, wanted)


def _carries_too_much(facts: Facts, handover: Handover) -> bool:
    """Whether the payload carries more pieces of a line than any read showed. A line of which the newest read names no
    number is left out."""
    shown = {line.id: line.quantity for line in facts.lines if line.quantity is not None}
    largest = dict(facts.pieces)
    return any(
        line in shown and pieces > max(shown[line], largest.get(line, shown[line])) for line, pieces in handover.items
    )
