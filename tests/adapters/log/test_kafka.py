"""KafkaLog: publishing records, and asking a cluster about topics, with the faults of producers that we observed.

test_contract.py tests the properties of every log, test_kafka_reader.py tests the readers.
"""

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from kafka import codec, errors

from adapters.engines.kafka import Kafka
from adapters.errors import Cause, ConfigError, LogUnavailable, TooLarge
from adapters.log.kafka import KafkaLog
from adapters.log.kafka_client import unavailable
from adapters.ports import NewRecord
from tests.adapters.log.kafka_rig import PATIENCE_SECONDS, MakeLog, Reading, create_topic
from tests.support import Meanwhile

pytestmark = pytest.mark.usefixtures("no_thread_left")


@pytest.mark.parametrize("servers", [["nowhere.invalid:9092"], ["127.0.0.1:1"]], ids=["host", "port"])
def test_without_a_broker_every_call_fails(make_log: MakeLog, servers: list[str]) -> None:
    log = make_log(servers, bootstrap_timeout_ms=1000)
    calls: list[Callable[[], object]] = [
        log.cluster,
        lambda: log.publish([NewRecord("t", None, b"1")]),
        lambda: log.reader("g", ["t"]).poll(1, 0),
    ]
    for call in calls:
        error = Meanwhile(call).result()
        assert isinstance(error, LogUnavailable)
        assert "no broker answered" in str(error)


def test_settings_that_the_client_does_not_accept_are_a_config_error(make_log: MakeLog) -> None:
    with pytest.raises(ConfigError, match="does not accept these settings"):
        make_log(no_such_setting=1).cluster()


# -- Records that are too large ----------------------------------------------------------------------------------


def create_small_topic(servers: list[str], partitions: int = 1) -> str:
    """Create a topic that accepts at most 20 kB. That is above batch_size, so smaller records share a batch."""
    topic = f"small.{uuid4().hex[:8]}"
    create_topic(servers, topic, {"max.message.bytes": "20000"}, partitions)
    return topic


@pytest.mark.parametrize("limit", ["client", "broker"])
def test_a_record_that_is_too_large_is_named_and_the_others_are_published(
    make_log: MakeLog, kafka_servers: list[str], limit: str
) -> None:
    log = make_log(options={"producer": {"max_request_size": 20_000} if limit == "client" else {}})
    topic = create_small_topic(kafka_servers)
    records = [NewRecord(topic, b"k", b"x" * size) for size in (100, 9_000, 30_000, 100)]
    with pytest.raises(TooLarge) as raised:
        log.publish(records)
    assert raised.value.number == 2
    log.publish([record for record in records if len(record.value) < 20_000])
    log.publish(records[:1])  # a producer that was kept would report the error for every later record too
    reading = Reading(log, topic)
    sizes: list[int] = []
    reader = reading.reader(joins=False)
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while sizes[-4:] != [100, 9_000, 100, 100]:  # the first attempt may have published some of them
        assert time.monotonic() < ends_at, sizes
        sizes += [len(record.value or b"") for record in reader.poll(10, 0.1)]
    assert 30_000 not in sizes
    reading.close()


