"""Kafka behind the log's ports: what kafka-python was seen to do, what no broker takes, and who may do what.

What every log keeps is in test_contract.py; consumers over Kafka are in system/test_kafka_consumers.py.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ACL, ACLOperation, ACLPermissionType, MemberToRemove, ResourcePattern, ResourceType
from kafka.consumer.fetcher import ConsumerRecord
from kafka.structs import TopicPartition

from adapters.clock import SystemClock
from adapters.engines.kafka import Kafka, create_topics
from adapters.errors import ConfigError, LogUnavailable, TooLarge
from adapters.log import kafka as adapter
from adapters.log.kafka import KafkaLog, KafkaReader, _Noted
from adapters.ports import NewRecord, Partition, Record
from consumer import config
from consumer.wiring import group_of, open_log, open_store
from tests.engines import USERS, Certificates, MakeTopics, make_certificates, started

PATIENCE_SECONDS = 30.0
FAST = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 300, "fetch_max_wait_ms": 100, "metadata_max_age_ms": 500}
MakeLog = Callable[..., KafkaLog]


@pytest.fixture
def make_log(kafka_servers: list[str]) -> Iterator[MakeLog]:
    made: list[KafkaLog] = []

    def make(servers: list[str] = kafka_servers, producer: Mapping[str, Any] | None = None, **client: Any) -> KafkaLog:
        made.append(KafkaLog(lambda: {"bootstrap_servers": servers, **client}, consumer=FAST, producer=producer))
        return made[-1]

    yield make
    for log in made:
        log.close()


@pytest.fixture(autouse=True)
def nothing_is_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """A client that was given up and still runs tries to connect for ever: one thread more with each try."""
    for engine in {"kafka_servers", "kafka_of_ours", "kafka_secure"} & set(request.fixturenames):
        request.getfixturevalue(engine)  # what an engine's start leaves is not counted
    before = set(threading.enumerate())
    yield
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while left := [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("kafka")]:
        assert time.monotonic() < ends_at, left
        time.sleep(0.05)


class Reading:
    """Readers of one topic, each at the beginning of what is dealt to it."""

    def __init__(self, log: KafkaLog, topic: str) -> None:
        self.log, self.topic, self.group = log, topic, uuid4().hex[:8]
        self.readers: list[KafkaReader] = []

    def reader(self, *, joins: bool = True) -> KafkaReader:
        reader = self.log.reader(self.group, [self.topic])
        self.readers.append(reader)
        if joins:
            self.until(reader.assignment, reader)
        return reader

    def until(self, holds: Callable[[], object], *readers: KafkaReader) -> list[Record]:
        """Poll these until it holds; what came meanwhile."""
        found: list[Record] = []
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < ends_at
            for reader in readers:
                with suppress(LogUnavailable):
                    found += reader.poll(100, 0.05)
        return found

    def values(self, reader: KafkaReader, *wanted: bytes) -> list[bytes]:
        """Poll until all of these came."""
        found: list[bytes] = []
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while not set(wanted) <= set(found):
            assert time.monotonic() < ends_at, found
            with suppress(LogUnavailable):
                found += [record.value or b"" for record in reader.poll(100, 0.05)]
        return found

    def publish(self, *values: bytes, key: bytes | None = b"k") -> None:
        self.log.publish([NewRecord(self.topic, key, value) for value in values])

    def close(self) -> None:
        for reader in self.readers:
            reader.close()


@pytest.fixture
def reading(make_log: MakeLog, topics: MakeTopics) -> Iterator[Reading]:
    made = Reading(make_log(), topics({"t": 2})["t"])
    yield made
    made.close()


# -- What kafka-python was seen to do ----------------------------------------------------------------------------


def test_the_listener_notes_a_deal_and_does_nothing_else() -> None:
    noted = _Noted(3)
    noted.on_partitions_revoked([TopicPartition("t", 0)])  # nothing was held: no deal
    assert noted.dealt == (3, frozenset())
    noted.on_partitions_assigned([TopicPartition("t", 0), TopicPartition("t", 1)])
    assert noted.dealt == (4, frozenset({Partition("t", 0), Partition("t", 1)}))
    noted.on_partitions_revoked([TopicPartition("t", 0), TopicPartition("t", 1)])
    assert noted.dealt == (5, frozenset())
    noted.on_partitions_assigned([])
    assert noted.dealt == (6, frozenset())
    assert vars(noted).keys() == {"dealt"}  # it knows no client, store or log to do anything with


def test_the_listener_runs_on_the_client_s_own_thread(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why it may do nothing: whatever waits there stops fetches and heartbeats."""
    threads: list[str] = []
    plain = _Noted.on_partitions_assigned

    def on_partitions_assigned(self: _Noted, assigned: Any) -> None:
        threads.append(threading.current_thread().name)
        plain(self, assigned)

    monkeypatch.setattr(_Noted, "on_partitions_assigned", on_partitions_assigned)
    reading.reader()
    assert threads
    assert all(name.startswith("kafka-io") for name in threads)


