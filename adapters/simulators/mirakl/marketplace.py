"""A Mirakl marketplace as one seller sees it (docs/mirakl.md 2 to 6, 9), with its operator and customers.

`app` is the seller's API. The plain methods are what the operator, the customer, the calendar and a person
in the seller portal do; each says whether it changed anything. Whatever happens to an order is in the books.
"""

import base64
import binascii
import copy
import hashlib
import json
import math
import threading
from bisect import insort
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import NAMESPACE_URL, uuid5

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.simulators.books import Books, Fault, answer, take_fault

Json = dict[str, Any]
Act = Callable[[Request, bytes], Response]

WORKFLOWS = (
    "PAY_ON_ACCEPTANCE",
    "PAY_ON_SHIPMENT",
    "PAY_ON_DELIVERY",
    "PAY_ON_DUE_DATE",
    "NO_CUSTOMER_PAYMENT_CONFIRMATION",
)
DEBIT = ("WAITING_DEBIT", "WAITING_DEBIT_PAYMENT")
SENT = ("SHIPPED", "TO_COLLECT", "RECEIVED", "CLOSED")
DEAD = ("REFUSED", "CANCELED")
# Where a confirmed debit leads, and from which state the late ones start (docs/mirakl.md 4.4).
AFTER_DEBIT = {
    "PAY_ON_ACCEPTANCE": "SHIPPING",
    "PAY_ON_SHIPMENT": "SHIPPED",
    "PAY_ON_DELIVERY": "RECEIVED",
    "PAY_ON_DUE_DATE": "CLOSED",
}
DEBIT_STARTS_FROM = {"PAY_ON_DELIVERY": ("SHIPPED", "TO_COLLECT"), "PAY_ON_DUE_DATE": ("RECEIVED",)}
OWN_CENTER = "DEFAULT"  # orders of another fulfilment centre are not the seller's to act on


@dataclass(frozen=True, slots=True)
class Carrier:
    code: str
    label: str
    tracking_url: str | None = None  # may hold {trackingId}: then a number is mandatory in OR23


@dataclass(frozen=True, slots=True)
class ShippingType:
    code: str
    label: str
    mandatory_tracking: bool = False
    delivery_by_operator: bool = False


@dataclass(frozen=True, slots=True)
class Marketplace:
    """What the operator configured, and the seller's shop on it."""

    name: str
    shop_id: int
    api_key: str
    carriers: tuple[Carrier, ...]
    shipping_types: tuple[ShippingType, ...]
    workflows: tuple[str, ...] = WORKFLOWS
    currency: str = "GBP"
    country: str = "GBR"
    country_label: str = "United Kingdom"
    locale: str = "en_GB"
    channel: str = "UK_WEB"
    alternative_carriers: bool = True  # PC01 disable_seller_alternative_carrier, the other way round
    has_partial_acceptance: bool = True


@dataclass
class Knobs:
    """Section 9: what is not established about Mirakl, at the defaults given there, and faults to inject."""

    error_shape: str = "A"  # A: message, status, code. B: a list of errors. Messaging is always B (docs/mirakl.md 2.4)
    order_not_found_status: int = 404
    visibility_lag_seconds: float = 0.0  # how old OR11's picture of an order is after a write
    update_lookback_seconds: float = 60.0  # what Mirakl subtracts from start_update_date
    update_date_in_whole_seconds: bool = False
    max_over_100_is_error: bool = True  # else cut to 100
    unknown_carrier_is_error: bool = True  # else the name is used
    tracking_after_shipped: bool = True
    message_bumps_update_date: bool = False
    automatic_acceptance: bool = False
    address_before_acceptance: bool = False
    state_after_ship_in_pay_on_shipment: str = "WAITING_DEBIT_PAYMENT"
    extra_fields: Json = field(default_factory=dict)  # unknown ones, shown on every order
    throttle: dict[str, tuple[int, float]] = field(default_factory=dict)  # operation: requests per seconds
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, whatever became of it."""

    at: datetime
    operation: str
    target: str  # path and query
    status: int  # 0: dropped


class ApiError(Exception):
    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        name: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.name, self.headers = status, message, code, name, headers


@dataclass(frozen=True, slots=True)
class _Version:
    """An order as OR11 shows it from `since` on: rendered once per change, not once per read."""

    since: datetime
    created: datetime
    updated: datetime
    fields: Json  # top level only, for the filters
    body: bytes


@dataclass(slots=True)
class _Record:
    order: Json  # the truth, addresses included
    address_shown: bool
    versions: list[_Version] = field(default_factory=list)
    listed_at: datetime | None = None  # when OR11 last gave its newest version


def stamp(moment: datetime) -> str:
    """ISO 8601 in UTC with Z; milliseconds are left out when they are zero (docs/mirakl.md 2.1)."""
    utc = moment.astimezone(UTC)
    milliseconds = utc.microsecond // 1000
    return utc.strftime("%Y-%m-%dT%H:%M:%S") + (f".{milliseconds:03d}Z" if milliseconds else "Z")


def parse_date(text: str) -> datetime:
    """A date of the query: offset or Z is required, and an unencoded + has become a space (docs/mirakl.md 2.1)."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment


def open_lines(order: Json) -> list[Json]:
    """The lines that still count (docs/mirakl.md 4.5)."""
    return [line for line in order["order_lines"] if line["order_line_state"] not in (*DEAD, "REFUNDED")]


