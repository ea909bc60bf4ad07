"""The state of the simulated OMS (KornitX): orders, their parts, and what its operators do with them
(docs/kornitx.md 7, 8).

api.py answers HTTP requests with it; callbacks.py reports to the seller. Each effect on an order is recorded in the
books.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from adapters.simulators.books import Books
from adapters.simulators.oms.callbacks import Callbacks, Send
from adapters.simulators.oms.model import (
    NO_DATE,
    NO_MOMENT,
    STATUS_NAMES,
    Json,
    OmsCompany,
    OmsKnobs,
    OmsOrder,
    Part,
    Shipment,
)
from statemachine.questions.ids_in_text import written


class OmsSimulator:
    """One OMS with its sales channel companies. Several threads may use it at once.

    An unknown order raises KeyError.
    """

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
        self.callbacks = Callbacks(now, self.knobs, send)
        self._orders: dict[tuple[int, str], OmsOrder] = {}  # by company and external_ref
        self._last_id = 46_140_204

    # -- Import --------------------------------------------------------------------------------------------------

    def import_order(self, company: OmsCompany, fields: Json, body: bytes) -> list[Json]:
        """Store an order, with one part for each fulfiller of its lines. Returns the answer: the parts."""
        with self.lock:
            parts = [self._new_part(items) for items in self._routed(fields["items"])]
            order = OmsOrder(company, fields["external_ref"], body, fields, parts)
            self._orders[company.company_ref_id, order.external_ref] = order
            self._note(
                order,
                "imported",
                "api",
                oms_ids=",".join(str(part.oms_id) for part in parts),
                lines=_line_ids(fields["items"]),
                pieces=",".join(f"{written(str(item['external_ref']))}={item['quantity']}" for item in fields["items"]),
                attributes=",".join(sorted(_attributes(fields))),
                types=",".join(str(item["type"]) for item in fields["items"]),
                has_error=str(self._has_error(order)).lower(),
            )
            for part in parts:
                self._note(order, "part_created", "oms", oms_id=str(part.oms_id), lines=_line_ids(part.items))
            return [self._shown(order, part) for part in parts]

    def _routed(self, items: Sequence[Json]) -> list[list[Json]]:
        """Return one list of items for each fulfiller."""
        routed: dict[str, list[Json]] = {}
        for item in items:
            fulfiller = next(
                (name for prefix, name in self.knobs.routes.items() if str(item["sku"]).startswith(prefix)), "house"
            )
            routed.setdefault(fulfiller, []).append(item)
        return list(routed.values())

    def _new_part(self, items: list[Json]) -> Part:
        self._last_id += 1
        oms_id = self._last_id
        stored = [
            {**item, "id": oms_id * 2 + index, "ref": _ref(f"{oms_id}/{index}", 11), "status": 1}
            for index, item in enumerate(items)
        ]
        return Part(oms_id, _ref(str(oms_id), 16), stored)

    def _has_error(self, order: OmsOrder) -> bool:
        return any(item["sku"] in self.knobs.skus_with_error for item in order.fields["items"])

    def _shown(self, order: OmsOrder, part: Part) -> Json:
        """Return a part as JSON, as the answer to its import shows it."""
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

    # -- What is known of an order --------------------------------------------------------------------------------

    def order(self, external_ref: str, company_ref_id: int | None = None) -> OmsOrder:
        """Return an order. `company_ref_id` None: of any company. Raises KeyError if there is none."""
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

    # -- What the operators of the OMS do ------------------------------------------------------------------------

    def progress(self, external_ref: str, status: int, company_ref_id: int | None = None) -> None:
        """Set and report a status that means neither dispatched nor canceled, such as 4, 256 or 512."""
        with self.lock:
            order = self.order(external_ref, company_ref_id)
            for part in order.parts:
                part.status = status
                self.callbacks.notify(order, part)

    def shipment(self, external_ref: str, tracking: str = "", **fields: Any) -> Shipment:
        """Make a parcel that is dispatched now.

        Parcels of one order are dispatched at least a second apart. The date format has no fractions of a second, so
        the newest parcel could not be found otherwise.
        """
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
        edit: Callable[[Json], None] = lambda _payload: None,
    ) -> list[Shipment]:
        """Dispatch parcels and report them. Returns the parcels.

        `shipments` None: one parcel for each part, with all that is left of it. `shipments` []: no parcel, and the
        report has only status, carrier and `tracking`. For a partial dispatch, give the shipments. `part`: the index of
        one part; None for all.
        There are `times` notifications, `repeat_after_seconds` apart. The first one is sent after `delay_seconds`.
        `edit` may change what is reported.
        """
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
                self.callbacks.notify(
                    order, one, tracking=number, carrier=carrier or "", shipments=new, delays=delays, edit=edit
                )
                parcels += new
            return parcels

    def add_pieces(self, external_ref: str, line: str, pieces: int, company_ref_id: int | None = None) -> None:
        """Let the OMS make this many more pieces of a line, which the import may have left out. Nothing is reported."""
        with self.lock:
            order = self.order(external_ref, company_ref_id)
            items = [item for part in order.parts for item in part.items if item["external_ref"] == line]
            if items:
                items[0]["quantity"] += pieces
            else:
                part = order.parts[0]
                part.items.append({"external_ref": line, "quantity": pieces, "ref": _ref(f"{part.oms_id}/{line}", 11)})
            self._note(order, "pieces_added", "oms", line=line, pieces=str(pieces))

    def remake(self, external_ref: str, company_ref_id: int | None = None) -> None:
        """Make the canceled parts again, each under a new id, with a report of status 1."""
        with self.lock:
            order = self.order(external_ref, company_ref_id)
            for index, old in enumerate(order.parts):
                if old.status == 128:
                    part = order.parts[index] = self._new_part(old.items)
                    self._note(order, "part_created", "oms", oms_id=str(part.oms_id), lines=_line_ids(part.items))
                    self.callbacks.notify(order, part)

    def cancel(self, external_ref: str, company_ref_id: int | None = None, part: int | None = None) -> None:
        """Cancel all that is left of every part, or of the part with this index, with status 128."""
        with self.lock:
            order = self.order(external_ref, company_ref_id)
            for one in order.parts if part is None else [order.parts[part]]:
                one.status = 128
                canceled = one.left()
                one.canceled.update(dict(canceled))
                self._note(order, "oms_canceled", "oms", oms_id=str(one.oms_id))
                self.callbacks.notify(order, one, cancellations=canceled)

    def cancel_line(self, external_ref: str, line: str, quantity: int = 1, company_ref_id: int | None = None) -> None:
        with self.lock:
            order = self.order(external_ref, company_ref_id)
            for part in order.parts:
                if any(item["external_ref"] == line for item in part.items):
                    part.canceled[line] += quantity
                    self._note(order, "oms_line_canceled", "oms", oms_id=str(part.oms_id), line=line)
                    self.callbacks.notify(order, part, cancellations=((line, quantity),))

    def _note(self, order: OmsOrder, kind: str, by: str, **detail: str) -> None:
        detail["company_ref_id"] = str(order.company.company_ref_id)
        self.books.record(self.now(), "oms", order.external_ref, kind, by, **detail)


def _ref(seed: str, length: int) -> str:
    return hashlib.sha256(seed.encode()).hexdigest()[:length].upper()


def _attributes(fields: Json) -> set[str]:
    """Return the names of the attributes of the order and of its items."""
    holders = [fields, *fields["items"]]
    return {str(one["name"]) for holder in holders for one in holder.get("attributes") or ()}


def _line_ids(items: Sequence[Json]) -> str:
    return ",".join(item["external_ref"] for item in items)
