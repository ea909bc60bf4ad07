"""Stores the urgency of orders that need a person, if older code wrote them: for `orders list --attention`."""

from collections.abc import Callable
from typing import Final

from adapters.ports import Clock
from adapters.store import urgencies as urgency_rows
from adapters.store.transaction import Store
from adapters.store.urgencies import InNeed
from statemachine.attention.urgency_of_order import most_urgent
from statemachine.urgency import Urgency

#: How many orders one transaction gives their urgency.
BATCH: Final = 300
#: How often orders without a stored urgency are looked for, once none was found.
EVERY_SECONDS: Final = 60.0


class Urgencies:
    """Stores the urgency of orders. The first round looks at all orders that need a person: the version that stored
    their urgency may have had another table of reasons. Not thread-safe: one thread calls `turn`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._is_first = True
        self._left: list[int] = []  # the row keys of this round, the next one last
        self._looked_at = float("-inf")  # on the monotonic clock

    def turn(self, keep: Callable[[], object]) -> None:
        """Look at no more than BATCH orders. `keep` renews the lease before the transaction.

        An order that cannot be read, or that is locked, is left for the next round. Raises StoreUnavailable, Fenced.
        """
        if not self._left and not self._begin():
            return
        some = [self._left.pop() for _ in range(min(BATCH, len(self._left)))]
        found = [(one, urgency) for one in urgency_rows.read(self._store, some) if (urgency := _new_urgency(one))]
        if found:
            keep()
            with self._store.transaction() as tx:
                urgency_rows.store_urgency(tx, found)

    def _begin(self) -> bool:
        """Begin a round. Returns whether there is anything to do."""
        monotonic = self._clock.monotonic()
        if monotonic - self._looked_at < EVERY_SECONDS:
            return False
        self._looked_at = monotonic
        self._left = urgency_rows.keys(self._store, also_stored=self._is_first)
        self._is_first = False
        return bool(self._left)


def _new_urgency(one: InNeed) -> Urgency | None:
    """The urgency to store. None: it is stored already."""
    try:
        urgency = most_urgent(one.row.attention, None if one.row.quarantine else one.row.facts)
    except Exception:  # it stops no other order; an open one is quarantined when it is planned
        urgency = most_urgent(one.row.attention, None)
    return None if urgency is one.row.urgency else urgency
