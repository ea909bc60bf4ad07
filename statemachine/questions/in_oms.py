"""What the OMS still has of an order, and whether somebody else sent it. readings.py has the lines of its parts."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from statemachine.commands import CommandKind, Policy
from statemachine.facts import (
    AFTER_SHIPPING,
    DEBIT,
    DEBITS_FIRST,
    EPOCH,
    EVERY_LINE,
    PAY_ON_SHIPMENT,
    VOUCHED,
    Facts,
    Line,
)
from statemachine.questions.parcels import sent_more_at
from statemachine.questions.parts import parts_in_oms, parts_with, sent_by_status
from statemachine.questions.payloads import what_oms_got
from statemachine.questions.readings import (
    alive_parts,
    all_sent,
    covers,
    first_reported,
    in_parcels,
    is_ended_everywhere,
    is_ended_in_oms,
    is_sent,
    is_vouched,
    last_answer,
    may_have,
    mirakl_state,
    unsent_parts,
)
from statemachine.questions.receipts import repeats
from statemachine.questions.settled import left_though_stopped_at, settled_pieces
from statemachine.questions.vouches import report_known_at

#: Statuses in which the OMS makes nothing: a question, canceled, on hold (docs/kornitx.md 8.1).
STANDING_STILL: Final = (32, 128, 256)


def is_done_in_oms(facts: Facts, line: Line) -> bool:
    """Whether the OMS itself sent or ended the line in every part that has it, or a person vouches for the order.

    Parcels count for the line, whatever part they are of. A dispatched status and a cancellation count for their own
    part only. A part of which no line is known may have it. If none is known to have it, all have to be sent or ended.
    """
    if is_vouched(facts, line) or in_parcels(facts, line):
        return True
    holders = may_have(facts, line.id) or list(parts_in_oms(facts))
    sent = sent_by_status(facts)
    return bool(holders) and all(oms_id in sent or is_ended_in_oms(facts, oms_id, line.id) for oms_id in holders)


def has_left(facts: Facts, line: Line) -> bool:
    """Whether goods of the line are on their way: parcels hold all its pieces, or it was sent by a status or a person.

    A dispatched status sends no line that the OMS never got, none that the OMS canceled while it made others, and none
    that a person settled as stopped, if parcels name others. Nor does it send a line that the OMS's answer to the
    import shows in another order than the one that left, whatever `may_split` says. The rules of OR24 do not need this:
    they ask about owed lines.
    """
    return is_sent(facts, line) and (in_parcels(facts, line) or not _cannot_leave(facts, line))


def _is_left_out(facts: Facts, line: Line) -> bool:
    """Whether the line counts as sent only because a person vouched for the others: the vouch does not name it, as it
    was not to be sent."""
    covering = [one for one in facts.dispatches if one.covers and covers(facts, one, line)]
    names_it = [one.oms_id != VOUCHED or one.vouched == EVERY_LINE or line.id in dict(one.vouched) for one in covering]
    return bool(covering) and not any(names_it)


def _cannot_leave(facts: Facts, line: Line) -> bool:
    if is_vouched(facts, line):
        return _is_left_out(facts, line)
    listed = {name for one in facts.dispatches for name, _ in one.items}
    settled = settled_pieces(facts, EPOCH).get(line.id)
    stopped = settled and settled[-1].number == 0 and left_though_stopped_at(facts, line.id) == EPOCH
    if (stopped and listed and line.id not in listed) or _is_in_another_part(facts, line):
        return True
    got = what_oms_got(facts)
    in_oms = {line_id for lines in parts_in_oms(facts).values() for line_id in lines}
    never_got = bool(got) and line.id not in in_oms and all(not dict(one.items).get(line.id, 0) for one in got)
    had = [other.id for other in facts.lines if may_have(facts, other.id)]
    makes_others = any(not is_ended_everywhere(facts, other) for other in had)  # else it made all of them again
    return (never_got and any(one.items for one in got)) or (makes_others and is_ended_everywhere(facts, line.id))


def _is_in_another_part(facts: Facts, line: Line) -> bool:
    """Whether the OMS's answer to the import shows lines in several parts, and none of those with this line left."""
    known = [oms_id for oms_id, lines in parts_in_oms(facts).items() if lines]
    holders = parts_with(facts, line.id)
    return len(known) > 1 and bool(holders) and not holders & sent_by_status(facts)


def is_to_be_sent(facts: Facts, line: Line) -> bool:
    """Whether the line is to be sent, or only our OR24 marked it shipped: it marks every line, also one whose refund is
    rejected later."""
    return line.is_owed or (is_confirmed_by_us(facts) and line.state in AFTER_SHIPPING and not line.is_taken_back)


def is_confirmed_by_us(facts: Facts) -> bool:
    """Whether OR24 was attempted, or a person said that it was done by hand (`orders handled`).

    Then Mirakl may show lines as shipped because of that.
    """
    called = any(one.kind == CommandKind.CONFIRM for one in facts.attempts)
    return called or last_answer(facts, CommandKind.CONFIRM) is not None


