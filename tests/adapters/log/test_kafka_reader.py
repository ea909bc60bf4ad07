"""KafkaReader: the faults of kafka-python that we observed in a group (docs/decisions/0015-kafka-python.md).

test_contract.py tests the properties of every log, tests/system/test_kafka_consumers.py tests consumers over Kafka.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient, KafkaProducer, codec, errors
from kafka.admin import MemberToRemove
from kafka.consumer.fetcher import ConsumerRecord, Fetcher
from kafka.record import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c
from kafka.structs import TopicPartition

from adapters.engines.kafka import create_topics
from adapters.errors import LogUnavailable, RecordUnreadable
from adapters.log import kafka_reader
from adapters.log.kafka_reader import (
    CONFIRM_SECONDS,
    LONGEST_SILENT_SECONDS,
    SILENT_SECONDS,
    SLICE_SECONDS,
    SPINNING_CPU_SECONDS,
    Assignment,
    AssignmentListener,
    KafkaReader,
    SilenceWatch,
    as_record,
    poll_in_slices,
    unreadable_record,
)
from adapters.ports import NewRecord, Partition, PartitionOffsets
from tests.adapters.log.kafka_rig import FAST, PATIENCE_SECONDS, MakeLog, Reading, RecordingLog, create_topic
from tests.engines import MakeTopics


def is_error(each: object) -> bool:
    plain = (Exception.__init__, errors.KafkaError.__init__)
    return isinstance(each, type) and issubclass(each, Exception) and each.__init__ in plain


pytestmark = pytest.mark.usefixtures("no_thread_left")


# -- Parts, without a broker -------------------------------------------------------------------------------------


def test_the_listener_keeps_the_newest_assignment_and_nothing_else() -> None:
    listener = AssignmentListener(3)
    listener.on_partitions_revoked([TopicPartition("t", 0)])  # nothing was assigned: no change
    assert listener.assignment == Assignment(3)
    listener.on_partitions_assigned([TopicPartition("t", 0), TopicPartition("t", 1)])
    assert listener.assignment == Assignment(4, frozenset({Partition("t", 0), Partition("t", 1)}))
    listener.on_partitions_revoked([TopicPartition("t", 0), TopicPartition("t", 1)])
    assert listener.assignment == Assignment(5)
    listener.on_partitions_assigned([])
    assert listener.assignment == Assignment(6)
    assert vars(listener).keys() == {"assignment"}, "it knows no client, store or log that it could use"


def test_a_check_is_due_after_some_seconds_without_a_record() -> None:
    watch = SilenceWatch()
    assert not watch.is_check_due(records=0, seconds=SILENT_SECONDS)
    assert watch.is_check_due(records=0, seconds=0.1)
    assert not watch.is_check_due(records=0, seconds=SILENT_SECONDS), "the time counts from the last check"
    assert not watch.is_check_due(records=1, seconds=1.0)
    assert not watch.is_check_due(records=0, seconds=SILENT_SECONDS), "the time counts from the last record"


def test_a_suspicion_is_checked_after_another_second_without_a_record() -> None:
    watch = SilenceWatch()
    watch.suspects()
    assert not watch.is_check_due(records=0, seconds=CONFIRM_SECONDS)
    assert watch.is_check_due(records=0, seconds=0.1)


def test_each_check_after_a_fault_comes_later_until_records_come() -> None:
    watch = SilenceWatch(silent_seconds=200.0)
    waits = []
    for _ in range(3):
        watch.found_fault()
        waits.append(watch.check_after_seconds)
    assert waits == [400.0, LONGEST_SILENT_SECONDS, LONGEST_SILENT_SECONDS]
    watch.is_check_due(records=1, seconds=0.1)
    assert watch.check_after_seconds == 200.0


class _Finds:
    """A client that finds nothing, and uses so much CPU time of its caller in each poll, or waits. It has the time of
    the machine, which it moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cpu_seconds: float) -> None:
        self._cpu_seconds = cpu_seconds
        self.at = self._cpu = 0.0
        self.polls = 0
        self.rests: list[float] = []
        of_machine = SimpleNamespace(monotonic=lambda: self.at, thread_time=lambda: self._cpu, sleep=self._sleep)
        monkeypatch.setattr(kafka_reader, "time", of_machine)

    def _sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.at += seconds

    def poll(self, timeout_ms: int, max_records: int) -> dict[str, list[object]]:
        self.polls += 1
        self._cpu += self._cpu_seconds
        self.at += self._cpu_seconds or timeout_ms / 1000 + 0.001
        return {}


