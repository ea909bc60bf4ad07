"""Whether more of a line left than was ordered. If one piece left in two orders of the OMS, perhaps two parcels did.

The OMS may split an order, so several of its orders may send it. Each of them has other lines then, or other pieces.
The answer to the import says which, or the parcels do. If neither does, and there is a piece for each order, it is not
known whether a piece left twice. Orders that report one number sent one parcel (shared_numbers.py).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, NamedTuple

from statemachine.asked_once import asked_once
from statemachine.commands import CommandKind
from statemachine.facts import EPOCH, VOUCHED, Decision, Dispatch, Facts, Line
from statemachine.occurrences import age_of_kept
from statemachine.questions.before_shipment import newest_to_send, oldest_shipped
from statemachine.questions.in_oms import all_left_by
from statemachine.questions.parcels import sent_more_at, sent_quantity
from statemachine.questions.payloads import most_handed_over, our_payloads
from statemachine.questions.put_back import CLOCKS_DIFFER, left_while_shipped, sent_unasked
from statemachine.questions.readings import ordered_pieces
from statemachine.questions.receipts import cancellations_once, dispatches_once
from statemachine.questions.shared_numbers import by_number, left_at_most
from statemachine.questions.stops import is_put_back, shipped_until
from statemachine.reads_kept import LastOpen, NotShown
from statemachine.reasons import Reason


@dataclass(frozen=True, slots=True)
class LeftTwice:
    """A line of which more pieces left in several orders of the OMS than were ever to be sent, or perhaps did."""

    oms_ids: tuple[int, ...]  # the orders that sent it, or of which no line is known
    told_at: datetime  # when the OMS reported the newest of these pieces
    pieces: int  # that had left then; parcels that hold as many name the same goods
    is_known: bool  # False: perhaps each piece left once, because it is not known what each order sent


class _Excess(NamedTuple):
    oms_ids: tuple[int, ...]  # as in LeftTwice
    is_known: bool


#: The pieces of a line that an order of the OMS sent if it is not known how many.
_ALL: Final = None


@asked_once
def left_twice(facts: Facts) -> dict[str, LeftTwice]:
    """The lines of which one piece left in two orders of the OMS, by the line's id."""
    if len({one.oms_id for one in facts.dispatches}) < 2:  # nearly always; this saves time
        return {}
    found = dict[str, LeftTwice]()
    for own in around_put_back(facts):
        for line, excess in _too_many(own, _reports(own)).items():
            told_at = _told_at(own, line, excess)
            found[line] = LeftTwice(excess.oms_ids, told_at, _pieces_until(own, line, told_at), excess.is_known)
    return found


def sent_too_many(facts: Facts) -> dict[str, datetime]:
    """The lines of which more left than was ordered, by the line's id, each with when the OMS reported the newest of
    these pieces: parcels hold more, or one piece left in two orders of the OMS."""
    twice = left_twice(facts)
    found = {line: one.told_at for line, one in twice.items()}
    for own in around_put_back(facts) if facts.dispatches else ():
        for line in own.lines:
            ordered, pieces = ordered_pieces(own, line), _in_parcels(own, line.id)
            if ordered is not None and pieces > max(ordered, 1):
                known = twice.get(line.id)
                told_at = known.told_at if known and pieces <= known.pieces else sent_more_at(own, line.id)
                found[line.id] = max(told_at, found.get(line.id, EPOCH))
    return found


def more_left_than_went(facts: Facts) -> list[str]:
    """The lines of which an order of the OMS sent more pieces than the import handed over, as its answer shows. Without
    those of `sent_too_many`."""
    sent = our_payloads(facts)
    handed, more = dict(sent[-1].items) if sent else {}, dict[str, None]()
    for own in around_put_back(facts) if handed else ():
        known = {oms_id: _known_of(own, oms_id, reports) for oms_id, reports in _reports(own).items()}
        for line in sorted({line for lines in known.values() for line in lines}):
            pieces = {oms_id: lines.get(line, 0) or 0 for oms_id, lines in known.items()}
            if left_at_most(own, line, pieces, 0) > handed.get(line, 0):
                more[line] = None
    return [line for line in more if line not in sent_too_many(facts)]


def _reports(facts: Facts) -> dict[int, list[Dispatch]]:
    """What each order of the OMS sent, by its id. An order that named neither a parcel's items nor a status sent
    nothing."""
    found: dict[int, list[Dispatch]] = {}
    for one in dispatches_once(facts):
        if one.oms_id != VOUCHED and (one.covers or one.items):
            found.setdefault(one.oms_id, []).append(one)
    return found


