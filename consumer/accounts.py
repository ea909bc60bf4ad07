"""One account at one remote: its rest, and its circuit."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

#: So many different orders failing in a row are the remote's trouble, not theirs.
CIRCUIT_OPENS_AFTER: Final = 5
CIRCUIT_REST_SECONDS: Final = 30.0


@dataclass(slots=True)
class Account:
    """One account at one remote: at rest after a fault of its own, or after failures of several distinct orders."""

    rests_until: datetime | None = None
    failing_orders: set[int] = field(default_factory=set)

    def is_resting(self, now: datetime) -> bool:
        return self.rests_until is not None and now < self.rests_until

    def circuit_is_open(self) -> bool:
        return len(self.failing_orders) >= CIRCUIT_OPENS_AFTER

    def answered(self) -> None:
        """The remote answered, yes or no: it works. A rest for a fault of its own ends by its time alone."""
        if self.circuit_is_open():
            self.rests_until = None
        self.failing_orders.clear()

    def claimed(self, now: datetime) -> None:
        """A call is about to be made. Where the circuit is open it is the probe, and goes alone."""
        if self.circuit_is_open():
            self.rests_until = now + timedelta(seconds=CIRCUIT_REST_SECONDS)

    def rest(self, until: datetime) -> None:
        """Its own fault: bad key, budget spent. It resumes by itself."""
        self.rests_until = max(until, self.rests_until or until)

    def failed(self, order_key: int, now: datetime) -> None:
        """No usable answer. After the rest the next claim probes, with another order where there is one."""
        self.failing_orders.add(order_key)
        if self.circuit_is_open():
            self.rest(now + timedelta(seconds=CIRCUIT_REST_SECONDS))
