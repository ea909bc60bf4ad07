"""What to do about an order that the OMS canceled or holds, while Mirakl shows that it is not to be made here."""

from typing import Final

from adapters.store.orders import OrderRow
from consumer.operations.cases import is_marked_by_us, named, pieces_in_words
from consumer.operations.outside import money_awaited
from statemachine.attention.canceled_by_oms import canceled_and_to_be_sent, is_asked_as_owed
from statemachine.attention.changes_by_mirakl import owed_again
from statemachine.attention.urgency_of_order import is_canceled_as_a_whole, lines_named_in
from statemachine.commands import Policy
from statemachine.facts import Facts
from statemachine.questions.in_oms import is_sent_by_others, is_shown_shipped, is_to_be_sent
from statemachine.questions.missing import not_found_since_read
from statemachine.questions.readings import is_canceled_by_oms, pieces_of
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason

#: What to do about what the OMS canceled of an order that somebody else ships.
_CURE_OF_CANCELED_OF_OTHERS: Final = (
    "Mirakl shows that somebody else ships this order, so nothing is missing: refund nothing and have nothing made "
    "again. `orders settle ORDER --reason WHY`. If Mirakl gives the order back to the shop, go_on_in_oms asks."
)

#: What to do about an order that somebody else ships, and that the OMS canceled as a whole.
_CURE_OF_OTHERS_AND_CANCELED: Final = (
    "The OMS canceled all of it, so nothing is to be stopped there, and nobody here has to do anything more. The "
    "reason clears when Mirakl shows the order shipped, or that the shop ships it: then another reason asks what to do."
)

#: What to do about an order that the OMS holds, and that the customer has not paid.
_CURE_OF_HELD_AND_UNPAID: Final = (
    "Mirakl waits for the customer's money: leave the order on hold. When Mirakl shows SHIPPING, let it go in the OMS. "
    "It clears when the OMS reports another status."
)

#: What to do about an order that the OMS holds, and that somebody else ships.
_CURE_OF_HELD_OF_OTHERS: Final = (
    "Mirakl shows that somebody else ships this order: leave it on hold, or have it canceled in the OMS. Let it go "
    "only when Mirakl shows that the shop ships it. It clears when the OMS reports another status."
)

#: What to do about an order that the OMS holds, and that Mirakl does not show any more.
_CURE_OF_HELD_AND_GONE: Final = (
    "Reads of Mirakl do not show the order any more: leave it on hold until the operator has said what became of it. "
    "If it is gone, have it canceled in the OMS. It clears when the OMS reports another status."
)

#: What to do about an order that the OMS holds, and of which nothing is to be sent.
_CURE_OF_HELD_AND_NOT_OWED: Final = (
    "Mirakl shows no line of it to be sent: have it canceled in the OMS, and do not let it go. It clears when the OMS "
    "reports another status."
)

#: What stands for the lines in a cure that names them.
_THESE: Final = "THESE"

#: What to do about an order that is to be sent again, and that the OMS canceled between, all or some lines.
_CURE_OF_CANCELED_BETWEEN: Final = (
    "The OMS canceled THESE, so it does not go on there: have it made again, or cancel or refund it in Mirakl's "
    "portal. If somebody only stopped the rest there, let that go on. Then `orders settle ORDER --reason WHY`."
)

#: The same if oms_canceled asks what becomes of it.
_CURE_OF_CANCELED_BETWEEN_AND_ASKED: Final = (
    "The OMS canceled THESE: oms_canceled says what to do about that. If somebody only stopped the rest there, let "
    "that go on. Then `orders settle ORDER --reason WHY`."
)

#: What to do about a line that the OMS canceled, and that Mirakl had taken back and shows to be sent again.
_CURE_OF_ADDED_AND_CANCELED: Final = (
    "The OMS canceled this, so oms_canceled asks or asked about the same pieces: it is one event. Ask the OMS whether "
    "it makes them again already. Have made in all only what Mirakl shows (`cause`), then `orders settle ORDER "
    "--reason WHY`."
)

