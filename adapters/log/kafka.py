"""Apache Kafka as the log, through kafka-python 3.0: publishing records, and asking the cluster about topics.

kafka_reader.py reads records. docs/decisions/0015-kafka-python.md lists how kafka-python was observed to behave.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

import kafka
from kafka.admin import OffsetSpec
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import (
    InvalidRecordError,
    InvalidTimestampError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    RetriableError,
)
from kafka.structs import TopicPartition

from adapters.errors import Cause, LogUnavailable, OrderflowError, RecordRefused, TooLarge
from adapters.log.kafka_client import (
    BOOTSTRAP_SECONDS,
    CLIENT_OPTIONS,
    READ_COMMITTED,
    REQUEST_SECONDS,
    check_codec,
    close_quietly,
    error_text,
    new_client,
    topic_partition,
    unavailable,
)
from adapters.log.kafka_reader import KafkaReader
from adapters.ports import NewRecord, Partition, PartitionOffsets

T = TypeVar("T")

#: If no broker accepts a record within this time, the publication fails. If the relay's lease is short, half of the
#: lease counts instead (`bootstrap.open_log`).
DELIVERY_SECONDS: Final = 15
#: How long a request to the cluster is repeated while Kafka answers with a retriable error.
ASK_SECONDS: Final = 5
ASK_AGAIN_SECONDS: Final = 0.3
#: If a member does not poll for this time, its partitions are reassigned. Between two polls the consumer applies one
#: batch and calls no remote, which takes far less time.
MAX_POLL_SECONDS: Final = 300
#: How long a producer that failed, or that is no longer used, may take to close.
DROP_SECONDS: Final = 1
NO_BROKER: Final = error_text(KafkaTimeoutError())
TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
#: The errors that belong to a record: Kafka never takes it. A closed list, because nobody publishes such a record.
#: Every other error means "not now": rights, topics and brokers can be mended.
OF_A_RECORD: Final = (*TOO_LARGE, InvalidRecordError, InvalidTimestampError)

ADMIN_OPTIONS: Final[dict[str, Any]] = {
    "request_timeout_ms": ASK_SECONDS * 1000,
    "bootstrap_timeout_ms": ASK_SECONDS * 1000,
}
PRODUCER_OPTIONS: Final[dict[str, Any]] = {
    "acks": "all",
    "enable_idempotence": True,
    "linger_ms": 5,
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
}
CONSUMER_OPTIONS: Final[dict[str, Any]] = {
    "enable_auto_commit": False,
    # Where the client starts to read until the reader seeks. With "latest" it could skip records.
    "auto_offset_reset": "earliest",
    # The client skips records of aborted transactions.
    "isolation_level": READ_COMMITTED,
    "max_poll_interval_ms": MAX_POLL_SECONDS * 1000,
    # It gives each member the same number of partitions. RangePartitionAssignor would give the first member more if the
    # topics differ in their number of partitions.
    "partition_assignment_strategy": [RoundRobinPartitionAssignor],
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
}


class KafkaLog:
    """`ports.LogWriter` over Kafka. Any thread may use it. It connects when a method needs a connection."""

    def __init__(
        self,
        client: Callable[[], Mapping[str, Any]],
        *,
        consumer: Mapping[str, Any] | None = None,
        producer: Mapping[str, Any] | None = None,
        delivery_seconds: float = DELIVERY_SECONDS,
    ) -> None:
        """`client` returns options of every client, as kafka-python names them. It is called for each new client, so
        that a new client uses a changed password without a restart. `consumer` and `producer`: further options of every
        consumer and of every producer. A publication that no broker accepts fails after `delivery_seconds`, or after
        4/3 of them if a new producer has to connect first.

        Raises ConfigError if the library of the producer's `compression_type` is not installed.
        """
        check_codec((producer or {}).get("compression_type"))
        self._client = client
        self._consumer_options = dict(consumer or {})
        self._producer_options = dict(producer or {})
        self._delivery_seconds = delivery_seconds
        self._producer_changes = threading.Condition()  # never held while a client waits for a broker
        self._producer: Any = None
        self._is_making = False  # a thread makes the producer that all threads wait for
        self._failures = 0  # producers that could not be made
        self._closed = threading.Event()
        self._admin_lock = threading.Lock()  # a second lock, so that a slow request does not delay publications
        self._admin: Any = None
        self._cluster = ""

    # -- Publishing ----------------------------------------------------------------------------------------------

    def publish(self, records: Sequence[NewRecord]) -> None:
        """Publish these records. Returns when every in-sync replica has all of them.

        Raises LogUnavailable, and RecordRefused for the first record that Kafka never accepts. Any of the others may
        have been published then. After a failure the producer is discarded with the records that it still holds. So if
        the caller publishes the same records again, no record of the first attempt arrives later and breaks the order
        of a key. Returns or raises within four thirds of `delivery_seconds`.
        """
        ends_at = time.monotonic() + self._delivery_seconds
        last_start_at = ends_at - self._delivery_seconds * 2 / 3
        while True:
            producer = self._shared_producer(last_start_at)
            try:
                self._send(producer, records, ends_at)
                return
            except OF_A_RECORD:
                self._drop_producer(producer)
                self._publish_in_parts(records, ends_at)
                return
            except Exception as error:
                # If another thread dropped the producer while this thread used it, these records are not the cause of
                # the error. Publish them again, if there is time.
                if self._drop_producer(producer) or time.monotonic() > last_start_at:
                    raise unavailable(error) from error

    def _send(self, producer: Any, records: Sequence[NewRecord], ends_at: float) -> None:
        sent = []
        for record in records:
            if time.monotonic() > ends_at:
                raise KafkaTimeoutError
            sent.append(producer.send(record.topic, key=record.key, value=record.value, headers=list(record.headers)))
        producer.flush(timeout=max(0.0, ends_at - time.monotonic()))
        for future in sent:
            future.get(timeout=max(0.0, ends_at - time.monotonic()))

    def _publish_in_parts(self, records: Sequence[NewRecord], ends_at: float, first: int = 0) -> None:
        """Publish half of the records, then the other half, and so on, to find the record that Kafka refuses.

        `first` is the index of the first of `records` in the caller's list. Raises like `publish`.

        After a broker refused a record, a producer reports the same error for all other records that it holds or gets
        later, from any thread. So each part gets a producer of its own.
        """
        producer = self._new_producer()
        try:
            self._send(producer, records, ends_at)
            return
        except OF_A_RECORD as error:
            if len(records) == 1:
                is_too_large = isinstance(error, TOO_LARGE)
                raise (TooLarge(first) if is_too_large else RecordRefused(first, type(error).__name__)) from error
        except Exception as error:
            raise unavailable(error) from error
        finally:
            _end_producer(producer)
        middle = len(records) // 2
        self._publish_in_parts(records[:middle], ends_at, first)
        self._publish_in_parts(records[middle:], ends_at, first + middle)

    def _shared_producer(self, last_start_at: float) -> Any:
        """The producer that all threads use. One thread makes it, and the others wait for it, or fail as it does.

        Nobody begins to make one, or waits for one, after `last_start_at`.
        """
        with self._producer_changes:
            failures = self._failures
            while self._producer is None and self._is_making:
                if not self._producer_changes.wait(max(0.0, last_start_at - time.monotonic())):
                    raise LogUnavailable(NO_BROKER, Cause.TIMEOUT)
                if self._failures != failures:
                    raise LogUnavailable(NO_BROKER, Cause.TIMEOUT)
            if self._producer is not None:
                return self._producer
            if self._closed.is_set() or time.monotonic() > last_start_at:
                raise LogUnavailable(NO_BROKER, Cause.TIMEOUT)
            self._is_making = True
        producer = None
        try:
            producer = self._new_producer()
        finally:
            with self._producer_changes:
                self._is_making = False
                self._failures += producer is None
                is_late = self._closed.is_set()
                self._producer = None if is_late else producer
                self._producer_changes.notify_all()
        if is_late:
            _end_producer(producer)
            raise LogUnavailable("closed")
        return producer

    def _new_producer(self) -> Any:
        options = {
            **CLIENT_OPTIONS,
            **PRODUCER_OPTIONS,
            "delivery_timeout_ms": int(self._delivery_seconds * 1000),
            "max_block_ms": int(self._delivery_seconds / 3 * 1000),
            "request_timeout_ms": int(min(REQUEST_SECONDS, self._delivery_seconds / 2) * 1000),
            "bootstrap_timeout_ms": int(min(BOOTSTRAP_SECONDS, self._delivery_seconds * 2 / 3) * 1000),
            **self._producer_options,
            **self._client(),
        }
        return new_client(kafka.KafkaProducer, options)

    def _drop_producer(self, producer: Any) -> bool:
        """Close the shared producer, so that the next publication creates a new one.

        Returns False, and does nothing, if another thread has already dropped this producer.
        """
        with self._producer_changes:
            if self._producer is not producer:
                return False
            self._producer = None
        _end_producer(producer)
        return True

    # -- Questions -----------------------------------------------------------------------------------------------

    def cluster(self) -> str:
        """The cluster's id. Raises LogUnavailable."""
        if not self._cluster:
            self._cluster = str(self._ask(lambda admin: admin.describe_cluster()["cluster_id"]))
        return self._cluster

    def partitions(self, topics: Collection[str]) -> dict[str, int]:
        """The number of partitions of each topic. A topic that does not exist, or that this user may not see, is left
        out. Raises LogUnavailable."""
        return {topic: count for topic, (_, count) in self._topics(topics).items()}

    def _topics(self, topics: Collection[str]) -> dict[str, tuple[str, int]]:
        """Id and number of partitions of each topic."""
        described = self._ask(lambda admin: admin.describe_topics(sorted(topics)))
        return {
            one["name"]: (str(one["topic_id"]), len(one["partitions"])) for one in described if one["error_code"] == 0
        }

    def partition_offsets(self, group: str, partitions: Collection[Partition]) -> dict[Partition, PartitionOffsets]:
        """The offsets of these partitions, with the commits of `group`. A partition that does not exist is left out.

        Raises LogUnavailable.
        """
        if not partitions:
            return {}
        topics = self._topics({partition.topic for partition in partitions})
        known = {
            partition: topic_partition(partition)
            for partition in partitions
            if partition.topic in topics and partition.number < topics[partition.topic][1]
        }
        if not known:
            return {}
        first, end, committed = self._ask(lambda admin: _offsets(admin, group, list(known.values())))
        return {
            partition: PartitionOffsets(
                first[asked].offset, end[asked].offset, topics[partition.topic][0], _commit(committed.get(asked))
            )
            for partition, asked in known.items()
        }

    def _ask(self, question: Callable[[Any], T]) -> T:
        with self._admin_lock:
            admin = self._admin
            try:
                if admin is None:
                    options = {**CLIENT_OPTIONS, **ADMIN_OPTIONS, **self._client()}
                    admin = self._admin = new_client(kafka.KafkaAdminClient, options)
                return until_answered(lambda: question(admin))
            except OrderflowError:
                raise
            except Exception as error:
                self._admin = None
                close_quietly(admin.close)
                raise unavailable(error) from error

    # -- Readers -------------------------------------------------------------------------------------------------

    def reader(self, group: str, topics: Sequence[str]) -> KafkaReader:
        """Create one more member of the group. It joins the group at its first poll."""
        return KafkaReader(self, group, topics)

    def new_consumer(self, group: str) -> Any:
        """Create the client of a reader. Raises LogUnavailable."""
        options = {
            **CLIENT_OPTIONS,
            **CONSUMER_OPTIONS,
            "group_id": group,
            **self._consumer_options,
            **self._client(),
        }
        return new_client(kafka.KafkaConsumer, options)

    def close(self) -> None:
        """Close the clients. A publication or a request that another thread has begun ends with LogUnavailable."""
        with self._producer_changes:
            producer, self._producer = self._producer, None
            self._closed.set()
        admin, self._admin = self._admin, None  # without the lock: an unanswered request holds it for seconds
        if producer is not None:
            _end_producer(producer)
        if admin is not None:
            close_quietly(admin.close)


