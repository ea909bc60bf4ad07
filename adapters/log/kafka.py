"""Apache Kafka behind the log's ports, through kafka-python 3.0. The only module that talks to it, but for engines.py.

What was seen of the client and is guarded against here (docs/decisions/0015-kafka-python.md):

- The rebalance listener runs on the client's I/O thread: it notes the new assignment and does nothing else.
- A broken client can make `poll` fail for ever: whatever it raises, it is closed and made anew at the next poll.
- What was fetched of a paused partition can stay parked for good when it goes on: then the client is made anew.
- A deal that a change of metadata began, and that takes longer than one `poll`, is never ended: the member holds
  nothing for good, and says nothing. And where a broker was away, fetching can stop for good. Both are looked for after
  some seconds without a record, and the client is made anew.
- A lost connection is tried again after up to 30 s by default: here after at most RECONNECT_SECONDS.
- A group whose leader has no metadata of a topic when it deals leaves it out, for five minutes by default.
- A client that could not be made, or a producer that is closed with records left, leaves its threads running.
- A producer to which a broker said that a record is too large says so of every record from then on.
- A wrong password looks like a broker that does not answer.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import kafka
import structlog
from kafka.admin import OffsetSpec
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import (
    KafkaConfigurationError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    RetriableError,
)
from kafka.net.compat import KafkaNetClient
from kafka.structs import OffsetAndMetadata, TopicPartition

from adapters.errors import ConfigError, LogUnavailable, OrderflowError, TooLarge
from adapters.ports import NewRecord, Partition, PartitionOffsets, Record

log = structlog.get_logger("orderflow.kafka")

T = TypeVar("T")

RECONNECT_SECONDS: Final = 1.0
#: A record that no broker took by then is said to have failed: well below a lease of the relay.
DELIVERY_SECONDS: Final = 15
REQUEST_SECONDS: Final = 10
#: How long a client waits for its first answer of any broker.
BOOTSTRAP_SECONDS: Final = 10
#: A topic or partition that is new is noticed within this time.
METADATA_SECONDS: Final = 30
#: A question may take so long; one that was answered with "not yet" within this time is asked again.
ASK_SECONDS: Final = 5
ASK_AGAIN_SECONDS: Final = 0.3
#: Between two polls lies one apply and no call to a remote, so far less than this.
MAX_POLL_SECONDS: Final = 300
#: A client that brings nothing is looked at after so long; each time that it was made anew in vain, after twice that.
SILENT_SECONDS: Final = 5.0
LONGEST_SILENT_SECONDS: Final = 600.0
#: The last instant that Python has, in milliseconds.
LATEST_MS: Final = 253402300799999
#: The commit is a hint: what lags behind it is read again and known as repeated.
COMMIT_SECONDS: Final = 1.0
LEAVE_SECONDS: Final = 5
#: How long a producer that is given up may take to end by itself.
DROP_SECONDS: Final = 1
READ_COMMITTED: Final = "read_committed"
TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)

#: Settings of the client itself, whatever it is used for.
_CLIENT: Final = {
    "reconnect_backoff_max_ms": int(RECONNECT_SECONDS * 1000),
    "request_timeout_ms": REQUEST_SECONDS * 1000,
    "bootstrap_timeout_ms": BOOTSTRAP_SECONDS * 1000,
    "metadata_max_age_ms": METADATA_SECONDS * 1000,
}
_OF_ADMIN: Final = {"request_timeout_ms": ASK_SECONDS * 1000, "bootstrap_timeout_ms": ASK_SECONDS * 1000}


class KafkaLog:
    """Writer, and maker of readers. Any thread may publish. Nothing is connected before it is needed."""

    def __init__(
        self,
        client: Callable[[], Mapping[str, Any]],
        *,
        consumer: Mapping[str, Any] | None = None,
        producer: Mapping[str, Any] | None = None,
        delivery_seconds: float = DELIVERY_SECONDS,
    ) -> None:
        """`client`: options as kafka-python names them, read for each new client, so that a changed password holds;
        `consumer` and `producer`: what concerns these alone. What no broker took in `delivery_seconds` has failed."""
        self._client = client
        self._of_consumer = dict(consumer or {})
        self._of_producer = dict(producer or {})
        self._delivery_seconds = delivery_seconds
        self._lock = threading.Lock()
        self._producer: Any = None
        self._asking = threading.Lock()  # one of its own: who asks must not keep others from publishing
        self._admin: Any = None
        self._cluster = ""

    # -- Writing -------------------------------------------------------------------------------------------------

    def publish(self, records: Sequence[NewRecord]) -> None:
        """Return when every in-sync replica has all of them.

        Raises LogUnavailable, and TooLarge for the first record that Kafka will never take; then any of the others
        may have been published. The producer is idempotent and made anew after a failure, so that records of one key
        that are published again one after the other are not overtaken by what was left of the first try. It returns
        or raises within four thirds of the time in which records fail.
        """
        until = time.monotonic() + self._delivery_seconds
        soon = until - self._delivery_seconds * 2 / 3
        while True:
            producer = self._open_producer()
            try:
                self._send(producer, records, until)
                return
            except TOO_LARGE:
                self._drop_producer(producer)
                self._publish_in_parts(records, until)
                return
            except Exception as error:
                # Where another thread has dropped it under our hands, its failure is not ours: once more, if soon.
                if self._drop_producer(producer) or time.monotonic() > soon:
                    raise LogUnavailable(_words(error)) from error

    def _send(self, producer: Any, records: Sequence[NewRecord], until: float) -> None:
        sent = []
        for record in records:
            if time.monotonic() > until:
                raise KafkaTimeoutError
            sent.append(producer.send(record.topic, key=record.key, value=record.value, headers=list(record.headers)))
        producer.flush(timeout=max(0.0, until - time.monotonic()))
        for future in sent:
            future.get(timeout=max(0.0, until - time.monotonic()))

    def _publish_in_parts(self, records: Sequence[NewRecord], until: float, first: int = 0) -> None:
        """Find out which record is too large, by halves; `first` is the number of the first. Raises as `publish` does.

        An idempotent producer fails for good when a broker refuses a record, and says the same of all that it still
        holds or is given later, whoever gave it. So each part goes through a producer that nobody else uses.
        """
        producer = self._new_producer()
        try:
            self._send(producer, records, until)
            return
        except TOO_LARGE as error:
            if len(records) == 1:
                raise TooLarge(first) from error
        except Exception as error:
            raise LogUnavailable(_words(error)) from error
        finally:
            _ended(producer)
        middle = len(records) // 2
        self._publish_in_parts(records[:middle], until, first)
        self._publish_in_parts(records[middle:], until, first + middle)

    def _open_producer(self) -> Any:
        with self._lock:
            if self._producer is None:
                self._producer = self._new_producer()
            return self._producer

    def _new_producer(self) -> Any:
        options = {
            "acks": "all",
            "enable_idempotence": True,
            "delivery_timeout_ms": int(self._delivery_seconds * 1000),
            "max_block_ms": int(self._delivery_seconds / 3 * 1000),
            "linger_ms": 5,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
            **_CLIENT,
            "request_timeout_ms": int(min(REQUEST_SECONDS, self._delivery_seconds / 2) * 1000),
            "bootstrap_timeout_ms": int(min(BOOTSTRAP_SECONDS, self._delivery_seconds * 2 / 3) * 1000),
            **self._of_producer,
            **self._client(),
        }
        return _made(kafka.KafkaProducer, options)

    def _drop_producer(self, producer: Any) -> bool:
        """Close it; the next publication makes a new one. False where another thread was faster."""
        with self._lock:
            if self._producer is not producer:
                return False
            self._producer = None
        _ended(producer)
        return True

    # -- Asking --------------------------------------------------------------------------------------------------

    def cluster(self) -> str:
        """The cluster's id. Raises LogUnavailable."""
        if not self._cluster:
            self._cluster = str(self._ask(lambda admin: admin.describe_cluster()["cluster_id"]))
        return self._cluster

    def partitions(self, topics: Collection[str]) -> dict[str, int]:
        """How many partitions each of these topics has; one that does not exist, or that we may not see, is left out.

        Raises LogUnavailable.
        """
        return {name: count for name, (_, count) in self._topics(topics).items()}

    def _topics(self, topics: Collection[str]) -> dict[str, tuple[str, int]]:
        described = self._ask(lambda admin: admin.describe_topics(sorted(topics)))
        return {
            one["name"]: (str(one["topic_id"]), len(one["partitions"])) for one in described if one["error_code"] == 0
        }

    def partition_offsets(self, group: str, partitions: Collection[Partition]) -> dict[Partition, PartitionOffsets]:
        """What the topics hold of these partitions, and what `group` committed. Raises LogUnavailable."""
        if not partitions:
            return {}
        topics = self._topics({partition.topic for partition in partitions})
        known = [
            partition
            for partition in partitions
            if partition.topic in topics and partition.number < topics[partition.topic][1]
        ]
        if not known:
            return {}
        wanted = [TopicPartition(partition.topic, partition.number) for partition in known]

        def ask(admin: Any) -> tuple[Any, Any, Any]:
            return (
                admin.list_partition_offsets(dict.fromkeys(wanted, OffsetSpec.EARLIEST)),
                # Up to the first transaction that is under way: what lies behind it is not ours to read yet.
                admin.list_partition_offsets(dict.fromkeys(wanted, OffsetSpec.LATEST), READ_COMMITTED),
                admin.list_group_offsets({group: wanted})[group],
            )

        first, end, committed = self._ask(ask)
        found = {}
        for partition, wanted_one in zip(known, wanted, strict=True):
            commit = committed[wanted_one].offset if wanted_one in committed else -1
            found[partition] = PartitionOffsets(
                first[wanted_one].offset,
                end[wanted_one].offset,
                topics[partition.topic][0],
                commit if commit >= 0 else None,
            )
        return found

    def _ask(self, question: Callable[[Any], T]) -> T:
        with self._asking:
            admin = self._admin
            try:
                if admin is None:
                    admin = self._admin = _made(kafka.KafkaAdminClient, {**_CLIENT, **_OF_ADMIN, **self._client()})
                return _patiently(lambda: question(admin))
            except OrderflowError:
                raise
            except Exception as error:
                self._admin = None
                _closed(admin.close)
                raise LogUnavailable(_words(error)) from error

    # -- Reading -------------------------------------------------------------------------------------------------

    def reader(self, group: str, topics: Sequence[str]) -> "KafkaReader":
        """One more member of the group. It joins at its first poll."""
        return KafkaReader(self, group, topics)

    def new_consumer(self, group: str) -> Any:
        """For KafkaReader. Raises LogUnavailable."""
        options = {
            "group_id": group,
            "enable_auto_commit": False,
            # Where the reader begins by itself until it is told: nothing is passed over in the meantime.
            "auto_offset_reset": "earliest",
            # What a publisher's transaction took back was never said.
            "isolation_level": READ_COMMITTED,
            "max_poll_interval_ms": MAX_POLL_SECONDS * 1000,
            # Evenly over topics of different partition counts, where Range gives the first member the most.
            "partition_assignment_strategy": [RoundRobinPartitionAssignor],
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
            **_CLIENT,
            **self._of_consumer,
            **self._client(),
        }
        return _made(kafka.KafkaConsumer, options)

    def close(self) -> None:
        """Everything that was published is durable already. Whoever asks or publishes still gets LogUnavailable."""
        with self._lock:
            producer, self._producer = self._producer, None
        admin, self._admin = self._admin, None  # not waiting for a question that nobody answers
        if producer is not None:
            _ended(producer)
        if admin is not None:
            _closed(admin.close)


