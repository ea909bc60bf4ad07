"""What to do about a call, in a case that the cure of its reason is not about."""

from typing import Final

from adapters.store.orders import OrderRow
from statemachine.commands import CommandKind, Policy
from statemachine.facts import Facts
from statemachine.questions.missing import is_gone
from statemachine.questions.payloads import may_be_in_oms
from statemachine.questions.troubles import MESSAGES, is_released
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from statemachine.states import State

#: Codes of rejections for which the remote was not asked. Their words are ours, and hold no personal data.
NOT_ASKED: Final = frozenset(
    {"INCOMPLETE", "UNREADABLE", "TRACKING_MANDATORY", "CARRIER_UNKNOWN", "TRACKING_EMPTY", "TRACKING_NUMBER_MISSING"}
)

#: What to do instead about an import that was given up: its last try may have reached the OMS.
_CURE_OF_IMPORT_GIVEN_UP: Final = (
    "`orders show ORDER --received` has the words of the last error. A try may have reached the OMS: look there for "
    "the external_ref that `orders explain ORDER` shows. If it is there, or a person keys it in, `orders handled ORDER "
    "--reason WHY`. Else, when the OMS works again, `orders retry ORDER --reason WHY`."
)

#: What to do about an import that waits for the customer's messages.
_CURE_OF_MESSAGES: Final = (
    "Look for the messages in Mirakl's portal. It clears when they can be read; `orders retry ORDER --reason WHY` "
    "reads them again at once. If Mirakl refuses to show them, give the key the right to M11."
)

#: What to do about an import that a person let go out without the customer's messages, and that is not made yet.
_CURE_OF_MESSAGES_RELEASED: Final = (
    "A person let the import go out without the messages. The next try reads them once more, and goes on without them "
    "if that fails. Look for the messages in Mirakl's portal, and tell the OMS what they ask for: if it got the order "
    "without them, messages_not_found stands until a settle."
)

#: What to do about a tracking that cannot be sent of an order that is shipped already.
_CURE_OF_LATE_TRACKING: Final = (
    "The order is shipped, and Mirakl does not show this tracking, so the customer may lack it. Enter it in Mirakl's "
    "portal, then `orders handled ORDER --reason WHY`; `orders retry ORDER --reason WHY` tries at once. "
    "`orders show ORDER --received` has Mirakl's words."
)

#: What to do about an order that cannot be imported as Mirakl shows it: the OMS was not asked.
_CURE_OF_NOT_ASKED: Final = (
    "The OMS was not asked, so it has no words on it. The `cause` says what Mirakl's order lacks: ask the "
    "marketplace's operator; a read that shows it causes a new try. Or key the order in by hand under the "
    "external_ref that `orders explain ORDER` shows, then `orders handled ORDER --reason WHY`."
)

#: What to do about a call for an order that Mirakl does not show any more, and of which a person settled that.
_CURE_OF_GONE: Final = (
    "Mirakl does not show the order any more, so this call can only succeed if Mirakl has it after all: ask the "
    "operator. If it is gone, `orders handled ORDER --reason WHY` ends the tries."
)

#: What to do about the answer to an order that another fulfilment centre is to send.
_CURE_OF_ANSWER_OF_OTHERS: Final = (
    "Another fulfilment centre is to send this order, and Mirakl refuses our answer to it: its operator answers, and "
    "nobody here has to decide. Only if the shop is to send it after all, have the centre corrected in Mirakl's "
    "portal, then "
)

#: The same by the reason: before an answer, near the deadline, and after Mirakl refused our answer.
_CURES_OF_OTHERS: Final = {
    Reason.NEEDS_DECISION: f"{_CURE_OF_ANSWER_OF_OTHERS}`orders accept ORDER --reason WHY`.",
    Reason.ACCEPTANCE_DUE: f"{_CURE_OF_ANSWER_OF_OTHERS}look at what `orders explain ORDER` says.",
    Reason.ACCEPT_REJECTED: f"{_CURE_OF_ANSWER_OF_OTHERS}`orders retry ORDER --reason WHY`.",
}

#: The cures of this module.
CURES_OF_CALLS: Final = (
    _CURE_OF_IMPORT_GIVEN_UP,
    _CURE_OF_MESSAGES,
    _CURE_OF_MESSAGES_RELEASED,
    _CURE_OF_LATE_TRACKING,
    _CURE_OF_NOT_ASKED,
    _CURE_OF_GONE,
    *_CURES_OF_OTHERS.values(),
)


def cure_of_call(one: Attention, order: OrderRow, policy: Policy | None) -> str:
    """What to do about a call of this order. Empty: the cure of the reason says it, or the reason is about no call."""
    if one.reason in _CURES_OF_OTHERS and _is_for_others(order.facts, policy):
        return _CURES_OF_OTHERS[one.reason]
    return _cure_of_call(one, order, policy)


def _cure_of_call(one: Attention, order: OrderRow, policy: Policy | None) -> str:
    facts = order.facts
    match one.reason, one.command:
        case _, CommandKind.TRACK | CommandKind.CONFIRM if policy is not None and is_gone(facts, policy):
            return _CURE_OF_GONE
        case Reason.GAVE_UP, CommandKind.IMPORT:
            return _CURE_OF_IMPORT_GIVEN_UP
        case Reason.IMPORT_REJECTED, _ if _was_not_asked(facts):
            return _CURE_OF_NOT_ASKED
        case Reason.RETRYING, _ if f" {MESSAGES} " in one.detail:
            return _CURE_OF_MESSAGES_RELEASED if _goes_without_messages(facts) else _CURE_OF_MESSAGES
        case Reason.RETRYING, CommandKind.TRACK if order.state is State.SHIPPED:
            return _CURE_OF_LATE_TRACKING
    return ""


def _is_for_others(facts: Facts, policy: Policy | None) -> bool:
    """Whether Mirakl shows a fulfilment centre that is not the shop's. Before SHIPPING `can_shop_ship` is false for
    every order, so it does not count."""
    return policy is not None and facts.snapshot is not None and facts.snapshot.centre not in policy.centres


def _goes_without_messages(facts: Facts) -> bool:
    """Whether a person let the import go out without the messages, since they cannot be read."""
    troubles = [one for one in facts.troubles if one.operation == MESSAGES]
    return bool(troubles) and is_released(facts, max(troubles, key=lambda one: one.since))


def _was_not_asked(facts: Facts) -> bool:
    """Whether no round of the import reached the OMS, because Mirakl's order lacks a field."""
    imports = [no for no in facts.rejections if no.kind == CommandKind.IMPORT]
    return bool(imports) and not may_be_in_oms(facts) and all(no.code in NOT_ASKED for no in imports)
