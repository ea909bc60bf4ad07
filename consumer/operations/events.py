"""Reads events in files as the consumer would, and says what is wrong with each; makes records of them to publish.

Nothing here writes. An error means that the consumer would dead-letter the event. Transitions are written by orderflow
alone, and not read: for them, an error means that the event does not follow its schema. A warning means that the
consumer takes the event, although it breaks the contract (docs/events). Errors and warnings name fields and rules. They
show no values, which may be personal data.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from adapters.errors import Unreadable, UnreadableReason
from adapters.messages.cloudevents import STRUCTURED_HEADERS, CloudEvent, from_record
from adapters.messages.contract import (
    MISSING,
    OMS,
    SNAPSHOTS,
    TRANSITIONS,
    Complaint,
    Kind,
    complaints,
    forgiven,
    kind_of,
)
from adapters.messages.json_slices import load_object, slice_array
from adapters.messages.oms_events import ShopIds, callback_of, decode_oms, oms_type
from adapters.messages.snapshots import decode_snapshot
from adapters.messages.text import ID_RULE
from adapters.ports import NewRecord
from consumer.config import TopicsTable
from consumer.operations.errors import EventsRefused

Understood = dict[str, str | int | None]


@dataclass(frozen=True, slots=True)
class Wrong:
    """Why the consumer would dead-letter an event, with the reason that the dead letter would have."""

    reason: str
    field: str
    rule: str


@dataclass(frozen=True, slots=True)
class Checked:
    """One event of a file. `topic` is the topic's key in the configuration. It is empty if no topic has this type."""

    number: int  # in the file, from 1
    topic: str
    error: Wrong | None = None
    warnings: tuple[Complaint, ...] = ()
    understood: Understood | None = None


#: Rules that no schema states: they span fields, or depend on the configuration. By reason and field.
_RULES: Final = {
    ("not_cloudevent", "specversion"): 'has to be "1.0"',
    ("bad_field", "data_base64"): "has to be base64",
    ("bad_field", "subject"): "has to be the order that the data names",
    ("bad_id", "data.order_id"): ID_RULE,
    ("unknown_type", "type"): "is no type that orderflow reads or writes",
    ("unknown_shop", "shop"): "is no shop of the configuration",
    ("unknown_company", "companyrefid"): "no shop of the configuration has this company and a prefix that fits",
}
_FIELDS: Final = {"unknown_shop": "shop", "unknown_company": "companyrefid", "not_cloudevent": "specversion"}
NULL: Final = Complaint("", "null is a record without a value (a tombstone): it is skipped")
REUSED: Final = Complaint("id", "another event of this source has it: this one would count as a repeat, and be lost")


def split(text: bytes) -> list[bytes]:
    """The bytes of each event of a file: each element of an array, each line, or the whole file.

    Raises Unreadable for a broken array.
    """
    text = text.strip()
    if text.startswith(b"["):
        return slice_array(text)
    lines = [line for line in text.splitlines() if line.strip()]
    # Two lines that begin an event mean one event in each line, even if one of the lines is broken. An event that is
    # written over several lines has only one such line, or else is JSON as a whole.
    if sum(line.startswith((b"{", b"null")) for line in lines) > 1 and not _is_json(text):
        return lines
    return [text] if text else []


def _is_json(text: bytes) -> bool:
    try:
        load_object(text)
    except Unreadable:
        return False
    return True


class Checker:
    """Checks one file after the other. It remembers the ids of all files, and so finds an id that is used again."""

    def __init__(self, shops: Sequence[ShopIds] | None) -> None:
        """`shops` are the shops of the configuration. None: no shop is looked up."""
        self._shops = shops
        self._seen: dict[tuple[str, str], dict[str, object]] = {}

    def check(self, text: bytes) -> Iterator[Checked]:
        """Yield a result for each event of a file, and none for an empty file."""
        try:
            events = split(text)
        except Unreadable as error:
            yield Checked(1, "", _wrong(error, "", []))
            return
        for number, raw in enumerate(events, start=1):
            yield self._check(number, raw)

    def _check(self, number: int, raw: bytes) -> Checked:
        if raw.strip() == b"null":
            return Checked(number, "", warnings=(NULL,))
        kind, found = _by_schema(raw)
        topic = kind.topic if kind else ""
        reading = ""  # becomes "data" once the envelope is read: the decoder's errors name fields without their parent
        try:
            event = _envelope(raw, kind, found)
            reading = "data"
            understood, more = _understood(raw, event, kind, self._shops)
        except Unreadable as error:
            wrong = _wrong(error, reading, found)
            return Checked(number, topic, wrong, tuple(one for one in found if one.field != wrong.field))
        if self._used_before(event):
            more.append(REUSED)
        return Checked(number, topic, None, (*found, *more), understood)

    def _used_before(self, event: CloudEvent) -> bool:
        data = load_object(event.data)  # compared as JSON: the second time it may be written with other white space
        return self._seen.setdefault((event.source, event.id), data) != data


def _by_schema(raw: bytes) -> tuple[Kind | None, list[Complaint]]:
    try:
        envelope = load_object(raw)
    except Unreadable:
        return None, []
    kind = kind_of(envelope.get("type"))
    return kind, complaints(kind, envelope) if kind else []


def _envelope(raw: bytes, kind: Kind | None, found: Sequence[Complaint]) -> CloudEvent:
    event = from_record(raw, ())
    if event is None or kind is None:
        raise Unreadable(UnreadableReason.UNKNOWN_TYPE, "type")
    if kind is TRANSITIONS and found:  # orderflow writes these and reads none: the schema stands in for a decoder
        missing = found[0].rule == MISSING
        reason = UnreadableReason.MISSING_FIELD if missing else UnreadableReason.BAD_FIELD
        raise Unreadable(reason, found[0].field)
    return event


