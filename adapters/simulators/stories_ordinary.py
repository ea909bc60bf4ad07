"""The stories: what customers, operators and the OMS do to an order, one generator for each kind of life.

Ordinary lives are here. Unusual ones are in stories_mirakl.py, stories_withdrawn.py and stories_oms.py.
ORDINARY, at the end, says what each script plays. A number such as 516 in `dispatch` is a status of the OMS
(docs/kornitx.md 8.1).
"""

from collections.abc import Callable, Sequence
from typing import Final

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl.model import SENT
from adapters.simulators.orders import FRAMED, KNOWN_SKUS, Line
from adapters.simulators.stage import Script, Stage
from adapters.simulators.story import Story, all_of, unknown_first, until_packed


def _plain(stage: Stage) -> Script:
    yield from until_packed(stage)
    zero_date = stage.life.number % 9 == 2 and len(stage.life.lines) == 1
    if zero_date:
        parcel = stage.parcel(stage.life.trackings[0], 0, dispatched_at=None)
        stage.dispatch(shipments=[parcel])
    else:
        stage.dispatch(tracking=stage.life.trackings[0])
    yield from stage.shipped()


def _then(*statuses: int, repeat: bool = False) -> Callable[[Stage], Script]:
    """Make a script: status 8, then these statuses with the same tracking, and with `repeat` the same parcels too."""

    def script(stage: Stage) -> Script:
        yield from until_packed(stage)
        parcels = stage.dispatch(tracking=stage.life.trackings[0])
        for status in statuses:
            yield stage.pause(0.3, 1.5)
            stage.dispatch(status, stage.life.trackings[0], shipments=parcels if repeat else [])
        yield from stage.shipped()

    return script


def _dispatch_grows(stage: Stage) -> Script:
    yield from until_packed(stage)
    number = stage.life.trackings[0]
    stage.dispatch(shipments=[stage.parcel(number, 0)])
    yield stage.pause(0.3, 1.5)
    stage.dispatch(516, shipments=[stage.parcel(number, 1)])
    yield from stage.shipped()


def _bare_dispatch(stage: Stage) -> Script:
    yield from until_packed(stage)
    stage.dispatch(carrier="")
    yield from stage.shipped()


def _tracking_comes_late(stage: Stage) -> Script:
    yield from until_packed(stage)
    stage.dispatch(carrier="")
    yield stage.pause(1.0, 2.0)
    stage.dispatch(516, stage.life.trackings[0], shipments=[])
    yield from stage.shipped()


def _unknown_carrier(stage: Stage) -> Script:
    yield from until_packed(stage)
    url = f"https://track.example/pigeon/{stage.life.trackings[0]}"
    parcel = stage.parcel(stage.life.trackings[0], 0, tracking_url=url)
    stage.dispatch(shipments=[parcel], carrier="Pigeon & Sons")
    yield from stage.shipped()


def _tracking_corrected(stage: Stage) -> Script:
    yield from until_packed(stage)
    first, second = stage.life.trackings
    stage.dispatch(tracking=first)
    yield stage.is_in(*SENT)
    yield stage.pause(0.5, 1.5)
    # A parcel without lines: the same goods with a new label.
    stage.dispatch(64, shipments=[stage.parcel(second)])
    yield from stage.shipped()


def _notified_twice(stage: Stage) -> Script:
    yield from until_packed(stage)
    stage.dispatch(tracking=stage.life.trackings[0], times=2, repeat_after_seconds=0.5 / stage.speed)
    yield from stage.shipped()


def _status_only(stage: Stage) -> Script:
    yield from until_packed(stage)
    stage.dispatch(tracking=stage.life.trackings[0], shipments=[])
    yield from stage.shipped()


def _split(stage: Stage) -> Script:
    yield from until_packed(stage)
    # The OMS made fewer parts if a person refused a line. The last parcel has the last number.
    parts = stage.oms.order(stage.order_id, stage.company_ref_id).parts
    for part, number in enumerate(stage.life.trackings[-len(parts) :]):
        stage.dispatch(tracking=number, part=part)
        yield stage.pause(0.5, 2.0)
    yield from stage.shipped()


def _two_parcels(stage: Stage) -> Script:
    yield from until_packed(stage)
    first, second = stage.life.trackings
    stage.dispatch(515, shipments=[stage.parcel(first, 0)])
    yield stage.pause(0.5, 2.0)
    stage.dispatch(shipments=[stage.parcel(second, 1)])
    yield from stage.shipped()


def _two_parcels_reversed(stage: Stage) -> Script:
    yield from until_packed(stage)
    first, second = stage.life.trackings
    stage.dispatch(515, shipments=[stage.parcel(first, 0)], delay_seconds=1.0 / stage.speed)
    stage.dispatch(shipments=[stage.parcel(second, 1)])
    yield from stage.shipped()


def _dispatch_before_answer(stage: Stage) -> Script:
    # The fault holds the answer for less than the caller's timeout. So the caller gets it, but only after the event.
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
    if stage.life.number % 2:  # of the orders with an even number, the OMS reports nothing more
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
    with stage.mirakl.lock:  # the person is faster than any poll
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
    # Orderflow may overwrite a number that it has not read yet, so wait until it has read this one.
    yield lambda: stage.mirakl.listing.has_shown(stage.order_id)
    yield stage.pause(3.0, 4.0)
    stage.dispatch(tracking=by_oms)
    yield stage.pause(2.0, 3.0)
    yield from stage.shipped()


def _all_but_second(lines: Sequence[Line]) -> dict[int, int]:
    return {index: pieces for index, pieces in all_of(lines).items() if index != 1}


