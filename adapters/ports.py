"""What the service needs of the outside world: protocols, and the values that pass through them.

The log and both remotes are used through protocols. The store has none, because there is only one store.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote

from statemachine.facts import Part, Tracking

# -- Time --------------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """The service's only source of time, so that a test can set it."""

    def now(self) -> datetime:
        """The instant, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary fixed moment. The difference of two values is a duration."""
        ...


# -- The log: topics of keyed records, in order for each key -----------------------------------------------------


class Partition(NamedTuple):
    """One partition of one topic. A named tuple, because each record looks it up eight times: its hash is quick."""

    topic: str
    number: int  # Kafka calls it the partition's id


#: Name and value of each header of a record, in order. Several headers may have the same name.
RecordHeaders = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to publish. Records with the same key are read in the order in which they are published."""

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
    """The offsets of one partition: the records that the log has, and the group's commit."""

    first: int  # the oldest offset that the log still has
    end: int  # the offset after the last record that can be read; in Kafka the last stable offset
    log_id: str = ""  # the topic's id in Kafka; a recreated topic has another id. "" if the log has no such ids
    committed: int | None = None  # the offset that the group committed last; None if it committed nothing


class LogWriter(Protocol):
    def publish(self, records: Sequence[NewRecord]) -> None:
        """Publish these records. Returns when every record is durable.

        Raises LogUnavailable. Any of the records may have been published then, so publish all of them again. Raises
        RecordRefused for a record that the log never accepts. Publish all the others again then, without that record.
        """
        ...


class LogReader(Protocol):
    """One member of a consumer group. One thread uses it. Every method but `commit` may raise LogUnavailable."""

    group: str

    @property
    def generation(self) -> int:
        """A number that grows with each assignment; 0 before the first assignment.

        After it has grown, call `seek` for every assigned partition.
        """
        ...

    def cluster(self) -> str:
        """The id of the log's cluster. Progress rows are stored under this id."""
        ...

    def assignment(self) -> frozenset[Partition]:
        """The partitions that this member holds now."""
        ...

    def partition_offsets(self, partitions: Collection[Partition]) -> Mapping[Partition, PartitionOffsets]:
        """The offsets of these partitions. A partition that does not exist is left out."""
        ...

    def seek(self, partition: Partition, offset: int) -> None:
        """Let the next poll read `partition` from `offset` on."""
        ...

    def poll(self, max_records: int, timeout_seconds: float) -> list[Record]:
        """The next records, in order within each partition. Empty if none came within `timeout_seconds`.

        May raise RecordUnreadable. Then pause the partition that it names before the next poll.
        """
        ...

    def pause(self, partitions: Collection[Partition]) -> None:
        """Read nothing from these partitions, and resume every other partition. Paused partitions stay assigned.

        A rebalance forgets which partitions are paused, so call this before every poll. Resuming a partition may cause
        a new assignment.
        """
        ...

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Commit these positions, for tools that show the group's lag. Never raises.

        A consumer starts at its progress rows, not at the commit (docs/rules.md 8).
        """
        ...

    def lag(self) -> Mapping[Partition, int]:
        """How many records of each assigned partition are not read yet, as far as the member knows from its polls."""
        ...

    def close(self) -> None: ...


# -- Mirakl: one shop's account ----------------------------------------------------------------------------------

#: A query of OR11 may have at most this many ids, and a page of OR11 has at most this many orders.
OR11_LIMIT: Final = 100


@dataclass(frozen=True, slots=True)
class OrdersQuery:
    """One listing of OR11. It contains the orders that pass every filter given here. An empty filter is not used."""

    states: tuple[str, ...] = ()
    order_ids: tuple[str, ...] = ()  # at most OR11_LIMIT
    updated_from: datetime | None = None  # Mirakl goes back further, by an unknown time (docs/mirakl.md 5.2)
    updated_to: datetime | None = None
    most: int = OR11_LIMIT  # orders of one page


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
    needs_number: bool  # the carrier's tracking URL contains {trackingId}
    standard_code: str = ""  # Mirakl's own name of the carrier, the same at every marketplace


@dataclass(frozen=True, slots=True)
class Catalog:
    """What a marketplace allows as the carrier of a tracking (SH21, PC01)."""

    carriers: tuple[Carrier, ...] | None = ()  # None: they could not be read
    alternative_carriers: bool = True  # a carrier that is not registered may be named as free text


@dataclass(frozen=True, slots=True)
class CustomerMessages:
    """What the customer wrote about an order (M11)."""

    texts: tuple[str, ...] = ()  # topics and messages, oldest first, as plain text
    times: tuple[datetime | None, ...] = ()  # when each was written; a topic with the first message. None: not known
    has_attachments: bool = False  # a message has a file, a picture or an unreadable part: the OMS does not get it


class Marketplace(Protocol):
    """One shop at Mirakl. Every method but `catalog_unread` may raise RemoteError."""

    def orders(self, query: OrdersQuery, offset: int) -> OrdersPage:
        """OR11: read one page of a listing: the orders from `offset` on, oldest order first, unparsed."""
        ...

    def accept(self, order_id: str, decisions: Mapping[str, bool]) -> None:
        """OR21: accept (True) or refuse (False) each line, by its id."""
        ...

    def send_tracking(self, order_id: str, tracking: Tracking, catalog: Catalog) -> None:
        """OR23: send the carrier by its code if the catalog has it and there is a number, else as free text.

        If the marketplace allows no free text, the carrier is sent by its code alone. Raises Rejected without a call if
        Mirakl would refuse that, and Retryable if nobody knows because SH21 could not be read.
        """
        ...

    def confirm_shipment(self, order_id: str) -> None:
        """OR24: confirm that the whole order was shipped."""
        ...

    def customer_messages(self, order_id: str) -> CustomerMessages:
        """M11: what the customer wrote about this order."""
        ...

    def catalog(self) -> Catalog:
        """SH21 and PC01, each read at most once a day, or after ten minutes again if it could not be read.

        If the shop may not call PC01, the catalog says that any carrier may be named as free text.
        """
        ...

    def mandatory_tracking(self) -> frozenset[str]:
        """SH12, read as rarely: the codes of the shipping types that need a tracking; none if it could not be read."""
        ...

    def catalog_unread(self) -> int:
        """How many of SH21, SH12 and PC01 could not be read so far, so that they are not known."""
        ...


#: The most characters that the ids of one query take in its URL. A URL of more than 4 kB is refused by some gateways.
OR11_IDS_CHARACTERS: Final = 3_500


def batches_of_ids(order_ids: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The ids in batches, one for each query: at most OR11_LIMIT ids, and OR11_IDS_CHARACTERS as the URL writes them.

    An id that is longer than this limit is a batch of its own.
    """
    batch: list[str] = []
    characters = 0
    for order_id in order_ids:
        length = len(quote(f"{order_id},", safe=""))
        if batch and (len(batch) == OR11_LIMIT or characters + length > OR11_IDS_CHARACTERS):
            yield tuple(batch)
            batch, characters = [], 0
        batch.append(order_id)
        characters += length
    if batch:
        yield tuple(batch)


