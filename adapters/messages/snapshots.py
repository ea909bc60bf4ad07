"""Snapshots: the event that carries one order as one read of OR11 returned it (docs/mirakl.md 5.2)."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field

from adapters.errors import Unreadable, UnreadableReason
from adapters.messages.cloudevents import CloudEvent, Headers, attribute, envelope_of
from adapters.messages.contents import contents_of
from adapters.messages.fields import Instant, Loose, Message, Text
from adapters.messages.identity import digests_of
from adapters.messages.json_slices import load_object
from adapters.messages.references import digest_of, references_of
from adapters.messages.text import instant_of_text, iso, usable_id, web_url
from statemachine.events import Event, Sealed, Trigger
from statemachine.facts import EPOCH, Line, Snapshot, Tracking, Withdrawn, rank_of
from statemachine.joining import snapshot_facts

SNAPSHOT_TYPE: Final = "io.orderflow.mirakl.order-snapshot"


#: An amount of money. A larger one becomes None: Python cannot add amounts such as 1e9999999.
Amount = Annotated[Decimal | None, Field(ge=-(10**12), le=10**12), Loose(None)]


def _number(value: object) -> object:
    """A number, or the digits of one. Python reads more as a number: true, and "1_0" as 10."""
    if isinstance(value, bool) or (isinstance(value, str) and not value.strip().isdecimal()):
        raise ValueError("not a number")
    return value


#: A number of pieces. Anything else becomes None.
Pieces = Annotated[int | None, Field(ge=0, le=1_000_000_000), BeforeValidator(_number), Loose(None)]


class MiraklAddress(Message):
    street_1: Text = ""
    street_2: Text = ""


class MiraklCustomer(Message):
    shipping_address: Annotated[MiraklAddress, Loose(MiraklAddress())] = MiraklAddress()


class MiraklAmount(Message):
    """What one cancelation or one refund takes of the price of a line. The quantity beside it is only informative."""

    amount: Amount = None
    quantity: Pieces = None
    created_date: Instant = None


def _listed(value: object) -> object:
    return value if isinstance(value, list) else [value] if value else []


#: An element, or a value in the place of the list, that cannot be read counts as one whose amount is not known. Then a
#: person looks at the order.
_Amounts = Annotated[
    tuple[Annotated[MiraklAmount, Loose(MiraklAmount())], ...], BeforeValidator(_listed), Loose((MiraklAmount(),))
]


class MiraklCenter(Message):
    code: Text = ""


class MiraklFulfillment(Message):
    center: Annotated[MiraklCenter, Loose(MiraklCenter())] = MiraklCenter()


class MiraklLine(Message):
    # A line that cannot be read, or has no usable id, is kept with the id "". Then Mirakl rejects OR21, and no import
    # can be built, so a person looks at the order. If the line were left out, its goods would not be made, and the
    # order would have no attention reason.
    order_line_id: Annotated[str, AfterValidator(usable_id), Loose("")] = ""
    order_line_state: Text = ""
    offer_sku: Text = ""
    quantity: Pieces = None
    price: Amount = None
    shipped_date: Instant = None
    cancelations: _Amounts = ()
    refunds: _Amounts = ()


class MiraklOrder(Message):
    """The fields of an order of OR11 that the state machine needs."""

    order_state: Text = ""
    payment_workflow: Text = ""
    created_date: Instant = None
    last_updated_date: Instant = None
    acceptance_deadline: Instant = None
    acceptance_decision_date: Instant = None
    shipping_deadline: Instant = None
    shipping_type_code: Text = ""
    has_customer_message: Annotated[bool, Loose(False)] = False
    shipping_carrier_code: Text = ""
    shipping_company: Text = ""
    shipping_tracking: Text = ""
    shipping_tracking_url: Text = ""
    can_shop_ship: Annotated[bool, Loose(True)] = True
    fully_refunded: Annotated[bool, Loose(False)] = False
    fulfillment: Annotated[MiraklFulfillment, Loose(MiraklFulfillment())] = MiraklFulfillment()
    customer: Annotated[MiraklCustomer, Loose(MiraklCustomer())] = MiraklCustomer()
    order_lines: Annotated[tuple[Annotated[MiraklLine, Loose(MiraklLine())], ...], Loose(())] = ()


def snapshot_of(raw: bytes, read_at: datetime) -> tuple[str, Snapshot]:
    """Read the order in `raw`. Returns the order's id and the snapshot, as `read_of` does."""
    order_id, snapshot, _ = read_of(raw, read_at)
    return order_id, snapshot


