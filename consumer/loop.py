"""The consumer: everything that may happen between two polls of the log is in `turn`."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from adapters import views
from adapters.ports import Clock, Fenced, LogReader, Place, Record, StoreUnavailable, Unreadable
from adapters.store import DeadLetter, Move
from consumer.apply import Applied, Orders
from statemachine.events import Event

log = structlog.get_logger("orderflow.consumer")

#: One apply transaction (style-models 2).
BATCH: Final = 500

Decode = Callable[[bytes | None, Sequence[tuple[str, bytes]]], Event | None]


@dataclass(frozen=True, slots=True)
class Batch:
    """Records, and what they mean: events to apply and letters to set aside."""

    records: Sequence[Record]
    events: tuple[Event, ...]
    letters: tuple[DeadLetter, ...]


class TooMuchSetAside(Exception):
    """One more key of this topic, and it would be emptied into the dead letters."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.topic = topic


#: Not ours: a shop that was taken out, another sales channel of the company. No sign of a bad deploy.
NOT_OURS: Final = frozenset({"unknown_shop", "unknown_company"})


class Brake:
    """Of one topic only so many different keys may be set aside in a while: a bad deploy must not empty it."""

    def __init__(self, clock: Clock, most: int = 50, window_seconds: float = 600) -> None:
        self._clock = clock
        self._most = most
        self._window_seconds = window_seconds
        self._set_aside: dict[str, dict[bytes | None, float]] = {}  # topic -> key -> when
        self._stopped: set[str] = set()

    def check(self, letters: Sequence[DeadLetter]) -> None:
        """Raises TooMuchSetAside where there is no room for these."""
        letters = [letter for letter in letters if letter.reason not in NOT_OURS]
        for topic in {letter.source for letter in letters}:
            recent = self._recent(topic)
            if len(recent | {letter.key for letter in letters if letter.source == topic}) > self._most:
                self._stopped.add(topic)
                raise TooMuchSetAside(topic)

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


class Consumer:
    """One member of the group. Not thread-safe; one thread calls `turn`."""

    def __init__(
        self,
        reader: LogReader,
        orders: Orders,
        decoders: Mapping[str, Decode],
        on_batch: Callable[[Sequence[Record], Sequence[Applied], Sequence[DeadLetter]], None] = lambda *_: None,
        *,
        on_stopped: Callable[[Collection[str]], None] = lambda _topics: None,
        brake: Brake | None = None,
    ) -> None:
        """`on_stopped` is told all topics that rest because too much of them was set aside, at every change."""
        self._reader = reader
        self._orders = orders
        self._decoders = decoders
        self._on_batch = on_batch
        self._on_stopped = on_stopped
        self._brake = brake or Brake(orders.clock)
        self._stopped: frozenset[str] = frozenset()
        self._held: dict[Place, int] = {}  # the position of each partition that is ours, by the progress row

    def turn(self, timeout_seconds: float = 1.0) -> int:
        """Poll once and apply what came. Returns how many records were passed.

        Raises StoreUnavailable and LogUnavailable: then nothing is lost, the same records come again.
        """
        self._take_assignment()
        self._let_rest()
        polled = self._reader.poll(BATCH, timeout_seconds)
        records = [r for r in polled if r.place in self._held and r.offset >= self._held[r.place]]
        if not records:
            return 0
        try:
            self._apply(records)
        except Fenced:
            log.warning("fenced", places=sorted({f"{r.place.topic}/{r.place.partition}" for r in records}))
            self._held = {}  # somebody else moved it: read the progress rows again
            return 0
        except TooMuchSetAside:
            self._seek_back()
        except BaseException:
            self._seek_back()  # whatever it was: what is not applied comes again
            raise
        self._reader.commit(self._held)
        return sum(record.offset < self._held[record.place] for record in records)

    def _take_assignment(self) -> None:
        """Begin each new partition at its progress row, never at the log's own commit (rule 8)."""
        assigned = self._reader.assignment()
        self._held = {place: position for place, position in self._held.items() if place in assigned}
        for place in assigned - self._held.keys():
            position = views.position(self._orders.store, self._reader.cluster, self._reader.group, place)
            self._reader.seek(place, position)
            self._held[place] = position

    def _let_rest(self) -> None:
        stopped = self._brake.stopped()
        for topic in stopped - self._stopped:
            log.error("topic_stopped", topic=topic)
        if stopped != self._stopped:
            self._on_stopped(stopped)
        self._stopped = stopped
        self._reader.pause([place for place in self._held if place.topic in stopped])

    def _seek_back(self) -> None:
        for place, position in self._held.items():
            self._reader.seek(place, position)

    def _apply(self, records: Sequence[Record]) -> None:
        """Apply a batch; one that cannot be applied is halved until the culprit stands alone, and that is set aside."""
        try:
            batch = self._decode(records)
            self._brake.check(batch.letters)
            applied = self._orders.apply(batch.events, self._moves(records), batch.letters)
        except (Fenced, StoreUnavailable):
            raise
        except Exception as error:
            if len(records) > 1:
                middle = len(records) // 2
                self._apply(records[:middle])
                self._apply(records[middle:])
                return
            if isinstance(error, TooMuchSetAside):
                raise
            batch = Batch(records, (), (dead_letter(records[0], "not_applicable", type(error).__name__),))
            self._brake.check(batch.letters)
            applied = self._orders.apply((), self._moves(records), batch.letters)
        for record in records:
            self._held[record.place] = record.offset + 1
        self._brake.note(batch.letters)
        for letter in batch.letters:
            tell = log.error if letter.reason == "not_applicable" else log.warning
            tell("set_aside", place=letter.place, reason=letter.reason, detail=letter.detail)
        self._on_batch(records, applied, batch.letters)

    def _decode(self, records: Sequence[Record]) -> Batch:
        events: list[Event] = []
        letters: list[DeadLetter] = []
        for record in records:
            try:
                event = self._decoders[record.place.topic](record.value, record.headers)
            except Unreadable as error:
                letters.append(dead_letter(record, error.reason, error.detail))
            else:
                if event is not None:
                    events.append(event)
        return Batch(records, tuple(events), tuple(letters))

    def _moves(self, records: Sequence[Record]) -> list[Move]:
        ends = {record.place: record.offset + 1 for record in records}
        places = sorted(ends, key=lambda place: (place.topic, place.partition))  # one lock order for all
        return [
            Move(self._reader.cluster, self._reader.group, place, self._held[place], ends[place]) for place in places
        ]


def dead_letter(record: Record, reason: str, detail: str) -> DeadLetter:
    """A record that cannot be used, as received."""
    place = f"{record.place.topic}/{record.place.partition}/{record.offset}"
    # Headers count: in binary mode they hold what the event is about.
    digest = hashlib.sha256(repr((record.key, record.value, record.headers)).encode()).hexdigest()[:32]
    return DeadLetter(record.place.topic, place, reason, detail, digest, record.key, record.value, record.headers)
