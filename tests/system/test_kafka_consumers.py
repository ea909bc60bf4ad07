"""Consumers over a real Kafka and a real PostgreSQL: groups, zombies, offsets that do not fit, outages.

Each member is what a process has: a client of its own and a thread that calls `turn`, as bootstrap does. The test of
every story is the same: each event stands in the journal once, and the progress rows are where the log ends.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

import kafka
import pytest
import sqlalchemy as sa
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import MemberToRemove
from kafka.partitioner import Partitioner
from kafka.structs import OffsetAndMetadata
from structlog.testing import capture_logs

from adapters import schema as s
from adapters import store as stores
from adapters import views
from adapters.engines import Kafka, Postgres, create_topics
from adapters.kafka import KafkaLog
from adapters.ports import LogUnavailable, NewRecord, Place, Record, StoreUnavailable
from adapters.store import DeadLetter, Progress, Store
from consumer import loop, offsets
from consumer.apply import Applied, Orders
from consumer.clock import SystemClock
from consumer.loop import Consumer
from consumer.metrics import Metrics
from statemachine.events import Event
from statemachine.facts import RESTORED, Attempt
from tests.statemachine.lives import spoke

#: How long a deal, a fetch or a recovery may take on a busy machine, where a test says nothing else.
PATIENCE_SECONDS = 30.0
#: After a broker or a database is back, everything goes on within this.
RECOVERY_SECONDS = 15.0
SNAPSHOTS, OMS = "snapshots", "oms"


def wait(holds: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Until it holds; else the test fails."""
    ends_at = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends_at, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)


