"""What tests/system/test_next_version.py does with one version of the code, in a process of that version.

Each line of standard input names a database and a step, as JSON, and is answered by a line of JSON. The next version
knows a fact more (`Facts.gifts`) and a member more (`Line.gift`).
"""

import json
import sys
from dataclasses import replace
from typing import Any

from adapters.clock import SystemClock
from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store.transaction import Store
from consumer.applying.apply import OrderWriter
from consumer.operations.verify import differences
from statemachine.commands import Policy
from statemachine.events import Event, Trigger
from statemachine.facts import Decision, DecisionKind, Facts
from statemachine.joining import snapshot_facts
from tests.statemachine.lives import read, snapshot_event

SHOP, ORDER = "alpha", "read"


def apply(store: Store, event: Event) -> None:
    OrderWriter(store, {SHOP: Policy()}, SystemClock()).apply([replace(event, shop=SHOP, order_id=ORDER)])


def decided(kind: DecisionKind) -> Event:
    now = SystemClock().now()
    facts = Facts(decisions=(Decision(now, kind, "ana", "a test"),))
    return Event("/test", f"{kind} {now}", SHOP, ORDER, Trigger.DECISION, now, facts)


def gift_wrapped() -> Event:
    """Only the next version can make this event."""
    new: dict[str, Any] = {"gift": True}
    lines = tuple(replace(line, **new) for line in read("SHIPPING").lines)
    facts = snapshot_facts(replace(read("SHIPPING", updated=60, began=60), lines=lines))
    new = {"gifts": ("red paper",)}
    now = SystemClock().now()
    return Event("/test", f"gift {now}", SHOP, ORDER, Trigger.SNAPSHOT, now, replace(facts, **new), digest="gift")


def show(store: Store) -> dict[str, Any]:
    (row,) = order_rows.find(store, ORDER, SHOP)
    snapshot = row.facts.snapshot
    return {
        "state": row.state,
        "version": row.version,
        "decided": [one.kind for one in row.facts.decisions],
        "gifts": getattr(row.facts, "gifts", None),
        "gift": [getattr(line, "gift", None) for line in snapshot.lines] if snapshot else [],
        "differences": differences(row, journal_rows.of_order(store, row.key)),
    }


def done(store: Store, step: str) -> dict[str, Any]:
    if step == "migrate":
        store.migrate()
    if step in ("migrate", "start"):
        return {"may_run": store.schema_fits()}
    if step == "read":
        apply(store, snapshot_event(read("SHIPPING")))
    elif step == "read again":
        apply(store, snapshot_event(read("SHIPPED", updated=120, began=120)))
    elif step == "gift":
        apply(store, gift_wrapped())
    elif step in ("hold", "release"):
        apply(store, decided(DecisionKind(step)))
    return show(store)


def main() -> None:
    """Each step opens the store anew, as a process that starts does."""
    for line in sys.stdin:
        url, step = json.loads(line)
        store = Store(url)
        sys.stdout.write(json.dumps(done(store, step)) + "\n")
        sys.stdout.flush()
        store.close()


if __name__ == "__main__":
    main()