def test_a_client_that_is_broken_is_made_anew(reading: Reading) -> None:
    reading.publish(b"1")
    reader = reading.reader()
    generation, broken = reader.generation, reader._consumer
    broken.close(autocommit=False)
    with pytest.raises(LogUnavailable):
        reader.poll(10, 0.1)
    assert reader.assignment() == frozenset()
    assert reader.generation > generation  # every position counts as lost
    assert reading.values(reader, b"1") == [b"1"]
    assert reader._consumer is not broken


def test_a_commit_after_the_partitions_went_away_does_no_harm(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "COMMIT_SECONDS", 0.0)
    reader = reading.reader()
    reading.publish(b"1", b"2")
    reading.values(reader, b"1", b"2")
    held = reader.assignment()
    admin = KafkaAdminClient(**reading.log._client())
    member = MemberToRemove(member_id=reader._consumer._coordinator._generation.member_id)
    assert [error.__name__ for error in admin.remove_group_members(reading.group, [member]).values()] == ["NoError"]
    admin.close()
    before = reader.generation
    reader.commit(dict.fromkeys(held, 1))
    reading.until(lambda: reader.generation > before and reader.assignment() == held, reader)
    assert {extent.committed for extent in reader.partition_offsets(held).values()} <= {None}
    reader.commit(dict.fromkeys(held, 1))
    reading.until(lambda: {extent.committed for extent in reader.partition_offsets(held).values()} == {1}, reader)


def test_a_place_that_was_taken_away_can_be_sought_and_paused(reading: Reading) -> None:
    one = reading.reader()
    before = one.assignment()
    two = reading.reader(joins=False)
    reading.until(lambda: len(one.assignment()) == len(two.assignment()) == 1, one, two)
    (gone,) = before - one.assignment()
    one.seek(gone, 0)
    one.pause([gone])
    for number in range(10):
        reading.publish(b"%d" % number, key=b"%d" % number)
    ours = reading.until(lambda: sum(one.lag().values()) == 0 and two.lag(), one, two)
    assert {record.partition for record in ours} <= before
    assert one.assignment() == before - {gone}


def polled_until_unavailable(reader: KafkaReader, before: Callable[[], object] = lambda: None) -> str:
    """What the reader says when it gives up its client; `before` each poll."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends_at:
        before()
        try:
            reader.poll(10, 0.05)
        except LogUnavailable as error:
            return str(error)
    raise AssertionError("it noticed nothing")


def test_a_deal_that_was_never_ended_is_noticed(reading: Reading) -> None:
    reader = reading.reader()
    reader._patience_seconds = 0.2

    def told_of_none() -> None:  # the client holds two; a true deal would tell of them after all
        reader._noted.dealt = (reader.generation, frozenset())

    assert polled_until_unavailable(reader, told_of_none) == "the client has not ended a deal"
    reading.publish(b"1")
    assert reading.values(reader, b"1") == [b"1"]
    assert len(reader.assignment()) == 2


def settled(reader: KafkaReader) -> None:
    """The client likes to deal a second time once it has read the topics' metadata. Poll until it has done so."""
    ends_at, quiet_since = time.monotonic() + PATIENCE_SECONDS, time.monotonic()
    while time.monotonic() - quiet_since < 2:
        assert time.monotonic() < ends_at
        before = reader.generation
        reader.poll(10, 0.05)
        if reader.generation != before or len(reader._consumer.assignment()) != len(reader.assignment()):
            quiet_since = time.monotonic()


