"""Housekeeping: the work that one worker process does for all processes, while it holds the relay's lease.

It plans open orders again, wakes orders at their deadlines, trims the embedded log, forgets orders that only the OMS
knows, removes snapshots that nothing rests on, counts what people decided and which objectives were kept, and stores
names and urgencies that older code did not store.
"""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from adapters.errors import OrdersWait
from adapters.log.embedded import EmbeddedLog
from adapters.ports import Clock
from adapters.store import objectives as objective_rows
from adapters.store import orders as order_rows
from adapters.store.transaction import Store
from consumer.applying.apply import OrderWriter
from consumer.applying.locked import LockedOrders
from consumer.applying.names import Naming
from consumer.hooks import Hooks
from consumer.housekeeping.decision_count import DecisionCount
from consumer.housekeeping.forgetting import Forgetting
from consumer.housekeeping.imports_of_before import keep_what_was_sent
from consumer.housekeeping.reads_of_before import read_stored_again
from consumer.housekeeping.retention import Retention
from consumer.housekeeping.urgencies import Urgencies
from consumer.leases import RELAY, Leases
from statemachine.events import Event, Trigger
from statemachine.facts import Facts

#: How many orders one transaction plans again.
REPLAN_BATCH: Final = 500
#: How often every open order is planned again. This also sets `orders.wake_at`, which a process of the version before
#: does not write while it still runs during an update.
REPLAN_EVERY: Final = timedelta(hours=6)
#: How often orders are looked for that were planned by an earlier policy.
BEHIND_EVERY_SECONDS: Final = 5.0
#: How often results of objectives are added to their totals.
FOLD_EVERY_SECONDS: Final = 5.0
#: How many orders one turn wakes.
WAKE_BATCH: Final = 200
#: The source of the events of the clock.
CLOCK_SOURCE: Final = "/orderflow/clock"
#: How often old records of the embedded log are deleted.
TRIM_EVERY: Final = timedelta(hours=1)
#: How long the loop waits after a turn, if no more orders have to be woken.
IDLE_SECONDS: Final = 0.25


def clock_event(shop: str, order_id: str, now: datetime) -> Event:
    """Return the event that adds the present time to the facts of an order."""
    event_id = f"{now.isoformat()}:{shop}:{order_id}"
    return Event(CLOCK_SOURCE, event_id, shop, order_id, Trigger.CLOCK, now, Facts(clock=now))


