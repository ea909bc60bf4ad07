"""What to do about goods that left, or that are made, in a case that the cure of the reason is not about."""

from collections.abc import Iterator, Sequence
from typing import Final

from consumer.operations.cases import (
    is_marked_by_us,
    named,
    others_to_send,
    pieces_in_words,
    unsent_lines,
    was_marked_in_incident,
)
from consumer.operations.cures_of_canceled import CURE_OF_GONE_AND_CANCELED, cure_of_canceled, cure_of_taken_out
from consumer.operations.payments import is_paid_after_shipping, left_after_debit
from statemachine.attention.elsewhere import is_shipped_though_taken_back
from statemachine.attention.left_twice import left_twice
from statemachine.attention.made_twice import made_twice, waits_for_no_piece
from statemachine.attention.urgency_of_order import (
    is_canceled_as_a_whole,
    is_stopped_by_oms,
    lines_named_in,
    taken_back_since,
)
from statemachine.facts import EPOCH, VOUCHED, Facts, Line, Withdrawn
from statemachine.questions.in_oms import (
    all_left,
    has_left,
    is_confirmed_by_us,
    is_debited_after_shipping,
    is_shown_shipped,
    left_at,
)
from statemachine.questions.readings import pieces_of
from statemachine.questions.stops import is_unpaid_again
from statemachine.questions.trackings import best_tracking
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason

#: What to do about goods of which a person said too early that they have left.
_CURE_OF_VOUCHED_TOO_EARLY: Final = (
    "A person said that the goods have left; nothing is asked of the OMS. Mirakl is notified as soon as it shows "
    "SHIPPING; if it still waits, see that it is accepted."
)

#: What to do about a line that nobody sends, and that our OR24 for the other lines marked shipped.
_CURE_OF_MARKED_BY_US: Final = (
    "Our OR24 reported the whole order shipped, this line too, and nobody makes it. Look in Mirakl's portal how its "
    "incident, refund or cancelation ended. If the customer is not to get the line, refund it there: the next read "
    "ends this. Only if it is to be sent after all, have the OMS make it; then `orders settle ORDER --reason WHY`."
)

#: What to do about a line that a person had taken out in the OMS, and that somebody else reported shipped.
_CURE_OF_MARKED_BY_OTHERS: Final = (
    "Somebody reported the whole order shipped, these lines or pieces too, and a person had the OMS take them out. "
    "Mirakl does not show them taken back any more. Unless somebody sent them, have the OMS make them, or cancel or "
    "refund them in Mirakl's portal. Then `orders settle ORDER --reason WHY`."
)

#: What to do about a line with an incident that has not left, and that our OR24 for the other lines marked shipped.
_CURE_OF_INCIDENT_MARKED_BY_US: Final = (
    "Our OR24 reported the whole order shipped, this line too, and it has not left. If the OMS has it, stop it there. "
    "Solve the incident in Mirakl's portal: have the line refunded, unless that is done or it is to be sent after all. "
    "Then `orders settle ORDER --reason WHY`."
)

#: What to do about a line with an incident that the OMS canceled.
_CURE_OF_INCIDENT_ENDED_IN_OMS: Final = (
    "The OMS canceled the line, so nothing is to be stopped there. Solve the incident in Mirakl's portal. OR24 reports "
    "the whole order shipped, this line too: so have the line refunded, unless that is done or it is to be sent after "
    "all. Then `orders settle ORDER --reason WHY`."
)

#: What to do about goods that left though the customer's money was awaited again.
_CURE_OF_UNPAID_AGAIN: Final = (
    "The customer has not paid, and the goods are on their way. Stop the parcel or arrange its return, and ask the "
    "operator whether the customer still pays. Mirakl is notified as soon as it shows SHIPPING."
)

#: What to do about pieces that Mirakl took back, and that left all the same.
_CURE_OF_PIECES_TAKEN_BACK: Final = (
    "Pieces that were canceled or refunded have left. Stop the parcel or arrange its return, clear the money with the "
    "operator, then `orders settle ORDER --reason WHY`."
)

#: What to do about one piece that left in two orders of the OMS.
_CURE_OF_LEFT_TWICE: Final = (
    "Ask the OMS what left in each of these orders. If two parcels left, stop the second or arrange its return. What "
    "has not left yet, stop there. Then `orders settle ORDER --reason WHY`. The reason stays until then."
)

