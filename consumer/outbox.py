"""What the world is told: written with what made it so, in one transaction, and published by the relay."""

from dataclasses import dataclass
from datetime import datetime

from adapters.messages.cloudevents import to_structured
from adapters.messages.transitions import dead_letter_headers, transition_event
from adapters.ports import NewRecord
from adapters.store.transaction import DeadLetter, JournalRow

#: Debezium's router shows it as the event's type; the records of dead letters have none of their own.
DEAD_LETTER_TYPE = "io.orderflow.dead-letter"


@dataclass(frozen=True, slots=True)
class Outbox:
    """The topics that we tell of."""

    transitions: str
    dead_letters: str

    def transition(
        self, journal_id: int, row: JournalRow, attention: tuple[tuple[str, str, datetime], ...], now: datetime
    ) -> tuple[str, NewRecord]:
        """One change of an order's state; its id is the journal's."""
        event = transition_event(
            journal_id,
            shop=row.event.shop,
            order_id=row.event.order_id,
            before=row.before,
            after=row.after,
            trigger=row.event.trigger,
            version=row.version,
            at=now,
            attention=list(dict.fromkeys(reason for reason, _, _ in attention)),
            caused_by=(row.event.source, row.event.event_id),
        )
        value, headers = to_structured(event)
        return event.type, NewRecord(self.transitions, event.extensions["partitionkey"].encode(), value, headers)

    def letter(self, letter: DeadLetter) -> tuple[str, NewRecord]:
        """What was set aside, byte for byte, with its place and reason in the headers."""
        headers = dead_letter_headers(letter.source, letter.place, letter.reason, letter.detail, letter.headers)
        return DEAD_LETTER_TYPE, NewRecord(self.dead_letters, letter.key, letter.value or b"", headers)
