"""The lives of many orders: who does what to them, when, and how each is expected to end.

A life follows one story. A story's script is a generator that acts on the remotes and yields what it waits for:
a number of seconds, or a condition that is looked at in every tick. When it ends, nothing is left to happen.
"""

import random
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any

from adapters.simulators.books import Fault
from adapters.simulators.mirakl.marketplace import (
    DEBIT,
    OWN_CENTER,
    SENT,
    Carrier,
    Marketplace,
    MiraklSimulator,
    ShippingType,
    stamp,
)
from adapters.simulators.oms.oms import OmsSimulator, Shipment

Json = dict[str, Any]
Script = Generator[float | Callable[[], bool], None, None]

ALPHA = Marketplace(
    name="alpha",
    shop_id=2104,
    api_key="7f3c2f6e-51b4-4d0e-9c1a-a1fa00002104",
    carriers=(
        Carrier("DPDUK", "DPD UK", "https://track.example/dpd/{trackingId}"),
        Carrier("RoyalMail", "Royal Mail", "https://track.example/royalmail/{trackingId}"),
        Carrier("EVRI", "Evri", "https://track.example/evri/{trackingId}"),
        Carrier("POST", "Letter post"),
    ),
    shipping_types=(ShippingType("STD", "Standard"), ShippingType("EXP", "Express")),
)
BETA = Marketplace(
    name="beta",
    shop_id=31,
    api_key="0c9d7a11-2be8-4f53-8d77-be7a00000031",
    carriers=(
        Carrier("LAPOSTE", "Colissimo", "https://suivi.example/colissimo/{trackingId}"),
        Carrier("CHRONO", "Chronopost", "https://suivi.example/chronopost/{trackingId}"),
        Carrier("MRELAY", "Mondial Relay"),
    ),
    shipping_types=(
        ShippingType("DOM", "Livraison à domicile"),
        ShippingType("SUIVI", "Livraison suivie", mandatory_tracking=True),
    ),
    currency="EUR",
    country="FRA",
    country_label="France",
    locale="fr_FR",
    channel="FR_WEB",
)
MARKETPLACES = {"alpha": ALPHA, "beta": BETA}
COMPANIES = {"alpha": 99001, "beta": 99002}  # the OMS's Sales Channel company of each shop
# SKUs that the seller's catalogue holds. BETA's seller accepts by the policy known-skus.
KNOWN_SKUS = {
    "alpha": ("MUG-11OZ-WHT", "TEE-BLK-M", "PRINT-A3-OAK", "CUSHION-45", "FRAME-A4-OAK"),
    "beta": ("TASSE-33CL", "TSHIRT-NOIR-M", "AFFICHE-A3", "COUSSIN-45", "FRAME-A4-CHENE"),
}
FRAMED = 4  # place of the SKU in each list that goes to a fulfiller of its own
ROUTES = {"FRAME-": "framer"}  # the OMS splits an order along this rule


@dataclass(frozen=True, slots=True)
class Line:
    sku: str
    quantity: int = 1
    unit_price: float = 12.0
    state: str | None = None  # None: that of the order


# ---- an order as JSON (10.1), with invented people marked "Canary" ----------------------------------------

FIRST_NAMES = ("Nora", "Imran", "Chloé", "Tom", "Aoife", "Léa", "Priya", "Jürgen")
LAST_NAMES = ("Whitfield", "Sadiq", "Béranger", "O'Neill", "Marchand", "Lindqvist", "Okafor", "Weiß")


