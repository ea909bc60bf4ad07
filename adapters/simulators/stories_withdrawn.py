"""Stories of orders whose seller owes less than was ordered: parts are canceled, refunded, or sent by somebody else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from adapters.simulators.mirakl import changes
from adapters.simulators.orders import Line
from adapters.simulators.stage import Script, Stage
from adapters.simulators.story import Story, all_but_first, sends_all, three_pieces, until_packed

_Change = Callable[[Stage], None]


def _refund_first(stage: Stage) -> None:
    changes.refund(stage.mirakl, stage.order_id, stage.line_id(0))


def _refund_all(stage: Stage) -> None:
    for index in range(len(stage.life.lines)):
        changes.refund(stage.mirakl, stage.order_id, stage.line_id(index))


def _cancel_a_piece(stage: Stage) -> None:
    changes.cancel_pieces(stage.mirakl, stage.order_id, stage.line_id(0), 1)


def _refund_a_piece(stage: Stage) -> None:
    changes.refund(stage.mirakl, stage.order_id, stage.line_id(0), 1)


def _shrink(stage: Stage) -> None:
    """Refund two pieces of three, and lower the quantity and the price of the line by them."""
    line = stage.life.lines[0]
    changes.refund(stage.mirakl, stage.order_id, stage.line_id(0), 2)
    changes.set_line(stage.mirakl, stage.order_id, stage.line_id(0), quantity=1, price=line.unit_price)


def _lower(stage: Stage) -> None:
    changes.set_line(stage.mirakl, stage.order_id, stage.line_id(0), quantity=1)


def _nothing(_: Stage) -> None:
    pass


def _raise_quantity(stage: Stage) -> None:
    line = stage.life.lines[0]
    price = round(line.unit_price * 3, 2)
    changes.set_line(stage.mirakl, stage.order_id, stage.line_id(0), quantity=3, price=price)


def _date_first(stage: Stage) -> None:
    changes.set_line(stage.mirakl, stage.order_id, stage.line_id(0), shipped_date="2026-03-01T10:00:00Z")


def _end_first(stage: Stage) -> None:
    changes.set_line(stage.mirakl, stage.order_id, stage.line_id(0), order_line_state="CANCELED")


def _give_back_first(stage: Stage) -> None:
    changes.set_line(stage.mirakl, stage.order_id, stage.line_id(0), order_line_state="SHIPPING")


def _cancel_first(stage: Stage) -> None:
    stage.mirakl.cancel_line(stage.order_id, stage.line_id(0))


def _cancel_every_line(stage: Stage) -> None:
    for index in range(len(stage.life.lines)):
        changes.set_line(stage.mirakl, stage.order_id, stage.line_id(index), order_line_state="CANCELED")


def _before_import(stage: Stage, change: _Change) -> Script:
    """Make the change together with the end of the debit, so that no read shows SHIPPING without it."""
    yield from stage.arrive()
    yield from stage.debit_begins()
    with stage.mirakl.lock:
        stage.mirakl.confirm_debit(stage.order_id)
        change(stage)


def _never_imported(script: Callable[[Stage], Script], reason: str, **more: Any) -> Story:
    """Make a story whose order stays in SHIPPING, for this reason."""
    return Story(script, trackings=0, ends="shipping", imported=False, shipped_by=None, reasons=(reason,), **more)


def _nothing_is_left(change: _Change) -> Story:
    def script(stage: Stage) -> Script:
        yield from _before_import(stage, change)
        yield stage.is_listed("nothing_to_import")
        yield from stage.stays(imported=False)

    return _never_imported(script, "nothing_to_import", lines=(1, 2))


def _rest_is_imported(change: _Change) -> Callable[[Stage], Script]:
    def script(stage: Stage) -> Script:
        yield from _before_import(stage, change)
        yield from stage.produced()
        yield from sends_all(stage)

    return script


def _released(change: _Change, reason: str = "partly_withdrawn") -> Story:
    """Make a story: something of three pieces holds the import, and a person lets the order go as it is."""

    def script(stage: Stage) -> Script:
        yield from _before_import(stage, change)
        yield stage.is_listed(reason)
        yield from stage.stays(imported=False)
        stage.decide("release")
        yield from stage.produced()
        yield from sends_all(stage)

    return Story(script, adjust=three_pieces, reasons=(reason,))


def _more_after_import(before: _Change, more: _Change, pieces: int, **kinds: Any) -> Story:
    """Make a story: Mirakl shows more to send of the first line than was imported, and a person lets the OMS make more.

    `pieces`: how many more. What was imported leaves first. The order is shipped only when the rest has left.
    """
    reason = "lines_added_after_import"

    def script(stage: Stage) -> Script:
        yield from _before_import(stage, before)
        yield from stage.produced()
        more(stage)
        yield stage.is_listed(reason)
        stage.dispatch(tracking=stage.life.trackings[0])  # with the status of an order that is dispatched
        yield from stage.stays(imported=True)
        stage.oms.add_pieces(stage.order_id, stage.line_id(0), pieces, stage.company_ref_id)
        stage.decide("settle", reason)
        yield from stage.stays(imported=True, seconds=1.0)
        yield from sends_all(stage)

    return Story(script, trackings=2, reasons=(reason,), **kinds)


def _withdrawn_after_import(change: _Change, **more: Any) -> Story:
    """Make a story: a person settles what is withdrawn after the import, and the OMS sends what is left."""
    reason = "lines_canceled_after_import"

    def script(stage: Stage) -> Script:
        yield from until_packed(stage)
        change(stage)
        yield stage.is_listed(reason)
        stage.decide("settle", reason)
        yield from sends_all(stage)

    return Story(script, reasons=(reason,), **more)


def _refunded_after_import(stage: Stage) -> Script:
    yield from until_packed(stage)
    _refund_all(stage)
    yield stage.is_listed("withdrawn_after_import")
    stage.dispatch(tracking=stage.life.trackings[0])  # the OMS was not stopped in time
    yield from stage.stays(imported=True)


def _not_ours(stage: Stage) -> Script:
    yield from stage.arrive("SHIPPING", [("accepted", "marketplace"), ("debited", "marketplace")])
    yield stage.is_listed("not_ours_to_ship")
    yield from stage.stays(imported=False)


def _centre_comes_back(stage: Stage) -> Script:
    yield from _not_ours(stage)
    changes.set_centre(stage.mirakl, stage.order_id, "DEFAULT")
    yield from stage.produced()
    yield from sends_all(stage)


def _withheld(stage: Stage) -> Script:
    stage.mirakl.withheld.add(stage.order_id)  # before the order arrives
    yield from _not_ours(stage)
    changes.withhold(stage.mirakl, stage.order_id, False)
    yield from stage.produced()
    yield from sends_all(stage)


def _change_over_day(stage: Stage) -> Script:
    yield from stage.arrive("SHIPPING", [("accepted", "person"), ("debited", "marketplace")])
    yield from stage.produced()
    yield from sends_all(stage)


def _accepted_with_canceled_line(stage: Stage) -> Script:
    yield from stage.arrive("STAGING")
    yield stage.pause(0.3, 1.0)
    with stage.mirakl.lock:
        _cancel_first(stage)
        stage.mirakl.release_staging(stage.order_id)
    yield from stage.debit()
    yield from stage.produced()
    yield from sends_all(stage)


def _quantity_missing(stage: Stage) -> Script:
    pieces = stage.life.lines[0].quantity

    def lose(stage: Stage) -> None:
        changes.set_line(stage.mirakl, stage.order_id, stage.line_id(0), quantity=None)

    yield from _before_import(stage, lose)
    yield stage.is_listed("quantity_missing")
    yield from stage.stays(imported=False)
    changes.set_line(stage.mirakl, stage.order_id, stage.line_id(0), quantity=pieces)
    yield from stage.produced()
    yield from sends_all(stage)


def _incident(stage: Stage) -> Script:
    def open_it(stage: Stage) -> None:
        changes.set_line(stage.mirakl, stage.order_id, stage.line_id(0), order_line_state="INCIDENT_OPEN")
        changes.set_fields(stage.mirakl, stage.order_id, has_incident=True)

    yield from _before_import(stage, open_it)
    yield stage.is_listed("line_incident")
    yield from stage.produced()
    yield from sends_all(stage)


def _returned(stage: Stage) -> Script:
    yield from until_packed(stage)
    yield from sends_all(stage)
    _refund_all(stage)
    yield stage.pause(0.5, 1.0)
    changes.pay_refunds(stage.mirakl, stage.order_id)


def _one_piece(_: str, lines: list[Line]) -> list[Line]:
    return [replace(lines[0], quantity=1), *lines[1:]]


def _sent_but_last(_: str, lines: list[Line]) -> list[Line]:
    states = ("SHIPPED", "RECEIVED", "CLOSED")
    return [*(replace(line, state=state) for line, state in zip(lines[:-1], states, strict=True)), lines[-1]]


_OF_OPERATOR: Final = {"fulfillment": {"center": {"code": "OPERATOR-1"}}}

WITHDRAWN: Final[dict[str, Story]] = {
    # Fully refunded before the import: not imported, and on the attention list.
    "refunded_before_import": _nothing_is_left(_refund_all),
    # Fully refunded after the import: the OMS sends it all the same, and nothing is reported to Mirakl.
    "refunded_after_import": Story(
        _refunded_after_import,
        lines=(1, 2),
        ends="dispatched",
        shipped_by=None,
        reasons=("withdrawn_after_import",),
    ),
    # One of two or three lines has a refund request: the others are imported.
    "line_refunded": Story(_rest_is_imported(_refund_first), lines=(2, 3), goods=all_but_first),
    # One piece of three is canceled before the import: a person lets the order go as it stands.
    "piece_canceled": _released(_cancel_a_piece),
    # As piece_canceled, with a refund.
    "piece_refunded": _released(_refund_a_piece),
    # Before the import, a line that is to be sent has a date of shipment: a person finds out that it did not leave.
    "line_shipped_before": _released(_date_first, "line_shipped_before"),
    # One line of two is canceled after the import.
    "line_canceled_after_import": _withdrawn_after_import(_cancel_first, lines=(2, 2)),
    # One piece of three is refunded after the import. The OMS sends what it has.
    "piece_refunded_after_import": _withdrawn_after_import(_refund_a_piece, adjust=three_pieces),
    # The quantity of a line is lowered after the import.
    "quantity_lowered": _withdrawn_after_import(_lower, adjust=three_pieces),
    # Two pieces of three are refunded before the import, and Mirakl shows one piece at its price from then on: a person
    # lets the order go with one piece.
    "quantity_shrank": replace(_released(_shrink), goods=lambda _: {0: 1}),
    # One of two lines is canceled before the import. After the import Mirakl shows again that it has to be sent.
    "line_owed_again": _more_after_import(
        _end_first, _give_back_first, 3, lines=(2, 2), adjust=three_pieces, goods=all_but_first
    ),
    # The quantity of a line is raised after the import, from one to three.
    "quantity_raised": _more_after_import(_nothing, _raise_quantity, 2, adjust=_one_piece),
    # One of two lines has an incident: the other one is imported.
    "incident": Story(_incident, lines=(2, 2), goods=all_but_first, reasons=("line_incident",)),
    # The order belongs to another fulfilment centre, for good.
    "foreign_centre": _never_imported(_not_ours, "not_ours_to_ship", accepted_by="marketplace", fields=_OF_OPERATOR),
    # The order belongs to another fulfilment centre at first, then to the shop.
    "centre_comes_back": Story(
        _centre_comes_back, accepted_by="marketplace", fields=_OF_OPERATOR, reasons=("not_ours_to_ship",)
    ),
    # can_shop_ship is false at first, and true later.
    "withheld": Story(_withheld, accepted_by="marketplace", reasons=("not_ours_to_ship",)),
    # The day of change-over: three lines of four left before orderflow read the order.
    "change_over_day": Story(_change_over_day, lines=(4, 4), accepted_by="person", adjust=_sent_but_last),
    # Every line is canceled, and Mirakl still shows SHIPPING.
    "every_line_gone": _nothing_is_left(_cancel_every_line),
    # A line is canceled before the acceptance. The acceptance has to name this line too.
    "accepted_with_canceled_line": Story(_accepted_with_canceled_line, lines=(2, 3), goods=all_but_first),
    # Mirakl names no quantity of a line for a while.
    "quantity_missing": Story(_quantity_missing, reasons=("quantity_missing",)),
    # The customer returns the goods: REFUNDED on an order that was shipped. That needs no person.
    "returned": Story(_returned, lines=(1, 2)),
}
