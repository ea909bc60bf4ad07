"""Reads from the journal what orderflow did with each order, for the demo's audit of the simulators' books."""

from collections.abc import Collection, Mapping

from adapters.simulators.audit import JournalSummary
from adapters.store import journal as journal_rows
from adapters.store import order_lists
from adapters.store.transaction import Store
from consumer.retry import TryResult
from statemachine.commands import CommandKey
from statemachine.facts import DecisionKind


def journal_summaries(
    store: Store, shown: Mapping[tuple[str, str], Collection[str]]
) -> dict[tuple[str, str], JournalSummary]:
    """By shop and order id: the order's state, the reasons for a person, and how each command ended.

    `shown`: the reasons that the attention list showed at some time. Of each command the summary says how often it was
    done, and how often its outcome is unknown.

    The outcome of a try is unknown if it ended without an answer, or if its process was killed. If it was killed, the
    journal only says that the command was claimed.
    """
    found = {}
    for order in order_lists.latest(store, limit=None):
        summary = JournalSummary(
            order.state,
            listed=frozenset(shown.get((order.shop, order.order_id), ())),
            attention=frozenset(str(one.reason) for one in order.attention),
        )
        without_result: dict[str, str] = {}  # the command of each try
        for row in journal_rows.of_order(store, order.key):
            a_try, _, _ = row.event.event_id.rpartition(":")
            note = row.event.note
            for decision in row.event.new_facts.decisions:
                if decision.kind == DecisionKind.HANDLED:  # a person did the call by hand, so its effect may exist
                    summary.unknown.update(CommandKey.parse(key).kind for key in decision.subject)
            if note.get("step") == "claimed":
                without_result[a_try] = str(note["command"])
            elif note.get("step") == "result":
                without_result.pop(a_try, None)
                result, command = note["result"], str(note["command"])
                summary.done[command] += result in (TryResult.DONE, TryResult.ALREADY_DONE)
                summary.unknown[command] += result == TryResult.UNKNOWN
        summary.unknown.update(without_result.values())
        found[order.shop, order.order_id] = summary
    return found
