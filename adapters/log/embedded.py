"""The embedded log: topics of a fixed number of partitions in the store's own database.

For one process that runs every role. Order per key, offsets without gaps, redelivery by `seek`: what the consumer
relies on is what Kafka gives too.
"""

import json
import threading
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from adapters.errors import LogUnavailable, StoreUnavailable
from adapters.ports import Clock, NewRecord, PartitionOffsets, Place, Record
from adapters.store import schema as s
from adapters.store.transaction import Store

#: Never change it: records of one key would go on in another partition, out of order with the older ones.
PARTITIONS: Final = 4
#: How progress rows name this log.
CLUSTER: Final = "embedded"


class EmbeddedLog:
    """Writer, and maker of readers."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self._clock = clock
        self.published = threading.Condition()

    def publish(self, records: Sequence[NewRecord]) -> None:
        """Append all of them in one transaction. Raises LogUnavailable; then none was published."""
        now = self._clock.now()
        rows = [
            dict(
                topic=record.topic,
                partition=zlib.crc32(record.key or b"") % PARTITIONS,
                record_key=record.key or b"",
                value=record.value,
                headers=json.dumps([[name, value.decode("latin-1")] for name, value in record.headers]),
                published_at=now,
            )
            for record in records
        ]
        with _translated(), self.store.transaction() as tx:
            tx.append_records(rows)
        with self.published:
            self.published.notify_all()

    def close(self) -> None:
        """Wake whoever waits."""
        with self.published:
            self.published.notify_all()

    def reader(self, group: str, topics: Sequence[str]) -> "EmbeddedReader":
        """The one member of its group."""
        return EmbeddedReader(self, group, topics)

    def cluster(self) -> str:
        return CLUSTER

    def partitions(self, topics: Collection[str]) -> dict[str, int]:
        return dict.fromkeys(topics, PARTITIONS)

    def partition_offsets(self, _group: str, places: Collection[Place]) -> dict[Place, PartitionOffsets]:
        """What is kept of each place. Raises LogUnavailable."""
        c = s.log_records.c
        ends = (sa.func.min(c.offset).label("first"), sa.func.max(c.offset).label("last"))
        statement = sa.select(c.topic, c.partition, *ends).group_by(c.topic, c.partition)
        with _translated(), self.store.reading() as connection:
            rows = connection.execute(statement.where(c.topic.in_({place.topic for place in places})))
            found = {Place(row.topic, row.partition): PartitionOffsets(row.first, row.last + 1) for row in rows}
        return {place: found.get(place, PartitionOffsets(0, 0)) for place in places}

    def trim(self, before: datetime) -> int:
        """Forget records older than `before` that every group has passed. Returns how many.

        The last one of a partition stays: offsets would begin anew behind it, where no group would look for them.
        """
        log, progress, later = s.log_records.c, s.progress.c, s.log_records.alias("later")
        passed = sa.select(sa.func.min(progress.position)).where(
            progress.cluster == CLUSTER, progress.topic == log.topic, progress.partition == log.partition
        )
        last = sa.select(sa.func.max(later.c.offset)).where(
            later.c.topic == log.topic, later.c.partition == log.partition
        )
        forgotten = sa.and_(log.offset < passed.scalar_subquery(), log.offset < last.scalar_subquery())
        with self.store.transaction() as tx:
            return tx.delete(s.log_records, log.published_at < before, forgotten)


class EmbeddedReader:
    """Reads every partition of its topics; there is nobody to share them with."""

    generation = 1

    def __init__(self, log: EmbeddedLog, group: str, topics: Sequence[str]) -> None:
        self.group = group
        self._log = log
        places = (Place(topic, partition) for partition in range(PARTITIONS) for topic in topics)
        self._next: dict[Place, int] = dict.fromkeys(places, 0)
        self._paused: frozenset[Place] = frozenset()

    def cluster(self) -> str:
        return CLUSTER

    def assignment(self) -> frozenset[Place]:
        return frozenset(self._next)

    def partition_offsets(self, places: Collection[Place]) -> Mapping[Place, PartitionOffsets]:
        return self._log.partition_offsets(self.group, places)

    def seek(self, place: Place, offset: int) -> None:
        self._next[place] = offset

    def poll(self, max_records: int, timeout_seconds: float) -> list[Record]:
        """Up to `max_records`, in order per partition. Raises LogUnavailable."""
        records = self._read(max_records)
        if not records and timeout_seconds > 0:
            with self._log.published:
                self._log.published.wait(timeout_seconds)
            records = self._read(max_records)
        for record in records:
            self._next[record.place] = record.offset + 1
        return records

    def _read(self, max_records: int) -> list[Record]:
        """Partition after partition, by offset alone: a clock that was set back must not reorder anything."""
        records: list[Record] = []
        with _translated(), self._log.store.reading() as connection:
            for place in [place for place in self._next if place not in self._paused]:
                records += _from(connection, place, self._next[place], max_records - len(records))
                if len(records) >= max_records:
                    break
        for place in dict.fromkeys(record.place for record in records):
            self._next[place] = self._next.pop(place)  # to the end of the queue, so that it starves no other
        return records

    def pause(self, places: Collection[Place]) -> None:
        self._paused = frozenset(places)

    def commit(self, positions: Mapping[Place, int]) -> None:
        """Nothing to hint at: progress is in this very database."""

    def lag(self) -> Mapping[Place, int]:
        partition_offsets = self.partition_offsets(self._next)
        return {place: partition_offsets[place].end - position for place, position in self._next.items()}

    def close(self) -> None:
        """Nothing is held between two polls."""


@contextmanager
def _translated() -> Iterator[None]:
    """The log is in the store, so it is away whenever that is."""
    try:
        yield
    except StoreUnavailable as error:
        raise LogUnavailable(str(error)) from error


def _from(connection: sa.Connection, place: Place, offset: int, limit: int) -> list[Record]:
    c = s.log_records.c
    statement = (
        sa.select(s.log_records)
        .where(c.topic == place.topic, c.partition == place.partition, c.offset >= offset)
        .order_by(c.offset)
        .limit(limit)
    )
    return [
        Record(
            place=place,
            offset=row.offset,
            key=row.record_key,
            value=row.value,
            headers=tuple((name, value.encode("latin-1")) for name, value in json.loads(row.headers)),
            published_at=row.published_at,
        )
        for row in connection.execute(statement)
    ]