def test_records_of_other_threads_are_not_reported_as_too_large(make_log: MakeLog, kafka_servers: list[str]) -> None:
    """Threads share a producer. After a record that is too large it reports the error for all records that it holds.

    Without a producer for each part, the relay would drop good records.
    """
    log = make_log()
    topic = create_small_topic(kafka_servers, partitions=3)
    reported: list[int] = []

    def publish_sound_records() -> None:
        for attempt in range(30):
            try:
                log.publish([NewRecord(topic, b"%d" % n, b"x" * 100) for n in range(5)])
            except TooLarge:
                reported.append(attempt)
            except LogUnavailable:
                continue  # other threads dropped its producer twice; the caller may publish again, so nothing is lost

    threads = [threading.Thread(target=publish_sound_records, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        batch = [NewRecord(topic, b"%d" % n, b"x" * (30_000 if n == 7 else 100)) for n in range(10)]
        with pytest.raises(TooLarge) as raised:
            log.publish(batch)
        assert raised.value.number == 7
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert reported == []


def test_the_record_that_is_too_large_is_found_by_halving(kafka_servers: list[str]) -> None:
    """If five hundred records were published one by one, it would take longer than the relay's lease."""
    topic = create_small_topic(kafka_servers)
    clients: list[str] = []

    def client() -> Mapping[str, Any]:  # the log calls it for each new client
        clients.append("producer")
        return {"bootstrap_servers": kafka_servers}

    log = KafkaLog(client)
    with pytest.raises(TooLarge) as raised:
        log.publish([NewRecord(topic, b"k", b"x" * (30_000 if n == 321 else 10)) for n in range(500)])
    log.close()
    assert raised.value.number == 321
    assert len(clients) < 25


# -- A broker that does not answer -------------------------------------------------------------------------------


def test_a_dropped_producer_ends_its_threads(make_log: MakeLog, kafka_of_ours: Kafka) -> None:
    """If a producer is closed while it holds records, kafka-python leaves its two threads running."""
    kafka_of_ours.create_topics({"u": 1})
    # With these settings the client would go on trying for half a minute after publish() has raised.
    long = {"delivery_timeout_ms": 30_000, "request_timeout_ms": 20_000}
    log = make_log(kafka_of_ours.bootstrap_servers, {"producer": long, "delivery_seconds": 1})
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
    publish_within(log, [NewRecord("u", b"k", b"3")], PATIENCE_SECONDS)


def publish_within(log: KafkaLog, records: list[NewRecord], seconds: float) -> None:
    """Repeat the publication until it succeeds."""
    ends_at = time.monotonic() + seconds
    while True:
        try:
            return log.publish(records)
        except LogUnavailable:
            assert time.monotonic() < ends_at, f"could not publish within {seconds} s"


def test_closing_does_not_wait_for_the_answer_to_a_request(kafka_of_ours: Kafka) -> None:
    """A stopping process has only seconds. A thread that still waits for an answer gets LogUnavailable."""
    log = KafkaLog(lambda: {"bootstrap_servers": kafka_of_ours.bootstrap_servers})
    kafka_of_ours.create_topics({"v": 1})
    assert log.partitions(["v"]) == {"v": 1}
    errors: list[str] = []

    def ask() -> None:
        try:
            log.partitions(["v"])
        except LogUnavailable as error:
            errors.append(str(error))

    kafka_of_ours.freeze()
    try:
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        time.sleep(0.5)  # the request has begun, and the frozen broker does not answer it
        assert errors == []
        log.close()
        # The error may have come by now, but not the error of a request that timed out.
        assert not any("no broker answered" in error for error in errors)
    finally:
        kafka_of_ours.thaw()
    asking.join(PATIENCE_SECONDS)
    assert len(errors) == 1


def test_the_order_of_a_key_survives_a_crash_of_the_broker(make_log: MakeLog, kafka_of_ours: Kafka) -> None:
    """A thread publishes while the broker is killed and started again. It repeats the batches that failed."""
    kafka_of_ours.create_topics({"t": 2})
    producer = {"delivery_timeout_ms": 6000, "request_timeout_ms": 2000}
    log = make_log(kafka_of_ours.bootstrap_servers, {"producer": producer})
    stop, published = threading.Event(), [0]

    def load() -> None:
        while not stop.is_set():
            batch = [NewRecord("t", b"%d" % (n % 3), b"%d" % n) for n in range(published[0], published[0] + 30)]
            with suppress(LogUnavailable):
                log.publish(batch)
                published[0] += 30

    thread = threading.Thread(target=load, daemon=True)
    thread.start()

    def wait_for(count: int) -> None:
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while published[0] < count:
            assert time.monotonic() < ends_at
            time.sleep(0.02)

    wait_for(150)
    kafka_of_ours.kill()
    kafka_of_ours.start_broker()
    wait_for(published[0] + 150)
    stop.set()
    thread.join(PATIENCE_SECONDS)
    reading = Reading(log, "t")
    found = reading.values(reading.reader(joins=False), *(b"%d" % n for n in range(published[0])))
    for key in range(3):
        first_deliveries = list(dict.fromkeys(int(value) for value in found if int(value) % 3 == key))
        assert first_deliveries == sorted(first_deliveries)
    reading.close()


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
def test_a_compression_whose_library_is_missing_is_an_error_at_the_start(
    compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    KafkaLog(dict, producer={"compression_type": compression})
    monkeypatch.setattr(codec, f"has_{compression}", lambda: False)
    with pytest.raises(ConfigError, match=rf"kafka\.compression_type: the library of {compression} is not installed"):
        KafkaLog(dict, producer={"compression_type": compression})


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (errors.KafkaTimeoutError(), Cause.TIMEOUT),
        (errors.SaslAuthenticationFailedError(), Cause.LOGIN),
        (errors.TopicAuthorizationFailedError(), Cause.LOGIN),
        (errors.KafkaConnectionError(), Cause.CONNECTION),
        (ssl.SSLError(), Cause.TLS),
        (errors.UnknownError(), Cause.OTHER),
    ],
)
def test_an_error_of_the_client_has_a_cause_of_the_closed_set(error: Exception, cause: Cause) -> None:
    assert unavailable(error).cause == cause
