"""What the customer wrote about an order, as Mirakl shows it to a person who asks (docs/mirakl.md 5.10)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from adapters.errors import RemoteError
from adapters.ports import CustomerMessages, Marketplace
from adapters.remotes.kornitx_order import messages_in
from adapters.store.commands import CommandRow
from consumer.operations.errors import NotPossible
from statemachine.commands import CommandKind


@dataclass(frozen=True, slots=True)
class Message:
    """One topic or message of the customer. Personal data."""

    at: datetime | None  # when it was written. None: Mirakl does not say
    in_oms: bool | None  # whether the import carried it. None: not known, because the import was not ours
    text: str


def read_messages(mirakl: Marketplace, order_id: str) -> CustomerMessages:
    """Ask Mirakl for the messages of an order (M11). Raises NotPossible with what Mirakl answered."""
    try:
        return mirakl.customer_messages(order_id)
    except RemoteError as error:
        raise NotPossible(f"Mirakl did not show the messages: {error}") from error


def compared(found: CustomerMessages, commands: Sequence[CommandRow]) -> list[Message]:
    """Each text, when it was written, and whether the newest import carried it. `commands`: the calls of the order."""
    payloads = [one.payload for one in commands if one.kind is CommandKind.IMPORT and one.payload is not None]
    carried = messages_in(payloads[-1]) if payloads else None
    return [
        Message(at, None if carried is None else one.strip() in carried, one)
        for one, at in zip(found.texts, found.times, strict=True)
    ]