@asked_once
def around_put_back(facts: Facts) -> tuple[Facts, ...]:
    """These facts with what left before Mirakl put the order back, each time, and with what left since. A second parcel
    is asked for then, so what left before and what left since are not added, but for what nobody asked for
    (`sent_unasked`). A number that an order of the OMS reports again is no news."""
    found = _apart(facts)
    if len(found) == 1:
        return found
    unasked = sent_unasked(facts, _shipped_before_put_back(facts)[-1], found[-1].dispatches)
    before = found[-2].dispatches
    return (*found, replace(facts, dispatches=(*before, *unasked))) if unasked else found


def since_put_back(facts: Facts) -> Facts:
    """These facts with what left since Mirakl last put the order back, or with all if it did not."""
    return _apart(facts)[-1]


def most_sent(facts: Facts, line_id: str) -> int:
    """How many pieces of the line the parcels hold. If Mirakl put the order back: those of the time with the most."""
    return max(sent_quantity(own, line_id) for own in around_put_back(facts))


def sendings(facts: Facts, line_id: str) -> Iterator[Facts]:
    """As `around_put_back`, but what one order of the OMS sent of the line before and since is added up, if it is no
    more than that order got: then these are different pieces, and none left twice."""
    times = around_put_back(facts)
    if len(times) == 1:  # nearly always; this saves time
        yield from times
        return
    each = dispatches_once(facts)
    for own in times:
        within = {one.oms_id for one in own.dispatches if _are_other_pieces(facts, one.oms_id, line_id)}
        added = (one for one in each if one.oms_id in within and one not in own.dispatches)
        yield replace(own, dispatches=(*own.dispatches, *added))


def _are_other_pieces(facts: Facts, oms_id: int, line_id: str) -> bool:
    """Whether all that this order of the OMS ever sent of the line is no more than it got and did not cancel."""
    held = [
        pieces for part in facts.parts if part.oms_id == oms_id for name, pieces in part.quantities if name == line_id
    ]
    mine = replace(facts, dispatches=tuple(one for one in facts.dispatches if one.oms_id == oms_id))
    return bool(held) and sent_quantity(mine, line_id) <= max(held) - _canceled(facts, oms_id, line_id)


@asked_once
def _apart(facts: Facts) -> tuple[Facts, ...]:
    dates = _shipped_before_put_back(facts) if facts.dispatches else []
    rest, numbers = dispatches_once(facts) if dates else (), set[tuple[int, str]]()
    found = []
    for date in dates:
        own = tuple(one for one in rest if one.told_at <= date)
        found.append(replace(facts, dispatches=own))
        numbers |= {(one.oms_id, one.tracking.bare_number) for one in own if one.tracking.number}
        since = (one for one in rest if one.told_at > date)
        rest = tuple(one for one in since if (one.oms_id, one.tracking.bare_number) not in numbers)
    return (*found, replace(facts, dispatches=rest) if dates else facts)


def _shipped_before_put_back(facts: Facts) -> list[datetime]:
    """Until when the goods left that Mirakl showed shipped before it was put back, for each time. Empty: it was not put
    back, as far as is known.

    A person who releases it names Mirakl's date. Before that, the newest read that shows it shipped has this date. If
    the OMS sent it again before anybody released it, only the first read is kept, and Mirakl's date of the newest read
    that shows it to be sent. Where Mirakl debits one parcel before the rest is shipped, OR24 is made after that, and
    nobody put the order back.
    """
    dates = {at for one in facts.decisions if (at := _released(one)) is not None}
    if is_put_back(facts):
        dates.add(shipped_until(facts).replace(microsecond=0))  # as a release will name it
    if dates:
        return [at + CLOCKS_DIFFER for at in sorted(dates)]
    first, last = oldest_shipped(facts), newest_to_send(facts)
    if first is None or last is None or age_of_kept(first) >= age_of_kept(last):
        return []
    made = any(one.kind == CommandKind.CONFIRM and one.at <= first.read_at for one in facts.answers)
    return [max(first.read_at, last.updated_at)] if made or _left_by_report_of_others(facts, first, last) else []


def _left_by_report_of_others(facts: Facts, first: LastOpen, last: LastOpen | NotShown) -> bool:
    """Whether all of it left while Mirakl showed the order shipped (`first`), which somebody else had reported, before
    it showed it to be sent (`last`)."""
    before = tuple(one for one in facts.dispatches if one.oms_id != VOUCHED and one.told_at <= last.updated_at)
    left = max((one.told_at for one in before), default=EPOCH)
    is_so = left_while_shipped(facts, left, first.updated_at, last.updated_at)
    return is_so and all_left_by(replace(facts, dispatches=before), left)