#: The same if it is not known whether a piece left twice.
_CURE_OF_PERHAPS_LEFT_TWICE: Final = (
    "Ask the OMS what left in each of these orders. If it split the order and each piece left once, nothing is to be "
    "done: `orders settle ORDER --reason WHY`. If a piece left twice, arrange the return of what is too much, and "
    "settle then. The reason stays until then."
)

#: What to do about orders of the OMS of which there are more than pieces.
_CURE_OF_MADE_TWICE: Final = (
    "Ask the OMS which of these orders is to send the goods, and have what is too much canceled there before it "
    "leaves. Then `orders settle ORDER --reason WHY`. If it leaves all the same, the reason stands again."
)

#: What to do about an order of the OMS for which OR24 waits, though there is no piece left for it.
_CURE_OF_NO_REST: Final = (
    "One piece was ordered, one order of the OMS sent it, and Mirakl is notified when the other one has left too or is "
    "canceled there. Ask the OMS what that one is to send. If nothing is missing, have it canceled there. `orders sent "
    "ORDER --reason WHY` notifies Mirakl at once, but stops nothing in the OMS."
)

#: What to do about pieces that left though the import did not hand them over.
CURE_OF_MORE_LEFT: Final = (
    "The OMS sent more than the import handed over, as its answer shows. Ask the OMS what really left, and stop the "
    "parcel or arrange the return of what is too much. Then `orders settle ORDER --reason WHY`."
)

#: What to do about pieces or lines that the OMS has, and that the import did not hand over.
CURE_OF_MORE_IN_OMS: Final = (
    "The OMS has more than it was sent (`cause`). Have it take out what is too much before it is made, and add what is "
    "missing. Then `orders settle ORDER --reason WHY`."
)

#: What to do about a line of which some pieces left, and of which Mirakl took back a part without saying how much.
_CURE_OF_REST_WITHDRAWN: Final = (
    "A part of the line is canceled or refunded, so the rest is perhaps not to be sent: have no more pieces made "
    "before the operator has said how many are to be sent. If all of these have left, `orders sent ORDER --reason "
    "WHY`. If not, ask the OMS when the rest of them leaves, or enter it there."
)

#: What to do about a payment that is late where the customer pays for a shipment that was made.
_CURE_OF_LATE_AFTER_SHIPMENT: Final = (
    "Mirakl debits the customer for what is shipped, so what is still to be sent is made and sent all the same. No "
    "call of ours hastens the payment: ask the marketplace's operator if it stays so."
)

#: The same, if no line is left to be sent.
_CURE_OF_LATE_AND_ALL_SHIPPED: Final = (
    "Mirakl debits the customer for what was shipped, and shows no line that is still to be sent: have nothing made "
    "for this. No call of ours hastens the payment: ask the marketplace's operator if it stays so."
)

#: What to do about a payment that is late where the customer pays first.
_CURE_OF_LATE_BEFORE_SHIPMENT: Final = (
    "Do not make the goods before the customer has paid: in the payment workflow of this order the money comes before "
    "the shipment. No call of ours hastens the payment: ask the marketplace's operator if it stays so."
)

#: What to do about a late payment where the customer pays after a shipment, and no shipment is known.
_CURE_OF_LATE_WITHOUT_SHIPMENT: Final = (
    "In the payment workflow of this order Mirakl debits after a shipment, and orderflow knows of none: look in "
    "Mirakl's portal whether one was reported. Do not make the goods before Mirakl shows SHIPPING. No call of ours "
    "hastens the payment: ask the marketplace's operator if it stays so."
)

#: What to do about some lines that somebody else shipped, of an order of which the OMS has to send others.
_CURE_OF_LINES_ELSEWHERE: Final = (
    "Find out first who marked these lines shipped. If a colleague meant the OMS's own goods, let the OMS go on and "
    "settle. Else stop only these lines there: the others are still to be made. If they left too, arrange the return "
    "of these lines only. Then `orders settle ORDER --only shipped_elsewhere --reason WHY`. The reason stays until "
    "then."
)

#: What to do about goods that another fulfilment centre shipped, while the OMS has them.
_CURE_OF_OTHER_CENTRE: Final = (
    "Another fulfilment centre shipped the order. If its goods have not left the OMS, stop them there. If they left "
    "too, two parcels left: stop the second or arrange its return. Then `orders settle ORDER --only shipped_elsewhere "
    "--reason WHY`. The reason stays until then, also if the OMS sends the goods."
)