def build_order(
    marketplace: Marketplace,
    order_id: str,
    *,
    created: datetime,
    lines: Sequence[Line],
    state: str = "WAITING_ACCEPTANCE",
    workflow: str = "PAY_ON_ACCEPTANCE",
    shipping_type: str | None = None,
    person: int = 0,
    tracking: str | None = None,
    decided_by_hand: bool = False,
) -> Json:
    """A whole order in a given state. `person` picks the invented customer and the address's oddities."""
    kind = next((one for one in marketplace.shipping_types if one.code == shipping_type), None)
    kind = kind or marketplace.shipping_types[0]
    made = stamp(created)
    shippable = state in ("SHIPPING", *SENT)
    debited = made if shippable and workflow == "PAY_ON_ACCEPTANCE" else None
    shown_lines = [
        _line(marketplace, f"{order_id}-{index}", index, line, made=made, debited=debited, state=state)
        for index, line in enumerate(lines, 1)
    ]
    if state in SENT:
        for line in shown_lines:
            line["shipped_date"] = made
    carrier = marketplace.carriers[0] if tracking else None
    url = carrier.tracking_url if carrier else None
    totals = {
        name: round(sum(line[name] for line in shown_lines), 2)
        for name in ("price", "shipping_price", "total_price", "total_commission")
    }
    return (
        totals
        | {
            "acceptance_decision_date": made if decided_by_hand else None,
            "can_cancel": False,  # the simulator keeps these two
            "can_shop_ship": False,
            "channel": None if person % 7 == 3 else {"code": marketplace.channel, "label": "Web shop"},
            "commercial_id": order_id.rsplit("-", 1)[0],
            "created_date": made,
            "currency_iso_code": marketplace.currency,
            "customer": _customer(marketplace, person),
            "customer_debited_date": debited,
            "customer_directly_pays_seller": False,
            "customer_notification_email": f"canary+{person:05d}@notification.example",
            "delivery_date": None,
            "discount_campaigns": [],
            "fulfillment": {"center": {"code": OWN_CENTER}},
            "fully_refunded": False,
            "has_customer_message": False,
            "has_incident": False,
            "has_invoice": False,
            "invoice_details": None,
            "last_updated_date": made,
            "leadtime_to_ship": 3,
            "order_additional_fields": [{"code": "gift-wrap", "type": "BOOLEAN", "value": "true"}]
            if person % 5 == 0
            else [],
            "order_id": order_id,
            "order_lines": shown_lines,
            "order_refunds": None,
            "order_state": state,
            "order_state_reason_code": None,
            "order_state_reason_label": None,
            "order_tax_mode": "TAX_INCLUDED",
            "order_taxes": None,
            "paymentType": "CARD",
            "payment_duration": 30 if workflow == "PAY_ON_DUE_DATE" else None,
            "payment_type": "CARD",
            "payment_workflow": workflow,
            "promotions": {} if person % 6 == 1 else {"applied_promotions": [], "total_deduced_amount": 0.0},
            "quote_id": None,
            "references": {"order_reference_for_customer": f"PO-{person}", "order_reference_for_seller": None}
            if person % 4 == 0
            else None,
            "shipping_carrier_code": carrier.code if carrier else None,
            "shipping_carrier_standard_code": None,
            "shipping_company": carrier.label if carrier else None,
            "shipping_deadline": stamp(created + timedelta(days=3)) if shippable else None,
            "shipping_pudo_id": None,
            "shipping_tracking": tracking,
            "shipping_tracking_url": url.replace("{trackingId}", tracking) if url and tracking else None,
            "shipping_type_code": kind.code,
            "shipping_type_label": kind.label,
            "shipping_type_standard_code": f"CU_ADD-{kind.code}",
            "shipping_zone_code": marketplace.country[:2],
            "shipping_zone_label": marketplace.country_label,
            "transaction_date": debited,
            "transaction_number": f"psp-{order_id}" if debited else None,
        }
    )


def _customer(marketplace: Marketplace, person: int) -> Json:
    names = {
        "civility": ("Mrs", "Mr", None)[person % 3],
        "firstname": f"{FIRST_NAMES[person % len(FIRST_NAMES)]}-Canary",
        "lastname": f"Canary-{LAST_NAMES[person // 3 % len(LAST_NAMES)]}",
    }
    # Some real payloads have no country code, only a label in the operator's spelling.
    label_only = person % 17 == 5
    address = names | {
        "city": "Canaryford" if marketplace.country == "GBR" else "Canary-sur-Seine",
        "company": f"Canary Studio {person}" if person % 4 == 2 else None,
        "company_2": None,
        "country": marketplace.country_label.upper() if label_only else marketplace.country_label,
        "country_iso_code": None if label_only else marketplace.country,
        "phone": f"+44 0000 CANARY {person:05d}",
        "phone_secondary": None,
        "state": None,
        "street_1": f"{person % 90 + 1} Canary Row",
        "street_2": ("", None, "Canary Yard")[person % 3],
        "zip_code": "BS1 4QA" if marketplace.country == "GBR" else "75011",
    }
    delivery = "Leave with Canary at reception" if person % 4 == 1 else None
    return names | {
        "accounting_contact": None,
        "billing_address": address,
        "customer_id": f"cust-canary-{person}",
        "delivery_contact": None,
        "locale": marketplace.locale,
        "organization": None,
        "shipping_address": address | {"additional_info": delivery},
    }


