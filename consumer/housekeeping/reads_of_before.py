"""Reads the newest stored version of an order again, if an earlier version of orderflow read it.

A version may keep other facts of a read than the one before. An order that does not change at Mirakl is read again
within a day (docs/rules.md 17). If it changes before that, the only read that shows it as it was has been read by the
version before. So two things would be missing:

- The digests of its contents in the formula of this version (statemachine/questions/formulas.py). With them the next
  read shows whether an address or a text changed.
- What stopped the order, such as a line in an incident (statemachine/questions/stops.py). Without it, nothing tells a
  person to go on when the line is to be sent again.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from adapters.errors import OrdersWait, StoreUnavailable, Unreadable
from adapters.messages.contents import is_of_this_version
from adapters.messages.snapshots import read_of
from adapters.store import snapshots as snapshot_rows
from adapters.store.facts_json import facts_from_json
from adapters.store.open_facts import StoredFacts, open_facts
from adapters.store.transaction import Store
from consumer.applying.apply import OrderWriter
from statemachine.events import Event, Trigger
from statemachine.facts import Facts, Snapshot
from statemachine.joining import snapshot_facts
from statemachine.questions.formulas import formula_of
from statemachine.questions.stops import stops_of

#: The source of these events.
SOURCE: Final = "/orderflow/reads-of-before"
#: How many orders are read at once, and changed in one transaction.
BATCH: Final = 500


def read_stored_again(store: Store, orders: OrderWriter, shop: str, before_batch: Callable[[], object]) -> None:
    """Apply an event to every open order of a shop of which something is missing. `before_batch` may raise Fenced.

    Raises StoreUnavailable, and OrdersWait when all other orders are done.
    """
    waiting: set[tuple[str, str]] = set()
    after = 0
    while rows := open_facts(store, shop, after, BATCH):
        before_batch()
        after = rows[-1].key
        events = [event for row in rows if (event := _event_of(store, shop, row)) is not None]
        try:
            if events:
                orders.apply_alone(events)
        except OrdersWait as error:
            waiting |= error.orders
    if waiting:
        raise OrdersWait(waiting)


def _event_of(store: Store, shop: str, row: StoredFacts) -> Event | None:
    try:
        return _missing(store, shop, row)
    except StoreUnavailable:
        raise
    except Exception:  # it costs no other order; this one is quarantined if it cannot be planned
        return None


def _missing(store: Store, shop: str, row: StoredFacts) -> Event | None:
    facts = facts_from_json(row.facts)
    read = facts.snapshot
    if read is None:
        return None
    if not all(is_of_this_version(name, formula_of(digest)) for name, digest in read.contents):
        return _read_again(store, shop, row, read)
    known = dict(facts.stops)
    missing = tuple((what, at) for what, at in stops_of(read) if what not in known or known[what] < at)
    if read.is_remembered or not missing:
        return None
    event_id = f"{row.order_id}:{read.digest}:{read.read_at.isoformat()}:stops"
    return Event(SOURCE, event_id, shop, row.order_id, Trigger.SNAPSHOT, read.read_at, Facts(stops=missing))


def _read_again(store: Store, shop: str, row: StoredFacts, read: Snapshot) -> Event | None:
    """The event that the stored bytes of this read were read again. None if the store does not have them, or if they
    cannot be read.

    Then the digests of the next read count as those of what the OMS has. A change that this read is the first to show
    is not seen, but otherwise every open order would come to the list with a change that nobody made.
    """
    raw = snapshot_rows.find(store, row.key, read.digest)
    if raw is None:
        return None
    try:  # a moment later, so that it is newer than the read by the version before, and older than any other
        _, again, references = read_of(raw, read.read_at + timedelta(microseconds=1))
    except Unreadable:
        return None
    event_id = f"{row.order_id}:{read.digest}:{again.read_at.isoformat()}:read again"
    event = Event(SOURCE, event_id, shop, row.order_id, Trigger.SNAPSHOT, again.read_at, snapshot_facts(again))
    return replace(event, raw=raw, digest=again.digest, references=references)
