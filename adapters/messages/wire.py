"""Bytes of the outside world <-> what the machine reads.

Pure. Mirakl's orders (mirakl-api 5.2), KornitX's callbacks (oms-api 8.3, 9.3), CloudEvents 1.0 around both. Whatever
the bytes are, the only exception is `Unreadable`, and its text names fields, never their values.
"""

import json
import re
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any, Final, NoReturn

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    OnErrorOmit,
    StrictInt,
    StrictStr,
    ValidationError,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema, from_json, to_json

from adapters.ports import Unreadable
from statemachine.events import OMS_EVENT, SNAPSHOT, Event
from statemachine.facts import (
    EPOCH,
    Cancellation,
    Dispatch,
    Facts,
    Line,
    Part,
    Snapshot,
    Tracking,
    rank_of,
    snapshot_facts,
)

#: Why a message is a dead letter: a closed set, so that it can be a metric's label.
REASONS: Final = frozenset(
    {
        "not_json",
        "not_cloudevent",
        "missing_field",
        "bad_field",
        "bad_id",
        "unknown_type",
        "unknown_shop",
        "unknown_company",
    }
)

SNAPSHOT_TYPE: Final = "io.orderflow.mirakl.order-snapshot"
OMS_DISPATCHED_TYPE: Final = "net.kornitx.order.dispatched"
OMS_CANCELLED_TYPE: Final = "net.kornitx.order.cancelled"
OMS_STATUS_TYPE: Final = "net.kornitx.order.status_changed"

#: KornitX statuses that mean "all of it left" unless a shop says otherwise, and the one that means "cancelled" (8.1).
DISPATCHED_STATUSES: Final = frozenset({8, 64, 516})
CANCELLED_STATUS: Final = 128

# -- Text and instants -------------------------------------------------------------------------------------------

#: As a pattern of a JSON Schema. Surrogates are left out of it: there they are halves of good characters.
CONTROL_CHARACTER: Final = r"[\u0000-\u001f\u007f-\u009f]"
#: Control characters and lone surrogates: they parse as JSON, and PostgreSQL refuses them.
_UNSTORABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def storable(text: str, limit: int = 2000) -> str:
    """`text` trimmed, on one line, cut to `limit` characters, without what a database refuses."""
    if not text.isprintable():
        text = _UNSTORABLE.sub(" ", text)
    return text.strip()[:limit]


ID_RULE: Final = "has to be 1 to 200 characters, none of them a control character, and neither . nor .."


def usable_id(text: str) -> str:
    """`text` itself if it can be a key, a part of a URL's path and a database's text; else ValueError."""
    if not text.strip() or len(text) > 200 or text in (".", "..") or _UNSTORABLE.search(text):
        raise ValueError(ID_RULE)
    return text


def instant(value: object) -> datetime | None:
    """An ISO 8601 date-time as aware UTC; without an offset it is UTC. None if it cannot be read, as 0000-00-00."""
    if not isinstance(value, str):
        return None
    try:
        read = datetime.fromisoformat(value.strip())
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def iso(at: datetime) -> str:
    """RFC 3339 in UTC, to the microsecond: as text in the order of time."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def content_of(raw: bytes) -> str:
    """What identifies these bytes: 32 hexadecimal digits."""
    return sha256(raw).hexdigest()[:32]


def _web_url(text: str) -> str:
    return text if text.lower().startswith(("http://", "https://")) else ""


# -- JSON --------------------------------------------------------------------------------------------------------


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


_JSON: Final = json.JSONDecoder(parse_constant=_no_constant)


def _parsed(raw: bytes) -> Any:
    """By pydantic's parser, which takes half the time of Python's, or a sixth where one long text is most of it.

    It refuses more: lone surrogates, deep nesting. One bad text is no reason to lose an order, so Python's has the
    last word.
    """
    try:
        return from_json(raw, allow_inf_nan=False)
    except ValueError:
        return _JSON.decode(raw.decode())


def load_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in `raw`. Raises Unreadable("not_json")."""
    try:
        value = _parsed(raw)
    except (ValueError, RecursionError):
        raise Unreadable("not_json") from None
    if not isinstance(value, dict):
        raise Unreadable("not_json", "not an object")
    return value


_SPACE: Final = re.compile(r"[ \t\n\r]*")
#: Numbers stay text: one absurd number in one order must not make the whole page unreadable.
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str)


