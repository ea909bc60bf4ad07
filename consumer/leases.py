"""Leases: at most one process at a time polls a shop, or relays the outbox.

A lease is a row with a holder, an end, and a token that grows with each new holder. A process that hangs may go on
after its lease has ended. So a poller saves its cursor in a transaction that checks the token (Fenced). Two relays may
then publish a record twice, which readers have to expect.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from adapters.errors import Cause, Fenced, StoreUnavailable
from adapters.ports import Clock
from adapters.store import leases as lease_rows
from adapters.store.leases import Lease
from adapters.store.transaction import Store

#: Prefix of the leases by which each process that polls shows that it is alive. The rest is the name of the process.
MEMBERS: Final = "member/poller/"
#: Prefix of the lease of each shop's polls. The rest is the shop's name.
POLLS: Final = "poll/"
#: The lease of the process that publishes the outbox and does the other housekeeping.
RELAY: Final = "relay"
#: The lease of a member is deleted this long after it ended. With Kafka each start has a new name, so no process takes
#: the old lease again.
MEMBER_DELETED_AFTER: Final = timedelta(days=1)


def poll_lease(shop: str) -> str:
    """The name of the lease under which a process polls this shop."""
    return POLLS + shop


@dataclass(frozen=True, slots=True)
class _Held:
    lease: Lease
    ends_at: float  # on the monotonic clock


class Leases:
    """The leases of one process. Any thread may call."""

    def __init__(self, store: Store, clock: Clock, holder: str, seconds: float) -> None:
        """`holder`: the name of this process, which no other process has. `seconds`: how long a lease lasts without
        renewal."""
        self._store = store
        self._clock = clock
        self._holder = holder
        self._seconds = seconds
        self._lock = threading.RLock()
        self._failures = 0  # of statements under the lock
        self._cause = Cause.OTHER  # of the last failure
        self._held: dict[str, _Held] = {}
        #: A lease is renewed after this time. A process that waits for a lease asks again after this time, too.
        self.renew_seconds = seconds / 3

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let in one thread at a time. If the statement of one thread fails, every thread that waited for it fails too.

        If each made a statement of its own, the last of fifty threads would wait for minutes while the database is
        unavailable, and would look dead to the liveness probe.
        """
        failures = self._failures
        with self._lock:
            if self._failures != failures:
                raise StoreUnavailable("it just failed for another thread", self._cause)
            try:
                yield
            except StoreUnavailable as error:
                self._failures, self._cause = self._failures + 1, error.cause
                raise

    def take(self, name: str) -> Lease | None:
        """Take the lease, or renew it once a third of its time has passed. Returns None if another process has it.

        Raises StoreUnavailable. A lease that cannot be renewed ends when its time has passed.
        """
        with self._alone():
            held = self._held.get(name)
            if held and held.ends_at - self._clock.monotonic() > 2 * self.renew_seconds:
                return held.lease
            asked_at, now = self._clock.monotonic(), self._clock.now()
            with self._store.transaction() as tx:
                lease = lease_rows.take(tx, name, self._holder, now + timedelta(seconds=self._seconds), now)
            if lease is None:
                self._held.pop(name, None)
            else:
                self._held[name] = _Held(lease, asked_at + self._seconds)
            return lease

    def kept(self, name: str) -> Lease:
        """Return a lease that this process has taken before. Renew it once a third of its time has passed.

        Raises Fenced if the lease was lost, and StoreUnavailable.
        """
        with self._alone():
            held = self._held.get(name)
            if held is None or self.take(name) != held.lease:
                raise Fenced(f"the lease {name} has another holder")
            return held.lease

    def holds(self, name: str) -> bool:
        """Whether this process holds the lease, as far as it knows without asking the store."""
        held = self._held.get(name)  # without the lock, so that a scrape gets an answer while the store is unavailable
        return held is not None and held.ends_at > self._clock.monotonic()

    def take_share(self, shop: str, shops: int) -> Lease | None:
        """Take the lease of this shop's polls, if it is within the share of this process. Returns None if it is not, or
        if another process holds the lease.

        The share is the number of `shops`, divided by the number of processes that poll, rounded up. A process that has
        more leases than its share releases the lease of this shop. So a process that starts later gets its share.
        """
        name = poll_lease(shop)
        if not self._register():
            return None
        # Without the lock, so that other threads need not wait. The number may change at any moment anyway.
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

    def _register(self) -> bool:
        """Take or renew the lease that counts this process as a member. Returns whether it is one.

        The first time, delete the leases of members that ended long ago.
        """
        with self._alone():
            name = MEMBERS + self._holder
            if name not in self._held:
                with self._store.transaction() as tx:
                    lease_rows.delete_ended(tx, MEMBERS, self._clock.now() - MEMBER_DELETED_AFTER)
            return self.take(name) is not None

    def release(self, name: str) -> None:
        """Give the lease back, so that the next process need not wait for its end."""
        with self._alone():
            held = self._held.pop(name, None)
            if held is not None:
                with self._store.transaction() as tx:
                    lease_rows.release(tx, held.lease)

    def release_all(self) -> None:
        """Give every lease back, at the end of the process."""
        with self._alone():
            for name in list(self._held):
                self.release(name)
