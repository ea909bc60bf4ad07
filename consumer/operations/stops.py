"""What stops the calls of an order, who or what ends that, and which calls are made then.

An attention reason stops calls in two ways: it holds calls, or its call ended without success. A reason that holds an
import stops nothing of an order that the OMS has, so only calls that the order can need in its state count.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from adapters.store.orders import OrderRow
from consumer.operations.calls import what_it_does
from statemachine.commands import CommandKind, Policy
from statemachine.facts import Decision, DecisionKind, Facts
from statemachine.joining import join
from statemachine.occurrences import seen_in
from statemachine.plan import plan
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from statemachine.states import State
from statemachine.urgency import EndsBy

_SHIP: Final = frozenset({CommandKind.TRACK, CommandKind.CONFIRM})
#: The calls that an order can need in a state. In a state without a row no call is needed.
_CALLS_OF: Final[Mapping[State, frozenset[CommandKind]]] = {
    State.WAITING_ACCEPTANCE: frozenset({CommandKind.ACCEPT}),
    State.SHIPPING: frozenset({CommandKind.IMPORT}),
    State.IMPORTED: _SHIP | {CommandKind.ACCEPT},
    State.DISPATCHED: _SHIP | {CommandKind.ACCEPT},
    State.SHIPPED: frozenset({CommandKind.TRACK}),
}
#: What a read of Mirakl has to show, for the reasons that hold calls and that only a read ends.
_READS: Final = {
    Reason.UNKNOWN_STATE: "a read of Mirakl that shows a state which this version knows",
    Reason.NOT_OURS_TO_SHIP: "a read of Mirakl that shows that the shop ships the order",
    Reason.QUANTITY_MISSING: "a read of Mirakl that shows the quantity",
}
_COMMANDS: Final = {
    EndsBy.SETTLE: "`orders settle`",
    EndsBy.RELEASE: "`orders release`",
    EndsBy.UPGRADE: "an upgrade",
}


def stopping(order: OrderRow) -> list[Attention]:
    """The reasons that stop a call of the order."""
    return [one for one in order.attention if _stops_every_call(one) or _held(one, order) or _failed(one)]


def _stops_every_call(one: Attention) -> bool:
    return len(one.about.holds) == len(CommandKind)


def _held(one: Attention, order: OrderRow) -> frozenset[CommandKind]:
    """The calls that the reason holds and that the order can need."""
    return one.about.holds & _CALLS_OF.get(order.state, frozenset())


def _failed(one: Attention) -> bool:
    return one.about.ends_by is EndsBy.RETRY


def who_ends(one: Attention) -> str:
    """Who or what ends the reason, and what the reason means."""
    if one.about.ends_by is EndsBy.FACT:
        return _READS.get(Reason(one.reason), f"a read of Mirakl: {one.about.meaning}")
    who = "an upgrade" if one.about.ends_by is EndsBy.UPGRADE else "a person"
    return f"{who}: {one.about.meaning}" + (f" ({one.command})" if one.command else "")


def what_follows(order: OrderRow, policy: Policy, now: datetime) -> list[str]:
    """What ends each stop, and which calls are made then, if a person ends it now."""
    stops = stopping(order)
    found = [_of_failed(one, order, policy) for one in stops if _failed(one)]
    holds = [one for one in stops if not _failed(one)]
    if not holds:
        return found
    ends = " and ".join(dict.fromkeys(what_ends(one) for one in holds))
    calls = _made_after(order, policy, holds, now)
    if calls:
        return [f"after {ends}: {', '.join(calls)}", *found]
    held = frozenset[CommandKind]().union(*(_held(one, order) for one in holds))
    names = [kind.operation for kind in CommandKind if kind in held]
    if any(_stops_every_call(one) for one in holds):
        names = ["call"]
    return [f"no {' and no '.join(names)} until {ends}", *found]


def what_ends(one: Attention) -> str:
    """The command or the read that ends a reason which holds calls."""
    if one.about.ends_by is EndsBy.FACT:
        return _READS.get(Reason(one.reason), "a read of Mirakl shows something else")
    return _COMMANDS[one.about.ends_by]


def _of_failed(one: Attention, order: OrderRow, policy: Policy) -> str:
    """What makes a call once more that ended without success."""
    if one.reason == Reason.ALREADY_IN_OMS:
        return "after `orders settle`: the order counts as imported"
    kind = one.command
    call = f"{kind.operation} ({kind})" if kind else "the call"
    if one.reason is Reason.SHIPMENT_REJECTED and _is_tracking_due(order.facts, policy):  # OR24 rests on the tracking
        return f"then {call} is made once more"
    return f"{call} is not made again until `orders retry`{_NEW_ROUND.get((one.reason, kind), '')}"


def _is_tracking_due(facts: Facts, policy: Policy) -> bool:
    return any(one.kind is CommandKind.TRACK for one in plan(facts, policy).due)


#: What makes a call once more that was refused or given up, beside a person (statemachine/plan.py: what it carries, and
#: what it is based on).
_NEW_ROUND: Final[Mapping[tuple[Reason, CommandKind | None], str]] = {
    (Reason.ACCEPT_REJECTED, CommandKind.ACCEPT): "; if nobody answers, Mirakl refuses the order after its deadline",
    (Reason.IMPORT_REJECTED, CommandKind.IMPORT): ", or until Mirakl changes the order",
    (Reason.TRACKING_REJECTED, CommandKind.TRACK): ", or until the OMS reports another tracking",
    (Reason.GAVE_UP, CommandKind.TRACK): ", or until the OMS reports another tracking",
    (Reason.SHIPMENT_REJECTED, CommandKind.CONFIRM): ", or until Mirakl shows another tracking",
}


def _made_after(order: OrderRow, policy: Policy, holds: Sequence[Attention], now: datetime) -> list[str]:
    """The calls that become due if a person ends these reasons now. Empty if one ends without a person's decision."""
    kinds = {EndsBy.SETTLE: DecisionKind.SETTLE, EndsBy.RELEASE: DecisionKind.RELEASE}
    if any(one.about.ends_by not in kinds for one in holds):
        return []
    decisions = tuple(
        Decision(now, kind, "", "", tuple(one.token for one in holds if one.about.ends_by is end), seen_in(order.facts))
        for end, kind in kinds.items()
    )
    facts = join(order.facts, Facts(decisions=decisions))
    due = {one.key for one in plan(order.facts, policy).due}
    return [what_it_does(one.key, facts, policy) for one in plan(facts, policy).due if one.key not in due]
