"""The consumer: everything that may happen between two polls of the log is in `turn`."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from adapters import views
from adapters.ports import Fenced, LogReader, Place, Record, StoreUnavailable, Unreadable
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


class Consumer:
    """One member of the group. Not thread-safe; one thread calls `turn`."""

    def __init__(
        self,
        reader: LogReader,
        orders: Orders,
        decoders: Mapping[str, Decode],
        on_batch: Callable[[Sequence[Record], Sequence[Applied], Sequence[DeadLetter]], None] = lambda *_: None,
    ) -> None:
        self._reader = reader
        self._orders = orders
        self._decoders = decoders
        self._on_batch = on_batch
        self._held: dict[Place, int] = {}  # the position of each partition that is ours, by the progress row

    def turn(self, timeout_seconds: float = 1.0) -> int:
        """Poll once and apply what came. Returns how many records were passed.

        Raises StoreUnavailable and LogUnavailable: then nothing is lost, the same records come again.
        """
        self._take_assignment()
        records = self._reader.poll(BATCH, timeout_seconds)
        records = [record for record in records if record.place in self._held]
        if not records:
            return 0
        try:
            self._apply(records)
        except Fenced:
            log.warning("fenced", places=sorted({f"{r.place.topic}/{r.place.partition}" for r in records}))
            self._held = {}  # somebody else moved it: read the progress rows again
            return 0
        except StoreUnavailable:
            self._seek_back()
            raise
        self._reader.commit(self._held)
        return len(records)

    def _take_assignment(self) -> None:
        """Begin each new partition at its progress row, never at the log's own commit (rule 8)."""
        assigned = self._reader.assignment()
        self._held = {place: position for place, position in self._held.items() if place in assigned}
        for place in assigned - self._held.keys():
            position = views.position(self._orders.store, self._reader.cluster, self._reader.group, place)
            self._reader.seek(place, position)
            self._held[place] = position

    def _seek_back(self) -> None:
        for place, position in self._held.items():
            self._reader.seek(place, position)

    def _apply(self, records: Sequence[Record]) -> None:
        """Apply a batch; one that cannot be applied is halved until the culprit stands alone, and that is set aside."""
        batch = self._decode(records)
        try:
            applied = self._orders.apply(batch.events, self._moves(records), batch.letters)
        except (Fenced, StoreUnavailable):
            raise
        except Exception as error:
            if len(records) > 1:
                middle = len(records) // 2
                self._apply(records[:middle])
                self._apply(records[middle:])
                return
            letter = dead_letter(records[0], "not_applicable", type(error).__name__)
            log.error("set_aside", place=letter.place, reason=letter.reason, error=letter.detail)
            batch, applied = Batch(records, (), (letter,)), []
            self._orders.apply((), self._moves(records), batch.letters)
        for record in records:
            self._held[record.place] = record.offset + 1
        self._on_batch(records, applied, batch.letters)

    def _decode(self, records: Sequence[Record]) -> Batch:
        events: list[Event] = []
        letters: list[DeadLetter] = []
        for record in records:
            try:
                event = self._decoders[record.place.topic](record.value, record.headers)
            except Unreadable as error:
                letters.append(dead_letter(record, error.reason, error.detail))
                log.warning("set_aside", place=letters[-1].place, reason=error.reason)
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
    digest = hashlib.sha256((record.key or b"") + b"\0" + (record.value or b"")).hexdigest()[:32]
    return DeadLetter(record.place.topic, place, reason, detail, digest, record.key, record.value, record.headers)