def read_of(raw: bytes, read_at: datetime) -> tuple[str, Snapshot, tuple[str, ...]]:
    """Read the order in `raw`. Returns the order's id, the snapshot, and the order's references (`references_of`).

    Raises Unreadable: NOT_JSON, or MISSING_FIELD or BAD_ID for order_id. Nothing else makes an order unreadable.
    """
    value = load_object(raw)
    order_id = order_id_of(value.get("order_id"))
    order = MiraklOrder.model_validate(value)
    tracking = Tracking(
        carrier=order.shipping_company,
        number=order.shipping_tracking,
        url=web_url(order.shipping_tracking_url),
        carrier_code=order.shipping_carrier_code,
    )
    lines = tuple(_line_of(line, fully_refunded=order.fully_refunded) for line in order.order_lines)
    digest, of_import = digests_of(value, (line for line in lines if line.is_owed), raw)
    references = references_of(order_id, value)
    snapshot = Snapshot(
        updated_at=order.last_updated_date or read_at,
        rank=rank_of(order.payment_workflow, order.order_state),
        # Some orders in SHIPPING still have an empty address. A usable address has a street (docs/mirakl.md 5.2).
        has_address=bool(order.customer.shipping_address.street_1 or order.customer.shipping_address.street_2),
        read_at=read_at,
        digest=digest,
        state=order.order_state,
        workflow=order.payment_workflow,
        created_at=order.created_date or EPOCH,
        ship_by=_deadline(order.shipping_deadline, read_at),
        shipping_type=order.shipping_type_code,
        has_messages=order.has_customer_message,
        tracking=tracking,
        lines=lines,
        can_ship=order.can_shop_ship,
        centre=order.fulfillment.center.code,
        import_digest=of_import,
        accept_by=_deadline(order.acceptance_deadline, read_at),
        accepted_at=order.acceptance_decision_date or EPOCH,
        contents=contents_of(order_id, value),
        references=digest_of(order_id, references),
    )
    return order_id, snapshot, references


def _line_of(line: MiraklLine, *, fully_refunded: bool) -> Line:
    return Line(
        id=line.order_line_id,
        state=line.order_line_state,
        sku=line.offer_sku,
        quantity=line.quantity,
        withdrawn=Withdrawn.WHOLE if fully_refunded else _withdrawn_of(line),
        shipped=line.shipped_date is not None,
        withdrawn_at=_created(*line.cancelations, *line.refunds),
        withdrawn_pieces=_withdrawn_pieces(line),
        withdrawn_of_price=_is_of_price(line),
    )


def _created(*amounts: MiraklAmount) -> tuple[datetime, ...]:
    return tuple(sorted({one.created_date for one in amounts if one.created_date is not None}))


def _withdrawn_pieces(line: MiraklLine) -> int:
    """The pieces that cancelations and refunds of the line name, all together. 0: not known.

    Mirakl calls these numbers informative, and their default is 0. So each has to name one, and the amounts have to
    cover the price of the pieces: a refund of a part of the price takes no piece.
    """
    taken = (*line.cancelations, *line.refunds)
    pieces = [one.quantity or 0 for one in taken]
    if not (taken and all(pieces) and line.price and line.quantity):
        return 0
    money = sum((one.amount for one in taken if one.amount is not None), start=Decimal(0))
    is_covered = line.price * sum(pieces) / line.quantity <= money + _ROUNDED * len(taken)
    return sum(pieces) if is_covered else 0


def _is_of_price(line: MiraklLine) -> bool:
    """Whether cancelations and refunds of the line name no piece, and are less than one piece costs, all together. So
    they are no piece that is not to be sent. False also if an amount or the price is not known."""
    taken = (*line.cancelations, *line.refunds)
    amounts = [one.amount for one in taken if one.amount is not None]
    if len(amounts) < len(taken) or any(one.quantity for one in taken) or not (line.price and line.quantity):
        return False
    return Decimal(0) < sum(amounts) < line.price / line.quantity - _ROUNDED * len(taken)


#: By how much an amount may be below the price of its pieces, because it is rounded.
_ROUNDED: Final = Decimal("0.01")