#: What to do about lines that the OMS canceled, and that Mirakl had taken back and shows to be sent again.
_CURE_OF_CANCELED_AND_OWED_AGAIN: Final = (
    "Mirakl had taken back lines or pieces that the OMS canceled too, and shows them to be sent again: to be sent is "
    "THESE. Ask the people of the OMS how many pieces they make now. If that is fewer, have only the difference made "
    "again, or cancel or refund it in Mirakl's portal. Then `orders settle ORDER --reason WHY`; of what is made again, "
    "when it has left."
)

#: What these cures say of lines that the OMS did not cancel, and that are left out if there are none.
_OF_THE_REST: Final = "If somebody only stopped the rest there, let that go on. "

#: The cures of this module.
CURES_OF_STOPS: Final = (
    _CURE_OF_CANCELED_OF_OTHERS,
    _CURE_OF_OTHERS_AND_CANCELED,
    _CURE_OF_HELD_AND_UNPAID,
    _CURE_OF_HELD_OF_OTHERS,
    _CURE_OF_HELD_AND_GONE,
    _CURE_OF_HELD_AND_NOT_OWED,
    _CURE_OF_CANCELED_BETWEEN,
    _CURE_OF_CANCELED_BETWEEN_AND_ASKED,
    _CURE_OF_ADDED_AND_CANCELED,
    _CURE_OF_CANCELED_AND_OWED_AGAIN,
)


def cure_of_stop(one: Attention, order: OrderRow, policy: Policy | None) -> str:
    """What to do about a reason of an order that the OMS canceled or holds. Empty: its own cure says it."""
    of_others = policy is not None and is_sent_by_others(order.facts, policy)
    match one.reason:
        case Reason.OMS_CANCELED:
            return _CURE_OF_CANCELED_OF_OTHERS if of_others else _cure_of_owed_again(one, order.facts)
        case Reason.NOT_OURS_TO_SHIP if is_canceled_as_a_whole(order.facts):
            return _CURE_OF_OTHERS_AND_CANCELED
        case Reason.OMS_ON_HOLD:
            return _cure_of_hold(order.facts, is_of_others=of_others)
        case Reason.GO_ON_IN_OMS:
            return _cure_of_going_on(order)
        case Reason.LINES_ADDED_AFTER_IMPORT:
            lines = [line for line in lines_named_in(one, order.facts) if not is_marked_by_us(order.facts, line)]
            is_asked = any(is_asked_as_owed(order.facts, line) for line in lines)
            return _CURE_OF_ADDED_AND_CANCELED if is_asked else ""
    return ""


def _cure_of_owed_again(one: Attention, facts: Facts) -> str:
    """What to do about lines that the OMS canceled, if Mirakl had taken them back and shows them to be sent again."""
    again = [] if not_found_since_read(facts) else owed_again(facts, one)
    these = ", ".join(f"{pieces_in_words(pieces_of(facts, line))} of {named(line)}" for line in again)
    return _CURE_OF_CANCELED_AND_OWED_AGAIN.replace(_THESE, these) if again else ""


def _cure_of_hold(facts: Facts, *, is_of_others: bool) -> str:
    """What to do about an order that the OMS holds, if another reason says or said to hold or stop it there. A settle
    of that reason does not change why it is on hold."""
    if not_found_since_read(facts):
        return _CURE_OF_HELD_AND_GONE
    if is_of_others:
        return _CURE_OF_HELD_OF_OTHERS
    if money_awaited(facts):
        return _CURE_OF_HELD_AND_UNPAID
    is_owed = facts.snapshot is None or any(is_to_be_sent(facts, line) for line in facts.snapshot.lines)
    return "" if is_owed or is_shown_shipped(facts) else _CURE_OF_HELD_AND_NOT_OWED


def _cure_of_going_on(order: OrderRow) -> str:
    """What to do about an order that is to be sent again, and that the OMS canceled, all or some lines."""
    facts = order.facts
    canceled = canceled_and_to_be_sent(facts)
    if not canceled:
        return ""
    is_asked = any(one.reason is Reason.OMS_CANCELED for one in order.attention)
    text = _CURE_OF_CANCELED_BETWEEN_AND_ASKED if is_asked else _CURE_OF_CANCELED_BETWEEN
    if is_canceled_by_oms(facts):
        return text.replace(_OF_THE_REST, "").replace(_THESE, "it")
    return text.replace(_THESE, ", ".join(named(line) for line in facts.lines if line.id in canceled))
