"""What `explain` says agrees with `plan`: every due call, obstacle and reason is named, and no other call."""

import itertools
import re
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.store import commands as command_rows
from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store import shops as shop_rows
from adapters.store.orders import OrderRow
from consumer.operations.calls import what_it_does
from consumer.operations.explain import Explanation, explain
from consumer.operations.what_first import in_turn
from statemachine.commands import Command, CommandKind, Policy
from statemachine.events import Event, Trigger
from statemachine.facts import Cancellation, Decision, DecisionKind, Facts, Part, Withdrawn
from statemachine.failures import GiveUp, Rejection, Trouble
from statemachine.joining import join
from statemachine.plan import plan
from statemachine.reasons import Reason
from statemachine.states import State
from statemachine.urgency import EndsBy
from statemachine.waits import WaitsFor, waits_for
from tests.consumer.operations.desk import Desk
from tests.statemachine.lives import LINES, at, event, lives, parcel, read, snapshot_event

LIVES = tuple(lives())
POLICIES = (
    Policy(),
    Policy("hold"),
    Policy("known-skus", frozenset({"TEE"})),
    Policy("known-skus", frozenset(), "refuse"),
)
NUMBERS = itertools.count()
#: When a person reads the explanation, after all reads and failures.
LATER = at(40 * 86_400)
#: How a sentence names a call.
NAMES = {kind: re.compile(f"{re.escape(kind.operation)}|{kind}") for kind in CommandKind}


def decided(kind: DecisionKind, *subject: str) -> Event:
    return event(Trigger.DECISION, f"{kind}{subject}", Facts(decisions=(Decision(at(9), kind, "ana", "x", subject),)))


PARTLY = replace(LINES[0], withdrawn=Withdrawn.PART)
DECISIONS = (
    decided(DecisionKind.HOLD),
    decided(DecisionKind.ACCEPT, "L2"),
    decided(DecisionKind.REFUSE),
    parcel("L1", 2),
    *(
        snapshot_event(read("SHIPPING", updated=n, began=n, lines=lines))
        for n, lines in enumerate(
            (
                (PARTLY, LINES[1]),
                (replace(LINES[0], quantity=None), LINES[1]),
                (replace(LINES[0], state="LOST"), LINES[1]),
                tuple(replace(line, state="REFUNDED") for line in LINES),
            ),
            start=1000,
        )
    ),
    snapshot_event(replace(read("SHIPPING", updated=1010, began=1010), can_ship=False)),
    snapshot_event(read("ON_THE_MOON", updated=1011, began=1011)),
    event(Trigger.OMS_EVENT, "canceled", Facts(parts=(Part(1),), cancellations=(Cancellation(1),))),
)
ENDS = ("rejected", "given up", "failing", "")


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
        now=LATER,
    )


def released(facts: Facts, policy: Policy) -> tuple[Command, ...]:
    """The calls that are due after a person has released and settled what holds a call. None if that is not enough."""
    holds = [one for one in plan(facts, policy).attention if one.about.holds]
    if any(one.about.ends_by not in (EndsBy.RELEASE, EndsBy.SETTLE) for one in holds):
        return ()
    tokens = tuple(one.token for one in holds)
    decisions = tuple(Decision(LATER, kind, "ana", "x", tokens) for kind in (DecisionKind.RELEASE, DecisionKind.SETTLE))
    return plan(join(facts, Facts(decisions=decisions)), policy).due


def test_a_release_that_lets_the_import_go_counts_from_now(desk: Desk) -> None:
    """The reason began with the second read. A release from before that read does not end the reason."""
    partly = replace(read("SHIPPING", updated=1000, began=1000), lines=(PARTLY, LINES[1]))
    row = apply(desk, "O-1", snapshot_event(read("STAGING")), snapshot_event(partly))
    assert [one.reason for one in row.attention] == [Reason.PARTLY_WITHDRAWN]
    assert explained(desk, row, Policy()).happens_next == (
        "after `orders release`: POST /order brings the order to the OMS"
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

    is_lost = any(one.reason is Reason.NO_EDGE for one in row.attention)
    due = set() if is_lost else {one.kind for one in wanted.due}
    obstacles = {one.command for one in wanted.attention if one.command}
    unread = {no.kind for no in row.facts.rejections if row.facts.snapshot and no.at >= row.facts.snapshot.read_at}
    text = f"{found.waits_for}; {found.happens_next}"
    named = {kind for kind, name in NAMES.items() if name.search(text)}
    held = frozenset[CommandKind]().union(*(one.about.holds for one in wanted.attention))
    assert due <= named <= due | obstacles | unread | held, text
    for_a_person = [one for one in wanted.attention if one.about.ends_by not in (EndsBy.FACT, EndsBy.UPGRADE)]
    asks = any(one.reason is Reason.NEEDS_DECISION for one in wanted.attention)
    assert ("a person:" in found.waits_for) <= bool(for_a_person or asks), text
    let_go = () if is_lost else released(row.facts, policy)
    for command in {one.key: one for one in let_go}.values():
        assert what_it_does(command.key, row.facts, policy) in found.happens_next, "what a release lets go"
    standing_in_turn = in_turn(row)
    assert sorted(standing_in_turn) == sorted(row.attention)
    assert [(each.reason, each.detail) for each in found.attention] == [
        (each.reason, each.detail) for each in standing_in_turn
    ]
    assert {one.token for one in wanted.attention} <= {one.token for one in row.attention}
    for one, standing in zip(found.attention, standing_in_turn, strict=True):
        assert one.meaning
        assert one.cure
        assert one.cause, "every reason names what it rests on"
        assert not re.search(r"orders \w+ ORDER", one.cure), "the order's id is in place"
        if standing.command:
            assert NAMES[standing.command].search(one.cause), "the call that ended without success"
    moves = waits_for(row.facts, policy, wanted)
    assert ("a worker" in found.waits_for) <= (WaitsFor.CALL in moves), text
    assert ("a read that begins after" in found.waits_for) <= (WaitsFor.READ in moves or row.state is State.SHIPPED), (
        text
    )
    assert not (row.state.is_final and "a read that begins after" in found.waits_for), text
    everything = frozenset(CommandKind)
    stops = [
        one
        for one in wanted.attention
        if one.about.holds == everything
        or one.about.ends_by is EndsBy.RETRY
        or (CommandKind.IMPORT in one.about.holds and row.state is State.SHIPPING)
    ]
    if not due and stops:
        assert re.search("a person|a read|an upgrade", found.waits_for), text
