"""One member of a Kafka consumer group, and the check that its client still works.

After an error the client is closed, and recreated at the next poll. There are two exceptions: the client stays if one
record cannot be read, and if a check finds no broker. If a client returns no records for some seconds, its assignment
and positions are compared with the broker (docs/decisions/0015-kafka-python.md).
"""

import time
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

import kafka
from kafka.errors import KafkaError, NoError
from kafka.structs import OffsetAndMetadata

from adapters.errors import LogUnavailable, RecordUnreadable
from adapters.log.kafka_client import close_quietly, topic_partition, unavailable
from adapters.ports import Partition, PartitionOffsets, Record

#: The first check of a client comes after this time without a record.
SILENT_SECONDS: Final = 5.0
LONGEST_SILENT_SECONDS: Final = 600.0
#: A fault counts if the check finds the same again after this time without a record. One look alone may come while a
#: record has just been published, or during a rebalance.
CONFIRM_SECONDS: Final = 1.0
#: A poll of the client lasts no longer than this, and if its own thread used so much CPU time in it and found nothing,
#: then the client spins: kafka-python does if one of several brokers hangs. It keeps 7 kB of memory for each round, up
#: to 35 MB a second, until its requests to the other brokers have ended. So the rest of the time is waited without it.
SLICE_SECONDS: Final = 0.1
SPINNING_CPU_SECONDS: Final = 0.02
#: The reader commits at most once in this time. A late commit does no harm: a consumer starts at its progress row, not
#: at the commit (docs/rules.md 8).
COMMIT_SECONDS: Final = 1.0
#: The longest wait for the last commit. After it, leaving the group may take this time again.
LEAVE_SECONDS: Final = 5
#: The last instant that Python's datetime holds, in milliseconds.
LATEST_MS: Final = 253402300799999


class ReadableLog(Protocol):
    """The methods of a log that a reader calls. KafkaLog has them."""

    def new_consumer(self, group: str) -> Any:
        """Create a kafka.KafkaConsumer that has not subscribed yet. Raises LogUnavailable."""
        ...

    def cluster(self) -> str: ...

    def partitions(self, topics: Collection[str]) -> dict[str, int]: ...

    def partition_offsets(
        self, group: str, partitions: Collection[Partition]
    ) -> Mapping[Partition, PartitionOffsets]: ...


@dataclass(frozen=True, slots=True)
class Assignment:
    """The partitions that the group gave to this member. `generation` grows with each assignment and revocation."""

    generation: int
    partitions: frozenset[Partition] = frozenset()


class AssignmentListener(kafka.ConsumerRebalanceListener):  # type: ignore[misc]  # untyped
    """Stores the newest assignment, and does nothing else.

    kafka-python calls it on the client's I/O thread, which also fetches records and sends heartbeats. So no method may
    wait.
    """

    def __init__(self, generation: int) -> None:
        self.assignment = Assignment(generation)  # replaced as a whole: the reader never sees half a change

    def on_partitions_revoked(self, _revoked: Collection[Any]) -> None:
        if self.assignment.partitions:
            self.assignment = Assignment(self.assignment.generation + 1)

    def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        partitions = frozenset(Partition(one.topic, one.partition) for one in assigned)
        self.assignment = Assignment(self.assignment.generation + 1, partitions)


def poll_in_slices(consumer: Any, max_records: int, timeout_seconds: float) -> dict[Any, list[Any]]:
    """Poll the client, and wait at most so long for records."""
    ends_at = time.monotonic() + timeout_seconds
    while True:
        left = max(0.0, ends_at - time.monotonic())
        used = time.thread_time()
        found: dict[Any, list[Any]] = consumer.poll(
            timeout_ms=int(min(left, SLICE_SECONDS) * 1000), max_records=max_records
        )
        is_spinning = time.thread_time() - used >= SPINNING_CPU_SECONDS
        left = max(0.0, ends_at - time.monotonic())
        if found or left == 0.0:
            return found
        if is_spinning:
            time.sleep(left)


class SilenceWatch:
    """Decides when to check a client that returns no records.

    If a check finds a fault, the client is recreated, and the time until the next check is doubled, up to
    LONGEST_SILENT_SECONDS. The next record restores the first interval.
    """

    def __init__(self, silent_seconds: float = SILENT_SECONDS) -> None:
        self._first_seconds = silent_seconds
        self._silent_seconds = 0.0
        self.check_after_seconds = silent_seconds

    def is_check_due(self, records: int, seconds: float) -> bool:
        """Whether to check the client now. Called after each poll, with its number of records and its duration."""
        if records:
            self._silent_seconds = 0.0
            self.check_after_seconds = self._first_seconds
            return False
        self._silent_seconds += seconds
        if self._silent_seconds <= self.check_after_seconds:
            return False
        self._silent_seconds = 0.0
        return True

    def suspects(self) -> None:
        """The next check is due after CONFIRM_SECONDS without a record."""
        self._silent_seconds = self.check_after_seconds - CONFIRM_SECONDS

    def found_fault(self) -> None:
        self.check_after_seconds = min(2 * self.check_after_seconds, LONGEST_SILENT_SECONDS)


