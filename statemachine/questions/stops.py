"""For a while an order or a line must not be sent: payment is awaited again, or somebody else ships it, for example.

The cure of each such reason says to stop the order in the OMS. When Mirakl shows the order to be sent again, the reason
ends, and nothing tells the OMS. So the facts keep when Mirakl last showed that the order must not be sent.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Final

from statemachine.asked_once import asked_once
from statemachine.commands import CommandKind, Policy
from statemachine.facts import (
    AFTER_SHIPPING,
    DEBIT,
    DEBITS_LATE,
    EPOCH,
    PAY_ON_ACCEPTANCE,
    PAY_ON_SHIPMENT,
    WITHDRAWN_OF,
    DecisionKind,
    Facts,
    Handover,
    Line,
    Snapshot,
    Withdrawn,
    age_of,
)
from statemachine.occurrences import age_of_kept, is_kept, last_without, of_mark, seen_at
from statemachine.questions.before_shipment import newest_to_send
from statemachine.questions.in_oms import all_left_by, has_left, is_confirmed_by_us, left_at
from statemachine.questions.payloads import what_oms_got
from statemachine.questions.put_back import CLOCKS_DIFFER, is_of_whole_order, left_while_shipped
from statemachine.questions.readings import (
    debit_comes_first,
    is_ended_everywhere,
    is_pending,
    last_answer,
    may_have,
)
from statemachine.questions.settled import is_added_as_shown, is_settled_as_shown, settle_of_line
from statemachine.questions.vouches import read_known_at
from statemachine.reads_kept import SHIPPED
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason

PAYMENT: Final = "payment awaited"
NOT_OURS: Final = "can_shop_ship false"
_CENTRE: Final = "centre "
_DEFAULT: Final = "DEFAULT"
_DEFAULT_CENTRE: Final = f"{_CENTRE}{_DEFAULT}"
SHIPPED_LINE: Final = "shipped: "
INCIDENT: Final = "incident of "
_GONE: Final = "gone from Mirakl"
TAKEN_BACK: Final = "taken back: "
_IN_PART: Final = "taken back in part: "
#: Mirakl took a line back, all or a part of it.
TAKEN_BACK_OR_PART: Final = (TAKEN_BACK, _IN_PART)
_OF_LINE: Final = (SHIPPED_LINE, INCIDENT, *TAKEN_BACK_OR_PART)
#: Of these the facts also keep when Mirakl first showed them (`Facts.seen`).
KEPT_FIRST: Final = (SHIPPED_LINE, INCIDENT)


_Stops = tuple[tuple[str, datetime], ...]


def stops_of(snapshot: Snapshot) -> _Stops:
    """Why the OMS must not send an order that this read shows, each with the time at which that was so.

    Where the debit follows the shipment, that of the whole order shows every line shipped: these are no marks of lines.
    """
    stops = sorted(_stops_of(snapshot))
    is_after = snapshot.state in DEBIT and snapshot.workflow not in ("", PAY_ON_ACCEPTANCE)
    if is_after and any(what == SHIPPED for what, _ in stops):
        stops = [one for one in stops if not one[0].startswith(SHIPPED_LINE)]
    return tuple(stops)


def _stops_of(snapshot: Snapshot) -> Iterator[tuple[str, datetime]]:
    shown_at = age_of(snapshot)[0]  # a stale read shows what was so earlier
    marked = [line for line in snapshot.lines if line.is_marked]
    after_shipment = snapshot.workflow == PAY_ON_SHIPMENT or marked
    if snapshot.state in DEBIT and not after_shipment:
        yield PAYMENT, shown_at
    in_part = 0 < len(marked) < len(snapshot.lines)
    if snapshot.state in AFTER_SHIPPING or (snapshot.state in DEBIT and after_shipment and not in_part):
        yield SHIPPED, shown_at
    if snapshot.state in ("SHIPPING", *DEBIT):
        yield from ((SHIPPED_LINE + line.id, shown_at) for line in marked)
    if snapshot.state == "SHIPPING" and not snapshot.can_ship:
        yield NOT_OURS, snapshot.read_at
    if snapshot.state == "SHIPPING" and snapshot.centre not in ("", _DEFAULT):  # see `_shown_by`
        yield _CENTRE + snapshot.centre, snapshot.read_at
    for line in snapshot.lines if snapshot.state in ("SHIPPING", *DEBIT) else ():
        if line.has_incident:
            yield INCIDENT + line.id, shown_at
        if line.is_taken_back or line.withdrawn is Withdrawn.PART:
            yield (TAKEN_BACK if line.is_taken_back else _IN_PART) + line.id, shown_at


def stops_read(newest: Snapshot | None, one: Facts, other: Facts) -> _Stops:
    """For each stop that a read showed, the newest start of such a read. `one` and `other` are joined.

    A stop that the newest read shows is left out if that read began last, because it says all.
    """
    first, second = one.snapshot, other.snapshot
    if newest is None or first is None or second is None:  # of most joins; this saves time
        return one.stops_read or other.stops_read
    found = dict(sorted((*_last_read(one), *_last_read(other))))  # of equal keys the later value stays
    shown = _shown_now(one if newest is first else other)
    return tuple(sorted((what, at) for what, at in found.items() if not (what in shown and at == newest.read_at)))


def _last_read(facts: Facts) -> _Stops:
    """For each stop that a read showed, the newest start of such a read."""
    read = facts.snapshot
    return (*facts.stops_read, *((what, read.read_at) for what in _shown_now(facts))) if read else facts.stops_read


@asked_once
def _shown_now(facts: Facts) -> set[str]:
    """The names of the stops that the newest read shows. Empty if an earlier version stored this read: then the row of
    the order holds no earlier reads of them, and has to be what its journal adds up to."""
    return _shown_by(facts.snapshot) if facts.snapshot and facts.snapshot.is_remembered else set()


def _shown_by(read: Snapshot) -> set[str]:
    """The names of the stops that the read shows.

    Whether refunds of the price took all of a line, only another read can tell (joining.py). So both names are here.
    The centre DEFAULT is here, because a shop may leave it out of its own centres. Most orders are always of this
    centre, so it is not among the stops of the facts.
    """
    found = {what for what, _ in _stops_of(read)}
    for line in read.lines:
        if line.withdrawn in (Withdrawn.PART, Withdrawn.PRICE):
            found |= {TAKEN_BACK + line.id, _IN_PART + line.id}
    return found | {_DEFAULT_CENTRE} if read.centre == _DEFAULT else found


def let_go_again(
    facts: Facts, policy: Policy, snapshot: Snapshot, fewer: Collection[str], more: Collection[str]
) -> Iterator[Attention]:
    """An order, or a line of it, that is to be sent and had to be stopped in the OMS since the OMS got it. What left
    since then shows that the OMS goes on. `fewer`, `more`: the ids of the lines that lines_canceled_after_import and
    lines_added_after_import name, or about which oms_canceled asks.

    A person cannot have stopped it before a read showed the stop. So what left before the newest such read began, but
    after Mirakl's date of the stop, does not show that the OMS goes on.

    Each line has its own reason: a person who lets one go on leaves the others stopped. Of what stopped the whole order
    the newest counts, and if a line was stopped by the same read, it is about the order.
    """
    if not (facts.stops or facts.stops_read or facts.decisions):  # many orders have neither; this saves time
        return
    is_ours = snapshot.can_ship and snapshot.centre in policy.centres
    got = what_oms_got(facts)
    if not (is_ours and got and snapshot.owed_lines and snapshot.state == "SHIPPING"):
        return
    ours, of_order, of_lines = {_CENTRE + centre for centre in policy.centres}, [], []
    read = dict(sorted(_last_read(facts)))
    from_default = [(what, at) for what, at in read.items() if what == _DEFAULT_CENTRE]
    for what, at in (*facts.stops, *from_default, *_gone(facts, snapshot)):
        read_at = max(at, read.get(what, at))
        if not _is_since(facts, what, at, got[0]):
            continue
        if of_line := next((prefix for prefix in _OF_LINE if what.startswith(prefix)), None):
            line = next((one for one in snapshot.owed_lines if what == of_line + one.id), None)
            known = [name.removeprefix(WITHDRAWN_OF) for name, _ in got[0].contents] if of_line == _IN_PART else []
            asked = {*more, *known, *(fewer if of_line in TAKEN_BACK_OR_PART else ())}
            if line and read_at > left_at(facts, line) and _goes_on(facts, line, what, at, asked):
                of_lines.append((at, what))
        elif what not in ours and read_at > left_at(facts, *snapshot.owed_lines):
            of_order.append((at, what))
    newest = max(of_order, default=None)
    apart = [one for one in of_lines if newest is None or one[0] != newest[0]]
    for at, what in [*apart, *([newest] if newest else [])]:
        yield Attention(Reason.GO_ON_IN_OMS, f"{what} until {at:%Y-%m-%d %H:%M:%S}")


def is_put_back(facts: Facts) -> bool:
    """Whether Mirakl showed the order shipped after the goods left, by our OR24 or somebody else's report, and now
    shows it to be sent.

    Somebody put it back: another OR24 would say that goods left again. A confirmed OR24 that was never applied
    (docs/rules.md 16) is another case: no read showed the order shipped. Where Mirakl debits one parcel before the rest
    is shipped, only what follows our OR24 shows that, or a read that showed the whole order shipped.
    """
    return shipped_until(facts) > EPOCH


@asked_once
def shipped_until(facts: Facts) -> datetime:
    """Of an order that was put back after the goods left: the newest date at which it is known to have been shown
    shipped. It is Mirakl's date of a read, or when the OMS reported goods after that. EPOCH: it was not put back.

    If goods left after the newest read that shows it shipped, and others have not left, it has to be in SHIPPING.
    """
    read, shown = facts.snapshot, facts.shipped_update
    if read is None or read.state != "SHIPPING" or shown == EPOCH:
        return EPOCH
    left = max([left_at(facts, *read.lines), *read_known_at(facts)])
    if left <= shown:
        return shown if is_confirmed_by_us(facts) or (left > EPOCH and is_of_whole_order(facts)) else EPOCH
    answer = last_answer(facts, CommandKind.CONFIRM)
    is_by_us = answer is not None and answer.at >= left
    if not is_by_us and left_while_shipped(facts, left, shown, age_of(read)[0]) and all_left_by(facts, left):
        return left
    # Mirakl may date our OR24 a little before the report. But it may also have debited another parcel just before that:
    # then it has not applied our OR24 yet, or shows no change since.
    is_changed = answer is not None and not is_pending(facts, answer) and read.updated_at > answer.at
    return shown if is_changed and shown + CLOCKS_DIFFER >= left else EPOCH


def left_though_taken_back(facts: Facts, line: Line) -> bool:
    """Whether the line left, and Mirakl had taken it back before the shipment, all or a part, and no person settled
    that since. A payment of a refund changes the order too: a person who knew each refund and cancelation settled it.

    What comes back after the delivery does not count. A read before the shipment may show it, or a later one may tell
    that it was so before (`_taken_back_unread`). Where Mirakl debits after the shipment, a read in the debit may be the
    first that shows it: then only what was shown before the goods left counts.
    """
    may_be = facts.stops or line.withdrawn_at or line.state == "CANCELED"  # of most orders none; this saves time
    if not (may_be and has_left(facts, line)):
        return False
    if _taken_back_unread(facts, line):
        return True
    left, shipped_at = left_at(facts, line), _shipped_at(facts, line)
    created = max((at for at in line.withdrawn_at if at <= shipped_at), default=None)
    if created is not None and is_settled_as_shown(facts, line.id, created):
        return False
    return any(
        not is_settled_as_shown(facts, line.id, at)
        for at in _stopped_since_import(facts, TAKEN_BACK + line.id, _IN_PART + line.id)
        if debit_comes_first(facts) or at <= left
    )


def _taken_back_unread(facts: Facts, line: Line) -> bool:
    """Whether Mirakl took the line back, all or a part, after the import and before the shipment, as the newest read
    tells. OR24 goes out without a read, so no read before the shipment need have shown it.

    Each refund and each cancelation has a date of its own. A line in CANCELED was not delivered, because what comes
    back after that is refunded; but where Mirakl debits long after the shipment, it may be canceled, and only the date
    tells.
    """
    got = what_oms_got(facts)
    if not got or facts.snapshot is None:
        return False
    if line.state == "CANCELED" and facts.snapshot.workflow not in DEBITS_LATE:
        return True
    return any(
        _is_since(facts, TAKEN_BACK, at, got[0]) and at <= _shipped_at(facts, line) and not _is_settled(facts, line, at)
        for at in line.withdrawn_at
    )


def _shipped_at(facts: Facts, line: Line) -> datetime:
    """When Mirakl took our OR24, or else when the OMS last reported that more of the line left."""
    answer = last_answer(facts, CommandKind.CONFIRM)
    return answer.at if answer else left_at(facts, line)


def came_back(facts: Facts, line: Line) -> bool:
    """Whether each refund and cancelation of the line has a date, and each was made after the line had left."""
    return bool(line.withdrawn_at) and min(line.withdrawn_at) > _shipped_at(facts, line)


def _is_settled(facts: Facts, line: Line, at: datetime) -> bool:
    """Whether a person settled how much of the line is to be sent, and a read that began at this time or later was
    known then."""
    settle = settle_of_line(facts, at, line.id)
    return settle is not None and (settle.seen.read_at >= at or not is_kept(settle.seen))


def is_unpaid_again(facts: Facts) -> bool:
    """Whether Mirakl waits for the customer's money, and an earlier read showed that the order can be sent, or a person
    settled that the OMS has it too early."""
    settled = any(one.names(Reason.PAYMENT_AWAITED_AGAIN) for one in facts.settles)
    return facts.snapshot is not None and facts.snapshot.state in DEBIT and (settled or facts.baseline is not None)


def stood_at_shipment(facts: Facts, line: Line, *stops: str) -> bool:
    """Whether the newest read before the shipment, or a later one, showed the line so. `stops`: SHIPPED_LINE or
    INCIDENT.

    Where Mirakl debits after the shipment, the debit of our own shipment shows every line shipped, and an incident in
    it may be about goods that have arrived. So what no read before it showed does not count, nor does a mark that is
    known to be missing in the last of these.
    """
    if not facts.stops:  # of most orders; this saves time
        return False
    last, names = newest_to_send(facts), [stop + line.id for stop in stops]
    if last is None:
        return False
    if not debit_comes_first(facts):
        first = dict(facts.seen)  # without what a version before read of incidents
        names = [name for name in names if first.get(name, EPOCH) <= last.updated_at]
    stopped = _stopped_since_import(facts, *names)
    if not stopped or last.updated_at > max(stopped):
        return False
    without = last_without(facts, of_mark(line)) if SHIPPED_LINE in stops else None
    return without is None or age_of_kept(without) != age_of_kept(last)


def is_marked_in_incident(facts: Facts, line: Line) -> bool:
    """Whether our OR24, which marks every line shipped, marked this one in an incident, while the OMS has it, and no
    person settled how much of it is to be sent. The incident may be closed since, or the order debited."""
    if not facts.stops:  # of most orders; this saves time
        return False
    if not is_confirmed_by_us(facts) or line.state not in (*AFTER_SHIPPING, *DEBIT, "INCIDENT_CLOSED"):
        return False
    is_made = bool(may_have(facts, line.id)) and not (has_left(facts, line) or is_ended_everywhere(facts, line.id))
    return is_made and settle_of_line(facts, EPOCH, line.id) is None and stood_at_shipment(facts, line, INCIDENT)


def line_stopped_at(facts: Facts, line: Line) -> datetime | None:
    """When a read since the import last showed the line taken back or in an incident, and the order not shipped.
    None: no read did."""
    return max(_stopped_since_import(facts, TAKEN_BACK + line.id, INCIDENT + line.id), default=None)


def was_taken_back(facts: Facts, line: Line) -> bool:
    """Whether a read since the import showed the line taken back, all or a part, and the order not shipped."""
    return bool(_stopped_since_import(facts, TAKEN_BACK + line.id, _IN_PART + line.id))


def _stopped_since_import(facts: Facts, *names: str) -> list[datetime]:
    """When reads since the import last showed these stops."""
    got = what_oms_got(facts) if facts.stops else ()  # most orders have none; this saves time
    return [at for what, at in facts.stops if got and what in names and _is_since(facts, what, at, got[0])]


def _gone(facts: Facts, snapshot: Snapshot) -> Iterator[tuple[str, datetime]]:
    """When a person settled that Mirakl does not show the order, and a read shows it that began after those by which
    the person knew that."""
    for one in facts.settles:
        if one.names(Reason.GONE_FROM_MIRAKL):
            missed = (at for at in facts.not_found if is_kept(one.seen) and at > one.seen.read_at)
            if min(missed, default=one.at) < snapshot.read_at:
                yield _GONE, one.at


def _is_since(facts: Facts, what: str, at: datetime, got: Handover) -> bool:
    """Whether Mirakl showed this after the read that the OMS's order was made of.

    Mirakl may date the change before our claim of the import, which was made of an earlier read.
    """
    if what in (NOT_OURS, _GONE) or what.startswith(_CENTRE):  # these have no date of Mirakl
        by_hand = seen_at(facts, got.at, DecisionKind.HANDLED)
        return at > (by_hand.read_at if by_hand else got.at)
    return at >= got.at or EPOCH < got.shown_at < at


def _goes_on(facts: Facts, line: Line, what: str, at: datetime, asked: Collection[str]) -> bool:
    """Whether nothing but the end of this stop tells that the line is to be sent.

    A person who settled an incident, or that the line was taken back, stopped it: then lines_added_after_import asks
    for it, until a person settles that. oms_canceled asks for a line that the OMS canceled. `asked`: the ids of the
    lines for which another reason asks.
    """
    if what.startswith(SHIPPED_LINE):
        return not line.shipped
    if line.id in asked or has_left(facts, line) or is_ended_everywhere(facts, line.id):
        return False
    if what.startswith(TAKEN_BACK_OR_PART):
        return line.withdrawn is not Withdrawn.PART and not is_settled_as_shown(facts, line.id, at)
    return not is_added_as_shown(facts, line.id, at)
