"""After any history an order waits for something, or is on the list of those that need a person.

Also no call is due that would do harm, a settled reason that ended is told when it comes again, and the clock wakes the
order before time alone changes its plan.

`ORDERFLOW_TEST_HISTORIES=100000 .venv/bin/pytest tests/statemachine/test_walk.py` takes six minutes.
"""

import os
from datetime import UTC, datetime, timedelta

from statemachine.commands import CommandKind
from statemachine.facts import (
    AFTER_SHIPPING,
    DEBIT,
    KNOWN_STATES,
    PAY_ON_DELIVERY,
    PAY_ON_DUE_DATE,
    PAY_ON_SHIPMENT,
    VOUCHED,
    DecisionKind,
    Facts,
    Snapshot,
    age_of,
)
from statemachine.joining import join
from statemachine.machine import EventResult
from statemachine.plan import plan
from statemachine.questions.in_oms import is_confirmed_by_us, unfinished_parts
from statemachine.questions.parcels import sent_quantity
from statemachine.questions.payloads import what_oms_got
from statemachine.questions.readings import is_ended_everywhere
from statemachine.reasons import Reason
from statemachine.states import State
from statemachine.waits import WaitsFor, waits_for
from tests.statemachine.lives import without_objectives
from tests.statemachine.walk import Walk

HISTORIES = int(os.environ.get("ORDERFLOW_TEST_HISTORIES", "3000"))
STEPS = 25
FAR = datetime(2126, 1, 1, tzinfo=UTC)
#: Mirakl normally never goes back to these states. If it does, the order has the reason `no_edge`.
BACK = (State.NEW, State.WAITING_ACCEPTANCE, State.ACCEPTED, State.AWAITING_PAYMENT)


def lost(seed: int) -> str:
    """Walk over one history. Returns what is wrong with its order, with all its steps; an empty text if nothing is."""
    walk = Walk(seed)
    for _ in range(STEPS):
        may_miss = walk.state.is_final or walk.is_told(Reason.NO_EDGE)
        result = walk.step()
        if result is EventResult.NO_EDGE and not may_miss and walk.wanted not in BACK:
            return f"history {seed}: no edge from {walk.state} to {walk.wanted}\n" + "\n".join(walk.steps)
        lost_now = silent(walk) if walk.steps and not walk.state.is_at_its_end else ""
        why = harmful(walk) or forgotten(walk) or unnoticed(walk) or left_silently(walk) or lost_now
        if why:
            return f"history {seed}: {why} in {walk.state}\n" + "\n".join(walk.steps)
    return untimely(walk)


def harmful(walk: Walk) -> str:
    """What is wrong with the due calls, if one of them must not be made. Empty: nothing is."""
    due, snapshot = {one.kind for one in walk.plan.due}, walk.facts.snapshot
    if not due:
        return ""
    if snapshot is None or walk.facts.newest is not snapshot or walk.is_told(Reason.HELD):
        return f"{due} due although nobody knows whether it may be made"
    is_ours = snapshot.can_ship and snapshot.centre in walk.policy.centres
    if CommandKind.IMPORT in due and walk.facts.dispatches:
        return "an import of goods that left"
    if CommandKind.IMPORT in due and not (snapshot.state == "SHIPPING" and snapshot.owed_lines and is_ours):
        return "an import that nobody owes"
    if due & {CommandKind.TRACK, CommandKind.CONFIRM} and not walk.facts.dispatches:
        return "a shipment that nobody reported"
    if CommandKind.CONFIRM in due and (short := never_made(walk.facts, snapshot)):
        return f"a shipment of pieces that the OMS never got: {short}"
    return ""


