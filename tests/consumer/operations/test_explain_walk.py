"""After any history an order can be explained: each reason has its cause and cure, and each stop names what ends it.

`ORDERFLOW_TEST_HISTORIES=100000 .venv/bin/pytest tests/consumer/operations/test_explain_walk.py` looks at more of them.
"""

import os
from dataclasses import fields

from adapters.store.orders import OrderRow
from consumer.operations.causes import cure
from consumer.operations.explain import Explanation, explain
from consumer.operations.lines import lines_of
from consumer.operations.listing import listed
from statemachine.attention.urgency_of_order import urgency_of
from statemachine.reason_of_order import StandingAttention
from statemachine.reasons import Reason
from statemachine.urgency import EndsBy, Urgency
from tests.statemachine.lives import at
from tests.statemachine.walk import Walk

HISTORIES = int(os.environ.get("ORDERFLOW_TEST_HISTORIES", "150"))
STEPS = 25
#: What a cure says if nothing is to be stopped in the OMS.
STOPPED = ("nothing is to be stopped", "nothing is to be taken out")


def row_of(walk: Walk) -> OrderRow:
    attention = tuple(
        StandingAttention(one.reason, one.detail, command=one.command, since=at(walk.now))
        for one in walk.plan.attention
    )
    known = {"key": 1, "shop": "alpha", "order_id": "O-1", "state": walk.state, "facts": walk.facts}
    known |= {"attention": attention, "version": 1, "digest": "", "read_after": None}
    known |= {"entered_at": at(walk.now), "updated_at": at(walk.now)}
    return OrderRow(**{one.name: known[one.name] for one in fields(OrderRow) if one.name in known})  # type: ignore[arg-type]


def wrong(walk: Walk, row: OrderRow, found: Explanation) -> str:
    """What is wrong with the sentences about the order. Empty: nothing is."""
    for one in found.attention:
        if not (one.meaning and one.cure and one.cause):
            return f"{one.reason} {one.detail} has no meaning, cure or cause"
    for reason in (one for one in row.attention if one.about.urgency_when_stopped):
        is_stopped = any(words in cure(reason, row, walk.policy) for words in STOPPED)
        if is_stopped is (urgency_of(reason, walk.facts) is Urgency.NOW):
            return f"{reason.reason} {reason.detail} is as urgent as its cure does not say"
    for_a_person = [one for one in row.attention if one.about.ends_by not in (EndsBy.FACT, EndsBy.UPGRADE)]
    asks = any(one.reason is Reason.NEEDS_DECISION for one in row.attention)
    if found.waits_for.startswith("a person:") and not (for_a_person or asks):
        return f"waits for {found.waits_for}"
    if found.waits_for.startswith("nothing") and not walk.state.is_at_its_end:
        return f"waits for {found.waits_for}"
    return ""


def test_every_order_can_be_explained_after_any_history() -> None:
    for seed in range(HISTORIES):
        walk = Walk(seed)
        for _ in range(STEPS):
            walk.step()
            row = row_of(walk)
            found = explain(row, [], [], shop=None, policy=walk.policy, now=at(walk.now))
            why = wrong(walk, row, found)
            assert not why, f"history {seed}: {why} in {walk.state}\n" + "\n".join(walk.steps)
            assert listed(row, walk.policy).row is row
            assert len(lines_of(walk.facts, None)) == len(walk.facts.newest.lines if walk.facts.newest else ())
