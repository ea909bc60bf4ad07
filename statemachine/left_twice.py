"""Whether more of a line left than was ordered. If one piece left in two orders of the OMS, perhaps two parcels did.

The OMS may split an order, so several of its orders may send it. Each of them has other lines then, or other pieces.
The answer to the import says which, or the parcels do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from statemachine.asked_once import asked_once
from statemachine.before_shipment import newest_open, oldest_shipped
from statemachine.facts import EPOCH, VOUCHED, Dispatch, Facts, Line
from statemachine.parcels import sent_more_at, sent_quantity
from statemachine.payloads import our_payloads, what_oms_got
from statemachine.readings import ordered_pieces
from statemachine.receipts import dispatches_once


@dataclass(frozen=True, slots=True)
class LeftTwice:
    """A line of which more pieces left in several orders of the OMS than were ever to be sent."""

    oms_ids: tuple[int, ...]  # the orders that sent it, or of which no line is known
    told_at: datetime  # when the OMS reported the newest of these pieces


#: The pieces of a line that an order of the OMS sent if it is not known how many.
_ALL: Final = None


@asked_once
def left_twice(facts: Facts) -> dict[str, LeftTwice]:
    """The lines of which one piece left in two orders of the OMS, by the line's id."""
    reports = _reports(facts)
    if len(reports) < 2:  # nearly always; this saves time
        return {}
    found = _too_many(facts, reports)
    return {line: LeftTwice(oms_ids, _told_at(facts, line, len(oms_ids))) for line, oms_ids in found.items()}


def sent_too_many(facts: Facts) -> dict[str, datetime]:
    """The lines of which more left than was ordered, by the line's id, each with when the OMS reported the newest of
    these pieces: parcels hold more, or one piece left in two orders of the OMS."""
    twice, found = left_twice(facts), dict[str, datetime]()
    for line in _lines(facts) if facts.dispatches else ():
        ordered = ordered_pieces(facts, line)
        in_parcels = ordered is not None and sent_quantity(facts, line.id) > max(ordered, 1)
        if in_parcels or line.id in twice:
            told_at = twice[line.id].told_at if line.id in twice else EPOCH
            found[line.id] = max(told_at, sent_more_at(facts, line.id)) if in_parcels else told_at
    return found


def more_left_than_went(facts: Facts) -> list[str]:
    """The lines of which an order of the OMS sent more pieces than the import handed over, as its answer shows. Without
    those of `sent_too_many`."""
    sent = our_payloads(facts)
    handed, left = dict(sent[-1].items) if sent else {}, dict[str, int]()
    for oms_id, reports in _reports(facts).items() if handed else ():
        for line, pieces in _known_of(facts, oms_id, reports).items():
            left[line] = left.get(line, 0) + (pieces or 0)
    more = [line for line, pieces in left.items() if pieces > handed.get(line, 0)]
    return [line for line in more if line not in sent_too_many(facts)]


def _reports(facts: Facts) -> dict[int, list[Dispatch]]:
    """What each order of the OMS sent, by its id. An order that named neither a parcel's items nor a status sent
    nothing. What had left before Mirakl put the order back does not count: a second parcel is asked for then."""
    found: dict[int, list[Dispatch]] = {}
    put_back = _shown_shipped_before_put_back(facts) if facts.dispatches else None
    for one in dispatches_once(facts):
        counts = put_back is None or one.told_at > put_back
        if one.oms_id != VOUCHED and (one.covers or one.items) and counts:
            found.setdefault(one.oms_id, []).append(one)
    return found


def _shown_shipped_before_put_back(facts: Facts) -> datetime | None:
    """When a read first showed the order shipped, if a later one showed it to be sent again. None: no read did."""
    first, last = oldest_shipped(facts), newest_open(facts)
    return first.read_at if first is not None and last is not None and first < last else None


