"""Every edge that an order may take: from one state to another, by which kind of event, and what it means.

A test enumerates the facts that any order can leave behind. Every move that it finds has its row here, and every row
is reached. The diagram in the README and docs/states.md are made from this table.
"""

from dataclasses import dataclass
from typing import Final

from statemachine.events import Trigger
from statemachine.states import State

# Without the prefix the table reads as a table.
(
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
) = State
SNAPSHOT, OMS_EVENT, CALL, DECISION, _ = Trigger  # no state depends on the time, so the clock moves none


@dataclass(frozen=True, slots=True)
class Edge:
    """One row: from `source` to `target`, by an event of one of the kinds in `on`."""

    source: State
    on: tuple[Trigger, ...]
    target: State
    means: str


_READ: Final = (SNAPSHOT,)
_ANSWER: Final = (CALL, SNAPSHOT, DECISION)
_IMPORT: Final = (OMS_EVENT, CALL, DECISION)
#: A person can vouch that the goods left. A read can show it too: in PAY_ON_SHIPMENT, Mirakl debits only what was
#: shipped.
_SENT_OR_SEEN: Final = (SNAPSHOT, OMS_EVENT, CALL, DECISION)
_REST: Final = (SNAPSHOT, OMS_EVENT, CALL, DECISION)

TABLE: Final = (
    # A first sighting can be in any state (docs/mirakl.md 1.3).
    Edge(NEW, _READ, WAITING_ACCEPTANCE, "first seen, waiting for the seller"),
    Edge(
        NEW,
        _READ,
        ACCEPTED,
        "first seen waiting, though we answered it already (this read was late)",
    ),
    Edge(NEW, _READ, AWAITING_PAYMENT, "first seen after its acceptance"),
    Edge(NEW, _READ, SHIPPING, "first seen when it may be shipped"),
    Edge(NEW, _READ, IMPORTED, "first seen when the OMS already spoke of it"),
    Edge(NEW, _READ, DISPATCHED, "first seen when it was already sent"),
    Edge(NEW, _READ, SHIPPED, "first seen shipped"),
    Edge(NEW, _READ, REFUSED, "first seen refused"),
    Edge(NEW, _READ, CANCELED, "first seen canceled"),
    # Acceptance.
    Edge(WAITING_ACCEPTANCE, _ANSWER, ACCEPTED, "Mirakl took the answer, ours or a person's; not yet seen applied"),
    Edge(WAITING_ACCEPTANCE, _READ, AWAITING_PAYMENT, "accepted by a person, or before our answer arrived"),
    Edge(WAITING_ACCEPTANCE, _READ, SHIPPING, "accepted elsewhere, in a workflow without a payment wait"),
    Edge(WAITING_ACCEPTANCE, _IMPORT, IMPORTED, "the OMS has an order that Mirakl still shows waiting"),
    Edge(WAITING_ACCEPTANCE, _SENT_OR_SEEN, DISPATCHED, "sent while Mirakl still shows it waiting"),
    Edge(WAITING_ACCEPTANCE, _READ, SHIPPED, "accepted and shipped between two reads"),
    Edge(WAITING_ACCEPTANCE, _READ, REFUSED, "refused by a person or by the deadline"),
    Edge(WAITING_ACCEPTANCE, _READ, CANCELED, "canceled before its acceptance"),
    Edge(ACCEPTED, _READ, WAITING_ACCEPTANCE, "a read after the grace period still shows it waiting: not applied"),
    Edge(ACCEPTED, _READ, AWAITING_PAYMENT, "the acceptance is applied; the customer is debited"),
    Edge(ACCEPTED, _READ, SHIPPING, "the acceptance is applied; nothing to wait for, or a fast debit"),
    Edge(ACCEPTED, _IMPORT, IMPORTED, "the OMS has an order whose acceptance is not seen yet"),
    Edge(ACCEPTED, _SENT_OR_SEEN, DISPATCHED, "sent before the acceptance was seen"),
    Edge(ACCEPTED, _READ, SHIPPED, "shipped before a read showed its acceptance"),
    Edge(ACCEPTED, _READ, REFUSED, "we refused every line, or the deadline was first"),
    Edge(ACCEPTED, _READ, CANCELED, "canceled right after its acceptance"),
    # Payment.
    Edge(AWAITING_PAYMENT, _READ, SHIPPING, "the customer has paid; the seller may ship"),
    Edge(AWAITING_PAYMENT, _IMPORT, IMPORTED, "the OMS has an order that is not paid"),
    Edge(AWAITING_PAYMENT, _SENT_OR_SEEN, DISPATCHED, "sent before it was paid, or a read shows its shipment"),
    Edge(AWAITING_PAYMENT, _READ, SHIPPED, "paid and shipped between two reads"),
    Edge(AWAITING_PAYMENT, _READ, REFUSED, "refused while the customer's money was awaited"),
    Edge(AWAITING_PAYMENT, _READ, CANCELED, "the debit failed, or somebody canceled"),
    # Import.
    Edge(SHIPPING, _READ, AWAITING_PAYMENT, "the operator converted its workflow: payment first"),
    Edge(SHIPPING, _IMPORT, IMPORTED, "the OMS holds it: it said so, or it speaks of it, or a person says so"),
    Edge(SHIPPING, _SENT_OR_SEEN, DISPATCHED, "sent before the import had settled"),
    Edge(SHIPPING, _READ, SHIPPED, "shipped, and nothing shows that the OMS has it"),
    Edge(SHIPPING, _READ, REFUSED, "refused before the OMS confirmed an import"),
    Edge(SHIPPING, _READ, CANCELED, "canceled before the OMS confirmed an import"),
    # Dispatch.
    Edge(
        IMPORTED,
        _SENT_OR_SEEN,
        DISPATCHED,
        "every open line was sent, as the OMS reports or a person vouches, or Mirakl debits a shipment",
    ),
    Edge(IMPORTED, _READ, SHIPPED, "shipped before the OMS reported that all of it left"),
    Edge(IMPORTED, _READ, REFUSED, "the OMS works on an order that Mirakl refused"),
    Edge(IMPORTED, _READ, CANCELED, "canceled after the import"),
    Edge(DISPATCHED, _READ, SHIPPED, "Mirakl shows it shipped"),
    # A newer read wins over what was concluded (docs/rules.md 3).
    Edge(
        DISPATCHED,
        _READ,
        SHIPPING,
        "Mirakl shows more to send than what left: a debit of one parcel, or more pieces",
    ),
    Edge(DISPATCHED, _REST, IMPORTED, "the OMS has more to send: after a debit, left out of its answer, or made again"),
    Edge(DISPATCHED, _READ, REFUSED, "the OMS sent an order that Mirakl refused"),
    Edge(DISPATCHED, _READ, CANCELED, "canceled after the goods had left, or the debit of the shipment failed"),
    Edge(SHIPPED, _READ, SHIPPING, "Mirakl shows SHIPPING again, and the OMS does not have it"),
    Edge(SHIPPED, _READ, IMPORTED, "Mirakl shows SHIPPING again; the OMS has it"),
    Edge(SHIPPED, _READ, DISPATCHED, "Mirakl shows SHIPPING again; the OMS sent it"),
    Edge(SHIPPED, _READ, REFUSED, "refused after shipping"),
    Edge(SHIPPED, _READ, CANCELED, "canceled after shipping"),
    # Mirakl's last word counts.
    Edge(REFUSED, _READ, CANCELED, "Mirakl shows it canceled after it was refused"),
    Edge(CANCELED, _READ, REFUSED, "Mirakl shows it refused after it was canceled"),
)
