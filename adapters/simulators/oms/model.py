"""Values of the simulated OMS: its companies, its knobs, its orders, their parts and parcels."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adapters.simulators.faults import Fault

Json = dict[str, Any]

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
NO_DATE, NO_MOMENT = "0000-00-00", "0000-00-00 00:00:00"


@dataclass(frozen=True, slots=True)
class OmsCompany:
    """A sales channel company of the OMS: one shop of the seller."""

    company_ref_id: int
    api_key: str
    callback_url: str | None = None
    callback_secret: str = ""


@dataclass
class OmsKnobs:
    """Settings for behaviour of KornitX that is not known (docs/kornitx.md 12), and faults to inject."""

    duplicate_code: int = 990001  # invented, like rate_limit_code: KornitX's own codes are not known
    rate_limit_code: int = 990002
    requests_per_hour: int | None = None
    requests_per_day: int | None = None
    suppressed_error_codes: frozenset[int] = frozenset()
    success_status: int = 201
    routes: dict[str, str] = field(default_factory=dict)  # prefix of a SKU: fulfiller; other SKUs go to "house"
    skus_with_error: frozenset[str] = frozenset()  # an order with one of them is stored with has_error
    retry_interval_seconds: float = 7200.0
    faults: list[Fault] = field(default_factory=list)  # operation "order"


@dataclass(frozen=True, slots=True)
class Shipment:
    """One parcel. An equal value in a later notification is the same parcel again (docs/kornitx.md 9.4)."""

    tracking: str = ""
    lines: tuple[tuple[str, int], ...] = ()  # (our line id, quantity)
    dispatched_at: datetime | None = None  # None: shown as a zero date
    tracking_url: str | None = None  # None: the payload has no such field, as in older payloads


@dataclass(slots=True)
class Part:
    """One order of the OMS. A Mirakl order has several if its lines go to different fulfillers."""

    oms_id: int
    ref: str
    items: list[Json]  # as received, with id, ref and status
    status: int = 1
    sent: Counter[str] = field(default_factory=Counter)  # by our line id
    canceled: Counter[str] = field(default_factory=Counter)

    def left(self) -> tuple[tuple[str, int], ...]:
        """Return the line ids and quantities that are neither sent nor canceled."""
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
    received: bytes  # the body of the request, unchanged
    fields: Json
    parts: list[Part]
    dispatched_at: datetime | None = None


class OmsError(Exception):
    """A request that the OMS refuses: status and error of the answer (docs/kornitx.md 6)."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status
