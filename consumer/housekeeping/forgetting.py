"""Forgets orders that only the OMS knows: those of its company's other sales channels (docs/rules.md 5).

If a company's OMS reported the orders of ten channels, the store would else hold ten times the orders of the shop.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import Final

from structlog import get_logger

from adapters.ports import Clock
from adapters.store import cursors, forgetting
from adapters.store.transaction import Store
from consumer.hooks import Hooks
from statemachine.commands import Policy

#: How often such orders are looked for.
EVERY: Final = timedelta(hours=1)
#: How many orders one transaction deletes.
BATCH: Final = 200
#: The poller asks Mirakl for an unknown order once a day. So nothing is forgotten of a shop that no poll has read for
#: longer than this.
POLLED_WITHIN: Final = timedelta(days=1)
log = get_logger()


class Forgetting:
    """Deletes the orders that only the OMS knows. Not thread-safe: one thread calls `turn`."""

    def __init__(self, store: Store, clock: Clock, hooks: Hooks, shops: Iterable[str], after: timedelta) -> None:
        """`after`: for so long the OMS reported nothing on an order that is forgotten."""
        self._store = store
        self._clock = clock
        self._hooks = hooks
        self._shops = tuple(shops)
        self._after = after
        self._looked_at = float("-inf")  # on the monotonic clock

    def turn(self, policies: Callable[[Collection[str]], Mapping[str, Policy]], keep: Callable[[], object]) -> None:
        """Forget what is due. `policies` returns the policies of the given shops. `keep` renews the lease before each
        transaction.

        Raises StoreUnavailable, Fenced.
        """
        monotonic = self._clock.monotonic()
        if monotonic - self._looked_at < EVERY.total_seconds():
            return
        self._looked_at = monotonic
        newest = policies(self._shops)
        for shop in self._shops:
            cursor = cursors.find(self._store, shop)
            if cursor is None or self._clock.now() - cursor.succeeded_at > POLLED_WITHIN:
                continue
            count = self._forget(shop, newest.get(shop, Policy()), keep)
            if count:
                log.info("orders_forgotten", shop=shop, count=count)
                self._hooks.orders_forgotten(shop, count)

    def _forget(self, shop: str, policy: Policy, keep: Callable[[], object]) -> int:
        # Before `gone_after` the order has not got the reason `unknown_to_mirakl` yet, which a person should see.
        before = self._clock.now() - max(self._after, policy.gone_after + POLLED_WITHIN)
        total = 0
        while keys := forgetting.foreign(self._store, shop, before, BATCH):
            keep()
            with self._store.transaction() as tx:
                count = forgetting.forget(tx, keys, before)
            total += count
            if not count:  # another process wrote all of them meanwhile
                break
        return total
