"""Limits how many distinct records of each shop in a topic may be dead-lettered in a time window (docs/rules.md 33).

A broken release, of ours or of a publisher, makes every record unusable. Without the limit the whole topic would go
into the dead letters. If one shop is beyond its limit, its unusable records are set aside, and the topic goes on for
the other shops. The topic is paused if every shop is beyond its limit, or if the records beyond the limit name no shop.
"""

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from typing import Final

from adapters.errors import UnreadableReason
from adapters.ports import Clock
from adapters.store.dead_letters import SET_ASIDE, DeadLetter


class TooManyDeadLetters(Exception):
    """More distinct records of `topic` would be dead-lettered than the limit allows."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.topic = topic


#: Reasons that do not count. Records of a shop that was removed, or of another sales channel, are no sign of a broken
#: release. Records that are set aside are beyond the limit already.
NOT_COUNTED: Final = frozenset({UnreadableReason.UNKNOWN_SHOP, UnreadableReason.UNKNOWN_COMPANY, SET_ASIDE})

WINDOW_SECONDS: Final = 600.0

#: Stands for the shop of records whose key names no known shop.
_NOBODY: Final = ""


class DeadLetterLimit:
    """Counts the distinct records that were dead-lettered within the window, of each topic and shop.

    Records are distinct by their digest: the same bytes count once, and so do reads of the same order. Keys would say
    nothing: a publisher may give no key, or the same key to all records.

    The shop of a record is the part of its key before the colon: the shop's name, or its company in the OMS. If
    `owners` does not have this part for the topic, the record names no shop.
    """

    def __init__(
        self,
        clock: Clock,
        owners: Mapping[str, AbstractSet[str]] | None = None,
        *,
        most: int = 50,
        window_seconds: float = WINDOW_SECONDS,
    ) -> None:
        """`owners`: the shops of each topic. `most`: how many distinct records of one shop in one topic may be
        dead-lettered within the window."""
        self._clock = clock
        self._owners = owners or {}
        self._most = most
        self._window_seconds = window_seconds
        self._counted_at: dict[tuple[str, str], dict[str, float]] = {}  # by topic and shop, then by digest
        self._paused: set[str] = set()

    def checked(self, dead_letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Return these dead letters. Those of a shop beyond its limit have the reason SET_ASIDE.

        Raises TooManyDeadLetters and pauses the topic if every shop of the topic is beyond its limit, or if the records
        beyond the limit name no shop.
        """
        checked = []
        counted = {place: set(recent) for place, recent in self._recent().items()}
        for one in dead_letters:
            place = (one.source, self._owner_of(one))
            of_owner = counted.setdefault(place, set())
            if one.reason in NOT_COUNTED or one.digest in of_owner or len(of_owner) < self._most:
                checked.append(one)
                if one.reason not in NOT_COUNTED:
                    of_owner.add(one.digest)
                continue
            if self._is_broken(one.source, counted):
                self._paused.add(one.source)
                raise TooManyDeadLetters(one.source)
            checked.append(replace(one, reason=SET_ASIDE, detail=f"{one.reason}: {one.detail}"))
        return checked

    def count(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Count these dead letters, which are stored now."""
        now = self._clock.now()
        self.remember([(one, now) for one in dead_letters])

    def remember(self, dead_letters: Sequence[tuple[DeadLetter, datetime]]) -> None:
        """Count these dead letters at the instants at which they came: a process that starts again begins with those
        that the store holds."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        for one, came_at in dead_letters:
            if one.reason not in NOT_COUNTED:
                counted = self._counted_at.setdefault((one.source, self._owner_of(one)), {})
                counted[one.digest] = monotonic - max(0.0, (now - came_at).total_seconds())

    def paused_topics(self) -> frozenset[str]:
        """Return the paused topics. A pause ends when the topic is no longer broken (`_is_broken`)."""
        recent = self._recent()
        self._paused = {topic for topic in self._paused if self._is_broken(topic, recent)}
        return frozenset(self._paused)

    def _is_broken(self, topic: str, counted: Mapping[tuple[str, str], Collection[str]]) -> bool:
        """Whether every shop of the topic is at its limit, or the records that name no shop are."""
        full = {owner for (of, owner), each in counted.items() if of == topic and len(each) >= self._most}
        owners = self._owners.get(topic, frozenset())
        return _NOBODY in full or (bool(owners) and full >= owners)

    def _recent(self) -> dict[tuple[str, str], dict[str, float]]:
        """Forget the records that were counted before the window, and return the others."""
        since = self._clock.monotonic() - self._window_seconds
        for place, counted in self._counted_at.items():
            self._counted_at[place] = {digest: at for digest, at in counted.items() if at > since}
        return self._counted_at

    def _owner_of(self, one: DeadLetter) -> str:
        name = (one.key or b"").partition(b":")[0].decode(errors="replace")
        return name if name in self._owners.get(one.source, frozenset()) else _NOBODY
