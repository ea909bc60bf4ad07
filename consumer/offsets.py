"""Compares the stored position of each partition with the offsets that the log has.

If the two do not fit, reading the partition would skip records or apply wrong ones, and nobody would notice. So the
partition is not read (docs/decisions/0014-offset-mismatches.md).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Final

import structlog

from adapters.ports import Clock, LogReader, Partition, PartitionOffsets
from adapters.store import progress as progress_rows
from adapters.store.progress import Progress
from adapters.store.transaction import Store

log = structlog.get_logger("orderflow.consumer")

#: The progress rows are read again after this time, because the store may have been replaced by an older copy.
ROWS_AGAIN_SECONDS: Final = 10.0


class OffsetMismatch(StrEnum):
    """Why a partition is not read. `meaning` says what happened, for the person who has to look."""

    NO_TOPIC = "no_topic", "the topic or the partition does not exist, or this user may not see it"
    TOPIC_RECREATED = (
        "topic_recreated",
        "the topic was deleted and created again; the stored position belongs to the old one",
    )
    OFFSETS_GONE = (
        "offsets_gone",
        "the log deleted records before they were applied: its retention is too short, or no consumer ran for too long",
    )
    LOG_SHORTER = (
        "log_shorter",
        "the log ends before the last applied record: it lost records, or was restored from an older copy",
    )
    STORE_RESTORED = (
        "store_restored",
        "the group committed more than the store has applied: the store was restored from an older copy, or is new",
    )
    RECORD_UNREADABLE = (
        "record_unreadable",
        "the next record cannot be read from the log: its checksum, its form or its compression is wrong; pass it with "
        "`offsets skip TOPIC --partition N --reason WHY`",
    )

    meaning: str

    def __new__(cls, value: str, meaning: str) -> "OffsetMismatch":
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


def mismatch(stored: Progress, offsets: PartitionOffsets) -> OffsetMismatch | None:
    """Return why this partition must not be read from the stored position, or None if it may be read."""
    if stored.log_id != offsets.log_id:
        return OffsetMismatch.TOPIC_RECREATED
    if stored.was_shorter:
        return OffsetMismatch.LOG_SHORTER
    if stored.position < offsets.first:
        return OffsetMismatch.OFFSETS_GONE
    if stored.position > offsets.end:
        return OffsetMismatch.LOG_SHORTER
    # An offset is committed to Kafka after the transaction that stores it. So a commit that is ahead of the store shows
    # that the store has lost transactions.
    if offsets.committed is not None and offsets.committed > max(stored.position, stored.excused_commit):
        return OffsetMismatch.STORE_RESTORED
    return None


def with_later_ends(
    ask: Callable[[Collection[Partition]], Mapping[Partition, PartitionOffsets]],
    stored: Mapping[Partition, Progress],
    offsets: Mapping[Partition, PartitionOffsets],
) -> dict[Partition, PartitionOffsets]:
    """Ask the log again for the end of each partition that seems to end before its stored position.

    `ask` asks the log. Returns the offsets with these new ends.

    The log is asked first, and then the store: a commit that was read later could be ahead of the stored position. The
    log gives its end together with the commit. Between both reads another consumer may apply new records. Then the
    stored position is after this end, although nothing is wrong.
    """
    behind = [
        partition for partition, of in offsets.items() if partition in stored and of.end < stored[partition].position
    ]
    again = ask(behind) if behind else {}
    return {
        partition: replace(of, end=again[partition].end) if partition in again else of
        for partition, of in offsets.items()
    }


def mark_shorter(store: Store, cluster: str, group: str, seen: Mapping[Partition, Progress]) -> None:
    """Mark in the progress rows that these logs ended before the stored position.

    When the log has grown again, its end no longer shows that records were lost. Without the mark, new records at the
    offsets of the lost ones would be skipped. A row that has changed since it was `seen` stays as it is.
    """
    with store.transaction() as tx:
        stored = progress_rows.lock_or_insert(
            tx, cluster, group, {partition: PartitionOffsets(0, 0) for partition in seen}
        )
        for partition, was in seen.items():
            if stored[partition] == was and not was.was_shorter:
                progress_rows.reset(tx, cluster, group, partition, replace(was, was_shorter=True))


class RowsWatch:
    """Compares the positions that a consumer holds in memory with the progress rows, every ROWS_AGAIN_SECONDS.

    The next record of a partition whose row was moved would show it too (Fenced). Until then, the events that an older
    copy of the store has lost would not be read again, for example after a failover to a replica that lagged.
    """

    def __init__(self, store: Store, reader: LogReader, clock: Clock) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._read_at = clock.monotonic()

    def confirmed(self, held: dict[Partition, int]) -> dict[Partition, int]:
        """Return the positions without those that the rows contradict. Raises LogUnavailable, StoreUnavailable."""
        now = self._clock.monotonic()
        if not held or now - self._read_at < ROWS_AGAIN_SECONDS:
            return held
        self._read_at = now
        stored = progress_rows.of_group(self._store, self._reader.cluster(), self._reader.group)
        found = {one: position for one, position in held.items() if one in stored and stored[one].position == position}
        if moved := sorted(held.keys() - found.keys()):
            log.warning("fenced", partitions=[f"{one.topic}/{one.number}" for one in moved])
        return found