class Sign(NamedTuple):
    """A sign that the client does not work. `at`: the position in the partition, or the generation of the reader."""

    fault: str
    partition: Partition | None = None
    at: int = 0


class KafkaReader:
    """`ports.LogReader` over one kafka-python client at a time. It joins the group at its first poll."""

    def __init__(self, log: ReadableLog, group: str, topics: Sequence[str], watch: SilenceWatch | None = None) -> None:
        self.group = group
        self._log = log
        self._topics = list(topics)
        self._watch = watch or SilenceWatch()
        self._consumer: Any = None
        self._listener = AssignmentListener(0)
        self._suspected: frozenset[Sign] = frozenset()
        self._uncommitted: dict[Any, Any] = {}
        self._committed_at = float("-inf")

    @property
    def generation(self) -> int:
        return self._listener.assignment.generation

    def cluster(self) -> str:
        return self._log.cluster()

    def assignment(self) -> frozenset[Partition]:
        return self._listener.assignment.partitions

    def partition_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, PartitionOffsets]:
        return self._log.partition_offsets(self.group, partitions)

    def seek(self, partition: Partition, offset: int) -> None:
        """Does nothing if the partition was revoked meanwhile: then another member holds it, and seeks."""
        if self._consumer is not None:
            with self._client_in_use(), suppress(ValueError):
                self._consumer.seek(topic_partition(partition), offset)

    def poll(self, max_records: int, timeout_seconds: float) -> list[Record]:
        """The next records. Raises LogUnavailable. If the client was closed, the next poll joins with a new one.

        Raises RecordUnreadable for a record that the client cannot read. The caller has to pause its partition before
        the next poll.
        """
        if self._consumer is None:
            self._consumer = self._join()
        self._commit_if_due()
        began = time.monotonic()
        with self._client_in_use():
            polled = poll_in_slices(self._consumer, max_records, timeout_seconds)
        records = [as_record(one) for found in polled.values() for one in found]
        if self._watch.is_check_due(len(records), time.monotonic() - began):
            self._check_client()
        return records

    def pause(self, partitions: Collection[Partition]) -> None:
        """Pause these partitions. A rebalance forgets which partitions are paused, so call this before every poll.

        To resume a partition, the client is closed, and recreated at the next poll. If the client itself resumed the
        partition, it might never deliver records that it had fetched before the pause.
        """
        if self._consumer is None:
            return
        with self._client_in_use():
            wanted = {topic_partition(partition) for partition in partitions} & self._consumer.assignment()
            paused = self._consumer.paused()
            if paused - wanted:
                self._leave()
            elif wanted - paused:
                self._consumer.pause(*(wanted - paused))

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Send the commit without waiting for an answer, if COMMIT_SECONDS have passed since the last one.

        Otherwise a later poll sends it.
        """
        self._uncommitted = {
            topic_partition(partition): OffsetAndMetadata(at, "", -1) for partition, at in positions.items()
        }
        self._commit_if_due()

    def lag(self) -> Mapping[Partition, int]:
        if self._consumer is None:
            return {}
        found = {}
        with self._client_in_use():
            for partition, position in self._positions().items():
                end = self._consumer.highwater(topic_partition(partition))
                if end is not None:
                    found[partition] = max(0, end - position)
        return found

    def close(self) -> None:
        """Commit, and leave the group, so that its partitions are reassigned at once, before the session times out."""
        if self._consumer is not None and self._uncommitted:
            with suppress(Exception):
                self._consumer.commit(self._uncommitted, timeout_ms=LEAVE_SECONDS * 1000)
        self._leave()

    # -- The client ----------------------------------------------------------------------------------------------

    @contextmanager
    def _client_in_use(self) -> Iterator[None]:
        """Turn any error of the client into LogUnavailable, and close the client; but into RecordUnreadable, if it is
        about one record."""
        try:
            yield
        except Exception as error:
            if unreadable := unreadable_record(error):
                raise unreadable from error  # the client stays: without this partition it reads the others
            self._leave()
            raise unavailable(error) from error

    def _join(self) -> Any:
        consumer = self._log.new_consumer(self.group)
        try:
            for topic in self._topics:  # fetch its metadata: the group's leader assigns no topic without metadata
                consumer.partitions_for_topic(topic)
        except Exception as error:
            close_quietly(lambda: consumer.close(autocommit=False, timeout_ms=0))
            raise unavailable(error) from error
        self._listener = AssignmentListener(self.generation)
        consumer.subscribe(self._topics, listener=self._listener)
        return consumer

    def _leave(self) -> None:
        consumer, self._consumer = self._consumer, None
        has_joined = self.generation > 0
        self._listener = AssignmentListener(self.generation + (1 if has_joined else 0))
        self._uncommitted = {}
        if consumer is not None:
            close_quietly(lambda: consumer.close(autocommit=False, timeout_ms=LEAVE_SECONDS * 1000))

    def _check_client(self) -> None:
        """Close the client if two checks in turn find the same sign of a fault. Raises LogUnavailable then.

        Raises LogUnavailable also if no broker answers. Then the client stays open: its request to leave the group
        would reach no broker, so the group would wait until its session times out.
        """
        signs = self._signs_of_fault()
        confirmed = signs & self._suspected
        self._suspected = frozenset() if confirmed else signs
        if confirmed:
            self._watch.found_fault()
            self._leave()
            raise LogUnavailable(min(confirmed).fault)
        if signs:
            self._watch.suspects()

    def _signs_of_fault(self) -> frozenset[Sign]:
        """Whether a rebalance has not finished, and which partitions have records that the client does not return.

        If a rebalance that a metadata change triggered does not finish within one poll, the client never finishes it:
        it reports no assignment to the listener, and no error. After an outage, the client can stop fetching for ever.
        """
        assigned = {Partition(one.topic, one.partition) for one in self._consumer.assignment()}
        if assigned != self.assignment():
            self._log.partitions(self._topics)  # raises LogUnavailable if no broker answers
            return frozenset({Sign("the client has not finished a rebalance", at=self.generation)})
        positions = self._positions()
        offsets = self._log.partition_offsets(self.group, positions)
        return frozenset(
            Sign("the client brings none of the records that wait", partition, positions[partition])
            for partition, one in offsets.items()
            if positions[partition] < one.end
        )

    def _positions(self) -> dict[Partition, int]:
        """The client's position in each partition that is not paused."""
        found = {}
        paused = self._consumer.paused()
        for partition in self.assignment():
            with suppress(Exception):  # the partition was revoked meanwhile
                position = self._consumer.position(topic_partition(partition), timeout_ms=0)
                if position is not None and topic_partition(partition) not in paused:
                    found[partition] = position
        return found

    def _commit_if_due(self) -> None:
        if self._uncommitted and time.monotonic() - self._committed_at >= COMMIT_SECONDS:
            positions, self._uncommitted = self._uncommitted, {}
            self._committed_at = time.monotonic()
            with suppress(Exception):  # it may fail after a rebalance, without harm: members start at the progress row
                self._consumer.commit_async(positions)