def _wrong(error: Unreadable, reading: str, found: Sequence[Complaint]) -> Wrong:
    if error.reason == "not_json":
        return Wrong(error.reason, reading, "has to be a JSON object in UTF-8")
    field = _FIELDS.get(error.reason, error.detail)
    if reading and field not in ("data", "subject", "readat", "shop", "companyrefid"):
        field = f"data.{field}"
    if error.reason == "missing_field":
        return Wrong(error.reason, field, "is missing or empty")
    by_schema = (one.rule for one in found if one.field == field)
    return Wrong(error.reason, field, next(by_schema, _RULES.get((error.reason, field), "cannot be read")))


# -- What the consumer would understand ----------------------------------------------------------------------------


def _understood(
    raw: bytes, event: CloudEvent, kind: Kind | None, shops: Sequence[ShopIds] | None
) -> tuple[Understood, list[Complaint]]:
    """What the consumer would read in an event, and what it would tolerate there.

    Raises Unreadable for an event that the consumer would dead-letter.
    """
    if kind is OMS:
        return _in_oms_event(raw, event, shops)
    if kind is SNAPSHOTS:
        return _in_snapshot(raw, event, shops), []
    return {name: load_object(event.data)[name] for name in ("shop", "order_id", "from_state", "to_state")}, []


def _in_oms_event(raw: bytes, event: CloudEvent, shops: Sequence[ShopIds] | None) -> tuple[Understood, list[Complaint]]:
    if shops is None:
        shops = _any_shop_of(event.extensions.get("companyrefid", ""))
    read = decode_oms(raw, (), shops)
    callback = callback_of(event.data)
    more = [*forgiven(callback, load_object(event.data), "data")]
    if event.type != oms_type(callback):
        more.append(Complaint("type", "does not fit the data; orderflow goes by the data"))
    dispatches = read.new_facts.dispatches if read else ()
    return {
        "order_id": read.order_id if read else "",
        "shop": read.shop or None if read else None,
        "status": callback.status,
        "all_sent": any(one.covers for one in dispatches),
        "parcels": sum(not one.covers for one in dispatches),
        "tracking": any(one.tracking.number for one in dispatches),
        "cancellations": len(read.new_facts.cancellations) if read else 0,
    }, more


def _any_shop_of(company: str) -> tuple[ShopIds, ...]:
    """One shop without a name that has this company: without a configuration every company counts as known."""
    return (ShopIds("", int(company)),) if company.isdecimal() and len(company) < 20 else ()


def _in_snapshot(raw: bytes, event: CloudEvent, shops: Sequence[ShopIds] | None) -> Understood:
    names = {event.extensions.get("shop", "")} if shops is None else {shop.name for shop in shops}
    read = decode_snapshot(raw, (), names)
    snapshot = read.new_facts.snapshot if read else None
    if read is None or snapshot is None:
        return {}
    return {
        "order_id": read.order_id,
        "shop": read.shop,
        "mirakl_state": snapshot.state,
        "lines": len(snapshot.lines),
        "address": snapshot.has_address,
    }


# -- Reports -------------------------------------------------------------------------------------------------------


def summary(checked: Checked, topics: Mapping[str, str]) -> dict[str, Any]:
    """What `--json` prints of an event. `topics` are the topics' names, by their key in the configuration."""
    return {
        "event": checked.number,
        "topic": topics.get(checked.topic),
        "ok": checked.error is None,
        "error": asdict(checked.error) if checked.error else None,
        "warnings": [asdict(warning) for warning in checked.warnings],
        "understood": checked.understood,
    }


def lines(checked: Checked, topics: Mapping[str, str]) -> Iterator[str]:
    """What a person reads of an event: ok or wrong, then each warning."""
    topic = f", {topics[checked.topic]}" if checked.topic else ""
    if checked.error:
        yield f"wrong{topic}: {_named(checked.error)} [{checked.error.reason}]"
    else:
        said = ", ".join(f"{name} {_word(value)}" for name, value in (checked.understood or {}).items())
        yield f"ok{topic}: {said}" if said else "ok"
    for warning in checked.warnings:
        yield f"  warning: {_named(warning)}"


def _named(one: Wrong | Complaint) -> str:
    return f"{one.field}: {one.rule}" if one.field else one.rule


def _word(value: str | int | None) -> str:
    match value:
        case None:
            return "not looked up"
        case bool():
            return "yes" if value else "no"
    return str(value)


# -- Publishing ----------------------------------------------------------------------------------------------------


def records(text: bytes, shops: Sequence[ShopIds], topics: TopicsTable) -> list[NewRecord]:
    """A record for each event of a file. Raises EventsRefused for an event that the consumer could not use."""
    found: list[NewRecord] = []
    names = topics.model_dump()
    for checked, raw in zip(Checker(shops).check(text), split(text), strict=True):
        if checked.error or checked.topic not in (OMS.topic, SNAPSHOTS.topic):
            why = checked.error.reason if checked.error else "it is no event that orderflow reads"
            raise EventsRefused(f"event {checked.number}: {why}; `orderflow events check` says more")
        event = from_record(raw, ())
        if event is None:
            raise EventsRefused(f"event {checked.number}: null is a record without a value, and would be skipped")
        key = event.extensions.get("partitionkey", "").encode() or None
        found.append(NewRecord(names[checked.topic], key, raw, STRUCTURED_HEADERS))
    return found
