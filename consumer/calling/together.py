"""Lets threads that want the same kind of work at the same time share one transaction.

No thread and no timer is added. A thread that comes while no other works does its work at once. Threads that come
meanwhile wait, and then one of them does the work of all that wait. So work waits only for the work before it.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Place(Generic[T, R]):
    """One thread's place in the queue."""

    def __init__(self, item: T) -> None:
        self.item = item
        # A lock that this thread acquires and another one releases: an Event is a condition around such a lock, which
        # the woken thread has to acquire too, often while the one that wakes still holds it.
        self.woken = threading.Lock()
        self.woken.acquire()
        self.outcome: R | BaseException | None = None
        self.is_done = False

    def finish(self, outcome: R | BaseException) -> None:
        self.outcome = outcome
        self.is_done = True
        self.wake()

    def wake(self) -> None:
        self.woken.release()


class Together(Generic[T, R]):
    """Does a piece of work for several threads at once. Any thread may call `do`."""

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R | Exception]], most: int) -> None:
        """`work` gets at most `most` items, in one thread at a time. It returns for each item a result, or the
        exception to raise in the item's thread. What `work` raises is raised in each of these threads."""
        self._work = work
        self._most = most
        self._lock = threading.Lock()
        self._queue: deque[_Place[T, R]] = deque()
        self._works = False

    def waiting(self) -> int:
        """How many threads wait for the one that works."""
        return len(self._queue)

    def do(self, item: T) -> R:
        """Return the result of `work` for this item, or raise its exception."""
        place = _Place[T, R](item)
        with self._lock:
            self._queue.append(place)
            waits, self._works = self._works, True
        if waits:
            place.woken.acquire()
        if not place.is_done:  # this thread works now, and is first in the queue
            self._lead()
        outcome = place.outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome  # type: ignore[return-value]  # it is done, so it has an outcome

    def _lead(self) -> None:
        with self._lock:
            batch = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
        outcomes: Sequence[R | BaseException]
        try:
            outcomes = self._work([place.item for place in batch])
        except BaseException as error:  # every thread has to go on, whatever happens here
            outcomes = [error] * len(batch)
        with self._lock:
            successor = self._queue[0] if self._queue else None
            self._works = successor is not None
        if successor is not None:
            successor.wake()
        for place, outcome in zip(batch, outcomes, strict=True):
            place.finish(outcome)