#: What to do about an order that somebody else reported shipped, and that Mirakl took back and the OMS canceled.
_CURE_OF_ELSEWHERE_AND_CANCELED: Final = (
    "Mirakl took the order back, and the OMS canceled it, so nothing is to be stopped there. Find out who reported it "
    "shipped. If goods left elsewhere, stop the parcel or arrange its return, and clear the money with the operator. "
    "Then `orders settle ORDER --only shipped_elsewhere --reason WHY`. The reason stays until then."
)

#: The same after the OMS reported that it sent all of the order.
_CURE_OF_OTHER_CENTRE_TOO: Final = (
    "Another fulfilment centre shipped the order, and the OMS sent it too. Ask both: if two parcels left, stop the "
    "second or arrange its return. Then `orders settle ORDER --only shipped_elsewhere --reason WHY`."
)

#: What to do about an order of which somebody said that it left, and that the OMS reported sent.
_CURE_OF_SENT_TOO: Final = (
    "The OMS reported that it sent these goods. Usually this is the parcel that was meant: if so, nothing is to be "
    "stopped, and `orders settle ORDER --only shipped_elsewhere --reason WHY` is all. If not, perhaps two parcels "
    "left: stop the second or arrange its return, and settle then."
)

#: The same if a person named a number.
_CURE_OF_SENT_UNDER_A_NUMBER: Final = (
    f"{_CURE_OF_SENT_TOO} Mirakl keeps the person's number: `orders sent ORDER --carrier NAME --tracking NUMBER "
    "--reason WHY` gives it that of the OMS."
)

#: What to do about lines that somebody marked shipped, and that the OMS sent.
_CURE_OF_LINES_SENT_TOO: Final = (
    "The OMS reported that it sent these lines. If whoever marked them shipped meant this parcel, nothing is to be "
    "stopped, and `orders settle ORDER --only shipped_elsewhere --reason WHY` is all. If not, perhaps two parcels "
    "left: arrange the return of these lines from the second, because it may hold others that are to arrive, and "
    "settle then."
)

#: What a cure says of goods that have to come back.
_STOP_THE_PARCEL: Final = "Stop the parcel or arrange its return"
#: Reasons that name lines whose goods have to come back, all or some pieces, while others of the order are to arrive.
_COME_BACK: Final = (Reason.LINES_CANCELED_AFTER_IMPORT, Reason.LINE_INCIDENT, Reason.QUANTITY_EXCEEDS_ORDER)

#: The cures of this module.
CURES_OF_GOODS: Final = (
    _CURE_OF_VOUCHED_TOO_EARLY,
    _CURE_OF_MARKED_BY_US,
    _CURE_OF_MARKED_BY_OTHERS,
    _CURE_OF_INCIDENT_MARKED_BY_US,
    _CURE_OF_INCIDENT_ENDED_IN_OMS,
    _CURE_OF_UNPAID_AGAIN,
    _CURE_OF_PIECES_TAKEN_BACK,
    _CURE_OF_LEFT_TWICE,
    _CURE_OF_PERHAPS_LEFT_TWICE,
    _CURE_OF_MADE_TWICE,
    _CURE_OF_NO_REST,
    CURE_OF_MORE_LEFT,
    CURE_OF_MORE_IN_OMS,
    _CURE_OF_REST_WITHDRAWN,
    _CURE_OF_LINES_ELSEWHERE,
    _CURE_OF_LINES_SENT_TOO,
    _CURE_OF_OTHER_CENTRE,
    _CURE_OF_OTHER_CENTRE_TOO,
    _CURE_OF_ELSEWHERE_AND_CANCELED,
    _CURE_OF_SENT_TOO,
    _CURE_OF_SENT_UNDER_A_NUMBER,
    _CURE_OF_LATE_AFTER_SHIPMENT,
    _CURE_OF_LATE_AND_ALL_SHIPPED,
    _CURE_OF_LATE_BEFORE_SHIPMENT,
    _CURE_OF_LATE_WITHOUT_SHIPMENT,
)


