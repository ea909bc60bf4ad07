"""What the consumer needs of the outside world: protocols, and the values that go through them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from statemachine.facts import Part, Tracking

# -- Time --------------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """The only source of time; tests hand in their own."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float:
        """Seconds, for durations."""
        ...


# -- The log: topics of keyed records, in order per key ----------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of one topic of one cluster. `number` is what Kafka calls its id."""

    topic: str
    number: int


#: Name and value of each header of a record, in order. A name may stand there more than once.
RecordHeaders = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to publish. Records with one key keep their order."""

    topic: str
    key: bytes | None
    value: bytes
    headers: RecordHeaders = ()


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: RecordHeaders
    published_at: datetime


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """What a log holds of one partition, and what it was told of a group's progress there."""

    first: int  # the oldest offset that it still has
    end: int  # one past the newest
    log_id: str = ""  # another one when the topic is made anew
    committed: int | None = None  # the group's last commit


class LogWriter(Protocol):
    def publish(self, records: Sequence[NewRecord]) -> None:
        """Return when every record is durable.

        Raises LogUnavailable: then any of them may have been published, and publishing all again is right. Raises
        TooLarge: then publishing all but that one again is.
        """
        ...


class LogReader(Protocol):
    """One member of the consumer group. One thread uses it. Every method may raise LogUnavailable."""

    group: str

    @property
    def generation(self) -> int:
        """Grows whenever partitions were dealt anew: then every position has to be sought again. 0 before the first."""
        ...

    def cluster(self) -> str:
        """The log's own name, for the progress rows."""
        ...

    def assignment(self) -> frozenset[Partition]:
        """The partitions that this member holds now."""
        ...

    def partition_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, PartitionOffsets]:
        """What the log holds of these; a partition that it does not know is left out."""
        ...

    def seek(self, partition: Partition, offset: int) -> None:
        """Read `partition` from `offset` on."""
        ...

    def poll(self, max_records: int, timeout_seconds: float) -> list[Record]:
        """The next records, in order per partition; an empty list after `timeout_seconds` without any."""
        ...

    def pause(self, partitions: Collection[Partition]) -> None:
        """Read nothing of these, and of every other again, which may deal anew; they stay assigned."""
        ...

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """A hint to the log; the truth is the progress row. Never raises."""
        ...

    def lag(self) -> Mapping[Partition, int]:
        """Records of each held partition that are not read yet, as far as is known without asking."""
        ...

    def close(self) -> None: ...


# -- Mirakl: one shop's account ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OrdersQuery:
    """One listing of OR11. Filters combine with AND; an empty one does not filter."""

    states: tuple[str, ...] = ()
    order_ids: tuple[str, ...] = ()  # at most 100
    updated_from: datetime | None = None  # Mirakl subtracts a delta of its own (docs/mirakl.md 5.2)
    updated_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class OrdersPage:
    """One page of OR11, as received."""

    body: bytes
    read_at: datetime  # our clock, just before the request
    server_time: datetime | None  # Mirakl's Date header


@dataclass(frozen=True, slots=True)
class Carrier:
    """SH21: a carrier that this marketplace knows."""

    code: str
    label: str
    needs_number: bool  # its URL template holds {trackingId}


@dataclass(frozen=True, slots=True)
class Catalog:
    """What a marketplace says of itself, good for a day (SH21, SH12)."""

    carriers: tuple[Carrier, ...] = ()
    mandatory_tracking: frozenset[str] = field(default_factory=frozenset)  # shipping type codes
    alternative_carriers: bool = True  # PC01: free-text carriers are allowed


class Marketplace(Protocol):
    """One shop at Mirakl. Every method raises RemoteError."""

    def orders(self, query: OrdersQuery, offset: int) -> OrdersPage:
        """OR11, 100 orders from `offset`, oldest first. Nothing is parsed here."""
        ...

    def accept(self, order_id: str, decisions: Mapping[str, bool]) -> None:
        """OR21: every line id with its decision."""
        ...

    def send_tracking(self, order_id: str, tracking: Tracking, catalog: Catalog) -> None:
        """OR23: the carrier as a code where the catalog has it, else as free text."""
        ...

    def confirm_shipment(self, order_id: str) -> None:
        """OR24."""
        ...

    def customer_messages(self, order_id: str) -> tuple[str, ...]:
        """M11: what the customer wrote about this order, oldest first, as plain text."""
        ...

    def catalog(self) -> Catalog:
        """SH21, SH12 and PC01 (403 and 404 of PC01 are tolerated), kept for a day."""
        ...


class Oms(Protocol):
    """One company's account at the OMS."""

    def payload(self, order: bytes, messages: Sequence[str]) -> bytes:
        """What `import_order` sends for an order of OR11 and its customer's messages. Same arguments, same bytes.

        No call is made. Raises Unimportable for an order that lacks what the OMS requires, Unreadable for bytes that
        are not an order.
        """
        ...

    def import_order(self, payload: bytes) -> tuple[Part, ...]:
        """Send exactly these bytes. Returns the orders that the OMS made of them.

        Raises RemoteError; Duplicate where the OMS holds an order with this external_ref already.
        """
        ...


class OnCall(Protocol):
    """Told of every call to a remote, for the metrics."""

    def __call__(self, system: str, operation: str, outcome: str, seconds: float) -> None: ...


def in_hundreds(items: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """OR11 takes at most 100 ids at a time."""
    for start in range(0, len(items), 100):
        yield tuple(items[start : start + 100])