def forgotten(walk: Walk) -> str:
    """A reason that the order has, that is not told, and that no person settled since it last ended. Empty: none."""
    snapshot = walk.facts.snapshot
    if snapshot is None:
        return ""
    reads = [one for one in walk.reads if one.state in KNOWN_STATES]
    ended: dict[str, list[Snapshot]] = {}  # for each reason the reads in which it had ended
    # If goods left of an order of which nothing is to be sent, withdrawn_after_import stands in place of incidents.
    is_of_order = bool(walk.facts.dispatches) and snapshot.state == "SHIPPING" and not snapshot.owed_lines
    # Of a line that the OMS canceled while it made others, nothing leaves with them.
    for line in snapshot.lines:
        if line.state == "INCIDENT_OPEN" and not (is_of_order or is_ended_everywhere(walk.facts, line.id)):
            others = [one for one in reads if line.state not in (x.state for x in one.lines if x.id == line.id)]
            ended[f"{Reason.LINE_INCIDENT}:{line.id} {line.state}"] = others
    if walk.state is State.IMPORTED and snapshot.state in DEBIT and snapshot.workflow != PAY_ON_SHIPMENT:
        ended[f"{Reason.PAYMENT_AWAITED_AGAIN}:{snapshot.state}"] = [one for one in reads if one.state not in DEBIT]
    settled = [token for one in walk.facts.decisions if one.kind is DecisionKind.SETTLE for token in one.subject]
    both = (Reason.LINES_CANCELED_AFTER_IMPORT, Reason.WITHDRAWN_AFTER_IMPORT)
    is_settled = any(token.startswith(f"{reason}:") for reason in both for token in settled)
    stopped = {token.split(":")[1].split(" ")[0] for token in settled if token.startswith(f"{Reason.LINE_INCIDENT}:")}
    back = [line.id for line in snapshot.lines if line.is_taken_back and line.state != "SHIPPED" and not line.shipped]
    ended_there = {line for line in back if is_ended_everywhere(walk.facts, line)}  # oms_canceled asked about these
    still = [line for line in back if line not in stopped | ended_there]
    made = [line for line in still for got in what_oms_got(walk.facts) if dict(got.items).get(line)]
    if made and walk.state is State.IMPORTED and not (is_settled or any(map(walk.is_told, both))):
        return f"nobody is told to take {made} out of the OMS"
    is_on_shipment = snapshot.state in DEBIT and snapshot.workflow == PAY_ON_SHIPMENT
    if walk.state is State.IMPORTED and is_on_shipment and unfinished_parts(walk.facts):
        expected = {Reason.SHIPPED_ELSEWHERE, Reason.PAYMENT_AWAITED_AGAIN}
        names = {token.split(":")[0] for token in settled} | {one.reason for one in walk.plan.attention}
        if not expected & names and not is_confirmed_by_us(walk.facts):
            return "nobody is told that Mirakl debits what the OMS did not send"
    for token, without in ended.items():
        newest = max(without, key=age_of, default=None)
        settles = [one for one in walk.facts.decisions if token in one.subject]
        is_settled = any(
            (newest is None or is_known(newest, walk.decided_on[one.at]))
            and not (left_since(walk, walk.decided_on[one.at]) and token.startswith(f"{Reason.LINE_INCIDENT}:"))
            for one in settles
        )
        if not is_settled and not any(one.token == token for one in walk.plan.attention):
            return f"nobody is told {token}"
    return ""


def left_since(walk: Walk, seen: Facts) -> bool:
    """Whether one status, the only report that goods left, says that the whole order left, and the person who saw these
    facts did not know it."""
    of_parts = [part.lines for part in walk.facts.parts]
    has_all = len(of_parts) == 1 and {line.id for line in walk.lines} <= {*of_parts[0]}
    left = [one for one in walk.facts.dispatches if one.covers == "order" and one.oms_id != VOUCHED and not one.items]
    return has_all and len(walk.facts.dispatches) == 1 and bool(left) and left[0] not in seen.dispatches


def is_known(read: Snapshot, facts: Facts) -> bool:
    """Whether these facts hold a read that is not older than this one."""
    return facts.snapshot is not None and age_of(facts.snapshot) >= age_of(read)


def unnoticed(walk: Walk) -> str:
    """What is wrong if this step reported that goods left, though no line is to be sent. Empty: nothing is.

    No person can have settled that before, so the order is on the list.
    """
    (facts, _), snapshot = walk.earlier[-1], walk.facts.snapshot
    if snapshot is None or snapshot.state != "SHIPPING" or snapshot.owed_lines:
        return ""
    new = {*walk.facts.dispatches} - {*facts.dispatches}
    known = {one.oms_id for one in facts.dispatches if one.covers}
    left = [one for one in new if one.covers == "order" and one.oms_id not in known | {VOUCHED}]
    # A line that Mirakl shows shipped was marked so in the portal: somebody knows that it leaves.
    marked = [one.id for one in snapshot.lines if one.shipped or one.state in AFTER_SHIPPING]
    taken_back = [one for one in snapshot.lines if one.is_taken_back and one.id not in marked]
    stays = taken_back + [one for one in snapshot.lines if one.has_incident]
    if not left or not stays or any(one.items for one in facts.dispatches) or VOUCHED in known:
        return ""
    expected = {Reason.WITHDRAWN_AFTER_IMPORT, Reason.NO_EDGE}
    return "" if expected & {one.reason for one in walk.plan.attention} else f"goods left unnoticed: {left}"


