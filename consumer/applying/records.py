"""What the records of the log hold: events, repeats, and dead letters in place of what cannot be used."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from adapters.errors import Unreadable
from adapters.messages.cloudevents import from_record
from adapters.ports import Record, RecordHeaders
from adapters.store import journal as journal_rows
from adapters.store.dead_letters import QUARANTINED, DeadLetter, identity
from adapters.store.transaction import Store
from consumer.applying.apply import Batch
from statemachine.events import Event, Sealed

#: Turns the value and the headers of a record into its event, or None for a record without a value. Raises Unreadable,
#: and so does `Sealed.open`. A decoder that seals saves reading the data of repeats.
Decode = Callable[[bytes | None, RecordHeaders], Event | Sealed | None]
#: Makes the event of an unreadable report: its order gets the fact that the report could not be read. None if the
#: record names no order.
UnreadEvent = Callable[[bytes, RecordHeaders, Unreadable, datetime], Event | None]


@dataclass(frozen=True, slots=True)
class Records:
    """Reads the records of some topics.

    `decoders`: the decoder of each topic. `unread_events`: by topic, the function that makes the event for the order of
    an unreadable record. `reads`: the topics whose records carry reads of orders.
    """

    decoders: Mapping[str, Decode]
    unread_events: Mapping[str, UnreadEvent]
    reads: frozenset[str]

    def read(self, store: Store, records: Sequence[Record], broken: Mapping[tuple[str, str], str]) -> Batch:
        """Return what these records hold. Of a repeat only the envelope is read, if its decoder seals.

        Call it outside of a transaction: reading takes longer than any lock should be held. Raises StoreUnavailable.
        """
        decoded: list[Event | Sealed | Unreadable | None] = []
        for record in records:
            try:
                decoded.append(self.decoders[record.partition.topic](record.value, record.headers))
            except Unreadable as error:
                decoded.append(error)
        repeats = _repeats(store, [one for one in decoded if isinstance(one, Sealed)])
        events: list[Event] = []
        dead_letters: list[DeadLetter] = []
        for record, one in zip(records, decoded, strict=True):
            if isinstance(one, Sealed) and one in repeats:
                continue
            event, letter = self._opened(record, one)
            # Also of a record that cannot be read: a replay, after the order goes on, reads it once more.
            if event is not None and (kind := broken.get((event.shop, event.order_id))):
                letter, event = self.dead_letter(record, QUARANTINED, kind), None
            dead_letters += [letter] if letter else []
            events += [event] if event else []
        return Batch(events, dead_letters, list(repeats))

    def _opened(
        self, record: Record, one: Event | Sealed | Unreadable | None
    ) -> tuple[Event | None, DeadLetter | None]:
        try:
            if isinstance(one, Unreadable):
                raise one
            return one.open() if isinstance(one, Sealed) else one, None
        except Unreadable as error:
            letter = self.dead_letter(record, error.reason, error.detail)
            return self._unread_event(record, error), letter

    def dead_letter(self, record: Record, reason: str, detail: str) -> DeadLetter:
        return dead_letter(record, reason, detail, is_read=record.partition.topic in self.reads)

    def _unread_event(self, record: Record, error: Unreadable) -> Event | None:
        make = self.unread_events.get(record.partition.topic)
        return make(record.value, record.headers, error, record.published_at) if make and record.value else None


def _repeats(store: Store, sealed: Sequence[Sealed]) -> set[Sealed]:
    """Return those whose event the journal holds already (docs/rules.md 10), of the order that the envelope names.

    One with the id of an event of another order is not among them: applying it raises EventIdReused.
    """
    if not sealed:
        return set()
    with store.transaction() as tx:
        known = journal_rows.known_orders(tx, sealed)
    return {one for one in sealed if known.get((one.source, one.event_id)) == (one.shop, one.order_id)}


def dead_letter(record: Record, reason: str, detail: str, *, is_read: bool = False) -> DeadLetter:
    """Make the dead letter of a record that cannot be used. It keeps the record byte for byte.

    `is_read`: the record's topic carries reads of orders.
    """
    place = f"{record.partition.topic}/{record.partition.number}/{record.offset}"
    # The digest includes the headers, because in the binary mode of CloudEvents they contain the event's attributes.
    content = repr((record.key, record.value, record.headers)).encode()
    digest = identity(content, _order_of(record) if is_read else None)
    return DeadLetter(record.partition.topic, place, reason, detail, digest, record.key, record.value, record.headers)


def _order_of(record: Record) -> bytes | None:
    """Return the record's key if the event in the record is about the order that the key names, else None."""
    with suppress(Unreadable):
        event = from_record(record.value, record.headers)
        if event is not None and record.key is not None and record.key.endswith(f":{event.subject}".encode()):
            return record.key
    return None
