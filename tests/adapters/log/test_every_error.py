"""Every error of the Kafka client through each loop: it costs one record, or nothing but time. No broker is needed.

The client's classes are replaced; all of ours is the real one.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kafka
import pytest
from kafka import errors
from kafka.consumer.fetcher import ConsumerRecord
from kafka.structs import TopicPartition

from adapters.errors import Cause, LogUnavailable, RecordRefused, TooLarge
from adapters.log.kafka import OF_A_RECORD, KafkaLog
from adapters.log.kafka_reader import KafkaReader
from adapters.ports import NewRecord, Partition, PartitionOffsets
from adapters.simulators.orders import COMPANIES
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import outbox as outbox_rows
from adapters.store.headers_json import log_headers_from_json
from adapters.store.outbox import OutboxRow
from consumer.bootstrap import new_consumer
from consumer.leases import RELAY, Leases
from consumer.relay import Relay
from consumer.web.callbacks import CallbackEndpoint
from tests.consumer.rig import SNAPSHOTS, Rig
from tests.support import StillClock, new_store

#: Kafka takes no record with this value.
BAD = b"bad"


def made(kind: type[Exception]) -> Exception:
    """One of this class, also of those that want arguments."""
    error = kind.__new__(kind)
    Exception.__init__(error, "an error")
    return error


EVERY = sorted(
    (each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)),
    key=lambda each: each.__name__,
)
#: What the client raises besides its own errors: of the network, and of its bugs.
OTHERS = [OSError, ConnectionResetError, TimeoutError, AttributeError, KeyError, AssertionError, RuntimeError]
#: The closed list: errors that belong to a record. Each further one would be dropped by the relay.
REFUSED = {"InvalidRecordError", "InvalidTimestampError", "MessageSizeTooLargeError", "RecordListTooLargeError"}
#: One of each kind, for tests that need a whole service.
OF_EACH_KIND = [
    *(each for each in EVERY if each.__name__ in REFUSED),
    errors.KafkaTimeoutError,
    errors.KafkaStorageError,
    errors.TopicAuthorizationFailedError,
    errors.PolicyViolationError,
    errors.UnknownError,
    errors.NoOffsetForPartitionError,
    ConnectionResetError,
    AttributeError,
]


def is_too_large(error: type[Exception]) -> bool:
    return error.__name__.endswith("TooLargeError")


def test_the_errors_that_cost_a_record_are_a_closed_list() -> None:
    assert {each.__name__ for each in EVERY if issubclass(each, OF_A_RECORD)} == REFUSED
    assert len(EVERY) > 100


class Broken:
    """What the replaced clients raise, and what reached Kafka."""

    def __init__(self) -> None:
        self.error: type[Exception] | None = None
        self.published: list[bytes] = []


class Producer:
    """In the place of kafka.KafkaProducer."""

    def __init__(self, broken: Broken) -> None:
        self._broken = broken

    def send(self, _topic: str, *, value: bytes, **_more: Any) -> Any:
        def get(**_: object) -> None:
            if BAD in value and self._broken.error is not None:
                raise made(self._broken.error)
            self._broken.published.append(value)

        return SimpleNamespace(get=get)

    def flush(self, **_: object) -> None:
        pass

    def close(self, **_: object) -> None:
        pass


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Broken:
    broken = Broken()
    monkeypatch.setattr(kafka, "KafkaProducer", lambda **_: Producer(broken))
    return broken


@pytest.fixture
def log(broken: Broken) -> Iterator[KafkaLog]:
    log = KafkaLog(dict)
    yield log
    log.close()


def of(*values: bytes) -> list[NewRecord]:
    return [NewRecord("t", b"k", value) for value in values]


@pytest.mark.parametrize("error", [*EVERY, *OTHERS])
def test_every_error_of_the_client_when_it_publishes(log: KafkaLog, broken: Broken, error: type[Exception]) -> None:
    broken.error = error
    with pytest.raises((LogUnavailable, RecordRefused)) as raised:
        log.publish(of(b"1", BAD, b"2"))
    if error.__name__ in REFUSED:
        assert isinstance(raised.value, RecordRefused)
        assert raised.value.number == 1
        assert isinstance(raised.value, TooLarge) is is_too_large(error)
    else:
        assert isinstance(raised.value, LogUnavailable)
        assert raised.value.cause in Cause
    broken.error = None
    log.publish(of(BAD))


@pytest.mark.parametrize("error", OF_EACH_KIND)
def test_errors_of_the_client_in_the_relay(
    tmp_path: Path, log: KafkaLog, broken: Broken, error: type[Exception]
) -> None:
    """They cost one record of the outbox, or nothing: the records wait, and another topic goes on."""
    store, clock = new_store(tmp_path), StillClock()
    leases = Leases(store, clock, "one", 30)
    leases.take(RELAY)
    relay = Relay(store, log, lambda: leases.kept(RELAY))
    rows = [OutboxRow("type", one) for one in (*of(b"1", BAD, b"2"), NewRecord("other", b"k", b"3"))]
    with store.transaction() as tx:
        outbox_rows.add(tx, rows, clock.now())
    broken.error = error
    if error.__name__ in REFUSED:
        relay.turn()
        assert {b"1", b"2", b"3"} <= set(broken.published)
        assert (b"" in broken.published) is is_too_large(error), "a record that is too large goes out without its value"
    else:
        with pytest.raises(LogUnavailable):
            relay.turn()
        assert b"3" in broken.published
        assert [row.record.value for row in outbox_rows.oldest(store, 10)] == [b"1", BAD, b"2"]
        broken.error = None
        broken.published.clear()
        relay.turn()
        assert broken.published == [b"1", BAD, b"2"]
    assert outbox_rows.oldest(store, 10) == []
    store.close()


@pytest.mark.parametrize("error", OF_EACH_KIND)
def test_errors_of_the_client_in_a_poll(tmp_path: Path, log: KafkaLog, broken: Broken, error: type[Exception]) -> None:
    """They cost one order, which is a dead letter, or nothing: the next poll publishes all."""
    rig = Rig(tmp_path)
    for order_id in ("1-A", "2-bad", "3-A"):
        rig.add(order_id)
    rig.clock.advance(1)
    poller = rig.new_poller(writer=log)
    broken.error = error
    if error.__name__ in REFUSED:
        poller.run()
        reason = "too_large" if is_too_large(error) else "refused"
        assert [one.reason for one in dead_letter_rows.newest(rig.store)] == [reason]
    else:
        with pytest.raises(LogUnavailable):
            poller.run()
        assert dead_letter_rows.newest(rig.store) == []
        broken.error = None
        rig.clock.advance(60)
        poller.run()
        assert any(BAD in value for value in broken.published)
    for other in (b"1-A", b"3-A"):
        assert any(other in value for value in broken.published)


@pytest.mark.parametrize("error", OF_EACH_KIND)
def test_errors_of_the_client_when_a_callback_comes(
    tmp_path: Path, log: KafkaLog, broken: Broken, error: type[Exception]
) -> None:
    """The callback is a dead letter, or the OMS sends it again."""
    rig = Rig(tmp_path)
    endpoint = CallbackEndpoint(
        "alpha",
        COMPANIES["alpha"],
        lambda: ("secret",),
        writer=log,
        topic="t",
        shops=[],
        keep=rig.orders.keep,
        hooks=rig.base.hooks,
        clock=rig.clock,
    )
    body = json.dumps({"id": 46140204, "external_ref": "2-bad", "status": 4}).encode()
    broken.error = error
    if error.__name__ in REFUSED:
        assert endpoint.take(body).status_code == 400
        assert len(dead_letter_rows.newest(rig.store)) == 1
    else:
        with pytest.raises(Exception, match=r".") as raised:
            endpoint.take(body)
        assert isinstance(raised.value.__cause__, LogUnavailable)
    broken.error = None
    assert endpoint.take(body).status_code == 200


# -- Reading -------------------------------------------------------------------------------------------------------

TOPIC = TopicPartition(SNAPSHOTS, 0)


class Client:
    """In the place of kafka.KafkaConsumer, with one partition. Each of its methods raises what the test says."""

    def __init__(self, records: list[Any]) -> None:
        self.raises: dict[str, Exception] = {}
        self.closed = False
        self._records = records
        self._position = 0
        self._is_assigned = False

    def __getattribute__(self, name: str) -> Any:
        if error := object.__getattribute__(self, "__dict__").get("raises", {}).get(name):
            raise error
        return object.__getattribute__(self, name)

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return {0}

    def subscribe(self, _topics: list[str], listener: Any) -> None:
        self._listener = listener

    def assignment(self) -> set[TopicPartition]:
        return {TOPIC}

    def paused(self) -> set[TopicPartition]:
        return set()

    def pause(self, *_: object) -> None:
        pass

    def seek(self, _partition: TopicPartition, offset: int) -> None:
        self._position = offset

    def position(self, _partition: TopicPartition, **_: object) -> int:
        return self._position

    def highwater(self, _partition: TopicPartition) -> int:
        return len(self._records)

    def commit_async(self, _positions: object) -> None:
        pass

    def commit(self, _positions: object, **_: object) -> None:
        pass

    def poll(self, **_: object) -> dict[TopicPartition, list[Any]]:
        if not self._is_assigned:
            self._is_assigned = True
            self._listener.on_partitions_assigned([TOPIC])
            return {}
        found, self._position = self._records[self._position :], len(self._records)
        return {TOPIC: found}

    def close(self, **_: object) -> None:
        self.closed = True


class ReadableLog:
    """A log with one partition, which holds these records."""

    def __init__(self, records: list[Any]) -> None:
        self._records = records
        self.clients: list[Client] = []
        self.raises: dict[str, Exception] = {}  # what the next client raises

    def new_consumer(self, _group: str) -> Client:
        self.clients.append(Client(self._records))
        self.clients[-1].raises, self.raises = self.raises, {}
        return self.clients[-1]

    def cluster(self) -> str:
        return "cluster"

    def partitions(self, topics: Any) -> dict[str, int]:
        return dict.fromkeys(topics, 1)

    def partition_offsets(self, _group: str, partitions: Any) -> dict[Partition, PartitionOffsets]:
        return {one: PartitionOffsets(0, len(self._records), "id") for one in partitions}


WAYS: dict[str, Callable[[KafkaReader], object]] = {
    "poll": lambda reader: reader.poll(10, 0),
    "pause": lambda reader: reader.pause([Partition(SNAPSHOTS, 0)]),
    "assignment": lambda reader: reader.pause([Partition(SNAPSHOTS, 0)]),
    "highwater": lambda reader: reader.lag(),
    "seek": lambda reader: reader.seek(Partition(SNAPSHOTS, 0), 3),
}


@pytest.mark.parametrize("method", WAYS)
@pytest.mark.parametrize("error", [*EVERY, *OTHERS])
def test_every_error_of_the_client_when_it_reads(method: str, error: type[Exception]) -> None:
    """It costs the client, which is made anew at the next poll. Outside of `poll` a broken client stayed in use."""
    log = ReadableLog([])
    reader = KafkaReader(log, "g", [SNAPSHOTS])
    reader.poll(10, 0)
    log.clients[0].raises[method] = made(error)
    with pytest.raises(LogUnavailable) as raised:
        WAYS[method](reader)
    assert raised.value.cause in Cause
    assert log.clients[0].closed
    assert reader.poll(10, 0) == []
    assert len(log.clients) == 2


@pytest.mark.parametrize("method", ["partitions_for_topic", "poll", "pause", "seek", "commit_async", "close"])
@pytest.mark.parametrize("error", OF_EACH_KIND)
def test_errors_of_the_client_in_the_consumer(tmp_path: Path, method: str, error: type[Exception]) -> None:
    """They cost nothing but time: every record is applied once."""
    rig = Rig(tmp_path)
    for order_id in ("1-A", "2-A"):
        rig.add(order_id)
    rig.clock.advance(1)
    rig.pollers["alpha"].run()
    records = [
        ConsumerRecord(
            SNAPSHOTS, 0, 0, n, 0, 0, row.record_key, row.value, log_headers_from_json(row.headers), *[0] * 4
        )
        for n, row in enumerate(rig.records())
    ]
    log = ReadableLog(records)
    event_log: Any = SimpleNamespace(reader=lambda group, topics: KafkaReader(log, group, topics))
    consumer = new_consumer(replace(rig.base, log=event_log))
    log.raises[method] = made(error)
    failed = 0
    for _ in range(6):
        try:
            consumer.turn(0)
            consumer.lag()
        except LogUnavailable:
            failed += 1
    assert failed <= 1
    assert [rig.row(order_id).version for order_id in ("1-A", "2-A")] == [1, 1]
    assert dead_letter_rows.newest(rig.store) == []
    consumer.close()


@pytest.mark.parametrize("error", [*EVERY, *OTHERS])
def test_every_error_of_the_client_when_it_is_asked_about_the_cluster(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    asked: list[str] = []

    def describe() -> None:
        asked.append("")
        raise made(error)

    monkeypatch.setattr("adapters.log.kafka.ASK_SECONDS", 0)
    admin = SimpleNamespace(describe_cluster=describe, close=lambda: asked.append("closed"))
    monkeypatch.setattr(kafka, "KafkaAdminClient", lambda **_: admin)
    log = KafkaLog(dict)
    for _ in range(2):
        with pytest.raises(LogUnavailable):
            log.cluster()
    assert asked == ["", "closed"] * 2, "a client that failed is not used again"
