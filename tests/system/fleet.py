"""Consumers of one group over Kafka, each with a client and a thread of its own."""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.partitioner import Partitioner
from kafka.structs import OffsetAndMetadata

from adapters.clock import SystemClock
from adapters.engines.kafka import create_topics
from adapters.errors import LogUnavailable, StoreUnavailable
from adapters.ports import NewRecord, Partition, PartitionOffsets, Record
from adapters.store import progress as progress_rows
from adapters.store import schema as s
from adapters.store.dead_letters import DeadLetter
from adapters.store.transaction import Store
from consumer.applying.apply import OrderWriter
from consumer.applying.loop import Consumer
from consumer.hooks import Applied, Hooks
from consumer.metrics.recorder import Recorder
from consumer.offsets import OffsetMismatch
from consumer.operations import offsets
from consumer.operations.offsets import ResetPosition
from statemachine.events import Event
from tests.adapters.log.kafka_rig import RecordingLog
from tests.statemachine.lives import spoke
from tests.support import wait

#: How long a rebalance, a fetch or a recovery may take on a busy machine, where a test says nothing else.
PATIENCE_SECONDS = 30.0
SNAPSHOTS, OMS = "snapshots", "oms"


class Member(Hooks):
    """One member of the group in a thread of its own."""

    def __init__(self, fleet: "Fleet", **client: Any) -> None:
        self.log = fleet.new_log(**client)
        self.metrics = Recorder({fleet.shop: 60.0}, "0", fleet.clock)
        self.assignments: list[tuple[frozenset[Partition], dict[Partition, OffsetMismatch]]] = []
        self.troubles: list[LogUnavailable | StoreUnavailable] = []
        self.records = 0
        self.results: list[str] = []
        self.crash: BaseException | None = None
        self.waits_at: dict[bytes, threading.Event] = {}  # values whose decoding waits
        self.waiting = threading.Event()
        self._fleet = fleet
        self.reader = self.log.reader(fleet.group, list(fleet.topics.values()))
        self.consumer = Consumer(
            self.reader,
            fleet.store,
            fleet.orders,
            dict.fromkeys(fleet.topics.values(), self._decode),
            fleet.clock,
            hooks=self,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="member", daemon=True)

    def start(self) -> "Member":
        self._thread.start()
        return self

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.consumer.turn(0.1)
            except (LogUnavailable, StoreUnavailable) as error:
                self.troubles.append(error)
                self._stop.wait(0.2)
            except BaseException as error:
                self.crash = error
                raise

    def _decode(self, value: bytes | None, _headers: Sequence[tuple[str, bytes]]) -> Event | None:
        if value in self.waits_at:
            self.waiting.set()
            assert self.waits_at[value].wait(60)
        return self._fleet.event(value or b"")

    def batch_applied(
        self, records: Sequence[Record], applied: Sequence[Applied], dead_letters: Sequence[DeadLetter]
    ) -> None:
        self.records += len(records)
        self.results += [one.result for one in applied]
        assert not dead_letters

    def partitions_assigned(self, held: Collection[Partition], mismatches: Mapping[Partition, OffsetMismatch]) -> None:
        self.metrics.partitions_assigned(held, mismatches)
        self.assignments.append((frozenset(held), dict(mismatches)))

    @property
    def held(self) -> frozenset[Partition]:
        return self.assignments[-1][0] if self.assignments else frozenset()

    @property
    def mismatches(self) -> dict[Partition, OffsetMismatch]:
        return self.assignments[-1][1] if self.assignments else {}

    def stopped_gauge(self, partition: Partition) -> float | None:
        labels = {"topic": partition.topic, "partition": str(partition.number)}
        return self.metrics.registry.get_sample_value("orderflow_progress_stopped", labels)

    def member_id(self) -> str:
        return str(self.log.consumers[-1].group_metadata().member_id)

    def halt(self) -> None:
        """The thread ends without leaving the group."""
        self._stop.set()
        for gate in self.waits_at.values():
            gate.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def close(self) -> None:
        self.halt()
        self.consumer.close()
        self.log.close()


