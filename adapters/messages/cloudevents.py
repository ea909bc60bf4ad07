"""CloudEvents 1.0 in records of the log. orderflow reads structured and binary mode, and writes structured mode."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from pydantic_core import to_json

from adapters.errors import Unreadable, UnreadableReason
from adapters.messages.json_slices import BYTE_ORDER_MARK, load_object, member
from adapters.messages.text import instant_of_text, is_storable, iso
from adapters.ports import NewRecord

#: The version of the contract with other teams (contract.py).
VERSION: Final = "1.0.0"

Headers = Sequence[tuple[str, bytes]]

#: The most characters of an attribute. With longer ones, source and id together could exceed the 2704 bytes that an
#: entry of PostgreSQL's index may have.
LONGEST_ATTRIBUTE: Final = 300

_STRUCTURED: Final = "application/cloudevents+json"
#: The headers of every event that orderflow publishes.
STRUCTURED_HEADERS: Final = (("content-type", f"{_STRUCTURED}; charset=UTF-8".encode()),)
_ENVELOPE: Final = frozenset(
    {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "data_base64"}
)


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """An event with JSON data, as exact bytes (docs/rules.md 31)."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: bytes
    extensions: Mapping[str, str]  # further attributes; `partitionkey` becomes the record's key
    dataschema: str = ""
    base64: bool = False  # structured mode holds the data as `data_base64`, because it may not be UTF-8


def record_of(topic: str, event: CloudEvent) -> NewRecord:
    """The record that carries `event`. The record's key is the event's `partitionkey`."""
    attributes = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": iso(event.time),
        "datacontenttype": "application/json",
        **({"dataschema": event.dataschema} if event.dataschema else {}),
        **event.extensions,
    }
    head = to_json(attributes)[:-1]  # without the closing brace
    # A byte order mark before the data is no part of it. Inside of the envelope it would make the record unreadable.
    inline = event.data.removeprefix(BYTE_ORDER_MARK)
    data = b'"data_base64":"' + b64encode(event.data) + b'"' if event.base64 else b'"data":' + inline
    key = event.extensions["partitionkey"].encode()
    return NewRecord(topic, key, head + b"," + data + b"}", STRUCTURED_HEADERS)


def from_record(value: bytes | None, headers: Headers) -> CloudEvent | None:
    """Read the event in a record. None if the record has no value. Raises Unreadable as `envelope_of` does."""
    found = envelope_of(value, headers)
    return None if found is None else replace(found[0], data=found[1]())


def envelope_of(value: bytes | None, headers: Headers) -> tuple[CloudEvent, Callable[[], bytes]] | None:
    """Read the event in a record without its data, and return it with the function that reads the data.

    Decoding base64 takes half as long as all the rest, and a repeat does not need it. None if the record has no value.

    The mode is binary if there is a header ce_specversion and content-type is not that of structured mode. Every other
    record is read in structured mode, even if it has no header content-type.
    Raises Unreadable: NOT_JSON, NOT_CLOUDEVENT, MISSING_FIELD, BAD_FIELD. The function raises BAD_FIELD.
    """
    if value is None:
        return None
    texts = {name.lower(): raw.decode(errors="replace") for name, raw in headers if isinstance(raw, bytes)}
    if "ce_specversion" in texts and not texts.get("content-type", "").lower().startswith(_STRUCTURED):
        attributes = {name[3:]: text for name, text in texts.items() if name.startswith("ce_")}
        return _event(attributes), lambda: value
    envelope = load_object(value)
    encoded = envelope.get("data_base64")
    if encoded is None:
        return _event(envelope), partial(member, value, "data")
    return _event(envelope, base64=True), partial(_decoded, encoded)


def _decoded(encoded: Any) -> bytes:
    try:
        return b64decode(encoded, validate=True)
    except (ValueError, TypeError):
        raise Unreadable(UnreadableReason.BAD_FIELD, "data_base64") from None


def _event(attributes: Mapping[str, Any], *, base64: bool = False) -> CloudEvent:
    if attributes.get("specversion") != "1.0":
        raise Unreadable(UnreadableReason.NOT_CLOUDEVENT, "specversion")
    time = instant_of_text(attribute(attributes, "time"))
    if time is None:
        raise Unreadable(UnreadableReason.BAD_FIELD, "time")
    return CloudEvent(
        id=attribute(attributes, "id"),
        source=attribute(attributes, "source"),
        type=attribute(attributes, "type"),
        subject=attribute(attributes, "subject"),
        time=time,
        data=b"",
        dataschema=schema if isinstance(schema := attributes.get("dataschema"), str) else "",
        extensions={
            name: str(value)
            for name, value in attributes.items()
            if name not in _ENVELOPE and isinstance(value, str | int)
        },
        base64=base64,
    )


def attribute(attributes: Mapping[str, Any], name: str) -> str:
    """The value of a mandatory attribute. Raises Unreadable: MISSING_FIELD, BAD_FIELD."""
    value = attributes.get(name)
    if type(value) is str and 0 < len(value) <= LONGEST_ATTRIBUTE and value.isprintable():
        return value  # nearly all: seven attributes of each record. A property test holds that the rest below agrees
    if value is None or value == "":
        raise Unreadable(UnreadableReason.MISSING_FIELD, name)
    if not isinstance(value, str) or len(value) > LONGEST_ATTRIBUTE or not is_storable(value):
        raise Unreadable(UnreadableReason.BAD_FIELD, name)
    return value


def schema_id(name: str) -> str:
    """The value of `dataschema`: a schema's name and its major version."""
    return f"urn:orderflow:schema:{name}:{VERSION.partition('.')[0]}"
