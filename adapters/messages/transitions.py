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
#: The type of a dead letter in its row of the outbox, because Debezium's router needs a type. The published record has
#: no type.
DEAD_LETTER_TYPE: Final = "io.orderflow.dead-letter"


@dataclass(frozen=True, slots=True)
class OutboxTopics:
    """The topics to which the records of the outbox are published."""

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
    """The record that carries the event of `transition_event`. The arguments are explained there."""
    event = transition_event(journal_id, cause, before=before, after=after, version=version, attention=attention, at=at)
    return record_of(topic, event)


def transition_event(
    journal_id: int, cause: Event, *, before: str, after: str, version: int, attention: Sequence[str], at: datetime
) -> CloudEvent:
    """The event that reports one change of an order's state.

    `journal_id` is the change's row in the journal, and becomes the event's id. `cause` is the event that caused the
    change. `version` is the order's version after the change. `attention` lists the order's attention reasons after the
    change.
    """
    order = f"{cause.shop}:{cause.order_id}"
    # A plain dict, because building a contract.Transition would double the time. A test reads every event back as a
    # contract.Transition.
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
            "sequence": f"{version:010d}",  # CloudEvents wants a text that sorts as text
        },
        dataschema=schema_id("transition"),
    )


def _bounded(text: str) -> str:
    """Return `text`. If it is too long for an attribute, return its start and its digest, so texts stay distinct."""
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
    """The record to publish for a record that is dead-lettered: key, value and headers as received, then our headers.

    If a record is dead-lettered again, it has our headers twice. A reader takes the last header of a name, which shows
    the newest reason.
    """
    ours = {"place": place, "source": source, "reason": reason, "detail": detail}
    added = ((f"orderflow-{name}", text.encode(errors="replace")) for name, text in ours.items())
    return NewRecord(topic, key, value or b"", (*headers, *added))
