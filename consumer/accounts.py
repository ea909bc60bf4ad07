"""The accounts at both remotes: when one is paused, and when its circuit opens.

An account is one key at one remote, for one shop. Pauses and circuits are known to this process only. Another process
finds a fault by its own calls.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from adapters.ports import Clock
from statemachine.commands import CommandKind, Remote

#: The circuit opens after the calls for this many distinct orders failed without an answer in between. Then the remote
#: is at fault, and not the orders.
CIRCUIT_OPENS_AFTER: Final = 5
CIRCUIT_PAUSE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, order=True)
class AccountKey:
    """The account of a shop at a remote."""

    shop: str
    remote: Remote


@dataclass(slots=True)
class Account:
    """The pause and the circuit of one account. Not thread-safe: `Accounts` holds the lock."""

    paused_until: datetime | None = None
    failing_orders: set[int] = field(default_factory=set)  # keys of the orders that failed since the last answer

    def is_paused(self, now: datetime) -> bool:
        return self.paused_until is not None and now < self.paused_until

    def circuit_is_open(self) -> bool:
        return len(self.failing_orders) >= CIRCUIT_OPENS_AFTER

    def answered(self) -> None:
        """Close the circuit, because the remote answered, yes or no, and so it works.

        A pause for a fault of the account ends only when its time has passed.
        """
        if self.circuit_is_open():
            self.paused_until = None
        self.failing_orders.clear()

    def claimed(self, now: datetime) -> None:
        """A call is about to be made. While the circuit is open, this call tests the remote, and the account pauses for
        all other calls."""
        if self.circuit_is_open():
            self.paused_until = now + timedelta(seconds=CIRCUIT_PAUSE_SECONDS)

    def pause(self, until: datetime) -> None:
        """Pause the account, after an account fault or because its circuit opened. It never shortens a pause."""
        self.paused_until = max(until, self.paused_until or until)

    def failed(self, order_key: int, now: datetime) -> None:
        """Count this order towards the circuit, because its call got no usable answer. An open circuit pauses the
        account."""
        self.failing_orders.add(order_key)
        if self.circuit_is_open():
            self.pause(now + timedelta(seconds=CIRCUIT_PAUSE_SECONDS))


class Accounts:
    """Every account that the workers of this process use. Any thread may call."""

    def __init__(self, shops: Iterable[str], clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.by_key = {AccountKey(shop, remote): Account() for shop in shops for remote in Remote}

    def paused_kinds(self) -> list[tuple[str, CommandKind]]:
        """Return shop and kind of the commands that must not be claimed now."""
        now = self._clock.now()
        paused = [key for key, account in self.by_key.items() if account.is_paused(now)]
        return [(key.shop, kind) for key in paused for kind in CommandKind if kind.remote == key.remote]

    def seconds_paused(self, key: AccountKey) -> float:
        """Return for how many seconds the account stays paused; 0 if it is not paused."""
        now, paused_until = self._clock.now(), self.by_key[key].paused_until
        return max(0.0, (paused_until - now).total_seconds()) if paused_until is not None else 0.0

    def pause(self, key: AccountKey, until: datetime) -> None:
        with self._lock:
            self.by_key[key].pause(until)

    def claimed(self, key: AccountKey) -> None:
        with self._lock:
            self.by_key[key].claimed(self._clock.now())

    def answered(self, key: AccountKey) -> None:
        with self._lock:
            self.by_key[key].answered()

    def failed(self, key: AccountKey, order_key: int) -> None:
        with self._lock:
            self.by_key[key].failed(order_key, self._clock.now())
