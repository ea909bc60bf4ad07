"""What the service needs of the outside world: protocols, and the values that pass through them.

The log and both remotes stand behind protocols. The store does not: there is one, and apply is written for it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from statemachine.facts import Part, Tracking

# -- Time --------------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """The instant, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since any fixed moment, for durations."""
        ...


# -- The log: topics of keyed records, in order for each key -----------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of one topic."""

    topic: str
    number: int  # Kafka calls it the partition's id


#: Name and value of each header of a record, in order. A name may stand there more than once.
RecordHeaders = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to publish. Records with one key stay in order."""

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
    """What the log holds of one partition, and how far a group has come there."""

    first: int  # the oldest offset that the log still has
    end: int  # one more than the newest
    log_id: str = ""  # the topic's id: another one after the topic was recreated
    committed: int | None = None  # the group's last commit


class LogWriter(Protocol):
    def publish(self, records: Sequence[NewRecord]) -> None:
        """Return when every record is durable.

        Raises LogUnavailable, and then any of the records may have been published: publish all of them again. Raises
        TooLarge, and then the same, without the record that it names.
        """
        ...


class LogReader(Protocol):
    """One member of a consumer group. One thread uses it. Every method but `commit` may raise LogUnavailable."""

    group: str

    @property
    def generation(self) -> int:
        """Grows with each assignment. Then every partition has to be sought again. 0 before the first one."""
        ...

    def cluster(self) -> str:
        """The id of the log's cluster: the progress rows name it."""
        ...

    def assignment(self) -> frozenset[Partition]:
        """The partitions that this member holds now."""
        ...

    def partition_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, PartitionOffsets]:
        """The offsets of these partitions. One that does not exist is left out."""
        ...

    def seek(self, partition: Partition, offset: int) -> None:
        """Read `partition` from `offset` on."""
        ...

    def poll(self, max_records: int, timeout_seconds: float) -> list[Record]:
        """The next records, in order within each partition. Empty where none came in `timeout_seconds`."""
        ...

    def pause(self, partitions: Collection[Partition]) -> None:
        """Read nothing of these partitions, and read every other one. Paused partitions stay assigned.

        Resuming a partition may bring a new assignment. A rebalance forgets paused partitions, so call this before
        every poll.
        """
        ...

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Report to the log how far the group has come. It is only a hint: the progress rows decide. Never raises."""
        ...

    def lag(self) -> Mapping[Partition, int]:
        """How many records wait in each assigned partition, as far as the member knows without asking the log."""
        ...

    def close(self) -> None: ...


# -- Mirakl: one shop's account ----------------------------------------------------------------------------------

#: OR11 takes at most this many ids in a query, and gives at most this many orders in a page.
OR11_LIMIT: Final = 100


@dataclass(frozen=True, slots=True)
class OrdersQuery:
    """One listing of OR11. An order is listed where every filter that is not empty holds."""

    states: tuple[str, ...] = ()
    order_ids: tuple[str, ...] = ()  # at most OR11_LIMIT
    updated_from: datetime | None = None  # Mirakl goes back further, by a delta of its own (docs/mirakl.md 5.2)
    updated_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class OrdersPage:
    """One page of OR11, as received."""

    body: bytes
    read_at: datetime  # by our clock, just before the request
    server_time: datetime | None  # the header Date of Mirakl's answer


@dataclass(frozen=True, slots=True)
class Carrier:
    """SH21: a carrier that is registered at this marketplace."""

    code: str
    label: str
    needs_number: bool  # its tracking URL holds {trackingId}


@dataclass(frozen=True, slots=True)
class Catalog:
    """A marketplace's settings for shipments (SH21, SH12, PC01)."""

    carriers: tuple[Carrier, ...] = ()
    mandatory_tracking: frozenset[str] = field(default_factory=frozenset)  # codes of shipping types
    alternative_carriers: bool = True  # a carrier that is not registered may be named as free text


class Marketplace(Protocol):
    """One shop at Mirakl. Every method raises RemoteError."""

    def orders(self, query: OrdersQuery, offset: int) -> OrdersPage:
        """OR11: the page of a listing that begins at `offset`, oldest order first, unparsed."""
        ...

    def accept(self, order_id: str, decisions: Mapping[str, bool]) -> None:
        """OR21: accept (True) or refuse (False) each line, by its id."""
        ...

    def send_tracking(self, order_id: str, tracking: Tracking, catalog: Catalog) -> None:
        """OR23: the carrier by its code where the catalog has it, else as free text."""
        ...

    def confirm_shipment(self, order_id: str) -> None:
        """OR24."""
        ...

    def customer_messages(self, order_id: str) -> tuple[str, ...]:
        """M11: the customer's messages about this order, oldest first, as plain text."""
        ...

    def catalog(self) -> Catalog:
        """SH21, SH12 and PC01, read at most once a day. A shop that may not call PC01 may name any carrier."""
        ...


def batches_of_ids(order_ids: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The ids in batches that a query of OR11 takes."""
    for start in range(0, len(order_ids), OR11_LIMIT):
        yield tuple(order_ids[start : start + OR11_LIMIT])


# -- The OMS: one company's account ------------------------------------------------------------------------------


class Oms(Protocol):
    """One company's account at the OMS."""

    def payload(self, order: bytes, messages: Sequence[str]) -> bytes:
        """What `import_order` sends for an order of OR11 and its customer's messages. Same arguments, same bytes.

        No call is made. Raises Unimportable for an order that lacks what the OMS requires, Unreadable for bytes that
        are not an order.
        """
        ...

    def import_order(self, payload: bytes) -> tuple[Part, ...]:
        """Send exactly these bytes. Returns the orders that the OMS made of ours, empty where its answer names none.

        Raises RemoteError; Duplicate where the OMS holds an order with this external_ref already.
        """
        ...


class OnCall(Protocol):
    """Called after every call to a remote, with its outcome (remotes/http.py, CallOutcome) and how long it took."""

    def __call__(self, system: str, operation: str, outcome: str, seconds: float) -> None: ...
