"""What needs rows that another transaction holds locked, such as the row of one order.

The lock may be held for minutes, by a person in psql for example. Meanwhile all else goes on: the other orders of a
consumer and of the housekeeping.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from adapters.errors import Cause, PartitionsWait, StoreUnavailable
from adapters.ports import Clock, Partition, Record
from adapters.store.engine import SHARED_LOCK_SECONDS
from adapters.store.held import held
from adapters.store.transaction import Store, Transaction
from consumer.applying.apply import Batch, OrderWriter
from consumer.applying.records import Records
from statemachine.events import Event

log = structlog.get_logger("orderflow.consumer")

#: A record that waits for a lock for longer is the cause, if the store takes other writes: it is dead-lettered.
TOO_LONG_SECONDS: Final = 300.0
#: The longest rest between two tries, because each try holds up the others (SHARED_LOCK_SECONDS).
LONGEST_REST_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Wait:
    """The tries of one partition. Instants are on the monotonic clock."""

    since: float
    most: int  # how many records the next try takes
    tries: int = 0
    rests_until: float = 0.0  # then it is tried again
    is_alone: bool = False  # the record that waits was tried by itself
    #: What was read and is not applied yet. What it says of orders that are not locked is applied ahead.
    records: list[Record] = field(default_factory=list)


class LockedPartitions:
    """Applies a batch so that a record that waits for a lock stops its own partition alone. Not thread-safe."""

    def __init__(
        self,
        clock: Clock,
        largest: int,
        takes_a_small_write: Callable[[], bool],
        *,
        position: Callable[[Partition], int],
        apply: Callable[[Sequence[Record]], None],
        apply_ahead: Callable[[Sequence[Record], bool], None],
    ) -> None:
        """`largest`: how many records one batch may have, and how many are kept of a partition that waits.
        `takes_a_small_write`: whether the store takes any write. `position`: the next offset of a partition to apply.

        `apply` applies records. `apply_ahead` applies what they say of orders that are not locked, waits for no lock,
        and moves no progress. They are applied once more later, as repeats. With True it applies them only if one of
        their orders is locked by now: else the lock was one of a moment, and the next try comes at once.
        """
        self._clock = clock
        self._largest = largest
        self._takes_a_small_write = takes_a_small_write
        self._position = position
        self._apply = apply
        self._apply_ahead = apply_ahead
        self._waits: dict[Partition, _Wait] = {}

    def clear(self) -> None:
        """Forget all, because other partitions are read now."""
        self._waits.clear()

    def forget(self, partitions: Collection[Partition]) -> None:
        """Forget these partitions, because they are read again from their stored positions, or not read now."""
        for partition in partitions:
            self._waits.pop(partition, None)

    def full(self) -> set[Partition]:
        """Return the partitions that should not be polled now."""
        return {partition for partition, wait in self._waits.items() if len(wait.records) >= self._largest}

    def kept(self) -> list[Record]:
        """Return the records that were read and wait."""
        return [record for wait in self._waits.values() for record in wait.records]

    def next_read(self, positions: Mapping[Partition, int]) -> dict[Partition, int]:
        """Return the next offset to read of each partition in `positions`: behind the records that are kept."""
        return {**positions} | {one.partition: one.offset + 1 for one in self.kept() if one.partition in positions}

    def is_due(self) -> bool:
        """Whether a partition that waits should be tried again."""
        return bool(self._due())

    def _due(self) -> list[Partition]:
        now = self._clock.monotonic()
        return [partition for partition, wait in self._waits.items() if wait.rests_until <= now]

    def is_the_cause(self, partition: Partition) -> bool:
        """Whether one record of the partition, tried by itself, has waited for TOO_LONG_SECONDS, and other writes go
        on."""
        wait = self._waits.get(partition)
        if wait is None or not wait.is_alone or self._clock.monotonic() - wait.since < TOO_LONG_SECONDS:
            return False
        return self._takes_a_small_write()

    def apply(self, records: Sequence[Record]) -> None:
        """Apply the records. Those of partitions that waited for a lock come last, each partition by itself.

        With each try of a partition that waits its batch is halved, so that the records before the one that waits are
        applied. One try in vain ends the tries of this call, because it holds up all others.

        Raises PartitionsWait when all others were applied, and any other exception at once.
        """
        apart = [record for record in records if record.partition in self._waits]
        rest = [record for record in records if record.partition not in self._waits]
        met: list[Record] = []  # their partitions begin to wait
        try:
            if rest:
                self._apply(rest)
        except StoreUnavailable as error:
            if error.cause != Cause.LOCKED:
                raise
            met = rest
        for record in [*met, *apart]:
            self._waits.setdefault(record.partition, _Wait(self._clock.monotonic(), self._largest)).records += [record]
        if met:
            self._apply_ahead(met, True)
        if apart:
            self._apply_ahead(apart, False)
        for partition in sorted(self._due(), key=lambda one: self._waits[one].tries):
            try:
                self._try(self._waits[partition])
            except StoreUnavailable as error:
                raise (PartitionsWait() if error.cause == Cause.LOCKED else error) from error
            del self._waits[partition]

    def _try(self, wait: _Wait) -> None:
        while wait.records:
            part = wait.records[: wait.most]
            try:
                self._apply(part)
            except StoreUnavailable as error:
                if error.cause == Cause.LOCKED:
                    self._waited(wait, len(part))
                raise
            finally:  # a part that was halved may have been applied in part
                wait.records = [one for one in wait.records if one.offset >= self._position(one.partition)]
            wait.since = self._clock.monotonic()
            if wait.is_alone:  # the record that waited was applied
                wait.most, wait.is_alone = self._largest, False

    def _waited(self, wait: _Wait, tried: int) -> None:
        """The first try rests for no time: most locks are held for a moment. Each further one rests twice as long."""
        now = self._clock.monotonic()
        wait.most, wait.is_alone = max(1, tried // 2), tried == 1
        wait.tries += 1
        wait.rests_until = now + (min(2.0 ** (wait.tries - 2), LONGEST_REST_SECONDS) if wait.tries > 1 else 0.0)


def apply_ahead(
    records: Sequence[Record], store: Store, orders: OrderWriter, reads: Records, *, if_locked: bool
) -> None:
    """Apply what these records say of orders that no other transaction holds locked, and move no progress row.

    With `if_locked` only if one of the orders is locked. What is applied counts as a repeat when the records before are
    applied. A record that cannot be applied leaves all of them to that moment. Raises StoreUnavailable, but not for a
    lock.
    """

    def of_free_orders(tx: Transaction, events: Sequence[Event]) -> Batch:
        locked = held(tx, {(event.shop, event.order_id) for event in events})
        free = [event for event in events if (event.shop, event.order_id) not in locked]
        return Batch(free if locked or not if_locked else ())

    try:
        events = reads.read(store, records, {}).events
        applied = orders.store_batch(lambda tx: of_free_orders(tx, events), (), lock_seconds=SHARED_LOCK_SECONDS)
    except StoreUnavailable as error:
        if error.cause != Cause.LOCKED:
            raise
    except Exception as error:
        log.debug("not_applied_ahead", error=type(error).__name__)
    else:
        orders.report(applied)


class LockedOrders:
    """The orders that one loop found locked: each rests between two tries. Not thread-safe.

    They are at most as many as other transactions hold locked.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rests_until: dict[tuple[str, str], float] = {}  # by shop and order id, on the monotonic clock

    def __len__(self) -> int:
        return len(self._rests_until)

    def without(self, orders: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return those of these orders that are not known to be locked."""
        return [order for order in orders if order not in self._rests_until]

    def due(self) -> list[tuple[str, str]]:
        """Return the orders whose rest is over."""
        now = self._clock.monotonic()
        return [order for order, until in self._rests_until.items() if until <= now]

    def forget(self, orders: Collection[tuple[str, str]]) -> None:
        """These orders are locked no more."""
        for order in orders:
            del self._rests_until[order]

    def add(self, orders: Collection[tuple[str, str]]) -> None:
        """These orders were found locked."""
        self._rests_until |= dict.fromkeys(orders, self._clock.monotonic() + LONGEST_REST_SECONDS)
