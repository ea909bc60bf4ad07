"""Records that orderflow publishes through the outbox: changes of an order's state, and dead letters."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic_core import to_json

from adapters.messages.cloudevents import LONGEST_ATTRIBUTE, CloudEvent, record_of, schema_id
from adapters.messages.text import digest_of, iso
from adapters.ports import NewRecord, RecordHeaders
from statemachine.events import Event

TRANSITION_TYPE: Final = "io.orderflow.order.transitioned"
TRANSITION_SOURCE: Final = "/orderflow"
#: The type of a dead letter in the outbox, where Debezium's router wants one. The published record has none.
DEAD_LETTER_TYPE: Final = "io.orderflow.dead-letter"


@dataclass(frozen=True, slots=True)
class OutboxTopics:
    """Where the records of the outbox are published."""

    transitions: str
    dead_letters: str


def transition_record(
    topic: str,
    journal_id: int,
    cause: Event,
    *,
    before: str,
    after: str,
    version: int,
    attention: Sequence[str],
    at: datetime,
) -> NewRecord:
    """The record of one change of an order's state. The arguments are those of `transition_event`."""
    event = transition_event(journal_id, cause, before=before, after=after, version=version, attention=attention, at=at)
    return record_of(topic, event)


def transition_event(
    journal_id: int, cause: Event, *, before: str, after: str, version: int, attention: Sequence[str], at: datetime
) -> CloudEvent:
    """One change of an order's state.

    `journal_id` is the row of the journal that holds the change, and becomes the event's id. `cause` is the event that
    led to the change. `version` is the order's version after it, `attention` the reasons that stand after it.
    """
    order = f"{cause.shop}:{cause.order_id}"
    # A plain dict: building a contract.Transition would double the time. A test reads every event back as one.
    data = {
        "shop": cause.shop,
        "order_id": cause.order_id,
        "from_state": before,
        "to_state": after,
        "trigger": cause.trigger,
        "version": version,
        "at": iso(at),
        "attention": attention,
    }
    return CloudEvent(
        id=str(journal_id),
        source=TRANSITION_SOURCE,
        type=TRANSITION_TYPE,
        subject=cause.order_id,
        time=at,
        data=to_json(data),
        extensions={
            "partitionkey": order,
            "shop": cause.shop,
            "correlationid": order,
            "causationid": _bounded(f"{cause.source}#{cause.event_id}"),
            "sequence": f"{version:010d}",  # CloudEvents wants a text that sorts by itself
        },
        dataschema=schema_id("transition"),
    )


def _bounded(text: str) -> str:
    """`text`; where it is too long for an attribute, its start and its digest, which still differs for each text."""
    if len(text) <= LONGEST_ATTRIBUTE:
        return text
    digest = "~" + digest_of(text.encode())
    return text[: LONGEST_ATTRIBUTE - len(digest)] + digest


def dead_letter_record(
    topic: str,
    *,
    key: bytes | None,
    value: bytes | None,
    headers: RecordHeaders,
    source: str,
    place: str,
    reason: str,
    detail: str,
) -> NewRecord:
    """A record that could not be used, byte for byte. Our headers follow its own.

    Of two headers with one name the last counts. So a record that is dead-lettered again shows the newest reason.
    """
    ours = {"place": place, "source": source, "reason": reason, "detail": detail}
    added = ((f"orderflow-{name}", text.encode(errors="replace")) for name, text in ours.items())
    return NewRecord(topic, key, value or b"", (*headers, *added))
