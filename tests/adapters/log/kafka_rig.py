"""Helpers of the tests of Kafka's log: logs whose clients a test can reach, and readers of one topic."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

from kafka import KafkaAdminClient

from adapters.errors import LogUnavailable
from adapters.log.kafka import KafkaLog
from adapters.log.kafka_reader import KafkaReader, SilenceWatch
from adapters.ports import NewRecord, Record

PATIENCE_SECONDS = 30.0
FAST = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 300, "fetch_max_wait_ms": 100, "metadata_max_age_ms": 500}


class RecordingLog(KafkaLog):
    """A KafkaLog that keeps its readers' clients, so that a test can inspect the newest client, or break it."""

    def __init__(self, client: Callable[[], Mapping[str, Any]], **options: Any) -> None:
        super().__init__(client, **options)
        self.consumers: list[Any] = []
        self.listeners: list[Any] = []

    def new_consumer(self, group: str) -> Any:
        consumer = super().new_consumer(group)
        plain_subscribe = consumer.subscribe

        def subscribe(topics: list[str], listener: Any) -> None:
            self.listeners.append(listener)
            plain_subscribe(topics, listener=listener)

        consumer.subscribe = subscribe
        self.consumers.append(consumer)
        return consumer


#: Creates a log from the bootstrap servers, the log's options, and options of every client as keywords.
MakeLog = Callable[..., RecordingLog]


class Reading:
    """Readers of one topic in one group. Each begins at the start of the partitions that it is assigned."""

    def __init__(self, log: RecordingLog, topic: str) -> None:
        self.log, self.topic, self.group = log, topic, uuid4().hex[:8]
        self.readers: list[KafkaReader] = []

    @property
    def client(self) -> Any:
        """The newest consumer of kafka-python, whichever reader made it. A reader makes a new one after a fault."""
        return self.log.consumers[-1]

    def reader(self, *, joins: bool = True, watch: SilenceWatch | None = None) -> KafkaReader:
        reader = KafkaReader(self.log, self.group, [self.topic], watch)
        self.readers.append(reader)
        if joins:
            self.until(reader.assignment, reader)
        return reader

    def until(self, holds: Callable[[], object], *readers: KafkaReader) -> list[Record]:
        """Poll these readers until the condition holds. Returns the records that came."""
        found: list[Record] = []
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < ends_at, f"not within {PATIENCE_SECONDS} s"
            for reader in readers:
                with suppress(LogUnavailable):
                    found += reader.poll(100, 0.05)
        return found

    def values(self, reader: KafkaReader, *wanted: bytes) -> list[bytes]:
        """Poll until all of these values came. Returns the values of all records that came."""
        found: list[bytes] = []
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while not set(wanted) <= set(found):
            assert time.monotonic() < ends_at, f"only {found} came"
            with suppress(LogUnavailable):
                found += [record.value or b"" for record in reader.poll(100, 0.05)]
        return found

    def publish(self, *values: bytes, key: bytes | None = b"k") -> None:
        self.log.publish([NewRecord(self.topic, key, value) for value in values])

    def close(self) -> None:
        for reader in self.readers:
            reader.close()


def create_topic(servers: list[str], topic: str, configs: Mapping[str, str], partitions: int = 1) -> None:
    """Create a topic with these settings, and wait until every broker knows the topic."""
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics({topic: {"num_partitions": partitions, "replication_factor": 1, "configs": dict(configs)}})
    admin.wait_for_topics([topic])
    admin.close()