def cure_of_goods(one: Attention, facts: Facts) -> str:
    """What to do about goods that left, or that are made, in a case that the cure of the reason is not about. Empty: it
    is about this case."""
    lines = lines_named_in(one, facts)
    if one.reason is Reason.SHIPPED_ELSEWHERE:
        return _cure_of_lines_elsewhere(lines, facts) if lines else _cure_of_elsewhere(one, facts)
    if one.reason is Reason.LINE_INCIDENT:
        if is_stopped_by_oms(one, facts):
            return _CURE_OF_INCIDENT_ENDED_IN_OMS
        is_by_us = is_shown_shipped(facts) and all(was_marked_in_incident(facts, line) for line in lines)
        return _CURE_OF_INCIDENT_MARKED_BY_US if lines and is_by_us else ""
    return _cure_of_order(one, facts) or _cure_of_lines(one.reason, lines, facts)


def _cure_of_order(one: Attention, facts: Facts) -> str:
    """The same, by what is known of the whole order."""
    match one.reason:
        case Reason.SENT_BEFORE_SHIPPING:
            is_vouched = {sent.oms_id for sent in facts.dispatches} == {VOUCHED}
            of_money = _CURE_OF_UNPAID_AGAIN if is_unpaid_again(facts) else ""
            return _CURE_OF_VOUCHED_TOO_EARLY if is_vouched else of_money
        case Reason.OMS_CANCELED:
            return cure_of_canceled(one, facts)
        case Reason.GONE_FROM_MIRAKL if is_canceled_as_a_whole(facts):
            return CURE_OF_GONE_AND_CANCELED
        case Reason.PAYMENT_LATE:
            return _cure_of_late(facts)
        case Reason.PARTLY_SENT:
            return _cure_of_rest(facts)
    return ""


def _cure_of_rest(facts: Facts) -> str:
    """What to do about an order of which some left, if the cure of the reason does not say it."""
    if _is_taken_back_in_part(unsent_lines(facts)):
        return _CURE_OF_REST_WITHDRAWN
    return _CURE_OF_NO_REST if waits_for_no_piece(facts) else ""


def _cure_of_late(facts: Facts) -> str:
    """What to do about a late payment, in the payment workflow of this order."""
    if is_debited_after_shipping(facts):
        return _CURE_OF_LATE_AFTER_SHIPMENT if left_after_debit(facts) else _CURE_OF_LATE_AND_ALL_SHIPPED
    return _CURE_OF_LATE_WITHOUT_SHIPMENT if is_paid_after_shipping(facts) else _CURE_OF_LATE_BEFORE_SHIPMENT


def _is_taken_back_in_part(lines: Sequence[Line]) -> bool:
    return any(line.withdrawn is Withdrawn.PART for line in lines)


def _cure_of_lines(reason: Reason, lines: Sequence[Line], facts: Facts) -> str:
    """The same for a reason that names lines."""
    match reason:
        case Reason.LINES_CANCELED_AFTER_IMPORT:
            return cure_of_taken_out(lines, facts)
        case Reason.QUANTITY_EXCEEDS_ORDER if twice := [
            one for line in lines if (one := left_twice(facts).get(line.id))
        ]:
            return _CURE_OF_LEFT_TWICE if any(one.is_known for one in twice) else _CURE_OF_PERHAPS_LEFT_TWICE
        case Reason.QUANTITY_EXCEEDS_ORDER if any(line.id in made_twice(facts) for line in lines):
            return _CURE_OF_MADE_TWICE
        case Reason.QUANTITY_EXCEEDS_ORDER if any(taken_back_since(facts, line) for line in lines):
            return _CURE_OF_PIECES_TAKEN_BACK
        case Reason.LINES_ADDED_AFTER_IMPORT if lines:
            return _cure_of_marked(lines, facts)
    return ""


def _cure_of_marked(lines: Sequence[Line], facts: Facts) -> str:
    """What to do about lines that are to be sent again, if the order was reported shipped. Empty: it was not."""
    if all(is_marked_by_us(facts, line) for line in lines):
        return _CURE_OF_MARKED_BY_US
    return _CURE_OF_MARKED_BY_OTHERS if is_shown_shipped(facts) and not is_confirmed_by_us(facts) else ""


