"""How many pieces of a line the OMS canceled, makes again perhaps, and Mirakl took back. What is not known is None."""

from collections.abc import Sequence
from datetime import datetime

from statemachine.attention.left_twice import since_put_back
from statemachine.facts import EPOCH, WITHDRAWN_OF, Cancellation, Facts, Line, Withdrawn
from statemachine.questions.parcels import sent_quantity
from statemachine.questions.payloads import most_handed_over, what_oms_got
from statemachine.questions.readings import ended_in_oms, first_reported, is_ended_in_oms, may_have
from statemachine.questions.receipts import cancellations_once


def pieces_canceled(facts: Facts, line_id: str, until: datetime | None = None) -> int | None:
    """How many pieces of the line the OMS canceled, by its reports until then, or by all. 0: none that are known.

    None: not known. It canceled an order as a whole, and did not say how many pieces that had, or it made more since,
    of which it had reported until then.
    """
    each = [one for one in cancellations_counted(facts) if until is None or one.told_at <= until]
    return pieces_in(facts, line_id, each, until)


def pieces_made_again(facts: Facts, line_id: str) -> tuple[int, list[int]]:
    """How many of the pieces of the line that the OMS canceled it perhaps makes again in other orders, and the ids of
    these. Such an order has or may have the line, and the answer to the import does not show it.

    An order that reported before the cancellation counts only if the answer shows all pieces in other orders. Pieces of
    orders that were canceled as a whole are left out: of these `pieces_canceled` is None then. Nor does an order count
    that sent parcels with the line after Mirakl put ours back, if these hold only what is to be sent again.
    """
    each = [one for one in cancellations_counted(facts) if line_id in dict(one.items)]
    shown = {part.oms_id: dict(part.quantities).get(line_id, 0) for part in facts.parts if part.quantities}
    is_all_shown = 0 < most_handed_over(facts, line_id) <= sum(shown.values())
    others = [oms_id for oms_id in (may_have(facts, line_id) if each else ()) if oms_id not in shown]
    others = [oms_id for oms_id in others if not is_ended_in_oms(facts, oms_id, line_id)]
    if others:
        others = [oms_id for oms_id in others if oms_id not in _sends_again(facts, line_id)]
    pieces, orders = 0, set[int]()
    for one in each:
        makes = {oms_id for oms_id in others if is_all_shown or first_reported(facts, oms_id) >= one.told_at}
        if makes := makes - {one.oms_id}:
            pieces += sum(number for line, number in one.items if line == line_id)
            orders |= makes
    return pieces, sorted(orders)


def _sends_again(facts: Facts, line_id: str) -> set[int]:
    """The OMS's orders whose parcels have the line since Mirakl put the order back, if these hold none of the pieces
    that the OMS canceled before."""
    own, canceled = since_put_back(facts), pieces_in(facts, line_id, cancellations_counted(facts))
    rest = most_handed_over(facts, line_id) - (canceled or 0)
    if own is facts or sent_quantity(own, line_id) > rest:
        return set()
    return {one.oms_id for one in own.dispatches if line_id in dict(one.items)}


def pieces_taken_back(facts: Facts, line: Line) -> int | None:
    """How many pieces of the line Mirakl took back since the OMS got it. None: not known.

    Mirakl may take canceled pieces out of `quantity`, or leave it and name them beside the amount (docs/mirakl.md 4.5).
    If the OMS may have got one of several payloads with other pieces, only a line that is taken back as a whole tells.
    """
    got, went = what_oms_got(facts), most_handed_over(facts, line.id)
    if not went:
        return None
    if line.is_taken_back:
        return went
    if _got_one_of_several(facts, line):
        return None
    if line.withdrawn is Withdrawn.NONE:
        return None if line.quantity is None else max(0, went - line.quantity)
    is_since = all(one.contents and WITHDRAWN_OF + line.id not in dict(one.contents) for one in got)
    is_clear = is_since and line.quantity in (went, went - line.withdrawn_pieces)
    return line.withdrawn_pieces or None if is_clear else None


def perhaps_taken_back(facts: Facts, line: Line) -> bool:
    """Whether Mirakl took back pieces of the line, or perhaps did: it is not known which payload the OMS has."""
    if line.withdrawn is Withdrawn.PART or pieces_taken_back(facts, line):
        return True
    shown = line.quantity
    return shown is not None and _got_one_of_several(facts, line) and most_handed_over(facts, line.id) > shown


def _got_one_of_several(facts: Facts, line: Line) -> bool:
    """Whether the OMS has one of several payloads that differ in the pieces of the line, and nobody knows which."""
    return len({dict(one.items).get(line.id, 0) for one in what_oms_got(facts)}) > 1


def cancellations_counted(facts: Facts) -> list[Cancellation]:
    """The cancellations, without those of lines if the OMS canceled the whole order at the same time or later."""
    found = cancellations_once(facts)
    whole: dict[int, datetime] = {}
    for one in (one for one in found if not one.items):
        whole[one.oms_id] = max(one.told_at, whole.get(one.oms_id, EPOCH))
    return [one for one in found if not (one.items and EPOCH < one.told_at <= whole.get(one.oms_id, EPOCH))]


def pieces_in(facts: Facts, line_id: str, each: Sequence[Cancellation], until: datetime | None = None) -> int | None:
    """How many pieces of the line these cancellations are about. None: not known. `until`: orders on which the OMS
    first reported later, and that its answer to the import does not show, do not count."""
    orders = may_have(facts, line_id) if each else []
    shown = {part.oms_id for part in facts.parts if part.lines}
    orders = [one for one in orders if until is None or one in shown or first_reported(facts, one) <= until]
    whole = {one.oms_id for one in each if not one.items}.intersection(orders)
    named = [pieces for one in each if one.oms_id not in whole for name, pieces in one.items if name == line_id]
    if not whole:
        return sum(named)
    held = {part.oms_id: dict(part.quantities)[line_id] for part in facts.parts if line_id in dict(part.quantities)}
    is_known = held.keys() >= {*orders} and sum(held.values()) <= most_handed_over(facts, line_id)
    if whole - ended_in_oms(facts) or not is_known:
        return None
    return sum(named) + sum(held[oms_id] for oms_id in whole)
