"""No order waits for nobody without being on the list of those that need a person, whatever happened to it.

`ORDERFLOW_TEST_HISTORIES=100000 .venv/bin/pytest tests/statemachine/test_walk.py` takes six minutes.
"""

import os

from statemachine.machine import EventResult
from statemachine.reasons import Reason
from statemachine.states import State
from statemachine.waits import WaitsFor, is_at_its_end, waits_for
from tests.statemachine.walk import Walk

HISTORIES = int(os.environ.get("ORDERFLOW_TEST_HISTORIES", "3000"))
STEPS = 25
#: Mirakl never goes back to these states. If it does, the order has the reason `no_edge`.
BACK = (State.NEW, State.WAITING_ACCEPTANCE, State.ACCEPTED, State.AWAITING_PAYMENT)


def lost(seed: int) -> str:
    """Walk over one history. Returns why its order is lost, with all its steps; an empty text if it never is."""
    walk = Walk(seed)
    for _ in range(STEPS):
        may_miss = walk.state.is_final or walk.is_told(Reason.NO_EDGE)
        result = walk.step()
        if result is EventResult.NO_EDGE and not may_miss and walk.wanted not in BACK:
            return f"history {seed}: no edge from {walk.state} to {walk.wanted}\n" + "\n".join(walk.steps)
        if walk.steps and not is_at_its_end(walk.state) and (why := silent(walk)):
            return f"history {seed}: {why} in {walk.state}\n" + "\n".join(walk.steps)
    return ""


def silent(walk: Walk) -> str:
    """Why nobody would miss this order.

    A deadline is enough for one kind of order alone: the OMS canceled all of it, and a person settled that.
    """
    waiting = waits_for(walk.facts, walk.policy, walk.plan)
    if waiting == {WaitsFor.TIME}:
        canceled = {one.oms_id for one in walk.facts.cancellations if not one.items}
        return "" if canceled.issuperset(part.oms_id for part in walk.facts.parts) else "waits for its deadline alone"
    return "" if waiting else "waits for nobody"


def test_no_order_waits_for_nobody() -> None:
    found = [why for seed in range(HISTORIES) if (why := lost(seed))]
    assert not found, f"{len(found)} of {HISTORIES}\n" + "\n\n".join(found[:5])
