"""What people and remotes call an order: for the search by text (adapters/store/names.py)."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from adapters.errors import Unreadable
from adapters.messages.json_slices import load_object
from adapters.messages.references import references_of
from adapters.ports import Clock
from adapters.store import names as name_rows
from adapters.store import unnamed as unnamed_rows
from adapters.store.orders import OrderRow
from adapters.store.transaction import Store
from statemachine.events import Event
from statemachine.facts import Facts

#: How many orders one transaction gives their names.
BATCH: Final = 300
#: How often orders without names are looked for, once none was found.
EVERY_SECONDS: Final = 60.0
#: The facts in which names stand.
_WITH_NAMES: Final = ("snapshot", "unknown", "parts", "sent", "dispatches")


def names_of(facts: Facts) -> set[str]:
    """The names that facts give an order: ids and SKUs of lines, ids in the OMS, and trackings. "" may be one."""
    found: set[str] = set()
    if newest := facts.newest:
        for line in newest.lines:
            found |= {line.id, line.sku}
        found.add(newest.tracking.number)
    for part in facts.parts:
        found |= {str(part.oms_id), part.ref}
    found |= {one.number for one in facts.sent}
    found |= {one.tracking.number for one in facts.dispatches}
    return found


def new_names(before: OrderRow, after: Facts, event: Event) -> set[str]:
    """The names that an event adds to an order. `before`: the order with its names until then, if they are stored."""
    was = before.facts
    if not before.version:
        return names_of(after) | {before.order_id, *event.references}
    if all(getattr(after, name) == getattr(was, name) for name in _WITH_NAMES):
        return set()
    found = names_of(after) - names_of(was)
    if event.references and (after.newest and after.newest.references) != (was.newest and was.newest.references):
        found |= {*event.references}
    return found


def stored_names(row: OrderRow, body: bytes | None) -> set[str]:
    """All names of a stored order. `body`: the bytes of its newest read, which hold its references."""
    found = names_of(row.facts) | {row.order_id}
    if body is not None:
        with suppress(Unreadable):
            found |= {*references_of(row.order_id, load_object(body))}
    return found


def unnamed(store: Store) -> Iterator[tuple[OrderRow, set[str]]]:
    """Yield every order whose names are not stored, with its names."""
    last = 0
    while page := unnamed_rows.page(store, last, BATCH):
        for row, body in page:
            yield row, stored_names(row, body)
        last = page[-1][0].key


class Naming:
    """Stores the names of orders that older code wrote. Not thread-safe: one thread calls `turn`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._last = 0  # the row key up to which this round has come
        self._looked_at = float("-inf")  # on the monotonic clock

    def turn(self, keep: Callable[[], object]) -> None:
        """Give at most BATCH orders their names. `keep` renews the lease before the transaction.

        An order that cannot be read, or that is locked, is left for the next round. Raises StoreUnavailable, Fenced.
        """
        monotonic = self._clock.monotonic()
        if not self._last and monotonic - self._looked_at < EVERY_SECONDS:
            return
        self._looked_at = monotonic
        page = unnamed_rows.page(self._store, self._last, BATCH)
        self._last = page[-1][0].key if len(page) == BATCH else 0
        found = {(row.key, row.version): stored_names(row, body) for row, body in page if row.quarantine is None}
        if found:
            keep()
            with self._store.transaction() as tx:
                name_rows.fill(tx, found)