def _offsets(admin: Any, group: str, partitions: Sequence[TopicPartition]) -> tuple[Any, Any, Any]:
    """The first offset, the end and the group's commit of each partition."""
    return (
        admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST)),
        # The last stable offset. Records from this offset on cannot be read until an open transaction ends.
        admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST), READ_COMMITTED),
        admin.list_group_offsets({group: partitions})[group],
    )


def _commit(found: Any) -> int | None:
    return found.offset if found is not None and found.offset >= 0 else None


def until_answered(question: Callable[[], T]) -> T:
    """Repeat the request while Kafka answers with a retriable error, for ASK_SECONDS.

    Kafka does so at the first request about a group, and while a partition's leader is elected.
    """
    ends_at = time.monotonic() + ASK_SECONDS
    while True:
        try:
            return question()
        except RetriableError:  # includes the client's own error for an answer that did not come in time
            if time.monotonic() > ends_at:
                raise
            time.sleep(ASK_AGAIN_SECONDS)


def _end_producer(producer: Any) -> None:
    """Close a producer and discard the records that it still holds."""
    # The producer's `close` begins with a flush. If the flush fails, the producer's two threads go on running, and may
    # send records later.
    producer.flush = lambda *_: None
    close_quietly(lambda: producer.close(timeout=DROP_SECONDS))
