"""What became of each line of an order: ordered, refunded, canceled, still owed, in the OMS, sent. No personal data."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from statemachine.facts import OWED_LINE_STATES, WITHDRAWN_OF, Facts, Line
from statemachine.questions.in_oms import has_left
from statemachine.questions.parcels import sent_quantity
from statemachine.questions.payloads import our_payloads, what_oms_got
from statemachine.questions.settled import is_taken_out, settled_contents


@dataclass(frozen=True, slots=True)
class ShownLine:
    """One line of an order, as `orders show` prints it. Numbers are pieces."""

    line: str
    sku: str
    state: str  # at Mirakl
    ordered: int | None  # as the newest read shows; None if Mirakl names no number
    refunded: str  # pieces and amount of each refund, in any state of the refund; empty: none
    canceled: str
    owed: str  # yes, no, or that a person has to decide
    to_oms: int | None  # in the import; None if nothing of the line went to the OMS, or if it is not known
    sent: str  # pieces in parcels; or all, by a status of the OMS or a person's word; or not known, see `_sent`


def lines_of(facts: Facts, received: bytes | None) -> list[ShownLine]:
    """Each line that the newest read shows. `received`: the order as this read showed it; None if it is not stored."""
    snapshot, taken = facts.newest, _lines_in(received)
    sent = [dict(payload.items) for payload in our_payloads(facts)]
    return [
        ShownLine(
            line=one.id,
            sku=one.sku,
            state=one.state,
            ordered=one.quantity,
            refunded=_taken(taken.get(one.id, {}).get("refunds")),
            canceled=_taken(taken.get(one.id, {}).get("cancelations")),
            owed="a person decides" if _is_undecided(facts, one) else "yes" if one.is_owed else "no",
            to_oms=_same(items.get(one.id) for items in sent),
            sent=_sent(facts, one),
        )
        for one in (snapshot.lines if snapshot else ())
    ]


def _is_undecided(facts: Facts, line: Line) -> bool:
    """Whether a person still has to decide how much of the line is owed. A person who released the import, keyed it in,
    or settled the withdrawal of a part has decided, until Mirakl shows another withdrawal."""
    name, got = WITHDRAWN_OF + line.id, what_oms_got(facts)
    now = dict(facts.snapshot.contents if facts.snapshot else ()).get(name)
    knew = [(dict(one.contents) | settled_contents(facts, one.at)).get(name) for one in got]
    is_known = line.quantity is not None and line.state in OWED_LINE_STATES
    return line.needs_decision and not (is_known and now is not None and knew and all(one == now for one in knew))


def _same(numbers: Iterable[int | None]) -> int | None:
    """The number on which all agree; None if they differ."""
    different = {*numbers}
    return different.pop() if len(different) == 1 else None


def _sent(facts: Facts, line: Line) -> str:
    """How much of the line left. Not known: a person settled that it was stopped in the OMS, which then reported its
    order sent as a whole. Mirakl shows such a line shipped too, because OR24 marks every line."""
    pieces = sent_quantity(facts, line.id)
    if not has_left(facts, line) or (line.quantity is not None and pieces >= line.quantity):
        return str(pieces)
    if pieces == 0 and is_taken_out(facts, line.id):  # a status of the whole order is no word on this line
        return "not known"
    return "all"


def _lines_in(received: bytes | None) -> dict[str, dict[str, Any]]:
    """The lines of an order of OR11 by their ids. Empty if the bytes cannot be read."""
    return {str(one.get("order_line_id")): one for one in _objects(_order_in(received).get("order_lines"))}


def _currency_in(received: bytes | None) -> str:
    """The order's currency after a space. Empty if it is no code of three letters."""
    found = _order_in(received).get("currency_iso_code")
    return f" {found}" if isinstance(found, str) and len(found) == 3 and found.isalpha() else ""


def _order_in(received: bytes | None) -> dict[str, Any]:
    try:
        order = json.loads(received or b"{}")
    except (ValueError, RecursionError):
        return {}
    return order if isinstance(order, dict) else {}


def _taken(several: object) -> str:
    """The pieces and the amount of each refund or cancelation: "1 for 9.9"."""
    each = [(_or_unknown(one.get("quantity")), _or_unknown(one.get("amount"))) for one in _objects(several)]
    return ", ".join(f"{pieces} for {amount}" for pieces, amount in each)


def withdrawals_of(received: bytes | None, line_id: str) -> list[str]:
    """Each refund and each cancelation of a line in words: "a refund of 4.5 GBP for 1 piece". No personal data."""
    line, currency = _lines_in(received).get(line_id, {}), _currency_in(received)
    return [
        f"a {name} of {_or_unknown(one.get('amount'))}{currency}{_for_pieces(one.get('quantity'))}"
        for name, field in (("refund", "refunds"), ("cancelation", "cancelations"))
        for one in _objects(line.get(field))
    ]


def _for_pieces(count: object) -> str:
    if not isinstance(count, int) or isinstance(count, bool) or count == 0:
        return ""
    return f" for {count} piece{'s' * (count != 1)}"


def _or_unknown(value: object) -> str:
    return str(value) if isinstance(value, int | float) else "?"


def _objects(value: object) -> Sequence[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
