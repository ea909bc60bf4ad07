"""The OMS (KornitX): `POST /order` as orders arrive, and what its operators report back (docs/kornitx.md 2 to 8).

Notifications wait in a queue until `deliver_due` sends them, so that time stays a parameter.
"""

import base64
import binascii
import hashlib
import hmac
import json
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.simulators.books import Books, Fault, answer, take_fault

Json = dict[str, Any]
Send = Callable[[str, dict[str, str], bytes], int]

STATUS_NAMES = {
    1: "Received",
    4: "In Production",
    8: "Dispatched",
    32: "QC Query",
    64: "Dispatched (Retailer Notified)",
    128: "Cancelled",
    256: "On Hold",
    512: "Sent to Supplier",
    513: "Received by Supplier",
    515: "Sent to Shipper",
    516: "Received by Shipper",
    517: "Pending Dispatch",
}
DISPATCHED = (8, 64, 516)
REQUIRED = (
    "external_ref",
    "sale_datetime",
    "customer_name",
    "shipping_address_1",
    "shipping_address_4",
    "shipping_postcode",
    "shipping_country_code",
)
REQUIRED_OF_ITEM = ("external_ref", "sku", "description", "quantity", "type")
RETRIES = 5  # of a notification that was not answered with 2xx (docs/kornitx.md 8.2)
NO_DATE, NO_MOMENT = "0000-00-00", "0000-00-00 00:00:00"


@dataclass(frozen=True, slots=True)
class OmsCompany:
    """A Sales Channel company: one Mirakl shop."""

    company_ref_id: int
    api_key: str
    callback_url: str | None = None
    callback_secret: str = ""


@dataclass
class OmsKnobs:
    duplicate_code: int = 990001  # synthetic: the vendor's codes for these two could not be read
    rate_limit_code: int = 990002
    requests_per_hour: int | None = None
    requests_per_day: int | None = None
    suppressed_error_codes: frozenset[int] = frozenset()
    success_status: int = 201
    routes: dict[str, str] = field(default_factory=dict)  # SKU prefix: fulfiller; others go to the house
    skus_with_error: frozenset[str] = frozenset()  # stored, but held with has_error
    retry_interval_seconds: float = 7200.0
    faults: list[Fault] = field(default_factory=list)  # operation "order"


@dataclass(frozen=True, slots=True)
class Shipment:
    """One parcel. The same value sent again is the same shipment (docs/kornitx.md 9.4)."""

    tracking: str = ""
    lines: tuple[tuple[str, int], ...] = ()  # (our line id, quantity)
    dispatched_at: datetime | None = None  # None: a zero date
    tracking_url: str | None = None  # None: the older payload, without the field


@dataclass(slots=True)
class Notification:
    company_ref_id: int
    external_ref: str
    status: int
    url: str
    headers: dict[str, str]
    body: bytes
    due: datetime
    attempts: int = 0
    delivered: bool = False
    lost: bool = False  # given up after the last retry


@dataclass(slots=True)
class Part:
    """One OMS order; a Mirakl order has several when its lines go to different fulfillers."""

    oms_id: int
    ref: str
    items: list[Json]  # as received, with id, ref and status
    status: int = 1
    sent: Counter[str] = field(default_factory=Counter)  # by our line id
    canceled: Counter[str] = field(default_factory=Counter)

    def left(self) -> tuple[tuple[str, int], ...]:
        counted = [
            (item["external_ref"], int(item["quantity"]) - self._done(item["external_ref"])) for item in self.items
        ]
        return tuple((line, quantity) for line, quantity in counted if quantity > 0)

    def _done(self, line: str) -> int:
        return self.sent[line] + self.canceled[line]


@dataclass(slots=True)
class OmsOrder:
    company: OmsCompany
    external_ref: str
    received: bytes  # the body as it came
    fields: Json
    parts: list[Part]
    dispatched_at: datetime | None = None


class _OmsError(Exception):
    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


def callback_sender() -> Send:
    # No connection is kept: deliveries are rare, and nobody would close them.
    client = httpx.Client(timeout=10.0, limits=httpx.Limits(max_keepalive_connections=0))
    return lambda url, headers, body: client.put(url, headers=headers, content=body).status_code


