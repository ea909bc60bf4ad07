"""Values of the simulated marketplace: its operator's configuration, its knobs, and the formats of Mirakl's API."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from adapters.simulators.faults import Fault

Json = dict[str, Any]

WORKFLOWS = (
    "PAY_ON_ACCEPTANCE",
    "PAY_ON_SHIPMENT",
    "PAY_ON_DELIVERY",
    "PAY_ON_DUE_DATE",
    "NO_CUSTOMER_PAYMENT_CONFIRMATION",
)
# Order states. DEBIT: the customer's payment is under way. SENT: the parcel has left. DEAD: the order was refused or
# canceled, which may also happen after the parcel left.
DEBIT = ("WAITING_DEBIT", "WAITING_DEBIT_PAYMENT")
SENT = ("SHIPPED", "TO_COLLECT", "RECEIVED", "CLOSED")
DEAD = ("REFUSED", "CANCELED")
# The state after a confirmed debit, and the states from which a late debit starts (docs/mirakl.md 4.4).
AFTER_DEBIT = {
    "PAY_ON_ACCEPTANCE": "SHIPPING",
    "PAY_ON_SHIPMENT": "SHIPPED",
    "PAY_ON_DELIVERY": "RECEIVED",
    "PAY_ON_DUE_DATE": "CLOSED",
}
DEBIT_STARTS_FROM = {"PAY_ON_DELIVERY": ("SHIPPED", "TO_COLLECT"), "PAY_ON_DUE_DATE": ("RECEIVED",)}
OWN_CENTER = "DEFAULT"  # the seller may not accept or ship an order of another fulfilment centre


@dataclass(frozen=True, slots=True)
class Carrier:
    code: str
    label: str
    tracking_url: str | None = None  # if it contains {trackingId}, OR23 needs a number


@dataclass(frozen=True, slots=True)
class ShippingType:
    code: str
    label: str
    mandatory_tracking: bool = False
    delivery_by_operator: bool = False


@dataclass(frozen=True, slots=True)
class Marketplace:
    """One marketplace: its operator's configuration, and the seller's shop on it."""

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
    alternative_carriers: bool = True  # the opposite of PC01's disable_seller_alternative_carrier
    has_partial_acceptance: bool = True


@dataclass
class Knobs:
    """Settings for behaviour of Mirakl that is not known (docs/mirakl.md 9), and faults to inject."""

    error_shape: str = "A"  # A: message, status, code. B: a list of errors (docs/mirakl.md 2.4). M10, M11: B
    order_not_found_status: int = 404
    visibility_lag_seconds: float = 0.0  # for this time after a change, OR11 shows the old order
    update_lookback_seconds: float = 60.0  # what Mirakl subtracts from start_update_date
    update_date_in_whole_seconds: bool = False
    max_over_100_is_error: bool = True  # otherwise the page has 100 orders
    unknown_carrier_is_error: bool = True  # otherwise the carrier's name is used
    tracking_after_shipped: bool = True
    message_bumps_update_date: bool = False
    automatic_acceptance: bool = False
    address_before_acceptance: bool = False
    state_after_ship_in_pay_on_shipment: str = "WAITING_DEBIT_PAYMENT"
    extra_fields: Json = field(default_factory=dict)  # unknown fields, shown on every order
    largest_page: int = 100  # OR11 gives this many orders a page at most, however many are asked for
    shuffled: set[str] = field(default_factory=set)  # orders whose JSON has another order of members in every read
    # By operation: how many requests are allowed within how many seconds.
    throttle: dict[str, tuple[int, float]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, answered or not."""

    at: datetime
    operation: str
    target: str  # path and query
    status: int  # 0: the connection was dropped


class ApiError(Exception):
    """A request that Mirakl refuses: status and body of the answer (docs/mirakl.md 2.4)."""

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


def stamp(moment: datetime) -> str:
    """Write a date as Mirakl does: ISO 8601 in UTC with Z, without zero milliseconds (docs/mirakl.md 2.1)."""
    utc = moment.astimezone(UTC)
    milliseconds = utc.microsecond // 1000
    return utc.strftime("%Y-%m-%dT%H:%M:%S") + (f".{milliseconds:03d}Z" if milliseconds else "Z")


def parse_date(text: str) -> datetime:
    """Read a date that a client wrote. Raises ValueError, also if it has neither Z nor an offset (docs/mirakl.md 2.1).

    The usual mistake is an offset whose + is not encoded, because a server reads this + as a space.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment


def open_lines(order: Json) -> list[Json]:
    """Return the lines that are neither refused, nor canceled, nor refunded (docs/mirakl.md 4.5)."""
    return [line for line in order["order_lines"] if line["order_line_state"] not in (*DEAD, "REFUNDED")]
