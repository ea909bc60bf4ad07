"""Partitions whose next record needs what another transaction holds locked, such as the row of one order.

The lock may be held for minutes, by a person in psql for example. Meanwhile the other partitions go on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from adapters.errors import Cause, PartitionsWait, StoreUnavailable
from adapters.ports import Clock, Partition, Record

#: A lock that is held longer counts as a failure of the batch that waits for it (patience.py).
TOO_LONG_SECONDS: Final = 300.0
#: The longest rest of such a partition between two tries, because each try holds up the others (SHARED_LOCK_SECONDS).
LONGEST_REST_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Wait:
    """The tries of one partition. Instants are on the monotonic clock."""

    since: float
    tries: int = 0
    rests_until: float = 0.0


class LockedPartitions:
    """Applies a batch so that what waits for a lock holds up its own partition alone. Not thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waits: dict[Partition, _Wait] = {}

    def clear(self) -> None:
        """Forget all, because other partitions are read now."""
        self._waits.clear()

    def resting(self) -> set[Partition]:
        """Return the partitions that should not be polled now."""
        now = self._clock.monotonic()
        return {partition for partition, wait in self._waits.items() if now < wait.rests_until}

    def is_too_long(self) -> bool:
        """Whether a partition has waited for TOO_LONG_SECONDS."""
        now = self._clock.monotonic()
        return any(now - wait.since >= TOO_LONG_SECONDS for wait in self._waits.values())

    def apply(self, records: Sequence[Record], apply: Callable[[Sequence[Record]], None]) -> None:
        """Apply the records. Those of partitions that waited for a lock come last, each partition by itself.

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
        waits: StoreUnavailable | None = None
        for partition, mine in _by_partition(apart).items():
            try:
                apply(mine)
                self._waits.pop(partition, None)
            except StoreUnavailable as error:
                if error.cause != Cause.LOCKED:
                    raise
                self._waited(partition)
                waits = error
        if waits is not None:
            raise PartitionsWait from waits

    def _waited(self, partition: Partition) -> None:
        """The first try rests for no time: most locks are held for a moment. Each further one rests twice as long."""
        now = self._clock.monotonic()
        wait = self._waits.setdefault(partition, _Wait(now))
        wait.tries += 1
        wait.rests_until = now + (min(2.0 ** (wait.tries - 2), LONGEST_REST_SECONDS) if wait.tries > 1 else 0.0)


def _by_partition(records: Sequence[Record]) -> dict[Partition, list[Record]]:
    found: dict[Partition, list[Record]] = {}
    for record in records:
        found.setdefault(record.partition, []).append(record)
    return found