def _line(
    marketplace: Marketplace,
    line_id: str,
    index: int,
    line: Line,
    *,
    state: str,
    made: str,
    debited: str | None,
) -> Json:
    state = line.state or state
    price = round(line.unit_price * line.quantity, 2)
    shipping = 4.95 if index == 1 else 0.0
    commission = round(price * 0.15, 2)
    commission_tax = round(commission * 0.2, 2)
    open_line = state not in ("REFUSED", "CANCELED")
    return {
        "can_refund": debited is not None and open_line,
        "cancelations": [],
        "category_code": line.sku.partition("-")[0],
        "category_label": line.sku.partition("-")[0].capitalize(),
        "commission_fee": commission,
        "commission_rate_vat": 20.0,
        "commission_taxes": [{"amount": commission_tax, "code": "TAXDEFAULT", "rate": 20.0}],
        "commission_vat": commission_tax,
        "created_date": made,
        "debited_date": debited if open_line else None,
        "description": None,
        "last_updated_date": made,
        "offer_id": 41000 + index,
        "offer_sku": line.sku,
        "offer_state_code": "11",
        "order_line_additional_fields": [
            {"code": "personalisation-text", "type": "STRING", "value": "Happy 40th, Canary"}
        ]
        if index == 2
        else [],
        "order_line_id": line_id,
        "order_line_index": index,
        "order_line_state": state,
        "order_line_state_reason_code": None if open_line else "OUT_OF_STOCK",
        "order_line_state_reason_label": None if open_line else "Out of stock",
        "origin_unit_price": line.unit_price,
        "price": price,
        "price_additional_info": None,
        "price_unit": line.unit_price,
        "product_medias": [{"media_url": "/media/product/image/4d1e", "mime_type": "JPEG", "type": "SMALL"}],
        "product_shop_sku": line.sku,
        "product_sku": f"MKP{abs(index * 3907):012d}",
        "product_title": f"{line.sku.replace('-', ' ').capitalize()}, personalised",
        "promotions": [],
        "quantity": line.quantity,
        "received_date": None,
        "refunds": [],
        "shipped_date": None,
        "shipping_from": {
            "address": {"city": "Leeds", "country_iso_code": marketplace.country},
            "warehouse": None,
        },
        "shipping_price": shipping,
        "shipping_taxes": [_tax(shipping)] if shipping else [],
        "taxes": [_tax(price)],
        "total_commission": round(commission + commission_tax, 2),
        "total_price": round(price + shipping, 2),
    }


def _tax(gross: float) -> Json:
    return {
        "amount": round(gross / 6, 2),
        "code": "VAT",
        "rate": 20.0,
        "tax_calculation_rule": "PROPORTIONAL_TO_AMOUNT",
    }


# ---- lives ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Life:
    """One order: what it is made of, and what is expected to have happened to it in the end."""

    marketplace: str
    order_id: str
    story: str
    number: int
    seed: int
    arrives_at_seconds: float
    workflow: str
    shipping_type: str
    lines: tuple[Line, ...]
    messages: tuple[tuple[str, str], ...]  # (kind of sender, body)
    trackings: tuple[str, ...]  # every number that somebody will report, in the order of dispatch
    ends: str  # shipped, refused, canceled
    accepted_by: str | None
    imported: bool
    shipped_by: str | None
    last_tracking: str | None