def test_a_client_that_spins_is_left_alone_for_the_rest_of_the_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """kafka-python spun while one of three brokers hung, and kept 35 MB of memory a second."""
    spinning = _Finds(monkeypatch, 2 * SPINNING_CPU_SECONDS)
    assert poll_in_slices(spinning, 500, 0.3) == {}
    assert spinning.rests == [pytest.approx(0.3 - 2 * SPINNING_CPU_SECONDS)]
    assert spinning.polls == 2, "the second one after the rest"


def test_a_client_that_finds_nothing_is_polled_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = _Finds(monkeypatch, 0.0)
    assert poll_in_slices(idle, 500, 2.5 * SLICE_SECONDS) == {}
    assert (idle.polls, idle.rests) == (3, [])


def test_a_header_without_a_value_gets_an_empty_value() -> None:
    """Kafka allows such headers. kafka-python cannot publish one, so the test builds the record that it would read."""
    nothing = dict.fromkeys(ConsumerRecord._fields)
    read = ConsumerRecord(
        **nothing | {"topic": "t", "partition": 0, "offset": 7, "timestamp": 0, "headers": [("h", None)]}
    )
    assert as_record(read).headers == (("h", b""),)


# -- Records that cannot be read -----------------------------------------------------------------------------------


def batch_of(compression: int, *values: bytes, name: str = "h") -> bytearray:
    """A batch as it lies in the log, at offset 7."""
    builder = MemoryRecordsBuilder(2, compression, 10_000, offset=7)
    for value in values:
        builder.append(0, None, value * 500, [(name, b"1")])
    builder.close()
    return bytearray(builder.buffer())


def read(batch: bytearray, first: int = 7) -> list[bytes]:
    part = Fetcher.PartitionRecords(first, TopicPartition("t", 3), MemoryRecords(bytes(batch)))
    return [one.value for one in part.take(100)]


@pytest.mark.parametrize("compression", [0, 1, 2, 3, 4], ids=["none", "gzip", "snappy", "lz4", "zstd"])
def test_records_of_every_compression_are_read(compression: int) -> None:
    assert read(batch_of(compression, b"1", b"2")) == [b"1" * 500, b"2" * 500]


def broken(how: str, monkeypatch: pytest.MonkeyPatch) -> bytearray:
    batch = batch_of(4 if how == "codec" else 0, b"1", b"2", name="name")
    match how:
        case "codec":
            monkeypatch.setattr(codec, "zstd", None)
        case "checksum":
            batch[-1] ^= 1
        case "header name":  # the broker takes it: it does not look into records
            batch[batch.index(b"name")] = 0xFF
            batch[17:21] = calc_crc32c(bytes(batch[21:])).to_bytes(4)
    return batch


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("codec", "UnsupportedCodecError"),
        ("checksum", "CorruptRecordError"),
        ("header name", "CorruptRecordError"),
    ],
)
def test_an_error_while_records_are_read_names_partition_and_offsets(
    how: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Exception, match=r".") as raised:
        read(broken(how, monkeypatch))
    found = unreadable_record(raised.value)
    assert found is not None
    assert (found.topic, found.partition, found.offset, found.until, found.detail) == ("t", 3, 7, 9, error)


def fetched(records: bytes, version: int, position: int | None = 7) -> None:
    """Let the client look at what it fetched of partition 3, from offset 7 on."""
    place, data = TopicPartition("t", 3), SimpleNamespace(error_code=0, high_watermark=9, records=records)
    data.aborted_transactions = data.diverging_epoch = None
    at = None if position is None else SimpleNamespace(offset=position)
    fetcher = Fetcher.__new__(Fetcher)
    fetcher.config = {**Fetcher.DEFAULT_CONFIG}
    fetcher._isolation_level = 0
    fetcher._subscriptions = SimpleNamespace(
        is_fetchable=lambda _: True, assignment={place: SimpleNamespace(position=at)}
    )
    completed = SimpleNamespace(
        topic_partition=place, fetched_offset=7, partition_data=data, metric_aggregator=None, response_version=version
    )
    fetcher._parse_fetched_data(completed)


