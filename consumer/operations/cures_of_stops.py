"""What to do about an order that the OMS canceled or holds, while Mirakl shows that it is not to be made here."""

from typing import Final

from adapters.store.orders import OrderRow
from statemachine.commands import Policy
from statemachine.in_oms import is_sent_by_others
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason

#: What to do about what the OMS canceled of an order that somebody else ships.
_CURE_OF_CANCELED_OF_OTHERS: Final = (
    "Mirakl shows that somebody else ships this order, so nothing is missing: refund nothing and have nothing made "
    "again. `orders settle ORDER --reason WHY`. If Mirakl gives the order back to the shop, go_on_in_oms asks."
)

#: The cures of this module.
CURES_OF_STOPS: Final = (_CURE_OF_CANCELED_OF_OTHERS,)


def cure_of_stop(one: Attention, order: OrderRow, policy: Policy | None) -> str:
    """What to do about a reason of an order that the OMS canceled or holds. Empty: its own cure says it."""
    of_others = policy is not None and is_sent_by_others(order.facts, policy)
    match one.reason:
        case Reason.OMS_CANCELED if of_others:
            return _CURE_OF_CANCELED_OF_OTHERS
    return ""
