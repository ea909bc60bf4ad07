"""Orders that Mirakl does not show any more, although it is asked for them by their ids."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final

from adapters.errors import OrdersWait
from adapters.store import orders as order_rows
from adapters.store.transaction import Store
from consumer.applying.apply import OrderWriter
from statemachine.commands import Policy
from statemachine.events import Event, Trigger
from statemachine.facts import Facts
from statemachine.questions.missing import is_next_miss

#: The source of events that say that a read by id did not show an order.
SOURCE: Final = "/orderflow/poller"


class MissingOrders:
    """Keeps as a fact that a read by id did not show an order that an earlier read had shown."""

    def __init__(self, store: Store, orders: OrderWriter, policies: Mapping[str, Policy]) -> None:
        self._store = store
        self._orders = orders
        self._policies = policies

    def note(self, shop: str, order_ids: Collection[str], at: datetime) -> set[str]:
        """Note that a read which began at `at` did not show these orders. Returns the ids for which a fact was stored.

        An order that another transaction holds locked is left to a later read. Raises StoreUnavailable.
        """
        policy = self._policies.get(shop, Policy())
        if not order_ids:
            return set()
        rows = order_rows.of_shop(self._store, shop, list(order_ids))
        missed = [row.order_id for row in rows if is_next_miss(row.facts, policy, at)]
        waiting: Collection[tuple[str, str]] = ()
        try:
            self._orders.apply_alone([_not_found(shop, order_id, at) for order_id in missed])
        except OrdersWait as error:
            waiting = error.orders
        return {order_id for order_id in missed if (shop, order_id) not in waiting}


def _not_found(shop: str, order_id: str, at: datetime) -> Event:
    event_id = f"{at.isoformat()}:{shop}:{order_id}"
    return Event(SOURCE, event_id, shop, order_id, Trigger.SNAPSHOT, at, Facts(not_found=(at,)))