def _released(one: Decision) -> datetime | None:
    """The date that a release of `shipped_before` names. None: it is another decision, or names no date."""
    dates = filter(None, one.details_of(Reason.SHIPPED_BEFORE))
    return max((datetime.fromisoformat(date).replace(tzinfo=UTC) for date in dates), default=None)


def _too_many(facts: Facts, reports: Mapping[int, list[Dispatch]]) -> dict[str, _Excess]:
    """The lines that left twice, or perhaps did, each with the OMS's orders that sent it.

    Of each line the most that may have left counts. It is known to have left twice if the least that left is too much.
    """
    known = {oms_id: _known_of(facts, oms_id, each) for oms_id, each in reports.items()}
    wanted = wanted_pieces(facts)
    found, room, sure_room = dict[str, _Excess](), 0, 0
    in_parcels = _parcels_tell_all(wanted, reports)
    if in_parcels and not any(_is_before_parcels(each) for each in reports.values()):
        return found
    groups = by_number(facts, known)
    for line, number in wanted.items():
        most = number or 1
        left = {oms_id: lines[line] for oms_id, lines in known.items() if lines.get(line, 0) != 0}
        at_most = left_at_most(facts, line, {one: most if n is _ALL else n for one, n in left.items()}, most)
        at_least = sum(max((left[one] or 1 for one in group if one in left), default=0) for group in groups)
        if number is not None and at_most > most and len(left) > 1:
            found[line] = _Excess(tuple(sorted(left)), at_least > most)
        room += max(0, most - at_most)
        sure_room += max(0, most - at_least)
    # An order of which nothing is known has at least one piece. If no line of any is known, and the shop says that its
    # orders are not split, each of their statuses is about the whole order.
    unknown = sorted(oms_id for oms_id, lines in known.items() if not lines)
    if len(unknown) > room or _is_each_whole(facts, reports, unknown):
        more = sum(not any(known[one] for one in group) for group in groups)
        for line in wanted:
            of_line = found.get(line, _Excess((), is_known=False))
            holders = {oms_id for oms_id, lines in known.items() if lines.get(line, 0) != 0}
            found[line] = _Excess(tuple(sorted({*holders, *unknown})), of_line.is_known or more > sure_room)
    return {line: one._replace(is_known=one.is_known and not in_parcels) for line, one in found.items()}


def _is_each_whole(facts: Facts, reports: Mapping[int, list[Dispatch]], unknown: list[int]) -> bool:
    """Whether several orders of the OMS reported statuses that are about the whole order, as far as the shop's settings
    say, and no line of any is known. Not if the answer to the import named each of them: then it split our order."""
    answered = {one.at for one in facts.answers if one.kind == CommandKind.IMPORT}
    named = {one.oms_id for one in facts.statuses if one.at in answered}
    is_whole = all(one.covers == "order" for each in reports.values() for one in each)
    return 1 < len(unknown) == len(reports) and is_whole and not named.issuperset(unknown)


def wanted_pieces(facts: Facts) -> dict[str, int | None]:
    """The most pieces of each line that were ever to be sent, without lines that never were. None: not known."""
    return {line.id: pieces for line in facts.lines if (pieces := _most_to_send(facts, line)) != 0}


def _parcels_tell_all(wanted: Mapping[str, int | None], reports: Mapping[int, list[Dispatch]]) -> bool:
    """Whether each order of the OMS named items of its parcels, and together they are what is to be sent, once. The OMS
    may have split its order after the answer to the import: then its status does not send what the answer shows. Not if
    a status is about goods that no parcel names."""
    pieces = Counter[str]()
    for each in reports.values():
        items = {(one.tracking.bare_number, item) for one in each for item in one.items}  # a repeat is no second parcel
        if not items or _sends_more(each):
            return False
        for _, (line, number) in items:
            pieces[line] += number
    return pieces == {line: most or 1 for line, most in wanted.items()}


def _sends_more(reports: list[Dispatch]) -> bool:
    """Whether the order's first dispatched status came without items, under a number that none of its parcels has. Then
    it sent what these parcels do not hold. A later number without items may be a correction."""
    first, numbers = _first_status(reports), {one.tracking.bare_number for one in reports if one.items}
    is_alone = first is not None and not any(one.items for one in reports if one.told_at == first.told_at)
    return first is not None and is_alone and first.tracking.bare_number not in numbers | {""}