class Foreign(Partitioner):  # type: ignore[misc]  # untyped
    """Chooses the partition by the key's last byte, not by murmur2 as kafka-python does; without a key, in turn."""

    def __init__(self) -> None:
        self._next = 0

    def partition(self, topic: str, _key: Any, serialized_key: bytes | None, *rest: Any) -> int:
        partitions = sorted(rest[-1].partitions_for_topic(topic))
        self._next += 1
        return int(partitions[(serialized_key[-1] if serialized_key else self._next) % len(partitions)])


class Fleet:
    """A store, two topics and the members that read them."""

    def __init__(self, servers: list[str], url: str, partitions: Mapping[str, int]) -> None:
        suffix = uuid4().hex[:8]
        self.servers = servers
        self.topics = {base: f"{base}.{suffix}" for base in partitions}
        self.group, self.shop = f"group.{suffix}", f"shop-{suffix}"
        self.clock = SystemClock()
        self.store = Store(url, connections=10)
        self.store.migrate()
        self.orders = OrderWriter(self.store, {}, self.clock)
        create_topics(servers, {self.topics[base]: count for base, count in partitions.items()})
        self.partitions = {Partition(self.topics[base], n) for base, count in partitions.items() for n in range(count)}
        self.log = self.new_log()
        self.admin = KafkaAdminClient(bootstrap_servers=servers)
        self.members: list[Member] = []
        self.published: set[str] = set()
        self._foreign: Any = None

    def new_log(self, **consumer: Any) -> RecordingLog:
        fast = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 300, "fetch_max_wait_ms": 100}
        return RecordingLog(
            lambda: {"bootstrap_servers": self.servers},
            consumer=fast | consumer,
            producer={"delivery_timeout_ms": 8000, "request_timeout_ms": 3000, "max_block_ms": 5000},
        )

    def member(self, **client: Any) -> Member:
        made = Member(self, **client)
        self.members.append(made)
        return made.start()

    def close(self) -> None:
        for member in self.members:
            member.close()
            assert member.crash is None
        if self._foreign is not None:
            self._foreign.close(timeout=1)
        self.log.close()
        with suppress(Exception):
            self.admin.close()
        self.store.close()

    # -- Events: the value names the event

    def event(self, value: bytes) -> Event:
        order_id, number = value.decode().split()[0].split("/")
        event = replace(spoke(int(number)), shop=self.shop, order_id=order_id)
        return replace(event, source=f"/test/{self.shop}", event_id=f"{order_id}/{number}")

    def publish(self, count: int, base: str = SNAPSHOTS, orders: int = 10, filler: int = 0) -> None:
        """Publish `count` events of `orders` orders with our own client."""
        values = self._new_values(count, orders)
        topic, pad = self.topics[base], b" " + b"x" * filler
        self.log.publish([NewRecord(topic, value.split(b"/")[0], value + pad) for value in values])
        self.published |= {value.decode() for value in values}

    def publish_to(self, partition: Partition, count: int, filler: int = 0) -> list[bytes]:
        """Publish `count` events to one partition. Returns their values."""
        values = [value + b" " + b"x" * filler for value in self._new_values(count, 10)]
        sent = [self.foreign.send(partition.topic, value=value, partition=partition.number) for value in values]
        for one in sent:
            one.get(timeout=20)
        self.published |= {value.decode().split()[0] for value in values}
        return values

    def publish_abroad(self, count: int, base: str = OMS, *, keyless: bool = False) -> None:
        """Publish as the client of another team: the same keys go to other partitions, or there are no keys."""
        values = self._new_values(count, 10)
        key = (lambda _value: None) if keyless else (lambda value: value.split(b"/")[0])
        for one in [self.foreign.send(self.topics[base], key=key(value), value=value) for value in values]:
            one.get(timeout=20)
        self.published |= {value.decode() for value in values}

    @property
    def foreign(self) -> Any:
        if self._foreign is None:
            self._foreign = KafkaProducer(
                bootstrap_servers=self.servers, acks="all", partitioner=Foreign(), reconnect_backoff_max_ms=1000
            )
        return self._foreign

    def _new_values(self, count: int, orders: int) -> list[bytes]:
        start = getattr(self, "_count", 0)
        self._count = start + count
        return [f"O{n % orders}/{n}".encode() for n in range(start, start + count)]

    # -- What happened

    def applied(self) -> dict[str, int]:
        """Event id -> repeats, for every journal row. Fails where an event has two rows."""
        j, o = s.journal.c, s.orders.c
        mine = sa.select(j.event_id, j.repeats).join(s.orders, o.id == j.order_key).where(o.shop == self.shop)
        with self.store.reading() as connection:
            rows = connection.execute(mine.where(j.trigger != "act")).all()
        assert len({row.event_id for row in rows}) == len(rows), "an event stands in the journal twice"
        return {row.event_id: row.repeats for row in rows}

    def progress(self) -> dict[Partition, int]:
        found = progress_rows.of_group(self.store, self.log.cluster(), self.group)
        return {partition: progress.position for partition, progress in found.items()}

    def ends(self) -> dict[Partition, int]:
        return {
            partition: extent.end
            for partition, extent in self.log.partition_offsets(self.group, self.partitions).items()
        }

    def committed(self) -> dict[Partition, int | None]:
        return {
            partition: extent.committed
            for partition, extent in self.log.partition_offsets(self.group, self.partitions).items()
        }

    def commit(self, offsets_: Mapping[Partition, int]) -> None:
        """Set the group's commits by hand, as kafka-consumer-groups.sh does."""
        wanted = {TopicPartition(p.topic, p.number): OffsetAndMetadata(at, "", -1) for p, at in offsets_.items()}

        def is_taken() -> bool:
            done = self.admin.alter_group_offsets(self.group, wanted)
            return {error.__name__ for error in done.values()} == {"NoError"}

        wait(is_taken, "the group is empty")

    def set_row(self, partition: Partition, by: int) -> None:
        """Set a progress row as an older copy of the store would have it."""
        with self.store.transaction() as tx:
            cluster = self.log.cluster()
            now = progress_rows.lock_or_insert(tx, cluster, self.group, {partition: PartitionOffsets(0, 0)})[partition]
            progress_rows.reset(tx, cluster, self.group, partition, replace(now, position=now.position + by))

    def recreate(self, base: str, partitions: int) -> None:
        """Delete a topic and create another one with its name."""
        name = self.topics[base]
        self.admin.delete_topics([name])

        def is_made() -> bool:  # Kafka deletes the old topic a moment later
            with suppress(KafkaError):
                self.admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1}})
                return True
            return False

        wait(is_made, "the topic is recreated")
        create_topics(self.servers, {name: partitions})
        if self._foreign is not None:  # its sequence numbers belong to the old topic
            self._foreign.close(timeout=1)
            self._foreign = None

    def delete_below(self, partition: Partition, offset: int) -> None:
        self.admin.delete_records({TopicPartition(partition.topic, partition.number): offset})
        wait(
            lambda: self.log.partition_offsets(self.group, [partition])[partition].first >= offset,
            "the records are gone",
        )

    def reset(self, base: str, whence: Any = "stored") -> list[ResetPosition]:
        """Reset the offsets as a person does, from another process."""
        return offsets.reset(
            self.store,
            self.orders,
            self.log,
            self.group,
            self.topics[base],
            partition=None,
            whence=whence,
            who="ana",
            why="a test",
            at=self.clock.now(),
            shops=[self.shop],
        )

    def partition_statuses(self) -> dict[Partition, str]:
        found = offsets.partition_statuses(self.store, self.log, self.group, self.topics.values())
        return {Partition(one.topic, one.partition): one.mismatch for one in found if one.mismatch}

    def is_drained(self) -> bool:
        return self.progress() == self.ends()

    def drained(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until everything that was published is applied, once and without a repeat."""
        wait(lambda: self.applied().keys() == self.published, "everything is applied", seconds)
        wait(self.is_drained, "the progress rows are where the log ends", seconds)
        assert set(self.applied().values()) <= {0}

    def is_assigned(self, members: Collection[Member], at_least: int = 1) -> bool:
        """Each partition has exactly one of these members."""
        held = [member.held for member in members]
        return (
            sum(map(len, held)) == len(self.partitions) == len(frozenset().union(*held))
            and min(map(len, held)) >= at_least
        )

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Publish all the time, with our client and with the other one, with keys and without."""
        stop = threading.Event()
        failed: list[BaseException] = []

        def flow() -> None:
            try:
                while not stop.wait(0.02):
                    self.publish(3)
                    self.publish_abroad(2)
                    self.publish_abroad(1, keyless=True)
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=flow, name="flow", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(PATIENCE_SECONDS)
        assert not failed