def test_silence_while_records_wait_is_noticed(reading: Reading) -> None:
    reader = reading.reader()
    settled(reader)
    reader._patience_seconds = 0.2
    for _ in range(20):  # nothing waits: silence is all right
        assert reader.poll(10, 0.05) == []
    deaf = reader._consumer

    def brings_nothing(timeout_ms: int, **_options: Any) -> dict[Any, Any]:
        time.sleep(timeout_ms / 1000)
        return {}

    deaf.poll = brings_nothing
    reading.publish(b"1")
    assert polled_until_unavailable(reader) == "the client brings nothing"
    assert reader._patience_seconds == 0.4  # should that have been in vain, it is looked at less often
    assert reading.values(reader, b"1") == [b"1"]
    assert reader._consumer is not deaf
    assert reader._patience_seconds == adapter.SILENT_SECONDS


def test_a_topic_that_is_made_later_is_found(make_log: MakeLog, kafka_servers: list[str]) -> None:
    reading = Reading(make_log(), f"late.{uuid4().hex[:8]}")
    reader = reading.reader(joins=False)
    for _ in range(10):
        assert reader.poll(10, 0.05) == []
    assert reading.log.partitions([reading.topic]) == {}
    create_topics(kafka_servers, {reading.topic: 2})
    reading.publish(b"1")
    assert reading.values(reader, b"1") == [b"1"]
    assert len(reader.assignment()) == 2
    reading.close()


def test_a_partition_that_rested_goes_on_with_what_came_meanwhile(reading: Reading) -> None:
    reader = reading.reader()
    held = reader.assignment()
    reader.pause(held)
    reading.publish(b"1", b"2")
    for _ in range(10):
        assert reader.poll(10, 0.05) == []
        reader.pause(held)  # before every poll, as the consumer does
    assert reader.assignment() == held
    before = reader.generation
    reader.pause([])
    assert reader.generation > before
    assert reading.values(reader, b"1", b"2") == [b"1", b"2"]


# -- Who is not there, and what no broker takes ------------------------------------------------------------------


