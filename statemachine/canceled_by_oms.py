"""The rules by which an order that the OMS canceled, as a whole or in part, needs a person."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from statemachine.facts import EPOCH, Cancellation, Decision, DecisionKind, Facts, Line, Withdrawn
from statemachine.ids_in_text import entries, read, written
from statemachine.in_oms import has_left, is_to_be_sent
from statemachine.occurrences import Begun
from statemachine.payloads import most_handed_over
from statemachine.readings import is_ended_in_oms, may_have, parts_in_oms
from statemachine.reads_kept import NotShown
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from statemachine.receipts import cancellations_once
from statemachine.settled import taken_out
from statemachine.stops import SHIPPED_LINE, TAKEN_BACK, stood_at_shipment

#: Before the canceled lines that are not to be sent, in the detail of the reason.
NOT_OWED: Final = " not owed: "


def reasons_of_cancellations(facts: Facts) -> Iterator[Attention]:
    """A reason for each cancellation.

    A person who settles it knows which of the canceled lines are still to be sent. The settle does not count any more
    if one that was not to be sent then, or at a later read, is to be sent now, and the OMS did not make it again:
    nobody makes it.

    What Mirakl took back before makes no reason: to stop it in the OMS is what the reason of that asked for.
    """
    for one in _once(facts):
        if _was_taken_back_before(facts, one):
            continue
        what = Attention(Reason.OMS_CANCELED, _named(one))
        owed, not_owed = _canceled_lines(facts, one)
        after = Begun(_last_taken_back(facts, owed))
        settles = _not_owed_at_settles(facts, what)
        if any(owed.isdisjoint(before) and after.is_known_to(settle) for settle, before in settles):
            continue
        names = ",".join(sorted(written(line) for line in not_owed))
        yield Attention(Reason.OMS_CANCELED, what.detail + (NOT_OWED + names if names else ""), after=after)


def canceled_and_to_be_sent(facts: Facts) -> list[str]:
    """The ids of the lines that the OMS canceled and does not make again, and that Mirakl still shows to be sent."""
    canceled = set[str]().union(*(_canceled_lines(facts, one)[0] for one in _once(facts)))
    return [line.id for line in (facts.snapshot.owed_lines if facts.snapshot else ()) if line.id in canceled]


def pieces_canceled(facts: Facts, line_id: str) -> int:
    """How many pieces of the line the OMS canceled, of which it named a number."""
    return sum(pieces for one in _once(facts) for name, pieces in one.items if name == line_id)


def lines_canceled_in(one: Attention, facts: Facts) -> list[Line]:
    """The lines that a reason `oms_canceled` is about. If its cancellation names none, every line."""
    lines = facts.snapshot.lines if facts.snapshot else ()
    ids = {read(text).rpartition("*")[0] for text in _pieces_named(one)}
    return [line for line in lines if line.id in ids or not ids]


def names_pieces(one: Attention) -> bool:
    """Whether a reason `oms_canceled` is about pieces of lines, and not about a whole order of the OMS."""
    return bool(_pieces_named(one))


def _pieces_named(one: Attention) -> list[str]:
    return list(entries(one.detail.partition(NOT_OWED)[0]))[1:]


def _once(facts: Facts) -> list[Cancellation]:
    """The cancellations, without those of lines if the OMS canceled the whole order at the same time or later."""
    found = cancellations_once(facts)
    whole: dict[int, datetime] = {}
    for one in (one for one in found if not one.items):
        whole[one.oms_id] = max(one.told_at, whole.get(one.oms_id, EPOCH))
    return [one for one in found if not (one.items and EPOCH < one.told_at <= whole.get(one.oms_id, EPOCH))]


def _last_taken_back(facts: Facts, lines: set[str]) -> NotShown | None:
    """The newest read in which Mirakl had taken one of these lines back. None: no such read is known."""
    reads = [NotShown(what, at, -1, False, at) for what, at in facts.stops if what.removeprefix(TAKEN_BACK) in lines]
    return max((one for one in reads if one.what.startswith(TAKEN_BACK)), key=lambda one: one.read_at, default=None)


def _named(one: Cancellation) -> str:
    lines = [f"{written(line)}*{quantity}" for line, quantity in one.items]
    # The time tells a second equal cancellation from the first, which a person may have settled.
    reported = f" {one.told_at:%Y-%m-%d %H:%M:%S.%f}" if one.told_at > EPOCH else ""
    return ",".join([str(one.oms_id), *lines]) + reported


def _was_taken_back_before(facts: Facts, one: Cancellation) -> bool:
    """Whether Mirakl had taken back all that the OMS canceled here.

    A line counts if a person settled before that none of it is sent, or if Mirakl dates each of its refunds and
    cancelations before. Of a line of which pieces are left, the OMS may cancel as many as Mirakl shows fewer. A line
    that left is canceled only if the OMS named pieces of it.
    """
    lines = {line.id: line for line in facts.snapshot.lines} if facts.snapshot else {}
    of_pieces = {line for line, _ in one.items}
    left = {line for line in lines.keys() - of_pieces if has_left(facts, lines[line])}
    ids = _named_lines(facts, one) - left
    if not ids <= lines.keys() or _canceled_lines(facts, one)[0]:
        return False
    return bool(ids) and all(_is_taken_back_before(facts, lines[line], one.told_at) for line in ids)


def _is_taken_back_before(facts: Facts, line: Line, told_at: datetime) -> bool:
    settle = taken_out(facts, line.id)
    if settle is not None and not Begun(told_at=told_at).is_known_to(settle):
        return True
    if line.is_taken_back:
        return bool(line.withdrawn_at) and max(line.withdrawn_at) < told_at
    went = most_handed_over(facts, line.id)
    canceled = pieces_canceled(facts, line.id)
    is_known = line.quantity is not None and line.withdrawn is Withdrawn.NONE
    return is_known and 0 < canceled <= went - (line.quantity or 0)


def _named_lines(facts: Facts, one: Cancellation) -> set[str]:
    """The ids of the lines that this cancellation is about."""
    lines = facts.snapshot.lines if facts.snapshot else ()
    of_items = {line for line, _ in one.items}
    return of_items or set(parts_in_oms(facts).get(one.oms_id) or {line.id for line in lines})


def _canceled_lines(facts: Facts, one: Cancellation) -> tuple[set[str], set[str]]:
    """The lines of this cancellation that the OMS does not make: those to be sent, and those not to be sent."""
    lines, named = facts.snapshot.lines if facts.snapshot else (), _named_lines(facts, one)
    mine = [line for line in lines if line.id in named and not has_left(facts, line) and _nobody_makes(facts, line.id)]
    owed = {line.id for line in mine if line.is_owed or (is_to_be_sent(facts, line) and not _is_of_others(facts, line))}
    return owed, {line.id for line in mine} - owed


def _is_of_others(facts: Facts, line: Line) -> bool:
    """Whether somebody else marked the line shipped before our OR24, which marks every line."""
    return stood_at_shipment(facts, line, SHIPPED_LINE)


def _not_owed_at_settles(facts: Facts, what: Attention) -> Iterator[tuple[Decision, set[str]]]:
    """Each settle of this cancellation, with the canceled lines that were not to be sent then."""
    for settle in (one for one in facts.decisions if one.kind is DecisionKind.SETTLE):
        for token in settle.subject:
            name, _, lines = token.partition(NOT_OWED)
            if name in (what.token, read(what.token)):  # a version before wrote ids as they are (ends.py)
                yield settle, {read(line) for line in entries(lines)}


def _nobody_makes(facts: Facts, line_id: str) -> bool:
    """Whether the OMS canceled the line in each of its orders that has or may have it, as far as is known."""
    return all(is_ended_in_oms(facts, one, line_id) for one in may_have(facts, line_id))
