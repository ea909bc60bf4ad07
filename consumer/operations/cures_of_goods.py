"""What to do about goods that left, or that are made, in a case that the cure of the reason is not about."""

from collections.abc import Sequence
from typing import Final

from consumer.operations.cases import is_marked_by_us, others_to_send, unsent_lines
from statemachine.canceled_by_oms import NOT_OWED, lines_canceled_in, pieces_canceled
from statemachine.facts import VOUCHED, Facts, Line, Withdrawn
from statemachine.in_oms import has_left, is_debited_after_shipping
from statemachine.left_twice import left_twice
from statemachine.readings import all_sent
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from statemachine.stops import is_unpaid_again
from statemachine.urgency_of_order import lines_named_in, taken_back_since

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

#: What to do about pieces that left though the import did not hand them over.
CURE_OF_MORE_LEFT: Final = (
    "The OMS sent more than the import handed over, as its answer shows. Ask the OMS what really left, and stop the "
    "parcel or arrange the return of what is too much. Then `orders settle ORDER --reason WHY`."
)

#: What to do about a line of which some pieces left, and of which Mirakl took back a part without saying how much.
_CURE_OF_REST_WITHDRAWN: Final = (
    "A part of the line is canceled or refunded, so the rest is perhaps not to be sent: have no more pieces made "
    "before the operator has said how many are to be sent. If all of these have left, `orders sent ORDER --reason "
    "WHY`. If not, ask the OMS when the rest of them leaves, or enter it there."
)

#: What to do about lines that the OMS canceled, and of which Mirakl canceled or refunded all or a part.
_CURE_OF_CANCELED_BY_BOTH: Final = (
    "Mirakl canceled or refunded these lines too, all or a part. Compare: if the OMS canceled no more than Mirakl, "
    "nothing is missing, so refund nothing and have nothing made again: `orders settle ORDER --reason WHY` lets the "
    "order's calls go on. If it canceled more, cancel or refund only the difference in Mirakl's portal first, or have "
    "it made again, and settle when it has left."
)

#: What to do about lines of which Mirakl took pieces back, and of which the OMS canceled pieces too.
_CURE_OF_PIECES_ENDED_IN_OMS: Final = (
    "The OMS reported that it canceled pieces of these lines: the `cause` says how many. If these are as many as "
    "Mirakl took back, nothing is to be taken out any more. If they are fewer, take out only the difference before it "
    "is made; if they are more, have the difference made again. Then `orders settle ORDER --reason WHY`."
)

#: What to do about a payment that is late where the customer pays for a shipment that was made.
_CURE_OF_LATE_AFTER_SHIPMENT: Final = (
    "Mirakl debits the customer for what is shipped, so what is still to be sent is made and sent all the same. No "
    "call of ours hastens the payment: ask the marketplace's operator if it stays so."
)

#: What to do about some lines that somebody else shipped, of an order of which the OMS has to send others.
_CURE_OF_LINES_ELSEWHERE: Final = (
    "If these lines have not left the OMS, stop only them there: the other lines are still to be made, so the OMS's "
    "order has to go on. If they left too, stop the parcel. Then `orders settle ORDER --only shipped_elsewhere "
    "--reason WHY`. If a person marked the lines shipped in Mirakl's portal, it clears when the OMS reports them sent: "
    "look then whether two parcels left."
)

#: The cures of this module.
CURES_OF_GOODS: Final = (
    _CURE_OF_VOUCHED_TOO_EARLY,
    _CURE_OF_MARKED_BY_US,
    _CURE_OF_UNPAID_AGAIN,
    _CURE_OF_PIECES_TAKEN_BACK,
    _CURE_OF_LEFT_TWICE,
    CURE_OF_MORE_LEFT,
    _CURE_OF_REST_WITHDRAWN,
    _CURE_OF_LINES_ELSEWHERE,
    _CURE_OF_LATE_AFTER_SHIPMENT,
    _CURE_OF_CANCELED_BY_BOTH,
    _CURE_OF_PIECES_ENDED_IN_OMS,
)


def cure_of_goods(one: Attention, facts: Facts) -> str:
    """What to do about goods that left, or that are made, in a case that the cure of the reason is not about. Empty: it
    is about this case."""
    match one.reason:
        case Reason.SENT_BEFORE_SHIPPING if {sent.oms_id for sent in facts.dispatches} == {VOUCHED}:
            return _CURE_OF_VOUCHED_TOO_EARLY
        case Reason.SENT_BEFORE_SHIPPING if is_unpaid_again(facts):
            return _CURE_OF_UNPAID_AGAIN
        case Reason.OMS_CANCELED if NOT_OWED in one.detail or _is_taken_back_in_part(lines_canceled_in(one, facts)):
            return _CURE_OF_CANCELED_BY_BOTH
        case Reason.PAYMENT_LATE if is_debited_after_shipping(facts):
            return _CURE_OF_LATE_AFTER_SHIPMENT
        case Reason.PARTLY_SENT if _is_taken_back_in_part(unsent_lines(facts)):
            return _CURE_OF_REST_WITHDRAWN
    return _cure_of_lines(one.reason, lines_named_in(one, facts), facts)


def _is_taken_back_in_part(lines: Sequence[Line]) -> bool:
    return any(line.withdrawn is Withdrawn.PART for line in lines)


def _cure_of_lines(reason: Reason, lines: Sequence[Line], facts: Facts) -> str:
    """The same for a reason that names lines."""
    match reason:
        case Reason.LINES_CANCELED_AFTER_IMPORT if any(pieces_canceled(facts, line.id) for line in lines):
            return _CURE_OF_PIECES_ENDED_IN_OMS
        case Reason.QUANTITY_EXCEEDS_ORDER if any(line.id in left_twice(facts) for line in lines):
            return _CURE_OF_LEFT_TWICE
        case Reason.QUANTITY_EXCEEDS_ORDER if any(taken_back_since(facts, line) for line in lines):
            return _CURE_OF_PIECES_TAKEN_BACK
        case Reason.LINES_ADDED_AFTER_IMPORT if lines and all(is_marked_by_us(facts, line) for line in lines):
            return _CURE_OF_MARKED_BY_US
        case Reason.SHIPPED_ELSEWHERE if lines and others_to_send(facts, lines):
            return _CURE_OF_LINES_ELSEWHERE
    return ""


def has_left_all(one: Attention, facts: Facts) -> bool:
    """Whether the goods that the reason is about have left: the lines that it names, or all of the order."""
    if lines := lines_named_in(one, facts):
        return all(has_left(facts, line) for line in lines)
    return all_sent(facts)
