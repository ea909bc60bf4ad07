"""Whether the OMS has more orders of ours than pieces are to be sent: one piece cannot leave in two of them.

This asks before all of them left, so that what is too much can be stopped. left_twice.py asks when they left.
"""

from collections.abc import Collection
from datetime import datetime

from statemachine.asked_once import asked_once
from statemachine.attention.left_twice import sent_too_many, since_put_back, wanted_pieces
from statemachine.facts import VOUCHED, Facts
from statemachine.questions.parts import parts_in_oms, shown_pieces
from statemachine.questions.readings import first_reported, is_ended_in_oms


@asked_once
def orders_too_many(facts: Facts) -> tuple[int, ...]:
    """The orders of the OMS that sent something or may send something, if there are more of them than pieces. What left
    before Mirakl put the order back does not count. Empty: they are not more, or the number of pieces is not known."""
    parts = parts_in_oms(facts)
    if len(parts) < 2:  # nearly always; this saves time
        return ()
    wanted, sent = wanted_pieces(facts), _sent(since_put_back(facts))
    earlier = _sent(facts) - sent
    makes = {one for one in parts.keys() - earlier if not _is_ended(facts, one, parts[one] or wanted.keys())}
    pieces = [number for number in wanted.values() if number is not None]
    is_known = bool(wanted) and len(pieces) == len(wanted)
    return tuple(sorted(makes | sent)) if is_known and len(makes | sent) > sum(pieces) else ()


def made_twice(facts: Facts) -> dict[str, datetime]:
    """The lines that orders of the OMS make of which there are more than pieces, by the line's id, each with when the
    OMS first reported the newest of these orders. Not if all of them left, nor if its answer to the import shows more
    pieces than are to be sent: other reasons ask for that."""
    orders = orders_too_many(facts)
    if not orders or _sent(since_put_back(facts)).issuperset(orders):
        return {}
    wanted, shown = wanted_pieces(facts), shown_pieces(facts)
    if any(shown.get(line, 0) > (pieces or 0) for line, pieces in wanted.items()):
        return {}
    told_at = max(first_reported(facts, oms_id) for oms_id in orders)
    return dict.fromkeys(wanted.keys() - sent_too_many(facts).keys(), told_at)


def waits_for_no_piece(facts: Facts) -> bool:
    """Whether one piece was ordered, an order of the OMS sent it, and the OMS has another one."""
    is_one_piece = sum(pieces or 0 for pieces in wanted_pieces(facts).values()) == 1
    return is_one_piece and bool(orders_too_many(facts)) and bool(_sent(since_put_back(facts)))


def _sent(facts: Facts) -> set[int]:
    """The orders of the OMS that reported goods sent."""
    return {one.oms_id for one in facts.dispatches if one.oms_id != VOUCHED and (one.covers or one.items)}


def _is_ended(facts: Facts, oms_id: int, lines: Collection[str]) -> bool:
    return all(is_ended_in_oms(facts, oms_id, line) for line in lines)
