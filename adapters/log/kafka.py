"""Apache Kafka behind the log's ports, through kafka-python 3.0: publishing, and questions to the cluster.

kafka_reader.py reads. What kafka-python was seen to do is in docs/decisions/0015-kafka-python.md.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

import kafka
from kafka.admin import OffsetSpec
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, RecordListTooLargeError, RetriableError
from kafka.structs import TopicPartition

from adapters.errors import LogUnavailable, OrderflowError, TooLarge
from adapters.log.kafka_client import (
    BOOTSTRAP_SECONDS,
    CLIENT_OPTIONS,
    READ_COMMITTED,
    REQUEST_SECONDS,
    close_quietly,
    error_text,
    new_client,
    topic_partition,
)
from adapters.log.kafka_reader import KafkaReader
from adapters.ports import NewRecord, Partition, PartitionOffsets

T = TypeVar("T")

#: A record that no broker took within this time has failed. Well below a lease of the relay.
DELIVERY_SECONDS: Final = 15
#: The longest time for a question. Until then it is asked again where the answer was "not yet".
ASK_SECONDS: Final = 5
ASK_AGAIN_SECONDS: Final = 0.3
#: The longest time between two polls before the group takes a member for dead. Between them lies one apply and no call
#: to a remote, so far less.
MAX_POLL_SECONDS: Final = 300
#: How long a producer that is dropped may take to end by itself.
DROP_SECONDS: Final = 1
TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)

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
    # Where the client begins before the reader seeks: no record is skipped in between.
    "auto_offset_reset": "earliest",
    # Records of an aborted transaction are not read.
    "isolation_level": READ_COMMITTED,
    "max_poll_interval_ms": MAX_POLL_SECONDS * 1000,
    # Evenly over topics that differ in their number of partitions. Range gives the first member the most.
    "partition_assignment_strategy": [RoundRobinPartitionAssignor],
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
}


class KafkaLog:
    """`ports.LogWriter`, and maker of readers. Any thread may use it. No connection is made before it is needed."""

    def __init__(
        self,
        client: Callable[[], Mapping[str, Any]],
        *,
        consumer: Mapping[str, Any] | None = None,
        producer: Mapping[str, Any] | None = None,
        delivery_seconds: float = DELIVERY_SECONDS,
    ) -> None:
        """`client`: options of every client, as kafka-python names them. It is called for each new client, so that a
        changed password holds without a restart. `consumer`, `producer`: options of these clients alone.
        `delivery_seconds`: a record that no broker took within this time has failed."""
        self._client = client
        self._consumer_options = dict(consumer or {})
        self._producer_options = dict(producer or {})
        self._delivery_seconds = delivery_seconds
        self._producer_lock = threading.Lock()
        self._producer: Any = None
        self._admin_lock = threading.Lock()  # a second lock: a question must not keep other threads from publishing
        self._admin: Any = None
        self._cluster = ""

    # -- Publishing ----------------------------------------------------------------------------------------------

    def publish(self, records: Sequence[NewRecord]) -> None:
        """Return when every in-sync replica has all of them.

        Raises LogUnavailable, and TooLarge for the first record that Kafka never takes. Then any of the others may have
        been published. The producer is idempotent, and recreated after a failure: of records with one key that are
        published again, in order, none is overtaken by a record left over from the first try. Returns or raises within
        four thirds of `delivery_seconds`.
        """
        ends_at = time.monotonic() + self._delivery_seconds
        last_start_at = ends_at - self._delivery_seconds * 2 / 3
        while True:
            producer = self._shared_producer()
            try:
                self._send(producer, records, ends_at)
                return
            except TOO_LARGE:
                self._drop_producer(producer)
                self._publish_in_parts(records, ends_at)
                return
            except Exception as error:
                # False: another thread dropped it while we used it, so the failure is not ours. Try again, if in time.
                if self._drop_producer(producer) or time.monotonic() > last_start_at:
                    raise LogUnavailable(error_text(error)) from error

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
        """Find the record that is too large by halving. `first`: the number of the first record. Raises as `publish`.

        After a broker refused a record, a producer reports the same error for every record that it holds or is given
        later, by any thread. So each part goes through a producer of its own.
        """
        producer = self._new_producer()
        try:
            self._send(producer, records, ends_at)
            return
        except TOO_LARGE as error:
            if len(records) == 1:
                raise TooLarge(first) from error
        except Exception as error:
            raise LogUnavailable(error_text(error)) from error
        finally:
            _end_producer(producer)
        middle = len(records) // 2
        self._publish_in_parts(records[:middle], ends_at, first)
        self._publish_in_parts(records[middle:], ends_at, first + middle)

    def _shared_producer(self) -> Any:
        with self._producer_lock:
            if self._producer is None:
                self._producer = self._new_producer()
            return self._producer

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
        """Close it; the next publication creates another. False where another thread has dropped it already."""
        with self._producer_lock:
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
        """How many partitions each of these topics has. A topic that does not exist, or that this user may not see, is
        left out. Raises LogUnavailable."""
        return {topic: count for topic, (_, count) in self._topics(topics).items()}

    def _topics(self, topics: Collection[str]) -> dict[str, tuple[str, int]]:
        """Id and number of partitions of each topic."""
        described = self._ask(lambda admin: admin.describe_topics(sorted(topics)))
        return {
            one["name"]: (str(one["topic_id"]), len(one["partitions"])) for one in described if one["error_code"] == 0
        }

    def partition_offsets(self, group: str, partitions: Collection[Partition]) -> dict[Partition, PartitionOffsets]:
        """The offsets of these partitions, with what `group` committed. One that does not exist is left out.

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
                return _until_answered(lambda: question(admin))
            except OrderflowError:
                raise
            except Exception as error:
                self._admin = None
                close_quietly(admin.close)
                raise LogUnavailable(error_text(error)) from error

    # -- Readers -------------------------------------------------------------------------------------------------

    def reader(self, group: str, topics: Sequence[str]) -> KafkaReader:
        """One more member of the group. It joins at its first poll."""
        return KafkaReader(self, group, topics)

    def new_consumer(self, group: str) -> Any:
        """The client of a reader. Raises LogUnavailable."""
        options = {
            **CLIENT_OPTIONS,
            **CONSUMER_OPTIONS,
            "group_id": group,
            **self._consumer_options,
            **self._client(),
        }
        return new_client(kafka.KafkaConsumer, options)

    def close(self) -> None:
        """Published records are durable already. A publication or question under way ends with LogUnavailable."""
        with self._producer_lock:
            producer, self._producer = self._producer, None
        admin, self._admin = self._admin, None  # without the lock: a question that gets no answer holds it for seconds
        if producer is not None:
            _end_producer(producer)
        if admin is not None:
            close_quietly(admin.close)


def _offsets(admin: Any, group: str, partitions: Sequence[TopicPartition]) -> tuple[Any, Any, Any]:
    """The first offset, the end and the group's commit of each partition."""
    return (
        admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST)),
        # The last stable offset: records of a transaction that is under way cannot be read yet.
        admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST), READ_COMMITTED),
        admin.list_group_offsets({group: partitions})[group],
    )


def _commit(found: Any) -> int | None:
    return found.offset if found is not None and found.offset >= 0 else None


def _until_answered(question: Callable[[], T]) -> T:
    """Ask again where Kafka says "not yet": at the first question of a group, or while a leader is elected."""
    ends_at = time.monotonic() + ASK_SECONDS
    while True:
        try:
            return question()
        except RetriableError:  # also the client's own error that no answer came in time
            if time.monotonic() > ends_at:
                raise
            time.sleep(ASK_AGAIN_SECONDS)


def _end_producer(producer: Any) -> None:
    """Close a producer and discard the records that it still holds."""
    # Its own `close` begins with a flush. Where that fails, both threads go on running, and may send records later.
    producer.flush = lambda *_: None
    close_quietly(lambda: producer.close(timeout=DROP_SECONDS))
