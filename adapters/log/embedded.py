"""The embedded log: topics of a fixed number of partitions in the store's own database.

It is for a single process that runs every role. The consumer can rely on the same properties as with Kafka: records of
one key stay in order, offsets grow, and after `seek` to an earlier offset the same records are read again.
"""

import threading
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from adapters.errors import LogUnavailable, StoreUnavailable
from adapters.ports import Clock, NewRecord, Partition, PartitionOffsets, Record
from adapters.store import schema as s
from adapters.store.headers_json import log_headers_from_json, log_headers_to_json
from adapters.store.transaction import Store, Transaction

#: Partitions of each topic. Never change this number: a key's new records would go to another partition, where they
#: could be read before the key's older records.
PARTITIONS: Final = 4


class EmbeddedLog:
    """`ports.LogWriter` over a table of the store. Any thread may use it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self._clock = clock
        self.published = threading.Condition()

    def publish(self, records: Sequence[NewRecord]) -> None:
        """Append these records in one transaction. Raises LogUnavailable; then none of them was published."""
        now = self._clock.now()
        rows = [
            dict(
                topic=record.topic,
                partition=zlib.crc32(record.key or b"") % PARTITIONS,
                record_key=record.key or b"",
                value=record.value,
                headers=log_headers_to_json(record.headers),
                published_at=now,
            )
            for record in records
        ]
        with _as_log_unavailable(), self.store.transaction() as tx:
            _append(tx, rows)
        with self.published:
            self.published.notify_all()

    def close(self) -> None:
        """Wake a reader that waits in `poll`, so that its poll returns at once."""
        with self.published:
            self.published.notify_all()

    def reader(self, group: str, topics: Sequence[str]) -> "EmbeddedReader":
        """Create a reader. Its group can have only this one member, because the reader holds every partition."""
        return EmbeddedReader(self, group, topics)

    def cluster(self) -> str:
        return s.CLUSTER

    def partitions(self, topics: Collection[str]) -> dict[str, int]:
        return dict.fromkeys(topics, PARTITIONS)

    def partition_offsets(self, _group: str, partitions: Collection[Partition]) -> dict[Partition, PartitionOffsets]:
        """The first offset and the end of each partition. Raises LogUnavailable."""
        c = s.log_records.c
        ends = (sa.func.min(c.offset).label("first"), sa.func.max(c.offset).label("last"))
        statement = sa.select(c.topic, c.partition, *ends).group_by(c.topic, c.partition)
        with _as_log_unavailable(), self.store.reading() as connection:
            rows = connection.execute(statement.where(c.topic.in_({partition.topic for partition in partitions})))
            found = {Partition(row.topic, row.partition): PartitionOffsets(row.first, row.last + 1) for row in rows}
        return {partition: found.get(partition, PartitionOffsets(0, 0)) for partition in partitions}

    def trim(self, before: datetime) -> int:
        """Delete records that were published before `before` and that every group has applied. Returns how many.

        The last record of each partition is kept. Without a record the next offset would be 0. It would be lower than
        every group's position, so no group would ever read the new record.
        """
        log, progress, later = s.log_records.c, s.progress.c, s.log_records.alias("later")
        passed = sa.select(sa.func.min(progress.position)).where(
            progress.cluster == s.CLUSTER, progress.topic == log.topic, progress.partition == log.partition
        )
        last = sa.select(sa.func.max(later.c.offset)).where(
            later.c.topic == log.topic, later.c.partition == log.partition
        )
        deletable = sa.and_(log.offset < passed.scalar_subquery(), log.offset < last.scalar_subquery())
        with self.store.transaction() as tx:
            return tx.execute(sa.delete(s.log_records).where(log.published_at < before, deletable)).rowcount


class EmbeddedReader:
    """`ports.LogReader` that always holds every partition of its topics."""

    generation = 1

    def __init__(self, log: EmbeddedLog, group: str, topics: Sequence[str]) -> None:
        self.group = group
        self._log = log
        partitions = (Partition(topic, partition) for partition in range(PARTITIONS) for topic in topics)
        self._next: dict[Partition, int] = dict.fromkeys(partitions, 0)
        self._paused: frozenset[Partition] = frozenset()

    def cluster(self) -> str:
        return s.CLUSTER

    def assignment(self) -> frozenset[Partition]:
        return frozenset(self._next)

    def partition_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, PartitionOffsets]:
        return self._log.partition_offsets(self.group, partitions)

    def seek(self, partition: Partition, offset: int) -> None:
        self._next[partition] = offset

    def poll(self, max_records: int, timeout_seconds: float) -> list[Record]:
        """The next records, up to `max_records`, in order within each partition. Raises LogUnavailable."""
        records = self._read(max_records)
        if not records and timeout_seconds > 0:
            with self._log.published:
                self._log.published.wait(timeout_seconds)
            records = self._read(max_records)
        for record in records:
            self._next[record.partition] = record.offset + 1
        return records

    def _read(self, max_records: int) -> list[Record]:
        """Read one partition after the other, each in the order of offsets.

        The time of publication cannot give the order, because the clock may be set back.
        """
        records: list[Record] = []
        with _as_log_unavailable(), self._log.store.reading() as connection:
            for partition in [partition for partition in self._next if partition not in self._paused]:
                records += _records(connection, partition, self._next[partition], max_records - len(records))
                if len(records) >= max_records:
                    break
        for partition in dict.fromkeys(record.partition for record in records):
            self._next[partition] = self._next.pop(partition)  # the next call reads it last, so none waits for ever
        return records

    def pause(self, partitions: Collection[Partition]) -> None:
        self._paused = frozenset(partitions)

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Does nothing, because the progress rows are in the same database."""

    def lag(self) -> Mapping[Partition, int]:
        offsets = self.partition_offsets(self._next)
        return {partition: offsets[partition].end - position for partition, position in self._next.items()}

    def close(self) -> None:
        """Does nothing, because the reader keeps nothing open between two polls."""


