"""Decides what one event does to one order: the facts after it, their state, and the edge that leads to that state."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from operator import eq
from typing import Final

from transitions import Machine, MachineError

from statemachine.events import Event, Trigger
from statemachine.facts import Facts
from statemachine.joining import join
from statemachine.states import State, state_of
from statemachine.table import TABLE, Edge

#: Stored in every journal row. Raise it when the same facts begin to mean something else.
VERSION: Final = 2


class EventResult(StrEnum):
    """How an event ended: the label `result` of orderflow_events_total, and a column of the journal."""

    MOVED = "moved"
    NOTED = "noted"  # the facts grew, the state stays
    STALE = "stale"  # the facts had all of it before
    NO_EDGE = "no_edge"  # no edge leads to the state of the new facts: the facts are stored, the state stays
    REPEATED = "repeated"  # the journal holds the event already: apply counts it, and `decide` never gets it


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one event does to one order."""

    before: State
    state: State
    facts: Facts
    result: EventResult
    edge: Edge | None = None


class _Order:
    """The model that `transitions` moves. It lives for one event, so no state outlives the event."""

    __slots__ = ("state",)

    def __init__(self, state: State) -> None:
        self.state = state


def machine_of(table: tuple[Edge, ...]) -> Machine:
    """Make a machine of `transitions` from a table. An edge may be taken if the facts amount to its target."""
    machine = Machine(model=None, states=State, initial=None, auto_transitions=False)
    for edge in table:
        for trigger in edge.on:
            machine.add_transition(trigger, edge.source, edge.target, conditions=partial(eq, edge.target))
    return machine


_MACHINE: Final = machine_of(TABLE)
_EDGES: Final = {(edge.source, edge.target): edge for edge in TABLE}


def decide(state: State, facts: Facts, event: Event, machine: Machine = _MACHINE) -> Outcome:
    """Join the facts of the event, and move along the edge that leads to the state of the joined facts.

    If the table has no such edge, the state stays and the result is NO_EDGE. Raises nothing for any facts.
    """
    known = join(facts, event.new_facts)
    target = state_of(known)
    if target == state:
        return Outcome(state, state, known, EventResult.STALE if known == facts else EventResult.NOTED)
    if not _may_move(machine, state, event.trigger, target):
        return Outcome(state, state, known, EventResult.NO_EDGE)
    return Outcome(state, target, known, EventResult.MOVED, _EDGES[state, target])


@cache  # a machine does not change, and asking it takes as long as joining the facts
def _may_move(machine: Machine, state: State, trigger: Trigger, target: State) -> bool:
    try:
        return bool(machine.events[trigger].trigger(_Order(state), target))
    except (MachineError, KeyError):
        return False
