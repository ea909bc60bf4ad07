"""The table of edges, compared with all facts that any life of an order can leave behind."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from statemachine import diagram
from statemachine.commands import CommandKind
from statemachine.events import Event, Trigger
from statemachine.facts import Facts
from statemachine.joining import join
from statemachine.machine import EventResult, decide, machine_of
from statemachine.reasons import Reason
from statemachine.states import PREDICATES, State, state_of
from statemachine.table import TABLE, Edge
from tests.statemachine.lives import answered, lives, read, sent, snapshot_event, spoke

#: From a state, by a kind of event, to a state.
Move = tuple[State, Trigger, State]


#: Facts, and what each of some events makes of them.
Joins = tuple[Facts, list[Facts]]


class Joined:
    """Joins facts. Equal facts are one object, and a join that was made before is not made again.

    Lives share most of their events, and to compare facts takes long.
    """

    def __init__(self) -> None:
        self._known: dict[Facts, Facts] = {}
        self._made: dict[tuple[int, int], Facts] = {}
        self.states: dict[int, State] = {}

    def one(self, facts: Facts) -> Facts:
        """The object that stands for these facts. No state depends on which read showed or did not show something."""
        facts = replace(facts, not_shown=(), seen=())
        found = self._known.setdefault(facts, facts)
        if found is facts:
            self.states[id(facts)] = state_of(facts)
        return found

    def join(self, facts: Facts, more: Facts) -> Facts:
        pair = id(facts), id(more)
        if pair not in self._made:
            self._made[pair] = self.one(join(facts, more))
        return self._made[pair]

    def all_of(self, events: Sequence[Facts]) -> list[Joins]:
        """All facts that any of these events leave behind, in any order of arrival; and what each event makes of
        them."""
        nothing = self.one(Facts())
        found, todo = {id(nothing): nothing}, [nothing]
        made = []
        while todo:
            facts = todo.pop()
            joins = [self.join(facts, new_facts) for new_facts in events]
            made.append((facts, joins))
            for more in joins:
                if id(more) not in found:
                    found[id(more)] = more
                    todo.append(more)
        return made


@cache
def space() -> tuple[frozenset[Facts], frozenset[Move]]:
    """All facts that any life can leave behind, in any order of arrival; and every move between their states.

    What has arrived is a set of reads and a set of other events. Because facts join in any order, each set is joined by
    itself, and then the one with the other. That is a twentieth of the joins.
    """
    all_facts: dict[int, Facts] = {}
    moves: set[Move] = set()
    joined = Joined()
    states = joined.states
    for life in lives():
        events = life.events()
        reads = [one for one in events if one.trigger is Trigger.SNAPSHOT]
        others = [one for one in events if one.trigger is not Trigger.SNAPSHOT]
        of_reads = joined.all_of([joined.one(one.new_facts) for one in reads])
        of_others = joined.all_of([joined.one(one.new_facts) for one in others])
        state = {}
        for read_, _ in of_reads:
            for other, _ in of_others:
                facts = joined.join(read_, other)
                all_facts[id(facts)] = facts
                state[id(read_), id(other)] = states[id(facts)]
        for read_, after_read in of_reads:
            for other, after_other in of_others:
                before = state[id(read_), id(other)]
                reached = [(event, state[id(more), id(other)]) for event, more in zip(reads, after_read, strict=True)]
                reached += [
                    (event, state[id(read_), id(more)]) for event, more in zip(others, after_other, strict=True)
                ]
                for event, after in reached:
                    if after != before:
                        moves |= {(before, trigger, after) for trigger in triggers(event)}
    return frozenset(all_facts.values()), frozenset(moves)


def triggers(event: Event) -> list[Trigger]:
    """The kinds of event that can bring these facts: a person can vouch that the goods left, and can say that the
    effect of a call was made by hand."""
    said = event.new_facts.dispatches or event.new_facts.answers
    return [event.trigger, *([Trigger.DECISION] if said else [])]


def rows(table: tuple[Edge, ...]) -> set[Move]:
    return {(edge.source, trigger, edge.target) for edge in table for trigger in edge.on}


def defects(table: tuple[Edge, ...]) -> list[str]:
    """What is wrong with a table: moves without a row, and rows that no move needs."""
    _, moves = space()
    missing, useless = moves - rows(table), rows(table) - moves
    return [f"no row for {m}" for m in sorted(missing)] + [f"no move for {u}" for u in sorted(useless)]


def test_every_reachable_move_has_its_row_and_every_row_is_reached() -> None:
    assert defects(TABLE) == []
    assert len({(edge.source, edge.target) for edge in TABLE}) == len(TABLE) == 53


@pytest.mark.parametrize("edge", TABLE, ids=lambda e: f"{e.source}-{e.target}")
def test_every_missing_row_is_found(edge: Edge) -> None:
    assert defects(tuple(e for e in TABLE if e is not edge))


@pytest.mark.parametrize(
    "edge",
    [
        Edge(s, (Trigger.SNAPSHOT,), t, "")
        for s in State
        for t in State
        if s != t and (s, t) not in {(e.source, e.target) for e in TABLE}
    ],
    ids=lambda e: f"{e.source}-{e.target}",
)
def test_every_row_that_no_move_needs_is_found(edge: Edge) -> None:
    assert defects((*TABLE, edge))


def test_exactly_one_predicate_holds_for_any_facts() -> None:
    """Each predicate excludes those above it: the first one that is true decides."""
    facts, _ = space()
    assert len(facts) > 5_000
    reached = set()
    for one in facts:
        true = [state for state, holds in PREDICATES if holds(one)]
        assert true, one
        reached.add(state_of(one))
        assert state_of(one) == true[0]
    assert reached == set(State) == {state for state, _ in PREDICATES}


def test_the_machine_moves_exactly_as_the_table_says() -> None:
    """For any two events of any life: the state is that of the facts, and there is a row for it."""
    for life in lives():
        events = life.events()
        for first in events:
            facts = join(Facts(), first.new_facts)
            for event in events:
                outcome = decide(state_of(facts), facts, event)
                assert outcome.state == state_of(outcome.facts)
                assert outcome.result != EventResult.NO_EDGE


def test_without_a_row_the_facts_join_and_the_state_stays() -> None:
    table = tuple(edge for edge in TABLE if (edge.source, edge.target) != (State.WAITING_ACCEPTANCE, State.ACCEPTED))
    waiting = snapshot_event(read("WAITING_ACCEPTANCE")).new_facts
    outcome = decide(
        State.WAITING_ACCEPTANCE, waiting, answered(CommandKind.ACCEPT, carries="accept"), machine_of(table)
    )
    assert outcome.state is State.WAITING_ACCEPTANCE
    assert outcome.result is EventResult.NO_EDGE
    assert outcome.edge is None
    assert outcome.facts.answers


def test_a_wrong_kind_of_event_is_no_edge_and_does_not_raise() -> None:
    """`transitions` raises for a trigger that no edge of the source has; `decide` returns NO_EDGE."""
    table = (Edge(State.NEW, (Trigger.DECISION,), State.SHIPPING, ""),)
    outcome = decide(State.NEW, Facts(), snapshot_event(read("SHIPPING")), machine_of(table))
    assert outcome.result == EventResult.NO_EDGE


def test_one_event_jumps_over_states() -> None:
    before = join(spoke().new_facts, sent().new_facts)
    outcome = decide(State.NEW, before, snapshot_event(read("SHIPPING")))
    assert outcome.result is EventResult.MOVED
    assert outcome.state is State.DISPATCHED
    assert outcome.edge is not None
    assert outcome.edge.means == "first seen when it was already sent"


def test_the_diagram_shows_every_edge_once() -> None:
    text = diagram.mermaid()
    for edge in TABLE:
        arrow = f"    {edge.source} --> {edge.target}"
        assert text.count(f"{arrow}\n") + text.count(f"{arrow}:") == 1
    assert diagram.markdown().count("\n") == len(TABLE) + 1


def test_every_state_says_what_an_order_manager_has_to_know() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in diagram.life().splitlines()[2:]]
    assert [row[0] for row in rows] == [f"`{state}`" for state in State]
    assert all(len(row) == 6 and all(row) for row in rows)


def test_the_states_name_every_label_of_the_portal_and_every_reason_of_a_deadline() -> None:
    mirakl = (Path(__file__).resolve().parents[2] / "docs/mirakl.md").read_text(encoding="utf-8")
    table = mirakl[mirakl.index("| state | in the seller portal") :].split("\n\n")[0]
    labels = [line.split("|")[2].strip() for line in table.splitlines()[2:]]
    assert labels
    assert [one for one in labels if one not in diagram.life()] == []
    deadlines = (Reason.ACCEPTANCE_DUE, Reason.PAYMENT_LATE, Reason.SHIPPING_DUE, Reason.UNKNOWN_TO_MIRAKL)
    assert [one for one in deadlines if f"`{one}`" not in diagram.life()] == []