class Housekeeping:
    """Does the housekeeping. Not thread-safe: one thread calls `turn`."""

    def __init__(
        self,
        *,
        shops: Collection[str],
        store: Store,
        orders: OrderWriter,
        leases: Leases,
        clock: Clock,
        embedded_log: EmbeddedLog | None,
        keep_records: timedelta,
        keep_foreign: timedelta,
        keep_snapshots: timedelta,
        hooks: Hooks,
    ) -> None:
        """`embedded_log` None: the log is Kafka, and nothing is trimmed.

        `keep_records`: the age at which applied records of the embedded log are deleted. `keep_foreign`: an order that
        no read has shown is forgotten if the OMS has not reported on it for this time. `keep_snapshots`: an order at
        its end keeps all its snapshots for this time.
        """
        self._shops = tuple(shops)
        self._store = store
        self._orders = orders
        self._leases = leases
        self._clock = clock
        self._embedded_log = embedded_log
        self._keep_records = keep_records
        self._decision_count = DecisionCount(store, clock, hooks)
        self._forgetting = Forgetting(store, clock, hooks, tuple(shops), keep_foreign)
        self._retention = Retention(store, clock, hooks, keep_snapshots)
        self._naming = Naming(store, clock)
        self._urgencies = Urgencies(store, clock)
        self._locked = LockedOrders(clock)
        self._found_locked: set[tuple[str, str]] = set()  # in this turn
        self._leads = False
        self._planned_at = float("-inf")  # on the monotonic clock
        self._trimmed_at = float("-inf")  # on the monotonic clock
        self._looked_behind_at = float("-inf")  # on the monotonic clock
        self._folded_at = float("-inf")  # on the monotonic clock

    def turn(self) -> float:
        """Do what is due, if this process holds the relay's lease. Returns how many seconds to wait for the next turn.

        Orders that another transaction holds locked rest, and are planned again after it. Raises OrdersWait for those
        found in this turn, when all else is done. Raises StoreUnavailable, Fenced.
        """
        if self._leases.take(RELAY) is None:
            self._leads = False
            return self._leases.renew_seconds
        monotonic, self._found_locked = self._clock.monotonic(), set()
        self._plan_locked()
        if not self._leads or monotonic - self._planned_at > REPLAN_EVERY.total_seconds():
            self._replan()
            self._leads, self._planned_at = True, monotonic
        self._replan_behind(monotonic)
        self._trim()
        self._forgetting.turn(self._orders.newest_policies, lambda: self._leases.kept(RELAY))
        self._retention.turn(lambda: self._leases.kept(RELAY))
        self._decision_count.turn()
        self._naming.turn(lambda: self._leases.kept(RELAY))
        self._urgencies.turn(lambda: self._leases.kept(RELAY))
        self._fold(monotonic)
        woken = self._wake()
        if self._found_locked:
            raise OrdersWait(self._found_locked)
        return 0.0 if woken == WAKE_BATCH else IDLE_SECONDS

    def _plan_locked(self) -> None:
        """Plan the orders again that were locked, and whose rest is over."""
        due = self._locked.due()
        self._sparing(partial(self._orders.replan, due))
        self._locked.forget({*due} - self._found_locked)

    def _sparing(self, act: Callable[[], None]) -> None:
        """Call `act`. Orders that another transaction holds locked rest, and stop no other work."""
        try:
            act()
        except OrdersWait as error:
            self._locked.add(error.orders)
            self._found_locked |= error.orders

    def _fold(self, monotonic: float) -> None:
        """Add the new results of objectives to their totals."""
        if monotonic - self._folded_at >= FOLD_EVERY_SECONDS:
            self._folded_at = monotonic
            while objective_rows.fold(self._store) == objective_rows.FOLD_BATCH:
                self._leases.kept(RELAY)

    def _wake(self) -> int:
        """Wake orders whose `wake_at` has passed, at most WAKE_BATCH: apply a clock event to each. Returns how many."""
        now = self._clock.now()
        found = order_rows.to_wake(self._store, now, WAKE_BATCH + len(self._locked))
        keys = self._locked.without(found)[:WAKE_BATCH]
        if keys:
            self._leases.kept(RELAY)
            events = [clock_event(shop, order_id, now) for shop, order_id in keys]
            self._sparing(lambda: self._orders.apply_alone(events))
        return len(keys)

    def _replan(self) -> None:
        """Plan every open order again, because a policy may have changed before this process took the lease, and a
        change of policy is no event."""
        for shop in self._shops:
            kept = partial(self._leases.kept, RELAY)
            self._sparing(partial(keep_what_was_sent, self._store, self._orders, shop, kept))
            self._sparing(partial(read_stored_again, self._store, self._orders, shop, kept))
            keys = order_rows.open_keys(self._store, shop)
            for start in range(0, len(keys), REPLAN_BATCH):
                kept()
                self._sparing(partial(self._orders.replan, keys[start : start + REPLAN_BATCH]))

    def _replan_behind(self, monotonic: float) -> None:
        """Plan the open orders again that were planned by an earlier version of their shop's policy, or by older code,
        at most REPLAN_BATCH of each shop. Orders of a shop whose policy newer code has stored are left to that code.
        """
        if monotonic - self._looked_behind_at < BEHIND_EVERY_SECONDS:
            return
        self._looked_behind_at = monotonic
        for shop, policy in self._orders.newest_policies(self._shops).items():
            found = order_rows.behind(self._store, shop, policy.version, REPLAN_BATCH + len(self._locked))
            if keys := self._locked.without(found)[:REPLAN_BATCH]:
                self._leases.kept(RELAY)
                self._sparing(partial(self._orders.replan, keys))
                self._looked_behind_at = float("-inf")  # there may be more

    def _trim(self) -> None:
        now = self._clock.monotonic()
        if self._embedded_log is not None and now - self._trimmed_at > TRIM_EVERY.total_seconds():
            self._trimmed_at = now
            self._embedded_log.trim(self._clock.now() - self._keep_records)
