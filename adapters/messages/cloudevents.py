"""CloudEvents 1.0 in a record of the log, structured and binary mode."""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic_core import to_json

from adapters.errors import Unreadable, UnreadableReason
from adapters.messages.json_slices import _members, load_object
from adapters.messages.text import _UNSTORABLE, instant, iso

#: Of the contract with other teams (contract.py).
VERSION: Final = "1.0.0"

Headers = Sequence[tuple[str, bytes]]

#: Longer ones do not fit into PostgreSQL's index over source and id (2704 bytes).
LONGEST_ATTRIBUTE: Final = 300

_STRUCTURED: Final = "application/cloudevents+json"
#: The headers of every record that we publish.
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
    extensions: Mapping[str, str]
    dataschema: str = ""


def to_structured(event: CloudEvent, *, base64: bool = False) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """The record's value and headers. `base64` keeps every byte of the data; else it is inlined, and must be JSON."""
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
    head = to_json(attributes)[:-1]
    data = b',"data_base64":"' + b64encode(event.data) + b'"' if base64 else b',"data":' + event.data
    return head + data + b"}", STRUCTURED_HEADERS


def from_record(value: bytes | None, headers: Headers) -> CloudEvent | None:
    """The event in a record of either mode; None for a tombstone.

    Structured unless the headers carry the attributes: a publisher that forgets the content type is understood too.
    Raises Unreadable: not_json, not_cloudevent, missing_field, bad_field.
    """
    if value is None:
        return None
    texts = {name.lower(): raw.decode(errors="replace") for name, raw in headers if isinstance(raw, bytes)}
    if "ce_specversion" in texts and not texts.get("content-type", "").lower().startswith(_STRUCTURED):
        attributes = {name[3:]: text for name, text in texts.items() if name.startswith("ce_")}
        return _event(attributes, value)
    envelope = load_object(value)
    return _event(envelope, _data(envelope, value))


def _data(envelope: Mapping[str, Any], value: bytes) -> bytes:
    encoded = envelope.get("data_base64")
    if encoded is None:
        return _exact_data(value.decode())
    try:
        return b64decode(encoded, validate=True)
    except (ValueError, TypeError):
        raise Unreadable(UnreadableReason.BAD_FIELD, "data_base64") from None


def _exact_data(text: str) -> bytes:
    try:
        return {name: text[start:end] for name, _, start, end in _members(text)}.get("data", "").encode()
    except (ValueError, RecursionError):
        raise Unreadable(UnreadableReason.NOT_JSON) from None


def _event(attributes: Mapping[str, Any], data: bytes) -> CloudEvent:
    if attributes.get("specversion") != "1.0":
        raise Unreadable(UnreadableReason.NOT_CLOUDEVENT, "specversion")
    time = instant(_attribute(attributes, "time"))
    if time is None:
        raise Unreadable(UnreadableReason.BAD_FIELD, "time")
    return CloudEvent(
        id=_attribute(attributes, "id"),
        source=_attribute(attributes, "source"),
        type=_attribute(attributes, "type"),
        subject=_attribute(attributes, "subject"),
        time=time,
        data=data,
        dataschema=schema if isinstance(schema := attributes.get("dataschema"), str) else "",
        extensions={
            name: str(value)
            for name, value in attributes.items()
            if name not in _ENVELOPE and isinstance(value, str | int)
        },
    )


def _attribute(attributes: Mapping[str, Any], name: str) -> str:
    value = attributes.get(name)
    if value is None or value == "":
        raise Unreadable(UnreadableReason.MISSING_FIELD, name)
    if not isinstance(value, str) or len(value) > LONGEST_ATTRIBUTE or _UNSTORABLE.search(value):
        raise Unreadable(UnreadableReason.BAD_FIELD, name)
    return value


def schema_id(name: str) -> str:
    """What `dataschema` says: the schema's name and its major version."""
    return f"urn:orderflow:schema:{name}:{VERSION.partition('.')[0]}"