@pytest.mark.parametrize(("version", "error"), [(2, "RecordTooLargeError"), (12, "NoCompleteRecord")])
def test_a_record_that_does_not_fit_into_a_fetch_names_partition_and_offset(version: int, error: str) -> None:
    """The client was closed, and no partition was read any more: each poll met this record again."""
    with pytest.raises(errors.KafkaError) as raised:
        fetched(bytes(batch_of(0, b"1")[:-1]), version)
    found = unreadable_record(raised.value)
    assert found is not None
    assert (found.topic, found.partition, found.offset, found.until, found.detail) == ("t", 3, 7, 8, error)


def test_a_bug_of_the_client_at_a_fetch_is_about_no_record() -> None:
    with pytest.raises(AttributeError) as raised:
        fetched(bytes(batch_of(0, b"1")), 12, position=None)
    assert unreadable_record(raised.value) is None


def test_a_record_larger_than_a_fetch_is_read(kafka_servers: list[str], topics: MakeTopics) -> None:
    """Brokers since 0.10.1 send the first batch whole, whatever its size."""
    small = {"max_partition_fetch_bytes": 1000, "fetch_max_bytes": 1000}
    log = RecordingLog(lambda: {"bootstrap_servers": kafka_servers}, consumer=FAST | small)
    reading, large = Reading(log, topics({"t": 1})["t"]), b"1" * 100_000
    reader = reading.reader()
    reading.publish(large)
    reading.publish(b"2")
    assert reading.values(reader, large, b"2") == [large, b"2"]
    reading.close()
    log.close()


@pytest.mark.parametrize("error", sorted(filter(is_error, vars(errors).values()), key=str))
def test_an_error_of_the_client_that_is_about_no_record_is_about_no_partition(error: type[Exception]) -> None:
    try:
        raise error()
    except Exception as raised:
        assert unreadable_record(raised) is None


def test_a_record_that_cannot_be_read_stops_its_partition_alone(
    reading: Reading, monkeypatch: pytest.MonkeyPatch, kafka_servers: list[str]
) -> None:
    reader = reading.reader()  # before anything is published: what comes while it joins is lost
    reading.publish(b"first")
    reading.values(reader, b"first")  # all metadata is there
    producer = KafkaProducer(bootstrap_servers=kafka_servers, compression_type="zstd", linger_ms=500)
    for value in (b"bad1" * 500, b"bad2" * 500):
        producer.send(reading.topic, value=value, partition=1)
    producer.flush()
    producer.close()
    reading.log.publish([NewRecord(reading.topic, None, b"%d" % n) for n in range(20)])
    monkeypatch.setattr(codec, "zstd", None)
    generation = reader.generation
    values: list[bytes | None] = []
    stopped: list[tuple[int, int, int, str]] = []
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not (stopped and values):
        assert time.monotonic() < ends_at
        try:
            values += [one.value for one in reader.poll(100, 0.05)]
        except RecordUnreadable as error:
            stopped.append((error.partition, error.offset, error.until, error.detail))
            reader.pause([Partition(reading.topic, 1)])
    for _ in range(5):
        reader.pause([Partition(reading.topic, 1)])
        values += [one.value for one in reader.poll(100, 0.05)]
    assert stopped == [(1, 0, 2, "UnsupportedCodecError")]
    assert reader.generation == generation, "no rebalance"
    assert values


# -- Assignments -------------------------------------------------------------------------------------------------


