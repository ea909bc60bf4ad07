"""The callbacks of the OMS: its notifications to the seller, sent with retries (docs/kornitx.md 8.2, 8.3).

Notifications wait in a queue until `deliver_due` sends them, so that a test decides when they are sent.
"""

import hashlib
import hmac
import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx

from adapters.simulators.oms.model import NO_DATE, NO_MOMENT, STATUS_NAMES, Json, OmsKnobs, OmsOrder, Part, Shipment

#: Sends a notification. Takes its URL, headers and body, and returns the answer's status. Raises OSError or an error of
#: httpx if no answer came.
Send = Callable[[str, dict[str, str], bytes], int]

RETRIES = 5  # how often a notification is sent again if it is not answered with 2xx


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
    lost: bool = False  # every attempt failed, and there is no further one


def send_by_http() -> Send:
    # No connection is kept open: deliveries are rare, and nothing would close it.
    client = httpx.Client(timeout=10.0, limits=httpx.Limits(max_keepalive_connections=0))
    return lambda url, headers, body: client.put(url, headers=headers, content=body).status_code


class Callbacks:
    """The queue of notifications. A failed one is sent again after retry_interval_seconds, five times at most."""

    def __init__(self, now: Callable[[], datetime], knobs: OmsKnobs, send: Send | None = None) -> None:
        self.notifications: list[Notification] = []  # all of them, delivered or not
        self._now = now
        self._knobs = knobs
        self._send = send or send_by_http()
        self._lock = threading.Lock()
        self._delivering = threading.Lock()
        self._queue: list[Notification] = []
        self._delivered: Counter[tuple[int, str]] = Counter()

    def notify(
        self,
        order: OmsOrder,
        part: Part,
        *,
        tracking: str = "",
        carrier: str = "",
        shipments: Sequence[Shipment] = (),
        cancellations: Sequence[tuple[str, int]] = (),
        delays: Sequence[float] = (0.0,),
        edit: Callable[[Json], None] = lambda _payload: None,
    ) -> None:
        """Queue a report of the part's status, with new parcels and cancellations, if the seller has a callback URL.

        The report is sent once for each of `delays`, after this number of seconds. `edit` may change the report first.
        """
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
        edit(payload)
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        signature = hmac.new(order.company.callback_secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-CustomGateway-Hmac": signature}
        for delay_seconds in delays:
            due = self._now() + timedelta(seconds=delay_seconds)
            company_ref_id = order.company.company_ref_id
            notification = Notification(company_ref_id, order.external_ref, part.status, url, headers, body, due)
            with self._lock:
                self.notifications.append(notification)
                self._queue.append(notification)

    def deliver_due(self, now: datetime) -> int:
        """Send the notifications that are due, oldest first. Returns how many were answered with 2xx."""
        done = 0
        with self._delivering:  # one thread at a time, so that no notification is sent twice
            with self._lock:
                due = sorted((one for one in self._queue if one.due <= now), key=lambda one: one.due)
            for notification in due:
                done += self._deliver(notification, now)
            with self._lock:
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
            notification.due = now + timedelta(seconds=self._knobs.retry_interval_seconds)
        return notification.delivered

    def pending(self) -> int:
        """How many notifications are neither delivered nor lost."""
        with self._lock:
            return len(self._queue)

    def delivered(self, external_ref: str, company_ref_id: int) -> int:
        """How many notifications of an order were delivered."""
        with self._lock:
            return self._delivered[company_ref_id, external_ref]


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