def _too_many(facts: Facts, reports: Mapping[int, list[Dispatch]]) -> dict[str, tuple[int, ...]]:
    """The lines that left twice, each with the OMS's orders that sent it."""
    known = {oms_id: _known_of(facts, oms_id, each) for oms_id, each in reports.items()}
    unknown = sorted(oms_id for oms_id, lines in known.items() if not lines)
    wanted = {line.id: pieces for line in _lines(facts) if (pieces := _most_to_send(facts, line)) != 0}
    found, room = dict[str, tuple[int, ...]](), 0
    for line, most in wanted.items():
        holders = [oms_id for oms_id, lines in known.items() if lines.get(line, 0) != 0]
        left = [known[oms_id][line] for oms_id in holders]
        total = sum((most or 1) if pieces is _ALL else pieces for pieces in left)
        if most is not None and total > most and len(holders) > 1:
            found[line] = tuple(sorted(holders))
        room += (most or 1) if not holders else max(0, (most or 1) - total)
    # An order of which nothing is known has at least one piece. If no line of any is known, and the shop says that its
    # orders are not split, each of their statuses is about the whole order.
    whole = len(known) == len(unknown) and all(one.covers == "order" for each in reports.values() for one in each)
    if unknown and (len(unknown) > room or (whole and len(unknown) > 1)):
        for line in wanted:
            holders = [oms_id for oms_id, lines in known.items() if lines.get(line, 0) != 0]
            found[line] = tuple(sorted({*holders, *unknown}))
    return found


def _known_of(facts: Facts, oms_id: int, reports: list[Dispatch]) -> dict[str, int | None]:
    """The pieces of each line that this order of the OMS sent. Empty: its lines are not known.

    A line that its parcels name left in these pieces. A dispatched status sends what the answer to the import shows of
    the other lines, without what the OMS canceled.
    """
    found: dict[str, int | None] = {}
    own = replace(facts, dispatches=tuple(reports))
    for line in {line for one in reports for line, _ in one.items}:
        found[line] = sent_quantity(own, line)
    parts = [part for part in facts.parts if part.oms_id == oms_id]
    if any(one.covers for one in reports):
        for line in {line for part in parts for line in part.lines} - found.keys():
            held = [pieces for part in parts for name, pieces in part.quantities if name == line]
            found[line] = max(0, max(held) - _canceled(facts, oms_id, line)) if held else _ALL
    return found


def _canceled(facts: Facts, oms_id: int, line_id: str) -> int:
    """How many pieces of the line this order canceled. Equal cancellations count once: they may be one report."""
    each = {one.items for one in facts.cancellations if one.oms_id == oms_id}
    return sum(pieces for items in each for line, pieces in items if line == line_id)


def _most_to_send(facts: Facts, line: Line) -> int | None:
    """The most pieces of the line that were ever to be sent. None: not known. 0: the OMS never had to send it.

    What Mirakl took back since the import is no second parcel: other reasons ask for that.
    """
    went = max((dict(got.items).get(line.id, 0) for got in what_oms_got(facts)), default=0)
    ordered = ordered_pieces(facts, line)
    if line.is_taken_back or ordered is None:
        return went or (0 if line.is_taken_back else None)
    return max(ordered, went, dict(facts.pieces).get(line.id, 0), 1)


def _told_at(facts: Facts, line_id: str, orders: int) -> datetime:
    """When the OMS reported the newest of the pieces that left twice. What is reported once more is not newer."""
    told = sorted({one.told_at for one in facts.dispatches if one.oms_id != VOUCHED}, reverse=True)
    for told_at in told:
        earlier = replace(facts, dispatches=tuple(one for one in facts.dispatches if one.told_at < told_at))
        if len(_too_many(earlier, _reports(earlier)).get(line_id, ())) < orders:
            return told_at
    return EPOCH


def _lines(facts: Facts) -> tuple[Line, ...]:
    return facts.snapshot.lines if facts.snapshot else ()