def _cure_of_elsewhere(one: Attention, facts: Facts) -> str:
    """What to do about an order that somebody else shipped, and that the OMS has or sent too. Empty: the cure of the
    reason says it, because the OMS has not sent all of it."""
    by_oms = any(sent.oms_id != VOUCHED for sent in facts.dispatches)
    is_sent_too = by_oms and all_left(facts)
    if one.detail:  # the fulfilment centre
        return _CURE_OF_OTHER_CENTRE_TOO if is_sent_too else _CURE_OF_OTHER_CENTRE
    if not is_sent_too:
        return _CURE_OF_ELSEWHERE_AND_CANCELED if is_shipped_though_taken_back(facts) else ""
    named_by_oms = {sent.tracking.bare_number for sent in facts.dispatches if sent.oms_id != VOUCHED} - {""}
    is_other = bool(named_by_oms) and best_tracking(facts).bare_number not in named_by_oms
    return _CURE_OF_SENT_UNDER_A_NUMBER if is_other else _CURE_OF_SENT_TOO


def _cure_of_lines_elsewhere(lines: Sequence[Line], facts: Facts) -> str:
    """The same for an order of which somebody else shipped these lines."""
    if all(_is_sent_by_oms(facts, line) for line in lines):
        return _CURE_OF_LINES_SENT_TOO
    return _CURE_OF_LINES_ELSEWHERE if others_to_send(facts, lines) else ""


def _is_sent_by_oms(facts: Facts, line: Line) -> bool:
    return has_left(facts, line) and left_at(facts, line) > EPOCH


def with_what_is_to_arrive(cure: str, one: Attention, facts: Facts) -> str:
    """The cure of goods that left. If their parcel perhaps holds others that are to arrive, it names these, and does
    not say to stop the parcel without having them sent again."""
    lines = lines_named_in(one, facts)
    of_incident = one.reason is Reason.LINE_INCIDENT
    in_part = [] if of_incident else [line for line in lines if _is_to_arrive(facts, line)]
    wanted = [*_left_of(in_part, facts), *_others_with(lines, facts)] if one.reason in _COME_BACK else []
    if not wanted or _STOP_THE_PARCEL not in cure:
        return cure
    is_counted = one.reason is Reason.QUANTITY_EXCEEDS_ORDER or not in_part
    count = "" if is_counted else "Ask the OMS how many pieces left: if no more than these, nothing has to come back. "
    back = ", ".join(f"what is too much of {named(one)}" if one in in_part else named(one) for one in lines)
    instead = (
        f"What is to arrive is perhaps in the same parcel: {', '.join(wanted)}. {count}Arrange the return of {back} "
        f"only, or stop the parcel and have {', '.join(wanted)} sent again"
    )
    return cure.replace(_STOP_THE_PARCEL, instead)


def others_to_arrive_with(lines: Sequence[Line], facts: Facts) -> list[str]:
    """What is to arrive and perhaps left in one parcel with these lines, without these lines themselves."""
    return list(_others_with(lines, facts))


def _left_of(lines: Sequence[Line], facts: Facts) -> Iterator[str]:
    for line in lines:
        is_part = line.withdrawn is Withdrawn.PART
        yield f"the rest of {named(line)}" if is_part else _in_pieces(line, facts)


def _others_with(lines: Sequence[Line], facts: Facts) -> Iterator[str]:
    for other in facts.lines:
        is_wanted = other not in lines and _is_to_arrive(facts, other) and has_left(facts, other)
        if is_wanted and any(_perhaps_together(facts, other.id, line.id) for line in lines):
            yield _in_pieces(other, facts)


def _in_pieces(line: Line, facts: Facts) -> str:
    return f"{pieces_in_words(pieces_of(facts, line))} of {named(line)}"


def _is_to_arrive(facts: Facts, line: Line) -> bool:
    """Whether the customer is to get the line, or a part of it. A line with an incident is not to arrive, also if our
    OR24 marked it shipped since."""
    return not (line.is_taken_back or line.has_incident or was_marked_in_incident(facts, line))


def _perhaps_together(facts: Facts, line_id: str, other_id: str) -> bool:
    """Whether two lines that left are perhaps in one parcel. They are not if each is in parcels whose content is known,
    and no report and no number is about both."""
    of_line, of_other = (
        [one for one in facts.dispatches if any(name == each for name, _ in one.items)] for each in (line_id, other_id)
    )
    if not of_line or not of_other:
        return True
    numbers = {one.tracking.bare_number for one in of_line} & {one.tracking.bare_number for one in of_other} - {""}
    return bool(numbers) or any(one in of_other for one in of_line)


def has_left_all(one: Attention, facts: Facts) -> bool:
    """Whether the goods that the reason is about have left: the lines that it names, or all of the order."""
    if lines := lines_named_in(one, facts):
        return all(has_left(facts, line) for line in lines)
    return all_left(facts)
