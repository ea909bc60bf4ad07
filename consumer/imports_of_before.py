"""What a version before sent to the OMS, made a fact: without it, nobody is told what Mirakl changes of that later.

That version stored the payload of an import with its command, and no fact of what the payload held (facts.Handover).
"""

from collections.abc import Callable
from typing import Final

from adapters.remotes.kornitx_order import pieces_in
from adapters.store import commands as command_rows
from adapters.store.commands import StoredPayload
from adapters.store.transaction import Store
from consumer.apply import OrderWriter
from statemachine.commands import CommandKind
from statemachine.events import Event, Trigger
from statemachine.facts import Facts, Handover

#: The source of these events.
SOURCE: Final = "/orderflow/imports-of-before"
#: How many orders one transaction changes.
BATCH: Final = 500


def keep_what_was_sent(store: Store, orders: OrderWriter, shop: str, before_batch: Callable[[], object]) -> None:
    """Apply an event to every open order of a shop that a version before imported. `before_batch` may raise Fenced.

    Raises StoreUnavailable.
    """
    stored = command_rows.payloads_without_handover(store, shop)
    for start in range(0, len(stored), BATCH):
        before_batch()
        orders.apply_alone(
            [event for one in stored[start : start + BATCH] if (event := _event_of(shop, one)) is not None]
        )


def _event_of(shop: str, sent: StoredPayload) -> Event | None:
    """The event that keeps the lines and pieces of a payload. None if the payload cannot be read.

    Addresses, texts and messages are not compared: how Mirakl showed them at the import is not known.
    """
    items = pieces_in(sent.payload)
    if not items:
        return None
    facts = Facts(handovers=(Handover(sent.opened_at, items),))
    note: dict[str, str | int] = {"command": CommandKind.IMPORT, "step": "sent_before"}
    event_id = str(sent.command_id)
    return Event(SOURCE, event_id, shop, sent.order_id, Trigger.CALL, sent.opened_at, facts, note=note)
