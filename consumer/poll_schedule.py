"""When a shop is polled next: an interval after its last poll began, by the process that holds the shop's lease."""

from dataclasses import dataclass
from datetime import datetime

from adapters.errors import OrderflowError, RemoteError
from adapters.ports import Clock
from adapters.store import cursors as cursor_rows
from adapters.store.transaction import Store
from consumer.hooks import Hooks
from consumer.leases import Leases
from consumer.poller import Poller


def seconds_to_wait(interval_seconds: float, last_success: datetime | None, now: datetime) -> float:
    """How long a process that starts to poll a shop has to wait.

    Another process, or this one before a restart, may have listed a moment ago, and Mirakl limits how often a shop may
    be listed (docs/mirakl.md 3).
    """
    if last_success is None:
        return 0.0
    return min(interval_seconds, max(0.0, interval_seconds - (now - last_success).total_seconds()))


@dataclass(slots=True)
class Schedule:
    """When one shop is due. Times are seconds on the monotonic clock."""

    interval_seconds: float
    #: None while another process polls the shop.
    due_at: float | None = None

    def lost(self) -> None:
        """Another process polls the shop from now on."""
        self.due_at = None

    def began(self, now: float, pause_seconds: float) -> None:
        """A poll began at `now`, and Mirakl asked not to be called for `pause_seconds` after it."""
        self.due_at = now + max(self.interval_seconds, pause_seconds)


class ScheduledPoller:
    """Polls one shop whenever it is due. One thread calls `turn`, so that a shop that hangs delays no other."""

    def __init__(
        self,
        shop: str,
        poller: Poller,
        interval_seconds: float,
        *,
        shops: int,
        leases: Leases,
        store: Store,
        clock: Clock,
        hooks: Hooks,
    ) -> None:
        """`shops`: how many shops all processes that poll share."""
        self.poller = poller
        self._shop = shop
        self._shops = shops
        self._leases = leases
        self._store = store
        self._clock = clock
        self._hooks = hooks
        self._schedule = Schedule(interval_seconds)

    def turn(self) -> float:
        """Poll where the shop is ours and due. Returns for how many seconds nothing is to be done.

        Raises StoreUnavailable. Every other error of a poll is reported to the hooks.
        """
        if self._leases.take_share(self._shop, self._shops) is None:
            self._schedule.lost()
            return self._leases.renew_seconds
        now = self._clock.monotonic()
        if self._schedule.due_at is None:
            self._schedule.due_at = now + self.seconds_after_takeover()
        if now < self._schedule.due_at:
            return min(self._schedule.due_at - now, self._leases.renew_seconds)
        self._schedule.began(now, self._poll())
        return 0.0

    def seconds_after_takeover(self) -> float:
        """How long a process that takes the shop over waits for its first poll."""
        cursor = cursor_rows.find(self._store, self._shop)
        last_success = cursor.succeeded_at if cursor else None
        return seconds_to_wait(self._schedule.interval_seconds, last_success, self._clock.now())

    def _poll(self) -> float:
        """Returns for how many seconds Mirakl asked not to be called."""
        try:
            self.poller.run()
        except RemoteError as error:
            self._hooks.poll_failed(self._shop, error)
            return error.retry_after_seconds or 0.0
        except OrderflowError as error:
            self._hooks.poll_failed(self._shop, error)
        return 0.0
