"""What customers and the operator change of an order after it was placed (docs/mirakl.md 4.4, 4.5).

They cancel and refund lines and parts of lines, and change the address, other fields, and who ships the order.

`order_id` and `line_id` are Mirakl's. Each function changes the order at once. OR11 shows the change from then on, or
after `Knobs.visibility_lag_seconds`.
"""

from datetime import timedelta
from typing import Any

from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.mirakl.model import Json, open_lines, stamp


def refund(
    simulator: MiraklSimulator,
    order_id: str,
    line_id: str,
    quantity: int | None = None,
    *,
    by: str = "customer",
    state: str = "WAITING_REFUND",
) -> None:
    """Ask for a refund of a line, or of `quantity` pieces of it. The state of the line stays as it is.

    `fully_refunded` is true as soon as the refunds cover every open line (docs/mirakl.md 4.4).
    """

    def edit(order: Json) -> None:
        line = _line(order, line_id)
        pieces = line["quantity"] if quantity is None else quantity
        line["refunds"].append(
            {
                "id": f"refund-{line_id}-{len(line['refunds']) + 1}",
                "amount": round(line["price"] * pieces / line["quantity"], 2),
                "shipping_amount": line["shipping_price"] if pieces == line["quantity"] else 0.0,
                "quantity": pieces,
                "reason_code": "CUSTOMER_CHANGED_MIND",
                "refund_state": state,
                "state": state,
                "created_date": stamp(simulator.now()),
                "transaction_date": None,
                "transaction_number": None,
            }
        )
        order["fully_refunded"] = all(_is_covered(one) for one in open_lines(order))

    simulator.change(order_id, "refund_asked", by, edit, line=line_id)


def pay_refunds(simulator: MiraklSimulator, order_id: str) -> None:
    """Pay every refund that was asked for. A line that is refunded as a whole gets the state REFUNDED."""

    def edit(order: Json) -> None:
        for line in order["order_lines"]:
            for one in line["refunds"]:
                one |= {"refund_state": "REFUNDED", "state": "REFUNDED", "transaction_date": stamp(simulator.now())}
            if line["refunds"] and _is_covered(line):
                line["order_line_state"] = "REFUNDED"

    simulator.change(order_id, "refunded", "marketplace", edit)


def cancel_pieces(simulator: MiraklSimulator, order_id: str, line_id: str, pieces: int, by: str = "customer") -> None:
    """Cancel some pieces of a line. Its `quantity` stays as it is: whether Mirakl lowers it is not established."""

    def edit(order: Json) -> None:
        line = _line(order, line_id)
        line["cancelations"].append(
            {
                "id": f"cancelation-{line_id}-{len(line['cancelations']) + 1}",
                "amount": round(line["price"] * pieces / line["quantity"], 2),
                "shipping_amount": 0.0,
                "quantity": pieces,
                "reason_code": "CUSTOMER_CHANGED_MIND",
                "created_date": stamp(simulator.now()),
            }
        )

    simulator.change(order_id, "pieces_canceled", by, edit, line=line_id)


def set_line(simulator: MiraklSimulator, order_id: str, line_id: str, by: str = "marketplace", **fields: Any) -> None:
    """Set fields of a line, such as its quantity or its state."""
    simulator.change(order_id, "line_changed", by, lambda order: _line(order, line_id).update(fields), line=line_id)


def set_fields(simulator: MiraklSimulator, order_id: str, by: str = "marketplace", **fields: Any) -> None:
    """Set fields of the order, such as shipping_pudo_id or has_customer_message."""
    simulator.change(order_id, "changed", by, lambda order: order.update(fields))


def set_address(simulator: MiraklSimulator, order_id: str, by: str = "customer", **fields: Any) -> None:
    """Set fields of the shipping address."""
    simulator.change(
        order_id, "address_changed", by, lambda order: order["customer"]["shipping_address"].update(fields)
    )


def set_centre(simulator: MiraklSimulator, order_id: str, centre: str) -> None:
    """Let another fulfilment centre send the order."""

    def edit(order: Json) -> None:
        order["fulfillment"]["center"]["code"] = centre

    simulator.change(order_id, "centre_changed", "marketplace", edit)


def withhold(simulator: MiraklSimulator, order_id: str, withheld: bool = True) -> None:
    """Set `can_shop_ship` of the order to false. `withheld` False: let it follow from the state again."""
    with simulator.lock:
        (simulator.withheld.add if withheld else simulator.withheld.discard)(order_id)
        simulator.change(order_id, "withheld" if withheld else "given_back", "marketplace", lambda _: None)


def put_in_state(simulator: MiraklSimulator, order_id: str, state: str, by: str = "marketplace") -> None:
    """Put the order and its open lines in this state. Nothing is checked: `state` can be any text, after any state."""

    def edit(order: Json) -> None:
        order["order_state"] = state
        for line in open_lines(order):
            line["order_line_state"] = state

    simulator.change(order_id, state.lower(), by, edit)


def date_ahead(simulator: MiraklSimulator, order_id: str, ahead: timedelta) -> None:
    """Show a last_updated_date that lies in the future, until the order changes the next time."""
    simulator.change(order_id, "dated_ahead", "marketplace", lambda _: None, ahead=ahead)


def _line(order: Json, line_id: str) -> Json:
    found: Json = next(line for line in order["order_lines"] if line["order_line_id"] == line_id)
    return found


def _is_covered(line: Json) -> bool:
    """Whether the refunds of a line cover its price."""
    return bool(line["refunds"]) and sum(one["amount"] for one in line["refunds"]) >= line["price"] - 0.005
