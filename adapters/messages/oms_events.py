"""Reports of the OMS: KornitX's callbacks, and the events that carry the callbacks (docs/kornitx.md 8.3, 9.3)."""

import hashlib
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Annotated, Final, NamedTuple

from pydantic import BeforeValidator, Field, ValidationError

from adapters.errors import Unreadable, UnreadableReason
from adapters.messages.cloudevents import CloudEvent, Headers, attribute, from_record
from adapters.messages.fields import Id, LocalInstant, Message, Readable, Text
from adapters.messages.json_slices import load_object
from adapters.messages.oms_statuses import DISPATCHED_STATUSES
from adapters.messages.snapshots import order_id_of
from adapters.messages.text import digest_of, in_zone, iso, web_url
from statemachine.events import Event, Trigger
from statemachine.facts import EPOCH, Cancellation, Dispatch, Facts, OmsStatus, Part, Receipt, Tracking, Unread


class OmsEventType(StrEnum):
    """The type of an event. Others can filter by it; orderflow itself decides by the data (docs/kornitx.md 9.2)."""

    DISPATCHED = "net.kornitx.order.dispatched"
    CANCELLED = "net.kornitx.order.cancelled"
    STATUS_CHANGED = "net.kornitx.order.status_changed"


CANCELLED_STATUS: Final = 128
#: Stands for the items of a cancellation that cannot be read. No line of Mirakl's has this id.
_UNREADABLE_ITEM: Final = "?"
#: The digests of the data that a publisher may use as an event's id. An id with fewer characters than 22 is none.
_DIGESTS: Final = ("md5", "sha1", "sha256", "sha512")
_SHORTEST_DIGEST: Final = 22
#: Characters of a callback's digest that the facts keep, to compare it with the others of its order.
_RECEIPT_DIGITS: Final = 16


# -- The callback --------------------------------------------------------------------------------------------------


def _numeric(value: object) -> object:
    if isinstance(value, bool | float):
        raise ValueError("not an integer")
    return value


_INT64: Final = Field(ge=-(2**63), lt=2**63)
_Digits = Annotated[str, Field(pattern="^-?[0-9]{1,18}$")]
#: A number, or its digits as text.
_Number = Annotated[int, _INT64, BeforeValidator(_numeric, json_schema_input_type=Annotated[int, _INT64] | _Digits)]
_ID: Final = Field(gt=0, lt=2**63)  # 0 is no id: it stands for a person who vouches (statemachine/facts.py, VOUCHED)
_DigitsOfId = Annotated[str, Field(pattern="^(?=0*[1-9])[0-9]{1,18}$")]
_OmsId = Annotated[int, _ID, BeforeValidator(_numeric, json_schema_input_type=Annotated[int, _ID] | _DigitsOfId)]
_PIECES: Final = Field(gt=0, le=1_000_000_000)
_FewDigits = Annotated[str, Field(pattern="^[1-9][0-9]{0,8}$")]
_Pieces = Annotated[
    int, _PIECES, BeforeValidator(_numeric, json_schema_input_type=Annotated[int, _PIECES] | _FewDigits)
]


class KornitXItem(Message):
    """A number of pieces of one line of the order. An item that cannot be read is left out."""

    external_ref: Id = Field(description="The line's id: Mirakl's order_line_id.")
    quantity: _Pieces = Field(description="A number above 0, or its digits as text.")


class KornitXParcel(Message):
    """One shipment that was made since the last notification."""

    dispatch_datetime: LocalInstant = Field(
        default=None,
        description="ISO 8601, or KornitX's form 2025-03-06 12:04:19. Without an offset it is a time of the company's "
        "time zone, a setting, which is UTC by default. A time after the event counts as the time of the event.",
    )
    tracking: Text = Field(default="", description='The tracking number. Absent, null and "" all mean none.')
    tracking_url: Text = Field(default="", description="Ignored unless it begins with http:// or https://.")
    items: Annotated[tuple[KornitXItem, ...], Readable()] = Field(
        default=(), description="The items in the parcel. Empty if they are not known."
    )