# -- The OMS: one company's account ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OmsOrder:
    """One order that the OMS made of ours, as the answer to the import shows it."""

    part: Part
    status: int | None = None  # KornitX's code (docs/kornitx.md 8.1); None if the answer names none


class Oms(Protocol):
    """One company's account at the OMS."""

    @property
    def left_out(self) -> frozenset[str]:
        """Codes of the custom fields of an order that a payload does not carry in any form."""
        ...

    def payload(
        self, order: bytes, messages: Sequence[str], quantities: Mapping[str, int | None], external_ref: str = ""
    ) -> bytes:
        """Build the bytes that `import_order` sends for an order of OR11 and its customer's messages.

        `external_ref` "": as the settings make it of the order's id.

        Only the lines in `quantities` go out, each with this number of pieces, or None if Mirakl names no number.
        The same arguments give the same bytes. No call is made. Raises Unimportable if the order lacks values that the
        OMS requires, Unreadable if `order` is not JSON.
        """
        ...

    def import_order(self, payload: bytes) -> tuple[OmsOrder, ...]:
        """Send exactly these bytes. Returns the orders that the OMS made of the order, at least one.

        Raises RemoteError: Duplicate if the OMS already holds an order with this external_ref, OutcomeUnknown if the
        answer shows no order with this external_ref.
        """
        ...


class OnCall(Protocol):
    """Called after every call to a remote, with the call's outcome (remotes/http.py, CallOutcome) and duration.

    `retry_after_seconds`: how long the remote asked to wait before the next call; 0 if it did not ask.
    """

    def __call__(
        self, system: str, operation: str, outcome: str, seconds: float, *, retry_after_seconds: float
    ) -> None: ...
