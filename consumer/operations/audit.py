"""What the journal says of each order, for the audit of the demo: it compares this with the books of the simulators."""

from adapters.simulators.audit import JournalSummary
from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store.transaction import Store
from consumer.retry import TryResult

_EVERY_ORDER = 1_000_000


def believed(store: Store) -> dict[tuple[str, str], JournalSummary]:
    """By shop and order id: the state, and for each command how often it was done and how often nobody knows.

    Nobody knows the outcome of a try that ended without an answer, nor of one whose process was killed. Of the latter
    the journal only says that the command was claimed.
    """
    found = {}
    for order in order_rows.latest(store, limit=_EVERY_ORDER):
        one = JournalSummary(order.state)
        without_result: dict[str, str] = {}  # try -> command
        for entry in journal_rows.of_order(store, order.key):
            a_try, _, _ = entry.event.event_id.rpartition(":")
            note = entry.event.note
            if note.get("step") == "claimed":
                without_result[a_try] = str(note["command"])
            elif note.get("step") == "result":
                without_result.pop(a_try, None)
                result, command = note["result"], str(note["command"])
                one.done[command] += result in (TryResult.DONE, TryResult.ALREADY_DONE)
                one.unknown[command] += result == TryResult.UNKNOWN
        one.unknown.update(without_result.values())
        found[order.shop, order.order_id] = one
    return found
