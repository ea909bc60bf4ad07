"""The lives that simulated orders live: each a script of what customers, operators and the OMS do."""

import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.mirakl.model import DEBIT, SENT
from adapters.simulators.oms.model import Shipment
from adapters.simulators.oms.oms import OmsSimulator
from adapters.simulators.orders import FRAMED, KNOWN_SKUS, Line, build_order

Script = Generator[float | Callable[[], bool], None, None]


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
        """The debit after shipping (docs/mirakl.md 4.4)."""
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
    yield lambda: stage.oms.callbacks.delivered(stage.order_id, stage.company_ref_id) > 0
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
    yield lambda: stage.mirakl.listing.has_shown(stage.order_id)
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
