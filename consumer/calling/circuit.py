"""The circuit of one operation of an account: it opens if the remote is at fault, and not the orders."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from statemachine.commands import CommandKey

#: The circuit of an operation opens after its calls for this many distinct orders failed without an answer in between.
#: Then the remote is at fault, and not the orders.
CIRCUIT_OPENS_AFTER: Final = 5
CIRCUIT_PAUSE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """A call that the remote refused."""

    shop: str
    order_id: str
    command_id: int
    key: CommandKey


@dataclass(slots=True)
class Circuit:
    """The circuit of one operation of an account. Open: the operation pauses, and one call at a time tests it."""

    failing_orders: set[int] = field(default_factory=set)  # keys of the orders that failed since the last answer
    paused_until: datetime | None = None
    last_no: str = ""  # the remote's last refusal: status, code and words
    #: The calls that got `last_no` since the remote last said yes, by the key of their order.
    refused_calls: dict[int, RefusedCall] = field(default_factory=dict)

    def is_open(self) -> bool:
        return len(self.failing_orders) >= CIRCUIT_OPENS_AFTER

    def answered(self) -> None:
        """Close the circuit, because the remote answered, and so it works."""
        self._close()
        self.last_no = ""
        self.refused_calls.clear()

    def refused(self, order_key: int, no: str, call: RefusedCall) -> list[RefusedCall] | None:
        """Count a refusal. If it is about its order, it closes the circuit as any answer does, and None is returned.

        If several orders in a row got the same refusal, the remote is at fault. Then the earlier refused calls are
        returned: each of them was taken for a refusal of its order. A call is returned once.
        """
        if no != self.last_no:
            self.last_no = no
            self.refused_calls.clear()
        was_at_fault = len(self.refused_calls) >= CIRCUIT_OPENS_AFTER
        self.refused_calls[order_key] = call
        if len(self.refused_calls) < CIRCUIT_OPENS_AFTER:
            self._close()
            return None
        self.failing_orders |= self.refused_calls.keys()
        return [] if was_at_fault else [one for key, one in self.refused_calls.items() if key != order_key]

    def _close(self) -> None:
        self.failing_orders.clear()
        self.paused_until = None

    def claimed(self, now: datetime) -> None:
        """A call is about to be made. While the circuit is open, this call tests the remote, and the others pause."""
        if self.is_open():
            self.paused_until = now + timedelta(seconds=CIRCUIT_PAUSE_SECONDS)

    def failed(self, order_key: int, now: datetime) -> None:
        """Count this order, because its call got no usable answer."""
        self.failing_orders.add(order_key)
        self.claimed(now)