def _skip(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches always


def _expect(text: str, at: int, token: str) -> int:
    if not text.startswith(token, at):
        raise ValueError(f"{token} expected")
    return _skip(text, at + 1)


def _elements(text: str, at: int) -> Iterator[tuple[Any, int, int]]:
    """Value, start and end of each element of the array at `at`."""
    at = _expect(text, at, "[")
    while not text.startswith("]", at):
        value, end = _DECODER.raw_decode(text, at)
        yield value, at, end
        at = _skip(text, end)
        if not text.startswith("]", at):
            at = _expect(text, at, ",")


def _members(text: str) -> Iterator[tuple[str, Any, int, int]]:
    """Name, value, start and end of the value of each member of the object that `text` is."""
    at = _expect(text, _skip(text, 0), "{")
    while not text.startswith("}", at):
        if not text.startswith('"', at):
            raise ValueError("a name expected")
        name, end = _DECODER.raw_decode(text, at)
        start = _expect(text, _skip(text, end), ":")
        value, end = _DECODER.raw_decode(text, start)
        yield name, value, start, end
        at = _skip(text, end)
        if not text.startswith("}", at):
            at = _expect(text, at, ",")
    if _skip(text, at + 1) != len(text):
        raise ValueError("more than one value")


def slice_orders(body: bytes) -> tuple[list[bytes], int | None]:
    """The bytes of each order of an OR11 page exactly as received, and total_count where it is given (mirakl-api 5.2).

    Raises Unreadable("not_json"), also for a page that has no list of orders.
    """
    orders: list[bytes] | None = None
    total: int | None = None
    try:
        text = body.decode("latin-1")  # a byte a character: one order in a wrong encoding spoils itself alone
        for name, value, start, _ in _members(text):
            if name == "orders" and isinstance(value, list):
                orders = [text[first:end].encode("latin-1") for _, first, end in _elements(text, start)]
            elif name == "total_count" and isinstance(value, str) and re.fullmatch("[0-9]{1,12}", value):
                total = int(value)
    except (ValueError, RecursionError):
        raise Unreadable("not_json") from None
    if orders is None:
        raise Unreadable("not_json", "orders")
    return orders, total


# -- Models: lenient, because the published schemas are no validators (mirakl-api 1.5) ---------------------------


class _OrNull:
    """Null is as good as absent; the published schema says so (contract.py)."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core)
        schema.pop("default", None)  # the field's own says it
        return {"anyOf": [schema, {"type": "null"}]}


class Loose(_OrNull):
    """Marks a field that must not fail its message: null and every wrong type become `default`."""

    def __init__(self, default: object) -> None:
        self.default = default

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_default_schema(handler(source), default=self.default, on_error="default")


class Listed(_OrNull):
    """Marks a list of which null is an empty one. What it holds has to be right."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: () if value is None else value, handler(source)
        )