class Stage:
    """One life's hands: what the two remotes and the people around them do to its order."""

    def __init__(
        self, life: Life, mirakl: MiraklSimulator, oms: OmsSimulator, company_ref_id: int, speed: float
    ) -> None:
        self.life, self.mirakl, self.oms, self.company_ref_id = life, mirakl, oms, company_ref_id
        self.speed = speed
        self.order_id = life.order_id
        self.random = random.Random(f"{life.seed}/{life.order_id}")
        self.finished = False

    def pause(self, least_seconds: float, most_seconds: float) -> float:
        return self.random.uniform(least_seconds, most_seconds)

    def state(self) -> str | None:
        return self.mirakl.state(self.order_id)

    def is_in(self, *states: str) -> Callable[[], bool]:
        return lambda: self.state() in states

    # -- at Mirakl

    def arrive(
        self,
        state: str = "WAITING_ACCEPTANCE",
        history: Sequence[tuple[str, str]] = (),
        tracking: str | None = None,
    ) -> Script:
        """The order appears; a fifth of those that wait for the seller spend a moment in STAGING."""
        life = self.life
        yield life.arrives_at_seconds
        now = self.mirakl.now()
        staged = state == "WAITING_ACCEPTANCE" and self.random.random() < 0.2
        order = build_order(
            self.mirakl.marketplace,
            self.order_id,
            created=now if state in ("STAGING", "WAITING_ACCEPTANCE") else now - timedelta(hours=2),
            lines=life.lines,
            state="STAGING" if staged else state,
            workflow=life.workflow,
            shipping_type=life.shipping_type,
            person=life.number,
            tracking=tracking,
            decided_by_hand=("accepted", "person") in history,
        )
        with self.mirakl.lock:  # nobody sees the order without its messages
            self.mirakl.add_order(order, history)
            for sender, body in life.messages:
                self.mirakl.post_message(self.order_id, body, sender)
        if staged:
            yield self.pause(0.2, 1.5)
            self.mirakl.release_staging(self.order_id)

    def accepted(self) -> Script:
        yield lambda: self.state() not in ("STAGING", "WAITING_ACCEPTANCE")

    def debit_begins(self) -> Script:
        yield from self.accepted()
        yield self.pause(0.2, 1.0)
        self.mirakl.advance_debit(self.order_id)
        yield self.pause(0.3, 3.0)

    def debit(self) -> Script:
        """The debit between acceptance and shipping, in the one workflow that has it."""
        if self.life.workflow == "PAY_ON_ACCEPTANCE":
            yield from self.debit_begins()
            self.mirakl.confirm_debit(self.order_id)

    def late_debit(self) -> Script:
        """The debit after shipping (4.4)."""
        workflow = self.life.workflow
        if workflow == "PAY_ON_SHIPMENT":
            yield self.is_in(*DEBIT)
        elif workflow in ("PAY_ON_DELIVERY", "PAY_ON_DUE_DATE"):
            yield self.is_in("SHIPPED")
            yield self.pause(0.5, 2.0)
            if workflow == "PAY_ON_DUE_DATE":
                self.mirakl.mark_received(self.order_id)
                yield self.pause(0.5, 1.0)
            self.mirakl.advance_debit(self.order_id)
            self.mirakl.advance_debit(self.order_id)
        else:
            return
        yield self.pause(0.5, 3.0)
        self.mirakl.confirm_debit(self.order_id)

    def shipped(self) -> Script:
        """Mirakl shows the order shipped, with the number that it is expected to end with."""
        yield from self.late_debit()
        yield self.is_in(*SENT)
        yield lambda: self.mirakl.tracking(self.order_id) == self.life.last_tracking
        if self.life.workflow == "PAY_ON_ACCEPTANCE" and self.random.random() < 0.3:
            yield self.pause(1.0, 3.0)
            self.mirakl.mark_received(self.order_id)
            if self.random.random() < 0.5:
                yield self.pause(0.5, 1.0)
                self.mirakl.close(self.order_id)

    # -- at the OMS

    def imported(self) -> Script:
        yield lambda: self.oms.holds(self.order_id, self.company_ref_id)

    def produced(self) -> Script:
        """From the import to the packed parcel."""
        yield from self.imported()
        for status in (512, 513, 4)[: self.random.randint(0, 3)]:
            yield self.pause(0.2, 0.8)
            self.oms.progress(self.order_id, status, self.company_ref_id)
        yield self.pause(1.0, 2.6)

    def carrier(self) -> str:
        """A registered carrier as the fulfiller writes it: the label, not always in Mirakl's case."""
        carriers = self.mirakl.marketplace.carriers
        label = carriers[self.life.number % len(carriers)].label
        return label.upper() if self.life.number % 5 == 4 else label

    def parcel(self, tracking: str, *lines: int, **fields: Any) -> Shipment:
        """Lines by index; quantities as ordered."""
        chosen = tuple((f"{self.order_id}-{index + 1}", self.life.lines[index].quantity) for index in lines)
        ref = self.company_ref_id
        return self.oms.shipment(self.order_id, tracking, lines=chosen, company_ref_id=ref, **fields)

    def dispatch(self, status: int = 8, tracking: str | None = None, **fields: Any) -> list[Shipment]:
        carrier = fields.pop("carrier", self.carrier())
        return self.oms.dispatch(
            self.order_id, self.company_ref_id, status=status, tracking=tracking, carrier=carrier, **fields
        )


@dataclass(frozen=True, slots=True)
class Story:
    """What is special about a life. The defaults are those of a plain one."""

    script: Callable[[Stage], Script]
    marketplaces: tuple[str, ...] = ("alpha", "beta")
    workflow: str = "PAY_ON_ACCEPTANCE"
    lines: tuple[int, int] = (1, 1)  # at least, at most
    trackings: int = 1  # how many numbers are reported; the last one is expected to stay
    keeps_tracking: int | None = -1  # which of them stays; None: no number at all
    shipping_type: int | None = None  # place in the marketplace's list; None: any
    messages: bool = False
    ends: str = "shipped"
    accepted_by: str | None = "api"
    imported: bool = True
    shipped_by: str | None = "api"
    adjust: Callable[[str, list[Line]], list[Line]] = field(default=lambda _, lines: lines)


def _until_packed(stage: Stage) -> Script:
    yield from stage.arrive()
    yield from stage.debit()
    yield from stage.produced()


def _plain(stage: Stage) -> Script:
    yield from _until_packed(stage)
    zero_date = stage.life.number % 9 == 2 and len(stage.life.lines) == 1
    if zero_date:
        parcel = stage.parcel(stage.life.trackings[0], 0, dispatched_at=None)
        stage.dispatch(shipments=[parcel])
    else:
        stage.dispatch(tracking=stage.life.trackings[0])
    yield from stage.shipped()


def _then(*statuses: int, repeat: bool = False) -> Callable[[Stage], Script]:
    """8, then further dispatched statuses with the same tracking; `repeat`: with the same parcels too."""

    def script(stage: Stage) -> Script:
        yield from _until_packed(stage)
        parcels = stage.dispatch(tracking=stage.life.trackings[0])
        for status in statuses:
            yield stage.pause(0.3, 1.5)
            stage.dispatch(status, stage.life.trackings[0], shipments=parcels if repeat else [])
        yield from stage.shipped()

    return script


