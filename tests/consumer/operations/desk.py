"""One order of one shop with everything that writes it, for tests of operations and of the command line."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from adapters.errors import RemoteError
from adapters.ports import Catalog, CustomerMessages, OmsOrder, OrdersPage, OrdersQuery
from adapters.remotes.kornitx_order import OrderRules, build_payload
from adapters.store import commands as command_rows
from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store import shops as shop_rows
from adapters.store.commands import CommandRow
from adapters.store.journal import JournalRow
from adapters.store.orders import OrderRow
from consumer.applying.apply import OrderWriter
from consumer.calling.budget import Shop
from consumer.calling.worker import Worker
from consumer.operations import orders
from consumer.operations.explain import Explanation
from consumer.operations.timeline import TimelineRow, timeline
from consumer.retry import Backoff
from statemachine.commands import Policy
from statemachine.events import Event
from statemachine.facts import PAY_ON_ACCEPTANCE, Part, Tracking
from tests.statemachine.lives import START, read, snapshot_event
from tests.support import StillClock, new_store


class Remotes:
    """Mirakl and the OMS of one shop: every call succeeds, or fails with the error in `ends`."""

    def __init__(self) -> None:
        self.ends: RemoteError | None = None
        self.accepted: Mapping[str, bool] = {}  # what the last OR21 answered for each line

    def _end(self) -> None:
        if self.ends is not None:
            raise self.ends

    def orders(self, query: OrdersQuery, offset: int) -> OrdersPage:
        raise NotImplementedError

    def accept(self, order_id: str, decisions: Mapping[str, bool]) -> None:
        self._end()
        self.accepted = decisions

    def send_tracking(self, order_id: str, tracking: Tracking, catalog: Catalog) -> None:
        self._end()

    def confirm_shipment(self, order_id: str) -> None:
        self._end()

    def customer_messages(self, order_id: str) -> CustomerMessages:
        return CustomerMessages()

    def catalog_unread(self) -> int:
        return 0

    def catalog(self) -> Catalog:
        return Catalog()

    def mandatory_tracking(self) -> frozenset[str]:
        return frozenset()

    left_out: frozenset[str] = frozenset()

    def payload(
        self, order: bytes, messages: Sequence[str], quantities: Mapping[str, int | None], external_ref: str = ""
    ) -> bytes:
        return build_payload(order, messages, quantities, OrderRules(1))

    def import_order(self, payload: bytes) -> tuple[OmsOrder, ...]:
        self._end()
        return (OmsOrder(Part(1, "REF", ("L1", "L2"))),)


class Desk:
    """A store with one order, O-1 of the shop alpha, everything that writes it, and a clock that stands still."""

    def __init__(self, folder: Path, policy: Policy | None = None, *, effects: bool = True) -> None:
        self.clock = StillClock()
        self.store = new_store(folder)
        self.policy = policy or Policy()
        self.remotes = Remotes()
        self.policies = {"alpha": self.policy}
        self.orders = OrderWriter(self.store, self.policies, self.clock)
        self.worker = Worker(
            self.store,
            self.orders,
            {"alpha": Shop("alpha", self.remotes, self.remotes, 1)},
            self.policies,
            self.clock,
            grace=timedelta(seconds=120),
            backoff=Backoff(),
            jitter=lambda: 0.0,
        )
        with self.store.transaction() as tx:
            shop_rows.bind(tx, "alpha", "https://alpha.mirakl.net", 2104, effects=effects, now=self.clock.now())

    def apply(self, *events: Event) -> OrderRow:
        self.orders.apply(events)
        return self.row

    def shows(self, state: str, workflow: str = PAY_ON_ACCEPTANCE, **more: object) -> OrderRow:
        """Mirakl is read now."""
        now = (self.clock.now() - START).total_seconds()
        what: dict[str, Any] = {"updated": now, "began": now} | more
        return self.apply(snapshot_event(read(state, workflow, **what)))

    def work(self, ends: RemoteError | None = None) -> OrderRow:
        """The worker makes the next call, which succeeds, or fails with this error."""
        self.remotes.ends = ends
        assert self.worker.turn()
        return self.row

    @property
    def row(self) -> OrderRow:
        return order_rows.find(self.store, "O-1")[0]

    @property
    def journal(self) -> list[JournalRow]:
        return journal_rows.of_order(self.store, self.row.key)

    @property
    def commands(self) -> list[CommandRow]:
        """The oldest first."""
        return command_rows.of_order(self.store, self.row.key)

    @property
    def timeline(self) -> list[TimelineRow]:
        return timeline(self.journal)

    def explain(self) -> Explanation:
        return orders.explanation(self.store, self.row, self.policy, self.clock.now())