class _Noted(kafka.ConsumerRebalanceListener):  # type: ignore[misc]  # untyped
    """Notes what was dealt. It runs on the client's I/O thread, so it must not do anything else."""

    def __init__(self, generation: int) -> None:
        #: One value, so that no thread sees half of it.
        self.dealt: tuple[int, frozenset[Partition]] = (generation, frozenset())

    def on_partitions_revoked(self, _revoked: Collection[Any]) -> None:
        if self.dealt[1]:
            self.dealt = (self.dealt[0] + 1, frozenset())

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        self.dealt = (self.dealt[0] + 1, frozenset(Partition(one.topic, one.partition) for one in assigned))


class KafkaReader:
    """One member of a consumer group."""

    def __init__(self, log_: KafkaLog, group: str, topics: Sequence[str]) -> None:
        self.group = group
        self._log = log_
        self._topics = list(topics)
        self._consumer: Any = None
        self._noted = _Noted(0)
        self._committed_at = float("-inf")
        self._silent_seconds = 0.0  # for which polls have brought nothing, one after the other
        self._patience_seconds = SILENT_SECONDS
        self._uncommitted: dict[Any, Any] = {}

    @property
    def generation(self) -> int:
        return self._noted.dealt[0]

    def cluster(self) -> str:
        return self._log.cluster()

    def assignment(self) -> frozenset[Partition]:
        return self._noted.dealt[1]

    def partition_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, PartitionOffsets]:
        return self._log.partition_offsets(self.group, partitions)

    def seek(self, partition: Partition, offset: int) -> None:
        """Ignored for a partition that was taken away meanwhile: its next holder seeks for itself."""
        if self._consumer is not None:
            with suppress(ValueError):
                self._consumer.seek(_partition(partition), offset)

    def poll(self, max_records: int, timeout_seconds: float) -> list[Record]:
        """Raises LogUnavailable; then the next poll joins the group anew."""
        if self._consumer is None:
            self._consumer = self._join()
        self._commit_if_due()
        began = time.monotonic()
        try:
            polled = self._consumer.poll(timeout_ms=int(timeout_seconds * 1000), max_records=max_records)
        except Exception as error:
            self._leave()
            raise LogUnavailable(_words(error)) from error
        records = [_record(one) for found in polled.values() for one in found]
        self._silent_seconds = 0.0 if records else self._silent_seconds + time.monotonic() - began
        if records:
            self._patience_seconds = SILENT_SECONDS
        elif self._silent_seconds > self._patience_seconds:
            self._silent_seconds = 0.0
            self._leave_if_deaf()
        return records

    def _leave_if_deaf(self) -> None:
        """Raises LogUnavailable where the client has not ended a deal, or brings none of the records that wait.

        And where no broker answers. Then it stays: a member that cannot say that it leaves is waited for by the others,
        and by itself, for a whole session.
        """
        half_dealt = {Partition(one.topic, one.partition) for one in self._consumer.assignment()} != self.assignment()
        positions = {} if half_dealt else self._positions()
        partition_offsets = self._log.partition_offsets(self.group, positions)
        if half_dealt:
            self._log.partitions(self._topics)
        if half_dealt or any(positions[partition] < extent.end for partition, extent in partition_offsets.items()):
            self._patience_seconds = min(2 * self._patience_seconds, LONGEST_SILENT_SECONDS)  # if that was not it
            self._leave()
            raise LogUnavailable("the client has not ended a deal" if half_dealt else "the client brings nothing")

    def _positions(self) -> dict[Partition, int]:
        """Where the client is, of each partition that is not paused."""
        found = {}
        paused = self._consumer.paused()
        for partition in self.assignment():
            with suppress(Exception):  # taken away meanwhile
                position = self._consumer.position(_partition(partition), timeout_ms=0)
                if position is not None and _partition(partition) not in paused:
                    found[partition] = position
        return found

    def _join(self) -> Any:
        consumer = self._log.new_consumer(self.group)
        try:
            for topic in self._topics:  # a group whose leader knows nothing of a topic yet deals none of it
                consumer.partitions_for_topic(topic)
        except Exception as error:
            _closed(lambda: consumer.close(autocommit=False, timeout_ms=0))
            raise LogUnavailable(_words(error)) from error
        self._noted = _Noted(self.generation)
        consumer.subscribe(self._topics, listener=self._noted)
        return consumer

    def _leave(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._noted = _Noted(self.generation + bool(self.generation))
        self._uncommitted = {}
        if consumer is not None:
            _closed(lambda: consumer.close(autocommit=False, timeout_ms=LEAVE_SECONDS * 1000))

    def pause(self, partitions: Collection[Partition]) -> None:
        """A new deal forgets what was paused, so this is called before every poll. To go on is to join anew."""
        if self._consumer is None:
            return
        wanted = {_partition(partition) for partition in partitions} & self._consumer.assignment()
        paused = self._consumer.paused()
        if paused - wanted:
            self._leave()
        elif wanted - paused:
            self._consumer.pause(*(wanted - paused))

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """At most once in COMMIT_SECONDS, and without waiting for the answer; what is left over goes with a poll."""
        self._uncommitted = {
            _partition(partition): OffsetAndMetadata(at, "", -1) for partition, at in positions.items()
        }
        self._commit_if_due()

    def _commit_if_due(self) -> None:
        if self._uncommitted and time.monotonic() - self._committed_at >= COMMIT_SECONDS:
            positions, self._uncommitted = self._uncommitted, {}
            self._committed_at = time.monotonic()
            with suppress(Exception):  # after a new deal it fails, and that is all right
                self._consumer.commit_async(positions)

    def lag(self) -> Mapping[Partition, int]:
        if self._consumer is None:
            return {}
        found = {}
        for partition, position in self._positions().items():
            end = self._consumer.highwater(_partition(partition))
            if end is not None:
                found[partition] = max(0, end - position)
        return found

    def close(self) -> None:
        """Commit what was passed, and leave the group, so that the others need not wait for its silence."""
        if self._consumer is not None and self._uncommitted:
            with suppress(Exception):
                self._consumer.commit(self._uncommitted, timeout_ms=LEAVE_SECONDS * 1000)
        self._leave()


def _made(kind: Callable[..., T], options: Mapping[str, Any]) -> T:
    """A new client. Raises LogUnavailable, ConfigError."""
    connections: list[Any] = []

    def connection(**given: Any) -> Any:
        connections.append(KafkaNetClient(**given))
        return connections[-1]

    try:
        return kind(**options, kafka_client=connection)
    except Exception as error:
        # What could not be made has begun to run: its thread would try to connect for ever, one more with each try.
        for one in connections:
            _closed(one.close)
        if isinstance(error, KafkaConfigurationError | ValueError | AssertionError):
            raise ConfigError(f"kafka: the client does not take these settings ({type(error).__name__})") from error
        raise LogUnavailable(_words(error)) from error


def _patiently(question: Callable[[], T]) -> T:
    """Again where Kafka says "not yet": a group's first question, a leader that is being elected."""
    until = time.monotonic() + ASK_SECONDS
    while True:
        try:
            return question()
        except RetriableError:  # so is the client's own, that nobody answered in time
            if time.monotonic() > until:
                raise
            time.sleep(ASK_AGAIN_SECONDS)


def _closed(close: Callable[[], object]) -> None:
    """A client that is dropped may fail to close; nobody needs it any more."""
    try:
        close()
    except Exception as error:
        log.debug("close_failed", error=type(error).__name__)


def _ended(producer: Any) -> None:
    """Give up a producer, with what it still holds."""
    # Its own close begins with a flush, and where that fails it leaves both threads running, which may send later.
    producer.flush = lambda *_: None
    _closed(lambda: producer.close(timeout=DROP_SECONDS))


def _words(error: BaseException) -> str:
    """What kind of error, and what to look at where the client says less than it could."""
    name = type(error).__name__
    if "Timeout" in name or "NoBrokers" in name:
        return f"{name}: no broker answered; is it there, and are user, password and certificate right?"
    return name


def _partition(partition: Partition) -> Any:
    return TopicPartition(partition.topic, partition.number)


def _record(one: Any) -> Record:
    return Record(
        Partition(one.topic, one.partition),
        one.offset,
        one.key,
        one.value,
        tuple((name, value or b"") for name, value in one.headers or ()),  # null is allowed, and means no bytes
        # A publisher may name any instant, in microseconds by mistake: no reason to fail with all that came with it.
        datetime.fromtimestamp(min(max(0, one.timestamp), LATEST_MS) / 1000, UTC),
    )
