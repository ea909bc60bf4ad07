"""Results: stores how tries ended, many in one transaction.

A result is an event like any other, and is stored even if its worker has lost the lease (docs/rules.md 15).
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapters.errors import BrokenOrders, Cause, StoreUnavailable
from adapters.ports import Clock
from adapters.store import commands as command_rows
from adapters.store import orders as order_rows
from adapters.store.engine import SHARED_LOCK_SECONDS
from adapters.store.held import held, held_commands
from adapters.store.orders import OrderRow
from adapters.store.transaction import Store, Transaction
from consumer.applying.apply import OrderWriter
from consumer.applying.halving import halved
from consumer.applying.planning import broken
from consumer.calling.together import Together
from consumer.calling.tries import Ending, log_failure, log_held, log_not_stored
from consumer.hooks import Hooks
from consumer.retry import TryResult
from statemachine.commands import CommandState

#: The most results of one transaction. Each takes about 0.3 ms of CPU, so that the next one waits for less than 50 ms.
BATCH = 128
#: When a result is tried again whose order another transaction holds locked. Such a try waits for no lock, so it costs
#: the other results nothing.
HELD_RESTS_SECONDS = 0.05
#: After this time such a result is a line of the log: somebody holds its order for longer than a transaction of ours.
HELD_LOGGED_SECONDS = 5.0
#: When a result is tried again that waited in vain for another lock than that of its order, for example of another
#: command of the order. Each try waits again, and all results of its transaction with it.
LOCKED_RESTS_SECONDS = 5.0


class _OrderHeld(StoreUnavailable):
    """Another transaction holds an order of this result locked. Nothing was written of it, and nothing waited."""


class _Locked(StoreUnavailable):
    """This result waited in vain for a lock, and other results can be stored."""

    def __init__(self, error: StoreUnavailable) -> None:
        super().__init__(str(error), error.cause)


@dataclass(slots=True)
class _Result:
    """A result to store. Instants are on the monotonic clock."""

    ending: Ending
    since: float
    rests_until: float = 0.0
    is_logged: bool = False  # that it waits for a lock


class Results:
    """Stores the results of tries. Any thread may call. A result that could not be stored is kept for `store_kept`."""

    def __init__(self, store: Store, orders: OrderWriter, clock: Clock, hooks: Hooks) -> None:
        self._store = store
        self._clock = clock
        self._orders = orders
        self._hooks = hooks
        self._lock = threading.Lock()
        # At most one for each thread, and one for each locked order.
        self._kept: list[_Result] = []
        self._attended_until = -math.inf  # until then a thread comes back for what is kept; on the monotonic clock
        self._together = Together(self._store_groups, BATCH)

    def store(self, ending: Ending) -> None:
        """Store how a try ended, and the kept results that are due. If another transaction holds its order locked, the
        result is kept, and stored later.

        Raises StoreUnavailable: then the result is kept, too. BrokenOrders: the store refuses what a result says. Such
        a result is not kept, because it would stop every thread."""
        self._store_or_keep([_Result(ending, self._clock.monotonic()), *self._take_due()])

    def store_kept(self) -> None:
        """Store the results that came while the store was unavailable, or their order locked. Raises as `store`.

        If the failed transaction was committed after all, the event is a repeat, and changes nothing.
        """
        while due := self._take_due():
            self._store_or_keep(due)

    def rests(self, longest: float) -> float:
        """Return for how many seconds a thread rests that has nothing to do: `longest`, or HELD_RESTS_SECONDS if a
        result is due then, and no other thread comes back for it."""
        now = self._clock.monotonic()
        soon = now + HELD_RESTS_SECONDS
        with self._lock:
            if now < self._attended_until or all(one.rests_until > soon for one in self._kept):
                return longest
            self._attended_until = soon
        return HELD_RESTS_SECONDS

    def _take_due(self) -> list[_Result]:
        now = self._clock.monotonic()
        with self._lock:
            due = [one for one in self._kept if one.rests_until <= now]
            rest = [one for one in self._kept if one.rests_until > now]
            self._kept = due[BATCH:] + rest
        return due[:BATCH]

    def _store_or_keep(self, results: Sequence[_Result]) -> None:
        try:
            errors = self._together.do([one.ending for one in results])
        except StoreUnavailable:
            for one in results:
                self._keep(one, 0.0)
            raise
        refused: dict[tuple[str, str], str] = {}
        locked: StoreUnavailable | None = None
        for one, error in zip(results, errors, strict=True):
            if isinstance(error, _OrderHeld):
                self._log_once(one)
                self._keep(one, HELD_RESTS_SECONDS)
            elif isinstance(error, StoreUnavailable):
                self._keep(one, LOCKED_RESTS_SECONDS)
                locked = error
            elif isinstance(error, BrokenOrders):
                refused |= error.orders
        if refused:
            raise BrokenOrders(refused)
        if locked is not None:
            raise locked

    def _keep(self, one: _Result, rests_seconds: float) -> None:
        one.rests_until = self._clock.monotonic() + rests_seconds
        with self._lock:
            self._kept.append(one)

    def _log_once(self, one: _Result) -> None:
        waited = self._clock.monotonic() - one.since
        if not one.is_logged and waited >= HELD_LOGGED_SECONDS:
            one.is_logged = True
            log_held(one.ending, waited)

    def _store_groups(self, groups: Sequence[Sequence[Ending]]) -> list[list[Exception | None]]:
        """Store the results of these groups, one for each thread. Returns of each group what `_store_all` does."""
        errors = iter(self._store_all([ending for group in groups for ending in group]))
        return [[next(errors) for _ in group] for group in groups]

    def _store_all(self, endings: Sequence[Ending]) -> list[Exception | None]:
        """Store these results. Returns for each None, or the error that storing it alone raises."""
        found = halved(endings, self._store_sound_ones, self._store)
        return [one if one is None else _named(ending, one) for ending, one in zip(endings, found, strict=True)]

    def _store_sound_ones(self, endings: Sequence[Ending]) -> list[Exception | None]:
        try:
            return self._store_in_one(endings)
        except BrokenOrders as error:
            return self._without(endings, error)

    def _without(self, endings: Sequence[Ending], error: BrokenOrders) -> list[Exception | None]:
        """Quarantine the orders that the error names, and store the results of all others. Returns as `_store_all`."""
        self._orders.quarantine(error.orders)
        if all(one.written.isdisjoint(error.orders) for one in endings):  # never happens: it names only orders of these
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

    def _store_in_one(self, endings: Sequence[Ending]) -> list[Exception | None]:
        """Store these results in one transaction, without those of which another transaction holds something locked.

        Returns for each None, or _OrderHeld.
        """
        with self._store.transaction(SHARED_LOCK_SECONDS) as tx:
            orders, elsewhere = _lock(tx, endings)
            free = [one for one in endings if one.written.isdisjoint(elsewhere)]
            quiet = [one.release.command_id for one in free if not one.events]
            # The plan would mark a command as no longer due that ends here. One that opens again it has to mark.
            first = [one for one in free if one.events and one.release.state is not CommandState.OPEN]
            command_rows.release(tx, [one.release for one in first])
            applied = self._orders.apply_in(tx, [event for one in free for event in one.all_events], orders)
            waits = held_commands(tx, quiet)  # only now, because a plan locks the commands of its orders first
            stored = {one.claim.token: one for one in free if one.release.command_id not in waits}
            last = stored.keys() - {one.claim.token for one in first}
            command_rows.release(tx, [stored[token].release for token in last])
        self._orders.report(applied)
        for one in stored.values():
            self._hooks.command_tried(one.claim.command.kind, one.result)
            if one.result not in (TryResult.DONE, TryResult.ALREADY_DONE, TryResult.OBSOLETE):
                log_failure(one.claim, one.result, one.error.outcome if one.error else "")
        held_up = _OrderHeld("an order is locked", Cause.LOCKED)
        return [None if one.claim.token in stored else held_up for one in endings]


def _lock(tx: Transaction, endings: Sequence[Ending]) -> tuple[list[OrderRow], set[tuple[str, str]]]:
    """Lock the orders that these results change, and pass over those that another transaction holds locked: to wait for
    one of them would hold up the results of all others.

    Returns the orders that were read, and shop and id of those that are locked elsewhere.
    """
    keys = {one.claim.order.key for one in endings if one.events}
    orders = list(order_rows.lock_by_keys(tx, keys, skip_locked=True).values()) if keys else []
    read = {(row.shop, row.order_id) for row in orders}
    return orders, held(tx, {order for one in endings for order in one.written} - read)


def _named(ending: Ending, error: Exception) -> Exception:
    """Return the error of a result as `_store_or_keep` gets it."""
    if isinstance(error, (BrokenOrders, _Locked, _OrderHeld)):
        return error
    if isinstance(error, StoreUnavailable):
        return _Locked(error)
    log_not_stored(ending, error)
    return broken(ending.claim.order, error)
