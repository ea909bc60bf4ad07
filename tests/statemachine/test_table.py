"""The table against the whole abstract space of facts."""

from functools import cache

import pytest

from statemachine import diagram
from statemachine.events import Trigger
from statemachine.facts import Facts, join
from statemachine.machine import EventResult, decide, machine_of
from statemachine.states import PREDICATES, State, state_of
from statemachine.table import TABLE, Edge
from tests.statemachine.lives import answered, lives, read, sent, snapshot_event, spoke


@cache
def space() -> tuple[frozenset[Facts], frozenset[tuple[str, str, str]]]:
    """Every set of facts that any life can leave behind, in any order of arrival; and every move between two."""
    all_facts: set[Facts] = set()
    moves: set[tuple[str, str, str]] = set()
    for life in lives():
        events = life.events()
        found, todo = {Facts()}, [Facts()]
        while todo:
            facts = todo.pop()
            state = state_of(facts)
            for event in events:
                more = join(facts, event.new_facts)
                target = state_of(more)
                if target != state:
                    moves.add((state, event.trigger, target))
                if more not in found:
                    found.add(more)
                    todo.append(more)
        all_facts |= found
    return frozenset(all_facts), frozenset(moves)


def rows(table: tuple[Edge, ...]) -> set[tuple[str, str, str]]:
    return {(edge.source, trigger, edge.target) for edge in table for trigger in edge.on}


def complaints(table: tuple[Edge, ...]) -> list[str]:
    """What is wrong with a table: moves without a row, rows that nothing reaches."""
    _, moves = space()
    missing, useless = moves - rows(table), rows(table) - moves
    return [f"no row for {m}" for m in sorted(missing)] + [f"never reached: {u}" for u in sorted(useless)]


def test_every_reachable_move_has_its_row_and_every_row_is_reached() -> None:
    assert complaints(TABLE) == []
    assert len({(edge.source, edge.target) for edge in TABLE}) == len(TABLE) == 43


@pytest.mark.parametrize("edge", TABLE, ids=lambda e: f"{e.source}-{e.target}")
def test_a_table_without_any_one_row_is_found_out(edge: Edge) -> None:
    assert complaints(tuple(e for e in TABLE if e is not edge))


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
def test_a_table_with_a_useless_row_is_found_out(edge: Edge) -> None:
    assert complaints((*TABLE, edge))


def test_exactly_one_predicate_holds_for_any_facts() -> None:
    """Read with the exclusions: a predicate holds where it is true and none above it is."""
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
    """Over the whole space: what `transitions` does is the row, and nothing raises."""
    for life in lives():
        events = life.events()
        for first in events:
            facts = join(Facts(), first.new_facts)
            for event in events:
                decision = decide(state_of(facts), facts, event)
                assert decision.state == state_of(decision.facts)
                assert decision.result != EventResult.NO_EDGE


def test_a_missing_row_keeps_state_and_facts_and_is_told() -> None:
    table = tuple(edge for edge in TABLE if (edge.source, edge.target) != ("waiting_acceptance", "accepted"))
    waiting = snapshot_event(read("WAITING_ACCEPTANCE")).new_facts
    decision = decide(State.WAITING_ACCEPTANCE, waiting, answered("accept_order", carries="accept"), machine_of(table))
    assert (decision.state, decision.result, decision.edge) == ("waiting_acceptance", EventResult.NO_EDGE, None)
    assert decision.facts.answers


def test_a_wrong_kind_of_event_is_no_edge_and_does_not_raise() -> None:
    """`transitions` raises for a trigger that the source does not know; decide turns that into an answer."""
    table = (Edge(State.NEW, (Trigger.DECISION,), State.SHIPPING, ""),)
    decision = decide(State.NEW, Facts(), snapshot_event(read("SHIPPING")), machine_of(table))
    assert decision.result == EventResult.NO_EDGE


def test_one_event_jumps_over_states() -> None:
    before = join(spoke().new_facts, sent().new_facts)
    decision = decide(State.NEW, before, snapshot_event(read("SHIPPING")))
    assert (decision.result, decision.state) == (EventResult.MOVED, "dispatched")
    assert decision.edge is not None
    assert decision.edge.means == "first seen when it was already sent"


def test_the_diagram_shows_every_edge_once() -> None:
    text = diagram.mermaid()
    for edge in TABLE:
        assert (
            text.count(f"    {edge.source} --> {edge.target}\n") + text.count(f"    {edge.source} --> {edge.target}:")
            == 1
        )
    assert diagram.markdown().count("\n") == len(TABLE) + 1
