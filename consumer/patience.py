"""How long a consumer tries a batch again as a whole while the store says that it is unavailable.

A store that refuses a batch for what the batch carries may say that it cannot do it now: one value makes a statement
too slow, or somebody holds the row of one order locked. No list of errors is complete. So a rule needs no list: if a
batch fails several times and a small write to the same store succeeds, the batch is the cause. It is made smaller with
each further failure, until the record that causes it is alone.
"""

from collections.abc import Callable
from typing import Final

from adapters.ports import Partition

#: How often a batch may fail before it is made smaller.
FAILURES: Final = 3


class Patience:
    """Counts the failures of one consumer. Not thread-safe."""

    def __init__(self, largest: int) -> None:
        """`largest`: how many records one batch may have."""
        self._largest = largest
        self._failures = 0
        #: How many records the next batch may have.
        self.batch = largest
        self._is_over = False

    def is_the_cause(self, _partition: Partition) -> bool:
        """Whether a batch of one record has failed in this way: if it fails again, the record is the cause."""
        return self._is_over

    def success(self) -> None:
        """A batch was stored. The next may be twice as large. While it is smaller than the largest, the first failure
        makes it smaller again."""
        self._failures = 0 if self.batch == self._largest else FAILURES - 1
        self._is_over = False
        self.batch = min(self._largest, self.batch * 2)

    def failure(self, takes_a_small_write: Callable[[], bool]) -> None:
        """A batch failed because the store was unavailable. `takes_a_small_write`: whether it takes any write now."""
        self._failures += 1
        self._is_over = False
        if self._failures < FAILURES or not takes_a_small_write():
            return
        self._is_over = self.batch == 1
        self.batch = max(1, self.batch // 2)
