"""Decisions of the command line are counted by the service, from the journal."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import StoreUnavailable
from consumer import stores
from consumer.applying.apply import OrderWriter
from consumer.bootstrap import new_housekeeping
from consumer.hooks import Applied, Hooks
from consumer.housekeeping.decision_count import EVERY, MARGIN
from consumer.housekeeping.housekeeping import Housekeeping
from consumer.metrics.recorder import Recorder
from consumer.operations import orders
from statemachine.events import Trigger
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig

LATER = (EVERY + MARGIN).total_seconds() + 1


class Seen(Hooks):
    """Keeps what a person decided."""

    def __init__(self) -> None:
        self.decided: list[Applied] = []

    def event_applied(self, applied: Applied) -> None:
        if applied.event.trigger is Trigger.DECISION:
            self.decided.append(applied)


def keeper_of(rig: Rig, hooks: Hooks) -> Housekeeping:
    return new_housekeeping(replace(rig.base, hooks=hooks))


def decide(rig: Rig, kind: DecisionKind) -> None:
    """Decide as the command line does: with a writer of its own, which has no hooks."""
    rig.clock.advance(1)
    writer = OrderWriter(rig.store, rig.policies, rig.clock, outbox=stores.outbox_of(rig.base.settings))
    act = orders.Act(kind, "ana", "agreed", rig.clock.now())
    orders.decide(rig.store, writer, rig.row(), act, shops=["alpha"])


def test_each_decision_of_another_process_is_told_to_the_hooks_once(tmp_path: Path) -> None:
    seen = Seen()
    rig = Rig(tmp_path)
    keeper = keeper_of(rig, seen)
    keeper.turn()
    rig.imported()
    entered_at = rig.clock.now()
    decide(rig, DecisionKind.HOLD)
    rig.clock.advance(9)
    decide(rig, DecisionKind.SENT)
    rig.clock.advance(EVERY.total_seconds() + 1)
    keeper.turn()
    assert seen.decided == [], "a transaction that began earlier may still be under way"
    for _ in range(2):
        rig.clock.advance(LATER)
        keeper.turn()
    hold, sent = seen.decided
    assert (hold.moved, hold.order.shop, hold.before) == (False, "alpha", "imported")
    assert (sent.moved, sent.before, sent.order.state) == (True, "imported", "dispatched")
    assert sent.seconds_in_before == (sent.event.at - entered_at).total_seconds() == 11


def test_a_crash_between_commit_and_count_loses_no_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Seen()
    rig = Rig(tmp_path)
    keeper_of(rig, seen).turn()
    rig.imported()
    decide(rig, DecisionKind.HOLD)
    rig.clock.advance(LATER)

    def unavailable(*_: Any) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patched:
        patched.setattr("consumer.housekeeping.decision_count.progress_rows.advance", unavailable)
        with pytest.raises(StoreUnavailable):
            keeper_of(rig, seen).turn()
    keeper_of(rig, seen).turn()
    assert [one.event.note["act"] for one in seen.decided] == ["hold", "hold"], "told again, and not lost"


def test_what_was_decided_before_this_version_is_not_counted_again(tmp_path: Path) -> None:
    seen = Seen()
    rig = Rig(tmp_path)
    rig.imported()
    decide(rig, DecisionKind.HOLD)
    rig.clock.advance(LATER)
    keeper = keeper_of(rig, seen)
    keeper.turn()
    rig.clock.advance(LATER)
    keeper.turn()
    assert seen.decided == []


def test_a_decision_and_its_transition_are_in_the_metrics(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    recorder = Recorder({"alpha": 60}, "1", rig.clock)
    keeper = keeper_of(rig, recorder)
    keeper.turn()
    rig.imported()
    decide(rig, DecisionKind.SENT)
    rig.clock.advance(LATER)
    keeper.turn()
    value = recorder.registry.get_sample_value
    assert value("orderflow_decisions_total", {"shop": "alpha", "decision": "sent"}) == 1
    edge = {"shop": "alpha", "from_state": "imported", "to_state": "dispatched", "trigger": "act"}
    assert value("orderflow_transitions_total", edge) == 1