class MiraklSimulator:
    def __init__(
        self,
        marketplace: Marketplace,
        books: Books,
        now: Callable[[], datetime],
        knobs: Knobs | None = None,
    ) -> None:
        self.marketplace = marketplace
        self.books = books
        self.now = now
        self.knobs = knobs or Knobs()
        self.lock = threading.RLock()
        self.requests: Counter[str] = Counter()
        self.calls: deque[Call] = deque(maxlen=100_000)
        self._records: dict[str, _Record] = {}
        self._by_creation: list[tuple[datetime, str]] = []
        self._threads: dict[str, Json] = {}  # by thread id
        self._threads_by_order: defaultdict[str, list[Json]] = defaultdict(list)
        self._arrivals: dict[str, deque[datetime]] = {}  # of throttled operations
        self.app = self._build_app()

    # ---- the operator, the customer, the calendar, a person in the portal -----------------------------

    def add_order(self, order: Json, history: Iterable[tuple[str, str]] = ()) -> None:
        """A new order in whatever state it shows; `history`: (kind, by) of what happened before it was seen."""
        with self.lock:
            order_id = order["order_id"]
            if order_id in self._records:
                raise ValueError(f"order {order_id} exists")
            shown = order["order_state"] in ("SHIPPING", *SENT)
            record = self._records[order_id] = _Record(copy.deepcopy(order), shown)
            insort(self._by_creation, (parse_date(order["created_date"]), order_id))
            self._publish(record)
            self._note(record, "created", "customer")
            for kind, by in history:
                self._note(record, kind, by)
            if order.get("shipping_tracking"):
                self._note(record, "tracking", "person", tracking=order["shipping_tracking"])
            if order["order_state"] == "WAITING_ACCEPTANCE":
                self._accept_automatically(record)

    def order(self, order_id: str) -> Json:
        """The truth about an order, without lag and with its addresses."""
        with self.lock:
            return copy.deepcopy(self._records[order_id].order)

    def state(self, order_id: str) -> str | None:
        record = self._records.get(order_id)
        return None if record is None else str(record.order["order_state"])

    def tracking(self, order_id: str) -> str | None:
        tracking: str | None = self._records[order_id].order["shipping_tracking"]
        return tracking

    def listed_since_change(self, order_id: str) -> bool:
        """Has OR11 given the order away as it is now?"""
        return self._records[order_id].listed_at is not None

    def summary(self) -> list[Json]:
        with self.lock:
            return [
                {key: record.order[key] for key in ("order_id", "order_state", "payment_workflow")}
                | {"last_updated_date": record.order["last_updated_date"]}
                for record in self._records.values()
            ]

    def release_staging(self, order_id: str) -> bool:
        """The operator's checks are done: STAGING -> WAITING_ACCEPTANCE."""
        with self.lock:
            record = self._in_state(order_id, "STAGING")
            if record is None:
                return False
            self._enter(record, "WAITING_ACCEPTANCE")
            self._publish(record)
            self._accept_automatically(record)
            return True

    def advance_debit(self, order_id: str) -> bool:
        """One step towards the debit: into WAITING_DEBIT where it comes late, then to the payment system."""
        with self.lock:
            record = self._records[order_id]
            state = record.order["order_state"]
            if state == "WAITING_DEBIT":
                self._enter(record, "WAITING_DEBIT_PAYMENT")
            elif state in DEBIT_STARTS_FROM.get(record.order["payment_workflow"], ()):
                self._enter(record, "WAITING_DEBIT")
            else:
                return False
            self._publish(record)
            return True

    def confirm_debit(self, order_id: str) -> bool:
        """The customer has paid; where the order goes depends on its workflow (docs/mirakl.md 4.4)."""
        with self.lock:
            record = self._in_state(order_id, *DEBIT)
            if record is None:
                return False
            now = stamp(self.now())
            order = record.order
            order |= {"customer_debited_date": now, "transaction_date": now}
            order["transaction_number"] = f"psp-{order['order_id']}"
            for line in open_lines(order):
                line |= {"debited_date": now, "can_refund": True}
            self._enter(record, AFTER_DEBIT[order["payment_workflow"]])
            self._publish(record)
            self._note(record, "debited", "marketplace")
            return True

    def refuse_debit(self, order_id: str) -> bool:
        """The payment failed: the order is canceled."""
        with self.lock:
            if self._in_state(order_id, *DEBIT) is None:
                return False
            return self.cancel(order_id, by="marketplace", reason="PAYMENT_REFUSED")

    def cancel(self, order_id: str, by: str = "customer", reason: str = "CUSTOMER_CHANGED_MIND") -> bool:
        """Everything is canceled; possible from every state that is not final (docs/mirakl.md 4.2)."""
        with self.lock:
            record = self._records[order_id]
            if record.order["order_state"] in (*DEAD, "CLOSED"):
                return False
            self._give_reason(record.order, "order_state", reason)
            self._enter(record, "CANCELED")
            self._publish(record)
            self._note(record, "canceled", by, reason=reason)
            return True

    def cancel_line(self, order_id: str, line_id: str, by: str = "customer") -> bool:
        """One line is canceled; the last one takes the order with it."""
        with self.lock:
            record = self._records[order_id]
            lines = [line for line in open_lines(record.order) if line["order_line_id"] == line_id]
            if not lines or record.order["order_state"] in (*SENT, *DEAD):
                return False
            line = lines[0]
            line["order_line_state"] = "CANCELED"
            self._give_reason(line, "order_line_state", "CUSTOMER_CHANGED_MIND")
            line["cancelations"].append(
                {
                    "id": f"cancelation-{line_id}",
                    "amount": line["price"],
                    "shipping_amount": line["shipping_price"],
                    "quantity": line["quantity"],
                    "reason_code": "CUSTOMER_CHANGED_MIND",
                    "created_date": stamp(self.now()),
                }
            )
            if not open_lines(record.order):
                return self.cancel(order_id, by)
            self._publish(record)
            self._note(record, "line_canceled", by, line=line_id)
            return True

    def refuse_by_deadline(self, order_id: str) -> bool:
        """Nobody decided in time."""
        with self.lock:
            record = self._in_state(order_id, "WAITING_ACCEPTANCE")
            if record is None:
                return False
            self._give_reason(record.order, "order_state", "ACCEPTANCE_DEADLINE")
            self._decide(record, set(), "marketplace")
            return True

    def accept_in_portal(self, order_id: str, refused_lines: Iterable[str] = (), by: str = "person") -> bool:
        with self.lock:
            record = self._in_state(order_id, "WAITING_ACCEPTANCE")
            if record is None:
                return False
            ids = {line["order_line_id"] for line in record.order["order_lines"]}
            self._decide(record, ids - set(refused_lines), by)
            return True

    def ship_in_portal(
        self, order_id: str, tracking: str | None = None, carrier_code: str | None = None, by: str = "person"
    ) -> bool:
        with self.lock:
            record = self._in_state(order_id, "SHIPPING")
            if record is None:
                return False
            if tracking is not None:
                self.set_tracking_in_portal(order_id, tracking, carrier_code, by)
            try:
                self._ship(record, by)
            except ApiError:
                return False
            return True

    def set_tracking_in_portal(
        self, order_id: str, tracking: str, carrier_code: str | None = None, by: str = "person"
    ) -> bool:
        with self.lock:
            record = self._records[order_id]
            code = carrier_code or self.marketplace.carriers[0].code
            try:
                self._set_tracking(record, {"carrier_code": code, "tracking_number": tracking}, by)
            except ApiError:
                return False
            return True

    def mark_to_collect(self, order_id: str) -> bool:
        return self._move_on(order_id, ("SHIPPED",), "TO_COLLECT", "marketplace")

    def mark_received(self, order_id: str, by: str = "customer") -> bool:
        return self._move_on(order_id, ("SHIPPED", "TO_COLLECT"), "RECEIVED", by)

    def close(self, order_id: str) -> bool:
        return self._move_on(order_id, ("RECEIVED",), "CLOSED", "marketplace")

    def post_message(self, order_id: str, body: str, sender: str = "CUSTOMER_USER", topic: str | None = None) -> str:
        """A message in the order's newest thread, or in a new one if a topic is given; returns the thread's id."""
        with self.lock:
            record = self._records[order_id]
            threads = self._threads_of({order_id})
            thread = threads[0] if threads and topic is None else self._new_thread(record.order, topic)
            self._append_message(record.order, thread, body, sender)
            if sender == "CUSTOMER_USER":
                record.order["has_customer_message"] = True
            self._publish(record, bump=self.knobs.message_bumps_update_date)
            by = {"CUSTOMER_USER": "customer", "SHOP_USER": "person"}.get(sender, "marketplace")
            self._note(record, "message", by)
            return str(thread["id"])

    # ---- what all changes have in common ----------------------------------------------------------------

    def _in_state(self, order_id: str, *states: str) -> _Record | None:
        record = self._records[order_id]
        return record if record.order["order_state"] in states else None

    def _note(self, record: _Record, kind: str, by: str, **detail: str) -> None:
        self.books.record(self.now(), self.marketplace.name, record.order["order_id"], kind, by, **detail)

    def _give_reason(self, part: Json, prefix: str, code: str) -> None:
        part[f"{prefix}_reason_code"] = code
        part[f"{prefix}_reason_label"] = code.replace("_", " ").capitalize()

    def _enter(self, record: _Record, state: str) -> None:
        """The order and its open lines take a state, with the dates that belong to it."""
        order, now = record.order, self.now()
        order["order_state"] = state
        if state == "SHIPPING":
            record.address_shown = True
            last_day = (now + timedelta(days=3)).replace(hour=23, minute=59, second=59, microsecond=999_000)
            order["shipping_deadline"] = stamp(last_day)
            order["delivery_date"] = {
                "earliest": stamp(last_day + timedelta(days=1)),
                "latest": stamp(last_day + timedelta(days=4)),
            }
        for line in open_lines(order):
            line["order_line_state"] = state
            if state in ("SHIPPED", "RECEIVED"):
                line[f"{state.lower()}_date"] = stamp(now)

    def _publish(self, record: _Record, bump: bool = True) -> None:
        """Every change ends here: flags made consistent, last_updated_date bumped, the picture taken."""
        order, now = record.order, self.now()
        order["can_cancel"] = self._can_cancel(order)
        order["can_shop_ship"] = self._can_shop_ship(order)
        if bump:
            whole = now.replace(microsecond=0)
            order["last_updated_date"] = stamp(whole if self.knobs.update_date_in_whole_seconds else now)
            for line in order["order_lines"]:
                line["last_updated_date"] = order["last_updated_date"]
        shown = {**order, **self.knobs.extra_fields}
        if not (record.address_shown or self.knobs.address_before_acceptance):
            hidden = dict.fromkeys(("shipping_address", "billing_address", "accounting_contact", "delivery_contact"))
            shown["customer"] = {**order["customer"], **hidden}
        version = _Version(
            since=now,
            created=parse_date(order["created_date"]),
            updated=parse_date(order["last_updated_date"]),
            fields=shown,
            body=json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode(),
        )
        # Only a lag needs older pictures: the newest that is old enough, and all that are not.
        horizon = now - timedelta(seconds=self.knobs.visibility_lag_seconds)
        newer = [old for old in record.versions if old.since > horizon]
        record.versions = [*record.versions[: len(record.versions) - len(newer)][-1:], *newer, version]
        record.listed_at = None

    def _can_cancel(self, order: Json) -> bool:
        """The shop's right to cancel (docs/mirakl.md 4.4): before the debit; without payments, before the parcel
        leaves."""
        state = order["order_state"]
        if state in (*DEAD, "CLOSED") or order["customer_debited_date"] is not None:
            return False
        return state not in SENT or order["payment_workflow"] in DEBIT_STARTS_FROM

    def _can_shop_ship(self, order: Json) -> bool:
        return (
            order["order_state"] == "SHIPPING"
            and order["fulfillment"]["center"]["code"] == OWN_CENTER
            and not self._shipping_type(order).delivery_by_operator
        )

    def _shipping_type(self, order: Json) -> ShippingType:
        known = {kind.code: kind for kind in self.marketplace.shipping_types}
        code = order["shipping_type_code"]
        return known.get(code, ShippingType(code, code))

    def _move_on(self, order_id: str, sources: tuple[str, ...], target: str, by: str) -> bool:
        with self.lock:
            record = self._in_state(order_id, *sources)
            if record is None:
                return False
            self._enter(record, target)
            self._publish(record)
            self._note(record, target.lower(), by)
            return True

    def _accept_automatically(self, record: _Record) -> None:
        if self.knobs.automatic_acceptance:
            self._decide(record, {line["order_line_id"] for line in record.order["order_lines"]}, "marketplace")

    def _decide(self, record: _Record, accepted: set[str], by: str) -> None:
        """Every line is accepted or refused; the order follows the accepted ones (docs/mirakl.md 4.5)."""
        order = record.order
        # An automatic decision leaves no date (docs/mirakl.md 5.2).
        order["acceptance_decision_date"] = None if by == "marketplace" else stamp(self.now())
        lines = open_lines(order)
        for line in lines:
            if line["order_line_id"] not in accepted:
                line["order_line_state"] = "REFUSED"
        left = len(open_lines(order))
        if left:
            debit_first = order["payment_workflow"] == "PAY_ON_ACCEPTANCE"
            self._enter(record, "WAITING_DEBIT" if debit_first else "SHIPPING")
        else:
            self._enter(record, "REFUSED")
        self._publish(record)
        counts = {"lines_accepted": str(left), "lines_refused": str(len(lines) - left)}
        self._note(record, "accepted" if left else "refused", by, **counts)

    def _set_tracking(self, record: _Record, body: Json, by: str) -> None:
        """OR23: one carrier and number for the order; a later one overwrites (docs/mirakl.md 5.4)."""
        order = record.order
        state, after_debit = order["order_state"], order["payment_workflow"] != "PAY_ON_ACCEPTANCE"
        shipped = state in SENT or (state in DEBIT and after_debit)
        if state != "SHIPPING" and not (shipped and self.knobs.tracking_after_shipped):
            raise ApiError(400, f"Tracking of an order in status '{state}' cannot be updated.")
        # Mirakl's own connector sends empty strings for what is missing.
        code, name, number = (body.get(key) or None for key in ("carrier_code", "carrier_name", "tracking_number"))
        url = body.get("carrier_url") or None
        carrier = next((known for known in self.marketplace.carriers if known.code == code), None)
        if carrier is not None:
            name, url = carrier.label, carrier.tracking_url
            if url is not None and "{trackingId}" in url:
                if number is None:
                    raise ApiError(400, f"A tracking number is mandatory for carrier '{code}'.")
                url = url.replace("{trackingId}", number)
        elif code is not None and self.knobs.unknown_carrier_is_error:
            raise ApiError(400, f"Carrier with code '{code}' does not exist.")
        elif not self.marketplace.alternative_carriers:
            raise ApiError(400, "Only registered carriers are allowed.")
        elif name is None:
            raise ApiError(400, "The carrier name is mandatory for an unregistered carrier.")
        order |= {
            "shipping_carrier_code": None if carrier is None else carrier.code,
            "shipping_company": name,
            "shipping_tracking": number,
            "shipping_tracking_url": url,
        }
        self._publish(record)
        self._note(record, "tracking", by, tracking=number or "", carrier=code or name or "")

    def _ship(self, record: _Record, by: str) -> None:
        """OR24: the seller says that the parcel has left (docs/mirakl.md 5.5)."""
        order = record.order
        if order["order_state"] != "SHIPPING":
            raise ApiError(
                400,
                f"Cannot update the order with id '{order['order_id']}' to status 'SHIPPED'. "
                "The order does not have the expected status 'SHIPPING'.",
            )
        if not order["can_shop_ship"]:
            raise ApiError(400, "The order cannot be shipped by the shop.")
        if self._shipping_type(order).mandatory_tracking and not order["shipping_tracking"]:
            raise ApiError(400, "Tracking details are mandatory for this shipping method.")
        late_debit = order["payment_workflow"] == "PAY_ON_SHIPMENT"
        self._enter(record, self.knobs.state_after_ship_in_pay_on_shipment if late_debit else "SHIPPED")
        self._publish(record)
        self._note(record, "shipped", by, tracking=order["shipping_tracking"] or "")

    # ---- messages (docs/mirakl.md 5.10) -------------------------------------------------------------------------

    def _threads_of(self, order_ids: set[str] | None) -> list[Json]:
        """Newest first; None: of all orders."""
        found = list(self._threads.values())
        if order_ids is not None:
            found = [one for order_id in order_ids for one in self._threads_by_order.get(order_id, ())]
        return sorted(found, key=lambda thread: (thread["date_created"], thread["id"]), reverse=True)

    def _people(self, order: Json) -> tuple[Json, Json]:
        customer = order["customer"]
        name = f"{customer['firstname']} {customer['lastname']}"
        shop = {"display_name": "Print House", "id": str(self.marketplace.shop_id), "type": "SHOP"}
        return shop, {"display_name": name, "id": customer["customer_id"], "type": "CUSTOMER"}

    def _new_thread(self, order: Json, topic: str | None) -> Json:
        order_id, now = order["order_id"], stamp(self.now())
        shop, customer = self._people(order)
        number = len(self._threads_of({order_id}))
        thread: Json = {
            "authorized_participants": [shop, customer, {"display_name": "Operator", "type": "OPERATOR"}],
            "current_participants": [shop, customer],
            "customer_organization": None,
            "date_created": now,
            "date_updated": now,
            "entities": [{"id": order_id, "label": order_id, "type": "MMP_ORDER"}],
            "id": str(uuid5(NAMESPACE_URL, f"{self.marketplace.name}/{order_id}/{number}")),
            "messages": [],
            "metadata": {"shop_reply_needed_since": None},
            "no_store_reply_needed": [],
            "topic": {"type": "FREE_TEXT", "value": topic or "About my order"},
        }
        self._threads[thread["id"]] = thread
        self._threads_by_order[order_id].append(thread)
        return thread

    def _append_message(self, order: Json, thread: Json, body: str, sender: str) -> None:
        now = stamp(self.now())
        shop, customer = self._people(order)
        author: Json = {"display_name": "Operator", "type": sender}
        if sender == "CUSTOMER_USER":
            author["display_name"] = customer["display_name"]
        elif sender == "SHOP_USER":
            author |= {"display_name": "Ana", "organization_details": shop}
        message = {
            "body": body,
            "date_created": now,
            "from": author,
            "id": str(uuid5(NAMESPACE_URL, f"{thread['id']}/{len(thread['messages'])}")),
            "to": [customer if sender == "SHOP_USER" else shop],
        }
        thread["messages"].append(message)
        thread["date_updated"] = now
        waiting_since = thread["metadata"]["shop_reply_needed_since"]
        thread["metadata"] = {
            "last_message_date": now,
            "last_sender": {"display_name": author["display_name"], "type": sender},
            "shop_reply_needed_since": (waiting_since or now) if sender == "CUSTOMER_USER" else None,
            "total_count": len(thread["messages"]),
        }

    # ---- the seller's API ---------------------------------------------------------------------------------

    def _build_app(self) -> Starlette:
        def route(method: str, path: str, operation: str, act: Act) -> Route:
            async def endpoint(request: Request) -> Response:
                return await self._answer(request, operation, act)

            return Route(path, endpoint, methods=[method])

        async def no_such_thing(_: Request, error: Exception) -> Response:
            status = error.status_code if isinstance(error, HTTPException) else 500
            return _refusal(ApiError(status, "Not Found" if status == 404 else "Method Not Allowed"))

        order = "/api/orders/{order_id:path}"
        return Starlette(
            routes=[
                route("GET", "/api/version", "V01", lambda *_: JSONResponse({"version": "simulated"})),
                route("GET", "/api/account", "A01", lambda *_: JSONResponse(self._account())),
                route("GET", "/api/platform/configuration", "PC01", lambda *_: JSONResponse(self._platform())),
                route("GET", "/api/shipping/carriers", "SH21", lambda *_: JSONResponse(self._carriers())),
                route("GET", "/api/shipping/types", "SH12", lambda *_: JSONResponse(self._shipping_types())),
                route("GET", "/api/orders", "OR11", lambda request, _: self._or11(request)),
                route("PUT", f"{order}/accept", "OR21", self._or21),
                route("PUT", f"{order}/tracking", "OR23", self._or23),
                route("PUT", f"{order}/ship", "OR24", lambda request, _: self._or24(request)),
                route("GET", "/api/inbox/threads", "M11", lambda request, _: self._m11(request)),
                route("GET", "/api/inbox/threads/{thread_id}", "M10", lambda request, _: self._m10(request)),
                # Multi-shipment is off: its whole family answers 404 (docs/mirakl.md 5.9).
                route("POST", "/api/shipments", "ST01", lambda *_: _switched_off()),
                route("GET", "/api/shipments", "ST11", lambda *_: _switched_off()),
                route("POST", "/api/shipments/tracking", "ST23", lambda *_: _switched_off()),
                route("PUT", "/api/shipments/ship", "ST24", lambda *_: _switched_off()),
            ],
            exception_handlers={404: no_such_thing, 405: no_such_thing},
        )

    async def _answer(self, request: Request, operation: str, act: Act) -> Response:
        body = await request.body()
        at, status = self.now(), 0
        shape = "B" if operation.startswith("M") else self.knobs.error_shape
        try:
            with self.lock:
                self.requests[operation] += 1
                self._admit(request, operation, at)
                fault = take_fault(self.knobs.faults, operation, request.path_params.get("order_id"))

            def guarded() -> Response:
                with self.lock:
                    try:
                        return act(request, body)
                    except ApiError as error:
                        return _refusal(error, shape)

            response = await answer(request, fault, guarded)
            status = response.status_code
        except ApiError as error:
            response, status = _refusal(error, self.knobs.error_shape), error.status
        finally:
            query = f"?{request.url.query}" if request.url.query else ""
            self.calls.append(Call(at, operation, request.url.path + query, status))
        response.headers["Date"] = format_datetime(self.now().astimezone(UTC), usegmt=True)
        return response

    def _admit(self, request: Request, operation: str, at: datetime) -> None:
        """What is answered before anything is looked at: 401, 400, 403, 429."""
        if operation == "V01":
            return
        if request.headers.get("authorization") != self.marketplace.api_key:
            raise ApiError(401, "Unauthorized")
        shop_id = request.query_params.get("shop_id", str(self.marketplace.shop_id))
        if not shop_id.isdecimal():
            raise ApiError(400, "shop_id is not a number", "VALIDATION_ERROR", "shop_id")
        if int(shop_id) != self.marketplace.shop_id:
            raise ApiError(403, "Forbidden")
        if operation in self.knobs.throttle:
            self._throttle(operation, at)

    def _throttle(self, operation: str, at: datetime) -> None:
        limit, window_seconds = self.knobs.throttle[operation]
        arrivals = self._arrivals.setdefault(operation, deque())
        while arrivals and (at - arrivals[0]).total_seconds() >= window_seconds:
            arrivals.popleft()
        if len(arrivals) >= limit:
            wait_seconds = math.ceil(window_seconds - (at - arrivals[0]).total_seconds())
            raise ApiError(429, "Too many requests", headers={"Retry-After": str(wait_seconds)})
        arrivals.append(at)

    def _account(self) -> Json:
        """A01."""
        shop, now = self.marketplace, stamp(self.now())
        return {
            "shop_id": shop.shop_id,
            "shop_name": "Print House",
            "shop_state": "OPEN",
            "suspension_type": None,
            "closed_from": None,
            "closed_to": None,
            "currency_iso_code": shop.currency,
            "model": "MARKETPLACE",
            "channels": [shop.channel],
            "domains": ["PRODUCT"],
            "kyc": {"status": "APPROVED", "reason": None},
            "is_professional": True,
            "premium": False,
            "free_shipping": False,
            "payment_method_mandatory": False,
            "shipping": {"lead_time_to_ship": 3},
            "shippings": [],
            "shipping_country": shop.country,
            "shop_additional_fields": [],
            "date_created": "2021-04-06T09:30:00Z",
            "last_updated_date": now,
            "orders_count": len(self._records),
            "offers_count": 12,
            "evaluations_count": 0,
            "approval_rate": 0.99,
            "approval_delay": 1800,
            "order_messages_response_delay": 7200,
            "grade": None,
        }

    def _platform(self) -> Json:
        """PC01."""
        shop, knobs = self.marketplace, self.knobs
        return {
            "features": {
                "disable_seller_alternative_carrier": not shop.alternative_carriers,
                "multi_currency": False,
                "no_reply_needed": False,
                "offer_prices_decimals": "2",
                "order_tax_mode": "TAX_INCLUDED",
                "order_workflows": {
                    "no_customer_payment_confirmation": "NO_CUSTOMER_PAYMENT_CONFIRMATION" in shop.workflows,
                    "order_acceptance": "AUTOMATIC" if knobs.automatic_acceptance else "BOTH",
                    "pause_debit_workflow": False,
                    "pay_on_due_date": "PAY_ON_DUE_DATE" in shop.workflows,
                    "pay_on_shipment": "PAY_ON_SHIPMENT" in shop.workflows,
                    "shipping_and_billing_details_before_acceptance": knobs.address_before_acceptance,
                },
                "shipment": {"multi_part_item_shipment": False, "multi_shipment": False},
            },
            "modules": {"order_management": True, "order_management_mode": "HYBRID"},
            "platform_name": shop.name,
            "tenant_name": f"{shop.name}-prod",
            "timezone": "UTC",
        }

    def _carriers(self) -> Json:
        """SH21, sorted by label."""
        return {
            "carriers": [
                {
                    "code": carrier.code,
                    "label": carrier.label,
                    "standard_code": None,
                    "tracking_url": carrier.tracking_url,
                }
                for carrier in sorted(self.marketplace.carriers, key=lambda carrier: carrier.label)
            ]
        }

    def _shipping_types(self) -> Json:
        """SH12."""
        return {
            "shipping_types": [
                {
                    "code": kind.code,
                    "label": kind.label,
                    "description": None,
                    "standard_code": f"CU_ADD-{kind.code}",
                    "mandatory_tracking": kind.mandatory_tracking,
                    "click_and_collect": False,
                    "delivery_by_operator": kind.delivery_by_operator,
                    "ignore_lead_time_to_ship": False,
                }
                for kind in self.marketplace.shipping_types
            ]
        }

    # ---- OR11 (docs/mirakl.md 5.2) ------------------------------------------------------------------------------

    def _or11(self, request: Request) -> Response:
        query = _Query(dict(request.query_params.items()), request.query_params.getlist)
        size = query.number("max", 10, least=1)
        if size > 100 and self.knobs.max_over_100_is_error:
            raise ApiError(400, "max must not exceed 100", "VALIDATION_ERROR", "max")
        size, offset = min(size, 100), query.number("offset", 0, least=0)
        query.choice("sort", ("dateCreated",))
        descending = query.choice("order", ("asc", "desc")) == "desc"
        tax_mode = query.choice("order_tax_mode", ("TAX_INCLUDED", "TAX_EXCLUDED"))
        matching = self._matching(query)
        if descending:
            matching.reverse()
        page = matching[offset : offset + size]
        for record, version in page:
            if version is record.versions[-1]:
                record.listed_at = self.now()
        bodies = [version.body for _, version in page]
        if tax_mode == "TAX_EXCLUDED":
            bodies = [json.dumps(_without_tax(json.loads(one))).encode() for one in bodies]
        content = b'{"orders":[' + b",".join(bodies) + b'],"total_count":%d}' % len(matching)
        headers = self._links(request, offset, size, len(matching))
        return Response(content, media_type="application/json", headers=headers)

    def _links(self, request: Request, offset: int, size: int, total: int) -> dict[str, str]:
        steps = {"previous": offset - size, "next": offset + size}
        links = [
            f'<{request.url.include_query_params(max=size, offset=max(at, 0))}>; rel="{name}"'
            for name, at in steps.items()
            if (offset > 0 if name == "previous" else at < total)
        ]
        return {"Link": ", ".join(links)} if links else {}

    def _matching(self, query: "_Query") -> list[tuple[_Record, _Version]]:
        """Sorted by creation, then order id; all filters must hold."""
        tests = self._filters(query)
        ids = query.codes("order_ids")
        if ids is None:
            records = [self._records[order_id] for _, order_id in self._by_creation]
        else:
            found = [self._records[order_id] for order_id in ids if order_id in self._records]
            records = sorted(found, key=lambda one: (one.versions[-1].created, one.order["order_id"]))
        lag_seconds = self.knobs.visibility_lag_seconds
        horizon = self.now() - timedelta(seconds=lag_seconds)
        matching = []
        for record in records:
            version: _Version | None = record.versions[-1]
            if lag_seconds:
                visible = [one for one in record.versions if one.since <= horizon]
                version = visible[-1] if visible else None
            if version is not None and all(test(version) for test in tests):
                matching.append((record, version))
        return matching

    def _filters(self, query: "_Query") -> list[Callable[[_Version], bool]]:
        tests: list[Callable[[_Version], bool]] = []

        def among(values: set[str] | None, read: Callable[[Json], str | None]) -> None:
            if values is not None:
                tests.append(lambda version: read(version.fields) in values)

        def within(name: str, hold: Callable[[_Version, datetime], bool]) -> None:
            moment = query.date(name)
            if moment is not None:
                tests.append(lambda version: hold(version, moment))

        among(query.codes("order_state_codes", limit=None), lambda order: order["order_state"])
        among(query.codes("payment_workflow"), lambda order: order["payment_workflow"])
        among(query.repeated("fulfillment_center_code"), lambda order: order["fulfillment"]["center"]["code"])
        for side in ("customer", "seller"):
            name = f"order_reference_for_{side}"
            among(
                query.codes(f"order_references_for_{side}"),
                lambda order, name=name: (order["references"] or {}).get(name),  # type: ignore[misc]
            )
        if query.flag("only_null_channel"):
            tests.append(lambda version: version.fields["channel"] is None)
        else:
            among(query.codes("channel_codes"), lambda order: (order["channel"] or {}).get("code"))
        lookback = timedelta(seconds=self.knobs.update_lookback_seconds)
        within("start_date", lambda version, at: version.created >= at)
        within("end_date", lambda version, at: version.created <= at)
        within("start_update_date", lambda version, at: version.updated >= at - lookback)
        within("end_update_date", lambda version, at: version.updated <= at)
        incident, debited = query.flag("has_incident"), query.flag("customer_debited")
        if incident is not None:
            tests.append(lambda version: version.fields["has_incident"] is incident)
        if debited is not None:
            tests.append(lambda version: (version.fields["customer_debited_date"] is not None) is debited)
        return tests

    # ---- the writes (docs/mirakl.md 5.3 to 5.5) -----------------------------------------------------------------

    def _or21(self, request: Request, body: bytes) -> Response:
        decisions = _decisions(body)
        record = self._find(request, code="ORDER_NOT_FOUND")
        order = record.order
        if order["fulfillment"]["center"]["code"] != OWN_CENTER:
            raise ApiError(400, "The order is fulfilled by someone else.", "ORDER_FULFILLED_UNAUTHORIZED")
        if order["order_state"] != "WAITING_ACCEPTANCE":
            raise ApiError(400, "Order is not in the expected state.", "ORDER_INVALID_STATE")
        ids = {line["order_line_id"] for line in order["order_lines"]}
        foreign, missing = set(decisions) - ids, ids - set(decisions)
        if foreign:
            message = f"Order line with id '{min(foreign)}' not found"
            raise ApiError(400, message, "ORDER_LINE_NOT_FOUND")
        if missing:
            message = f"No decision for the order line with id '{min(missing)}'"
            raise ApiError(400, message, "ORDER_LINE_ACCEPTANCE_DECISION_MISSING")
        if len(set(decisions.values())) > 1 and not self.marketplace.has_partial_acceptance:
            raise ApiError(400, "Partial acceptance is disabled.", "ORDER_PARTIAL_ACCEPTANCE_DISABLED")
        self._decide(record, {line_id for line_id, accepted in decisions.items() if accepted}, "api")
        return Response(status_code=204)

    def _or23(self, request: Request, body: bytes) -> Response:
        tracking = _json_object(body)
        if any(value is not None and not isinstance(value, str) for value in tracking.values()):
            raise ApiError(400, "tracking fields are strings")
        self._set_tracking(self._find(request), tracking, "api")
        return Response(status_code=204)

    def _or24(self, request: Request) -> Response:
        # A server hands the header on as it came: a PUT that has none has an empty body and no length.
        if "content-length" not in request.headers:
            raise ApiError(411, "Length Required")
        self._ship(self._find(request), "api")
        return Response(status_code=204)

    def _find(self, request: Request, code: str | None = None) -> _Record:
        order_id = request.path_params["order_id"]
        if order_id not in self._records:
            status = self.knobs.order_not_found_status
            raise ApiError(status, f"Order with id '{order_id}' not found", code)
        return self._records[order_id]

    # ---- M10, M11 (docs/mirakl.md 5.10, 2.2) ---------------------------------------------------------------------

    def _m11(self, request: Request) -> Response:
        params = dict(request.query_params.items())
        if "page_token" in params:
            params = self._open_token(params["page_token"])  # every other parameter is ignored
        query = _Query(params, lambda _: [])
        size = query.number("limit", 50, least=1)
        if size > 100:
            raise ApiError(400, "must not exceed 100", name="limit")
        entity_type, ids = params.get("entity_type"), query.codes("entity_id")
        if ids is not None and entity_type is None:
            raise ApiError(400, "entity_type is required with entity_id", name="entity_type")
        threads = self._threads_of(ids) if entity_type in (None, "MMP_ORDER") else []
        since, channels = query.date("updated_since"), query.codes("channel_codes")
        if since is not None:
            threads = [thread for thread in threads if parse_date(thread["date_updated"]) >= since]
        if channels is not None and self.marketplace.channel not in channels:
            threads = []
        start = 0
        if "after" in params:
            start = 1 + next((i for i, one in enumerate(threads) if one["id"] == params["after"]), -1)
        page = threads[start : start + size]
        shown = [_shown_thread(thread, bool(query.flag("with_messages"))) for thread in page]
        more = bool(page) and start + size < len(threads)
        before = threads[start - size - 1]["id"] if start > size else None
        return JSONResponse(
            {
                "data": shown,
                "next_page_token": self._token(params, page[-1]["id"]) if more else None,
                "previous_page_token": self._token(params, before) if start > 0 else None,
            }
        )

    def _m10(self, request: Request) -> Response:
        thread = self._threads.get(request.path_params["thread_id"])
        if thread is None:
            raise ApiError(404, "thread not found", "NOT_FOUND", "thread_id")
        return JSONResponse(thread)

    def _token(self, params: Json, after: str | None) -> str:
        """Opaque: base64 of the query and the place reached, a dot, a signature."""
        content = urlencode({**params, "after": after or ""}).encode()
        return f"{base64.urlsafe_b64encode(content).decode()}.{self._signature(content)}"

    def _open_token(self, token: str) -> Json:
        encoded, _, signature = token.partition(".")
        try:
            content = base64.urlsafe_b64decode(encoded)
        except (binascii.Error, ValueError):
            content = b""
        if not content or self._signature(content) != signature:
            raise ApiError(400, "invalid page token", name="page_token")
        return dict(parse_qsl(content.decode()))

    def _signature(self, content: bytes) -> str:
        key = self.marketplace.api_key.encode()
        return base64.urlsafe_b64encode(hashlib.sha256(key + content).digest()[:12]).decode()