class Message(BaseModel):
    """Part of a remote's message. Unknown fields are ignored; a number serves as text."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


Text = Annotated[str, AfterValidator(storable), Loose("")]
Instant = Annotated[datetime | None, BeforeValidator(instant, json_schema_input_type=str), Loose(None)]
Id = Annotated[
    StrictStr,
    AfterValidator(usable_id),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 200,
            "pattern": "\\S",
            "not": {"anyOf": [{"enum": [".", ".."]}, {"pattern": CONTROL_CHARACTER}]},
        }
    ),
]


class MiraklAddress(Message):
    street_1: Text = ""


class MiraklCustomer(Message):
    shipping_address: Annotated[MiraklAddress, Loose(MiraklAddress())] = MiraklAddress()


class MiraklLine(Message):
    # A line without a usable id is kept, with an empty one. Left out, its goods would never be made and nobody would
    # know; kept, OR21 and the import refuse the order aloud, and a person looks.
    order_line_id: Annotated[str, AfterValidator(usable_id), Loose("")] = ""
    order_line_state: Text = ""
    offer_sku: Text = ""
    quantity: Annotated[int, Field(ge=0, le=1_000_000_000), Loose(1)] = 1


class MiraklOrder(Message):
    """What the machine needs of an order of OR11."""

    order_state: Text = ""
    payment_workflow: Text = ""
    created_date: Instant = None
    last_updated_date: Instant = None
    shipping_deadline: Instant = None
    shipping_type_code: Text = ""
    has_customer_message: Annotated[bool, Loose(False)] = False
    shipping_carrier_code: Text = ""
    shipping_company: Text = ""
    shipping_tracking: Text = ""
    shipping_tracking_url: Text = ""
    customer: Annotated[MiraklCustomer, Loose(MiraklCustomer())] = MiraklCustomer()
    order_lines: Annotated[tuple[OnErrorOmit[MiraklLine], ...], Loose(())] = ()


def snapshot_of(raw: bytes, read_at: datetime) -> tuple[str, Snapshot]:
    """The order's id and what this read of it says.

    Raises Unreadable: not_json, missing_field or bad_id (of order_id); nothing else makes an order unreadable.
    """
    value = load_object(raw)
    order_id = _order_id(value.get("order_id"))
    order = MiraklOrder.model_validate(value)
    tracking = Tracking(
        carrier=order.shipping_company,
        number=order.shipping_tracking,
        url=_web_url(order.shipping_tracking_url),
        carrier_code=order.shipping_carrier_code,
    )
    return order_id, Snapshot(
        updated_at=order.last_updated_date or read_at,
        rank=rank_of(order.payment_workflow, order.order_state),
        # Real connectors met SHIPPING orders with empty addresses; street_1 is what tells (mirakl-api 5.2).
        has_address=bool(order.customer.shipping_address.street_1),
        read_at=read_at,
        content=content_of(raw),
        state=order.order_state,
        workflow=order.payment_workflow,
        created_at=order.created_date or EPOCH,
        ship_by=order.shipping_deadline or EPOCH,
        shipping_type=order.shipping_type_code,
        has_messages=order.has_customer_message,
        tracking=tracking,
        lines=tuple(
            Line(line.order_line_id, line.order_line_state, line.offer_sku, line.quantity) for line in order.order_lines
        ),
    )


def _order_id(value: object) -> str:
    if value is None or value == "":
        raise Unreadable("missing_field", "order_id")
    try:
        if isinstance(value, str):
            return usable_id(value)
    except ValueError:
        pass
    raise Unreadable("bad_id", "order_id")


# -- CloudEvents 1.0 ---------------------------------------------------------------------------------------------

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
    """An event with JSON data, as exact bytes (design 4)."""

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
        raise Unreadable("bad_field", "data_base64") from None


def _exact_data(text: str) -> bytes:
    try:
        return {name: text[start:end] for name, _, start, end in _members(text)}.get("data", "").encode()
    except (ValueError, RecursionError):
        raise Unreadable("not_json") from None


def _event(attributes: Mapping[str, Any], data: bytes) -> CloudEvent:
    if attributes.get("specversion") != "1.0":
        raise Unreadable("not_cloudevent", "specversion")
    time = instant(_attribute(attributes, "time"))
    if time is None:
        raise Unreadable("bad_field", "time")
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
        raise Unreadable("missing_field", name)
    if not isinstance(value, str) or len(value) > LONGEST_ATTRIBUTE or _UNSTORABLE.search(value):
        raise Unreadable("bad_field", name)
    return value


# -- Snapshots ----------------------------------------------------------------------------------------------------


def snapshot_event(shop: str, order_id: str, raw: bytes, snapshot: Snapshot) -> CloudEvent:
    """One read of one order. Its id holds the read too: the same content read later is proof of a call (rule 6)."""
    read_at = iso(snapshot.read_at)
    return CloudEvent(
        id=f"{order_id}:{snapshot.content}:{read_at}",
        source=f"/mirakl/{shop}",
        type=SNAPSHOT_TYPE,
        subject=order_id,
        time=snapshot.read_at,
        data=raw,
        extensions={"shop": shop, "partitionkey": f"{shop}:{order_id}", "readat": read_at},
    )


def decode_snapshot(value: bytes | None, headers: Headers, shop_names: Collection[str]) -> Event | None:
    """What a record of the snapshots' topic says; None for a tombstone. Raises Unreadable."""
    event = from_record(value, headers)
    if event is None:
        return None
    if event.type != SNAPSHOT_TYPE:
        raise Unreadable("unknown_type")
    shop = _attribute(event.extensions, "shop")
    if shop not in shop_names:
        raise Unreadable("unknown_shop")
    read_at = instant(_attribute(event.extensions, "readat"))
    if read_at is None:
        raise Unreadable("bad_field", "readat")
    order_id, snapshot = snapshot_of(event.data, read_at)
    if order_id != event.subject:
        raise Unreadable("bad_field", "subject")
    return Event(
        source=event.source,
        event_id=event.id,
        shop=shop,
        order_id=order_id,
        trigger=SNAPSHOT,
        at=event.time,
        says=snapshot_facts(snapshot),
        raw=event.data,
        content=snapshot.content,
        note={"mirakl_state": snapshot.state},
    )


