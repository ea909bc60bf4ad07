"""What tests of the poller need: a client and a log that tests watch, and orders to read."""

from collections.abc import Callable, Sequence
from typing import Any

from adapters.errors import LogUnavailable
from adapters.ports import Carrier, Catalog, CustomerMessages, NewRecord, OrdersPage, OrdersQuery
from consumer.polling.poller import Poller
from statemachine.facts import Tracking
from tests.consumer.rig import Rig

DAY = 86_400


class Watched:
    """The shop's client. `before` is called before each page is read, `after` may change the page."""

    def __init__(self, rig: Rig) -> None:
        self._mirakl = rig.clients["alpha"]
        self.asked: list[tuple[OrdersQuery, int]] = []
        self.before: Callable[[OrdersQuery, int], None] = lambda _query, _offset: None
        self.after: Callable[[OrdersPage], OrdersPage] = lambda page: page

    def orders(self, query: OrdersQuery, offset: int) -> OrdersPage:
        self.before(query, offset)
        self.asked.append((query, offset))
        return self.after(self._mirakl.orders(query, offset))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mirakl, name)

    # For the type checker. A poll calls none of them.
    def accept(self, order_id: str, decisions: Any) -> None: ...
    def send_tracking(self, order_id: str, tracking: Tracking, catalog: Catalog) -> None: ...
    def confirm_shipment(self, order_id: str) -> None: ...
    def customer_messages(self, order_id: str) -> CustomerMessages:
        return CustomerMessages()

    def catalog(self) -> Catalog:
        return Catalog((Carrier("", "", False),))


class Writer:
    """The real log, which is unavailable at the given publications."""

    def __init__(self, rig: Rig, *fails_at: int) -> None:
        self._log = rig.log
        self._fails_at = fails_at
        self.times = 0

    def publish(self, records: Sequence[NewRecord]) -> None:
        self.times += 1
        if self.times in self._fails_at:
            raise LogUnavailable("no answer")
        self._log.publish(records)


def watched(rig: Rig) -> tuple[Watched, Poller]:
    mirakl = Watched(rig)
    return mirakl, rig.new_poller(mirakl=mirakl)


def ids(rig: Rig) -> list[str]:
    return [record.record_key.decode().partition(":")[2] for record in rig.records()]


def fill(rig: Rig, count: int, state: str = "SHIPPING") -> list[str]:
    """Orders, one second apart."""
    names = [f"{number:03d}-A" for number in range(count)]
    for name in names:
        rig.clock.advance(1)
        rig.add(name, state=state)
    return names
