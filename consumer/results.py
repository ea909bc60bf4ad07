"""Results: stores how tries ended, many in one transaction.

A result is an event like any other, and is stored even if its worker has lost the lease (docs/rules.md 15).
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from adapters.errors import BrokenOrders, StoreUnavailable
from adapters.ports import Clock
from adapters.store import commands as command_rows
from adapters.store import orders as order_rows
from adapters.store.commands import Release
from adapters.store.engine import SHARED_LOCK_SECONDS
from adapters.store.transaction import Store
from consumer.apply import OrderWriter
from consumer.halving import halved
from consumer.hooks import Hooks
from consumer.planning import broken
from consumer.retry import TryResult
from consumer.together import Together
from consumer.tries import Ending, log_failure, log_not_stored
from statemachine.commands import CommandState

#: The most results of one transaction.
BATCH = 256
#: When a result is tried again whose order another transaction holds locked. Each try costs a thread its turn.
LOCKED_RESTS_SECONDS = 5.0


class _Locked(StoreUnavailable):
    """Another transaction holds the order of this result locked, and other results can be stored."""

    def __init__(self, error: StoreUnavailable) -> None:
        super().__init__(str(error), error.cause)


class Results:
    """Stores the results of tries. Any thread may call. A result that could not be stored is kept for `store_kept`."""

    def __init__(self, store: Store, orders: OrderWriter, clock: Clock, hooks: Hooks) -> None:
        self._store = store
        self._clock = clock
        self._orders = orders
        self._hooks = hooks
        self._lock = threading.Lock()
        # At most one for each thread, and one for each locked order. Each with when it is tried again, on the monotonic
        # clock.
        self._kept: deque[tuple[float, Ending]] = deque()
        self._together = Together(self._store_all, BATCH)

    def store(self, ending: Ending) -> None:
        """Store how a try ended. Raises StoreUnavailable: then the result is kept, and stored later. BrokenOrders: the
        store refuses what this result says. Such a result is not kept, because it would stop every thread."""
        try:
            self._together.do(ending)
        except StoreUnavailable as error:
            rests = LOCKED_RESTS_SECONDS if isinstance(error, _Locked) else 0.0
            with self._lock:
                self._kept.append((self._clock.monotonic() + rests, ending))
            raise

    def store_kept(self) -> None:
        """Store the results that came while the store was unavailable, or their order locked.

        If the failed transaction was committed after all, the event is a repeat, and changes nothing.
        """
        while True:
            with self._lock:
                due = next((one for one in self._kept if one[0] <= self._clock.monotonic()), None)
                if due is None:
                    return
                self._kept.remove(due)
            self.store(due[1])

    def _store_all(self, endings: Sequence[Ending]) -> list[Exception | None]:
        """Store these results. Returns for each None, or the error that storing it alone raises."""
        found = halved(endings, self._store_sound_ones, self._store)
        return [one if one is None else _named(ending, one) for ending, one in zip(endings, found, strict=True)]

    def _store_sound_ones(self, endings: Sequence[Ending]) -> list[Exception | None]:
        try:
            self._store_in_one(endings)
        except BrokenOrders as error:
            return self._without(endings, error)
        return [None] * len(endings)

    def _without(self, endings: Sequence[Ending], error: BrokenOrders) -> list[Exception | None]:
        """Quarantine the orders that the error names, and store the results of all others. Returns as `_store_all`."""
        self._orders.quarantine(error.orders)
        touched = {(event.shop, event.order_id) for one in endings for event in (*one.events, *one.doubts)}
        if touched.isdisjoint(error.orders):  # never happens: the error names only orders of these events
            return [error] * len(endings)
        sound = [
            replace(
                one, doubts=tuple(event for event in one.doubts if (event.shop, event.order_id) not in error.orders)
            )
            for one in endings
            if one.order not in error.orders
        ]
        stored = iter(self._store_all(sound) if sound else ())
        return [error if one.order in error.orders else next(stored) for one in endings]

    def _store_in_one(self, endings: Sequence[Ending]) -> None:
        events = [event for one in endings for event in (*one.events, *one.doubts)]
        keys = {one.claim.order.key for one in endings if one.events}
        alone = not any(one.doubts for one in endings)  # their orders are locked with the others, in the order of keys
        first: list[Release] = []
        last: list[Release] = []
        for one in endings:
            # The plan would mark a command as no longer due that ends here. One that opens again it has to mark.
            ends = alone and one.events and one.release.state is not CommandState.OPEN
            (first if ends else last).append(one.release)
        with self._store.transaction(SHARED_LOCK_SECONDS) as tx:
            locked = order_rows.lock_by_keys(tx, keys) if alone and keys else {}
            command_rows.release(tx, first)
            applied = self._orders.apply_in(tx, events, locked.values())
            command_rows.release(tx, last)
        self._orders.report(applied)
        for one in endings:
            self._hooks.command_tried(one.claim.command.kind, one.result)
            if one.result not in (TryResult.DONE, TryResult.ALREADY_DONE, TryResult.OBSOLETE):
                log_failure(one.claim, one.result, one.error.outcome if one.error else "")


def _named(ending: Ending, error: Exception) -> Exception:
    """Return the error as the caller of `Results.store` gets it."""
    if isinstance(error, (BrokenOrders, _Locked)):
        return error
    if isinstance(error, StoreUnavailable):
        return _Locked(error)
    log_not_stored(ending, error)
    return broken(ending.claim.order, error)
