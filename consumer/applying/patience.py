"""How long a consumer tries a batch again as a whole while the store says that it is unavailable.

A store that refuses a batch for what the batch carries may say that it cannot do it now: one value makes a statement
too slow, for example. No list of errors is complete. So a rule needs no list: if a batch fails several times and a
small write to the same store succeeds, the batch is the cause. It is made smaller with each further failure, until the
record that causes it is alone.

The same is seen if one table cannot be written, because it is on a disk of its own that hangs. Then every record would
be taken for the cause. So after a record was, the next one has to fail for minutes, unless a batch was stored since. A
full disk is never caused by a record: the small write may find room where the batch finds none.
"""

from collections.abc import Callable
from typing import Final

from adapters.errors import Cause
from adapters.ports import Clock, Partition

#: How often a batch may fail before it is made smaller.
FAILURES: Final = 3
#: After a record was the cause, so much time has to pass until the next one is, if no batch was stored meanwhile.
APART_SECONDS: Final = 300.0
#: These failures make no batch smaller. Locks have a rule of their own (locked.py).
NOT_OF_A_RECORD: Final = frozenset({Cause.LOCKED, Cause.DISK_FULL})


class Patience:
    """Counts the failures of one consumer. Not thread-safe."""

    def __init__(self, clock: Clock, largest: int) -> None:
        """`largest`: how many records one batch may have."""
        self._clock = clock
        self._largest = largest
        self._failures = 0
        #: How many records the next batch may have.
        self.batch = largest
        self._is_over = False
        self._caused_at = float("-inf")  # monotonic; when a record was the cause, if no batch was stored since

    def is_the_cause(self, _partition: Partition) -> bool:
        """Whether a batch of one record has failed in this way: if it fails again, the record is the cause."""
        return self._is_over

    def was_the_cause(self) -> None:
        """The record that was the cause is a dead letter now."""
        self._caused_at = self._clock.monotonic()

    def success(self) -> None:
        """A batch was stored. The next may be twice as large. While it is smaller than the largest, the first failure
        makes it smaller again."""
        self._failures = 0 if self.batch == self._largest else FAILURES - 1
        self._is_over = False
        self._caused_at = float("-inf")
        self.batch = min(self._largest, self.batch * 2)

    def failure(self, cause: Cause, takes_a_small_write: Callable[[], bool]) -> None:
        """A batch failed because the store was unavailable. `takes_a_small_write`: whether it takes any write now."""
        if cause in NOT_OF_A_RECORD:
            return
        self._failures += 1
        self._is_over = False
        if self._failures < FAILURES or not takes_a_small_write():
            return
        self._is_over = self.batch == 1 and self._clock.monotonic() - self._caused_at >= APART_SECONDS
        self.batch = max(1, self.batch // 2)