def left_silently(walk: Walk) -> str:
    """What is wrong if a canceled line left with a shipped order, and no person was asked about a line. Empty: nothing
    is.

    The canceled line may have been read for the first time after the shipment.
    """
    facts, snapshot, got = walk.facts, walk.facts.snapshot, what_oms_got(walk.facts)
    if walk.state is not State.SHIPPED or snapshot is None or snapshot.workflow in (PAY_ON_DELIVERY, PAY_ON_DUE_DATE):
        return ""
    canceled = [line.id for line in snapshot.lines if line.state == "CANCELED" and not line.shipped]
    made = [line for line in canceled if got and all(dict(one.items).get(line) for one in got)]
    of_parts = {(part.oms_id, part.lines) for part in facts.parts}
    has_all = len(of_parts) == 1 and all({*made} <= {*lines} for _, lines in of_parts)
    left = [one for one in facts.dispatches if one.covers == "order" and one.oms_id in {part for part, _ in of_parts}]
    told_otherwise = facts.cancellations or any(one.items or one.oms_id == VOUCHED for one in facts.dispatches)
    asked = any(one.kind is DecisionKind.SETTLE for one in facts.decisions)
    if not (made and has_all and left) or told_otherwise or asked or walk.is_told(Reason.NO_EDGE):
        return ""
    return "" if walk.is_told(Reason.LINES_CANCELED_AFTER_IMPORT) else f"no reason shows that {made} left"


def never_made(facts: Facts, snapshot: Snapshot) -> list[str]:
    """The lines of which the OMS may have fewer pieces than are owed, and neither parcels nor a person tell that the
    rest left."""
    got = [dict(one.items) for one in what_oms_got(facts) if one.items]
    if not got:
        return []
    sent = {line.id: sent_quantity(facts, line.id) for line in snapshot.lines}
    for line_id, pieces in (line for one in facts.dispatches if one.oms_id == VOUCHED for line in one.vouched):
        sent[line_id] = max(sent.get(line_id, 0), pieces or 1_000)  # 0: the person saw no number
    ended = {line.id for line in snapshot.lines if line.id in lines_ended(facts)}
    owed = [line for line in snapshot.owed_lines if line.quantity is not None and line.id not in ended]
    return [
        one.id for one in owed if max(min(items.get(one.id, 0) for items in got), sent[one.id]) < (one.quantity or 0)
    ]


def lines_ended(facts: Facts) -> set[str]:
    """Lines that the OMS canceled, alone or with their part: a person settled that, so nobody waits for them."""
    whole = {one.oms_id for one in facts.cancellations if not one.items}
    named = {line for one in facts.cancellations for line, _ in one.items}
    return named | {line for part in facts.parts if part.oms_id in whole for line in part.lines}


def untimely(walk: Walk) -> str:
    """What is wrong if time alone changes the plan before the clock wakes the order. Empty: it does not."""
    wakes_at = walk.plan.wakes_at
    before = Facts(clock=wakes_at - timedelta(microseconds=1) if wakes_at else FAR)
    found = (plan(walk.facts, walk.policy), plan(join(walk.facts, before), walk.policy))
    now, then = map(without_objectives, found)
    return "" if now == then else f"history {walk.seed}: {now} becomes {then}\n" + "\n".join(walk.steps)


def silent(walk: Walk) -> str:
    """Why the order is lost: it waits for nothing, or only for a deadline (statemachine/waits.py). Empty: not lost.

    An order may wait for its deadline alone only if the OMS canceled all of it and a person settled that.
    """
    waiting = waits_for(walk.facts, walk.policy, walk.plan)
    if waiting == {WaitsFor.TIME}:
        canceled = {one.oms_id for one in walk.facts.cancellations if not one.items}
        return "" if canceled.issuperset(part.oms_id for part in walk.facts.parts) else "waits for its deadline alone"
    return "" if waiting else "waits for nothing"


def test_no_order_is_lost_or_does_harm_in_any_history() -> None:
    found = [why for seed in range(HISTORIES) if (why := lost(seed))]
    assert not found, f"{len(found)} of {HISTORIES}\n" + "\n\n".join(found[:5])
