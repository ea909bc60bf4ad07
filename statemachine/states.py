"""The ten states. Each has one predicate over the facts; for any facts exactly one holds (docs/rules.md)."""

from collections.abc import Callable
from typing import Final

from statemachine.commands import ACCEPT, CONFIRM
from statemachine.facts import DEBIT, PAY_ON_SHIPMENT, Facts
from statemachine.readings import all_sent, import_known, is_pending, last_answer, mirakl_state

NEW: Final = "new"
WAITING_ACCEPTANCE: Final = "waiting_acceptance"
ACCEPTED: Final = "accepted"
AWAITING_PAYMENT: Final = "awaiting_payment"
SHIPPING: Final = "shipping"
IMPORTED: Final = "imported"
DISPATCHED: Final = "dispatched"
SHIPPED: Final = "shipped"
REFUSED: Final = "refused"
CANCELED: Final = "canceled"

#: In the order of an order's life.
STATES: Final = (
    NEW,
    WAITING_ACCEPTANCE,
    ACCEPTED,
    AWAITING_PAYMENT,
    SHIPPING,
    IMPORTED,
    DISPATCHED,
    SHIPPED,
    REFUSED,
    CANCELED,
)


# -- The predicates ----------------------------------------------------------------------------------------------


def is_new(facts: Facts) -> bool:
    return mirakl_state(facts) in ("", "STAGING")


def is_canceled(facts: Facts) -> bool:
    return mirakl_state(facts) == "CANCELED"


def is_refused(facts: Facts) -> bool:
    return mirakl_state(facts) == "REFUSED"


def is_shipped(facts: Facts) -> bool:
    return facts.shipped_seen


def is_dispatched(facts: Facts) -> bool:
    """The goods left: the OMS sent all, OR24 was answered, or Mirakl debits what only a shipment debits."""
    debit_of_shipment = (
        facts.snapshot is not None and facts.snapshot.state in DEBIT and facts.snapshot.workflow == PAY_ON_SHIPMENT
    )
    return debit_of_shipment or last_answer(facts, CONFIRM) is not None or all_sent(facts)


def is_imported(facts: Facts) -> bool:
    return import_known(facts)


def is_shipping(facts: Facts) -> bool:
    return mirakl_state(facts) == "SHIPPING"


def is_awaiting_payment(facts: Facts) -> bool:
    return mirakl_state(facts) in DEBIT


def is_accepted(facts: Facts) -> bool:
    return mirakl_state(facts) == "WAITING_ACCEPTANCE" and is_pending(facts, last_answer(facts, ACCEPT))


def is_waiting_acceptance(facts: Facts) -> bool:
    return mirakl_state(facts) == "WAITING_ACCEPTANCE"


#: Each predicate excludes those above it. So what the OMS did wins over waiting and debit, and Mirakl's end over all.
PREDICATES: Final[tuple[tuple[str, Callable[[Facts], bool]], ...]] = (
    (NEW, is_new),
    (CANCELED, is_canceled),
    (REFUSED, is_refused),
    (SHIPPED, is_shipped),
    (DISPATCHED, is_dispatched),
    (IMPORTED, is_imported),
    (SHIPPING, is_shipping),
    (AWAITING_PAYMENT, is_awaiting_payment),
    (ACCEPTED, is_accepted),
    (WAITING_ACCEPTANCE, is_waiting_acceptance),
)


def state_of(facts: Facts) -> str:
    """The state that these facts are. Raises LookupError where no predicate holds, which a test shows cannot be."""
    for state, holds in PREDICATES:
        if holds(facts):
            return state
    raise LookupError("no predicate holds for these facts")
