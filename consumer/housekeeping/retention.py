"""Removes snapshots that nothing rests on (statemachine/questions/surplus_reads.py), of orders that ended a while ago.

Of such an order the store keeps the newest snapshot, those that a call, a report of the OMS or a decision rests on, and
the whole journal. So its facts can be proved as before, and what Mirakl showed when something was done can be shown.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Final

from structlog import get_logger

from adapters.ports import Clock, Partition, PartitionOffsets
from adapters.store import journal as journal_rows
from adapters.store import progress as progress_rows
from adapters.store import retention
from adapters.store.progress import Advance
from adapters.store.transaction import Store
from consumer.hooks import Hooks
from statemachine.questions.surplus_reads import surplus_reads

#: How often the end of the walk is set again: the last row of the journal that is old enough.
EVERY: Final = timedelta(hours=1)
#: The pause between two steps of the walk, so that a long walk takes a small part of a process.
PAUSE: Final = timedelta(seconds=1)
#: A step ends at the first of these: so many rows of the journal, so many orders at their end.
ROWS: Final = 1_000
ORDERS: Final = 100
#: The names under which the table of progress holds the position of the walk.
_CLUSTER, _GROUP, _PARTITION = "journal", "retention", Partition("journal", 0)

log = get_logger()


class Retention:
    """Walks the journal once, from its first row on, and thins each order at its last row. Not thread-safe.

    A later event of an order has a row of its own, so the walk meets the order again. The position is stored. An order
    that is locked by somebody, open or in need of a person is passed, and met again at its next event.
    """

    def __init__(self, store: Store, clock: Clock, hooks: Hooks, keep: timedelta) -> None:
        """`keep`: an order keeps all its snapshots for this time after its last event."""
        self._store = store
        self._clock = clock
        self._hooks = hooks
        self._keep = keep
        self._until = 0  # the id of the last row to walk
        self._looked_at = self._stepped_at = float("-inf")  # on the monotonic clock
        self._is_behind = False

    def turn(self, keep: Callable[[], object]) -> None:
        """Take a step of the walk, if one is due. `keep` renews the lease. Raises StoreUnavailable, Fenced."""
        now = self._clock.monotonic()
        if now - self._looked_at >= EVERY.total_seconds():
            self._looked_at = now
            self._until = journal_rows.id_at(self._store, self._clock.now() - self._keep) - 1
            self._is_behind = True
        if self._is_behind and now - self._stepped_at >= PAUSE.total_seconds():
            self._stepped_at = now
            keep()
            self._is_behind = self._step()

    def _step(self) -> bool:
        """Take a step. Returns whether more of the journal is to be walked."""
        with self._store.transaction() as tx:
            first = {_PARTITION: PartitionOffsets(first=0, end=0)}
            position = progress_rows.lock_or_insert(tx, _CLUSTER, _GROUP, first)[_PARTITION].position
        if position >= self._until:
            return False
        walked = retention.resting(self._store, position, self._until, rows=ROWS, orders=ORDERS)
        surplus = self._surplus(walked.orders)
        with self._store.transaction() as tx:
            progress_rows.advance(tx, Advance(_CLUSTER, _GROUP, _PARTITION, position, walked.until))
            count = retention.remove(tx, surplus) if surplus else 0
        if count:
            log.info("snapshots_removed", count=count, orders=len(surplus))
            self._hooks.snapshots_removed(count)
        return walked.until < self._until

    def _surplus(self, orders: list[retention.Resting]) -> dict[retention.Resting, frozenset[str]]:
        """The digests of the reads on which nothing rests, of each order that has some."""
        events = retention.events(self._store, [order.key for order in orders])
        found: dict[retention.Resting, frozenset[str]] = {}
        for order in orders:
            with suppress(Exception):  # an order that cannot be judged keeps its snapshots, and stops no other one
                found[order] = surplus_reads(events.get(order.key, ())) - {order.digest}
        return {order: digests for order, digests in found.items() if digests}
