"""What a person decides: an act on an order is an event like any other; a switch of a shop is audited."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from adapters.store import commands as command_rows
from adapters.store import orders as order_rows
from adapters.store.commands import CommandRow
from adapters.store.orders import OrderRow
from adapters.store.transaction import Store
from consumer.apply import OrderWriter
from consumer.operations.errors import NotPossible, NotUnique, require_reason
from statemachine.attention import REASONS, Reason
from statemachine.commands import CommandKind, CommandState
from statemachine.events import Event, Trigger
from statemachine.facts import Decision, DecisionKind, Facts
from statemachine.readings import is_pending, last_answer, mirakl_state

SOURCE: Final = "/orderflow/person"

#: What a person can do to an order.
ACTS: Final = tuple(DecisionKind)


# -- Orders ------------------------------------------------------------------------------------------------------


def act(
    store: Store,
    orders: OrderWriter,
    order: OrderRow,
    kind: DecisionKind,
    *,
    shops: Collection[str],
    who: str,
    why: str,
    at: datetime,
) -> OrderRow:
    """Apply one act; the order as it is then. `shops`: those of the configuration.

    Raises NotPossible where it would do nothing.
    """
    if order.shop not in shops:  # apply would plan its calls by a policy that is not the shop's
        raise NotPossible(f"{_name(order)}: its shop is not in the configuration")
    require_reason(why)
    subject = _SUBJECT[kind](store, order, at)
    says = Facts(decisions=(Decision(at, kind, who, why, subject),))
    event = Event(SOURCE, uuid.uuid4().hex, order.shop, order.order_id, Trigger.DECISION, at, says, note={"act": kind})
    with store.transaction() as tx:
        applied = orders.apply_in(tx, [event])
        if kind == DecisionKind.RETRY:
            command_rows.retry_now(tx, order.key, at)
    orders.report(applied)
    return order_rows.find(store, order.order_id, order.shop)[0]


def find(store: Store, order_id: str, shop: str | None = None) -> OrderRow:
    """The order with this id. Raises NotPossible if there is none, NotUnique if two shops have one."""
    rows = order_rows.find(store, order_id, shop)
    if not rows:
        raise NotPossible(f"there is no order {order_id}" + (f" of shop {shop}" if shop else ""))
    if len(rows) > 1:
        raise NotUnique(f"{order_id} is an order of {' and '.join(sorted(row.shop for row in rows))}: say --shop")
    return rows[0]


def _decision(_store: Store, order: OrderRow, _at: datetime) -> tuple[str, ...]:
    """accept, refuse: only while Mirakl waits for the answer."""
    _not_final(order)
    if mirakl_state(order.facts) not in ("", "STAGING", "WAITING_ACCEPTANCE"):
        raise NotPossible(f"{_name(order)} waits for no decision any more: it is {order.state}")
    if is_pending(order.facts, last_answer(order.facts, CommandKind.ACCEPT)):
        raise NotPossible(f"{_name(order)}: Mirakl has our answer already; a read has to show it first")
    return ()


def _hold(_store: Store, order: OrderRow, _at: datetime) -> tuple[str, ...]:
    _not_final(order)
    if Reason.HELD in _reasons(order):
        raise NotPossible(f"{_name(order)} is held already")
    return ()


def _settled(_store: Store, order: OrderRow, _at: datetime) -> tuple[str, ...]:
    """Everything that needs attention now, but for what cannot be settled."""
    settled = [one for one in order.attention if one.reason not in _NEVER_SETTLED]
    if not settled:
        missing_row = " but no_edge, which only an upgrade ends" if order.attention else ""
        raise NotPossible(f"{_name(order)}: nothing to settle{missing_row}")
    # The decision itself ends a hold. If it named the hold, a later hold would count as settled too.
    return tuple(one.token for one in settled if one.reason != Reason.HELD)


def _retried(store: Store, order: OrderRow, at: datetime) -> tuple[str, ...]:
    """Every call that ended without success. None, but a call that waits in back-off: that one is hurried."""
    commands = command_rows.of_order(store, order.key)
    subject = tuple(str(command.key.next_round) for command in _ended(order, commands))
    if not subject and not any(c.state is CommandState.OPEN and c.next_at > at for c in commands):
        raise NotPossible(
            f"{_name(order)}: nothing to retry: no call was refused or given up, and none waits for its next try"
        )
    return subject


_SUBJECT: Final = {
    DecisionKind.ACCEPT: _decision,
    DecisionKind.REFUSE: _decision,
    DecisionKind.HOLD: _hold,
    DecisionKind.SETTLE: _settled,
    DecisionKind.RETRY: _retried,
}
#: Reasons that no decision ends.
_NEVER_SETTLED: Final = {reason for reason, about in REASONS.items() if not about.can_be_settled}


def _ended(order: OrderRow, commands: Sequence[CommandRow]) -> list[CommandRow]:
    """The last round of each command, where it was refused or given up, or said yes to and never done."""
    last = {(c.kind, c.carries): c for c in sorted(commands, key=lambda c: c.round)}
    never_done = {one.command for one in order.attention if one.reason == Reason.NOT_APPLIED}
    return [
        c
        for c in last.values()
        if c.state in (CommandState.REJECTED, CommandState.GAVE_UP)
        or (c.state is CommandState.DONE and c.kind in never_done)
    ]


def _not_final(order: OrderRow) -> None:
    if order.state.is_final:
        raise NotPossible(f"{_name(order)} is {order.state}, which is final")


def _reasons(order: OrderRow) -> set[str]:
    return {one.reason for one in order.attention}


def _name(order: OrderRow) -> str:
    return f"{order.shop} {order.order_id}"
