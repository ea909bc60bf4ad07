"""Shares the shops of a process out to few threads. The shop that has been due longest has the next turn.

A shop whose Mirakl hangs holds one thread until its calls time out. From then on it is slow. Slow shops hold half of
the threads at most (of one thread: this one), so that all others are polled in time, however many hang.
"""

import threading
from collections.abc import Mapping

from adapters.ports import Clock
from consumer.polling.poll_schedule import ScheduledPoller


class PollerPool:
    """Says which shop has the next turn. Any thread may call."""

    def __init__(self, pollers: Mapping[str, ScheduledPoller], threads: int, clock: Clock) -> None:
        """`threads`: how many threads there may be; more than one for each shop have no use."""
        self.pollers = pollers
        self.threads = min(threads, len(pollers))
        self._most_slow = max(1, self.threads // 2)
        self._clock = clock
        self._lock = threading.Lock()
        # Every shop is in one of the next two.
        self._due_at = dict.fromkeys(pollers, clock.monotonic())  # the shops that have no turn now
        self._turning: set[str] = set()

    def take(self) -> str | None:
        """Begin the turn of the shop that has been due longest, and return its name. None if no shop may begin."""
        with self._lock:
            for at, shop in self._in_order():
                if at > self._clock.monotonic():
                    return None
                if self.pollers[shop].is_slow and self._slow_ones() >= self._most_slow:
                    continue
                del self._due_at[shop]
                self._turning.add(shop)
                return shop
            return None

    def give_back(self, shop: str, seconds: float) -> None:
        """End the turn of a shop. Its next one is due after `seconds`."""
        with self._lock:
            self._turning.discard(shop)
            self._due_at[shop] = self._clock.monotonic() + seconds

    def seconds_to_next(self) -> float:
        """Return after how many seconds another shop is due. Shops that are due already do not count."""
        with self._lock:
            now = self._clock.monotonic()
            return min((at - now for at in self._due_at.values() if at > now), default=float("inf"))

    def seconds_late(self) -> float:
        """Return for how long the shop that waits longest for a thread has been due. 0 if none waits."""
        with self._lock:
            return max(0.0, self._clock.monotonic() - min(self._due_at.values(), default=float("inf")))

    def _in_order(self) -> list[tuple[float, str]]:
        return sorted((at, shop) for shop, at in self._due_at.items())

    def _slow_ones(self) -> int:
        return sum(self.pollers[shop].is_slow for shop in self._turning)
