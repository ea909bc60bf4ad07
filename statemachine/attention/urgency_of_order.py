"""When a person has to act on a reason of an order, and what that rests on: what the OMS has, and who shipped."""

from collections.abc import Iterable

from statemachine.attention.canceled_by_oms import is_canceled_as_taken_back, is_canceled_unsent
from statemachine.attention.left_twice import left_twice, more_left_than_went
from statemachine.attention.made_twice import made_twice
from statemachine.commands import CommandKind
from statemachine.facts import Facts, Line
from statemachine.questions.ids_in_text import named_in
from statemachine.questions.in_oms import has_left, is_confirmed_by_us, is_shown_shipped
from statemachine.questions.parcels import sent_quantity
from statemachine.questions.parts import parts_in_oms, pieces_canceled_in, sent_by_status
from statemachine.questions.payloads import (
    import_known,
    may_be_in_oms,
    most_handed_over,
    our_payloads,
    was_handed_over,
    what_oms_got,
)
from statemachine.questions.readings import (
    alive_parts,
    is_canceled_by_oms,
    is_ended_everywhere,
    is_vouched,
    lines_left_out,
    ordered_pieces,
)
from statemachine.questions.stops import is_unpaid_again
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from statemachine.urgency import Urgency


def urgency_of(one: Attention, facts: Facts | None) -> Urgency:
    """When a person has to act on the reason. `facts` None: they cannot be asked, as those of a quarantined order."""
    about = one.about
    if facts is not None and about.urgency_in_oms and _are_made(one, facts):
        return about.urgency_in_oms
    if facts is not None and about.urgency_when_stopped and is_stopped_by_oms(one, facts):
        return about.urgency_when_stopped
    return about.urgency


def most_urgent(reasons: Iterable[Attention], facts: Facts | None) -> Urgency | None:
    """When a person has to act on the most urgent of these reasons. None: there is none. `facts` as in `urgency_of`."""
    return min((urgency_of(one, facts) for one in reasons), key=lambda one: one.rank, default=None)


def _are_made(one: Attention, facts: Facts) -> bool:
    """Whether the OMS has, or may have, the lines that the reason names. Of a reason that names none: whether the OMS
    has the order or may have it, or goods of it have left.

    Of `foreign_tracking`: whether somebody else reported the shipment. Then a second parcel may be on its way. Of
    `sent_before_shipping`: whether Mirakl waits for the money again; of `quantity_exceeds_order`: whether it took the
    pieces back that left, or one piece is known to have left in two orders of the OMS, or two of them make it; of
    `lines_not_imported`: whether the OMS makes or sent more than the import handed over. Then goods have to be stopped.
    Also of `lines_not_imported`: whether a person said that the goods left, and the OMS may still make them. Of
    `not_ours_to_ship`: whether goods left, or an import was sent and the OMS did not cancel all of it. Of
    `line_incident`: not if the OMS canceled the lines.
    """
    if one.reason is Reason.FOREIGN_TRACKING:
        return shipped_by_somebody_else(facts)
    if one.reason is Reason.QUANTITY_EXCEEDS_ORDER:
        twice = {line for line, left in left_twice(facts).items() if left.is_known} | made_twice(facts).keys()
        return any(taken_back_since(facts, line) or line.id in twice for line in lines_named_in(one, facts))
    if one.reason is Reason.LINES_NOT_IMPORTED:
        return bool(more_left_than_went(facts)) or makes_more_than_went(facts) or _is_made_though_vouched(facts)
    if one.reason is Reason.SENT_BEFORE_SHIPPING:
        return is_unpaid_again(facts)
    if lines := lines_named_in(one, facts):
        is_stopped = one.reason is Reason.LINE_INCIDENT and is_stopped_by_oms(one, facts)
        return not is_stopped and may_be_in_oms(facts) and any(may_have_line(facts, line) for line in lines)
    is_stopped = is_canceled_as_a_whole(facts) or not was_handed_over(facts)
    in_oms = may_be_in_oms(facts) and not (one.reason is Reason.NOT_OURS_TO_SHIP and is_stopped)
    return in_oms or bool(facts.dispatches)


