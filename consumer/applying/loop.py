"""The consumer: reads the log and applies its records. Each call of `turn` polls once.

The progress row in the store holds the next offset of a partition. It moves in the transaction that applies the records
(docs/rules.md 7, 8). The offset is committed to Kafka after that transaction. Reading never starts at that commit.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import structlog

from adapters.errors import (
    BrokenOrders,
    Cause,
    Fenced,
    PartitionsWait,
    RecordUnreadable,
    StoreUnavailable,
)
from adapters.ports import Clock, LogReader, Partition, Record
from adapters.store import progress as progress_rows
from adapters.store.dead_letters import NOT_APPLICABLE, SET_ASIDE
from adapters.store.engine import SHARED_LOCK_SECONDS
from adapters.store.progress import Advance, Progress
from adapters.store.transaction import Store
from consumer.applying.apply import Batch, OrderWriter
from consumer.applying.dead_letter_limit import DeadLetterLimit, TooManyDeadLetters
from consumer.applying.locked import LockedPartitions, apply_ahead
from consumer.applying.patience import Patience
from consumer.applying.records import Decode, Records, UnreadEvent
from consumer.hooks import NO_HOOKS, Applied, Hooks
from consumer.offsets import OffsetMismatch, RowsWatch, mark_shorter, mismatch, with_later_ends

log = structlog.get_logger("orderflow.consumer")

#: The largest number of records that one transaction applies.
BATCH: Final = 500
#: A partition with an OffsetMismatch is compared again after this time, because a person may have reset it.
COMPARE_AGAIN_SECONDS: Final = 5.0

NOTHING_BROKEN: Final[Mapping[tuple[str, str], str]] = {}


class Consumer:
    """One member of the consumer group. Not thread-safe: one thread calls `turn`."""

    def __init__(
        self,
        reader: LogReader,
        store: Store,
        orders: OrderWriter,
        decoders: Mapping[str, Decode],
        clock: Clock,
        *,
        hooks: Hooks = NO_HOOKS,
        limit: DeadLetterLimit | None = None,
        unread_events: Mapping[str, UnreadEvent] | None = None,
        reads: Collection[str] = (),
    ) -> None:
        """`decoders`: the decoder of each topic that is read. `unread_events`: by topic, the function that makes the
        event for the order of an unreadable record. `reads`: the topics whose records carry reads of orders."""
        self._reader = reader
        self._store = store
        self._orders = orders
        self._records = Records(decoders, unread_events or {}, frozenset(reads))
        self._clock = clock
        self._hooks = hooks
        self._limit = limit or DeadLetterLimit(clock)
        self._patience = Patience(clock, BATCH)
        self._locked = LockedPartitions(
            clock,
            BATCH,
            store.takes_a_small_write,
            position=lambda partition: self._positions[partition],
            apply=self._apply,
            apply_ahead=lambda records, if_locked: apply_ahead(
                records, store, orders, self._records, if_locked=if_locked
            ),
        )
        self._paused_topics: frozenset[str] = frozenset()
        self._generation = -1
        # Every assigned partition is in one of the next two dictionaries.
        self._positions: dict[Partition, int] = {}  # the next offset to apply, as in the progress row
        self._mismatches: dict[Partition, OffsetMismatch] = {}
        self._unreadable: dict[Partition, RecordUnreadable] = {}  # what the client could not read
        self.compared_at = float("-inf")  # monotonic; when partitions were last compared with their progress rows
        self._rows = RowsWatch(store, reader, clock)
        #: All records of the partition that were published before are applied. At first when it was assigned.
        self._applied_until: dict[Partition, datetime] = {}

    def turn(self, timeout_seconds: float = 1.0) -> int:
        """Poll once and apply the records. Returns how many were passed: applied, dead-lettered, or without a value.

        If a record cannot be read from the log, its partition stops there, and the others go on.
        Raises StoreUnavailable and LogUnavailable. Then nothing is lost, because the same records are polled again.
        After PartitionsWait the next turn may follow at once, because these partitions rest between their tries.
        """
        self._take_assignment()
        self._pause()
        try:
            timeout_seconds = 0.0 if self._locked.is_due() else timeout_seconds
            return self._pass(self._reader.poll(self._patience.batch, timeout_seconds))
        except RecordUnreadable as error:
            self._stop(Partition(error.topic, error.partition), error)
            return 0
        except StoreUnavailable as error:
            self._seek_back()
            self._patience.failure(error.cause, self._store.takes_a_small_write)
            raise
        except BaseException:
            self._seek_back()  # these records were polled but not applied: the next poll has to return them again
            raise

    def _pass(self, polled: Sequence[Record]) -> int:
        if self._reader.generation != self._generation:
            return 0  # the poll included a rebalance, so the records may begin at Kafka's commit: the next turn seeks
        records = self._without_jumps(polled)
        if not records and not self._locked.is_due():
            return 0
        waited = [*self._locked.kept(), *records]
        try:
            self._locked.apply(records)
        except PartitionsWait:
            self._reader.commit(self._positions)
            raise
        except Fenced:
            log.warning("fenced", partitions=sorted({f"{r.partition.topic}/{r.partition.number}" for r in records}))
            self._positions = {}  # another consumer moved the progress rows: read them again
            return 0
        except TooManyDeadLetters:
            self._seek_back()
        self._reader.commit(self._positions)
        return sum(record.offset < self._positions[record.partition] for record in waited)

    def lag(self) -> tuple[dict[Partition, int], dict[Partition, datetime]]:
        """Return for each partition that is read: how many records wait, and an instant until which all are applied.

        That instant is now, if no record waits. Else it is when the last applied record was published (at first: when
        this was first asked). So its age is an upper limit of the lag. Raises LogUnavailable.
        """
        records = {partition: count for partition, count in self._reader.lag().items() if partition in self._positions}
        for record in self._locked.kept():
            if record.partition in records:
                records[record.partition] += 1
        now = self._clock.now()
        for partition, count in records.items():
            if count == 0:
                self._applied_until[partition] = now
        return records, {partition: self._applied_until.setdefault(partition, now) for partition in records}

    def has_assignment(self) -> bool:
        """Whether the group has given this member an assignment, even an empty one."""
        return self._generation > 0

    def close(self) -> None:
        """Leave the group."""
        self._reader.close()

    # -- Assignment ----------------------------------------------------------------------------------------------

    def _take_assignment(self) -> None:
        """Start each new partition at its progress row, never at the log's own commit (docs/rules.md 8)."""
        generation, assigned = self._reader.generation, self._reader.assignment()
        rebalanced = generation != self._generation
        if rebalanced:
            self._generation = generation
            self._positions, self._mismatches, self._applied_until = {}, {}, {}
            self._locked.clear()
        self._positions = self._rows.confirmed(self._positions)
        compare_again = self._mismatches and self._clock.monotonic() - self.compared_at >= COMPARE_AGAIN_SECONDS
        new = assigned - self._positions.keys() - (frozenset() if compare_again else self._mismatches.keys())
        before = (set(self._positions), dict(self._mismatches))
        if new:
            self.compared_at = self._clock.monotonic()
            self._start(new)
        # A comparison that changed nothing is not reported, because each call of this hook counts as a rebalance.
        if rebalanced or before != (set(self._positions), self._mismatches):
            self._hooks.partitions_assigned(self._positions.keys(), self._mismatches)

    def _start(self, partitions: Collection[Partition]) -> None:
        """Seek each partition to its stored position, or find out why it must not be read."""
        self._locked.forget(partitions)
        offsets = self._reader.partition_offsets(partitions)
        cluster = self._reader.cluster()
        with self._store.transaction() as tx:
            stored = progress_rows.lock_or_insert(tx, cluster, self._reader.group, offsets)
        offsets = with_later_ends(self._reader.partition_offsets, stored, offsets)
        found = {
            partition: mismatch(stored[partition], offsets[partition]) or self._known(partition, stored[partition])
            if partition in offsets
            else OffsetMismatch.NO_TOPIC
            for partition in partitions
        }
        shorter = {one: stored[one] for one, wrong in found.items() if wrong == OffsetMismatch.LOG_SHORTER}
        if shorter:
            mark_shorter(self._store, cluster, self._reader.group, shorter)
        for partition, wrong in sorted(found.items()):
            if wrong is not None:
                if self._mismatches.get(partition) != wrong:
                    log.error("partition_stopped", topic=partition.topic, partition=partition.number, reason=wrong)
                self._mismatches[partition] = wrong
                continue
            if self._mismatches.pop(partition, None):
                log.info("partition_resumed", topic=partition.topic, partition=partition.number)
            self._reader.seek(partition, stored[partition].position)
            self._positions[partition] = stored[partition].position

    def _known(self, partition: Partition, stored: Progress) -> OffsetMismatch | None:
        """Return RECORD_UNREADABLE if the partition still stops at a record that this client could not read."""
        error = self._unreadable.get(partition)
        if error is None or not error.offset <= stored.position < error.until:
            self._unreadable.pop(partition, None)  # a person passed the record, or reset the partition
            return None
        return OffsetMismatch.RECORD_UNREADABLE

    def _stop(self, partition: Partition, error: RecordUnreadable) -> None:
        """Stop one partition at a record that the client cannot read. The others go on."""
        wrong = OffsetMismatch.RECORD_UNREADABLE
        log.error(
            "partition_stopped",
            topic=partition.topic,
            partition=partition.number,
            reason=wrong,
            offset=error.offset,
            until=error.until,
            detail=error.detail,
        )
        cluster, group = self._reader.cluster(), self._reader.group
        with self._store.transaction() as tx:
            progress_rows.mark_unreadable(tx, cluster, group, partition, first=error.offset, until=error.until)
        self._unreadable[partition] = error
        self._positions.pop(partition, None)
        self._locked.forget([partition])
        self._mismatches[partition] = wrong
        self.compared_at = self._clock.monotonic()
        self._hooks.partitions_assigned(self._positions.keys(), self._mismatches)

    def _without_jumps(self, polled: Sequence[Record]) -> list[Record]:
        """Return the records that may be applied.

        If the log no longer has the offset that a Kafka client asks for, the client continues at another offset and
        reports no error. So a partition is compared with its progress row again, before more of it is applied, in two
        cases: its records begin before the next offset, or the log no longer has the next offset. Records that begin
        after the next offset are no error by themselves, because compaction and transactions leave gaps.
        """
        records = [record for record in polled if record.partition in self._positions]
        first_polled: dict[Partition, int] = {}
        for record in records:
            first_polled.setdefault(record.partition, record.offset)
        next_read = self._locked.next_read(self._positions)
        jumped = {partition for partition, offset in first_polled.items() if offset != next_read[partition]}
        if not jumped:
            return records
        offsets = self._reader.partition_offsets(jumped)
        for partition in jumped:
            position = next_read[partition]
            went_back = first_polled[partition] < position
            if went_back or partition not in offsets or offsets[partition].first > position:
                del self._positions[partition]
                self._locked.forget([partition])
        return [record for record in records if record.partition in self._positions]

    def _pause(self) -> None:
        """Let the reader fetch only partitions without a mismatch, with room for records that wait for a lock, and of
        topics that are not paused."""
        paused = self._limit.paused_topics()
        for topic in paused - self._paused_topics:
            log.error("topic_paused", topic=topic)
        if paused != self._paused_topics:
            self._hooks.topics_paused(paused)
        self._paused_topics = paused
        of_paused_topics = {partition for partition in self._positions if partition.topic in paused}
        unread = self._reader.assignment() - self._positions.keys()
        self._reader.pause(of_paused_topics | unread | (self._locked.full() & self._positions.keys()))

    def _seek_back(self) -> None:
        for partition, position in self._locked.next_read(self._positions).items():
            self._reader.seek(partition, position)

    # -- Apply ---------------------------------------------------------------------------------------------------

    def _apply(self, records: Sequence[Record], broken: Mapping[tuple[str, str], str] = NOTHING_BROKEN) -> None:
        """Apply a batch. If it fails, it is halved until the poison record is alone. This record is dead-lettered.

        `broken`: orders that cannot be read or planned, with the kind of the error. Their records are dead-lettered.
        """
        try:
            batch = self._read(records, broken)
            applied = self._stored(records, batch)
        except Fenced:
            raise
        except StoreUnavailable as error:
            blamed = self._locked.is_the_cause if error.cause == Cause.LOCKED else self._patience.is_the_cause
            if len(records) > 1 or not blamed(records[0].partition):
                raise
            self._passed(records, *self._stored_as_letter(records[0], f"store: {error.cause}"))
            self._patience.was_the_cause()
            return
        except Exception as error:
            found = self._orders.broken_of(error.orders) if isinstance(error, BrokenOrders) else {}
            if found:
                self._orders.quarantine(found)
                self._apply(records, {**broken, **found})
                return
            if len(records) > 1:
                middle = len(records) // 2
                self._apply(records[:middle], broken)
                self._apply(records[middle:], broken)
                return
            if isinstance(error, TooManyDeadLetters):
                raise
            applied, batch = self._stored_as_letter(records[0], _kind(error))
        self._passed(records, applied, batch)

    def _read(self, records: Sequence[Record], broken: Mapping[tuple[str, str], str]) -> Batch:
        batch = self._records.read(self._store, records, broken)
        return replace(batch, dead_letters=self._limit.checked(batch.dead_letters))

    def _stored_as_letter(self, record: Record, detail: str) -> tuple[list[Applied], Batch]:
        batch = Batch(dead_letters=self._limit.checked([self._records.dead_letter(record, NOT_APPLICABLE, detail)]))
        return self._stored([record], batch), batch

    def _stored(self, records: Sequence[Record], batch: Batch) -> list[Applied]:
        ends = {record.partition: record.offset + 1 for record in records}
        cluster, group = self._reader.cluster(), self._reader.group
        # Sorted, so that every consumer locks the progress rows in the same order.
        advances = [Advance(cluster, group, one, self._positions[one], ends[one]) for one in sorted(ends)]
        return self._orders.store_batch(lambda _: batch, advances, lock_seconds=SHARED_LOCK_SECONDS)

    def _passed(self, records: Sequence[Record], applied: list[Applied], batch: Batch) -> None:
        """Remember that these records were stored, log their dead letters, and call the hooks."""
        self._patience.success()
        for last in {record.partition: record for record in records}.values():
            self._positions[last.partition] = last.offset + 1
            self._applied_until[last.partition] = last.published_at
        self._limit.count(batch.dead_letters)
        for one in batch.dead_letters:
            write = log.error if one.reason in (NOT_APPLICABLE, SET_ASIDE) else log.warning
            write("dead_lettered", place=one.place, reason=one.reason, detail=one.detail)
        self._orders.report(applied)
        self._hooks.batch_applied(records, applied, batch.dead_letters)
        for trigger, count in Counter(one.trigger for one in batch.repeats).items():
            self._hooks.repeats_dropped(trigger, count)


def _kind(error: Exception) -> str:
    """Return the kind of an error, for the detail of a dead letter. Its text may quote data."""
    return ", ".join(sorted(set(error.orders.values()))) if isinstance(error, BrokenOrders) else type(error).__name__