def test_what_a_publisher_s_transaction_took_back_was_never_said(
    reading: Reading, kafka_servers: list[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Nor is what it has not ended yet; a reader that waits for that is not deaf."""
    monkeypatch.setattr(adapter, "SILENT_SECONDS", 1.0)
    publisher = KafkaProducer(bootstrap_servers=kafka_servers, transactional_id=uuid4().hex)
    request.addfinalizer(publisher.close)
    publisher.init_transactions()

    def say(value: bytes) -> None:
        publisher.begin_transaction()
        publisher.send(reading.topic, value, partition=0).get(PATIENCE_SECONDS)

    say(b"taken back")
    publisher.abort_transaction()
    say(b"said")
    publisher.commit_transaction()
    say(b"not ended")
    reader = reading.reader(joins=False)
    found = reading.values(reader, b"said")
    ends_at = time.monotonic() + 3
    while time.monotonic() < ends_at:
        found += [record.value or b"" for record in reader.poll(10, 0.05)]  # a deaf one would raise
    assert found == [b"said"]
    publisher.commit_transaction()
    assert reading.values(reader, b"not ended") == [b"not ended"]


def test_a_header_without_a_value_is_an_empty_one() -> None:
    """Kafka allows it. kafka-python publishes none, so here is what it would read."""
    nothing = dict.fromkeys(ConsumerRecord._fields)
    read = ConsumerRecord(
        **nothing | {"topic": "t", "partition": 0, "offset": 7, "timestamp": 0, "headers": [("h", None)]}
    )
    assert adapter._record(read).headers == (("h", b""),)


@pytest.mark.parametrize("factor", [1_000, 1_000_000])
def test_a_record_of_an_absurd_time_comes_like_any_other(
    make_log: MakeLog, kafka_servers: list[str], factor: int
) -> None:
    """A publisher that takes micro- or nanoseconds for milliseconds; brokers before 4.0 let that pass."""
    topic = f"times.{uuid4().hex[:8]}"
    make_topic(kafka_servers, topic, {"message.timestamp.after.max.ms": str(2**63 - 1)})
    publisher = KafkaProducer(bootstrap_servers=kafka_servers)
    now_ms = int(time.time() * 1000)
    for value, timestamp in ((b"1", now_ms), (b"2", now_ms * factor), (b"3", now_ms)):
        publisher.send(topic, value, timestamp_ms=timestamp).get(PATIENCE_SECONDS)
    publisher.close()
    reading = Reading(make_log(), topic)
    assert reading.values(reading.reader(joins=False), b"3") == [b"1", b"2", b"3"]
    reading.close()


@pytest.mark.parametrize("servers", [["nowhere.invalid:9092"], ["127.0.0.1:1"]], ids=["host", "port"])
def test_nobody_there_is_said_within_bounded_time(make_log: MakeLog, servers: list[str]) -> None:
    log = make_log(servers, bootstrap_timeout_ms=1000)
    started = time.monotonic()
    for ask in (
        log.cluster,
        lambda: log.publish([NewRecord("t", None, b"1")]),
        lambda: log.reader("g", ["t"]).poll(1, 0),
    ):
        with pytest.raises(LogUnavailable, match="no broker answered"):
            ask()
    assert time.monotonic() - started < 20


def test_settings_that_the_client_does_not_take_are_the_operator_s(make_log: MakeLog) -> None:
    with pytest.raises(ConfigError, match="does not take these settings"):
        make_log(no_such_setting=1).cluster()


@pytest.mark.parametrize("limit", ["client", "broker"])
def test_a_record_that_is_too_large_is_named_and_the_others_go(
    make_log: MakeLog, kafka_servers: list[str], limit: str
) -> None:
    log = make_log(producer={"max_request_size": 20_000} if limit == "client" else None)
    topic = f"small.{uuid4().hex[:8]}"
    make_small(kafka_servers, topic)
    records = [NewRecord(topic, b"k", b"x" * size) for size in (100, 9_000, 30_000, 100)]
    with pytest.raises(TooLarge) as raised:
        log.publish(records)
    assert raised.value.number == 2
    log.publish([record for record in records if len(record.value) < 20_000])
    log.publish(records[:1])  # and the next ones, too: it was said of every record from then on
    reading = Reading(log, topic)
    sizes: list[int] = []
    reader = reading.reader(joins=False)
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while sizes[-4:] != [100, 9_000, 100, 100]:  # some of them may have gone at the first try, too
        assert time.monotonic() < ends_at, sizes
        sizes += [len(record.value or b"") for record in reader.poll(10, 0.1)]
    assert 30_000 not in sizes
    reading.close()


def test_records_of_others_are_not_called_too_large_with_it(make_log: MakeLog, kafka_servers: list[str]) -> None:
    """Threads share a producer, and it blamed whatever it held: the outbox would have dropped sound records."""
    log = make_log()
    topic = f"small.{uuid4().hex[:8]}"
    make_small(kafka_servers, topic, partitions=3)
    blamed: list[int] = []

    def publish_sound() -> None:
        for n in range(30):
            try:
                log.publish([NewRecord(topic, b"%d" % n, b"x" * 100) for n in range(5)])
            except TooLarge:
                blamed.append(n)
            except LogUnavailable:
                continue  # its producer was given up under its hands, twice: to be tried again, and nothing is lost

    threads = [threading.Thread(target=publish_sound, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        batch = [NewRecord(topic, b"%d" % n, b"x" * (30_000 if n == 7 else 100)) for n in range(10)]
        with pytest.raises(TooLarge) as raised:
            log.publish(batch)
        assert raised.value.number == 7
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert blamed == []


def make_small(servers: list[str], topic: str, partitions: int = 1) -> None:
    """A topic that takes at most 20 kB. That is above batch_size: records below it share a batch."""
    make_topic(servers, topic, {"max.message.bytes": "20000"}, partitions)


def make_topic(servers: list[str], topic: str, configs: Mapping[str, str], partitions: int = 1) -> None:
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1, "configs": dict(configs)}})
    admin.wait_for_topics([topic])
    admin.close()


@pytest.fixture(scope="module")
def kafka_of_ours(folder: Path) -> Iterator[Kafka]:
    """One broker for tests that freeze and kill it; each leaves it running."""
    yield from started(folder)


def test_a_producer_that_was_given_up_ends(make_log: MakeLog, kafka_of_ours: Kafka) -> None:
    """Closed with records left, its threads ran on, one pair more with each try."""
    kafka_of_ours.create_topics({"u": 1})
    # The client would go on trying for half a minute after we gave up.
    log = make_log(kafka_of_ours.bootstrap_servers, {"delivery_timeout_ms": 30_000, "request_timeout_ms": 20_000})
    log._delivery_seconds = 1
    log.publish([NewRecord("u", b"k", b"1")])
    kafka_of_ours.freeze()
    try:
        with pytest.raises(LogUnavailable):
            log.publish([NewRecord("u", b"k", b"2")])
        ends_at = time.monotonic() + 10
        while any(thread.name.startswith("kafka-python-producer") for thread in threading.enumerate()):
            assert time.monotonic() < ends_at
            time.sleep(0.05)
    finally:
        kafka_of_ours.thaw()
    log._delivery_seconds = adapter.DELIVERY_SECONDS
    log.publish([NewRecord("u", b"k", b"3")])


def test_closing_does_not_wait_for_an_answer(kafka_of_ours: Kafka) -> None:
    """A stop has seconds. Whoever still asks is told that there is no log."""
    log = KafkaLog(lambda: {"bootstrap_servers": kafka_of_ours.bootstrap_servers})
    kafka_of_ours.create_topics({"v": 1})
    assert log.partitions(["v"]) == {"v": 1}
    told: list[str] = []

    def ask() -> None:
        try:
            log.partitions(["v"])
        except LogUnavailable as error:
            told.append(str(error))

    kafka_of_ours.freeze()
    try:
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        while not log._asking.locked():
            time.sleep(0.01)
        log.close()
        assert not any("no broker answered" in one for one in told)  # so late; that it was closed may be told by now
    finally:
        kafka_of_ours.thaw()
    asking.join(PATIENCE_SECONDS)
    assert len(told) == 1


def test_the_one_that_is_too_large_is_found_by_halves(
    make_log: MakeLog, kafka_servers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one, five hundred took longer than the lease of the relay."""
    log, made = make_log(), list[int]()
    topic = f"small.{uuid4().hex[:8]}"
    make_small(kafka_servers, topic)
    plain = log._new_producer

    def new_producer() -> Any:
        made.append(1)
        return plain()

    monkeypatch.setattr(log, "_new_producer", new_producer)
    with pytest.raises(TooLarge) as raised:
        log.publish([NewRecord(topic, b"k", b"x" * (30_000 if n == 321 else 10)) for n in range(500)])
    assert raised.value.number == 321
    assert len(made) < 25


def test_the_order_of_a_key_survives_a_broker_s_crash(make_log: MakeLog, kafka_of_ours: Kafka) -> None:
    """Published under load while the broker is killed and comes back; what failed is published again."""
    kafka_of_ours.create_topics({"t": 2})
    log = make_log(kafka_of_ours.bootstrap_servers, {"delivery_timeout_ms": 6000, "request_timeout_ms": 2000})
    stop, taken = threading.Event(), [0]

    def load() -> None:
        while not stop.is_set():
            batch = [NewRecord("t", b"%d" % (n % 3), b"%d" % n) for n in range(taken[0], taken[0] + 30)]
            with suppress(LogUnavailable):
                log.publish(batch)
                taken[0] += 30

    thread = threading.Thread(target=load, daemon=True)
    thread.start()

    def wait_for(count: int) -> None:
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while taken[0] < count:
            assert time.monotonic() < ends_at
            time.sleep(0.02)

    wait_for(150)
    kafka_of_ours.kill()
    kafka_of_ours.start_broker()
    wait_for(taken[0] + 150)
    stop.set()
    thread.join(PATIENCE_SECONDS)
    reading = Reading(log, "t")
    reader, found = reading.reader(joins=False), list[bytes]()
    found = reading.values(reader, *(b"%d" % n for n in range(taken[0])))
    for key in range(3):
        firsts = list(dict.fromkeys(int(value) for value in found if int(value) % 3 == key))
        assert firsts == sorted(firsts)
    reading.close()


# -- Who may do what ---------------------------------------------------------------------------------------------

CONSUMED = ("mirakl.order-snapshots", "oms.order-events")
PUBLISHED = ("mirakl.order-snapshots", "oms.order-events", "orderflow.transitions", "orderflow.dead-letters")
TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP
READ, WRITE = ACLOperation.READ, ACLOperation.WRITE

#: All that each needs. READ and WRITE of a topic, and READ of a group, imply DESCRIBE; since Kafka 3.0 (KIP-679) an
#: idempotent producer needs no right of the cluster. Nobody needs CREATE: topics are made by whoever runs Kafka.
RIGHTS = {
    "orderflow": [
        *((TOPIC, name, READ) for name in CONSUMED),
        *((TOPIC, name, WRITE) for name in PUBLISHED),
        (GROUP, "orderflow", READ),
    ],
    "oms": [(TOPIC, "oms.order-events", WRITE)],
    "nobody": [],
}


@pytest.fixture(scope="module")
def guarded(kafka_secure: Kafka) -> Kafka:
    """A Kafka with the service's topics, one that is not the service's, and RIGHTS."""
    kafka_secure.create_topics({**dict.fromkeys(PUBLISHED, 2), "another": 1})
    admin = KafkaAdminClient(bootstrap_servers=kafka_secure.bootstrap_servers)
    made = admin.create_acls(
        [
            ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name))
            for user, rights in RIGHTS.items()
            for kind, name, operation in rights
        ]
    )
    admin.close()
    assert made["failed"] == []
    return kafka_secure


