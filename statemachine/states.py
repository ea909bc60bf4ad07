"""The ten states. Each has one predicate over the facts; for any facts exactly one holds (protocol-rules.md)."""

from collections.abc import Callable
from typing import Final

from statemachine.facts import (
    DEBIT,
    PAY_ON_SHIPMENT,
    Answer,
    Dispatch,
    Facts,
    Line,
)

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

#: Commands (commands.py says when each is due). Named here because predicates read their answers.
ACCEPT: Final = "accept_order"
IMPORT: Final = "import_order"
TRACK: Final = "send_tracking"
CONFIRM: Final = "confirm_shipment"

# -- What the facts amount to ------------------------------------------------------------------------------------


def mirakl_state(facts: Facts) -> str:
    """The newest state that Mirakl showed and that we know; empty before the first read."""
    return facts.snapshot.state if facts.snapshot else ""


def last_answer(facts: Facts, kind: str, carries: str | None = None) -> Answer | None:
    """The answer whose proof is due last; of one command only, where `carries` names it."""
    if not facts.answers:  # of most orders most of the time, and every predicate asks
        return None
    answers = [a for a in facts.answers if a.kind == kind and carries in (None, a.carries)]
    return max(answers, key=lambda answer: (answer.proof_after, answer), default=None)


def is_pending(facts: Facts, answer: Answer | None) -> bool:
    """Answered, and no read that began later than the grace period has come yet (rule 16)."""
    return answer is not None and (facts.snapshot is None or facts.snapshot.read_at <= answer.proof_after)


def import_known(facts: Facts) -> bool:
    """The OMS holds the order: it said so, it speaks of it, or a person settled it. Its ids may be unknown."""
    if facts.parts or last_answer(facts, IMPORT) is not None:
        return True
    return any("already_in_oms:" in act.subject for act in facts.acts if act.act == "settle")


def is_sent(facts: Facts, line: Line) -> bool:
    """A dispatched status covers the line, or the parcels hold as many of it as were ordered (oms-api 9.5)."""
    if any(d.covers == "order" or (d.covers == "part" and _part_holds(facts, d, line)) for d in facts.dispatches):
        return True
    return sent_quantity(facts, line.id) >= max(line.quantity, 1)


def sent_quantity(facts: Facts, line_id: str) -> int:
    """Pieces of the line in all parcels; the same parcel told twice counts once (oms-api 9.4)."""
    parcels = {(d.oms_id, d.tracking.number, d.at if d.dated else None, d.items) for d in facts.dispatches if d.items}
    return sum(quantity for *_, items in parcels for line, quantity in items if line == line_id)


def _part_holds(facts: Facts, dispatch: Dispatch, line: Line) -> bool:
    return any(part.oms_id == dispatch.oms_id and line.id in part.lines for part in facts.parts)


def all_sent(facts: Facts) -> bool:
    """At least one line is open and every open line is sent."""
    lines = facts.snapshot.open_lines if facts.snapshot and facts.dispatches else ()
    return bool(lines) and all(is_sent(facts, line) for line in lines)


def unsent_parts(facts: Facts) -> tuple[int, ...]:
    """OMS ids of the parts not sent yet. OR24 ships the whole order, so it waits for every part that is known."""
    lines_of: dict[int, set[str]] = {}
    for part in facts.parts:
        lines_of.setdefault(part.oms_id, set()).update(part.lines)
    open_lines = facts.snapshot.open_lines if facts.snapshot else ()
    if len(lines_of) == 1 or all(sent_quantity(facts, line.id) >= line.quantity for line in open_lines):
        return ()
    covered = {dispatch.oms_id for dispatch in facts.dispatches if dispatch.covers}
    in_parcels = {line for dispatch in facts.dispatches for line, _ in dispatch.items}
    return tuple(
        sorted(
            oms_id
            for oms_id, lines in lines_of.items()
            if oms_id not in covered and not (lines and lines <= in_parcels)
        )
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
