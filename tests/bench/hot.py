"""What the service and people do all day, each as one function over a store that already has orders.

The benchmark measures them, and a test looks at the plans of their statements. They call what the service calls, so no
SQL stands here.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from typing import Any, Final

import sqlalchemy as sa

from adapters.clock import SystemClock
from adapters.store import commands as command_rows
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import forgetting
from adapters.store import journal as journal_rows
from adapters.store import lanes as lane_rows
from adapters.store import orders as order_rows
from adapters.store import outbox as outbox_rows
from adapters.store import schema as s
from adapters.store import snapshots as snapshot_rows
from adapters.store.lanes import Lane
from consumer import bootstrap
from consumer.applying.names import Naming
from consumer.hooks import NO_HOOKS
from consumer.housekeeping.decision_count import DecisionCount
from consumer.housekeeping.forgetting import BATCH as FORGET_BATCH
from consumer.housekeeping.housekeeping import REPLAN_BATCH, WAKE_BATCH, clock_event
from consumer.housekeeping.retention import Retention
from consumer.housekeeping.urgencies import Urgencies
from consumer.metrics.stored import StoredGauges
from consumer.operations.listing import Wanted, find_orders
from consumer.operations.orders import explanation, find
from consumer.retry import TryResult
from statemachine.commands import CommandKind, Policy
from statemachine.events import Event, Sealed
from tests.bench.grown import shop_of
from tests.consumer.rig import Rig
from tests.statemachine.lives import read, snapshot_event

#: How many records of a batch the benchmark applies.
SOME: Final = 100


@dataclass(slots=True)
class Scene:
    """A rig over a store that has orders."""

    rig: Rig
    names: Callable[[int], str]  # the order id of each number below `orders`
    orders: int
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def next_names(self, how_many: int) -> list[str]:
        """Order ids from all over the store, others with each call."""
        return [self.names(next(self._numbers) * 7919 % self.orders) for _ in range(how_many)]

    def events(self, names: list[str], state: str) -> list[Event]:
        """A read of each order, later than every earlier one."""
        shops = {name: shop_of(name) for name in names} if state == "SHIPPING" else {}
        seconds = 1e7 + next(self._numbers)
        event = snapshot_event(read(state, updated=seconds, began=seconds))
        return [
            replace(
                event,
                shop=shops.get(name, "alpha"),
                order_id=name,
                event_id=f"{event.event_id}:{name}",
                raw=b'{"order_id": "%s"}' % name.encode(),
            )
            for name in names
        ]


# -- Applying ----------------------------------------------------------------------------------------------------


def first_reads(scene: Scene) -> None:
    names = [f"N{next(scene._numbers):08d}-A" for _ in range(SOME)]
    scene.rig.orders.apply(scene.events(names, "WAITING_ACCEPTANCE"))


def later_reads_and_repeats(scene: Scene) -> None:
    events = scene.events(scene.next_names(SOME), "SHIPPING")
    scene.rig.orders.apply(events)
    scene.rig.orders.apply(events)


def plan_again(scene: Scene) -> None:
    keys = order_rows.open_keys(scene.rig.store, "alpha")
    scene.rig.orders.replan(keys[: min(REPLAN_BATCH, SOME)])


def ask_for_repeats(scene: Scene) -> None:
    """What a consumer asks of records before it reads their data, and how it counts those that it knows."""
    events = scene.events(scene.next_names(SOME), "SHIPPING")
    scene.rig.orders.apply(events[: SOME // 2])
    sealed = [Sealed(e.source, e.event_id, e.shop, e.order_id, e.trigger, lambda: events[0]) for e in events]
    with scene.rig.store.transaction() as tx:
        known = journal_rows.known_orders(tx, sealed)
        assert 0 < len(known) < len(sealed)
        journal_rows.count_repeats(tx, [one for one in sealed if (one.source, one.event_id) in known])


# -- Loops -------------------------------------------------------------------------------------------------------


def start(scene: Scene) -> None:
    """What a process reads before it serves, and what housekeeping looks for first."""
    rig = scene.rig
    assert rig.store.schema_fits()
    bootstrap.bind_shops(rig.settings, rig.store, rig.clock)
    rig.orders.newest_policies(rig.settings.shops)
    dead_letter_rows.received_since(rig.store, rig.clock.now() - timedelta(hours=1))
    for shop in rig.settings.shops:
        order_rows.open_keys(rig.store, shop)


def payloads_of_before(scene: Scene) -> None:
    for shop in scene.rig.settings.shops:
        command_rows.payloads_without_handover(scene.rig.store, shop)


def poll(scene: Scene) -> None:
    """A poll of a shop, with what it reads of the orders of a page."""
    rig = scene.rig
    rig.poll()
    order_rows.seen(rig.store, "alpha", scene.next_names(SOME))
    order_rows.waiting_for_a_read(rig.store, "alpha", rig.clock.now(), SOME)


def claim(scene: Scene) -> None:
    """A turn of a worker: it claims a call and makes it. The simulated Mirakl does not know the order."""
    scene.rig.worker.turn()


def housekeeping(scene: Scene) -> None:
    """What housekeeping looks for in each turn."""
    rig, now = scene.rig, scene.rig.clock.now()
    order_rows.behind(rig.store, "alpha", 1, REPLAN_BATCH)
    keys = order_rows.to_wake(rig.store, now, WAKE_BATCH)
    rig.orders.apply_alone([clock_event(shop, order_id, now) for shop, order_id in keys[:SOME]])
    DecisionCount(rig.store, rig.clock, NO_HOOKS).turn()
    Naming(rig.store, rig.clock).turn(lambda: None)
    Urgencies(rig.store, rig.clock).turn(lambda: None)
    for shop in rig.settings.shops:
        forgetting.foreign(rig.store, shop, now - timedelta(days=30), FORGET_BATCH)


def resting(scene: Scene) -> None:
    """What a worker looks for whose calls fail: those that were not tried since."""
    lanes = [Lane(shop, kind) for shop in scene.rig.settings.shops for kind in CommandKind]
    lane_rows.untried(scene.rig.store, lanes, scene.rig.clock.now(), failed=[TryResult.RETRY], limit=SOME)


def retention(scene: Scene) -> None:
    """A step of the walk that removes snapshots on which nothing rests."""
    Retention(scene.rig.store, scene.rig.clock, NO_HOOKS, timedelta(0)).turn(lambda: None)


def relay(scene: Scene) -> None:
    rows = outbox_rows.oldest(scene.rig.store, SOME)
    outbox_rows.oldest(scene.rig.store, SOME, topic="orderflow.transitions")
    with scene.rig.store.transaction() as tx:
        outbox_rows.delete(tx, [row.id for row in rows])


def scrape(scene: Scene) -> None:
    """The gauges that are read from the store."""
    gauges = StoredGauges(scene.rig.store, SystemClock(), scene.rig.settings.shops, wait_seconds=600.0)
    assert len(list(gauges.collect())) > 1


# -- People ------------------------------------------------------------------------------------------------------


def _listed(**wanted: Any) -> Callable[[Scene], None]:
    def list_them(scene: Scene) -> None:
        rig = scene.rig
        find_orders(rig.store, Wanted(**wanted), {}, rig.clock.now(), 101)

    return list_them


def search(scene: Scene) -> None:
    (name,) = scene.next_names(1)
    found = find_orders(scene.rig.store, Wanted(text=name), {}, scene.rig.clock.now(), 101)
    assert [one.row.order_id for one in found] == [name]


def search_of_many(scene: Scene) -> None:
    """A SKU: nearly all orders of a large store have the same."""
    read = find(scene.rig.store, scene.next_names(1)[0]).facts.newest
    assert read is not None
    found = find_orders(scene.rig.store, Wanted(text=read.lines[0].sku), {}, scene.rig.clock.now(), 101)
    assert 0 < len(found) <= 101


def explain(scene: Scene) -> None:
    rig = scene.rig
    row = find(rig.store, scene.next_names(1)[0])
    explanation(rig.store, row, Policy(), rig.clock.now())
    snapshot_rows.find(rig.store, row.key, row.digest)


def verify(scene: Scene) -> None:
    """What `orders verify --all` reads of SOME orders. A page of the command has 200."""
    page = next(order_rows.pages(scene.rig.store, None, SOME))
    journal_rows.of_orders(scene.rig.store, [row.key for row in page])


#: Everything that is done all day.
HOT: Final[Mapping[str, Callable[[Scene], None]]] = {
    "start: what a process reads": start,
    "start: payloads of a version before": payloads_of_before,
    f"apply: {SOME} first reads": first_reads,
    f"apply: {SOME} later reads, then repeats": later_reads_and_repeats,
    f"apply: {SOME} open orders planned again": plan_again,
    f"consumer: {SOME} records, half of them repeats": ask_for_repeats,
    "poll": poll,
    "claim, call and result": claim,
    "worker: calls that rest": resting,
    "housekeeping": housekeeping,
    "housekeeping: a step of retention": retention,
    f"relay: {SOME} records": relay,
    "scrape": scrape,
    "orders list": _listed(),
    "orders list --shop": _listed(shop="beta"),
    "orders list --state shipping": _listed(states=["shipping"]),
    "orders list --state shipped": _listed(states=["shipped"]),
    "orders list --attention": _listed(attention=True),
    "orders explain": explain,
    f"orders verify: {SOME} orders": verify,
    "orders list --text ORDER": search,
    "orders list --text SKU": search_of_many,
}

#: Every other table is small.
BIG: Final = (s.orders, s.names, s.journal, s.commands, s.snapshots, s.outbox)


@dataclass(frozen=True, slots=True)
class Ran:
    """A statement that was executed, with its parameters. `by_index`: see `Store.reading`."""

    sql: str
    parameters: Any
    by_index: bool


@contextmanager
def statements(scene: Scene) -> Iterator[list[Ran]]:
    """Collects the statements that are executed meanwhile."""
    ran: list[Ran] = []

    def note(c: sa.Connection, _cursor: Any, sql: str, parameters: Any, _context: Any, many: bool) -> None:
        by_index = c.get_execution_options().get("by_index", False)
        ran.append(Ran(sql, parameters[0] if many else parameters, by_index))

    sa.event.listen(scene.rig.store.engine, "before_cursor_execute", note)
    try:
        yield ran
    finally:
        sa.event.remove(scene.rig.store.engine, "before_cursor_execute", note)
