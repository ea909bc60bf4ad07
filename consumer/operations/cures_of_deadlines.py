"""What to do about a shipment that is due, by where the order is: not in the OMS yet, or canceled there."""

from typing import Final

from adapters.store.orders import OrderRow
from consumer.operations.what_first import in_turn
from statemachine.commands import CommandKind
from statemachine.questions.payloads import was_handed_over
from statemachine.questions.readings import is_canceled_by_oms
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason

#: What to do about an order whose shipment is due, and that the OMS does not have. What holds it comes before this.
_CURE_OF_NOT_IMPORTED: Final = (
    "The OMS does not have the order, so nobody makes it yet; `orders explain ORDER` says what the import waits for. "
    "It clears when Mirakl shows the order shipped."
)

#: What to do about an order whose shipment is due, and that the OMS canceled.
_CURE_OF_CANCELED: Final = (
    "The OMS canceled all of it, so nobody there makes it. Have the OMS make it again, or cancel or refund it in "
    "Mirakl's portal. It clears when Mirakl shows the order shipped, or every line canceled or refunded."
)

#: The cures of this module.
CURES_OF_DEADLINES: Final = (_CURE_OF_NOT_IMPORTED, _CURE_OF_CANCELED)
#: Reasons of an order that is not imported, whose row of the table does not say that they hold the import.
_BEFORE_IMPORT: Final = (
    Reason.ADDRESS_MISSING,
    Reason.NOTHING_TO_IMPORT,
    Reason.MESSAGES_NOT_READ,
    Reason.ALREADY_IN_OMS,
)


def cure_of_deadline(one: Attention, order: OrderRow) -> str:
    """What to do about a shipment that is due. Empty: the cure of the reason says it, or it is another reason."""
    if one.reason is not Reason.SHIPPING_DUE or order.facts.dispatches:
        return ""
    if not was_handed_over(order.facts):
        holding = list(dict.fromkeys(str(other.reason) for other in in_turn(order) if _holds_import(other)))
        return (f"First see to {' and '.join(holding)}. " if holding else "") + _CURE_OF_NOT_IMPORTED
    return _CURE_OF_CANCELED if is_canceled_by_oms(order.facts) else ""


def _holds_import(one: Attention) -> bool:
    is_of_call = one.command is CommandKind.IMPORT  # the import failed, or keeps failing
    return is_of_call or CommandKind.IMPORT in one.about.holds or one.reason in _BEFORE_IMPORT
