"""What Mirakl changed of an order that the OMS has or may have, compared with what the OMS got."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from statemachine.attention.canceled_by_oms import (
    asked_as_owed_again,
    is_asked_as_canceled,
    lines_asked_about,
    lines_surely_in,
    reasons_of_cancellations,
)
from statemachine.attention.canceled_pieces import pieces_taken_back
from statemachine.attention.changed_contents import changed_contents
from statemachine.attention.left_twice import sendings
from statemachine.attention.marked_by_or24 import added_beside_or24, pieces_in_oms, unmarked
from statemachine.commands import CommandKind, Policy
from statemachine.facts import (
    ATTACHMENT,
    EPOCH,
    MESSAGES,
    MESSAGES_NOT_FOUND,
    VOUCHED,
    WITHDRAWN_OF,
    Facts,
    Line,
    Snapshot,
    Withdrawn,
    rank_of,
)
from statemachine.occurrences import MESSAGE, Begun, knew, last_without, of_return
from statemachine.questions.before_shipment import PIECES, oldest_shipped
from statemachine.questions.compared import compared
from statemachine.questions.in_oms import (
    is_confirmed_by_us,
    is_done_in_oms,
    is_shown_shipped,
    is_to_be_sent,
)
from statemachine.questions.other_values import LEFT_OUT, shown_since
from statemachine.questions.parcels import sent_quantity
from statemachine.questions.payloads import import_known, may_be_in_oms, most_handed_over, our_payloads, what_oms_got
from statemachine.questions.readings import (
    debit_comes_first,
    in_parcels,
    is_sent,
    last_answer,
    lines_left_out,
    pieces_of,
)
from statemachine.questions.settled import (
    Pieces,
    has_left_since,
    named,
    pieces_now,
    settle_of_line,
    settles_part,
    stopped_for_incident,
    taken_out,
)
from statemachine.questions.stops import (
    SHIPPED_LINE,
    came_back,
    left_though_taken_back,
    let_go_again,
    stood_at_shipment,
    was_taken_back,
)
from statemachine.reads_kept import LastOpen
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from statemachine.states import State, state_of


def changes_by_mirakl(facts: Facts, policy: Policy, snapshot: Snapshot, state: State) -> Iterator[Attention]:
    """What Mirakl changed of an order that the OMS has or may have."""
    fewer, more, again = _changed_lines(facts, snapshot, state)
    if fewer and not all_taken_back(facts, snapshot):  # withdrawn_after_import says it of the whole order
        yield Attention(Reason.LINES_CANCELED_AFTER_IMPORT, ",".join(fewer.values()))
    if more:
        yield Attention(Reason.LINES_ADDED_AFTER_IMPORT, ",".join(more.values()))
    if may_be_in_oms(facts) and (shown := compared(facts)) is not None:
        yield from _changed_after_import(facts, policy, shown)
    if state in (State.SHIPPING, State.IMPORTED):
        canceled = asked_as_owed_again(facts) if facts.cancellations else set()  # oms_canceled says what to do
        yield from let_go_again(facts, policy, snapshot, {*fewer, *canceled}, {*more, *again})


def said_by_settle(facts: Facts, one: Attention) -> tuple[str, ...]:
    """What a settle of this reason names: its token. A settle of `oms_canceled` also names, as
    lines_added_after_import would, the lines that are to be sent again: so later reads are compared with these.
    """
    if one.reason is not Reason.OMS_CANCELED or facts.snapshot is None:
        return (one.token,)
    again = _changed_lines(facts, facts.snapshot, state_of(facts))[2]
    names = [again[line.id] for line in lines_surely_in(one, facts) if line.id in again]
    return (one.token, *([Attention(Reason.LINES_ADDED_AFTER_IMPORT, ",".join(names)).token] if names else []))


def owed_again(facts: Facts, one: Attention) -> list[Line]:
    """The lines of a reason `oms_canceled`, if Mirakl took each of them back since the import, all or a part, and shows
    it to be sent again. Empty if others are to be sent too, and are not in parcels: what to do is another thing then.
    """
    if facts.snapshot is None:
        return []
    again, asked = _changed_lines(facts, facts.snapshot, state_of(facts))[2], lines_asked_about(one, facts)
    mine = [line for line in facts.lines if line.id in asked and is_to_be_sent(facts, line)]
    found = [line for line in mine if line.is_owed and line.withdrawn is not Withdrawn.PART]
    found = [line for line in found if line.id in again or was_taken_back(facts, line)]
    return found if all(line in found or in_parcels(facts, line) for line in mine) else []


_Named = dict[str, str]


def _changed_lines(facts: Facts, snapshot: Snapshot, state: State) -> tuple[_Named, _Named, _Named]:
    """Name the lines of which Mirakl withdrew something since the import, those of which it shows more to send, and
    those of which it does and `oms_canceled` asks (`_asked_as_canceled`). Each is by the line's id.

    A line counts in the first list if the OMS has or may have it, and (1) all of it is withdrawn, or the newest read
    leaves it out, or (2) a part is withdrawn that was not known before, or (3) Mirakl shows fewer pieces, or (4) all of
    it is withdrawn, a person settled that or an incident, and the OMS reports a parcel with it since, or a part is, a
    person settled that, and parcels hold more than the rest since; but not if the OMS canceled it too and oms_canceled
    asks or asked for that. It counts in the second list if (5) the import left it out, or a person settled that all of
    it was taken out, and it or a part of it is to be sent now, or (6) Mirakl shows more pieces, or (7) a part that a
    person settled as withdrawn is not withdrawn any more, or (8) a person settled that it or a part was taken out, and
    only our OR24 marked it shipped, or (9) it was taken back or in an incident, only our OR24 marked it shipped, and
    the OMS did not send it (8 and 9: `added_beside_or24`), or (10) a person settled that it or a part was taken out,
    and somebody else reported the whole order shipped (`_is_settled_beside_mark`).

    If Mirakl shows as many pieces as before, but reads since showed another number or left the line out, and no person
    settled that, then the OMS may have that number: it counts as a number before (`_shown_between`).

    Before means: in what the import sent (if somebody else sent it: in the baseline) or, if a person settled a change
    of the line since, in what the settle names. If the OMS may have got one of several payloads, each counts. What was
    withdrawn before our import does not count, because the person who released the import knew it. In SHIPPED a line
    that the OMS sent or ended does not count either, because nobody can change it in the OMS, unless it left though
    Mirakl had taken it back: its parcel has to be stopped. A line that the OMS still has counts, if somebody else
    reported the whole order shipped.
    """
    fewer, more, again, in_oms = _Named(), _Named(), _Named(), pieces_in_oms(facts, snapshot)
    if not in_oms:  # of orders that are not imported yet; this saves time
        return fewer, more, again
    for shown in (*snapshot.lines, *lines_left_out(facts)):
        befores = [*in_oms.get(shown.id, ())]
        befores += _shown_between(facts, shown, befores)
        part_left = bool(befores) and _left_though_part_taken_out(facts, shown)
        left_wrongly = state is State.SHIPPED and (
            part_left or (bool(befores) and left_though_taken_back(facts, shown))
        )
        is_of_order = _is_marked_with_the_order(facts, shown)
        line = unmarked(shown) if left_wrongly or is_of_order else shown
        now = pieces_now(snapshot, line)
        if befores and (line.is_owed or _is_withdrawn(facts, line)):
            less = [before for before in befores if now.is_less_than(before)]
            still_made = less and (left_wrongly or not (state is State.SHIPPED and is_done_in_oms(facts, line)))
            is_made = still_made or part_left or (now.number == 0 and _left_though_taken_out(facts, line, state))
            # As long as no person compared another part with what a settle of a part named, OR24 waits for that settle.
            is_other_part = any(before.is_settled and now.is_unclear_against(before) for before in befores)
            if is_made and (is_other_part or not is_asked_as_canceled(facts, shown)):
                fewer[line.id] = named(line.id, now, (less or befores)[0])
            grown = [before for before in befores if now.is_more_than(before)]
            is_back = is_of_order and _is_settled_beside_mark(facts, line, befores)
            left = (is_of_order and not is_back) or (state is State.SHIPPED and (line.shipped or is_sent(facts, line)))
            if grown and not less and not left:
                more[line.id] = named(line.id, now, grown[0])
        elif added := added_beside_or24(facts, snapshot, line, befores):
            more[line.id] = named(line.id, *added)
    for line_id in _asked_as_canceled(facts, in_oms) if more else ():
        if line_id in more:
            again[line_id] = more.pop(line_id)
    return fewer, more, again


def _asked_as_canceled(facts: Facts, in_oms: Mapping[str, Sequence[Pieces]]) -> set[str]:
    """The ids of lines that a person settled as taken out, all or a part, and that are to be sent again, if the OMS
    canceled them too and `oms_canceled` asks about that. It is one event: have it made once.

    Not if more is to be sent than the OMS got at first: that is another event.
    """
    asked = {line.id for one in reasons_of_cancellations(facts) for line in lines_surely_in(one, facts)}
    return {
        line.id
        for line in facts.lines
        if line.id in asked and (line.is_owed or _is_marked_with_the_order(facts, line))
        if (pieces_of(facts, line) or 1) <= max(1, most_handed_over(facts, line.id))
        if all(one.is_settled for one in in_oms.get(line.id, ()))
    }


def _shown_between(facts: Facts, line: Line, befores: Sequence[Pieces]) -> list[Pieces]:
    """Other numbers of pieces that reads showed since the OMS got the line, if Mirakl shows the number before again.

    If none is to be sent for a time because the line is taken back, go_on_in_oms asks (stops.py).
    """
    got = what_oms_got(facts) if facts.other_values and befores and line.is_owed else ()  # most orders have none
    if not got or any(one.number != line.quantity for one in befores):
        return []
    settle = settle_of_line(facts, got[0].at, line.id)
    values = shown_since(facts, PIECES + line.id, got[0], settle)
    return [Pieces(0 if one == LEFT_OUT else int(one)) for one in values if one not in ("?", "0")]


def _is_settled_beside_mark(facts: Facts, line: Line, befores: Sequence[Pieces]) -> bool:
    """Whether a person settled that the line, or a part of it, was taken out in the OMS, so that a report of the whole
    order shipped is not about it.

    To report the order shipped may end an incident, so a settle of that has to know of the report. A settle of an
    incident that is made after the arrival takes nothing out: the customer complains of what arrived. If the order
    arrived and the OMS sent nothing of it, what somebody else sent has arrived.
    """
    settle, first = settle_of_line(facts, EPOCH, line.id), oldest_shipped(facts)
    if settle is None or facts.snapshot is None or not all(before.is_settled for before in befores):
        return False
    arrived = rank_of(facts.snapshot.workflow, "TO_COLLECT")
    if facts.snapshot.rank >= arrived and all(one.oms_id == VOUCHED for one in facts.dispatches):
        return False
    if line.id not in stopped_for_incident(settle):
        return True
    return settle.seen.rank < arrived and first is not None and knew(settle, first.updated_at)


def _left_though_taken_out(facts: Facts, line: Line, state: State) -> bool:
    """Whether this line left since a person settled that it was taken out.

    If Mirakl took it back only after the shipment, it was to be sent again when it left, and has come back.
    """
    settle = taken_out(facts, line.id)
    if settle is None or not has_left_since(facts, line.id, settle):
        return False
    return not (state is State.SHIPPED and came_back(facts, line))


def _left_though_part_taken_out(facts: Facts, line: Line) -> bool:
    """Whether parcels hold more of the line than is to be sent, though a person settled that a part was taken out, and
    did not know of the newest parcel. If it is not known how much was: whether they hold every piece. A part of the
    price alone is no piece that was to be taken out. What left before Mirakl put the order back is not added to what
    left since: that was to be sent again. But one order of the OMS may send the piece only since (`sendings`).
    """
    if line.withdrawn is not Withdrawn.PART or line.quantity == 1 or line.withdrawn_of_price:
        return False
    answer, first = last_answer(facts, CommandKind.CONFIRM), oldest_shipped(facts)
    shipped = [answer.at] if answer else [first.read_at] if first else []
    taken = pieces_taken_back(facts, line)
    if any(at > when for at in line.withdrawn_at for when in shipped):
        taken = None  # pieces came back since, which had to be sent
    rest = most_handed_over(facts, line.id) - (taken or 0)
    settle = settle_of_line(facts, EPOCH, line.id)
    if settle is None or not settles_part(settle, line.id):
        return False
    return any(
        (sent_quantity(own, line.id) > rest if taken else in_parcels(own, line))
        and has_left_since(own, line.id, settle)
        for own in sendings(facts, line.id)
    )


def _changed_after_import(facts: Facts, policy: Policy, shown: LastOpen) -> Iterator[Attention]:
    """Messages and files that the OMS does not have, and which of the values that an import carries changed since.

    They stand until a person settles them, also after the shipment: a parcel may have gone to the old address. The
    digest after a name tells what a settle covers: later reads are compared with it.
    """
    sent = our_payloads(facts)
    notes = sent[-1].notes if sent else ()
    if ATTACHMENT in notes:
        yield Attention(Reason.ATTACHMENT)
    if MESSAGES_NOT_FOUND in notes:
        yield Attention(Reason.MESSAGES_NOT_FOUND)
    changed = changed_contents(facts, policy.left_out)
    if MESSAGES in changed:
        yield Attention(Reason.MESSAGE_AFTER_IMPORT, after=Begun(last_without(facts, MESSAGE)))
    ignored = {MESSAGES, *(() if shown.has_address else _ADDRESSES)}
    those = {name: one for name, one in changed.items() if name not in ignored and not name.startswith(WITHDRAWN_OF)}
    if those:
        yield Attention(Reason.CHANGED_AFTER_IMPORT, ", ".join(f"{name} {one.named}" for name, one in those.items()))


#: A read may show no address, though an earlier one did (docs/mirakl.md 5.2).
_ADDRESSES: Final = frozenset({"shipping address", "billing address"})


def all_taken_back(facts: Facts, snapshot: Snapshot) -> list[Line]:
    """The lines that are not to be sent any more, if Mirakl took all of the order back and the OMS has it."""
    gone = [one for one in snapshot.lines if _is_withdrawn(facts, one) or (one.has_incident and facts.dispatches)]
    in_oms = import_known(facts) or facts.dispatches
    return gone if in_oms and snapshot.state == "SHIPPING" and not snapshot.owed_lines else []


def _is_withdrawn(facts: Facts, line: Line) -> bool:
    """Whether Mirakl took the line back, and nobody else marked this line shipped.

    Our own OR24 marks every line shipped, also one whose money went back before, so it proves nothing of a line.
    """
    return line.is_taken_back and (is_confirmed_by_us(facts) or not line.is_marked)


def _is_marked_with_the_order(facts: Facts, line: Line) -> bool:
    """Whether somebody else reported the whole order shipped, which marks every line: also one that was taken back
    before, and one that the OMS still has to send, because that was reported too early.

    Not a line that came back after the delivery, nor one that was marked alone before. Where Mirakl debits after the
    shipment, reads do not tell that: the debit shows every line shipped.
    """
    if is_confirmed_by_us(facts) or not is_shown_shipped(facts) or facts.snapshot is None:
        return False
    without = last_without(facts, of_return(line))
    if without is not None and without.rank >= rank_of(facts.snapshot.workflow, "TO_COLLECT"):
        return False  # it had arrived when it was taken back
    return not (debit_comes_first(facts) and stood_at_shipment(facts, line, SHIPPED_LINE))
