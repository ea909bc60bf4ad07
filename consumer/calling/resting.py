"""Calls that are not tried because their operation fails for other orders: the order of each such call gets one.

While an operation of an account is refused, or its circuit is open, one call at a time tests it. The other orders would
have no failure of their own. So their trouble is a fact too (failures.Trouble): the attention reason `retrying`, and
the time for which a tracking holds the shipment, count for them as for the order whose call failed.
"""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from adapters.errors import StoreUnavailable
from adapters.ports import Clock
from adapters.store import lanes as lane_rows
from adapters.store.engine import SHARED_LOCK_SECONDS
from adapters.store.lanes import Lane, Untried
from adapters.store.transaction import Store
from consumer.applying.apply import OrderWriter
from consumer.applying.halving import halved
from consumer.calling.accounts import Accounts
from consumer.calling.tries import SOURCE
from consumer.retry import TryResult
from statemachine.events import Event, Trigger
from statemachine.facts import Facts
from statemachine.failures import Trouble

#: How often such orders are looked for.
LOOK_EVERY: Final = timedelta(minutes=1)
#: How long an operation has to fail, and a call to be due, before the order gets the trouble: longer than one pause.
FAILING_FOR: Final = timedelta(minutes=2)
#: How many calls get a trouble in one look.
BATCH: Final = 200
#: Code of a trouble: the call was not made, because its operation rests.
RESTING: Final = "resting"
#: Outcomes of a try that left a trouble, or that this module stored.
_FAILED: Final = (TryResult.RETRY, TryResult.UNKNOWN, TryResult.ACCOUNT_FAULT)


class Resting:
    """Adds a trouble to the orders whose calls rest: their operation pauses. Any thread may call `turn`."""

    def __init__(self, store: Store, orders: OrderWriter, accounts: Accounts, clock: Clock) -> None:
        self._store = store
        self._orders = orders
        self._accounts = accounts
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = float("-inf")  # on the monotonic clock

    def turn(self) -> None:
        """Look for orders whose calls rest, at most once in LOOK_EVERY. Raises StoreUnavailable."""
        with self._lock:
            monotonic = self._clock.monotonic()
            if monotonic - self._looked_at < LOOK_EVERY.total_seconds():
                return
            self._looked_at = monotonic
        failing = self._accounts.failing_lanes(FAILING_FOR)
        if not failing:
            return
        now = self._clock.now()
        found = lane_rows.untried(self._store, failing, now - FAILING_FOR, failed=_FAILED, limit=BATCH)
        if found:
            events = [(one, _event(one, failing[Lane(one.shop, one.key.kind)], now)) for one in found]
            for error in halved(events, self._store_events, self._store):
                if error is not None and not isinstance(error, StoreUnavailable):  # a locked order gets its event later
                    raise error

    def _store_events(self, events: Sequence[tuple[Untried, Event]]) -> list[None]:
        with self._store.transaction(SHARED_LOCK_SECONDS) as tx:
            applied = self._orders.apply_in(tx, [event for _, event in events])
            lane_rows.set_last_outcome(tx, [one.id for one, _ in events], TryResult.ACCOUNT_FAULT)
        self._orders.report(applied)
        return [None] * len(events)


def _event(one: Untried, failing_since: datetime, now: datetime) -> Event:
    """Return the event that adds a trouble to the order of this call. The trouble begins when the call was opened, or
    when its operation began to fail, whichever is later."""
    key = one.key
    since = max(one.opened_at, failing_since)
    trouble = Trouble(key.kind, key.carries, key.round, since, key.kind.operation, code=RESTING)
    note: dict[str, str | int] = {
        "command": key.kind,
        "operation": key.kind.operation,
        "step": RESTING,
        "result": RESTING,
        "attempt": 0,
        "round": key.round,
    }
    facts = Facts(troubles=(trouble,))
    return Event(SOURCE, f"{one.id}:{RESTING}", one.shop, one.order_id, Trigger.CALL, now, facts, note=note)
