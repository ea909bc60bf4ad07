"""Counts and logs what people decided, from the journal.

A decision is applied by the process of the command line, whose counters nobody reads. So the process that holds the
relay's lease reads it from the journal, and calls the hooks as for an event of its own. Only then does it store how far
it has read. A crash between the hooks and the store repeats a log line, and loses nothing.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from adapters.ports import Clock, Partition, PartitionOffsets
from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store import progress as progress_rows
from adapters.store.journal import JournalRow
from adapters.store.progress import Advance
from adapters.store.transaction import Store
from consumer.hooks import Applied, Hooks

#: How often the journal is read.
EVERY: Final = timedelta(seconds=10)
#: Rows younger than this are left for later: a transaction that began earlier may commit a row with a lower id. It is
#: longer than a transaction can wait for a lock and for a statement (adapters/store/engine.py).
MARGIN: Final = timedelta(minutes=2)
#: The names of the position in the table of progress.
_CLUSTER, _GROUP, _PARTITION = "journal", "decisions", Partition("journal", 0)


class DecisionCount:
    """Tells the hooks each decision once. One thread calls `turn`."""

    def __init__(self, store: Store, clock: Clock, hooks: Hooks) -> None:
        self._store = store
        self._clock = clock
        self._hooks = hooks
        self._read_at = float("-inf")  # on the monotonic clock

    def turn(self) -> None:
        """Tell the hooks the decisions since the last time. Raises StoreUnavailable, Fenced.

        A store without a position begins at its newest row: earlier decisions are not reported again.
        """
        now = self._clock.monotonic()
        if now - self._read_at < EVERY.total_seconds():
            return
        self._read_at = now
        with self._store.transaction() as tx:
            newest = PartitionOffsets(first=journal_rows.last_id(tx), end=0)
            position = progress_rows.begin(tx, _CLUSTER, _GROUP, {_PARTITION: newest})[_PARTITION].position
        until = self._count(position, self._clock.now() - MARGIN)
        if until > position:
            with self._store.transaction() as tx:
                progress_rows.advance(tx, Advance(_CLUSTER, _GROUP, _PARTITION, position, until))

    def _count(self, position: int, recorded_until: datetime) -> int:
        """Tell the hooks the decisions in the rows after `position` that were recorded until `recorded_until`.

        Returns the id of the last of these rows, also of those without a decision; `position` if there is none.
        """
        until = journal_rows.id_before(self._store, position, recorded_until)
        for row in journal_rows.decisions(self._store, position, until):
            self._hooks.event_applied(self._applied(row))
        return until

    def _applied(self, row: JournalRow) -> Applied:
        order = order_rows.find(self._store, row.event.order_id, row.event.shop)[0]
        of_order = journal_rows.of_order(self._store, row.order_key)
        entered_at = of_order[0].recorded_at
        for one in of_order:
            if one.moved and one.version < row.version:
                entered_at = one.recorded_at
        seconds = (row.recorded_at - entered_at).total_seconds()
        return Applied(row.event, replace(order, state=row.after), row.result, row.before, seconds)
