"""Makes facts of the imports that an earlier version sent, so that a later change at Mirakl becomes a reason.

That version stored the payload of an import with its command, but no fact of what the payload held (facts.Handover).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from adapters.errors import OrdersWait
from adapters.remotes.kornitx_order import pieces_in
from adapters.store import commands as command_rows
from adapters.store.commands import StoredPayload
from adapters.store.facts_json import facts_from_json
from adapters.store.transaction import Store
from consumer.applying.apply import OrderWriter
from statemachine.commands import CommandKind
from statemachine.events import Event, Trigger
from statemachine.facts import Facts, Handover

#: The source of these events.
SOURCE: Final = "/orderflow/imports-of-before"
#: How many orders one transaction changes.
BATCH: Final = 500


def keep_what_was_sent(store: Store, orders: OrderWriter, shop: str, before_batch: Callable[[], object]) -> None:
    """Apply an event to every open order of a shop that an earlier version imported. `before_batch` may raise Fenced.

    Raises StoreUnavailable, and OrdersWait when all other orders are done.
    """
    stored = command_rows.payloads_without_handover(store, shop)
    seen: set[tuple[str, bytes]] = set()
    repeats = {}
    for one in stored:  # the oldest first
        repeats[one.command_id] = one.attempts > 1 or (one.order_id, one.payload) in seen
        seen.add((one.order_id, one.payload))
    waiting: set[tuple[str, str]] = set()
    for start in range(0, len(stored), BATCH):
        before_batch()
        batch = stored[start : start + BATCH]
        try:
            orders.apply_alone([event for one in batch if (event := _event_of(shop, one, repeats[one.command_id]))])
        except OrdersWait as error:
            waiting |= error.orders
    if waiting:
        raise OrdersWait(waiting)


def _event_of(shop: str, sent: StoredPayload, is_repeat: bool) -> Event | None:
    """The event that keeps the lines and pieces of a payload. None if the payload or the order cannot be
    read.

    Addresses, texts and messages are not compared: how Mirakl showed them at the import is not known. `is_repeat`: the
    payload was sent more than once. Then a try before its refusal may have landed (Rejection.maybe_there).
    """
    items = pieces_in(sent.payload)
    if not items:
        return None
    try:
        ends = facts_from_json(sent.facts).rejections if is_repeat else ()
    except Exception:  # it costs no other order; this one is quarantined when it is planned
        return None
    refusals = [no for no in ends if no.kind == CommandKind.IMPORT and no.round == sent.round]
    facts = Facts(
        handovers=(Handover(sent.opened_at, items),),
        rejections=tuple(replace(no, maybe_there=True) for no in refusals),
    )
    note: dict[str, str | int] = {"command": CommandKind.IMPORT, "step": "sent_before"}
    event_id = str(sent.command_id)
    return Event(SOURCE, event_id, shop, sent.order_id, Trigger.CALL, sent.opened_at, facts, note=note)
