"""The rules by which what the OMS reported on an order needs a person."""

from collections.abc import Iterator, Sequence
from typing import Final

from statemachine.attention.canceled_by_oms import reasons_of_cancellations
from statemachine.attention.left_twice import more_left_than_went
from statemachine.attention.made_twice import made_twice
from statemachine.commands import CommandKind
from statemachine.facts import VOUCHED, Facts, Line
from statemachine.occurrences import Begun
from statemachine.questions.ids_in_text import written
from statemachine.questions.in_oms import unfinished_parts
from statemachine.questions.parts import parts_in_oms, shown_pieces
from statemachine.questions.payloads import our_payloads
from statemachine.questions.readings import (
    alive_parts,
    all_sent,
    covers,
    is_pending,
    is_vouched,
    last_answer,
    lines_not_imported,
    unsent_parts,
)
from statemachine.questions.receipts import unread_once
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from statemachine.states import State

#: Statuses in which the OMS waits for a person (docs/kornitx.md 8.1).
_STOPPED: Final = {32: Reason.OMS_QUERY, 256: Reason.OMS_ON_HOLD}


def reasons_of_oms(facts: Facts, state: State) -> Iterator[Attention]:
    """Reasons from what the OMS reported.

    Once Mirakl shows the order shipped, other lines or pieces in the OMS's answer need nobody, unless a person vouched
    that the goods left: then the OMS may still make what it has. Nor if more of them left than the import handed over.
    """
    if not state.is_final:
        yield from reasons_of_cancellations(facts)
    vouched = any(one.oms_id == VOUCHED for one in facts.dispatches)
    stays = state is State.SHIPPED and (vouched or more_left_than_went(facts))
    if (stays or state in (State.IMPORTED, State.DISPATCHED)) and (differing := _imported_otherwise(facts)):
        yield Attention(Reason.LINES_NOT_IMPORTED, ", ".join(differing))
    if not state.is_final:
        yield from _stopped(facts)
        for line_id, told_at in made_twice(facts).items():
            yield Attention(Reason.QUANTITY_EXCEEDS_ORDER, written(line_id), after=Begun(told_at=told_at))
    for unread in unread_once(facts):
        yield Attention(Reason.REPORT_UNREADABLE, f"{unread.reason} {unread.at:%Y-%m-%d %H:%M:%S.%f}")
    if _waits_for_the_rest(facts, state):
        yield Attention(Reason.PARTLY_SENT)
    unfinished = unfinished_parts(facts) if any(part.has_error for part in facts.parts) else ()
    if not state.is_final and any(part.has_error and part.oms_id in unfinished for part in facts.parts):
        yield Attention(Reason.HELD_IN_OMS)


def _waits_for_the_rest(facts: Facts, state: State) -> bool:
    """Whether some of the order has left and the rest, which is still owed, has not.

    An answer to OR24 makes an order dispatched, too. It is disproved if a later read still shows SHIPPING.
    """
    if state not in (State.SHIPPING, State.IMPORTED, State.DISPATCHED):
        return False
    if facts.snapshot is None or not facts.snapshot.owed_lines:  # the rest is not to be sent
        return False
    some_sent = bool(facts.dispatches) and not all_sent(facts)
    if state is not State.DISPATCHED:
        return some_sent
    disproved = facts.snapshot.state == "SHIPPING" and not is_pending(facts, last_answer(facts, CommandKind.CONFIRM))
    return bool(unsent_parts(facts)) or (some_sent and disproved)


def _stopped(facts: Facts) -> Iterator[Attention]:
    """The OMS's orders that wait for a person, by their newest status. Of two statuses with the same time the one that
    is no stop counts: it came later, or the next report shows the stop again. An order of which a dispatched status
    covers every line that is owed does not wait, even if its stop has a later time."""
    if not facts.statuses:  # of orders that are not imported yet; this saves time
        return
    in_order = sorted(facts.statuses, key=lambda one: (one.at, one.status not in _STOPPED, one.status))
    newest = {one.oms_id: one.status for one in in_order}
    owed = facts.owed_lines
    for oms_id, status in newest.items():
        if status in _STOPPED and not (_has_left(facts, oms_id, owed) or is_vouched(facts, *owed)):
            yield Attention(_STOPPED[status], str(oms_id))


def _has_left(facts: Facts, oms_id: int, owed: Sequence[Line]) -> bool:
    """Whether a dispatched status of this order of the OMS covers each owed line that it has, or may have."""
    own = parts_in_oms(facts).get(oms_id)
    lines = [line for line in owed if not own or line.id in own]
    statuses = [one for one in facts.dispatches if one.covers and one.oms_id == oms_id]
    return any(all(covers(facts, one, line) for line in lines) for one in statuses)


def _imported_otherwise(facts: Facts) -> list[str]:
    """The lines of which the OMS's answer shows another number of pieces than the import sent, or that only one of both
    has."""
    sent, shown = our_payloads(facts), shown_pieces(facts)
    items = sent[-1].items if sent else ()
    other = [f"{written(line)} ({shown[line]} of {n})" for line, n in items if shown.get(line, n) != n]
    carried = {line for one in sent for line, _ in one.items}
    extra = {line for part in facts.parts if part.oms_id in alive_parts(facts) for line in part.lines} - carried
    more = [f"{written(line)} ({shown.get(line, 'unknown')} of 0)" for line in sorted(extra)] if items else []
    return [*map(written, lines_not_imported(facts)), *other, *more]
