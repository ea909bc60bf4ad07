"""Stories of unusual answers and reports of the OMS."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from adapters.simulators.mirakl.model import SENT
from adapters.simulators.oms.model import Json
from adapters.simulators.orders import FRAMED, KNOWN_SKUS, MAPPED_CARRIER, Line
from adapters.simulators.stage import Script, Stage
from adapters.simulators.story import Story, sends_all, three_pieces, until_packed


def _tracking_corrected_in_place(stage: Stage) -> Script:
    yield from until_packed(stage)
    first, second = stage.life.trackings
    (parcel,) = stage.dispatch(tracking=first)
    yield stage.is_in(*SENT)
    yield stage.pause(0.5, 1.5)
    stage.dispatch(64, shipments=[stage.parcel(second, 0, dispatched_at=parcel.dispatched_at)])
    yield from stage.shipped()


def _carrier_corrected(stage: Stage) -> Script:
    yield from until_packed(stage)
    number = stage.life.trackings[0]
    wrong, right = stage.mirakl.marketplace.carriers[:2]
    parcels = stage.dispatch(tracking=number, carrier=wrong.label)
    yield stage.is_in(*SENT)
    yield lambda: stage.mirakl.tracking(stage.order_id) == number
    yield stage.pause(0.5, 1.5)
    stage.dispatch(64, number, shipments=parcels, carrier=right.label)
    yield lambda: stage.mirakl.order(stage.order_id)["shipping_company"] == right.label
    yield from stage.shipped()


def _renumbered_partial(stage: Stage) -> Script:
    yield from until_packed(stage)
    first, second, last = stage.life.trackings
    parcel = stage.parcel(first, 0)
    stage.dispatch(515, shipments=[parcel])
    yield stage.pause(0.5, 1.0)
    stage.dispatch(515, shipments=[stage.parcel(second, 0, dispatched_at=parcel.dispatched_at)])
    yield stage.pause(0.5, 1.0)
    if "quantity_exceeds_order" in stage.desk.reasons(stage.life.marketplace, stage.order_id):
        stage.findings.append("a parcel with another number was counted twice")
    stage.dispatch(shipments=[stage.parcel(last, 1)])
    yield from stage.shipped()


def _odd_types(stage: Stage) -> Script:
    def edit(payload: Json) -> None:
        items = payload["new_shipments"][0]["items"]
        del items[0]["external_ref"]
        payload |= {"id": str(payload["id"]), "status": "8"}
        for item in items[1:]:
            item["quantity"] = str(item["quantity"])

    yield from until_packed(stage)
    stage.dispatch(tracking=stage.life.trackings[0], edit=edit)
    yield from stage.shipped()


def _part_canceled(stage: Stage) -> Script:
    yield from until_packed(stage)
    stage.oms.cancel(stage.order_id, stage.company_ref_id, part=1)
    yield stage.is_listed("oms_canceled")
    stage.dispatch(tracking=stage.life.trackings[0], part=0, shipments=[])
    yield from stage.stays(imported=True)
    stage.decide("settle", "oms_canceled")
    yield from stage.shipped()


def _part_without_lines(stage: Stage) -> Script:
    yield from until_packed(stage)
    stage.mirakl.cancel_line(stage.order_id, stage.line_id(1))
    yield stage.is_listed("lines_canceled_after_import")
    stage.decide("settle", "lines_canceled_after_import")
    stage.dispatch(tracking=stage.life.trackings[0], part=0, shipments=[])
    yield from stage.shipped()


def _made_again(stage: Stage) -> Script:
    yield from until_packed(stage)
    stage.oms.cancel(stage.order_id, stage.company_ref_id)
    yield stage.is_listed("oms_canceled")
    stage.oms.remake(stage.order_id, stage.company_ref_id)
    stage.dispatch(tracking=stage.life.trackings[0])
    yield from stage.stays(imported=True)
    stage.decide("settle", "oms_canceled")
    yield from stage.shipped()


def _sent_without_report(stage: Stage) -> Script:
    yield from until_packed(stage)
    yield stage.decided("sent")  # refused while the OMS has the order and orderflow has no answer to the import
    yield from stage.shipped()


def _mapped_carrier(stage: Stage) -> Script:
    yield from until_packed(stage)
    stage.dispatch(tracking=stage.life.trackings[-1], carrier=MAPPED_CARRIER)
    yield from stage.shipped()
    shown, right = stage.mirakl.order(stage.order_id), stage.mirakl.marketplace.carriers[0]
    # While another story has Mirakl refuse the list of carriers, the map's name goes out as free text.
    if right.code != shown["shipping_carrier_code"] and right.label != shown["shipping_company"]:
        stage.findings.append(
            f"Mirakl shows the carrier {shown['shipping_company']}, should be that of the carrier map"
        )


def _stands_still(status: int, reason: str) -> Callable[[Stage], Script]:
    def script(stage: Stage) -> Script:
        yield from until_packed(stage)
        stage.oms.progress(stage.order_id, status, stage.company_ref_id)
        yield stage.is_listed(reason)
        stage.oms.progress(stage.order_id, 4, stage.company_ref_id)
        yield lambda: not stage.is_listed(reason)()
        yield from sends_all(stage)

    return script


def _answer_once(stage: Stage, kind: str, status: int, answer: object) -> None:
    """Answer the first POST of the order with this status and answer, and later ones as usual.

    `kind` "answer": the OMS does not store the order. "answer_after": it stores the order, and then answers so.
    """
    content = json.dumps(answer)
    stage.oms.knobs.faults.append(Fault("order", kind, 1, stage.order_id, status=status, content=content))


def _answered(kind: str, status: int, answer: object) -> Callable[[Stage], Script]:
    def script(stage: Stage) -> Script:
        _answer_once(stage, kind, status, answer)
        yield from until_packed(stage)
        yield from sends_all(stage)

    return script


def _answer_canceled(stage: Stage) -> Script:
    shown = {"id": 1, "ref": "0001", "external_ref": stage.order_id, "status": 128, "items": []}
    _answer_once(stage, "answer_after", 201, [shown])
    yield from until_packed(stage)
    yield stage.is_listed("oms_canceled")
    stage.dispatch(tracking=stage.life.trackings[0])
    yield from stage.stays(imported=True)
    stage.decide("settle", "oms_canceled")
    yield from stage.shipped()


def _answer_shows_less(pieces: int | None, **more: Any) -> Story:
    """Make a story: the answer to the import shows the first line alone, with all its pieces or with these."""
    reason = "lines_not_imported"

    def script(stage: Stage) -> Script:
        lines = stage.life.lines
        quantity = lines[0].quantity if pieces is None else pieces
        item = {"id": 11, "ref": "11", "external_ref": stage.line_id(0), "quantity": quantity}
        shown = {"id": 7, "ref": "0007", "external_ref": stage.order_id, "status": 1, "items": [item]}
        _answer_once(stage, "answer_after", 201, [shown])
        yield from until_packed(stage)
        yield stage.is_listed(reason)
        stage.decide("settle", reason)
        stage.dispatch(shipments=[stage.parcel(stage.life.trackings[0], *range(len(lines)))])
        yield from stage.shipped()

    return Story(script, reasons=(reason,), **more)


def _rejected(kind: str, words: str, act: str) -> Story:
    """Make a story: the OMS refuses the import in these words, and a person acts.

    `kind` "answer": the OMS has not stored the order. "answer_after": it has.
    """
    reason = "import_rejected"

    def script(stage: Stage) -> Script:
        _answer_once(stage, kind, 400, {"error": {"message": words, "code": 0}})
        yield from stage.arrive()
        yield from stage.debit()
        yield stage.is_listed(reason)
        yield from stage.stays(imported=kind == "answer_after")
        stage.decide(act)
        yield from stage.produced()
        yield from sends_all(stage)

    return Story(script, reasons=(reason,))


def _back_to_the_first(stage: Stage) -> Script:
    yield from until_packed(stage)
    a, b = stage.life.trackings
    for number in (a, b, a):
        stage.dispatch(tracking=number, shipments=[])
        yield lambda number=number: stage.mirakl.tracking(stage.order_id) == number  # type: ignore[misc]
        yield stage.pause(1.2, 1.5)
    yield from stage.shipped()


def _dispatched_tomorrow(stage: Stage) -> Script:
    """The OMS dates the parcel a day ahead, and Mirakl shows the order shipped all the same. Then a second report
    (status 64) corrects the number, and Mirakl has to show the corrected one."""
    yield from until_packed(stage)
    first, second = stage.life.trackings
    tomorrow = stage.oms.now().replace(microsecond=0) + timedelta(days=1)
    stage.dispatch(shipments=[stage.parcel(first, 0, dispatched_at=tomorrow)])
    yield stage.is_in(*SENT)
    yield stage.pause(1.2, 1.5)
    stage.dispatch(64, shipments=[stage.parcel(second)])
    yield from stage.shipped()


def _framed_last(marketplace: str, lines: list[Line]) -> list[Line]:
    return [*lines[:-1], Line(KNOWN_SKUS[marketplace][FRAMED])]


def _changed_between_tries(*, landed: bool) -> Callable[[Stage], Script]:
    """Make a script: no try of the import gets an answer until the customer's address has changed.

    `landed`: the OMS has stored what the first try carried, and then refuses the payload with the new address.
    """

    def script(stage: Stage) -> Script:
        fault = Fault("order", "500_after" if landed else "500", 100_000, stage.order_id)
        stage.oms.knobs.faults.append(fault)
        yield from stage.arrive()
        yield from stage.debit()
        yield lambda: fault.count < 100_000
        changes.set_address(stage.mirakl, stage.order_id, street_1="95 Canary Row")
        yield stage.pause(1.5, 2.0)
        with stage.oms.lock:
            stage.oms.knobs.faults.remove(fault)
        if landed:
            yield stage.is_listed("changed_after_import")
            yield stage.decided("settle", "changed_after_import")  # not possible while a try of the import is under way
        yield from stage.produced()
        yield from sends_all(stage)

    return script


OMS: Final[dict[str, Story]] = {
    # Another number under the same dispatch_datetime: the one reported later wins.
    "tracking_corrected_in_place": Story(_tracking_corrected_in_place, trackings=2),
    # The same number with another carrier under the same dispatch_datetime.
    "carrier_corrected": Story(_carrier_corrected),
    # A partial parcel gets another number, and is still one parcel.
    "renumbered_partial": Story(_renumbered_partial, lines=(2, 2), trackings=3),
    # The report has an item without external_ref, and texts in place of numbers.
    "odd_types": Story(_odd_types, lines=(1, 2)),
    # The OMS cancels one part of two, and sends the other by status alone.
    "part_canceled": Story(_part_canceled, lines=(2, 2), adjust=_framed_last, reasons=("oms_canceled",)),
    # Mirakl cancels every line of one part; the OMS sends the other by status alone.
    "part_without_lines": Story(
        _part_without_lines,
        lines=(2, 2),
        adjust=_framed_last,
        reasons=("lines_canceled_after_import",),
    ),
    # The OMS cancels the order and makes it again under a new id.
    "made_again": Story(_made_again, reasons=("oms_canceled",)),
    # The goods leave, and the OMS reports nothing. A person confirms that they were sent.
    "sent_without_report": Story(
        _sent_without_report,
        trackings=0,
        keeps_tracking=None,
        shipping_type=0,  # the other one of beta needs a number
    ),
    # The OMS names a carrier that the seller's carrier map translates.
    "mapped_carrier": Story(_mapped_carrier),
    # The OMS puts the order on hold for a while (status 256), or has a question about it (status 32).
    "on_hold_in_oms": Story(_stands_still(256, "oms_on_hold"), reasons=("oms_on_hold",)),
    "query_in_oms": Story(_stands_still(32, "oms_query"), reasons=("oms_query",)),
    # The answer to the import shows no order, though the OMS stored it.
    "empty_answer": Story(_answered("answer_after", 200, [])),
    # The answer to the import shows no order, and the OMS stored none.
    "no_success": Story(_answered("answer", 200, {"success": False})),
    "errors_in_success": Story(_answered("answer", 201, {"errors": [{"message": "no"}]})),
    # The answer to the import shows somebody else's order.
    "foreign_answer": Story(_answered("answer", 201, [{"id": 5, "ref": "5", "external_ref": "OTHER-1"}])),
    # The answer to the import shows the order as canceled.
    "answer_canceled": Story(_answer_canceled, reasons=("oms_canceled",)),
    # The answer to the import shows one line of two.
    "answer_shows_fewer_lines": _answer_shows_less(None, lines=(2, 2)),
    # The OMS refuses the import, because the customer exists already. A person lets the import be tried again.
    "customer_exists": _rejected("answer", "A customer with this email already exists", "retry"),
    # The answer to the import shows one piece of three.
    "answer_shows_other_pieces": _answer_shows_less(1, adjust=three_pieces),
    # The OMS refuses the import, but holds the order. A person marks it as handled.
    "handled": _rejected("answer_after", "Something went wrong", "handled"),
    # The first payload reached the OMS without an answer, and the address changed before the next try.
    "changed_after_lost_answer": Story(_changed_between_tries(landed=True), reasons=("changed_after_import",)),
    # The first payload did not reach the OMS, and the second has the new address.
    "changed_before_next_try": Story(_changed_between_tries(landed=False)),
    # Reports without dates: number A, then B, then A again.
    "back_to_the_first": Story(_back_to_the_first, trackings=2, keeps_tracking=0),
    # The first parcel is dated a day ahead; the correction that follows wins.
    "dispatched_tomorrow": Story(_dispatched_tomorrow, trackings=2),
}
