"""Counts and logs what people decided, from the journal.

A decision is applied by the process of the command line, and Prometheus does not read the counters of that process. So
the process that holds the relay's lease reads the decisions from the journal, and calls the hooks as for an event of
its own. After that, it stores how far it has read. If it fails in between, the decisions are counted and logged twice,
and none is lost.
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
#: Rows younger than this are read later, because a transaction that began earlier may still commit a row with a lower
#: id. The margin is longer than a transaction can wait for a lock and for a statement (adapters/store/engine.py).
MARGIN: Final = timedelta(minutes=2)
#: The names under which the table of progress holds the position in the journal.
_CLUSTER, _GROUP, _PARTITION = "journal", "decisions", Partition("journal", 0)


class DecisionCount:
    """Reports each decision to the hooks. Not thread-safe: one thread calls `turn`."""

    def __init__(self, store: Store, clock: Clock, hooks: Hooks) -> None:
        self._store = store
        self._clock = clock
        self._hooks = hooks
        self._read_at = float("-inf")  # on the monotonic clock

    def turn(self) -> None:
        """Report the decisions since the last time. Raises StoreUnavailable, Fenced.

        If the store has no position yet, reading begins after the newest row, so earlier decisions are not reported.
        """
        now = self._clock.monotonic()
        if now - self._read_at < EVERY.total_seconds():
            return
        self._read_at = now
        with self._store.transaction() as tx:
            newest = PartitionOffsets(first=journal_rows.last_id(tx), end=0)
            position = progress_rows.lock_or_insert(tx, _CLUSTER, _GROUP, {_PARTITION: newest})[_PARTITION].position
        until = self._count(position, self._clock.now() - MARGIN)
        if until > position:
            with self._store.transaction() as tx:
                progress_rows.advance(tx, Advance(_CLUSTER, _GROUP, _PARTITION, position, until))

    def _count(self, position: int, recorded_until: datetime) -> int:
        """Report the decisions in the rows after `position` that were recorded until `recorded_until`.

        Returns the id of the last of these rows, with or without a decision. Returns `position` if there is no row.
        """
        until = journal_rows.id_before(self._store, position, recorded_until)
        for row in journal_rows.decisions(self._store, position, until):
            self._hooks.event_applied(self._applied(row))
        return until

    def _applied(self, row: JournalRow) -> Applied:
        order = order_rows.find(self._store, row.event.order_id, row.event.shop)[0]
        seconds = (row.recorded_at - journal_rows.entered_at(self._store, row)).total_seconds()
        return Applied(row.event, replace(order, state=row.after), row.result, row.before, seconds)