class KornitXCancellation(Message):
    """What was canceled since the last notification."""

    items: Annotated[tuple[KornitXItem, ...], Readable()] = Field(
        default=(), description="The canceled items. Empty: all items."
    )


class KornitXCallback(Message):
    """KornitX's status callback: the members that orderflow reads. Any other member is allowed, and ignored."""

    # docs/kornitx.md 9.3 says which fields are mandatory.
    id: _OmsId = Field(
        description="The order's id at the OMS: a number above 0, or its digits as text. Each part of a split order "
        "has its own."
    )
    external_ref: Id = Field(
        description="The external_ref with which the order was imported: the shop's prefix, then Mirakl's order id."
    )
    status: _Number = Field(
        description="A number, or a text of digits. 8, 64 and 516: the whole order was dispatched. 128: the order was "
        "canceled. 32 and 256: a person looks at the order. Any other status is only recorded."
    )
    ref: Text = Field(default="", description="The OMS's own reference of the order.")
    status_name: Text = ""
    shipping_carrier: Text = Field(default="", description="The carrier of all parcels, as free text.")
    shipping_tracking: Text = Field(default="", description="The order's tracking number. Parcels without one get it.")
    new_shipments: Annotated[tuple[KornitXParcel, ...], Readable()] = Field(
        default=(), description="The parcels that are new since the last notification."
    )
    new_cancellations: Annotated[tuple[KornitXCancellation, ...], Readable()] = Field(
        default=(), description="The cancellations that are new since the last notification."
    )


def callback_of(payload: bytes, left_out: list[str] | None = None) -> KornitXCallback:
    """Read a callback from a request's body or an event's data. `left_out` gets a name for each item, parcel,
    cancellation or list that cannot be read.

    Raises Unreadable: NOT_JSON, MISSING_FIELD, BAD_FIELD, BAD_ID.
    """
    if not payload:
        raise Unreadable(UnreadableReason.MISSING_FIELD, "data")
    value = load_object(payload)
    try:
        return KornitXCallback.model_validate(value, context=left_out)
    except ValidationError as errors:
        first = errors.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(step) for step in first["loc"])
    if first["type"] == "missing" or first["input"] in (None, ""):
        raise Unreadable(UnreadableReason.MISSING_FIELD, field)
    raise Unreadable(UnreadableReason.BAD_ID if field == "external_ref" else UnreadableReason.BAD_FIELD, field)


# -- The shop of an event ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShopIds:
    """The ids of a shop at the OMS, and how to read the OMS's reports about the shop's orders."""

    name: str
    company_ref_id: int
    external_ref_prefix: str = ""
    former_prefixes: tuple[str, ...] = ()  # of orders that were imported before the shop got this prefix
    may_split: bool = False
    dispatched_statuses: frozenset[int] = DISPATCHED_STATUSES
    time_zone: tzinfo = UTC  # of the times without an offset that the company reports


def find_shop(shops: Sequence[ShopIds], company: str, external_ref: str) -> tuple[ShopIds, str]:
    """Find the shop of an order of the OMS. Returns the shop, and the order's id at Mirakl.

    The id is `external_ref` without a prefix of the shop, also one that it had before. If several prefixes fit, the
    longest one counts. Raises Unreadable(UNKNOWN_COMPANY).
    """
    fitting = [
        (shop, prefix)
        for shop in shops
        for prefix in (shop.external_ref_prefix, *shop.former_prefixes)
        if str(shop.company_ref_id) == company and external_ref.startswith(prefix) and external_ref != prefix
    ]
    if not fitting:
        raise Unreadable(UnreadableReason.UNKNOWN_COMPANY)
    shop, prefix = max(fitting, key=lambda one: len(one[1]))
    return shop, external_ref.removeprefix(prefix)


# -- Events --------------------------------------------------------------------------------------------------------


