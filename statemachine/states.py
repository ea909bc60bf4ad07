"""The ten states, and the predicate over the facts that decides for each. An order is in the first state whose
predicate holds (the table under "States and their predicates" in docs/rules.md)."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from statemachine.asked_once import asked_once
from statemachine.commands import CommandKind
from statemachine.facts import AFTER_SHIPPING, DEBIT, PAY_ON_SHIPMENT, Facts
from statemachine.questions.in_oms import is_debited_as_shipped
from statemachine.questions.payloads import import_known
from statemachine.questions.readings import all_sent, is_pending, last_answer, mirakl_state


class State(StrEnum):
    """The ten states, in the order of an order's life. docs/states.md lists the edges between them."""

    #: No read showed a state that we know, or Mirakl still checks the order (STAGING). The first read of another
    #: state moves it out, to any state. The OMS may report on the order before that: we keep its report, and ask Mirakl
    #: for the order by its id.
    NEW = "new"

    #: Mirakl waits for the seller's decision. OR21 is due if the shop's policy or a person has decided. Mirakl's answer
    #: to OR21 moves it out. A read does too, if somebody decided in the portal, the deadline passed, or the order was
    #: canceled.
    WAITING_ACCEPTANCE = "waiting_acceptance"

    #: Mirakl took an OR21 (accept or refuse), or a person said so (`orders handled`), and no read has come yet that
    #: began after the grace period. That read moves it out: forward if Mirakl applied the answer, back to
    #: waiting_acceptance if Mirakl did not (docs/rules.md 16).
    ACCEPTED = "accepted"

    #: Mirakl debits the customer before the seller may ship. A read moves it out: to shipping when the customer has
    #: paid, to canceled when the debit failed. No call of ours can hasten this.
    AWAITING_PAYMENT = "awaiting_payment"

    #: Mirakl shows SHIPPING, and the OMS does not have the order. The import is due once a read shows an address and an
    #: open line. The OMS's answer to the import moves it out, or an OMS event. Mirakl may still cancel the order.
    SHIPPING = "shipping"

    #: The OMS has the order: it answered the import or reported on the order, or a person said so (`orders handled`, or
    #: a settle of `already_in_oms`). The OMS's report that every open line is sent moves it out, or a person who
    #: vouches for that, or a read. Meanwhile parcels may leave, and either side may cancel.
    IMPORTED = "imported"

    #: The goods have left: the OMS reported every open line sent, or OR24 was answered, or Mirakl shows the debit that
    #: PAY_ON_SHIPMENT has only after a shipment. OR23 (tracking), then OR24 (shipment) are due while Mirakl shows
    #: SHIPPING. A read moves it out. It goes back to imported if the OMS still has something of it to send.
    DISPATCHED = "dispatched"

    #: Mirakl shows the order shipped, or debits it after a read showed it shipped (docs/rules.md 3). A read that shows
    #: it canceled, refused, or in SHIPPING again moves it out. A better tracking is still sent.
    SHIPPED = "shipped"

    #: Mirakl shows REFUSED: the seller refused every line, or the deadline passed. Final. If the OMS has the order, a
    #: person has to cancel it there.
    REFUSED = "refused"

    #: Mirakl shows CANCELED. Final, and never the result of a cancellation by the OMS alone. If the OMS has the order,
    #: a person has to cancel it there.
    CANCELED = "canceled"

    @property
    def is_final(self) -> bool:
        """Whether no call is made any more. Only a read that shows the other final state moves the order."""
        return self in (State.REFUSED, State.CANCELED)

    @property
    def is_at_its_end(self) -> bool:
        """Whether nothing is left to do. A better tracking, a return or a cancelation may still change the order."""
        return self.is_final or self is State.SHIPPED


# -- The predicates ----------------------------------------------------------------------------------------------


def is_new(facts: Facts) -> bool:
    return mirakl_state(facts) in ("", "STAGING")


def is_canceled(facts: Facts) -> bool:
    return mirakl_state(facts) == "CANCELED"


def is_refused(facts: Facts) -> bool:
    return mirakl_state(facts) == "REFUSED"


def is_shipped(facts: Facts) -> bool:
    """Whether Mirakl shows the order shipped, or debits all of it after that. A newer SHIPPING wins (docs/rules.md
    3)."""
    snapshot = facts.snapshot
    if snapshot is None or snapshot.state in AFTER_SHIPPING:
        return snapshot is not None
    if snapshot.state not in DEBIT or (snapshot.workflow == PAY_ON_SHIPMENT and not facts.shipped_seen):
        return False
    return facts.shipped_seen or snapshot.is_marked_shipped


def is_dispatched(facts: Facts) -> bool:
    """Whether the goods left: the OMS sent every open line, OR24 was answered, or Mirakl shows the debit of
    a part that was shipped."""
    return is_debited_as_shipped(facts) or last_answer(facts, CommandKind.CONFIRM) is not None or all_sent(facts)


def is_imported(facts: Facts) -> bool:
    return import_known(facts)


def is_shipping(facts: Facts) -> bool:
    return mirakl_state(facts) == "SHIPPING"


def is_awaiting_payment(facts: Facts) -> bool:
    return mirakl_state(facts) in DEBIT


def is_accepted(facts: Facts) -> bool:
    return mirakl_state(facts) == "WAITING_ACCEPTANCE" and is_pending(facts, last_answer(facts, CommandKind.ACCEPT))


def is_waiting_acceptance(facts: Facts) -> bool:
    return mirakl_state(facts) == "WAITING_ACCEPTANCE"


#: Tried from the top: the first predicate that holds gives the state. So a final state at Mirakl wins over everything,
#: and what the OMS did wins over waiting and debit.
PREDICATES: Final[tuple[tuple[State, Callable[[Facts], bool]], ...]] = (
    (State.NEW, is_new),
    (State.CANCELED, is_canceled),
    (State.REFUSED, is_refused),
    (State.SHIPPED, is_shipped),
    (State.DISPATCHED, is_dispatched),
    (State.IMPORTED, is_imported),
    (State.SHIPPING, is_shipping),
    (State.AWAITING_PAYMENT, is_awaiting_payment),
    (State.ACCEPTED, is_accepted),
    (State.WAITING_ACCEPTANCE, is_waiting_acceptance),
)


@asked_once
def state_of(facts: Facts) -> State:
    """The state that these facts amount to. Raises LookupError if no predicate holds; a test shows that one does."""
    for state, holds in PREDICATES:
        if holds(facts):
            return state
    raise LookupError("no predicate holds for these facts")
