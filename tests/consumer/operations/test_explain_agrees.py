"""What `explain` says agrees with `plan`: every due call, obstacle and reason is named, and no other call."""

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.store import commands as command_rows
from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store import shops as shop_rows
from adapters.store.orders import OrderRow
from consumer.operations.explain import Explanation, explain
from statemachine.commands import CommandKind, Policy
from statemachine.events import Event, Trigger
from statemachine.facts import Decision, DecisionKind, Facts, GiveUp, Rejection, Trouble
from statemachine.plan import plan
from statemachine.reasons import EndsBy
from statemachine.waits import WaitsFor, waits_for
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import at, event, lives, parcel

LIVES = tuple(lives())
POLICIES = (
    Policy(),
    Policy("hold"),
    Policy("known-skus", frozenset({"TEE"})),
    Policy("known-skus", frozenset(), "refuse"),
)
NUMBERS = itertools.count()
#: How a sentence names a call.
NAMES = {kind: re.compile(f"{re.escape(kind.operation)}|{kind}") for kind in CommandKind}


def decided(kind: DecisionKind, *subject: str) -> Event:
    return event(Trigger.DECISION, f"{kind}{subject}", Facts(decisions=(Decision(at(9), kind, "ana", "x", subject),)))


DECISIONS = (
    decided(DecisionKind.HOLD),
    decided(DecisionKind.ACCEPT, "L2"),
    decided(DecisionKind.REFUSE),
    parcel("L1", 2),
)
ENDS = ("rejected", "given up", "failing", "")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def apply(desk: Desk, order_id: str, *events: Event) -> OrderRow:
    desk.orders.apply([replace(one, order_id=order_id, event_id=f"{order_id}:{one.event_id}") for one in events])
    return order_rows.find(desk.store, order_id)[0]


def ended(row: OrderRow, policy: Policy, how: str, when: float) -> list[Event]:
    """Each due call ends without success."""
    found = []
    for one in plan(row.facts, policy).due:
        rejection = Rejection(one.kind, one.carries, one.round, one.basis, at(when), "BAD")
        give_up = GiveUp(one.kind, one.carries, one.round)
        trouble = Trouble(one.kind, one.carries, one.round, at(when), one.kind.operation, "503")
        by_end = {
            "rejected": Facts(rejections=(rejection,)),
            "given up": Facts(given_up=(give_up,)),
            "failing": Facts(troubles=(trouble,), clock=at(30 * 86_400)),
        }
        found.append(event(Trigger.CALL, f"{how}:{one.key}", by_end[how]))
    return found


def explained(desk: Desk, row: OrderRow, policy: Policy) -> Explanation:
    return explain(
        row,
        journal_rows.of_order(desk.store, row.key),
        command_rows.of_order(desk.store, row.key),
        shop=shop_rows.list_all(desk.store)[0],
        policy=policy,
        now=desk.clock.now(),
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=80)
@given(data=st.data())
def test_every_due_call_obstacle_and_reason_is_named_and_nothing_else(desk: Desk, data: Any) -> None:
    policy = data.draw(st.sampled_from(POLICIES))
    desk.policies["alpha"] = policy
    possible = [*data.draw(st.sampled_from(LIVES)).events(), *DECISIONS]
    order_id = f"O-{next(NUMBERS)}"
    row = apply(desk, order_id, *data.draw(st.lists(st.sampled_from(possible), min_size=1, unique_by=id)))
    how, when = data.draw(st.sampled_from(ENDS)), data.draw(st.sampled_from((0.5, 500)))
    if how and (ends := ended(row, policy, how, when)):
        row = apply(desk, order_id, *ends)
    found, wanted = explained(desk, row, policy), plan(row.facts, policy)

    due = {one.kind for one in wanted.due}
    obstacles = {one.command for one in wanted.attention if one.command}
    unread = {no.kind for no in row.facts.rejections if row.facts.snapshot and no.at >= row.facts.snapshot.read_at}
    text = f"{found.waits_for}; {found.happens_next}"
    named = {kind for kind, name in NAMES.items() if name.search(text)}
    assert due <= named <= due | obstacles | unread, text
    assert [(one.reason, one.detail) for one in found.attention] == [(one.reason, one.detail) for one in row.attention]
    assert {one.token for one in wanted.attention} <= {one.token for one in row.attention}
    for one, standing in zip(found.attention, row.attention, strict=True):
        assert one.meaning
        assert one.cure
        assert one.cause, "every reason names what it rests on"
        assert not re.search(r"orders \w+ ORDER", one.cure), "the order's id is in place"
        if standing.command:
            assert NAMES[standing.command].search(one.cause), "the call that ended without success"
    moves = waits_for(row.facts, policy, wanted)
    assert ("a worker" in found.waits_for) <= (WaitsFor.CALL in moves), text
    assert ("a person" in found.waits_for) <= bool(wanted.attention), text
    if not due and any(one.about.holds or one.about.ends_by is EndsBy.RETRY for one in wanted.attention):
        assert "a person" in found.waits_for or "a read" in found.waits_for, text
