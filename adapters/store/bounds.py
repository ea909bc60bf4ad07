"""How long the texts in indexes may be."""

from collections.abc import Mapping
from typing import Final

#: The most bytes of each text in an index. PostgreSQL refuses a row of an index that is longer than 2,704 bytes, and
#: undoes the whole transaction. So no text of the outside world is in an index without a bound; a long one is a digest.
LONGEST: Final[Mapping[str, int]] = {
    # Names of ours, and words of our enums
    "shops.name": 40,  # config.py
    "orders.shop": 40,
    "orders.state": 40,
    "orders.deadline_kind": 40,
    "objective_totals.shop": 40,
    "objective_totals.objective": 40,
    "objective_totals.result": 40,
    "cursors.shop": 40,
    "commands.shop": 40,
    "commands.kind": 40,
    "dead_letters.reason": 40,
    "budgets.account": 40,
    "budgets.span": 10,
    "schema_versions.revision": 10,
    "policies.shop": 40,
    # Settings, and names that our processes make of them
    "shops.endpoint": 2_000,
    "leases.name": 300,
    "outbox.aggregatetype": 249,
    "dead_letters.source": 300,  # a topic's name has 249 characters at most, by Kafka's rule
    "log_records.topic": 249,
    "progress.topic": 249,
    "progress.cluster": 100,
    "progress.group_name": 249,
    # The outside world
    "orders.order_id": 800,  # text.usable_id: 200 characters
    "journal.event_id": 1_200,  # cloudevents.LONGEST_ATTRIBUTE: 300 characters
    "journal.source": 1_200,
    "commands.carries": 2_000,  # readings.LONGEST_CARRIED, or the places of as many lines as one record can hold
    # Digests
    "snapshots.content": 64,
    "dead_letters.digest": 64,
}
