"""Lines of the log that strangers can cause: few, with a count."""

import time
from collections.abc import Callable
from typing import Final

#: In this time there is at most one line of a kind.
SELDOM_SECONDS: Final = 60.0


class Seldom:
    """Says when to write a line of one kind again: at most once in SELDOM_SECONDS, with how often it happened."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._written_at: dict[tuple[str, ...], float] = {}
        self._times: dict[tuple[str, ...], int] = {}

    def times(self, *kind: str) -> int:
        """Count one more of this kind. Returns how many there were since the last line, or 0 if it is too early.

        The kinds have to come from a closed set, because each is remembered.
        """
        self._times[kind] = self._times.get(kind, 0) + 1
        now = self._monotonic()
        if now - self._written_at.get(kind, float("-inf")) < SELDOM_SECONDS:
            return 0
        self._written_at[kind] = now
        return self._times.pop(kind)