def is_shipped_by_another(facts: Facts, policy: Policy) -> bool:
    """Whether another fulfilment centre shipped the order. Then the tracking at Mirakl is not ours to change.

    Ask only about an order that Mirakl shows in SHIPPING or later: earlier states are not ruled out here.
    """
    snapshot = facts.snapshot
    elsewhere = snapshot is not None and snapshot.centre not in policy.centres and snapshot.state != "SHIPPING"
    return elsewhere and not is_confirmed_by_us(facts)


def is_sent_by_others(facts: Facts, policy: Policy) -> bool:
    """Whether Mirakl shows that somebody else ships the order, or that another fulfilment centre shipped it."""
    shown = facts.snapshot
    if shown is not None and shown.state == "SHIPPING":
        return not (shown.can_ship and shown.centre in policy.centres)
    return is_shipped_by_another(facts, policy)


def is_debited_as_shipped(facts: Facts) -> bool:
    """Whether Mirakl shows a debit in a workflow that debits after a shipment, and a line has a `shipped_date`."""
    shown = facts.snapshot
    after = shown is not None and shown.state in DEBIT and shown.workflow not in DEBITS_FIRST
    return after and any(line.shipped for line in facts.lines)


def is_debited_after_shipping(facts: Facts) -> bool:
    """Whether Mirakl debits after a shipment: `is_debited_as_shipped`, or in PAY_ON_SHIPMENT an earlier read showed
    SHIPPING. A debit before SHIPPING proves nothing (docs/rules.md 3)."""
    shown = facts.snapshot
    on_shipment = shown is not None and shown.state in DEBIT and shown.workflow == PAY_ON_SHIPMENT
    return is_debited_as_shipped(facts) or (on_shipment and facts.baseline is not None)


def is_shown_shipped(facts: Facts) -> bool:
    """Whether Mirakl shows the order shipped, or debits after a shipment."""
    return mirakl_state(facts) in AFTER_SHIPPING or is_debited_after_shipping(facts)


def all_left(facts: Facts) -> bool:
    """Whether the OMS sent every owed line, and none of its orders has goods that have not left."""
    return all_sent(facts) and not unfinished_parts(facts)


def all_left_by(facts: Facts, left: datetime) -> bool:
    """Whether all of the order has left, but for orders of the OMS on which it first reported after this time: these
    make goods again. `left`: when the OMS reported the newest goods."""
    return all_sent(facts) and all(first_reported(facts, oms_id) > left for oms_id in unsent_parts(facts))


def left_at(facts: Facts, *lines: Line) -> datetime:
    """When the OMS last reported that more of these lines left. Another report on what left before is not newer. EPOCH:
    never."""
    return max((_left_at(facts, line) for line in lines), default=EPOCH)


def goes_on_at(facts: Facts) -> datetime:
    """When the OMS last reported that it works on something of the order that did not leave. So it was not stopped
    there before. A repeat of a callback is no news, nor is a report that names what was canceled. EPOCH: never."""
    parts, again = unfinished_parts(facts), repeats(facts) | {one.told_at for one in facts.cancellations}
    reports = (one for one in facts.statuses if one.oms_id in parts and one.status not in STANDING_STILL)
    return max((one.at for one in reports if one.at not in again), default=EPOCH)


def _left_at(facts: Facts, line: Line) -> datetime:
    of_parts: dict[int, datetime] = {}  # the first report that this part left, with the line
    reports = () if _cannot_leave(facts, line) else facts.dispatches
    for one in sorted(reports, key=lambda one: one.told_at):
        if one.covers and one.oms_id != VOUCHED and covers(facts, one, line):
            of_parts.setdefault(one.oms_id, one.told_at)
    # If an order of the OMS that has the line sent it, a status of one that has other lines is no news of it.
    without = {oms_id for oms_id, held in parts_in_oms(facts).items() if held and line.id not in held}
    if of_parts.keys() - without:
        of_parts = {oms_id: at for oms_id, at in of_parts.items() if oms_id not in without}
    news = [at for at in of_parts.values() if not _in_parcels_before(facts, line, at)]
    by_parcels = sent_more_at(facts, line.id)
    if by_parcels > min(news, default=by_parcels):
        by_parcels = EPOCH  # the parcels of what a status reported before
    return max([by_parcels, *news])


def _in_parcels_before(facts: Facts, line: Line, at: datetime) -> bool:
    earlier = tuple(one for one in facts.dispatches if one.told_at < at)
    return in_parcels(replace(facts, dispatches=earlier), line)


def unfinished_parts(facts: Facts) -> set[int]:
    """The OMS ids of the parts that the OMS neither ended nor sent as a whole. If a person vouches, only those on which
    the OMS reports progress since."""
    sent = sent_by_status(facts)
    lines, lines_of = facts.lines, parts_in_oms(facts)
    open_parts = alive_parts(facts) - sent
    if is_vouched(facts, *lines):
        known_at, again = max(report_known_at(facts).values()), repeats(facts)
        since = (one for one in facts.statuses if one.at > known_at and one.at not in again)
        open_parts &= {one.oms_id for one in since if one.status not in STANDING_STILL}
    return {
        oms_id
        for oms_id in open_parts
        if not lines or any(not in_parcels(facts, line) for line in lines if line.id in (lines_of[oms_id] or {line.id}))
    }