def _refusal(error: ApiError, shape: str = "A") -> Response:
    """Error bodies (docs/mirakl.md 2.4): A is the classic one, B a list of errors."""
    body: Json = {"message": error.message, "status": error.status}
    if shape == "B":
        one = {"code": error.code or "VALIDATION_ERROR", "field": error.name, "message": error.message}
        body = {"errors": [one]}
    elif error.code is not None:
        body["code"] = error.code
    return JSONResponse(body, error.status, headers=error.headers)


def _switched_off() -> Response:
    raise ApiError(404, "Not Found")


class _Query:
    """Query parameters read strictly: what cannot be read is a 400."""

    def __init__(self, params: Json, repeated: Callable[[str], list[str]]) -> None:
        self._params = params
        self._repeated = repeated

    def _bad(self, name: str) -> ApiError:
        return ApiError(400, f"Invalid value of parameter '{name}'", "VALIDATION_ERROR", name)

    def number(self, name: str, default: int, least: int) -> int:
        text = self._params.get(name, str(default))
        if not text.isdecimal() or int(text) < least:
            raise self._bad(name)
        return int(text)

    def flag(self, name: str) -> bool | None:
        text = self._params.get(name)
        if text not in (None, "true", "false"):
            raise self._bad(name)
        return None if text is None else text == "true"

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        text = str(self._params.get(name, allowed[0]))
        if text not in allowed:
            raise self._bad(name)
        return text

    def date(self, name: str) -> datetime | None:
        if name not in self._params:
            return None
        try:
            return parse_date(self._params[name])
        except ValueError:
            raise self._bad(name) from None

    def codes(self, name: str, limit: int | None = 100) -> set[str] | None:
        """One comma-separated value."""
        if name not in self._params:
            return None
        values = {value.strip() for value in self._params[name].split(",")}
        if limit is not None and len(values) > limit:
            raise self._bad(name)
        return values

    def repeated(self, name: str) -> set[str] | None:
        values = set(self._repeated(name))
        if len(values) > 100:
            raise self._bad(name)
        return values or None


