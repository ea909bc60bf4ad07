"""Who alone does what only one may do: poll a shop, relay the outbox.

A lease is a row with a holder, an end and a token that grows with each new holder. It only saves calls and keeps order:
whoever writes under it checks the token in the same transaction, so a holder that was thought dead changes nothing.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from adapters.errors import Fenced, StoreUnavailable
from adapters.ports import Clock
from adapters.store import leases as lease_rows
from adapters.store.leases import Lease
from adapters.store.transaction import Store

#: Under this prefix every process that polls says that it lives.
MEMBERS: Final = "poller:"
#: A process that was not heard of for so long has ended.
LONG_OVER: Final = timedelta(days=1)
#: Of each shop: whoever polls it.
POLLS: Final = "poll:"
#: Whoever publishes the outbox.
RELAY: Final = "relay"


def poll_lease(shop: str) -> str:
    """The lease of whoever polls a shop."""
    return POLLS + shop


class Leases:
    """The leases of one process. Any thread may call."""

    def __init__(self, store: Store, clock: Clock, holder: str, seconds: float) -> None:
        """`holder` names this process alone; `seconds`: how long a lease lasts that is not renewed."""
        self._store = store
        self._clock = clock
        self._holder = holder
        self._seconds = seconds
        self._lock = threading.RLock()
        self._failures = 0  # of statements under the lock
        self._held: dict[str, tuple[Lease, float]] = {}  # until when, on the monotonic clock
        #: How long to wait before it is looked at again: well below its length.
        self.renew_seconds = seconds / 3

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread at a time; who waited for another one's statement that failed fails with it.

        With a wait for each, the last of fifty threads would give no sign of life for minutes while the database is
        away, and a process that only has to wait would be restarted.
        """
        failures = self._failures
        with self._lock:
            if self._failures != failures:
                raise StoreUnavailable("it has just failed another thread")
            try:
                yield
            except StoreUnavailable:
                self._failures += 1
                raise

    def take(self, name: str) -> Lease | None:
        """The lease, taken or renewed where a third of it has passed; None where somebody else has it.

        Raises StoreUnavailable; a lease that could not be renewed ends when its time is over.
        """
        with self._alone():
            held = self._held.get(name)
            if held and held[1] - self._clock.monotonic() > 2 * self.renew_seconds:
                return held[0]
            asked_at, now = self._clock.monotonic(), self._clock.now()
            with self._store.transaction() as tx:
                lease = lease_rows.take(tx, name, self._holder, now + timedelta(seconds=self._seconds), now)
            if lease is None:
                self._held.pop(name, None)
            else:
                self._held[name] = lease, asked_at + self._seconds
            return lease

    def kept(self, name: str) -> Lease:
        """A lease that this process has taken before, renewed where it is time.

        Raises Fenced where it was lost, StoreUnavailable.
        """
        with self._alone():
            held = self._held.get(name)
            if held is None or self.take(name) != held[0]:
                raise Fenced(f"the lease {name} has another holder")
            return held[0]

    def holds(self, name: str) -> bool:
        """As far as is known without asking."""
        held = self._held.get(name)  # without the lock: it is asked while the store is away, too
        return held is not None and held[1] > self._clock.monotonic()

    def take_share(self, shop: str, shops: int) -> Lease | None:
        """The lease of one shop's poll; the processes that poll share all `shops` out evenly. None: not mine.

        Who holds more than its share gives some back, so that a process that comes later gets its part.
        """
        name = poll_lease(shop)
        if not self._is_member():
            return None
        # Not under the lock, which is held for as short as can be: the number may change at any moment anyway.
        members = lease_rows.count(self._store, MEMBERS, self._clock.now())
        share = -(-shops // max(1, members))
        with self._alone():
            mine = [one for one in self._held if one.startswith(POLLS)]
            if name in mine and len(mine) > share:
                self.release(name)
                return None
            if name not in mine and len(mine) >= share:
                return None
            return self.take(name)

    def _is_member(self) -> bool:
        """Say that this process lives. Its first word clears away those that ended: each start has a new name."""
        with self._alone():
            name = MEMBERS + self._holder
            if name not in self._held:
                with self._store.transaction() as tx:
                    lease_rows.delete_ended(tx, MEMBERS, self._clock.now() - LONG_OVER)
            return self.take(name) is not None

    def release(self, name: str) -> None:
        """The next one need not wait."""
        with self._alone():
            held = self._held.pop(name, None)
            if held is not None:
                with self._store.transaction() as tx:
                    lease_rows.release(tx, held[0])

    def release_all(self) -> None:
        """At the end of the process."""
        with self._alone():
            for name in list(self._held):
                self.release(name)
