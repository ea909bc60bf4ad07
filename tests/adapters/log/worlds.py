"""Each log with its publisher and readers, as the tests of every log see it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from adapters.engines.kafka import Kafka
from adapters.errors import LogUnavailable
from adapters.log.embedded import PARTITIONS, EmbeddedLog
from adapters.log.kafka import KafkaLog
from adapters.log.kafka_reader import KafkaReader
from adapters.ports import LogReader, LogWriter, NewRecord, Partition, Record
from adapters.store.transaction import Store
from tests.support import StillClock, new_store

ONE, TWO = "topic.one", "topic.two"


class World(Protocol):
    """One log under test, and the values that the tests need to know about it."""

    clock: StillClock
    writer: LogWriter
    #: If a poll of this length brings no record, all records were read.
    patience_seconds: float
    #: A number of records of 1 kB that one answer of this log cannot hold.
    backlog: int
    #: The largest number of members of a group.
    most_members: int

    def reader(self, group: str, topics: Sequence[str]) -> LogReader:
        """A member that holds every partition, and reads each from its start."""
        ...

    def member(self, group: str, topics: Sequence[str]) -> LogReader:
        """One more member. It may have no partitions yet."""
        ...

    def topic(self, name: str) -> str:
        """The name that the topic `name` of the tests has in this log."""
        ...

    def now(self) -> datetime: ...

    def make_unavailable(self) -> None:
        """From now on the log does not answer."""
        ...

    def make_available(self) -> None: ...

    def close(self) -> None: ...


class Embedded:
    """The embedded log over a file."""

    patience_seconds = 0.0
    backlog = 50
    most_members = 1  # it is for one process, whose reader holds every partition

    def __init__(self, folder: Path) -> None:
        self.clock = StillClock()
        new_store(folder).close()
        self.store = Store(f"sqlite:///{folder}/orderflow.db", busy_seconds=0.01)
        self.log = EmbeddedLog(self.store, self.clock)
        self.writer: LogWriter = self.log
        self._folder = folder

    def reader(self, group: str, topics: Sequence[str]) -> LogReader:
        return self.log.reader(group, topics)

    def member(self, group: str, topics: Sequence[str]) -> LogReader:
        return self.log.reader(group, topics)

    def topic(self, name: str) -> str:
        return name

    def now(self) -> datetime:
        return self.clock.now()

    def make_unavailable(self) -> None:
        self.store.close()
        self._folder.rename(self._folder.with_name("moved"))

    def make_available(self) -> None:
        self._folder.with_name("moved").rename(self._folder)

    def close(self) -> None:
        self.store.close()


class OnKafka:
    """Topics of its own on a real broker, which is frozen to make the log unavailable."""

    patience_seconds = 0.6
    backlog = 3000
    most_members = 2

    def __init__(self, kafka: Kafka, partitions: int = 4) -> None:
        self.clock = StillClock()
        self.log = KafkaLog(
            lambda: {"bootstrap_servers": kafka.bootstrap_servers},
            consumer={"fetch_max_wait_ms": 100},  # a poll without a record ends soon
            producer={"delivery_timeout_ms": 2000, "request_timeout_ms": 1000, "max_block_ms": 2000},
        )
        self.writer: LogWriter = self.log
        self._kafka = kafka
        self._prefix = uuid4().hex[:8]
        self._readers: list[KafkaReader] = []
        kafka.create_topics({self.topic(ONE): partitions, self.topic(TWO): partitions})

    def topic(self, name: str) -> str:
        return f"{name}.{self._prefix}"

    def now(self) -> datetime:
        return datetime.now(UTC)

    def reader(self, group: str, topics: Sequence[str]) -> KafkaReader:
        reader = self.member(group, topics)
        joined(reader)
        return reader

    def member(self, group: str, topics: Sequence[str]) -> KafkaReader:
        reader = self.log.reader(f"{group}.{self._prefix}", [self.topic(name) for name in topics])
        self._readers.append(reader)
        return reader

    def make_unavailable(self) -> None:
        self._kafka.freeze()

    def make_available(self) -> None:
        self._kafka.thaw()

    def close(self) -> None:
        self.make_available()
        for reader in self._readers:
            reader.close()
        self.log.close()


def joined(reader: LogReader, seconds: float = 20) -> None:
    """Poll until partitions are assigned, then seek each to its start."""
    ends_at = time.monotonic() + seconds
    while not reader.assignment():
        assert time.monotonic() < ends_at, "no partitions were assigned"
        reader.poll(1, 0.05)
    seek_to_start(reader)


def seek_to_start(reader: LogReader) -> None:
    for partition, offsets in reader.partition_offsets(reader.assignment()).items():
        reader.seek(partition, offsets.first)


@dataclass
class LosesConnection:
    """A writer that loses its connection once, after `survive` records."""

    writer: LogWriter
    survive: int

    def publish(self, records: Sequence[NewRecord]) -> None:
        kept = records[: self.survive]
        self.survive = len(records)
        self.writer.publish(kept)
        if len(kept) < len(records):
            raise LogUnavailable("lost after some")


def publish(world: World, *records: tuple[str, str] | tuple[str, str, str]) -> None:
    """Publish `records`: the key, the value, and the topic if it is not ONE."""
    world.writer.publish([new(world, *record) for record in records])


def new(world: World, key: str, value: str, topic: str = ONE) -> NewRecord:
    return NewRecord(world.topic(topic), key.encode(), value.encode())


def drain(world: World, reader: LogReader, max_records: int = 100) -> list[Record]:
    found: list[Record] = []
    while records := (
        reader.poll(max_records, world.patience_seconds) or reader.poll(max_records, world.patience_seconds)
    ):
        found += records
    return found


class Group:
    """Members that read as consumers do: after each assignment they seek every partition to the group's position.

    They commit nothing. With commits, a member that missed an assignment would still begin at the right offset.
    """

    def __init__(self, world: World) -> None:
        self.members: list[LogReader] = []
        self.given: list[Record] = []
        self._world = world
        self._sought: dict[LogReader, int] = {}
        self._positions: dict[Partition, int] = {}  # what the progress rows are in the service

    def join(self) -> None:
        """Add a member. If the group has `most_members`, the last member leaves first."""
        if len(self.members) == self._world.most_members:
            self.leave()
        self.members.append(self._world.member("g", [ONE, TWO]))

    def leave(self) -> None:
        self.members.pop().close()

    def read_until(self, holds: Callable[[], bool], seconds: float = 40) -> None:
        ends_at = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < ends_at, [member.assignment() for member in self.members]
            for member in self.members:
                self._turn(member)

    def is_assigned(self) -> bool:
        """Whether every partition has one member, and every member has a partition."""
        held = [member.assignment() for member in self.members]
        return all(held) and sum(map(len, held)) == len(frozenset().union(*held)) == 2 * PARTITIONS

    def _turn(self, member: LogReader) -> None:
        if self._sought.get(member) != member.generation:
            self._sought[member] = member.generation
            for partition in member.assignment():
                member.seek(partition, self._positions.get(partition, 0))
        try:
            records = member.poll(7, 0.02 if self._world.patience_seconds else 0)
        except LogUnavailable:  # on a busy machine a rebalance can take too long; the next poll joins again
            return
        if self._sought[member] != member.generation:
            return  # the poll itself changed the assignment: the partitions' new members read these records
        self.given += records
        self._positions |= {record.partition: record.offset + 1 for record in records}


def by_key(records: Sequence[Record]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in records:
        found.setdefault((record.key or b"").decode(), []).append((record.value or b"").decode())
    return found
