"""The work that one worker process does for all processes, while it holds the relay's lease."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from adapters.log.embedded import EmbeddedLog
from adapters.ports import Clock
from adapters.store import orders as order_rows
from adapters.store.transaction import Store
from consumer.apply import OrderWriter
from consumer.leases import RELAY, Leases
from consumer.relay import Relay

#: How many orders one transaction plans again.
REPLAN_BATCH: Final = 500
#: How often old records of the embedded log are deleted.
TRIM_EVERY: Final = timedelta(hours=1)
#: How long the relay waits after it found the outbox empty.
RELAY_IDLE_SECONDS: Final = 0.25


class Housekeeping:
    """Plans open orders again after a change of policy, publishes the outbox, trims the embedded log.

    One thread calls `turn`.
    """

    def __init__(
        self,
        *,
        shops: Iterable[str],
        store: Store,
        orders: OrderWriter,
        leases: Leases,
        clock: Clock,
        relay: Relay | None,
        embedded_log: EmbeddedLog | None,
        keep_records: timedelta,
    ) -> None:
        """`relay` None: nothing is published. `embedded_log` None: the log is Kafka, and nothing is trimmed.

        `keep_records`: the age at which applied records of the embedded log are deleted.
        """
        self._shops = tuple(shops)
        self._store = store
        self._orders = orders
        self._leases = leases
        self._clock = clock
        self._relay = relay
        self._embedded_log = embedded_log
        self._keep_records = keep_records
        self._leads = False
        self._trimmed_at = float("-inf")  # on the monotonic clock

    def turn(self) -> float:
        """Do what is due, if this process holds the relay's lease. Returns how many seconds to wait for the next turn.

        Raises StoreUnavailable, LogUnavailable, Fenced.
        """
        if self._leases.take(RELAY) is None:
            self._leads = False
            return self._leases.renew_seconds
        if not self._leads:
            self._replan()
            self._leads = True
        self._trim()
        published = self._relay.turn() if self._relay else 0
        return 0.0 if published else RELAY_IDLE_SECONDS

    def _replan(self) -> None:
        """Plan every open order again, because a policy may have changed before this process took the lease, and a
        change of policy is no event."""
        for shop in self._shops:
            keys = order_rows.open_keys(self._store, shop)
            for start in range(0, len(keys), REPLAN_BATCH):
                self._leases.kept(RELAY)
                self._orders.replan(keys[start : start + REPLAN_BATCH])

    def _trim(self) -> None:
        now = self._clock.monotonic()
        if self._embedded_log is not None and now - self._trimmed_at > TRIM_EVERY.total_seconds():
            self._trimmed_at = now
            self._embedded_log.trim(self._clock.now() - self._keep_records)