class Member:
    """One member of the group in a thread of its own."""

    def __init__(self, fleet: "Fleet", **client: Any) -> None:
        self.log = fleet.new_log(**client)
        self.metrics = Metrics({fleet.shop: 60.0}, "0", fleet.clock, fleet.topics.values())
        self.deals: list[tuple[frozenset[Place], dict[Place, str]]] = []
        self.troubles: list[str] = []
        self.records = 0
        self.results: list[str] = []
        self.crash: BaseException | None = None
        self.waits_at: dict[bytes, threading.Event] = {}  # values whose decoding waits
        self.waiting = threading.Event()
        self._fleet = fleet
        self.reader = self.log.reader(fleet.group, list(fleet.topics.values()))
        self.consumer = Consumer(
            self.reader,
            fleet.orders,
            dict.fromkeys(fleet.topics.values(), self._decode),
            self._on_batch,
            on_assigned=self._on_assigned,
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
                self.troubles.append(type(error).__name__)
                self._stop.wait(0.2)
            except BaseException as error:
                self.crash = error
                raise

    def _decode(self, value: bytes | None, _headers: Sequence[tuple[str, bytes]]) -> Event | None:
        if value in self.waits_at:
            self.waiting.set()
            assert self.waits_at[value].wait(60)
        return self._fleet.event(value or b"")

    def _on_batch(self, records: Sequence[Record], applied: Sequence[Applied], letters: Sequence[DeadLetter]) -> None:
        self.records += len(records)
        self.results += [one.result for one in applied]
        assert not letters

    def _on_assigned(self, held: Collection[Place], misfits: Mapping[Place, str]) -> None:
        self.metrics.assigned(held, misfits)
        self.deals.append((frozenset(held), dict(misfits)))

    @property
    def held(self) -> frozenset[Place]:
        return self.deals[-1][0] if self.deals else frozenset()

    @property
    def misfits(self) -> dict[Place, str]:
        return self.deals[-1][1] if self.deals else {}

    def stopped_gauge(self, place: Place) -> float | None:
        labels = {"topic": place.topic, "partition": str(place.partition)}
        return self.metrics.registry.get_sample_value("orderflow_progress_stopped", labels)

    def member_id(self) -> str:
        return str(self.reader._consumer._coordinator._generation.member_id)

    def halt(self) -> None:
        """The thread ends; the group is not told."""
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

    def die(self) -> None:
        """End between the commit of the database and that of Kafka, as a killed process does."""
        self.halt()
        self.reader._uncommitted = {}
        self.consumer.close()
        self.log.close()


class Foreign(Partitioner):  # type: ignore[misc]  # untyped
    """By the key's last byte, where kafka-python takes murmur2; without a key, one after the other."""

    def __init__(self) -> None:
        self._next = 0

    def partition(self, topic: str, _key: Any, serialized_key: bytes | None, *rest: Any) -> int:
        places = sorted(rest[-1].partitions_for_topic(topic))
        self._next += 1
        return int(places[(serialized_key[-1] if serialized_key else self._next) % len(places)])


class Fleet:
    """A store, two topics and the members that read them."""

    def __init__(self, servers: list[str], url: str, partitions: Mapping[str, int]) -> None:
        suffix = uuid4().hex[:8]
        self.servers = servers
        self.topics = {base: f"{base}.{suffix}" for base in partitions}
        self.group, self.shop = f"group.{suffix}", f"shop-{suffix}"
        self.clock = SystemClock()
        self.store = Store(url, connections=10)
        stores.migrate(self.store)
        self.orders = Orders(self.store, {}, self.clock)
        create_topics(servers, {self.topics[base]: count for base, count in partitions.items()})
        self.places = {Place(self.topics[base], n) for base, count in partitions.items() for n in range(count)}
        self.log = self.new_log()
        self.admin = KafkaAdminClient(bootstrap_servers=servers)
        self.members: list[Member] = []
        self.published: set[str] = set()
        self._foreign: Any = None

    def new_log(self, **consumer: Any) -> KafkaLog:
        fast = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 300, "fetch_max_wait_ms": 100}
        return KafkaLog(
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
        return replace(spoke(int(number)), shop=self.shop, order_id=order_id, event_id=f"{order_id}/{number}")

    def publish(self, count: int, base: str = SNAPSHOTS, orders: int = 10, filler: int = 0) -> None:
        """So many events of `orders` orders, by our own client."""
        values = self._new_values(count, orders)
        topic, pad = self.topics[base], b" " + b"x" * filler
        self.log.publish([NewRecord(topic, value.split(b"/")[0], value + pad) for value in values])
        self.published |= {value.decode() for value in values}

    def publish_to(self, place: Place, count: int, filler: int = 0) -> list[bytes]:
        """So many events into one partition. Returns their values."""
        values = [value + b" " + b"x" * filler for value in self._new_values(count, 10)]
        sent = [self.foreign.send(place.topic, value=value, partition=place.partition) for value in values]
        for one in sent:
            one.get(timeout=20)
        self.published |= {value.decode().split()[0] for value in values}
        return values

    def publish_abroad(self, count: int, base: str = OMS, *, keyless: bool = False) -> None:
        """As a client of other people does: other partitions for the same keys, or no keys at all."""
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

    # -- What came of it

    def applied(self) -> dict[str, int]:
        """Event id -> repeats, of every journal row; fails where one stands twice."""
        j, o = s.journal.c, s.orders.c
        mine = sa.select(j.event_id, j.repeats).join(s.orders, o.id == j.order_key).where(o.shop == self.shop)
        with self.store.reading() as connection:
            rows = connection.execute(mine.where(j.trigger != "act")).all()
        assert len({row.event_id for row in rows}) == len(rows), "an event stands in the journal twice"
        return {row.event_id: row.repeats for row in rows}

    def progress(self) -> dict[Place, int]:
        found = views.progress(self.store, self.log.cluster(), self.group)
        return {place: progress.position for place, progress in found.items()}

    def ends(self) -> dict[Place, int]:
        return {place: extent.end for place, extent in self.log.extents(self.group, self.places).items()}

    def committed(self) -> dict[Place, int | None]:
        return {place: extent.committed for place, extent in self.log.extents(self.group, self.places).items()}

    def is_drained(self) -> bool:
        return self.progress() == self.ends()

    def drained(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Everything that was published is applied, once, and nothing came twice."""
        try:
            wait(lambda: self.applied().keys() == self.published, "everything is applied", seconds)
        except AssertionError:
            a = self.applied().keys()
            print("MISSING", sorted(self.published - a)[:20], len(self.published - a), "EXTRA", len(a - self.published))
            print("PROGRESS", sorted(self.progress().items()), "ENDS", sorted(self.ends().items()))
            for m in self.members: print("M", m.records, m.troubles, m.reader.generation, m.consumer._generation, sorted(m.consumer._held.items()), m.reader.assignment(), m.reader._consumer and m.reader._consumer.assignment())
            raise
        wait(self.is_drained, "the progress rows are where the log ends", seconds)
        assert set(self.applied().values()) <= {0}

    def is_dealt(self, members: Collection[Member], at_least: int = 1) -> bool:
        """Each partition has exactly one of these members."""
        held = [member.held for member in members]
        return (
            sum(map(len, held)) == len(self.places) == len(frozenset().union(*held)) and min(map(len, held)) >= at_least
        )

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Records come all the time, from us and from others, with keys and without."""
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


@pytest.fixture
def make_fleet(kafka_servers: list[str], postgres_module_url: str) -> Iterator[Callable[..., Fleet]]:
    made: list[Fleet] = []

    def make(
        partitions: Mapping[str, int], servers: list[str] = kafka_servers, url: str = postgres_module_url
    ) -> Fleet:
        made.append(Fleet(servers, url, partitions))
        return made[-1]

    yield make
    for fleet in made:
        fleet.close()


@pytest.fixture
def fleet(make_fleet: Callable[..., Fleet]) -> Fleet:
    return make_fleet({SNAPSHOTS: 5, OMS: 2})


# -- The group ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3])
def test_members_come_and_go_while_records_flow_and_all_is_applied_once(fleet: Fleet, count: int) -> None:
    members = [fleet.member() for _ in range(count)]
    with fleet.flowing():
        wait(lambda: fleet.is_dealt(members), "each partition has one member")
        deals = [len(member.deals) for member in members]
        extra = fleet.member()
        wait(lambda: fleet.is_dealt([*members, extra]), "the new one has its share")
        wait(lambda: extra.records, "the new one applies")
        extra.close()
        wait(lambda: fleet.is_dealt(members), "its share went back to the others")
    fleet.drained()
    for member, before in zip(members, deals, strict=True):
        assert len(member.deals) >= before + 2
        assert member.metrics.registry.get_sample_value("orderflow_consumer_rebalances_total") == len(member.deals)
        assert member.misfits == {}
        assert max(map(len, [one.held for one in members])) - len(member.held) <= 1  # evenly over both topics
