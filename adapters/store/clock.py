"""The clock of all processes of one store: the time of the database.

Processes compare instants that another process wrote: ends of leases and budgets, when a call is due, when a read
began. If each took these from the clock of its machine, one machine with a wrong clock would stop the others.
"""

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from adapters.clock import SystemClock
from adapters.ports import Clock
from adapters.store.transaction import Store

#: How often a process asks the database for the time.
READ_EVERY_SECONDS: Final = 10.0


class StoreClock:
    """`ports.Clock` that shows the time of the database. Any thread may use it.

    Only `read` asks the database. Until the next `read`, the machine counts the seconds since then (its monotonic
    clock), so that a step of the machine's clock changes nothing. Before the first `read`, and with SQLite, whose
    processes run on one machine, this clock shows the time of the machine.
    """

    def __init__(self, machine: Clock | None = None) -> None:
        """`machine`: the clock of this machine; None: that of the operating system."""
        self._machine = machine or SystemClock()
        self._zero: datetime | None = None  # the database's time when the machine's monotonic clock was 0

    def now(self) -> datetime:
        zero = self._zero
        return self._machine.now() if zero is None else zero + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return self._machine.monotonic()

    def skew_seconds(self) -> float:
        """Return how far the machine's clock is ahead of this one. Negative: it is behind."""
        return (self._machine.now() - self.now()).total_seconds()

    def read(self, store: Store) -> None:
        """Ask the database for the time. Raises StoreUnavailable; then the read before stays valid."""
        if store.is_sqlite:
            return
        with store.reading() as connection:
            asked = self.monotonic()
            time: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
            answered = self.monotonic()
        # The database read its clock between these two moments, which gives a lower and an upper bound of the zero. A
        # zero within the bounds stays, so that a slow answer does not move this clock.
        earliest, latest = time - timedelta(seconds=answered), time - timedelta(seconds=asked)
        zero = self._zero or earliest + (latest - earliest) / 2
        self._zero = min(max(zero, earliest), latest)
