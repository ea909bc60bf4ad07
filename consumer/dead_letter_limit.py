"""Limits how many distinct keys of a topic may be dead-lettered in a time window.

A broken release, of ours or of a publisher, makes every record of a topic unusable. Without the limit the whole topic
would go into the dead letters. With it the topic is paused, and nothing is lost.
"""

from collections.abc import Sequence
from typing import Final

from adapters.errors import UnreadableReason
from adapters.ports import Clock
from adapters.store.dead_letters import DeadLetter


class TooManyDeadLetters(Exception):
    """More distinct keys of `topic` would be dead-lettered than the limit allows."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.topic = topic


#: Reasons that do not count. Records of a shop that was removed, or of another sales channel, are no sign of a broken
#: release.
NOT_COUNTED: Final = frozenset({UnreadableReason.UNKNOWN_SHOP, UnreadableReason.UNKNOWN_COMPANY})


class DeadLetterLimit:
    """Counts the distinct keys of each topic that were dead-lettered within the window, and pauses full topics."""

    def __init__(self, clock: Clock, most: int = 50, window_seconds: float = 600) -> None:
        """`most`: how many distinct keys of one topic may be dead-lettered within the window."""
        self._clock = clock
        self._most = most
        self._window_seconds = window_seconds
        self._counted_at: dict[str, dict[bytes | None, float]] = {}  # by topic and key
        self._paused: set[str] = set()

    def check(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Raise TooManyDeadLetters and pause the topic, if these dead letters would exceed the topic's limit."""
        counted = _counted(dead_letters)
        for topic in {one.source for one in counted}:
            keys = self._recent_keys(topic) | {one.key for one in counted if one.source == topic}
            if len(keys) > self._most:
                self._paused.add(topic)
                raise TooManyDeadLetters(topic)

    def count(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Count these dead letters, which are stored now."""
        for one in _counted(dead_letters):
            self._counted_at.setdefault(one.source, {})[one.key] = self._clock.monotonic()

    def paused_topics(self) -> frozenset[str]:
        """Return the paused topics. A pause ends when fewer keys than the limit were dead-lettered in the window."""
        self._paused = {topic for topic in self._paused if len(self._recent_keys(topic)) >= self._most}
        return frozenset(self._paused)

    def _recent_keys(self, topic: str) -> set[bytes | None]:
        since = self._clock.monotonic() - self._window_seconds
        recent = {key: at for key, at in self._counted_at.get(topic, {}).items() if at > since}
        self._counted_at[topic] = recent
        return set(recent)


def _counted(dead_letters: Sequence[DeadLetter]) -> list[DeadLetter]:
    return [one for one in dead_letters if one.reason not in NOT_COUNTED]
