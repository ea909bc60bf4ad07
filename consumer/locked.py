"""What needs rows that another transaction holds locked, such as the row of one order.

The lock may be held for minutes, by a person in psql for example. Meanwhile all else goes on: the other orders of a
consumer and of the housekeeping.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from adapters.errors import Cause, PartitionsWait, StoreUnavailable
from adapters.ports import Clock, Partition, Record

#: A record that waits for a lock for longer is the cause, if the store takes other writes: it is dead-lettered.
TOO_LONG_SECONDS: Final = 300.0
#: The longest rest between two tries, because each try holds up the others (SHARED_LOCK_SECONDS).
LONGEST_REST_SECONDS: Final = 10.0
#: How often the records of a partition that waits are looked through for those of other orders. An order has several
#: records on its way, and each waits for so long.
LOOK_SECONDS: Final = 0.25


_Apply = Callable[[Sequence[Record]], None]


@dataclass(slots=True)
class _Wait:
    """The tries of one partition. Instants are on the monotonic clock."""

    since: float
    most: int  # how many records the next try takes
    tries: int = 0
    rests_until: float = 0.0  # then it is tried again
    looks_at: float = 0.0  # then its records are looked through
    is_alone: bool = False  # the record that waits was tried by itself


class LockedPartitions:
    """Applies a batch so that a record that waits for a lock stops its own partition alone. Not thread-safe."""

    def __init__(self, clock: Clock, largest: int, takes_a_small_write: Callable[[], bool]) -> None:
        """`largest`: how many records one batch may have. `takes_a_small_write`: whether the store takes any write."""
        self._clock = clock
        self._largest = largest
        self._takes_a_small_write = takes_a_small_write
        self._waits: dict[Partition, _Wait] = {}

    def clear(self) -> None:
        """Forget all, because other partitions are read now."""
        self._waits.clear()

    def resting(self) -> set[Partition]:
        """Return the partitions that should not be polled now."""
        now = self._clock.monotonic()
        return {partition for partition, wait in self._waits.items() if now < min(wait.rests_until, wait.looks_at)}

    def is_the_cause(self, partition: Partition) -> bool:
        """Whether one record of the partition, tried by itself, has waited for TOO_LONG_SECONDS, and other writes go
        on."""
        wait = self._waits.get(partition)
        if wait is None or not wait.is_alone or self._clock.monotonic() - wait.since < TOO_LONG_SECONDS:
            return False
        return self._takes_a_small_write()

    def apply(self, records: Sequence[Record], apply: _Apply, apply_ahead: _Apply) -> None:
        """Apply the records. Those of partitions that waited for a lock come last, each partition by itself.

        `apply_ahead` applies what is about orders that are not locked, waits for no lock, and moves no progress. So
        other orders of these partitions go on. With each try of a partition that waits its batch is halved, so that the
        records before the one that waits are applied. One try that waits in vain ends the tries of this call.

        Raises PartitionsWait when all others were applied, and any other exception at once.
        """
        apart = [record for record in records if record.partition in self._waits]
        rest = [record for record in records if record.partition not in self._waits]
        try:
            if rest:
                apply(rest)
        except StoreUnavailable as error:
            if error.cause != Cause.LOCKED:
                raise
            apart = [*rest, *apart]
        if apart:
            apply_ahead(apart)
            self._apply_apart(_by_partition(apart), apply)

    def _apply_apart(self, apart: Mapping[Partition, Sequence[Record]], apply: _Apply) -> None:
        """Try these partitions, the least often tried ones first. Raises as `apply`."""
        now = self._clock.monotonic()
        for partition in apart:
            self._waits.setdefault(partition, _Wait(now, self._largest)).looks_at = now + LOOK_SECONDS
        due = [partition for partition in apart if self._waits[partition].rests_until <= now]
        for partition in sorted(due, key=lambda one: self._waits[one].tries):
            try:
                self._apply_in_parts(partition, apart[partition], apply)
            except StoreUnavailable as error:
                if error.cause != Cause.LOCKED:
                    raise
                raise PartitionsWait from error
            del self._waits[partition]
        if len(due) < len(apart):
            raise PartitionsWait

    def _apply_in_parts(self, partition: Partition, records: Sequence[Record], apply: _Apply) -> None:
        wait = self._waits[partition]
        while records:
            part, records = records[: wait.most], records[wait.most :]
            try:
                apply(part)
            except StoreUnavailable as error:
                if error.cause == Cause.LOCKED:
                    self._waited(wait, len(part))
                raise
            wait.since = self._clock.monotonic()
            if wait.is_alone:  # the record that waited was applied
                wait.most, wait.is_alone = self._largest, False

    def _waited(self, wait: _Wait, tried: int) -> None:
        """The first try rests for no time: most locks are held for a moment. Each further one rests twice as long."""
        now = self._clock.monotonic()
        wait.most, wait.is_alone = max(1, tried // 2), tried == 1
        wait.tries += 1
        wait.rests_until = now + (min(2.0 ** (wait.tries - 2), LONGEST_REST_SECONDS) if wait.tries > 1 else 0.0)


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


def _by_partition(records: Sequence[Record]) -> dict[Partition, list[Record]]:
    found: dict[Partition, list[Record]] = {}
    for record in records:
        found.setdefault(record.partition, []).append(record)
    return found
