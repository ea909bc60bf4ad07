"""What our journal says of every order, for the audit of the demo."""

from adapters.simulators.audit import Told
from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store.transaction import Store
from consumer.retry import ALREADY_DONE, DONE, UNKNOWN


def told(store: Store) -> dict[tuple[str, str], Told]:
    """What our journal says of every order, for the audit."""
    found = {}
    for order in order_rows.latest(store, limit=1_000_000):
        one = Told(order.state)
        claimed: dict[str, str] = {}  # the tries whose end is not told, by command and token
        for entry in journal_rows.of_order(store, order.key):
            a_try, _, _ = entry.event.event_id.rpartition(":")
            note = entry.event.note
            if note.get("step") == "claimed":
                claimed[a_try] = str(note["command"])
            elif note.get("step") == "result":
                claimed.pop(a_try, None)
                result, command = note["result"], str(note["command"])
                one.done[command] += result in (DONE, ALREADY_DONE)
                one.unsure[command] += result == UNKNOWN
        one.unsure.update(claimed.values())  # who was killed in the middle could not say how it ended
        found[order.shop, order.order_id] = one
    return found