def unreadable_record(error: Exception) -> RecordUnreadable | None:
    """Return which record of which partition raised this error, if the client raised it while it read records.

    Most of these errors name neither record nor partition. So both are taken from the frame of the client's function
    that reads the batches of one partition. What the client fetched of this partition is dropped. A record that does
    not fit into what the client fetches is one of them: brokers before 0.10.1 send only its beginning.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        names = frame.f_locals
        # Any other error there is a fault of the client, or of the broker.
        is_of_data = isinstance(error, KafkaError) and names.get("error_type") is NoError
        if frame.f_code.co_name == "_parse_fetched_data" and is_of_data:
            place, offset = names["tp"], int(names["fetch_offset"])
            kind = "NoCompleteRecord" if type(error) is KafkaError else type(error).__name__
            return RecordUnreadable(place.topic, place.partition, offset, offset + 1, kind)
        if frame.f_code.co_name == "_unpack_records":
            part, batch = names["self"], names.get("batch")
            offset = int(part.next_fetch_offset)
            # The records of a compressed batch are unreadable together.
            until = max(offset + 1, int(getattr(batch, "next_offset", 0) or 0))
            part.drain()  # otherwise the next poll would ask the same part for ever
            place = part.topic_partition
            return RecordUnreadable(place.topic, place.partition, offset, until, type(error).__name__)
    return None


def as_record(one: Any) -> Record:
    """Convert a ConsumerRecord of kafka-python."""
    return Record(
        Partition(one.topic, one.partition),
        one.offset,
        one.key,
        one.value,
        tuple((name, value or b"") for name, value in one.headers or ()),  # Kafka allows headers without a value
        # A publisher can give any number, for example microseconds by mistake. Without the limits the poll would fail.
        datetime.fromtimestamp(min(max(0, one.timestamp), LATEST_MS) / 1000, UTC),
    )