# -- KornitX -----------------------------------------------------------------------------------------------------


def _numeric(value: object) -> object:
    if isinstance(value, bool | float):
        raise ValueError("not an integer")
    return value


_INT64: Final = Field(ge=-(2**63), lt=2**63)
_Digits = Annotated[str, Field(pattern="^-?[0-9]{1,18}$")]


class KornitXItem(Message):
    """Pieces of one line of the order."""

    external_ref: Id = Field(description="Our line: Mirakl's order_line_id.")
    quantity: Annotated[StrictInt, Field(gt=0, le=1_000_000_000)]


class KornitXParcel(Message):
    """One shipment that was made since the last notification."""

    dispatch_datetime: Instant = Field(
        default=None, description="ISO 8601, or as KornitX writes it, 2025-03-06 12:04:19. Without an offset it is UTC."
    )
    tracking: Text = Field(default="", description='The carrier\'s number; absent, null and "" all mean none.')
    tracking_url: Text = Field(default="", description="Read where it begins with http:// or https://.")
    items: Annotated[tuple[KornitXItem, ...], Listed()] = Field(
        default=(), description="What is in it. Empty where that is not known."
    )


class KornitXCancellation(Message):
    """What was canceled since the last notification."""

    items: Annotated[tuple[KornitXItem, ...], Listed()] = Field(default=(), description="Empty: all of it.")


class KornitXCallback(Message):
    """KornitX's status callback. Named here is what orderflow reads; every other member may come along."""

    # What is mandatory is oms-api 9.3's table.
    id: Annotated[StrictInt, _INT64] = Field(description="The OMS's order. Each part of a split order has its own.")
    external_ref: Id = Field(
        description="The order's reference as it was given to the OMS: Mirakl's order id behind the shop's prefix."
    )
    status: Annotated[
        int, _INT64, BeforeValidator(_numeric, json_schema_input_type=Annotated[int, _INT64] | _Digits)
    ] = Field(
        description="8, 64 and 516: all of it left. 128: canceled. Any other is recorded. A number, or its digits."
    )
    ref: Text = Field(default="", description="The OMS's own reference.")
    status_name: Text = ""
    shipping_carrier: Text = Field(default="", description="Who carries it, as free text, for all parcels.")
    shipping_tracking: Text = Field(default="", description="For parcels without a number, and for the whole order.")
    new_shipments: Annotated[tuple[KornitXParcel, ...], Listed()] = Field(
        default=(), description="Only what is new since the last notification."
    )
    new_cancellations: Annotated[tuple[KornitXCancellation, ...], Listed()] = Field(
        default=(), description="Only what is new since the last notification."
    )


def callback_of(payload: bytes) -> KornitXCallback:
    """Raises Unreadable: not_json, missing_field, bad_field, bad_id."""
    if not payload:
        raise Unreadable("missing_field", "data")
    value = load_object(payload)
    try:
        return KornitXCallback.model_validate(value)
    except ValidationError as errors:
        first = errors.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(step) for step in first["loc"])
    if first["type"] == "missing" or first["input"] in (None, ""):
        raise Unreadable("missing_field", field)
    raise Unreadable("bad_id" if field == "external_ref" else "bad_field", field)


@dataclass(frozen=True, slots=True)
class ShopIds:
    """How a shop is called at the OMS, and how to read what the OMS says of its orders."""

    name: str
    company_ref_id: int
    external_ref_prefix: str = ""
    may_split: bool = False
    dispatched_statuses: frozenset[int] = DISPATCHED_STATUSES


def find_shop(shops: Sequence[ShopIds], company: str, external_ref: str) -> tuple[ShopIds, str]:
    """Whose order this is, and its id at Mirakl: the reference without the shop's prefix; the longest prefix wins.

    Raises Unreadable("unknown_company").
    """
    fitting = [
        shop
        for shop in shops
        if str(shop.company_ref_id) == company
        and external_ref.startswith(shop.external_ref_prefix)
        and external_ref != shop.external_ref_prefix
    ]
    if not fitting:
        raise Unreadable("unknown_company")
    shop = max(fitting, key=lambda one: len(one.external_ref_prefix))
    return shop, external_ref.removeprefix(shop.external_ref_prefix)