def oms_event(company_ref_id: int, payload: bytes, received_at: datetime) -> CloudEvent:
    """Make an event of a callback that came over HTTP: the event that the OMS would publish (docs/kornitx.md 9.2).

    The event's id is the digest of the payload and the time of its receipt. Each receipt is an event, and the facts
    tell which of them are repeats (docs/rules.md 32). Raises Unreadable like `callback_of`.
    """
    callback = callback_of(payload)
    return CloudEvent(
        id=_timed(digest_of(payload), received_at),
        source=f"/kornitx/company/{company_ref_id}",
        type=oms_type(callback),
        subject=callback.external_ref,
        time=received_at,
        data=payload,
        extensions={
            "partitionkey": f"{company_ref_id}:{callback.external_ref}",
            "companyrefid": str(company_ref_id),
        },
    )


def _timed(digest: str, at: datetime) -> str:
    return f"{digest}:{iso(at)}"


def _event_id(event: CloudEvent) -> str:
    """The id of an event. If the id is only a digest of the data, the event's time is added to it.

    Without the time, tracking A, then B, then A again would end with B: the third event would be a repeat of the first.
    """
    return _timed(event.id, event.time) if _is_digest(event.id, event.data) else event.id


def _receipts(event: CloudEvent, at: datetime) -> tuple[Receipt, ...]:
    """The receipt of a callback, which the id of its event tells. Empty for an event that the OMS published itself."""
    digest = event.id.removesuffix(f":{iso(event.time)}")
    return (_receipt(digest, at),) if digest != event.id else ()


def _receipt(digest: str, at: datetime) -> Receipt:
    return Receipt(at, digest[:_RECEIPT_DIGITS])


def _is_digest(event_id: str, data: bytes) -> bool:
    """Whether the id is a digest of the data, or its beginning: in hexadecimal or base64, also after a prefix such as
    `sha256:`."""
    text = event_id.rpartition(":")[2].rstrip("=")
    if len(text) < _SHORTEST_DIGEST:
        return False
    digests = [hashlib.new(name, data, usedforsecurity=False).digest() for name in _DIGESTS]
    in_base64 = text.replace("-", "+").replace("_", "/")
    return any(d.hex().startswith(text.lower()) or b64encode(d).decode().startswith(in_base64) for d in digests)


def oms_type(callback: KornitXCallback) -> OmsEventType:
    """The type of the event that carries this callback."""
    if callback.status in DISPATCHED_STATUSES or callback.new_shipments:
        return OmsEventType.DISPATCHED
    if callback.status == CANCELLED_STATUS or callback.new_cancellations:
        return OmsEventType.CANCELLED
    return OmsEventType.STATUS_CHANGED


def decode_oms(
    value: bytes | None, headers: Headers, shops: Sequence[ShopIds], received_at: datetime | None = None
) -> Event | None:
    """Read a record of the OMS's topic (docs/kornitx.md 9.3). None if the record has no value. Raises Unreadable.

    A report that is dated after `received_at`, by a clock that is ahead, counts as of `received_at`. Otherwise it would
    win over every correction until its time has come.
    """
    event = from_record(value, headers)
    if event is None:
        return None
    left_out: list[str] = []
    callback = callback_of(event.data, left_out)
    if callback.external_ref != event.subject:
        raise Unreadable(UnreadableReason.BAD_FIELD, "subject")
    shop, order_id = find_shop(shops, attribute(event.extensions, "companyrefid"), callback.external_ref)
    note: dict[str, str | int] = {
        "status": callback.status,
        "status_name": callback.status_name[:60],
        "shipments": len(callback.new_shipments),
        "cancellations": len(callback.new_cancellations),
    }
    told_at = min(event.time, received_at or event.time)
    facts = _callback_facts(callback, told_at, shop, left_out)
    return Event(
        source=event.source,
        event_id=_event_id(event),
        shop=shop.name,
        order_id=order_id_of(order_id),  # there may be only a blank after the prefix
        trigger=Trigger.OMS_EVENT,
        at=event.time,
        new_facts=replace(facts, receipts=_receipts(event, told_at)),
        raw=None,
        digest=digest_of(event.data),
        note=note | ({"left_out": len(left_out)} if left_out else {}),
    )


