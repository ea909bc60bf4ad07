"""The state of one simulated marketplace, and the changes that its operator, customers and seller make to an order
(docs/mirakl.md 4, 5.3 to 5.5). api.py answers HTTP requests with it. The books record each effect on an order."""

import copy
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from adapters.simulators.books import Books
from adapters.simulators.mirakl.account import SellerAccount
from adapters.simulators.mirakl.listing import Listing
from adapters.simulators.mirakl.model import (
    AFTER_DEBIT,
    DEAD,
    DEBIT,
    DEBIT_STARTS_FROM,
    OWN_CENTER,
    SENT,
    ApiError,
    Call,
    Json,
    Knobs,
    Marketplace,
    ShippingType,
    open_lines,
    stamp,
)
from adapters.simulators.mirakl.parts import can_cancel, carrier_fields, give_reason
from adapters.simulators.mirakl.threads import Threads


@dataclass(slots=True)
class _Record:
    order: Json  # as it is now, addresses included
    address_shown: bool


class MiraklSimulator:
    """One marketplace, as its one seller sees it. Several threads may use it at once.

    Most methods that act for the operator, the customer or a person return whether they changed the order: False if its
    state does not allow the change. For these methods an unknown order id raises KeyError. The methods that act for the
    seller's API raise ApiError in both cases.
    """

    def __init__(
        self, marketplace: Marketplace, books: Books, now: Callable[[], datetime], knobs: Knobs | None = None
    ) -> None:
        self.marketplace = marketplace
        self.books = books
        self.now = now
        self.knobs = knobs or Knobs()
        self.lock = threading.RLock()
        self.requests: Counter[str] = Counter()  # by operation
        self.calls: deque[Call] = deque(maxlen=100_000)
        self.listing = Listing(self.knobs, now)
        self.threads = Threads(marketplace, now)
        self.account = SellerAccount(marketplace, now)
        self.withheld: set[str] = set()  # orders that the shop must not ship: can_shop_ship is false
        self.own_centers = {OWN_CENTER, ""}  # fulfilment centres of the seller
        self._records: dict[str, _Record] = {}

    # -- What is known of an order -------------------------------------------------------------------------------

    def order(self, order_id: str) -> Json:
        """Return a copy of the order as it is now: without a lag, and with its addresses."""
        with self.lock:
            return copy.deepcopy(self._records[order_id].order)

    def state(self, order_id: str) -> str | None:
        record = self._records.get(order_id)
        return None if record is None else str(record.order["order_state"])

    def tracking(self, order_id: str) -> str | None:
        tracking: str | None = self._records[order_id].order["shipping_tracking"]
        return tracking

    def summary(self) -> list[Json]:
        with self.lock:
            return [
                {key: record.order[key] for key in ("order_id", "order_state", "payment_workflow")}
                | {"last_updated_date": record.order["last_updated_date"]}
                for record in self._records.values()
            ]

    def orders_count(self) -> int:
        return len(self._records)

    # -- What the operator and the customer do, and the payment system ------------------------------------------

    def add_order(self, order: Json, history: Iterable[tuple[str, str]] = ()) -> None:
        """Add an order, in any state. `history`: kind and actor of each effect that it had before. The books get them.

        Raises ValueError if there is an order with its id.
        """
        with self.lock:
            order_id = order["order_id"]
            if order_id in self._records:
                raise ValueError(f"order {order_id} exists")
            shown = order["order_state"] in ("SHIPPING", *SENT)
            record = self._records[order_id] = _Record(copy.deepcopy(order), shown)
            self._publish(record)
            self._note(record, "created", "customer")
            for kind, by in history:
                self._note(record, kind, by)
            if order.get("shipping_tracking"):
                self._note(record, "tracking", "person", tracking=order["shipping_tracking"])
            if order["order_state"] == "WAITING_ACCEPTANCE":
                self._accept_automatically(record)

    def release_staging(self, order_id: str) -> bool:
        """End the operator's check of the order: STAGING -> WAITING_ACCEPTANCE."""
        with self.lock:
            record = self._in_state(order_id, "STAGING")
            if record is None:
                return False
            self._enter(record, "WAITING_ACCEPTANCE")
            self._publish(record)
            self._accept_automatically(record)
            return True

    def advance_debit(self, order_id: str) -> bool:
        """Go one step towards a debit: to WAITING_DEBIT after shipping, or from there to WAITING_DEBIT_PAYMENT."""
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
        """Record that the customer has paid. The next state depends on the workflow (docs/mirakl.md 4.4)."""
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
        """Cancel the order, because the payment failed."""
        with self.lock:
            if self._in_state(order_id, *DEBIT) is None:
                return False
            return self.cancel(order_id, by="marketplace", reason="PAYMENT_REFUSED")

    def cancel(self, order_id: str, by: str = "customer", reason: str = "CUSTOMER_CHANGED_MIND") -> bool:
        """Cancel the order, in every state that is not final (docs/mirakl.md 4.2)."""
        with self.lock:
            record = self._records[order_id]
            if record.order["order_state"] in (*DEAD, "CLOSED"):
                return False
            give_reason(record.order, "order_state", reason)
            self._enter(record, "CANCELED")
            self._publish(record)
            self._note(record, "canceled", by, reason=reason)
            return True

    def change(
        self,
        order_id: str,
        kind: str,
        by: str,
        edit: Callable[[Json], None],
        ahead: timedelta = timedelta(0),
        **detail: str,
    ) -> bool:
        """Change fields of the order. last_updated_date then lies `ahead` of the clock, until the next change."""
        with self.lock:
            record = self._records[order_id]
            edit(record.order)
            record.address_shown |= record.order["order_state"] == "SHIPPING"
            self._publish(record, ahead=ahead)
            self._note(record, kind, by, **detail)
            return True

    def remove(self, order_id: str) -> None:
        """Stop showing the order. Mirakl then answers as if the order had never existed."""
        with self.lock:
            self._note(self._records[order_id], "removed", "marketplace")
            del self._records[order_id]
            self.listing.remove(order_id)

    def cancel_line(self, order_id: str, line_id: str, by: str = "customer") -> bool:
        """Cancel one line. If it is the last open line, the order is canceled."""
        with self.lock:
            record = self._records[order_id]
            lines = [line for line in open_lines(record.order) if line["order_line_id"] == line_id]
            if not lines or record.order["order_state"] in (*SENT, *DEAD):
                return False
            line = lines[0]
            line["order_line_state"] = "CANCELED"
            give_reason(line, "order_line_state", "CUSTOMER_CHANGED_MIND")
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
        """Refuse the order, because it was neither accepted nor refused before the deadline."""
        with self.lock:
            record = self._in_state(order_id, "WAITING_ACCEPTANCE")
            if record is None:
                return False
            give_reason(record.order, "order_state", "ACCEPTANCE_DEADLINE")
            self._decide(record, set(), "marketplace")
            return True

    def mark_to_collect(self, order_id: str) -> bool:
        return self._move_on(order_id, ("SHIPPED",), "TO_COLLECT", "marketplace")

    def mark_received(self, order_id: str, by: str = "customer") -> bool:
        return self._move_on(order_id, ("SHIPPED", "TO_COLLECT"), "RECEIVED", by)

    def close(self, order_id: str) -> bool:
        return self._move_on(order_id, ("RECEIVED",), "CLOSED", "marketplace")

    def post_message(
        self,
        order_id: str,
        body: str,
        sender: str = "CUSTOMER_USER",
        topic: str | None = None,
        attachments: Sequence[str] = (),
    ) -> str:
        """Add a message to the order's newest thread, or to a new one if a topic is given. Returns the thread's id."""
        with self.lock:
            record = self._records[order_id]
            thread_id = self.threads.post(record.order, body, sender, topic, attachments)
            if sender == "CUSTOMER_USER":
                record.order["has_customer_message"] = True
            self._publish(record, bump=self.knobs.message_bumps_update_date)
            by = {"CUSTOMER_USER": "customer", "SHOP_USER": "person"}.get(sender, "marketplace")
            self._note(record, "message", by)
            return thread_id

    # -- What a person does in the seller portal ------------------------------------------------------------------

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
            if record is None or not record.order["can_shop_ship"]:
                return False
            if tracking and not self.set_tracking_in_portal(order_id, tracking, carrier_code, by):
                return False
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

    # -- What the seller's API does (docs/mirakl.md 5.3 to 5.5) --------------------------------------------------

    def accept(self, order_id: str, decisions: Mapping[str, bool]) -> None:
        """OR21: accept or refuse the order's lines. `decisions`: for each line id, whether the line is accepted."""
        with self.lock:
            record = self._find(order_id, code="ORDER_NOT_FOUND")
            order = record.order
            if order["fulfillment"]["center"]["code"] not in self.own_centers:
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

    def set_tracking(self, order_id: str, tracking: Json) -> None:
        """OR23: set carrier and tracking number. `tracking`: the fields of the request's body."""
        with self.lock:
            self._set_tracking(self._find(order_id), tracking, "api")

    def ship(self, order_id: str) -> None:
        """OR24: confirm the shipment."""
        with self.lock:
            self._ship(self._find(order_id), "api")

    def _find(self, order_id: str, code: str | None = None) -> _Record:
        if order_id not in self._records:
            status = self.knobs.order_not_found_status
            raise ApiError(status, f"Order with id '{order_id}' not found", code)
        return self._records[order_id]

    # -- What the changes have in common --------------------------------------------------------------------------

    def _in_state(self, order_id: str, *states: str) -> _Record | None:
        record = self._records[order_id]
        return record if record.order["order_state"] in states else None

    def _note(self, record: _Record, kind: str, by: str, **detail: str) -> None:
        self.books.record(self.now(), self.marketplace.name, record.order["order_id"], kind, by, **detail)

    def _enter(self, record: _Record, state: str) -> None:
        """Set the state of the order and of its open lines, with the dates that belong to this state."""
        order, now, before = record.order, self.now(), record.order["order_state"]
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
            if line["order_line_state"] in SENT and before not in SENT:
                continue  # it left before the others
            line["order_line_state"] = state
            if state in ("SHIPPED", "RECEIVED"):
                line[f"{state.lower()}_date"] = stamp(now)

    def _publish(self, record: _Record, bump: bool = True, ahead: timedelta = timedelta(0)) -> None:
        """End a change: set the flags and, with `bump`, last_updated_date, and show the order in OR11."""
        order, now = record.order, self.now() + ahead
        order["can_cancel"] = can_cancel(order)
        order["can_shop_ship"] = self._can_shop_ship(order)
        if bump:
            whole = now.replace(microsecond=0)
            order["last_updated_date"] = stamp(whole if self.knobs.update_date_in_whole_seconds else now)
            for line in order["order_lines"]:
                line["last_updated_date"] = order["last_updated_date"]
        with_address = record.address_shown or self.knobs.address_before_acceptance
        self.listing.show(order, self.now(), with_address=with_address)

    def _can_shop_ship(self, order: Json) -> bool:
        return (
            order["order_state"] == "SHIPPING"
            and order["order_id"] not in self.withheld
            and order["fulfillment"]["center"]["code"] in self.own_centers
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
        """Accept the lines in `accepted`, refuse the others, and move the order on (docs/mirakl.md 4.5).

        The order is refused if no line is left.
        """
        order = record.order
        # After an automatic decision there is no date (docs/mirakl.md 5.2).
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
        """Set the order's one carrier and one number. A later call overwrites them (docs/mirakl.md 5.4)."""
        order = record.order
        state, after_debit = order["order_state"], order["payment_workflow"] != "PAY_ON_ACCEPTANCE"
        shipped = state in SENT or (state in DEBIT and after_debit)
        if state != "SHIPPING" and not (shipped and self.knobs.tracking_after_shipped):
            raise ApiError(400, f"Tracking of an order in status '{state}' cannot be updated.")
        order |= carrier_fields(self.marketplace, self.knobs, body)
        self._publish(record)
        carrier = body.get("carrier_code") or order["shipping_company"]
        self._note(record, "tracking", by, tracking=order["shipping_tracking"] or "", carrier=carrier or "")

    def _ship(self, record: _Record, by: str) -> None:
        """Confirm that the parcel has left, as the seller (docs/mirakl.md 5.5)."""
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
