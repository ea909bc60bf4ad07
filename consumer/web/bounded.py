"""Work that a request hands to threads: each kind has threads of its own, and a bound.

The bounds of the intake are in callbacks.py (MAX_UNDER_WAY), those of a port in gate.py and server.py.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

T = TypeVar("T")

#: An older answer of a check counts for nothing.
LATEST_SECONDS: Final = 10.0


class Busy(Exception):
    """As much of this work is under way as may be."""


class Bounded:
    """Runs functions in at most `threads` threads. At most `at_once` of them wait or run."""

    def __init__(self, *, threads: int, at_once: int) -> None:
        self._threads = threads
        self._at_once = at_once
        self._under_way = 0
        self._limiter: CapacityLimiter | None = None  # belongs to the event loop that runs, so it is made there

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Return what the function returns. Raises Busy at the bound, and what the function raises."""
        if self._under_way >= self._at_once:
            raise Busy
        if self._limiter is None:
            self._limiter = CapacityLimiter(self._threads)
        self._under_way += 1
        try:
            return await run_sync(function, *args, limiter=self._limiter)
        finally:
            self._under_way -= 1


class Latest:
    """The answer of a check that may hang. One check runs at a time.

    No caller waits for the answer longer than `first_seconds`. After a wait in vain, none waits longer than `seconds`,
    until a check ends in time again.
    """

    def __init__(
        self,
        check: Callable[[], str],
        *,
        seconds: float,
        first_seconds: float,
        otherwise: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`otherwise` is the answer if the check does not end, and none ended in the last LATEST_SECONDS."""
        self._check = check
        self._seconds = seconds
        self._first_seconds = first_seconds
        self._hangs = False
        self._otherwise = otherwise
        self._monotonic = monotonic
        self._task: asyncio.Task[None] | None = None
        self._limiter: CapacityLimiter | None = None
        self._latest = otherwise
        self._ended_at = float("-inf")

    async def value(self) -> str:
        """Return the answer of a check that ends in time, else the latest answer if it is not too old."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        ended, _ = await asyncio.wait([self._task], timeout=self._seconds if self._hangs else self._first_seconds)
        self._hangs = not ended
        return self._latest if self._monotonic() - self._ended_at <= LATEST_SECONDS else self._otherwise

    async def _run(self) -> None:
        if self._limiter is None:
            self._limiter = CapacityLimiter(1)
        self._latest = await run_sync(self._check, limiter=self._limiter)
        self._ended_at = self._monotonic()