def _is_before_parcels(reports: list[Dispatch]) -> bool:
    """Whether a dispatched status said that the order left before a report named an item."""
    first = _first_status(reports)
    return first is not None and first.told_at < min((one.told_at for one in reports if one.items), default=EPOCH)


def _first_status(reports: list[Dispatch]) -> Dispatch | None:
    return min((one for one in reports if one.covers), key=lambda one: (one.told_at, one), default=None)


def _known_of(facts: Facts, oms_id: int, reports: list[Dispatch]) -> dict[str, int | None]:
    """The pieces of each line that this order of the OMS sent. Empty: its lines are not known.

    A line that its parcels name left in these pieces. A dispatched status sends what the answer to the import shows of
    the other lines, without what the OMS canceled, and of all lines if it is about more than the parcels.
    """
    found: dict[str, int | None] = {}
    own = replace(facts, dispatches=tuple(reports))
    for line in {line for one in reports for line, _ in one.items}:
        found[line] = sent_quantity(own, line)
    parts = [part for part in facts.parts if part.oms_id == oms_id]
    if any(one.covers for one in reports):
        named = dict(found)
        for line in {line for part in parts for line in part.lines} - (set() if _sends_more(reports) else named.keys()):
            held = [pieces for part in parts for name, pieces in part.quantities if name == line]
            in_parcels = named.get(line, 0) or 0
            found[line] = max(in_parcels, max(held) - _canceled(facts, oms_id, line)) if held else in_parcels or _ALL
    return found


def _canceled(facts: Facts, oms_id: int, line_id: str) -> int:
    """How many pieces of the line this order canceled. A report names what was canceled since the one before
    (docs/kornitx.md 8.3), so equal cancellations of two reports are two."""
    each = [one for one in cancellations_once(facts) if one.oms_id == oms_id]
    return sum(pieces for one in each for line, pieces in one.items if line == line_id)


def _in_parcels(facts: Facts, line_id: str) -> int:
    """How many pieces of the line the parcels hold. What several orders of the OMS report under one number is in one
    parcel."""
    total = sent_quantity(facts, line_id)
    if len({one.oms_id for one in facts.dispatches}) < 2:  # nearly always; this saves time
        return total
    reports = _reports(facts)
    own = {oms_id: sent_quantity(replace(facts, dispatches=tuple(each)), line_id) for oms_id, each in reports.items()}
    most = next((_most_to_send(facts, line) for line in facts.lines if line.id == line_id), None)
    return total - sum(own.values()) + left_at_most(facts, line_id, own, most or 1)


def _most_to_send(facts: Facts, line: Line) -> int | None:
    """The most pieces of the line that were ever to be sent. None: not known. 0: the OMS never had to send it.

    What Mirakl took back since the import is no second parcel: other reasons ask for that.
    """
    went = most_handed_over(facts, line.id)
    ordered = ordered_pieces(facts, line)
    if line.is_taken_back or ordered is None:
        return went or (0 if line.is_taken_back else None)
    return max(ordered, went, dict(facts.pieces).get(line.id, 0), 1)


def _told_at(facts: Facts, line_id: str, excess: _Excess) -> datetime:
    """When the OMS reported the newest of the pieces that left twice. What is reported once more is not newer, but a
    report that makes known that a piece left twice is."""
    told = sorted({one.told_at for one in facts.dispatches if one.oms_id != VOUCHED}, reverse=True)
    for told_at in told:
        earlier = replace(facts, dispatches=tuple(one for one in facts.dispatches if one.told_at < told_at))
        then = _too_many(earlier, _reports(earlier)).get(line_id)
        if then is None or len(then.oms_ids) < len(excess.oms_ids) or then.is_known < excess.is_known:
            return told_at
    return EPOCH


def _pieces_until(facts: Facts, line_id: str, told_at: datetime) -> int:
    """How many pieces of the line the OMS's orders had sent by the reports until then. Of an order of which no line or
    no number is known, all count."""
    most = next((_most_to_send(facts, line) for line in facts.lines if line.id == line_id), None) or 1
    until = replace(facts, dispatches=tuple(one for one in facts.dispatches if one.told_at <= told_at))
    known = [_known_of(until, oms_id, each) or {line_id: _ALL} for oms_id, each in _reports(until).items()]
    left = [lines[line_id] for lines in known if line_id in lines]
    return sum(most if pieces is _ALL else pieces for pieces in left)