def _dispatch_grows(stage: Stage) -> Script:
    yield from _until_packed(stage)
    number = stage.life.trackings[0]
    stage.dispatch(shipments=[stage.parcel(number, 0)])
    yield stage.pause(0.3, 1.5)
    stage.dispatch(516, shipments=[stage.parcel(number, 1)])
    yield from stage.shipped()


def _bare_dispatch(stage: Stage) -> Script:
    yield from _until_packed(stage)
    stage.dispatch(carrier="")
    yield from stage.shipped()


def _tracking_comes_late(stage: Stage) -> Script:
    yield from _until_packed(stage)
    stage.dispatch(carrier="")
    yield stage.pause(1.0, 2.0)
    stage.dispatch(516, stage.life.trackings[0], shipments=[])
    yield from stage.shipped()


def _unknown_carrier(stage: Stage) -> Script:
    yield from _until_packed(stage)
    url = f"https://track.example/pigeon/{stage.life.trackings[0]}"
    parcel = stage.parcel(stage.life.trackings[0], 0, tracking_url=url)
    stage.dispatch(shipments=[parcel], carrier="Pigeon & Sons")
    yield from stage.shipped()


def _tracking_corrected(stage: Stage) -> Script:
    yield from _until_packed(stage)
    first, second = stage.life.trackings
    stage.dispatch(tracking=first)
    yield stage.is_in(*SENT)
    yield stage.pause(0.5, 1.5)
    # A parcel without lines: the goods are the same, only the label is new.
    stage.dispatch(64, shipments=[stage.parcel(second)])
    yield from stage.shipped()


def _notified_twice(stage: Stage) -> Script:
    yield from _until_packed(stage)
    stage.dispatch(tracking=stage.life.trackings[0], times=2, repeat_after_seconds=0.5 / stage.speed)
    yield from stage.shipped()


def _status_only(stage: Stage) -> Script:
    yield from _until_packed(stage)
    stage.dispatch(tracking=stage.life.trackings[0], shipments=[])
    yield from stage.shipped()


def _split(stage: Stage) -> Script:
    yield from _until_packed(stage)
    for part, number in enumerate(stage.life.trackings):
        stage.dispatch(tracking=number, part=part)
        yield stage.pause(0.5, 2.0)
    yield from stage.shipped()


def _two_parcels(stage: Stage) -> Script:
    yield from _until_packed(stage)
    first, second = stage.life.trackings
    stage.dispatch(515, shipments=[stage.parcel(first, 0)])
    yield stage.pause(0.5, 2.0)
    stage.dispatch(shipments=[stage.parcel(second, 1)])
    yield from stage.shipped()


def _two_parcels_reversed(stage: Stage) -> Script:
    yield from _until_packed(stage)
    first, second = stage.life.trackings
    stage.dispatch(515, shipments=[stage.parcel(first, 0)], delay_seconds=1.0 / stage.speed)
    stage.dispatch(shipments=[stage.parcel(second, 1)])
    yield from stage.shipped()


def _dispatch_before_answer(stage: Stage) -> Script:
    # Below any sensible timeout of the caller: the answer comes, only later than the event.
    slow = Fault("order", "slow", order_id=stage.order_id, hold_seconds=4.0)
    stage.oms.knobs.faults.append(slow)
    yield from stage.arrive()
    yield from stage.debit()
    yield from stage.imported()
    stage.dispatch(tracking=stage.life.trackings[0])
    yield lambda: stage.oms.delivered(stage.order_id, stage.company_ref_id) > 0
    yield stage.pause(0.2, 0.5)
    slow.release()
    yield from stage.shipped()


def _unknown_sku(stage: Stage) -> Script:
    yield from stage.arrive()
    yield stage.is_in("WAITING_ACCEPTANCE")
    yield 8.0
    stage.mirakl.refuse_by_deadline(stage.order_id)
    yield stage.is_in("REFUSED")


def _canceled_in_staging(stage: Stage) -> Script:
    yield from stage.arrive("STAGING")
    yield stage.pause(0.5, 2.0)
    stage.mirakl.cancel(stage.order_id, by="customer")


def _canceled_in_debit(stage: Stage) -> Script:
    yield from stage.arrive()
    yield from stage.debit_begins()
    stage.mirakl.cancel(stage.order_id, by="customer")


def _debit_failed(stage: Stage) -> Script:
    yield from stage.arrive()
    yield from stage.debit_begins()
    stage.mirakl.refuse_debit(stage.order_id)


