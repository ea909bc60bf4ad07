"""Which of the reasons of an order a person sees to first."""

from collections.abc import Sequence
from typing import Final

from adapters.store.orders import OrderRow
from statemachine.attention.urgency_of_order import urgency_of
from statemachine.questions.in_oms import all_left, is_debited_after_shipping
from statemachine.reason_of_order import Attention, StandingAttention
from statemachine.reasons import Reason

#: Reasons whose cure is to change in the OMS what it makes, to give it something for that, or to let it go on.
_CHANGE_IN_OMS: Final = (
    Reason.CHANGED_AFTER_IMPORT,
    Reason.MESSAGE_AFTER_IMPORT,
    Reason.ATTACHMENT,
    Reason.MESSAGES_NOT_FOUND,
    Reason.LINES_NOT_IMPORTED,
    Reason.OMS_ON_HOLD,
)
#: Reasons whose cure is to stop goods in the OMS.
_STOP_IN_OMS: Final = (
    Reason.SHIPPED_ELSEWHERE,
    Reason.WITHDRAWN_AFTER_IMPORT,
    Reason.GONE_FROM_MIRAKL,
    Reason.NOT_OURS_TO_SHIP,
    Reason.LINES_CANCELED_AFTER_IMPORT,
    Reason.LINE_INCIDENT,
)


def come_before(one: Attention, order: OrderRow) -> list[str]:
    """The reasons of the order that come before this one: what is stopped in the OMS is not changed and not made there.

    The facts of a quarantined order cannot be asked: none comes before another.
    """
    if order.quarantine is not None or not _rests_on_what_is_made(one, order) or all_left(order.facts):
        return []
    return list(dict.fromkeys(str(other.reason) for other in order.attention if other.reason in _STOP_IN_OMS))


def _rests_on_what_is_made(one: Attention, order: OrderRow) -> bool:
    is_late = one.reason is Reason.PAYMENT_LATE and is_debited_after_shipping(order.facts)
    return one.reason in _CHANGE_IN_OMS or is_late


def in_turn(order: OrderRow) -> tuple[StandingAttention, ...]:
    """The reasons of the order, in the order in which a person sees to them: the most urgent first, then by name.

    All of them have the one deadline of the order. A reason that others name as to be seen to first stands before them.
    """
    facts = None if order.quarantine is not None else order.facts
    rank = {one: urgency_of(one, facts).rank for one in order.attention}
    later = {one: before for one in order.attention if (before := come_before(one, order))}
    for other, names in later.items():
        for one in order.attention:
            if one.reason in names:
                rank[one] = min(rank[one], rank[other])
    return tuple(sorted(order.attention, key=lambda one: (rank[one], one in later, one)))


def names_in_turn(order: OrderRow) -> Sequence[str]:
    """The names of its reasons, each once, in the same order."""
    return list(dict.fromkeys(one.reason for one in in_turn(order)))
