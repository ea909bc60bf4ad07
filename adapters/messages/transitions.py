"""Records that orderflow publishes: transitions of orders, and the headers of dead letters."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from pydantic_core import to_json

from adapters.messages import cloudevents
from adapters.messages.cloudevents import CloudEvent, Headers, schema_id
from adapters.messages.text import content_of, iso

TRANSITION_TYPE: Final = "io.orderflow.order.transitioned"
TRANSITION_SOURCE: Final = "/orderflow"


# -- What we write -------------------------------------------------------------------------------------------------


def transition_event(
    journal_id: int,
    *,
    shop: str,
    order_id: str,
    before: str,
    after: str,
    trigger: str,
    version: int,
    at: datetime,
    attention: Sequence[str],
    caused_by: tuple[str, str],
) -> CloudEvent:
    """One change of an order's state. `caused_by`: source and id of the event that led to it."""
    order = f"{shop}:{order_id}"
    # Not built as a Transition, which costs as much as the rest of it: a test reads every one back as that.
    data = {
        "shop": shop,
        "order_id": order_id,
        "from_state": before,
        "to_state": after,
        "trigger": trigger,
        "version": version,
        "at": iso(at),
        "attention": attention,
    }
    return CloudEvent(
        id=str(journal_id),
        source=TRANSITION_SOURCE,
        type=TRANSITION_TYPE,
        subject=order_id,
        time=at,
        data=to_json(data),
        extensions={
            "partitionkey": order,
            "shop": shop,
            "correlationid": order,
            "causationid": _bounded("#".join(caused_by)),
            "sequence": f"{version:010d}",  # CloudEvents wants it to sort as text
        },
        dataschema=schema_id("transition"),
    )


def _bounded(text: str) -> str:
    """`text`, or its start and a hash of the whole where it is too long for an attribute: still one for each text."""
    if len(text) <= cloudevents.LONGEST_ATTRIBUTE:
        return text
    digest = "~" + content_of(text.encode())
    return text[: cloudevents.LONGEST_ATTRIBUTE - len(digest)] + digest


def dead_letter_headers(
    source: str, place: str, reason: str, detail: str, headers: Headers
) -> tuple[tuple[str, bytes], ...]:
    """The record's own headers, then ours: the last of a name is ours, also where a letter is set aside twice."""
    ours = {"place": place, "source": source, "reason": reason, "detail": detail}
    return (*headers, *((f"orderflow-{name}", text.encode(errors="replace")) for name, text in ours.items()))