def _canceled_after_import(stage: Stage) -> Script:
    yield from stage.arrive()
    yield from stage.debit()
    yield from stage.imported()
    yield stage.pause(0.5, 2.0)
    stage.mirakl.cancel(stage.order_id, by="marketplace", reason="OPERATOR_DECISION")
    yield stage.pause(0.5, 2.0)
    if stage.life.number % 2:  # the other half never hears of the OMS again
        stage.oms.cancel(stage.order_id, stage.company_ref_id)


def _line_refused(stage: Stage) -> Script:
    yield from stage.arrive("SHIPPING", [("accepted", "person"), ("debited", "marketplace")])
    yield from stage.produced()
    stage.dispatch(tracking=stage.life.trackings[0])
    yield from stage.shipped()


def _line_canceled(stage: Stage) -> Script:
    yield from stage.arrive()
    yield from stage.debit_begins()
    stage.mirakl.cancel_line(stage.order_id, f"{stage.order_id}-2", by="customer")
    stage.mirakl.confirm_debit(stage.order_id)
    yield from stage.produced()
    stage.dispatch(tracking=stage.life.trackings[0])
    yield from stage.shipped()


def _seen_shipping(stage: Stage) -> Script:
    yield from stage.arrive("SHIPPING", [("accepted", "marketplace"), ("debited", "marketplace")])
    yield from stage.produced()
    stage.dispatch(tracking=stage.life.trackings[0])
    yield from stage.shipped()


def _seen_sent(state: str) -> Callable[[Stage], Script]:
    def script(stage: Stage) -> Script:
        history = [("accepted", "person"), ("debited", "marketplace"), ("shipped", "person")]
        yield from stage.arrive(state, history, tracking=stage.life.trackings[0])

    return script


def _accepted_in_portal(stage: Stage) -> Script:
    yield from stage.arrive("STAGING")
    yield stage.pause(0.3, 1.0)
    with stage.mirakl.lock:  # the person is quicker than any poll
        stage.mirakl.release_staging(stage.order_id)
        stage.mirakl.accept_in_portal(stage.order_id)
    yield from stage.debit()
    yield from stage.produced()
    stage.dispatch(tracking=stage.life.trackings[0])
    yield from stage.shipped()


def _shipped_in_portal(stage: Stage) -> Script:
    yield from stage.arrive()
    yield from stage.debit()
    yield from stage.imported()
    yield stage.pause(0.5, 1.5)
    stage.mirakl.ship_in_portal(stage.order_id)
    yield stage.pause(1.0, 3.0)
    stage.dispatch(tracking=stage.life.trackings[0])
    yield from stage.shipped()


def _shipped_in_portal_with_tracking(stage: Stage) -> Script:
    by_hand, by_oms = stage.life.trackings
    yield from stage.arrive()
    yield from stage.debit()
    yield from stage.imported()
    yield stage.pause(0.5, 1.5)
    stage.mirakl.ship_in_portal(stage.order_id, tracking=by_hand)
    # A number that nobody here has read yet may be overwritten; this one has been read.
    yield lambda: stage.mirakl.listed_since_change(stage.order_id)
    yield stage.pause(2.0, 3.0)
    stage.dispatch(tracking=by_oms)
    yield stage.pause(2.0, 3.0)
    yield from stage.shipped()


def _refuse_last(_: str, lines: list[Line]) -> list[Line]:
    *kept, last = lines
    return [*kept, Line(last.sku, last.quantity, last.unit_price, state="REFUSED")]


def _unknown_first(_: str, lines: list[Line]) -> list[Line]:
    return [Line("UNKNOWN-" + lines[0].sku, lines[0].quantity, lines[0].unit_price), *lines[1:]]


def _framed_last(marketplace: str, lines: list[Line]) -> list[Line]:
    return [*lines[:-1], Line(KNOWN_SKUS[marketplace][FRAMED])]


