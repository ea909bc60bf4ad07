"""Stories of unusual answers of Mirakl: states, dates, pages, refused reads, messages; and of decisions of a person."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from adapters.simulators.mirakl.model import SENT
from adapters.simulators.stage import Script, Stage
from adapters.simulators.story import Story, all_but_first, sends_all, unknown_first, until_packed

_ACCEPTED = [("accepted", "person")]
_PAID = [("accepted", "marketplace"), ("debited", "marketplace")]
_NO_CODE = '{"message": "Not Found", "status": 404}'


def _debit_before_shipping(stage: Stage) -> Script:
    yield from stage.arrive("WAITING_DEBIT", _ACCEPTED)
    yield stage.pause(1.0, 2.0)
    changes.put_in_state(stage.mirakl, stage.order_id, "WAITING_DEBIT_PAYMENT")
    yield stage.pause(1.0, 2.0)
    changes.put_in_state(stage.mirakl, stage.order_id, "SHIPPING")
    yield from stage.produced()
    yield from sends_all(stage)


def _one_parcel_in_portal(stage: Stage) -> Script:
    yield from until_packed(stage)
    shipped = "2026-03-01T10:00:00Z"
    changes.set_line(stage.mirakl, stage.order_id, stage.line_id(0), order_line_state="SHIPPED", shipped_date=shipped)
    changes.put_in_state(stage.mirakl, stage.order_id, "WAITING_DEBIT_PAYMENT")
    yield stage.is_listed("shipped_elsewhere")
    changes.put_in_state(stage.mirakl, stage.order_id, "SHIPPING")
    yield stage.pause(1.5, 2.0)
    yield from sends_all(stage)


def _refused_after_import(stage: Stage) -> Script:
    yield from until_packed(stage)
    changes.put_in_state(stage.mirakl, stage.order_id, "REFUSED")
    yield stage.is_listed("dead_in_mirakl")


def _unknown_state(stage: Stage) -> Script:
    yield from stage.arrive("HELD_BY_ROBOT", _PAID)
    yield stage.is_listed("unknown_state")
    yield from stage.stays(imported=False)
    changes.put_in_state(stage.mirakl, stage.order_id, "SHIPPING")
    yield from stage.produced()
    yield from sends_all(stage)


def _unknown_state_after_import(stage: Stage) -> Script:
    yield from until_packed(stage)
    changes.put_in_state(stage.mirakl, stage.order_id, "HELD_BY_ROBOT")
    yield stage.is_listed("unknown_state")
    stage.dispatch(tracking=stage.life.trackings[0])
    yield from stage.stays(imported=True)
    changes.put_in_state(stage.mirakl, stage.order_id, "SHIPPING")
    yield from stage.shipped()


def _dated_ahead(stage: Stage) -> Script:
    yield from stage.arrive("STAGING")
    yield stage.pause(0.3, 1.0)
    with stage.mirakl.lock:  # so that every read that shows WAITING_ACCEPTANCE has the date of the future
        stage.mirakl.release_staging(stage.order_id)
        changes.date_ahead(stage.mirakl, stage.order_id, timedelta(days=400))
    yield from stage.debit()
    yield from stage.produced()
    yield from sends_all(stage)


def _gone(stage: Stage) -> Script:
    yield from until_packed(stage)
    stage.mirakl.remove(stage.order_id)
    yield stage.is_listed("gone_from_mirakl")


def _shuffled(stage: Stage) -> Script:
    stage.mirakl.knobs.shuffled.add(stage.order_id)
    yield from until_packed(stage)
    yield from sends_all(stage)


def _page_of_ten(stage: Stage) -> Script:
    yield from stage.arrive()
    stage.mirakl.knobs.largest_page = 10
    yield from stage.debit()
    yield from stage.produced()
    yield from sends_all(stage)
    stage.mirakl.knobs.largest_page = 100


def _too_deep(stage: Stage) -> Script:
    yield from stage.arrive()
    with stage.mirakl.lock:
        body = stage.mirakl.listing.body(stage.order_id)
        deep = b"[" * 1200 + b"]" * 1200
        stage.mirakl.listing.set_body(stage.order_id, body[:-1] + b',"measurement":' + deep + b"}")
    yield 3.0
    changes.set_fields(stage.mirakl, stage.order_id, has_incident=False)
    yield from stage.debit()
    yield from stage.produced()
    yield from sends_all(stage)


def _faulty(*faults: Fault, of_order: bool = True) -> Callable[[Stage], Script]:
    """Make a script: a plain life with these faults. `of_order`: the faults affect only the calls about this order."""

    def script(stage: Stage) -> Script:
        for one in faults:
            copy = Fault(one.operation, one.kind, one.count, stage.order_id if of_order else None)
            copy.status, copy.content, copy.headers = one.status, one.content, one.headers
            with stage.mirakl.lock:
                stage.mirakl.knobs.faults.append(copy)
        yield from until_packed(stage)
        yield from sends_all(stage)

    return script


def _tracking_keeps_failing(stage: Stage) -> Script:
    fault = Fault("OR23", "500", 100_000, stage.order_id)
    stage.mirakl.knobs.faults.append(fault)
    yield from until_packed(stage)
    stage.dispatch(tracking=stage.life.trackings[0])
    yield stage.is_listed("retrying")
    yield stage.is_in(*SENT)
    with stage.mirakl.lock:
        stage.mirakl.knobs.faults.remove(fault)
    yield from stage.shipped()


def _messages_refused(status: int, **headers: str) -> Callable[[Stage], Script]:
    content = '{"errors": [{"message": "no"}]}'
    return _faulty(Fault("M11", "answer", 3, status=status, content=content, headers=headers))


def _held_by_person(stage: Stage) -> Script:
    yield from stage.arrive()
    yield from stage.debit_begins()
    stage.decide("hold")
    stage.mirakl.confirm_debit(stage.order_id)
    yield stage.is_listed("held")
    yield from stage.stays(imported=False)
    stage.decide("release")
    yield from stage.produced()
    yield from sends_all(stage)


def _person_decides(act: str) -> Callable[[Stage], Script]:
    def script(stage: Stage) -> Script:
        yield from stage.arrive()
        yield stage.is_listed("needs_decision")
        stage.decide(act)
        if act == "refuse":
            yield stage.is_in("REFUSED")
            return
        yield from stage.debit()
        yield from stage.produced()
        yield from sends_all(stage)

    return script


def _person_accepts_one_line(stage: Stage) -> Script:
    yield from stage.arrive()
    yield stage.is_listed("needs_decision")
    stage.decide("accept", stage.line_id(1))
    yield from stage.debit()
    yield from stage.produced()
    yield from sends_all(stage)


def _messages_nowhere(stage: Stage) -> Script:
    yield from stage.arrive()
    changes.set_fields(stage.mirakl, stage.order_id, has_customer_message=True)
    yield from stage.debit()
    yield stage.is_listed("messages_not_read")
    yield from stage.stays(imported=False)
    stage.decide("release")
    yield from stage.produced()
    yield from sends_all(stage)


def _currency_missing(stage: Stage) -> Script:
    yield from stage.arrive()
    currency = stage.mirakl.marketplace.currency
    changes.set_fields(stage.mirakl, stage.order_id, currency_iso_code=None)
    yield from stage.debit()
    yield stage.is_listed("import_rejected")
    yield from stage.stays(imported=False)
    changes.set_fields(stage.mirakl, stage.order_id, currency_iso_code=currency)
    yield from stage.produced()
    yield from sends_all(stage)


def _message_after_import(stage: Stage) -> Script:
    yield from until_packed(stage)
    stage.mirakl.post_message(stage.order_id, "Canary again: in red, please, not in blue.")
    changes.set_fields(stage.mirakl, stage.order_id, "customer")
    yield stage.is_listed("message_after_import")
    stage.decide("settle", "message_after_import")
    yield from sends_all(stage)


def _attachment(stage: Stage) -> Script:
    yield from stage.arrive()
    stage.mirakl.post_message(stage.order_id, "Canary's logo is in the file.", attachments=["logo.png"])
    yield from stage.debit()
    yield from stage.produced()
    yield stage.is_listed("attachment")
    stage.decide("settle", "attachment")
    yield from sends_all(stage)


def _address_changed(stage: Stage) -> Script:
    yield from until_packed(stage)
    changes.set_address(stage.mirakl, stage.order_id, street_1="95 Canary Row")
    yield stage.is_listed("changed_after_import")
    stage.decide("settle", "changed_after_import")
    yield from sends_all(stage)


def _money_awaited_again(stage: Stage) -> Script:
    yield from until_packed(stage)
    changes.put_in_state(stage.mirakl, stage.order_id, "WAITING_DEBIT_PAYMENT")
    yield stage.is_listed("payment_awaited_again")
    yield stage.pause(1.5, 2.0)
    changes.put_in_state(stage.mirakl, stage.order_id, "SHIPPING")
    yield stage.is_listed("go_on_in_oms")
    yield from sends_all(stage)


def _plain(stage: Stage) -> Script:
    yield from until_packed(stage)
    yield from sends_all(stage)


_GIFT = {"code": "gift-text", "type": "STRING", "value": "For Canary"}

MIRAKL: Final[dict[str, Story]] = {
    # Goods are paid on delivery, but the operator shows the debit before SHIPPING.
    "debit_before_shipping": Story(_debit_before_shipping, workflow="PAY_ON_DELIVERY", accepted_by="person"),
    # As debit_before_shipping, for PAY_ON_DUE_DATE.
    "due_date_debit_before_shipping": Story(_debit_before_shipping, workflow="PAY_ON_DUE_DATE", accepted_by="person"),
    # A person ships one parcel in the portal; it is debited, and the order is back in SHIPPING.
    "one_parcel_in_portal": Story(
        _one_parcel_in_portal, workflow="PAY_ON_SHIPMENT", lines=(2, 2), reasons=("shipped_elsewhere",)
    ),
    # Mirakl refuses the order after the import.
    "refused_after_import": Story(
        _refused_after_import, trackings=0, ends="refused", shipped_by=None, reasons=("dead_in_mirakl",)
    ),
    # A state that is not documented, before the import and after it: no call until a known one comes.
    "unknown_state": Story(_unknown_state, accepted_by="marketplace", reasons=("unknown_state",)),
    "unknown_state_after_import": Story(_unknown_state_after_import, reasons=("unknown_state",)),
    # Until the acceptance, last_updated_date is more than a year ahead.
    "dated_ahead": Story(_dated_ahead),
    # Mirakl stops showing the order. After `gone_after_hours` the order is on the attention list.
    "gone": Story(_gone, trackings=0, ends="imported", shipped_by=None, reasons=("gone_from_mirakl",)),
    # The members of the order's JSON have another order in every read.
    "shuffled": Story(_shuffled),
    # Mirakl gives ten orders a page, however many are asked for.
    "page_of_ten": Story(_page_of_ten),
    # For three seconds the order's JSON is nested too deeply to be read. The other orders of its pages can be read.
    "too_deep": Story(_too_deep),
    # Three pages begin with a byte order mark.
    "byte_order_mark": Story(_faulty(Fault("OR11", "bom", 3), of_order=False)),
    # Two pages have no list of orders.
    "null_orders": Story(
        _faulty(Fault("OR11", "answer", 2, content='{"orders": null, "total_count": 0}'), of_order=False),
    ),
    # OR23 fails, so the order is shipped without tracking. The tracking is sent when OR23 works again.
    "tracking_keeps_failing": Story(_tracking_keeps_failing, marketplaces=("alpha",), reasons=("retrying",)),
    # SH21 and SH12 are refused: carriers go out as free text, and shipments whether or not tracking is mandatory.
    "catalogue_refused": Story(
        _faulty(
            Fault("SH21", "answer", 2, status=403, content=_NO_CODE),
            Fault("SH12", "answer", 2, status=404, content=_NO_CODE),
            of_order=False,
        ),
    ),
    # A gateway answers 404 or 423 for a while.
    "gateway_404": Story(_faulty(Fault("OR24", "answer", 2, status=404, content="<html>"))),
    "gateway_423": Story(_faulty(Fault("OR21", "answer", 2, status=423, content="<html>"))),
    # M11 refuses the messages of the order for a while, and the import waits for them. After a 403, M11 of the shop
    # pauses: for a second, as Mirakl asks here (Retry-After); otherwise it would pause for a minute.
    "messages_403": Story(
        _messages_refused(403, **{"Retry-After": "1"}), messages=True, attributes=(":MiraklOrderMessage",)
    ),
    "messages_404": Story(_messages_refused(404), messages=True, attributes=(":MiraklOrderMessage",)),
    "messages_500": Story(_messages_refused(500), messages=True, attributes=(":MiraklOrderMessage",)),
    # A person holds the order before the import, and releases it later.
    "held_by_person": Story(_held_by_person, reasons=("held",)),
    # The seller's policy leaves the acceptance to a person, who accepts, or refuses.
    "person_accepts": Story(
        _person_decides("accept"), marketplaces=("beta",), adjust=unknown_first, reasons=("needs_decision",)
    ),
    "person_refuses": Story(
        _person_decides("refuse"),
        marketplaces=("beta",),
        adjust=unknown_first,
        trackings=0,
        ends="refused",
        accepted_by=None,
        refused_by="api",
        imported=False,
        shipped_by=None,
        reasons=("needs_decision",),
    ),
    # The person accepts one line of two, the one whose SKU the seller knows. So OR21 refuses the other.
    "person_accepts_one_line": Story(
        _person_accepts_one_line,
        marketplaces=("beta",),
        lines=(2, 2),
        adjust=unknown_first,
        goods=all_but_first,
        reasons=("needs_decision",),
    ),
    # has_customer_message is true, and M11 shows nothing.
    "messages_nowhere": Story(_messages_nowhere, reasons=("messages_not_read",)),
    # Mirakl names no currency for a while, and the order is not imported without one.
    "currency_missing": Story(_currency_missing, reasons=("import_rejected",)),
    # A message comes after the import.
    "message_after_import": Story(_message_after_import, reasons=("message_after_import",)),
    # A message has a file, which the OMS does not get.
    "attachment": Story(_attachment, reasons=("attachment",)),
    # The customer's address changes after the import.
    "address_changed": Story(_address_changed, reasons=("changed_after_import",)),
    # The OMS has the order, and Mirakl waits for the customer's money once more. Then the customer pays.
    "money_awaited_again": Story(_money_awaited_again, reasons=("go_on_in_oms", "payment_awaited_again")),
    # Custom fields of the order and of a line reach the OMS.
    "custom_fields": Story(
        _plain,
        lines=(2, 2),
        fields={"order_additional_fields": [_GIFT]},
        attributes=(":Mirakl.gift-text", ":Mirakl.personalisation-text"),
    ),
    # The customer chose a pick-up point.
    "pickup_point": Story(_plain, fields={"shipping_pudo_id": "PUDO-7"}, attributes=(":MiraklPickupPoint",)),
}