def unread_event(
    shops: Sequence[ShopIds], value: bytes, headers: Headers, error: Unreadable, at: datetime
) -> Event | None:
    """The event of an order about which a report could not be read, as `error` says. It adds this to the order's facts.

    None if the report does not name an order of a configured shop. `value` is a record of the OMS's topic, received at
    `at`. The event's id is the digest of the bytes, and not the report's id: a corrected report may come later under
    that id.
    """
    receipts: tuple[Receipt, ...] = ()
    with suppress(Unreadable):
        if event := from_record(value, headers):
            at = min(event.time, at)
            receipts = _receipts(event, at)
    # Also of an event that is no callback: what it reports is not known, so it separates the callbacks around it.
    receipts = receipts or (_receipt(digest_of(value), at),)
    with suppress(Unreadable):
        return _unread(find_shop(shops, *_whom(value, headers)), error, digest_of(value), at, receipts)
    return None


def unread_callback(
    shops: Sequence[ShopIds], company_ref_id: int, value: bytes, error: Unreadable, at: datetime
) -> Event | None:
    """Like `unread_event`, for the body of a callback. Each receipt is an event, as of a callback that can be read."""
    digest = digest_of(value)
    with suppress(Unreadable):
        external_ref = attribute(load_object(value), "external_ref")
        order = find_shop(shops, str(company_ref_id), external_ref)
        return _unread(order, error, _timed(digest, at), at, (_receipt(digest, at),))
    return None


def _unread(
    order: tuple[ShopIds, str], error: Unreadable, event_id: str, at: datetime, receipts: tuple[Receipt, ...]
) -> Event:
    shop, order_id = order
    return Event(
        source="/orderflow/unread",
        event_id=event_id,
        shop=shop.name,
        order_id=order_id_of(order_id),
        trigger=Trigger.OMS_EVENT,
        at=at,
        new_facts=Facts(unread=(Unread(at, error.reason, error.detail),), receipts=receipts),
        note={"reason": error.reason},
    )


def _whom(value: bytes, headers: Headers) -> tuple[str, str]:
    """The company and the external_ref that a report names. Raises Unreadable."""
    try:
        event = from_record(value, headers)
    except Unreadable:
        envelope = load_object(value)
        company, data = attribute(envelope, "companyrefid"), envelope.get("data")
        return company, attribute(data if isinstance(data, dict) else {}, "external_ref")
    if event is None:
        raise Unreadable(UnreadableReason.MISSING_FIELD, "data")
    company = attribute(event.extensions, "companyrefid")
    with suppress(Unreadable):
        return company, attribute(load_object(event.data), "external_ref")
    return company, event.subject


def _callback_facts(callback: KornitXCallback, at: datetime, shop: ShopIds, left_out: Sequence[str]) -> Facts:
    """The facts of a callback. `left_out`: the names of the fields of what could not be read (fields.py)."""
    dispatches = [_parcel(callback, parcel, at, shop.time_zone) for parcel in callback.new_shipments]
    is_dispatched = callback.status in shop.dispatched_statuses
    if is_dispatched:
        dispatches.append(_everything(callback, at, shop))
    # An element without items does not say what was canceled. Like status 128 it counts as everything, so that a person
    # looks at the order. But if a part of the callback could not be read, its items may have been in that part.
    nothing = () if not left_out else ((_UNREADABLE_ITEM, 1),)
    items = [_items(each.items) or nothing for each in callback.new_cancellations]
    cancellations = [Cancellation(callback.id, each, at) for each in items]
    if callback.status == CANCELLED_STATUS:
        cancellations.append(Cancellation(callback.id, told_at=at))
    return Facts(
        parts=(Part(callback.id, callback.ref),),
        dispatches=tuple(sorted(set(dispatches))),
        cancellations=tuple(sorted(set(cancellations))),
        statuses=(OmsStatus(callback.id, at, callback.status),),
        # A dispatched status says that everything left, even if an item cannot be read. Otherwise a person has to look.
        unread=()
        if is_dispatched or not left_out
        else (Unread(at, UnreadableReason.BAD_FIELD, ", ".join(dict.fromkeys(left_out))),),
    )