STORIES: dict[str, Story] = {
    # Accept, debit, import, one dispatch with carrier and number.
    "plain": Story(_plain),
    # The same with two to four lines.
    "several_lines": Story(_plain, lines=(2, 4)),
    # The customer wrote one to three messages, with <br />; the shop's reply must not count.
    "messages": Story(_plain, messages=True),
    # First seen SHIPPING, accepted by a person who refused one line: that line is not imported.
    "line_refused": Story(_line_refused, lines=(2, 4), accepted_by="person", adjust=_refuse_last),
    # One line is canceled by the customer during the debit.
    "line_canceled": Story(_line_canceled, lines=(2, 3)),
    # A SKU that the seller does not know: nobody accepts, the deadline refuses.
    "unknown_sku": Story(
        _unknown_sku,
        marketplaces=("beta",),
        trackings=0,
        adjust=_unknown_first,
        ends="refused",
        accepted_by=None,
        imported=False,
        shipped_by=None,
    ),
    # Canceled by the customer before anybody could accept.
    "canceled_in_staging": Story(
        _canceled_in_staging,
        trackings=0,
        ends="canceled",
        accepted_by=None,
        imported=False,
        shipped_by=None,
    ),
    # Canceled by the customer between acceptance and import.
    "canceled_in_debit": Story(_canceled_in_debit, trackings=0, ends="canceled", imported=False, shipped_by=None),
    # Canceled by the operator after the import; the OMS cancels too, or never speaks of it again.
    "canceled_after_import": Story(_canceled_after_import, trackings=0, ends="canceled", shipped_by=None),
    # The payment fails.
    "debit_failed": Story(_debit_failed, trackings=0, ends="canceled", imported=False, shipped_by=None),
    # First seen late: accepted automatically, already SHIPPING.
    "seen_shipping": Story(_seen_shipping, accepted_by="marketplace"),
    # First seen late: a person has shipped it already.
    "seen_shipped": Story(_seen_sent("SHIPPED"), accepted_by="person", imported=False, shipped_by="person"),
    # First seen late: the customer even has it.
    "seen_received": Story(_seen_sent("RECEIVED"), accepted_by="person", imported=False, shipped_by="person"),
    # A person accepts in the portal before we could.
    "accepted_in_portal": Story(_accepted_in_portal, accepted_by="person"),
    # A person ships in the portal after our import, without a number; the OMS's number still goes out.
    "shipped_in_portal": Story(_shipped_in_portal, shipped_by="person", shipping_type=0),
    # The same with a number of the person's: it stays.
    "shipped_in_portal_with_tracking": Story(
        _shipped_in_portal_with_tracking, trackings=2, keeps_tracking=0, shipped_by="person"
    ),
    # The dispatch event comes before the import's POST is answered.
    "dispatch_before_answer": Story(_dispatch_before_answer),
    # 8, then 64: the status alone, same number.
    "dispatch_8_64": Story(_then(64)),
    # 8, then 516 with the same parcels again.
    "dispatch_8_516": Story(_then(516, repeat=True)),
    # 8 with the first line, then 516 with the second under the same number.
    "dispatch_grows": Story(_dispatch_grows, lines=(2, 2)),
    # Neither number nor carrier, no mandatory tracking: shipped all the same.
    "bare_dispatch": Story(_bare_dispatch, marketplaces=("alpha",), trackings=0, keeps_tracking=None, shipping_type=0),
    # Mandatory tracking: 8 without a number, 516 brings it.
    "tracking_comes_late": Story(_tracking_comes_late, marketplaces=("beta",), shipping_type=1),
    # A carrier that Mirakl does not know, as free text.
    "unknown_carrier": Story(_unknown_carrier),
    # 8 with one number, after shipping a 64 with another and a newer dispatch time: the second stays.
    "tracking_corrected": Story(_tracking_corrected, trackings=2),
    # The same notification twice.
    "notified_twice": Story(_notified_twice),
    # No shipment in the list; the number is the order's.
    "status_only": Story(_status_only, lines=(1, 2)),
    # The OMS splits the order; each part is dispatched on its own.
    "split": Story(_split, lines=(2, 3), trackings=2, adjust=_framed_last),
    # Two parcels in two events.
    "two_parcels": Story(_two_parcels, lines=(2, 2), trackings=2),
    # Two parcels, the later one reported first.
    "two_parcels_reversed": Story(_two_parcels_reversed, lines=(2, 2), trackings=2),
    # Debit after the ship call.
    "pay_on_shipment": Story(_plain, workflow="PAY_ON_SHIPMENT"),
    # Debit at delivery.
    "pay_on_delivery": Story(_plain, workflow="PAY_ON_DELIVERY"),
    # Debit after the customer has it.
    "pay_on_due_date": Story(_plain, workflow="PAY_ON_DUE_DATE"),
    # No debit that Mirakl hears of.
    "no_payment": Story(_plain, workflow="NO_CUSTOMER_PAYMENT_CONFIRMATION"),
}

BODIES = (
    'Please print the caption:<br />"Canary & Sons, est. 1987"',
    "One more thing: the Canary in blue, please.<br />Thank you",
    "Is it &lt;gift wrapped&gt;? It is for Canary's birthday.",
)


def make_lives(orders: int, seed: int, marketplaces: Sequence[Marketplace] = (ALPHA, BETA)) -> list[Life]:
    """Deterministic. About 65 % are plain; from 100 orders on every story occurs."""
    chance = random.Random(seed)
    special = [name for name in STORIES if name != "plain"]
    chance.shuffle(special)
    turns = cycle(special)
    names = ["plain" if index % 20 < 13 else next(turns) for index in range(orders)]
    chance.shuffle(names)
    spread_seconds = 35.0 * orders / 200  # 200 orders arrive within 35 s, more in proportion
    lives = []
    for number, name in enumerate(names):
        # A story whose marketplace is not there makes room for a plain one.
        fitting = [one for one in marketplaces if one.name in STORIES[name].marketplaces]
        story, place = (name, chance.choice(fitting)) if fitting else ("plain", chance.choice(marketplaces))
        lives.append(_life(number, story, place, seed, chance.uniform(0, spread_seconds)))
    return lives