def _withdrawn_of(line: MiraklLine) -> Withdrawn:
    """What cancelations and refund requests took of a line (docs/mirakl.md 4.4, 4.5).

    The amounts decide, because Mirakl calls the quantities informative. Refunds that cover the price take the whole
    line. A cancelation never takes the whole line: it is not known whether Mirakl then lowers the price, and a line
    that is canceled as a whole has the state CANCELED.
    """
    refunded = sum((one.amount for one in line.refunds if one.amount is not None), start=Decimal(0))
    if line.refunds and line.price is not None and Decimal(0) < line.price <= refunded:
        return Withdrawn.PRICE
    return Withdrawn.PART if line.refunds or line.cancelations else Withdrawn.NONE


def _deadline(at: datetime | None, read_at: datetime) -> datetime:
    """The deadline. EPOCH if there is none, which a date more than ten years ahead also means (docs/mirakl.md 4.3)."""
    return EPOCH if at is None or at - read_at > _NO_DEADLINE else at


_NO_DEADLINE: Final = timedelta(days=3652)


def order_id_of(value: object) -> str:
    """Return `value` if it is a usable id of an order. Raises Unreadable: MISSING_FIELD, BAD_ID."""
    if value is None or value == "":
        raise Unreadable(UnreadableReason.MISSING_FIELD, "order_id")
    try:
        if isinstance(value, str):
            return usable_id(value)
    except ValueError:
        pass
    raise Unreadable(UnreadableReason.BAD_ID, "order_id")


# -- Events --------------------------------------------------------------------------------------------------------


def snapshot_event(shop: str, order_id: str, raw: bytes, digest: str, read_at: datetime) -> CloudEvent:
    """The event that reports one read of one order: its bytes, their `digest` (`Snapshot.digest`), the read's start.

    The event's id contains the instant of the read, because a later read with the same bytes can be the proof that a
    call was carried out, or was not (docs/rules.md 6).
    """
    read = iso(read_at)
    return CloudEvent(
        id=f"{order_id}:{digest}:{read}",
        source=f"/mirakl/{shop}",
        type=SNAPSHOT_TYPE,
        subject=order_id,
        time=read_at,
        data=raw,
        extensions={"shop": shop, "partitionkey": f"{shop}:{order_id}", "readat": read},
        base64=True,  # so the store gets Mirakl's bytes unchanged, in any encoding (docs/rules.md 31)
    )


def decode_snapshot(value: bytes | None, headers: Headers, shop_names: Collection[str]) -> Event | None:
    """Read a record of the snapshots' topic, as `seal_snapshot` and `Sealed.open` do."""
    sealed = seal_snapshot(value, headers, shop_names)
    return sealed.open() if sealed else None


def seal_snapshot(value: bytes | None, headers: Headers, shop_names: Collection[str]) -> Sealed | None:
    """Read the envelope of a record of the snapshots' topic. None if the record has no value. Raises Unreadable, and
    so does `Sealed.open`."""
    found = envelope_of(value, headers)
    if found is None:
        return None
    event, data = found
    if event.type != SNAPSHOT_TYPE:
        raise Unreadable(UnreadableReason.UNKNOWN_TYPE)
    shop = attribute(event.extensions, "shop")
    if shop not in shop_names:
        raise Unreadable(UnreadableReason.UNKNOWN_SHOP)
    read_at = instant_of_text(attribute(event.extensions, "readat"))
    if read_at is None:
        raise Unreadable(UnreadableReason.BAD_FIELD, "readat")
    opened = partial(_opened, event, data, shop, read_at)
    return Sealed(event.source, event.id, shop, event.subject, Trigger.SNAPSHOT, opened)


def _opened(event: CloudEvent, data: Callable[[], bytes], shop: str, read_at: datetime) -> Event:
    raw = data()
    order_id, snapshot, references = read_of(raw, read_at)
    if order_id != event.subject:
        raise Unreadable(UnreadableReason.BAD_FIELD, "subject")
    return Event(
        source=event.source,
        event_id=event.id,
        shop=shop,
        order_id=order_id,
        trigger=Trigger.SNAPSHOT,
        at=event.time,
        new_facts=snapshot_facts(snapshot),
        raw=raw,
        digest=snapshot.digest,
        references=references,
        note={"mirakl_state": snapshot.state},
    )
