"""Limits how many distinct keys of a topic may be dead-lettered in a time window."""

from collections.abc import Sequence
from typing import Final

from adapters.ports import Clock
from adapters.store.dead_letters import DeadLetter


class TooManyDeadLetters(Exception):
    """One more key of this topic, and it would be emptied into the dead letters."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.topic = topic


#: Not ours: a shop that was taken out, another sales channel of the company. No sign of a bad deploy.
NOT_OURS: Final = frozenset({"unknown_shop", "unknown_company"})


class DeadLetterLimit:
    """Of one topic only so many different keys may be set aside in a while: a bad deploy must not empty it."""

    def __init__(self, clock: Clock, most: int = 50, window_seconds: float = 600) -> None:
        self._clock = clock
        self._most = most
        self._window_seconds = window_seconds
        self._set_aside: dict[str, dict[bytes | None, float]] = {}  # topic -> key -> when
        self._stopped: set[str] = set()

    def check(self, letters: Sequence[DeadLetter]) -> None:
        """Raises TooManyDeadLetters where there is no room for these."""
        letters = [letter for letter in letters if letter.reason not in NOT_OURS]
        for topic in {letter.source for letter in letters}:
            recent = self._recent(topic)
            if len(recent | {letter.key for letter in letters if letter.source == topic}) > self._most:
                self._stopped.add(topic)
                raise TooManyDeadLetters(topic)

    def note(self, letters: Sequence[DeadLetter]) -> None:
        """These were set aside."""
        for letter in (letter for letter in letters if letter.reason not in NOT_OURS):
            self._set_aside.setdefault(letter.source, {})[letter.key] = self._clock.monotonic()

    def stopped(self) -> frozenset[str]:
        """The topics that rest, until there is room again."""
        self._stopped = {topic for topic in self._stopped if len(self._recent(topic)) >= self._most}
        return frozenset(self._stopped)

    def _recent(self, topic: str) -> set[bytes | None]:
        since = self._clock.monotonic() - self._window_seconds
        kept = {key: when for key, when in self._set_aside.get(topic, {}).items() if when > since}
        self._set_aside[topic] = kept
        return set(kept)