def _refuse_last(_: str, lines: list[Line]) -> list[Line]:
    *kept, last = lines
    return [*kept, Line(last.sku, last.quantity, last.unit_price, state="REFUSED")]


def _framed_last(marketplace: str, lines: list[Line]) -> list[Line]:
    return [*lines[:-1], Line(KNOWN_SKUS[marketplace][FRAMED])]


#: The stories of an ordinary week.
ORDINARY: Final[dict[str, Story]] = {
    # Accepted, debited, imported, dispatched once with carrier and number.
    "plain": Story(_plain),
    # As plain, with two to four lines.
    "several_lines": Story(_plain, lines=(2, 4)),
    # The customer wrote one to three messages, with <br />. The shop's reply must not be imported.
    "messages": Story(_plain, messages=True),
    # First seen in SHIPPING. A person accepted it and refused one line, which must not be imported.
    "line_refused": Story(_line_refused, lines=(2, 4), accepted_by="person", adjust=_refuse_last),
    # The customer cancels one line during the debit.
    "line_canceled": Story(_line_canceled, lines=(2, 3), goods=_all_but_second),
    # The seller does not know a SKU, so the order is not accepted, and Mirakl refuses it at the deadline.
    "unknown_sku": Story(
        _unknown_sku,
        marketplaces=("beta",),
        trackings=0,
        adjust=unknown_first,
        ends="refused",
        accepted_by=None,
        imported=False,
        shipped_by=None,
    ),
    # The customer cancels before the order can be accepted.
    "canceled_in_staging": Story(
        _canceled_in_staging,
        trackings=0,
        ends="canceled",
        accepted_by=None,
        imported=False,
        shipped_by=None,
    ),
    # The customer cancels between acceptance and import.
    "canceled_in_debit": Story(_canceled_in_debit, trackings=0, ends="canceled", imported=False, shipped_by=None),
    # The operator cancels after the import. The OMS then cancels too, or reports nothing more.
    "canceled_after_import": Story(_canceled_after_import, trackings=0, ends="canceled", shipped_by=None),
    # The payment fails.
    "debit_failed": Story(_debit_failed, trackings=0, ends="canceled", imported=False, shipped_by=None),
    # First seen in SHIPPING: the marketplace accepted it.
    "seen_shipping": Story(_seen_shipping, accepted_by="marketplace"),
    # First seen in SHIPPED: a person shipped it.
    "seen_shipped": Story(_seen_sent("SHIPPED"), accepted_by="person", imported=False, shipped_by="person"),
    # First seen in RECEIVED: a person shipped it, and the customer has it.
    "seen_received": Story(_seen_sent("RECEIVED"), accepted_by="person", imported=False, shipped_by="person"),
    # A person accepts in the portal, before orderflow does.
    "accepted_in_portal": Story(_accepted_in_portal, accepted_by="person"),
    # After the import, a person ships in the portal without a tracking number. Orderflow sends the OMS's number.
    "shipped_in_portal": Story(_shipped_in_portal, shipped_by="person", shipping_type=0),
    # As shipped_in_portal, but with a tracking number, which must stay.
    "shipped_in_portal_with_tracking": Story(
        _shipped_in_portal_with_tracking, trackings=2, keeps_tracking=0, shipped_by="person"
    ),
    # The dispatch event arrives before the answer to the import.
    "dispatch_before_answer": Story(_dispatch_before_answer),
    # Status 8, then 64 with the same number and no parcel.
    "dispatch_8_64": Story(_then(64)),
    # Status 8, then 516 with the same parcels again.
    "dispatch_8_516": Story(_then(516, repeat=True)),
    # Status 8 with the first line, then 516 with the second, both under the same number.
    "dispatch_grows": Story(_dispatch_grows, lines=(2, 2)),
    # The dispatch has neither number nor carrier. Tracking is not mandatory, so the order is shipped.
    "bare_dispatch": Story(_bare_dispatch, marketplaces=("alpha",), trackings=0, keeps_tracking=None, shipping_type=0),
    # Tracking is mandatory. Status 8 has no number; 516 brings the number later.
    "tracking_comes_late": Story(_tracking_comes_late, marketplaces=("beta",), shipping_type=1),
    # A carrier that is not registered at Mirakl, sent as free text.
    "unknown_carrier": Story(_unknown_carrier),
    # Status 8 has one number. After shipping, 64 has another number and a newer dispatch time, so the second one stays.
    "tracking_corrected": Story(_tracking_corrected, trackings=2),
    # The same notification twice.
    "notified_twice": Story(_notified_twice),
    # The notification has no parcel; the number is in the order's own field.
    "status_only": Story(_status_only, lines=(1, 2)),
    # The OMS splits the order; each part is dispatched on its own.
    "split": Story(_split, lines=(2, 3), trackings=2, adjust=_framed_last),
    # Two parcels in two events.
    "two_parcels": Story(_two_parcels, lines=(2, 2), trackings=2),
    # Two parcels. The event of the later parcel arrives first.
    "two_parcels_reversed": Story(_two_parcels_reversed, lines=(2, 2), trackings=2),
    # The debit comes after shipping.
    "pay_on_shipment": Story(_plain, workflow="PAY_ON_SHIPMENT"),
    # The debit comes at delivery.
    "pay_on_delivery": Story(_plain, workflow="PAY_ON_DELIVERY"),
    # The debit comes after the customer has the goods.
    "pay_on_due_date": Story(_plain, workflow="PAY_ON_DUE_DATE"),
    # Mirakl does not know whether the customer paid: there is no debit.
    "no_payment": Story(_plain, workflow="NO_CUSTOMER_PAYMENT_CONFIRMATION"),
}
