"""The accounts at both remotes: when one is paused, and when the circuit of an operation opens.

An account is one key at one remote, for one shop. A remote may refuse one operation, or fail at it, and still answer
the others (docs/mirakl.md 2.3). Then only this operation pauses. Pauses and circuits are kept in this process only.
Another process finds a fault by its own calls.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from adapters.ports import Clock
from adapters.store.lanes import Lane
from consumer.calling.circuit import Circuit, RefusedCall
from statemachine.commands import CommandKind, Remote

#: The kinds of calls to each remote. A worker of fifty shops asks it a hundred times for each claim.
_KINDS: Final = {remote: [kind for kind in CommandKind if kind.remote is remote] for remote in Remote}


@dataclass(frozen=True, slots=True, order=True)
class AccountKey:
    """The account of a shop at a remote."""

    shop: str
    remote: Remote


@dataclass(slots=True)
class Account:
    """The pauses and the circuits of one account.

    Not thread-safe: `Accounts` changes it under a lock, and the metrics read it without one. The keys of the
    dictionaries are the remote's own names of its operations.
    """

    paused_until: datetime | None = None
    operations_paused_until: dict[str, datetime] = field(default_factory=dict)
    circuits: defaultdict[str, Circuit] = field(default_factory=lambda: defaultdict(Circuit))
    #: Since when the operation ("": the whole account) fails or is refused, without an answer in between.
    failing_since: dict[str, datetime] = field(default_factory=dict)

    def is_paused(self, now: datetime) -> bool:
        """Whether the whole account pauses."""
        return self.paused_until is not None and now < self.paused_until

    def pauses_any(self, now: datetime) -> bool:
        """Whether the account or one of its operations pauses."""
        operations = {*self.operations_paused_until, *self.circuits}
        return any((until := self.call_paused_until(one)) is not None and now < until for one in operations | {""})

    def call_paused_until(self, operation: str) -> datetime | None:
        """Until when this operation must not be called, because it or the whole account pauses. May be in the past."""
        circuit = self.circuits.get(operation)
        pauses = (
            self.paused_until,
            self.operations_paused_until.get(operation),
            circuit.paused_until if circuit else None,
        )
        known = [until for until in pauses if until is not None]
        return max(known) if known else None

    def circuit_is_open(self) -> bool:
        """Whether the circuit of any operation is open."""
        return any(circuit.is_open() for circuit in list(self.circuits.values()))

    def pause(self, until: datetime, operation: str = "") -> None:
        """Pause the account, or only one operation of it, after an account fault. It never shortens a pause."""
        if operation:
            self.operations_paused_until[operation] = max(until, self.operations_paused_until.get(operation, until))
        else:
            self.paused_until = max(until, self.paused_until or until)


class Accounts:
    """Every account that the workers of this process use. Any thread may call."""

    def __init__(self, shops: Iterable[str], clock: Clock, most_reads: int = 16) -> None:
        """`most_reads`: how many reads an account may have under way for calls to other accounts (`reading`)."""
        self._most_reads = most_reads
        self._reads: Counter[AccountKey] = Counter()
        self._clock = clock
        self._lock = threading.Lock()
        self.by_key = {AccountKey(shop, remote): Account() for shop in shops for remote in Remote}

    def paused_lanes(self) -> list[Lane]:
        """Return the lanes of which no command must be claimed now."""
        now = self._clock.now()
        with self._lock:
            return [
                Lane(key.shop, kind)
                for key, account in self.by_key.items()
                for kind in _KINDS[key.remote]
                if (until := account.call_paused_until(kind.operation)) is not None and until > now
            ]

    def failing_lanes(self, for_at_least: timedelta) -> dict[Lane, datetime]:
        """Return the lanes whose operation or account has failed for this long, and since when."""
        latest, found = self._clock.now() - for_at_least, {}
        with self._lock:
            for key, account in self.by_key.items():
                for kind in CommandKind:
                    since = [account.failing_since[one] for one in ("", kind.operation) if one in account.failing_since]
                    if kind.remote == key.remote and since and min(since) <= latest:
                        found[Lane(key.shop, kind)] = min(since)
        return found

    @contextmanager
    def reading(self, key: AccountKey) -> Iterator[bool]:
        """Count a read of this account that a call to another account needs: the customer's messages before an import.
        Gives False if the account has `most_reads` of them under way. Then the read must not be made."""
        with self._lock:
            may_read = self._reads[key] < self._most_reads
            self._reads[key] += may_read
        try:
            yield may_read
        finally:
            with self._lock:
                self._reads[key] -= may_read

    def with_reads(self, under_way: Mapping[Lane, int]) -> Counter[Lane]:
        """Return the calls under way. Reads of this process (`reading`) count as calls of a lane of their account."""
        found = Counter(under_way)
        with self._lock:
            for key, count in self._reads.items():
                found[next(Lane(key.shop, kind) for kind in CommandKind if kind.remote == key.remote)] += count
        return found

    def is_tested(self, lane: Lane) -> bool:
        """Whether the circuit of the lane's operation is open, so that one call at a time tests it."""
        with self._lock:
            return self.by_key[AccountKey(lane.shop, lane.kind.remote)].circuits[lane.kind.operation].is_open()

    def seconds_paused(self, key: AccountKey, operation: str) -> float:
        """Return for how many seconds this operation stays paused; 0 if it may be called."""
        with self._lock:
            return self._seconds_paused(key, operation)

    def _seconds_paused(self, key: AccountKey, operation: str) -> float:
        until = self.by_key[key].call_paused_until(operation)
        return max(0.0, (until - self._clock.now()).total_seconds()) if until is not None else 0.0

    def pause(self, key: AccountKey, until: datetime, operation: str = "", *, is_fault: bool = True) -> None:
        """Pause the account, or only one operation of it. It never shortens a pause. A spent budget is no fault."""
        with self._lock:
            self.by_key[key].pause(until, operation)
            if is_fault:
                self.by_key[key].failing_since.setdefault(operation, self._clock.now())

    def claimed(self, key: AccountKey, operation: str) -> None:
        with self._lock:
            self.by_key[key].circuits[operation].claimed(self._clock.now())

    def answered(self, key: AccountKey, operation: str) -> None:
        """Close the circuit of the operation. A pause for a fault of the account ends only when its time has passed."""
        with self._lock:
            self.by_key[key].circuits[operation].answered()
            self._works(key, operation)

    def _works(self, key: AccountKey, operation: str) -> None:
        for one in ("", operation):
            self.by_key[key].failing_since.pop(one, None)

    def refused(
        self, key: AccountKey, operation: str, order_key: int, no: str, call: RefusedCall
    ) -> list[RefusedCall] | None:
        """Count a refusal. Returns None if the order is at fault; else the calls that are tried again
        (Circuit.refused)."""
        with self._lock:
            others = self.by_key[key].circuits[operation].refused(order_key, no, call)
            if others is None:
                self._works(key, operation)
            return others

    def failed(self, key: AccountKey, operation: str, order_key: int) -> None:
        with self._lock:
            circuit, now = self.by_key[key].circuits[operation], self._clock.now()
            circuit.failed(order_key, now)
            if circuit.is_open():
                self.by_key[key].failing_since.setdefault(operation, now)