CONFIG = """\
[store]
url = "sqlite:///orderflow.db"

[log]
kind = "kafka"

[kafka]
bootstrap_servers = {servers}
group_id = "{group}"
security_protocol = "SASL_SSL"
sasl_mechanism = "SCRAM-SHA-256"
sasl_plain_username = "{user}"
sasl_plain_password_file = "kafka.password"
ssl_cafile = "ca.pem"
session_timeout_ms = 6000
heartbeat_interval_ms = 500

[shops.alpha]
hostname = "alpha.mirakl.net"
shop_id = 2104
api_key_file = "alpha.key"

[shops.alpha.oms]
company_ref_id = 99001
api_key_file = "alpha.key"
"""

Login = Callable[..., KafkaLog]


@pytest.fixture
def login(guarded: Kafka, certificates: Certificates, tmp_path: Path) -> Iterator[Login]:
    """The log that a configuration of this user opens."""
    opened: list[KafkaLog] = []

    def open_(user: str, *, group: str = "orderflow", password: str = "", ca: bytes = b"") -> KafkaLog:
        (tmp_path / "ca.pem").write_bytes(ca or certificates.authority.read_bytes())
        (tmp_path / "kafka.password").write_text(f"{password or USERS[user]}\n")
        (tmp_path / "alpha.key").write_text("key")
        servers = str(guarded.secure_bootstrap_servers).replace("'", '"')
        path = tmp_path / "orderflow.toml"
        path.write_text(CONFIG.format(servers=servers, user=user, group=group))
        settings = config.load(path)
        store = open_store(settings)
        log = open_log(settings, store, SystemClock())
        store.close()
        assert isinstance(log, KafkaLog)
        assert group_of(settings) == group
        opened.append(log)
        return log

    yield open_
    for log in opened:
        log.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that who is refused is told soon."""
    for options in (adapter._CLIENT, adapter._OF_ADMIN):
        monkeypatch.setitem(options, "bootstrap_timeout_ms", 2000)
    monkeypatch.setattr(adapter, "ASK_AGAIN_SECONDS", 0.01)


def first_records(log: KafkaLog, group: str, topic: str, seconds: float = PATIENCE_SECONDS) -> list[Record]:
    """What a reader brings first. Raises LogUnavailable where it may not."""
    reader = log.reader(group, [topic])
    try:
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            if records := reader.poll(10, 0.1):
                reader.commit({record.partition: record.offset + 1 for record in records})
                return records
    finally:
        reader.close()
    return []


def test_our_user_can_do_all_that_the_service_does(login: Login) -> None:
    log = login("orderflow")
    assert log.cluster()
    assert log.partitions(PUBLISHED) == dict.fromkeys(PUBLISHED, 2)
    log.publish([NewRecord(topic, b"k", b"1") for topic in PUBLISHED])
    for topic in CONSUMED:
        (record, *_) = first_records(log, "orderflow", topic)
        extent = log.partition_offsets("orderflow", [record.partition])[record.partition]
        assert 0 < (extent.committed or 0) <= extent.end
        assert extent.log_id


@pytest.mark.usefixtures("impatient")
def test_our_user_can_do_no_more(login: Login) -> None:
    log = login("orderflow")
    log.publish([NewRecord(CONSUMED[0], b"k", b"1")])
    assert log.partitions(["another"]) == {}
    refused(lambda: log.publish([NewRecord("another", b"k", b"1")]))
    refused(lambda: first_records(log, "another", CONSUMED[0]))  # a group of others
    refused(lambda: first_records(log, "orderflow", "orderflow.transitions"))  # ours to write, not to read
    assert first_records(log, "orderflow", CONSUMED[0], seconds=0) == []
    log.publish([NewRecord(CONSUMED[0], b"k", b"2")])  # and after every no it works on


@pytest.mark.usefixtures("impatient")
def test_the_oms_can_publish_its_events_and_nothing_else(login: Login) -> None:
    log = login("oms")
    log.publish([NewRecord("oms.order-events", b"k", b"1")])
    for topic in PUBLISHED:
        if topic != "oms.order-events":
            records = [NewRecord(topic, b"k", b"1")]
            refused(lambda: log.publish(records))  # noqa: B023 - called at once
    refused(lambda: first_records(log, "orderflow", "oms.order-events"))


@pytest.mark.usefixtures("impatient")
def test_a_user_without_rights_can_do_nothing(login: Login) -> None:
    log = login("nobody")
    assert log.partitions(PUBLISHED) == {}
    refused(lambda: log.publish([NewRecord("oms.order-events", b"k", b"1")]))
    refused(lambda: first_records(log, "orderflow", CONSUMED[0]))


def refused(act: Callable[[], object]) -> None:
    with pytest.raises(LogUnavailable, match="Authorization"):
        act()


@pytest.mark.usefixtures("impatient")
def test_a_wrong_password_is_said_to_be_a_possible_cause(login: Login) -> None:
    log = login("orderflow", password="wrong")
    for act in (log.cluster, lambda: log.publish([NewRecord("oms.order-events", b"k", b"1")])):
        with pytest.raises(LogUnavailable, match="password") as raised:
            act()
        assert "wrong" not in str(raised.value)


def test_a_changed_password_is_read_without_a_restart(login: Login, tmp_path: Path) -> None:
    log = login("orderflow", password="not-yet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(adapter._CLIENT, "bootstrap_timeout_ms", 2000)
        with pytest.raises(LogUnavailable):
            log.cluster()
    (tmp_path / "kafka.password").write_text(USERS["orderflow"])
    assert log.cluster()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("ca", ["another's", "no certificate"])
def test_a_broker_that_the_file_of_authorities_does_not_vouch_for_is_refused(
    login: Login, tmp_path: Path, ca: str
) -> None:
    if ca == "another's":
        ca = make_certificates(tmp_path / "others").authority.read_text()
    with pytest.raises(LogUnavailable, match="certificate"):
        login("orderflow", ca=ca.encode()).cluster()