class OmsSimulator:
    def __init__(
        self,
        companies: Sequence[OmsCompany],
        books: Books,
        now: Callable[[], datetime],
        knobs: OmsKnobs | None = None,
        send: Send | None = None,
    ) -> None:
        self.companies = {company.company_ref_id: company for company in companies}
        self.books = books
        self.now = now
        self.knobs = knobs or OmsKnobs()
        self.lock = threading.RLock()
        self.requests: Counter[str] = Counter()
        self.notifications: list[Notification] = []
        self._send = send or callback_sender()
        self._delivering = threading.Lock()
        self._queue: list[Notification] = []
        self._delivered: Counter[tuple[int, str]] = Counter()
        self._orders: dict[tuple[int, str], OmsOrder] = {}
        self._arrivals: dict[int, deque[datetime]] = {}
        self._next_id = 46_140_204
        self.app = Starlette(routes=[Route("/order", self._endpoint, methods=["POST"])])

    # ---- POST /order (docs/kornitx.md 3, 5, 6, 7) ---------------------------------------------------------------

    async def _endpoint(self, request: Request) -> Response:
        body = await request.body()
        with self.lock:
            self.requests["order"] += 1
            fault = take_fault(self.knobs.faults, "order", _external_ref(body))

        def act() -> Response:
            with self.lock:
                try:
                    return JSONResponse(self._import(request, body), self.knobs.success_status)
                except _OmsError as error:
                    envelope = {"error": {"message": error.message, "code": error.code}}
                    return JSONResponse(envelope, error.status)

        return await answer(request, fault, act)

    def _import(self, request: Request, body: bytes) -> list[Json]:
        company = self._authenticate(request.headers.get("authorization", ""))
        self._limit(company)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise _OmsError(0, "Content-Type must be application/json")
        fields = self._checked(company, body)
        order = self._store(company, fields, body)
        return [self._shown(order, part) for part in order.parts]

    def _authenticate(self, header: str) -> OmsCompany:
        """`Basic COMPANYREFID:APIKEY`, as it stands or in base64: clients send both (docs/kornitx.md 2.1)."""
        scheme, _, credentials = header.partition(" ")
        if ":" not in credentials:
            try:
                credentials = base64.b64decode(credentials, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                credentials = ""
        number, _, key = credentials.partition(":")
        company = self.companies.get(int(number)) if number.isdecimal() else None
        if scheme != "Basic" or company is None or not hmac.compare_digest(key, company.api_key):
            raise _OmsError(50000, "Either your RefID or your API key are incorrect")
        return company

    def _limit(self, company: OmsCompany) -> None:
        """Exceeding a limit is a 400, not a 429 (docs/kornitx.md 2.2)."""
        now = self.now()
        arrivals = self._arrivals.setdefault(company.company_ref_id, deque())
        while arrivals and now - arrivals[0] >= timedelta(days=1):
            arrivals.popleft()
        last_hour = sum(now - at < timedelta(hours=1) for at in arrivals) if self.knobs.requests_per_hour else 0
        for limit, used in (
            (self.knobs.requests_per_hour, last_hour),
            (self.knobs.requests_per_day, len(arrivals)),
        ):
            if limit is not None and used >= limit:
                raise _OmsError(self.knobs.rate_limit_code, "Rate limit exceeded")
        if self.knobs.requests_per_hour or self.knobs.requests_per_day:
            arrivals.append(now)

    def _checked(self, company: OmsCompany, body: bytes) -> Json:
        try:
            fields = json.loads(body.decode())
        except ValueError:
            raise _OmsError(100, "Invalid JSON") from None
        if not isinstance(fields, dict):
            raise _OmsError(100, "Invalid JSON: an order object is expected")
        if str(fields.get("company_ref_id")) != str(company.company_ref_id):
            raise _OmsError(50000, "Either your RefID or your API key are incorrect")
        missing = [name for name in REQUIRED if not isinstance(fields.get(name), str) or not fields[name]]
        items = fields.get("items")
        if missing:
            raise _OmsError(0, f"Missing required field: {missing[0]}")
        if not isinstance(items, list) or not items:
            raise _OmsError(0, "Missing required field: items")
        for index, item in enumerate(items):
            _check_item(index, item)
        if len(fields["shipping_country_code"]) != 2:
            raise _OmsError(0, "shipping_country_code must be ISO 3166-1 alpha-2")
        try:
            # Zone not documented; only the shape is checked.
            datetime.strptime(fields["sale_datetime"], "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007
        except ValueError:
            raise _OmsError(0, "Invalid sale_datetime") from None
        if (company.company_ref_id, fields["external_ref"]) in self._orders:
            raise _OmsError(self.knobs.duplicate_code, "An order with this external_ref already exists")
        wanted = fields.get("required_dispatch_date") or NO_DATE
        past = wanted != NO_DATE and wanted < self.now().date().isoformat()
        if past and 8014 not in self.knobs.suppressed_error_codes:
            raise _OmsError(8014, "required_dispatch_date is in the past")
        return fields

    def _store(self, company: OmsCompany, fields: Json, body: bytes) -> OmsOrder:
        """Lines that route to the same fulfiller stay together; each fulfiller gets an order of its own."""
        external_ref = fields["external_ref"]
        routed: dict[str, list[Json]] = {}
        for item in fields["items"]:
            fulfiller = next(
                (name for prefix, name in self.knobs.routes.items() if str(item["sku"]).startswith(prefix)),
                "house",
            )
            routed.setdefault(fulfiller, []).append(item)
        order = OmsOrder(company, external_ref, body, fields, [])
        for items in routed.values():
            order.parts.append(self._part(items))
        self._orders[company.company_ref_id, external_ref] = order
        types = ",".join(str(item["type"]) for item in fields["items"])
        self._note(
            order,
            "imported",
            "api",
            oms_ids=",".join(str(part.oms_id) for part in order.parts),
            lines=",".join(item["external_ref"] for item in fields["items"]),
            types=types,
            has_error=str(self._has_error(order)).lower(),
        )
        for part in order.parts:
            lines = ",".join(item["external_ref"] for item in part.items)
            self._note(order, "part_created", "oms", oms_id=str(part.oms_id), lines=lines)
        return order

    def _part(self, items: list[Json]) -> Part:
        self._next_id += 1
        oms_id = self._next_id
        stored = [
            {**item, "id": oms_id * 2 + index, "ref": _ref(f"{oms_id}/{index}", 11), "status": 1}
            for index, item in enumerate(items)
        ]
        return Part(oms_id, _ref(str(oms_id), 16), stored)

    def _has_error(self, order: OmsOrder) -> bool:
        return any(item["sku"] in self.knobs.skus_with_error for item in order.fields["items"])

    def _shown(self, order: OmsOrder, part: Part) -> Json:
        """One element of the answer: the array has one per part."""
        has_error = self._has_error(order)
        return {
            "id": part.oms_id,
            "ref": part.ref,
            "external_ref": order.external_ref,
            "company_ref_id": order.company.company_ref_id,
            "status": part.status,
            "status_name": STATUS_NAMES[part.status],
            "has_error": has_error,
            "error_message": "SKU is not mapped to a product" if has_error else "",
            "has_been_completed": False,
            "completion_datetime": NO_MOMENT,
            "required_dispatch_date": order.fields.get("required_dispatch_date") or NO_DATE,
            "shipping_carrier": "",
            "shipping_method": order.fields.get("shipping_method", ""),
            "shipping_tracking": "",
            "items": part.items,
        }

    # ---- what the audit and the world look at ----------------------------------------------------------------

    def order(self, external_ref: str, company_ref_id: int | None = None) -> OmsOrder:
        """KeyError when there is none. Without a company, whichever holds it."""
        if company_ref_id is None:
            company_ref_id = next((company for company, ref in list(self._orders) if ref == external_ref), 0)
        return self._orders[company_ref_id, external_ref]

    def holds(self, external_ref: str, company_ref_id: int) -> bool:
        return (company_ref_id, external_ref) in self._orders

    def summary(self) -> list[Json]:
        with self.lock:
            return [
                {
                    "external_ref": order.external_ref,
                    "company_ref_id": order.company.company_ref_id,
                    "parts": [{"id": part.oms_id, "ref": part.ref, "status": part.status} for part in order.parts],
                }
                for order in self._orders.values()
            ]

    # ---- the OMS's operators -----------------------------------------------------------------------------------

    def progress(self, external_ref: str, status: int, company_ref_id: int | None = None) -> None:
        """A status of no consequence: 4, 512, 513, 515, 517 ..."""
        with self.lock:
            order = self.order(external_ref, company_ref_id)
            for part in order.parts:
                part.status = status
                self._notify(order, part)

    def shipment(self, external_ref: str, tracking: str = "", **fields: Any) -> Shipment:
        """A parcel dispatched now. Dispatch times of one order are at least a second apart, so that
        'newest' means something in a format without fractions."""
        with self.lock:
            order = self.order(external_ref, fields.pop("company_ref_id", None))
            at = self.now().replace(microsecond=0)
            if order.dispatched_at is not None:
                at = max(at, order.dispatched_at + timedelta(seconds=1))
            order.dispatched_at = at
            return Shipment(tracking=tracking, **({"dispatched_at": at} | fields))

    def dispatch(
        self,
        external_ref: str,
        company_ref_id: int | None = None,
        *,
        status: int = 8,
        tracking: str | None = None,
        carrier: str | None = None,
        shipments: Sequence[Shipment] | None = None,
        part: int | None = None,
        times: int = 1,
        repeat_after_seconds: float = 0.0,
        delay_seconds: float = 0.0,
    ) -> list[Shipment]:
        """Parcels leave. shipments None: one with all that is left of each part; []: only the status is set,
        as the old status call does. `part` picks one of a split order. A partial dispatch is shipments under
        another status. `times` and `delay_seconds` are for repeated and late delivery."""
        with self.lock:
            order = self.order(external_ref, company_ref_id)
            parcels: list[Shipment] = []
            for one in order.parts if part is None else [order.parts[part]]:
                new = [] if shipments is None else list(shipments)
                if shipments is None and one.left():
                    ref = order.company.company_ref_id
                    new = [self.shipment(external_ref, tracking or "", lines=one.left(), company_ref_id=ref)]
                one.status = status
                for parcel in new:
                    one.sent.update(dict(parcel.lines))
                number = tracking if tracking is not None else (new[-1].tracking if new else "")
                self._note(
                    order,
                    "dispatched",
                    "oms",
                    oms_id=str(one.oms_id),
                    status=str(status),
                    tracking=number,
                    carrier=carrier or "",
                    lines=",".join(line for parcel in new for line, _ in parcel.lines),
                )
                delays = [delay_seconds + index * repeat_after_seconds for index in range(times)]
                self._notify(order, one, tracking=number, carrier=carrier or "", shipments=new, delays=delays)
                parcels += new
            return parcels

    def cancel(self, external_ref: str, company_ref_id: int | None = None) -> None:
        """128: all that is left of every part."""
        with self.lock:
            order = self.order(external_ref, company_ref_id)
            for part in order.parts:
                part.status = 128
                gone = part.left()
                part.canceled.update(dict(gone))
                self._note(order, "oms_canceled", "oms", oms_id=str(part.oms_id))
                self._notify(order, part, cancellations=gone)

    def cancel_line(self, external_ref: str, line: str, quantity: int = 1, company_ref_id: int | None = None) -> None:
        with self.lock:
            order = self.order(external_ref, company_ref_id)
            for part in order.parts:
                if any(item["external_ref"] == line for item in part.items):
                    part.canceled[line] += quantity
                    self._note(order, "oms_line_canceled", "oms", oms_id=str(part.oms_id), line=line)
                    self._notify(order, part, cancellations=((line, quantity),))

    def _note(self, order: OmsOrder, kind: str, by: str, **detail: str) -> None:
        detail["company_ref_id"] = str(order.company.company_ref_id)
        self.books.record(self.now(), "oms", order.external_ref, kind, by, **detail)

    # ---- notifications (docs/kornitx.md 8.2, 8.3) ---------------------------------------------------------------

    def _notify(
        self,
        order: OmsOrder,
        part: Part,
        *,
        tracking: str = "",
        carrier: str = "",
        shipments: Sequence[Shipment] = (),
        cancellations: Sequence[tuple[str, int]] = (),
        delays: Sequence[float] = (0.0,),
    ) -> None:
        url = order.fields.get("status_callback_url") or order.company.callback_url
        if not url:
            return
        refs = {item["external_ref"]: item["ref"] for item in part.items}
        payload = {
            "id": part.oms_id,
            "ref": part.ref,
            "external_ref": order.external_ref,
            "shipping_tracking": tracking,
            "status": part.status,
            "status_name": STATUS_NAMES.get(part.status, f"Status {part.status}"),
            "shipping_method": order.fields.get("shipping_method") or "",
            "shipping_carrier": carrier,
            "shipping_price": 0,
            "new_shipments": [_shown_shipment(shipment, refs) for shipment in shipments],
            "new_cancellations": [
                {"items": [{"external_ref": line, "quantity": quantity}]} for line, quantity in cancellations
            ],
            "required_dispatch_date": order.fields.get("required_dispatch_date") or NO_DATE,
        }
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        signature = hmac.new(order.company.callback_secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-CustomGateway-Hmac": signature}
        for delay_seconds in delays:
            due = self.now() + timedelta(seconds=delay_seconds)
            notification = Notification(
                order.company.company_ref_id, order.external_ref, part.status, url, headers, body, due
            )
            self.notifications.append(notification)
            self._queue.append(notification)

    def deliver_due(self, now: datetime) -> int:
        """Send what is due, oldest first; returns how many were answered with 2xx."""
        done = 0
        with self._delivering:  # one deliverer, so that nothing is sent twice by accident
            with self.lock:
                due = sorted((one for one in self._queue if one.due <= now), key=lambda one: one.due)
            for notification in due:
                done += self._deliver(notification, now)
            with self.lock:
                self._queue = [one for one in self._queue if not (one.delivered or one.lost)]
        return done

    def _deliver(self, notification: Notification, now: datetime) -> bool:
        try:
            status = self._send(notification.url, dict(notification.headers), notification.body)
        except (OSError, httpx.HTTPError):
            status = 0
        notification.attempts += 1
        notification.delivered = 200 <= status < 300
        if notification.delivered:
            self._delivered[notification.company_ref_id, notification.external_ref] += 1
        else:
            notification.lost = notification.attempts > RETRIES
            notification.due = now + timedelta(seconds=self.knobs.retry_interval_seconds)
        return notification.delivered

    def pending(self) -> int:
        """Notifications neither delivered nor given up."""
        with self.lock:
            return len(self._queue)

    def delivered(self, external_ref: str, company_ref_id: int) -> int:
        with self.lock:
            return self._delivered[company_ref_id, external_ref]


def _external_ref(body: bytes) -> str | None:
    """For faults that mean one order; a body that cannot be read means none."""
    try:
        fields = json.loads(body)
    except ValueError:
        return None
    return fields.get("external_ref") if isinstance(fields, dict) else None


def _check_item(index: int, item: Any) -> None:
    """Types other than 5 are stored as sent: the books show what came."""
    if not isinstance(item, dict):
        raise _OmsError(0, f"Invalid item specified, index {index}")
    missing = [name for name in REQUIRED_OF_ITEM if item.get(name) in (None, "")]
    if missing:
        raise _OmsError(0, f"Missing required field: items[{index}].{missing[0]}")
    quantity, kind = item["quantity"], str(item["type"])
    if not isinstance(quantity, int) or quantity < 1 or kind not in ("1", "2", "3", "4", "5", "7"):
        raise _OmsError(0, f"Invalid item specified, index {index}")


def _ref(seed: str, length: int) -> str:
    return hashlib.sha256(seed.encode()).hexdigest()[:length].upper()


def _shown_shipment(shipment: Shipment, refs: dict[str, str]) -> Json:
    at = shipment.dispatched_at
    shown: Json = {
        "dispatch_datetime": NO_MOMENT if at is None else at.strftime("%Y-%m-%d %H:%M:%S"),
        "tracking": shipment.tracking,
        "items": [
            {"quantity": quantity, "ref": refs[line], "external_ref": line}
            for line, quantity in shipment.lines
            if line in refs
        ],
    }
    if shipment.tracking_url is not None:
        shown["tracking_url"] = shipment.tracking_url
    return shown