@contextmanager
def _as_log_unavailable() -> Iterator[None]:
    """Raise LogUnavailable in place of StoreUnavailable: the log is a table of the store."""
    try:
        yield
    except StoreUnavailable as error:
        raise LogUnavailable(str(error), error.cause) from error


def _append(tx: Transaction, rows: list[dict[str, Any]]) -> None:
    """Insert these rows, each with the next offset of its partition."""
    c = s.log_records.c
    ends: dict[tuple[str, int], int] = {}
    for row in rows:
        partition = (row["topic"], row["partition"])
        if partition not in ends:
            mine = (c.topic == partition[0], c.partition == partition[1])
            last = tx.execute(sa.select(sa.func.max(c.offset)).where(*mine)).scalar()
            ends[partition] = -1 if last is None else last
        ends[partition] += 1
        row["offset"] = ends[partition]
    if rows:
        tx.execute(sa.insert(s.log_records), rows)


def _records(connection: sa.Connection, partition: Partition, offset: int, limit: int) -> list[Record]:
    wanted = {"topic": partition.topic, "partition": partition.number, "first": offset, "most": limit}
    return [
        Record(
            partition=partition,
            offset=row.offset,
            key=row.record_key,
            value=row.value,
            headers=log_headers_from_json(row.headers),
            published_at=row.published_at,
        )
        for row in connection.execute(_RECORDS, wanted)
    ]


#: The records of one partition from an offset on. It is made once, because a reader asks every partition each time.
_RECORDS: Final = (
    sa.select(s.log_records)
    .where(
        s.log_records.c.topic == sa.bindparam("topic"),
        s.log_records.c.partition == sa.bindparam("partition"),
        s.log_records.c.offset >= sa.bindparam("first"),
    )
    .order_by(s.log_records.c.offset)
    .limit(sa.bindparam("most"))
)