def _items(items: Sequence[KornitXItem]) -> tuple[tuple[str, int], ...]:
    quantities: Counter[str] = Counter()
    for item in items:
        quantities[item.external_ref] += item.quantity
    return tuple(sorted(quantities.items()))


class _Dated(NamedTuple):
    """When a parcel left."""

    at: datetime
    is_dated: bool  # the OMS says so
    repeated_hour: datetime = EPOCH  # as Dispatch.repeated_hour


def _dispatched_at(parcel: KornitXParcel, told_at: datetime, zone: tzinfo) -> _Dated:
    """When the parcel left. If it names no time, or one after its report, that of the report counts.

    In the hour that clocks repeat in autumn a time without an offset is two instants: the later one counts that is not
    after the report. Otherwise a correction in the second of these hours would count as older than what it corrects.

    The OMS dates by the second, so a date up to a second ahead may be right. A date further ahead is wrong. Then the
    fraction of the second does not count: a correction that is dated in the same second wins.
    """
    written = parcel.dispatch_datetime
    both = [in_zone(written.replace(fold=fold), zone) for fold in (0, 1)] if written else []
    instants = sorted({at for at in both if at is not None})
    if known := [at for at in instants if at <= told_at]:
        return _Dated(known[-1], True, instants[0] if len(instants) > 1 else EPOCH)
    is_wrong = bool(instants) and instants[0] > told_at + timedelta(seconds=1)
    return _Dated(told_at.replace(microsecond=0) if is_wrong else told_at, False)


def _parcel(callback: KornitXCallback, parcel: KornitXParcel, told_at: datetime, zone: tzinfo) -> Dispatch:
    left = _dispatched_at(parcel, told_at, zone)
    return Dispatch(
        oms_id=callback.id,
        at=left.at,
        tracking=Tracking(
            carrier=callback.shipping_carrier,  # KornitX names no carrier for a single parcel
            number=parcel.tracking or callback.shipping_tracking,
            url=web_url(parcel.tracking_url),
        ),
        items=_items(parcel.items),
        dated=left.is_dated,
        told_at=told_at,
        timed=parcel.dispatch_datetime is not None,
        repeated_hour=left.repeated_hour,
    )


def _everything(callback: KornitXCallback, told_at: datetime, shop: ShopIds) -> Dispatch:
    """The dispatch that a dispatched status reports: all items, listed in a parcel or not (docs/kornitx.md 9.5)."""
    parcels = [(_dispatched_at(one, told_at, shop.time_zone), one) for one in callback.new_shipments]
    dated = [(left, one) for left, one in parcels if left.is_dated and left.at > EPOCH]
    reported_at = min((left.at for left, _ in parcels if not left.is_dated), default=told_at)
    without_date = (_Dated(reported_at, False), (*callback.new_shipments, KornitXParcel())[0])
    left, newest = max(dated, key=lambda one: one[0].at) if dated else without_date
    number = callback.shipping_tracking or newest.tracking
    return Dispatch(
        oms_id=callback.id,
        at=left.at,
        tracking=Tracking(
            carrier=callback.shipping_carrier,
            number=number,
            url=web_url(newest.tracking_url) if number == newest.tracking else "",
        ),
        covers="part" if shop.may_split else "order",
        told_at=told_at,
        timed=any(parcel.dispatch_datetime is not None for parcel in callback.new_shipments),
        repeated_hour=left.repeated_hour,
    )