def is_stopped_by_oms(one: Attention, facts: Facts) -> bool:
    """Whether the OMS canceled what this reason is about, so that nothing is to be stopped there, and nothing left that
    is not to be sent. Of lines with an incident: all of them. Of other lines: as much as Mirakl took back. Of a reason
    that names none: all of the order."""
    lines = lines_named_in(one, facts)
    if not lines:
        return is_canceled_as_a_whole(facts) and not facts.dispatches
    if is_canceled_by_oms(facts) and not any(left_in_part(facts, line) for line in lines):
        return True  # also if it is not known which lines its orders had
    if one.reason is Reason.LINE_INCIDENT:
        return all(is_canceled_unsent(facts, line) for line in lines)
    return all(is_canceled_unsent(facts, line) or is_canceled_as_taken_back(facts, line) for line in lines)


def left_in_part(facts: Facts, line: Line) -> bool:
    """Whether the line, or pieces of it, left."""
    return has_left(facts, line) or sent_quantity(facts, line.id) > 0


def makes_more_than_went(facts: Facts) -> bool:
    """Whether the OMS makes pieces, or a line, that the import did not hand over, as its answer shows: it neither sent
    nor canceled them."""
    sent = our_payloads(facts)
    handed = dict(sent[-1].items) if sent else {}
    alive = [part for part in facts.parts if part.oms_id in alive_parts(facts)] if handed else []
    left = sent_by_status(facts)
    for line in {line for part in alive for line in part.lines}:
        held = {part.oms_id: dict(part.quantities).get(line) for part in alive if line in part.lines}
        rest = (max(0, (1 if n is None else n) - pieces_canceled_in(facts, one, line)) for one, n in held.items())
        if sum(rest) > handed.get(line, 0) and not left.issuperset(held):
            return True
    return False


def is_canceled_as_a_whole(facts: Facts) -> bool:
    """Whether the OMS canceled each of its orders, or each line in all of them, so that nothing is to be stopped."""
    lines = (*facts.lines, *lines_left_out(facts))
    return is_canceled_by_oms(facts) or (bool(lines) and all(is_ended_everywhere(facts, line.id) for line in lines))


def _is_made_though_vouched(facts: Facts) -> bool:
    """Whether a person vouches for every line, and the OMS neither canceled nor sent each of its orders."""
    is_all_vouched = bool(facts.lines) and is_vouched(facts, *facts.lines)
    return is_all_vouched and bool(alive_parts(facts) - sent_by_status(facts))


def lines_named_in(one: Attention, facts: Facts) -> list[Line]:
    """The lines of the order that the detail of the reason names, also those that the newest read leaves out."""
    lines = (*facts.lines, *lines_left_out(facts))
    ids = named_in(one.detail, [line.id for line in lines])
    return [line for line in lines if line.id in ids]


def may_have_line(facts: Facts, line: Line) -> bool:
    """Whether the OMS has this line or may have it, as far as the import and the OMS's reports tell."""
    if is_canceled_by_oms(facts):
        return False
    got, held = what_oms_got(facts), {one for lines in parts_in_oms(facts).values() for one in lines}
    if line.id in held or any(dict(one.items).get(line.id, 0) for one in got):
        return True
    if import_known(facts):
        return not held and not any(one.items for one in got)
    return any(one.kind == CommandKind.IMPORT for one in facts.attempts)


def shipped_by_somebody_else(facts: Facts) -> bool:
    """Whether Mirakl shows the order shipped, and no OR24 of ours and no word of a person stands behind that."""
    return is_shown_shipped(facts) and not is_confirmed_by_us(facts)


def taken_back_since(facts: Facts, line: Line) -> int:
    """How many pieces fewer of the line are to be sent than went to the OMS. 0: none, or it is not known."""
    ordered = ordered_pieces(facts, line)
    return max(0, most_handed_over(facts, line.id) - ordered) if ordered is not None else 0
