"""The embedded log: topics of a fixed number of partitions in the store's own database.

For one process that runs every role. Order per key, offsets without gaps, redelivery by `seek`: what the consumer
relies on is what Kafka gives too.
"""

import json
import threading
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from adapters import schema as s
from adapters.ports import Clock, LogUnavailable, NewRecord, Place, Record, StoreUnavailable
from adapters.store import Store

#: Never change it: records of one key would go on in another partition, out of order with the older ones.
PARTITIONS: Final = 4


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
                partition=zlib.crc32(record.key.encode()) % PARTITIONS,
                record_key=record.key.encode(),
                value=record.value,
                headers=json.dumps([[name, value.decode("latin-1")] for name, value in record.headers]),
                published_at=now,
            )
            for record in records
        ]
        try:
            with self.store.transaction() as tx:
                tx.append_records(rows)
        except StoreUnavailable as error:
            raise LogUnavailable(str(error)) from error
        with self.published:
            self.published.notify_all()

    def reader(self, group: str, topics: Sequence[str]) -> "EmbeddedReader":
        """The one member of its group."""
        return EmbeddedReader(self, group, topics)

    def trim(self, before: datetime) -> int:
        """Forget records older than `before` that every group has passed. Returns how many."""
        log, progress = s.log_records.c, s.progress.c
        passed = sa.select(sa.func.min(progress.position)).where(
            progress.topic == log.topic, progress.partition == log.partition
        )
        with self.store.transaction() as tx:
            return tx.delete(s.log_records, log.published_at < before, log.offset < passed.scalar_subquery())


class EmbeddedReader:
    """Reads every partition of its topics; there is nobody to share them with."""

    cluster = "embedded"

    def __init__(self, log: EmbeddedLog, group: str, topics: Sequence[str]) -> None:
        self.group = group
        self._log = log
        self._places = frozenset(Place(topic, partition) for topic in topics for partition in range(PARTITIONS))
        self._next: dict[Place, int] = dict.fromkeys(self._places, 0)

    def assignment(self) -> frozenset[Place]:
        return self._places

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
        c = s.log_records.c
        from_here = sa.or_(
            *(
                sa.and_(c.topic == place.topic, c.partition == place.partition, c.offset >= offset)
                for place, offset in sorted(self._next.items(), key=lambda item: (item[0].topic, item[0].partition))
            )
        )
        # By time of publication, so that no partition starves the others.
        statement = sa.select(s.log_records).where(from_here).order_by(c.published_at, c.offset).limit(max_records)
        try:
            with self._log.store.reading() as connection:
                rows = connection.execute(statement).all()
        except StoreUnavailable as error:
            raise LogUnavailable(str(error)) from error
        return [
            Record(
                place=Place(row.topic, row.partition),
                offset=row.offset,
                key=row.record_key,
                value=row.value,
                headers=tuple((name, value.encode("latin-1")) for name, value in json.loads(row.headers)),
                published_at=row.published_at,
            )
            for row in rows
        ]

    def commit(self, positions: Mapping[Place, int]) -> None:
        """Nothing to hint at: progress is in this very database."""

    def close(self) -> None:
        """Nothing is held between two polls."""
