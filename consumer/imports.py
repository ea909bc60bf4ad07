"""What an import sends: the payload, and what a person should know of it."""

from dataclasses import dataclass
from typing import Final

from adapters.errors import AccountFault, Rejected, Retryable, Unimportable
from adapters.ports import CustomerMessages, Marketplace, Oms
from consumer.tries import NOT_SENT, Claim
from statemachine.facts import ATTACHMENT, MESSAGES_NOT_FOUND, Snapshot

#: The operation that reads the customer's messages: an import may need this call to Mirakl before its call to the OMS.
MESSAGES: Final = "M11"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The bytes that an import sends, and the notes that are kept with it (facts.Handover)."""

    payload: bytes
    notes: tuple[str, ...] = ()


def outgoing(claim: Claim, snapshot: Snapshot, mirakl: Marketplace, oms: Oms, seconds_paused: float) -> Outgoing:
    """Return what an import sends.

    If an earlier try may have reached the OMS, it is what that try sent (docs/kornitx.md 7). If not, it is made from
    the newest snapshot and the customer's messages. `seconds_paused`: how long M11 may not be called yet.

    Raises RemoteError, Unimportable, Unreadable.
    """
    if claim.command.maybe_sent and claim.command.payload is not None:
        return Outgoing(claim.command.payload)
    if claim.received is None:
        raise Unimportable(["the order as received"])
    pieces = {line.id: line.quantity for line in snapshot.owed_lines}
    if not snapshot.has_messages:
        return Outgoing(oms.payload(claim.received, (), pieces))
    written = _messages(claim.order.order_id, mirakl, seconds_paused)
    notes = [ATTACHMENT] if written.has_attachments else []
    if not written.texts and not written.has_attachments:
        notes.append(MESSAGES_NOT_FOUND)
    return Outgoing(oms.payload(claim.received, written.texts, pieces), tuple(notes))


def _messages(order_id: str, mirakl: Marketplace, seconds_paused: float) -> CustomerMessages:
    """Return the customer's messages. An import is never made without them, so it is retried even if Mirakl rejects
    this read."""
    if seconds_paused:
        raise AccountFault(MESSAGES, NOT_SENT, retry_after_seconds=seconds_paused)
    try:
        return mirakl.customer_messages(order_id)
    except Rejected as error:
        raise Retryable(error.operation, error.outcome, status=error.status, words=error.words) from error
