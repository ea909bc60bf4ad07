"""The rules of `shipped_elsewhere`: somebody else than the OMS says that goods left, and the OMS has or sends them too.

Somebody else is another fulfilment centre, a person in Mirakl's portal, or a person who said so to orderflow
(`orders sent`).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from statemachine.asked_once import asked_once
from statemachine.attention.canceled_by_oms import are_all_taken_back_before
from statemachine.attention.marked_by_or24 import pieces_in_oms
from statemachine.commands import Policy
from statemachine.facts import (
    AFTER_SHIPPING,
    DEBIT,
    EPOCH,
    PAY_ON_SHIPMENT,
    UNCLEAR,
    VOUCHED,
    DecisionKind,
    Facts,
    Line,
    Snapshot,
)
from statemachine.occurrences import (
    SHIPPED,
    Begun,
    age_of_kept,
    last_without,
    of_number,
    of_shipped_date,
    of_state,
)
from statemachine.questions.before_shipment import oldest_shipped
from statemachine.questions.ids_in_text import named_in, written
from statemachine.questions.in_oms import (
    goes_on_at,
    is_confirmed_by_us,
    is_debited_after_shipping,
    is_done_in_oms,
    is_shipped_by_another,
    is_shown_shipped,
    left_at,
    unfinished_parts,
)
from statemachine.questions.payloads import may_be_in_oms, what_oms_got
from statemachine.questions.readings import alive_parts, is_canceled_by_oms, is_foreign_tracking, is_vouched
from statemachine.questions.settled import has_left_since, left_though_stopped_at, left_to_others
from statemachine.questions.stops import SHIPPED_LINE, stood_at_shipment
from statemachine.questions.trackings import best_tracking
from statemachine.questions.vouches import sent_beside_at
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from statemachine.states import State

#: How a settle names the reason if it is about the whole order, and no other centre shipped it.
_OF_ORDER: Final = Attention(Reason.SHIPPED_ELSEWHERE).token


def shipped_elsewhere(facts: Facts, policy: Policy, snapshot: Snapshot, state: State) -> Iterator[Attention]:
    """An order, or lines of it, of which somebody else says that they left, while the OMS has them or sent them too."""
    of_order = list(_of_order(facts, policy, snapshot, state))
    yield from of_order
    yield from _of_lines(facts, snapshot, [] if of_order else left_beside_mark(facts))


def is_released_as_dated(facts: Facts, line: Line) -> bool:
    """Whether a person who knew that the line has a `shipped_date` let its import be made."""
    begun = Begun(last_without(facts, of_shipped_date(line)))
    releases = [one for one in facts.decisions if one.kind is DecisionKind.RELEASE and begun.is_known_to(one)]
    details = (detail for one in releases for detail in one.details_of(Reason.LINE_SHIPPED_BEFORE))
    of_order = any(one.names(Reason.SHIPPED_BEFORE) for one in releases)
    return of_order or any(named_in(detail, [line.id]) for detail in details)


# -- The whole order ---------------------------------------------------------------------------------------------


def _of_order(facts: Facts, policy: Policy, snapshot: Snapshot, state: State) -> Iterator[Attention]:
    """An order that somebody else shipped while the OMS has it, or may have it without a report yet; or of which the
    OMS reports since that it sent it too. Mirakl may debit one parcel before the rest is shipped: then only its lines
    count.

    If a person vouched that the goods left, the reason stands before and after our own OR24, but only if the OMS
    reports since that it works on them (`unfinished_parts`) or sent them."""
    elsewhere, sent_at = is_shipped_by_another(facts, policy), sent_twice_at(facts)
    if sent_at == EPOCH and not _may_still_be_sent(facts, snapshot, state, elsewhere=elsewhere):
        return
    marked = [line for line in snapshot.lines if line.shipped]
    is_part = sent_at == EPOCH and _is_part(snapshot)
    if is_part and not elsewhere and all(is_done_in_oms(facts, line) for line in marked):
        return
    lines = ", ".join(written(line.id) for line in marked) if is_part else ""
    by = snapshot.centre if elsewhere else lines
    left = max(left_at(facts, *snapshot.lines) if elsewhere else EPOCH, goes_on_at(facts), sent_at)
    yield Attention(Reason.SHIPPED_ELSEWHERE, by, after=Begun(last_without(facts, SHIPPED), left))


def _is_part(read: Snapshot) -> bool:
    """Whether Mirakl debits some lines that are shipped, and others are not."""
    return read.state in DEBIT and 0 < sum(line.shipped for line in read.lines) < len(read.lines)


def _may_still_be_sent(facts: Facts, snapshot: Snapshot, state: State, *, elsewhere: bool) -> bool:
    """Whether the OMS may still send what somebody else shipped, or another centre shipped what the OMS has; or whether
    Mirakl and the OMS had ended what somebody else shipped."""
    vouched = is_vouched(facts, *snapshot.lines)
    said = state is State.SHIPPED or (state is State.DISPATCHED and vouched) or is_debited_after_shipping(facts)
    if not said or (is_confirmed_by_us(facts) and not (vouched and unfinished_parts(facts))):
        return False
    unreported = not facts.parts and not facts.dispatches and may_be_in_oms(facts)
    in_oms = alive_parts(facts) if elsewhere else unfinished_parts(facts)
    return unreported or bool(in_oms) or (not elsewhere and is_shipped_though_taken_back(facts))


def is_shipped_though_taken_back(facts: Facts) -> bool:
    """Whether somebody else reported an order shipped that Mirakl had taken back, and that the OMS canceled for that,
    so that `oms_canceled` does not ask. Perhaps goods left elsewhere."""
    if is_confirmed_by_us(facts) or facts.dispatches or not is_shown_shipped(facts):
        return False
    return is_canceled_by_oms(facts) and are_all_taken_back_before(facts)


def sent_twice_at(facts: Facts) -> datetime:
    """When the OMS last reported that it sent goods of which somebody else had said that they left, and perhaps other
    goods are meant. EPOCH: never."""
    if not facts.dispatches:  # of orders that are not sent yet; this saves time
        return EPOCH
    return max(sent_beside_at(facts), _sent_beside_portal_at(facts))


def _sent_beside_portal_at(facts: Facts) -> datetime:
    """The same for goods that Mirakl showed shipped, or of which a person settled that somebody else shipped them.

    They are the same goods if Mirakl showed the number of the OMS when it first showed them shipped. If it shows
    another number, foreign_tracking stands. A shipment that OR24 reported is ours. If Mirakl debits one parcel before
    the rest is shipped, only its lines count (`_of_lines`).
    """
    read = facts.snapshot
    if read is None or is_confirmed_by_us(facts) or not facts.dispatches:
        return EPOCH
    if not (read.state in AFTER_SHIPPING or (is_debited_after_shipping(facts) and not _is_part(read))):
        return EPOCH
    left = left_at(facts, *read.lines)
    begun = Begun(told_at=left)
    settles = [one for one in facts.settles if _OF_ORDER in one.subject]
    shown_at = _shown_shipped_at(facts, read)
    is_later = shown_at is not None and shown_at < left
    if left == EPOCH or not (is_later or any(not begun.is_known_to(one) for one in settles)):
        return EPOCH
    return EPOCH if _tells_number(facts, read) else left


def _shown_shipped_at(facts: Facts, read: Snapshot) -> datetime | None:
    """Since when Mirakl may have shown the order shipped. None: it is not known.

    Where it debits after the shipment, the debit shows that, also without a `shipped_date`. The facts do not keep the
    first read of the debit, but the last one before it.
    """
    without = last_without(facts, SHIPPED) if read.workflow == PAY_ON_SHIPMENT else None
    seen = without or oldest_shipped(facts)
    return min(seen.updated_at, seen.read_at) if seen else None


def _tells_number(facts: Facts, read: Snapshot) -> bool:
    """Whether the number that Mirakl shows tells of which parcel somebody else reported the shipment: Mirakl showed the
    number since it showed the order shipped."""
    shown = read.tracking
    if not shown.number:
        return False
    if is_foreign_tracking(facts, shown):
        return bool(best_tracking(facts).number)
    without, open_ = last_without(facts, of_number(shown)), last_without(facts, SHIPPED)
    return without is None or (open_ is not None and age_of_kept(without) <= age_of_kept(open_))


# -- Lines of an order -------------------------------------------------------------------------------------------


def _of_lines(facts: Facts, snapshot: Snapshot, beside: Sequence[Line]) -> Iterator[Attention]:
    """Lines that somebody else marked shipped while the OMS has them, or may have them; or that left it since
    (`beside`), also since a person settled that they are stopped there."""
    still = [line for line in _marked_in_oms(facts, snapshot) if not _is_left_to_others(facts, line)]
    left = _left_all_the_same(facts, snapshot)
    if lines := [line for line in snapshot.lines if line in still or line in left or line in beside]:
        shown = map(_mark_of, still)
        told_at = max((left_though_stopped_at(facts, line.id) for line in left), default=EPOCH)
        told_at = max([told_at, *(left_at(facts, line) for line in beside)])
        after = Begun(last_without(facts, *shown), told_at)
        yield Attention(Reason.SHIPPED_ELSEWHERE, ", ".join(written(line.id) for line in lines), after=after)


def _marked_in_oms(facts: Facts, snapshot: Snapshot) -> list[Line]:
    """Lines that somebody else marked shipped, of an order to be sent, and that the OMS has or may have."""
    if snapshot.state != "SHIPPING" or is_confirmed_by_us(facts):
        return []
    unclear = {name for got in what_oms_got(facts) for name, _ in got.contents if name.startswith(UNCLEAR)}
    in_oms = pieces_in_oms(facts, snapshot)
    return [
        line
        for line in snapshot.lines
        if line.is_marked
        if not (line.is_owed and is_released_as_dated(facts, line))
        if UNCLEAR + line.id not in unclear and not is_done_in_oms(facts, line)
        if any(before.number != 0 for before in in_oms.get(line.id, ()))
    ]


def _mark_of(line: Line) -> str:
    return of_shipped_date(line) if line.is_owed else of_state(line)


def _is_left_to_others(facts: Facts, line: Line) -> bool:
    """Whether a person settled that somebody else shipped the line, alone or with other lines, and knew of its mark."""
    settle = left_to_others(facts, line.id)
    return settle is not None and Begun(last_without(facts, _mark_of(line))).is_known_to(settle)


def _left_all_the_same(facts: Facts, snapshot: Snapshot) -> list[Line]:
    """Lines that somebody else marked shipped, and that the OMS sent since a person settled that they are stopped
    there. Our OR24 for the rest does not end it."""
    lines = []
    for line in snapshot.lines if facts.decisions and facts.dispatches else ():  # most orders have no decision
        settle = left_to_others(facts, line.id)
        if settle and has_left_since(facts, line.id, settle) and stood_at_shipment(facts, line, SHIPPED_LINE):
            lines.append(line)
    return lines


def left_though_marked(facts: Facts) -> tuple[Line, ...]:
    """Lines that somebody else marked shipped, and of which the OMS reported since that it sent them: before a person
    settled the mark, or after that."""
    read = facts.snapshot
    return (*left_beside_mark(facts), *_left_all_the_same(facts, read)) if read else ()


@asked_once
def left_beside_mark(facts: Facts) -> tuple[Line, ...]:
    """Lines that somebody else marked shipped, and of which the OMS reported since that it sent them, or more of them.
    Perhaps two parcels left. Our OR24 or our debit for the order does not end it.

    The mark and the report are about one parcel if Mirakl showed the number of the OMS from the first. After a settle
    that the OMS does not send a line, a status may be about the others (`_left_all_the_same`).
    """
    read, may_be = facts.snapshot, any(what.startswith(SHIPPED_LINE) for what, _ in facts.stops)
    if read is None or not (may_be and facts.dispatches) or sent_twice_at(facts) > EPOCH:  # of most orders; saves time
        return ()
    if not (read.state == "SHIPPING" or is_confirmed_by_us(facts) or _is_part(read)):  # of the whole order
        return ()
    in_oms = pieces_in_oms(facts, read)
    return tuple(
        line
        for line in read.lines
        if any(before.number != 0 for before in in_oms.get(line.id, ())) and _left_beside_mark(facts, read, line)
    )


def _left_beside_mark(facts: Facts, read: Snapshot, line: Line) -> bool:
    mark = SHIPPED_LINE + line.id
    first = dict(facts.seen).get(mark) or dict(facts.stops).get(mark)
    if first is None or first >= left_at(facts, line):
        return False
    is_shown = not is_confirmed_by_us(facts) and line.is_marked
    if not is_shown and not stood_at_shipment(facts, line, SHIPPED_LINE):
        return False
    if left_to_others(facts, line.id) or is_released_as_dated(facts, line):
        return False
    return not _is_number_of_oms_since(facts, read, first)


def _is_number_of_oms_since(facts: Facts, read: Snapshot, since: datetime) -> bool:
    """Whether Mirakl shows a number of the OMS, and each read since this instant showed it."""
    numbers = {one.tracking.bare_number for one in facts.dispatches if one.oms_id != VOUCHED}
    without = last_without(facts, of_number(read.tracking))
    is_since = without is None or min(without.updated_at, without.read_at) < since
    return bool(read.tracking.number) and read.tracking.bare_number in numbers and is_since