def oms_event(company_ref_id: int, payload: bytes, received_at: datetime) -> CloudEvent:
    """A callback that came over HTTP, as the event that the OMS would have published (oms-api 9.2).

    The id comes from the content: KornitX repeats a callback for ten hours. Raises Unreadable as `callback_of`.
    """
    callback = callback_of(payload)
    return CloudEvent(
        id=content_of(payload),
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


def oms_type(callback: KornitXCallback) -> str:
    """For filtering only; the consumer decides by the data (oms-api 9.2)."""
    if callback.status in DISPATCHED_STATUSES or callback.new_shipments:
        return OMS_DISPATCHED_TYPE
    if callback.status == CANCELLED_STATUS or callback.new_cancellations:
        return OMS_CANCELLED_TYPE
    return OMS_STATUS_TYPE


def decode_oms(value: bytes | None, headers: Headers, shops: Sequence[ShopIds]) -> Event | None:
    """What a record of the OMS's topic says; None for a tombstone. Raises Unreadable (oms-api 9.3)."""
    event = from_record(value, headers)
    if event is None:
        return None
    callback = callback_of(event.data)
    if callback.external_ref != event.subject:
        raise Unreadable("bad_field", "subject")
    shop, order_id = find_shop(shops, _attribute(event.extensions, "companyrefid"), callback.external_ref)
    return Event(
        source=event.source,
        event_id=event.id,
        shop=shop.name,
        order_id=_order_id(order_id),  # a blank may be all that is left behind the prefix
        trigger=OMS_EVENT,
        at=event.time,
        says=_callback_facts(callback, event.time, shop),
        raw=None,
        content=content_of(event.data),
        note={
            "status": callback.status,
            "status_name": callback.status_name[:60],
            "shipments": len(callback.new_shipments),
            "cancellations": len(callback.new_cancellations),
        },
    )


def _callback_facts(callback: KornitXCallback, at: datetime, shop: ShopIds) -> Facts:
    dispatches = [_parcel(callback, parcel, at) for parcel in callback.new_shipments]
    if callback.status in shop.dispatched_statuses:
        dispatches.append(_all_of_it(callback, at, "part" if shop.may_split else "order"))
    # An element without items does not say what was canceled: like 128 it counts as all of it, and a person looks.
    cancellations = [Cancellation(callback.id, _items(each.items)) for each in callback.new_cancellations]
    if callback.status == CANCELLED_STATUS:
        cancellations.append(Cancellation(callback.id))
    return Facts(
        parts=(Part(callback.id, callback.ref),),
        dispatches=tuple(sorted(set(dispatches))),
        cancellations=tuple(sorted(set(cancellations))),
    )


def _items(items: Sequence[KornitXItem]) -> tuple[tuple[str, int], ...]:
    quantities: Counter[str] = Counter()
    for item in items:
        quantities[item.external_ref] += item.quantity
    return tuple(sorted(quantities.items()))


def _parcel(callback: KornitXCallback, parcel: KornitXParcel, at: datetime) -> Dispatch:
    return Dispatch(
        oms_id=callback.id,
        at=parcel.dispatch_datetime or at,
        tracking=Tracking(
            carrier=callback.shipping_carrier,  # KornitX names no carrier per parcel
            number=parcel.tracking or callback.shipping_tracking,
            url=_web_url(parcel.tracking_url),
        ),
        items=_items(parcel.items),
        dated=parcel.dispatch_datetime is not None,
    )


def _all_of_it(callback: KornitXCallback, at: datetime, covers: str) -> Dispatch:
    """A dispatched status: everything left, whatever the list of parcels holds (oms-api 9.5)."""
    dated = [(parcel.dispatch_datetime or EPOCH, parcel) for parcel in callback.new_shipments]
    newest_at, newest = max(dated, key=lambda one: one[0], default=(EPOCH, KornitXParcel()))
    number = callback.shipping_tracking or newest.tracking
    return Dispatch(
        oms_id=callback.id,
        at=at if newest_at == EPOCH else newest_at,
        tracking=Tracking(
            carrier=callback.shipping_carrier,
            number=number,
            url=_web_url(newest.tracking_url) if number == newest.tracking else "",
        ),
        covers=covers,
    )