def _life(number: int, name: str, marketplace: Marketplace, seed: int, arrives_at_seconds: float) -> Life:
    chance = random.Random(f"{seed}/{number}/{name}")
    story = STORIES[name]
    skus = KNOWN_SKUS[marketplace.name][:FRAMED]
    lines = [
        Line(chance.choice(skus), chance.choice((1, 1, 1, 2, 3)), chance.choice((9.5, 12.0, 24.9)))
        for _ in range(chance.randint(*story.lines))
    ]
    messages = []
    if story.messages:
        messages = [("CUSTOMER_USER", body) for body in BODIES[: chance.randint(1, 3)]]
        messages.insert(1, ("SHOP_USER", "Thank you, Canary, we will see to it."))
    prefix = "JD" if marketplace.name == "alpha" else "6A"
    trackings = tuple(f"{prefix}{number:06d}{chance.randint(1000, 9999)}{i}" for i in range(story.trackings))
    kinds = marketplace.shipping_types
    kind = kinds[story.shipping_type] if story.shipping_type is not None else chance.choice(kinds)
    keeps = story.keeps_tracking
    return Life(
        marketplace=marketplace.name,
        order_id=_order_id(marketplace, number),
        story=name,
        number=number,
        seed=seed,
        arrives_at_seconds=arrives_at_seconds,
        workflow=story.workflow,
        shipping_type=kind.code,
        lines=tuple(story.adjust(marketplace.name, lines)),
        messages=tuple(messages),
        trackings=trackings,
        ends=story.ends,
        accepted_by=story.accepted_by,
        imported=story.imported,
        shipped_by=story.shipped_by,
        last_tracking=trackings[keeps] if trackings and keeps is not None else None,
    )


def _order_id(marketplace: Marketplace, number: int) -> str:
    """Each operator has a shape of its own; nobody may parse them (4.1)."""
    if marketplace.name == "alpha":
        return f"{70_014_000 + number}-A"
    return f"C{number:09d}FR-B"


class World:
    """Performs what is due. Delays are written for a run of about a minute; `speed` divides them."""

    def __init__(
        self,
        lives: Sequence[Life],
        simulators: Mapping[str, MiraklSimulator],
        oms: OmsSimulator,
        speed: float = 1.0,
        companies: Mapping[str, int] = COMPANIES,
    ) -> None:
        self.lives = tuple(lives)
        self._speed = speed
        self._oms = oms
        self._stages = [
            Stage(life, simulators[life.marketplace], oms, companies[life.marketplace], speed) for life in lives
        ]
        # (stage, script, what it waits for): a time since the start, or a condition
        self._waiting: list[tuple[Stage, Script, float | Callable[[], bool]]] = [
            (stage, STORIES[stage.life.story].script(stage), 0.0) for stage in self._stages
        ]

    def tick(self, elapsed_seconds: float) -> None:
        """Everything that is due up to now."""
        waiting = []
        for stage, script, wait in self._waiting:
            left = self._run(script, wait, elapsed_seconds)
            if left is None:
                stage.finished = True
            else:
                waiting.append((stage, script, left))
        self._waiting = waiting

    def _run(
        self, script: Script, wait: float | Callable[[], bool], elapsed_seconds: float
    ) -> float | Callable[[], bool] | None:
        """On until it has to wait again; None when it is over. A script has at most a few dozen steps."""
        while wait() if callable(wait) else wait <= elapsed_seconds:
            since = elapsed_seconds if callable(wait) else wait
            try:
                step = next(script)
            except StopIteration:
                return None
            # Delays count from when they were due, so that a coarse tick makes no life longer.
            wait = step if callable(step) else since + step / self._speed
        return wait

    def settled(self) -> bool:
        """Nothing is left to happen, every order is at its expected end, every notification is gone."""
        return not self._waiting and not self.unsettled() and self._oms.pending() == 0

    def unsettled(self) -> list[Life]:
        return [stage.life for stage in self._stages if not (stage.finished and _at_end(stage))]

    def progress(self) -> dict[str, int]:
        """How many lives are where."""
        counts = Counter("to come" if stage.state() is None else str(stage.state()).lower() for stage in self._stages)
        settled = len(self._stages) - len(self.unsettled())
        return {"lives": len(self._stages), "settled": settled, **counts}


def _at_end(stage: Stage) -> bool:
    life, state = stage.life, stage.state()
    if life.ends != "shipped":
        return state == life.ends.upper()
    return state in SENT and stage.mirakl.tracking(life.order_id) == life.last_tracking