def test_the_listener_runs_on_the_client_s_own_thread(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener must not wait, because fetches and heartbeats run on this thread."""
    threads: list[str] = []
    plain = AssignmentListener.on_partitions_assigned

    def on_partitions_assigned(self: AssignmentListener, assigned: Any) -> None:
        threads.append(threading.current_thread().name)
        plain(self, assigned)

    monkeypatch.setattr(AssignmentListener, "on_partitions_assigned", on_partitions_assigned)
    reading.reader()
    assert threads
    assert all(name.startswith("kafka-io") for name in threads)


def test_a_broken_client_is_recreated(reading: Reading) -> None:
    reading.publish(b"1")
    reader = reading.reader()
    generation, broken = reader.generation, reading.client
    broken.close(autocommit=False)
    with pytest.raises(LogUnavailable):
        reader.poll(10, 0.1)
    assert reader.assignment() == frozenset()
    assert reader.generation > generation, "so that the consumer seeks every partition again"
    assert reading.values(reader, b"1") == [b"1"]
    assert reading.client is not broken


def test_a_commit_after_the_partitions_were_revoked_does_no_harm(
    reading: Reading, kafka_servers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_reader, "COMMIT_SECONDS", 0.0)
    reader = reading.reader()
    reading.publish(b"1", b"2")
    reading.values(reader, b"1", b"2")
    held = reader.assignment()
    admin = KafkaAdminClient(bootstrap_servers=kafka_servers)
    member = MemberToRemove(member_id=reading.client.group_metadata().member_id)
    assert [error.__name__ for error in admin.remove_group_members(reading.group, [member]).values()] == ["NoError"]
    admin.close()
    before = reader.generation
    reader.commit(dict.fromkeys(held, 1))
    reading.until(lambda: reader.generation > before and reader.assignment() == held, reader)
    assert {one.committed for one in reader.partition_offsets(held).values()} <= {None}
    reader.commit(dict.fromkeys(held, 1))
    reading.until(lambda: {one.committed for one in reader.partition_offsets(held).values()} == {1}, reader)


def test_a_revoked_partition_can_be_sought_and_paused_without_an_error(reading: Reading) -> None:
    one = reading.reader()
    before = one.assignment()
    two = reading.reader(joins=False)
    reading.until(lambda: len(one.assignment()) == len(two.assignment()) == 1, one, two)
    (revoked,) = before - one.assignment()
    one.seek(revoked, 0)
    one.pause([revoked])
    for number in range(10):
        reading.publish(b"%d" % number, key=b"%d" % number)
    records = reading.until(lambda: sum(one.lag().values()) == 0 and two.lag(), one, two)
    assert {record.partition for record in records} <= before
    assert one.assignment() == before - {revoked}


def test_a_topic_that_is_created_later_is_found(make_log: MakeLog, kafka_servers: list[str]) -> None:
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


def test_a_resumed_partition_brings_the_records_that_came_while_it_was_paused(reading: Reading) -> None:
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


# -- Clients that bring nothing ----------------------------------------------------------------------------------


def polled_until_unavailable(reader: KafkaReader, before: Callable[[], object] = lambda: None) -> str:
    """Poll until the reader raises. Returns the text of the error. Calls `before` before each poll."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends_at:
        before()
        try:
            reader.poll(10, 0.05)
        except LogUnavailable as error:
            return str(error)
    raise AssertionError("the reader raised no error")


def test_a_rebalance_that_never_finishes_is_noticed(reading: Reading) -> None:
    reader = reading.reader(watch=SilenceWatch(0.2))

    def listener_knows_nothing() -> None:  # the client holds two partitions, and does not report them
        reading.log.listeners[-1].assignment = Assignment(reader.generation)

    assert polled_until_unavailable(reader, listener_knows_nothing) == "the client has not finished a rebalance"
    reading.publish(b"1")
    assert reading.values(reader, b"1") == [b"1"]
    assert len(reader.assignment()) == 2


def settled(reading: Reading, reader: KafkaReader) -> None:
    """Poll until no rebalance came for 2 s: the client often causes a second one when it has the topics' metadata."""
    ends_at, quiet_since = time.monotonic() + PATIENCE_SECONDS, time.monotonic()
    while time.monotonic() - quiet_since < 2:
        assert time.monotonic() < ends_at
        before = reader.generation
        with suppress(LogUnavailable):  # on a busy machine a rebalance may last until it counts as a fault
            reader.poll(10, 0.05)
        if reader.generation != before or len(reading.client.assignment()) != len(reader.assignment()):
            quiet_since = time.monotonic()


def test_a_client_that_brings_no_waiting_records_is_noticed(reading: Reading) -> None:
    watch = SilenceWatch()
    reader = reading.reader(watch=watch)
    settled(reading, reader)
    watch.check_after_seconds = 0.2  # not before: on a busy machine the group's first rebalance may take longer
    for _ in range(20):  # no records wait, so every check passes
        assert reader.poll(10, 0.05) == []
    stuck = reading.client

    def brings_nothing(timeout_ms: int, **_options: Any) -> dict[Any, Any]:
        time.sleep(timeout_ms / 1000)
        return {}

    stuck.poll = brings_nothing
    reading.publish(b"1")
    assert polled_until_unavailable(reader) == "the client brings none of the records that wait"
    assert watch.check_after_seconds == 0.4, "the next check comes later, in case this one did not help"
    assert reading.values(reader, b"1") == [b"1"]
    assert reading.client is not stuck
    assert watch.check_after_seconds == SILENT_SECONDS


def test_a_record_that_is_published_during_a_check_is_no_fault(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The poll before the check could not return this record. So the client works, and stays."""
    watch = SilenceWatch()
    reader = reading.reader(watch=watch)
    settled(reading, reader)
    client = reading.client
    published: list[bytes] = []
    ask = reading.log.partition_offsets

    def publish_and_ask(group: str, partitions: Collection[Partition]) -> Mapping[Partition, PartitionOffsets]:
        if partitions and not published:
            published.append(b"1")
            reading.publish(b"1")
        return ask(group, partitions)

    monkeypatch.setattr(reading.log, "partition_offsets", publish_and_ask)
    watch.check_after_seconds = 0.2
    assert reading.values(reader, b"1") == published == [b"1"]
    assert reading.client is client


def test_records_of_an_aborted_transaction_are_not_read(
    reading: Reading, kafka_servers: list[str], request: pytest.FixtureRequest
) -> None:
    """Records of an open transaction are not read either, and a reader that waits for them passes its check."""
    publisher = KafkaProducer(bootstrap_servers=kafka_servers, transactional_id=uuid4().hex)
    request.addfinalizer(publisher.close)
    publisher.init_transactions()

    def publish_in_transaction(value: bytes) -> None:
        publisher.begin_transaction()
        publisher.send(reading.topic, value, partition=0).get(PATIENCE_SECONDS)

    publish_in_transaction(b"aborted")
    publisher.abort_transaction()
    publish_in_transaction(b"committed")
    publisher.commit_transaction()
    publish_in_transaction(b"under way")
    reader = reading.reader(joins=False, watch=SilenceWatch(1.0))
    found = reading.values(reader, b"committed")
    ends_at = time.monotonic() + 3
    while time.monotonic() < ends_at:
        found += [record.value or b"" for record in reader.poll(10, 0.05)]  # a check that fails would raise
    assert found == [b"committed"]
    publisher.commit_transaction()
    assert reading.values(reader, b"under way") == [b"under way"]


@pytest.mark.parametrize("factor", [1_000, 1_000_000])
def test_a_record_with_an_impossible_time_is_read_like_any_other(
    make_log: MakeLog, kafka_servers: list[str], factor: int
) -> None:
    """A publisher may give micro- or nanoseconds instead of milliseconds. Brokers before 4.0 accept them."""
    topic = f"times.{uuid4().hex[:8]}"
    create_topic(kafka_servers, topic, {"message.timestamp.after.max.ms": str(2**63 - 1)})
    publisher = KafkaProducer(bootstrap_servers=kafka_servers)
    now_ms = int(time.time() * 1000)
    for value, timestamp in ((b"1", now_ms), (b"2", now_ms * factor), (b"3", now_ms)):
        publisher.send(topic, value, timestamp_ms=timestamp).get(PATIENCE_SECONDS)
    publisher.close()
    reading = Reading(make_log(), topic)
    assert reading.values(reading.reader(joins=False), b"3") == [b"1", b"2", b"3"]
    reading.close()
