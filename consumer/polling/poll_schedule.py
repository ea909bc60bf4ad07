"""When a shop is polled next: an interval after its last poll began, by the process that holds the shop's lease."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from adapters.errors import OrderflowError, RemoteError
from adapters.ports import Clock
from adapters.store import cursors as cursor_rows
from adapters.store import shops as shop_rows
from adapters.store.transaction import Store
from consumer.hooks import Hooks
from consumer.leases import Leases
from consumer.polling.account_check import AccountCheck
from consumer.polling.poller import Poller

T = TypeVar("T")

#: A shop whose last poll took longer is slow (pollers.py).
SLOW_SECONDS: Final = 10.0


def seconds_to_wait(interval_seconds: float, last_poll: datetime | None, now: datetime) -> float:
    """Return how many seconds a process that starts to poll a shop has to wait before its first poll.

    Mirakl limits how often the orders of a shop may be listed (docs/mirakl.md 3). Another process, or this one before a
    restart, may have polled the shop a moment ago.
    """
    if last_poll is None:
        return 0.0
    return min(interval_seconds, max(0.0, interval_seconds - (now - last_poll).total_seconds()))


@dataclass(slots=True)
class Schedule:
    """When one shop is due. Times are seconds on the monotonic clock."""

    interval_seconds: float
    #: None while another process polls the shop.
    due_at: float | None = None

    def lost(self) -> None:
        """Forget when the shop is due, because another process polls it now."""
        self.due_at = None

    def began(self, now: float, pause_seconds: float) -> None:
        """Set when the shop is due next. A poll began at `now`; Mirakl asked for a pause of `pause_seconds`, or 0."""
        self.due_at = now + max(self.interval_seconds, pause_seconds)

    def paused(self, now: float, pause_seconds: float) -> None:
        """Set when a poll goes on that Mirakl interrupted. At `now` it asked for a pause of `pause_seconds`, or 0."""
        self.due_at = now + (pause_seconds or self.interval_seconds)


class ScheduledPoller:
    """Polls one shop when it is due. One thread at a time calls `turn` (pollers.py)."""

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
        check: AccountCheck | None = None,
    ) -> None:
        """`shops`: how many shops all processes together poll. `check`: made before the first poll."""
        self._check = check
        self.poller = poller
        self._shop = shop
        self._shops = shops
        self._leases = leases
        self._store = store
        self._clock = clock
        self._hooks = hooks
        self._schedule = Schedule(interval_seconds)
        #: Whether the last poll took longer than SLOW_SECONDS.
        self.is_slow = False

    def turn(self) -> float:
        """Poll the shop if it is due and this process holds its lease. Returns how many seconds to wait after that.

        An OrderflowError of a poll is reported to the hooks, and any other exception of a poll is raised. After any
        error of a poll the next poll begins an interval later, or after the pause that Mirakl asks for. Also raises
        StoreUnavailable, and ConfigError if the check finds no usable key.
        """
        if self._leases.take_share(self._shop, self._shops) is None:
            self._schedule.lost()
            self.poller.forget()
            return self._leases.renew_seconds
        if self._check is not None and self._timed(self._check.run):
            return 0.0  # the check took time: the next turn renews the lease before the poll
        now = self._clock.monotonic()
        if self._schedule.due_at is None:
            self._schedule.due_at = now + self.seconds_after_takeover()
        if now < self._schedule.due_at:
            return min(self._schedule.due_at - now, self._leases.renew_seconds)
        self._schedule.began(now, 0.0)  # before the poll, which may raise an exception
        shop_rows.poll_begins(self._store, self._shop, self._clock.now())
        pause_seconds = self._timed(self._poll)
        if self.poller.is_paused:
            self._schedule.paused(self._clock.monotonic(), pause_seconds)
        else:
            self._schedule.began(now, pause_seconds)
        return 0.0

    def seconds_after_takeover(self) -> float:
        """Return how many seconds a process that takes the shop over waits before its first poll. Calls the hook."""
        cursor = cursor_rows.find(self._store, self._shop)
        last_success = cursor.succeeded_at if cursor else None
        self._hooks.shop_taken_over(self._shop, last_success)
        polls = (shop_rows.poll_began_at(self._store, self._shop), last_success)
        last_poll = max((at for at in polls if at is not None), default=None)
        return seconds_to_wait(self._schedule.interval_seconds, last_poll, self._clock.now())

    def _timed(self, ask: Callable[[], T]) -> T:
        """Ask Mirakl something, and note whether that was slow."""
        began = self._clock.monotonic()
        try:
            return ask()
        finally:
            self.is_slow = self._clock.monotonic() - began > SLOW_SECONDS

    def _poll(self) -> float:
        """Poll once. Returns for how many seconds Mirakl asked not to be called."""
        try:
            self.poller.run()
        except RemoteError as error:
            self._hooks.poll_failed(self._shop, error)
            return error.retry_after_seconds or 0.0
        except OrderflowError as error:
            self._hooks.poll_failed(self._shop, error)
        return 0.0