def _json_object(body: bytes) -> Json:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise ApiError(400, "The body is not a JSON object.", "VALIDATION_ERROR")
    return parsed


def _decisions(body: bytes) -> dict[str, bool]:
    """OR21's body as line id -> accepted."""
    lines = _json_object(body).get("order_lines")
    if not isinstance(lines, list):
        raise ApiError(400, "order_lines is required", "VALIDATION_ERROR", "order_lines")
    decisions: dict[str, bool] = {}
    for line in lines:
        if line is None:
            raise ApiError(400, "An order line is null.", "ORDER_LINE_NULL_ELEMENT")
        if not isinstance(line, dict):
            raise ApiError(400, "An order line is no object.", "VALIDATION_ERROR")
        line_id, accepted = line.get("id"), line.get("accepted")
        if not isinstance(line_id, str) or not isinstance(accepted, bool):
            raise ApiError(400, "id and accepted are required", "VALIDATION_ERROR", "order_lines")
        if line_id in decisions:
            raise ApiError(400, f"Order line '{line_id}' occurs twice.", "ORDER_LINE_DUPLICATE_ID")
        decisions[line_id] = accepted
    return decisions


def _shown_thread(thread: Json, with_messages: bool) -> Json:
    """M11 gives the last 100 messages, if asked to."""
    if with_messages:
        return {**thread, "messages": thread["messages"][-100:]}
    return {key: value for key, value in thread.items() if key not in ("messages", "no_store_reply_needed")}


def _without_tax(order: Json) -> Json:
    """The amounts of TAX_EXCLUDED: those of TAX_INCLUDED less the taxes of each line."""
    for line in order["order_lines"]:
        tax = sum(one["amount"] for one in line["taxes"])
        shipping_tax = sum(one["amount"] for one in line["shipping_taxes"])
        line["price"] = round(line["price"] - tax, 2)
        line["price_unit"] = line["origin_unit_price"] = round(line["price"] / line["quantity"], 2)
        line["shipping_price"] = round(line["shipping_price"] - shipping_tax, 2)
        line["total_price"] = round(line["price"] + line["shipping_price"], 2)
    for name in ("price", "shipping_price", "total_price"):
        order[name] = round(sum(line[name] for line in order["order_lines"]), 2)
    return order | {"order_tax_mode": "TAX_EXCLUDED"}
