"""The parts of a service over one store (by default a SQLite file), with simulated remotes and a clock that tests move.

bootstrap.py builds the parts. There are no threads and no sockets: every step is a call.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from starlette.types import ASGIApp

from adapters.log.embedded import EmbeddedLog
from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import oms_event
from adapters.ports import LogWriter, Marketplace
from adapters.remotes.kornitx import KornitX
from adapters.remotes.mirakl import MiraklShop
from adapters.simulators.books import Books, Effect
from adapters.simulators.faults import AnswerLostError, Fault
from adapters.simulators.mirakl.api import mirakl_app
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from adapters.simulators.oms.api import oms_app
from adapters.simulators.oms.model import OmsCompany
from adapters.simulators.oms.oms import OmsSimulator
from adapters.simulators.orders import COMPANIES, MARKETPLACES, Line, build_order
from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store import schema as s
from adapters.store import shops as shop_rows
from adapters.store.budgets import BudgetWindow
from adapters.store.engine import BUSY_SECONDS
from adapters.store.leases import Lease
from adapters.store.orders import OrderRow
from adapters.store.transaction import Store
from consumer import bootstrap, clients, config, stores
from consumer.applying.loop import Consumer
from consumer.calling.accounts import AccountKey
from consumer.calling.budget import Shop
from consumer.calling.worker import Worker
from consumer.config import Settings, StoreTable, WorkerTable
from consumer.config.shops import OmsTable, ShopOmsTable, ShopTable
from consumer.hooks import NO_HOOKS, Hooks, Several
from consumer.leases import Leases, poll_lease
from consumer.metrics.recorder import new_recorder
from consumer.operations import offsets
from consumer.operations.offsets import ResetPosition, Whence
from consumer.polling.account_check import AccountCheck
from consumer.polling.poll_schedule import ScheduledPoller
from consumer.polling.poller import Poller
from statemachine.commands import Policy, Remote
from tests.support import StillClock, make_schema

SNAPSHOTS, OMS_EVENTS = "mirakl.order-snapshots", "oms.order-events"
GRACE = timedelta(seconds=120)
MINUTES_BETWEEN_POLLS = 5
#: The query of `is_something_due`: whether a live command is due, or an order has to be woken.
_NOW = sa.bindparam("now", type_=s.Instant)
_DUE = sa.select(
    sa.or_(
        sa.exists().where(s.is_live(s.commands.c), s.commands.c.next_at <= _NOW),
        sa.exists().where(s.orders.c.wake_at <= _NOW),
    )
)
ALPHA_MIRAKL, ALPHA_OMS = AccountKey("alpha", Remote.MIRAKL), AccountKey("alpha", Remote.OMS)
Hook = Callable[[httpx.Request], httpx.Response | None]


class InProcess(httpx.BaseTransport):
    """Sends requests to an ASGI app, not to the network. `hook` gets each request first, and may answer it or raise."""

    def __init__(self, app: ASGIApp) -> None:
        self._asgi = httpx.ASGITransport(app)
        self.hook: Hook = lambda _request: None
        self.bodies: list[bytes] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.read())
        answer = self.hook(request)
        if answer is not None:
            return answer
        try:
            return asyncio.run(self._ask(request))
        except AnswerLostError:
            raise httpx.ReadTimeout("lost", request=request) from None

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        copy = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
        answer = await self._asgi.handle_async_request(copy)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


class Tried(Hooks):
    """The kind and result of each try of a command."""

    def __init__(self) -> None:
        self.results: list[tuple[str, str]] = []

    def command_tried(self, kind: str, result: str) -> None:
        self.results.append((kind, result))


class AfterPage(Hooks):
    """Does something after each page that a poll publishes."""

    def __init__(self, then: Callable[[], object]) -> None:
        self._then = then

    def page_published(self, shop: str) -> None:
        self._then()


def rig_settings(
    store_url: str, shops: Iterable[str], shop_table: Mapping[str, Any] = {}, oms_table: Mapping[str, Any] = {}
) -> Settings:
    """Default settings, with values for what has no default: the shops, with effects on, and the remotes' addresses.

    `shop_table`: more settings of each shop. `oms_table`: more settings of the table `oms` of each shop.
    """
    no_file = Path("unused")
    return Settings(
        store=StoreTable(url=store_url),
        oms=OmsTable(base_url="https://oms.example"),
        worker=WorkerTable(grace_seconds=GRACE.total_seconds()),
        shops={
            name: ShopTable(
                base_url=f"https://{name}.example",
                shop_id=MARKETPLACES[name].shop_id,
                api_key_file=no_file,
                effects="on",
                oms=ShopOmsTable(company_ref_id=COMPANIES[name], api_key_file=no_file, **oms_table),
                **shop_table,
            )
            for name in shops
        },
    )


class Rig:
    """The poller, consumer and worker of one service over one store, with simulated marketplaces and an OMS."""

    def __init__(
        self,
        folder: Path,
        *,
        shops: tuple[str, ...] = ("alpha",),
        policies: Mapping[str, Policy] | None = None,
        shop_table: Mapping[str, Any] = {},
        oms_table: Mapping[str, Any] = {},
        busy_seconds: float = BUSY_SECONDS,
        store_url: str | None = None,
        hooks: Hooks = NO_HOOKS,
    ) -> None:
        """`policies` None: those of the settings. `shop_table`, `oms_table`: see `rig_settings`. `store_url` None: a
        SQLite file in `folder`. `hooks` are called after the rig's own."""
        self.clock = StillClock()
        self.path = folder / "orderflow.db"
        self.settings = rig_settings(f"sqlite:///{self.path}", shops, shop_table, oms_table)
        self.books = Books()
        self.mirakl = {name: MiraklSimulator(MARKETPLACES[name], self.books, self.clock.now) for name in shops}
        companies = [OmsCompany(COMPANIES[name], "oms-key", f"http://{name}", "secret") for name in shops]
        self.oms = OmsSimulator(companies, self.books, self.clock.now, send=self.take_callback)
        self.nets = {name: InProcess(mirakl_app(simulator)) for name, simulator in self.mirakl.items()}
        self.oms_net = InProcess(oms_app(self.oms))
        self.keys = {name: MARKETPLACES[name].api_key for name in shops}

        self.metrics = new_recorder(self.settings, self.clock)
        self.store = Store(store_url) if store_url else stores.open_store(self.settings, busy_seconds=busy_seconds)
        make_schema(self.store)
        bootstrap.bind_shops(self.settings, self.store, self.clock)
        self.log = EmbeddedLog(self.store, self.clock)
        self.leases = Leases(self.store, self.clock, "rig", self.settings.leases.seconds)
        self.policies = dict(config.policies(self.settings) if policies is None else policies)
        tried = Tried()
        self.results = tried.results
        self.base = bootstrap.new_base(
            self.settings,
            clock=self.clock,
            hooks=Several(self.metrics, tried, hooks),
            store=self.store,
            event_log=self.log,
            leases=self.leases,
            policies=self.policies,
        )
        self.orders = self.base.orders
        self.clients = {name: self._mirakl_client(name) for name in shops}
        self.worker = self.new_worker()
        self.pollers = {name: self.new_poller(name) for name in shops}
        self.consumer = self.new_consumer()

    # -- Parts ---------------------------------------------------------------------------------------------------

    def _mirakl_client(self, name: str) -> MiraklShop:
        return clients.mirakl_client(
            self.settings.shops[name],
            lambda: self.keys[name],
            self.clock,
            partial(self.base.hooks.remote_called, name),
            self.nets[name],
        )

    def _oms_client(self, name: str) -> KornitX:
        on_call = partial(self.base.hooks.remote_called, name)
        return clients.oms_client(
            self.settings.oms, self.settings.shops[name], lambda: "oms-key", on_call, self.oms_net
        )

    def new_worker(self, oms_budget: tuple[BudgetWindow, ...] = ()) -> Worker:
        """Make one more worker, without jitter. `oms_budget`: by default the calls to the OMS are not limited."""
        shops = {
            name: Shop(name, self.clients[name], self._oms_client(name), COMPANIES[name], oms_budget)
            for name in self.mirakl
        }
        return bootstrap.new_worker(self.base, shops, jitter=lambda: 0.0)

    def new_poller(
        self,
        name: str = "alpha",
        *,
        mirakl: Marketplace | None = None,
        writer: LogWriter | None = None,
        lease: Callable[[], Lease] | None = None,
        hooks: Hooks = NO_HOOKS,
    ) -> Poller:
        """Make one more poller. `lease` None: the rig's lease, which is taken again if it has ended.

        `hooks` are called after the rig's own hooks.
        """
        self.leases.take(poll_lease(name))

        def taken() -> Lease:
            found = self.leases.take(poll_lease(name))
            assert found is not None
            return found

        base = replace(self.base, hooks=Several(self.base.hooks, hooks))
        return bootstrap.new_poller(base, name, mirakl or self.clients[name], lease=lease or taken, writer=writer)

    def new_scheduled(self, hooks: Hooks | None = None, check: AccountCheck | None = None) -> ScheduledPoller:
        """Make the schedule of the first shop's poller, every 60 s. `hooks` None: the rig's."""
        return ScheduledPoller(
            "alpha",
            self.pollers["alpha"],
            60,
            shops=1,
            leases=self.leases,
            store=self.store,
            clock=self.clock,
            hooks=hooks or self.base.hooks,
            check=check,
        )

    def new_consumer(self) -> Consumer:
        """Make one more member of the consumer group."""
        return bootstrap.new_consumer(self.base)

    def take_callback(self, url: str, _headers: dict[str, str], body: bytes) -> int:
        """Publish a callback of the OMS, as the endpoint of its shop does."""
        event = oms_event(COMPANIES[url.removeprefix("http://")], body, self.clock.now())
        self.log.publish([record_of(OMS_EVENTS, event)])
        return 200

    # -- Steps ---------------------------------------------------------------------------------------------------

    def add(
        self,
        order_id: str,
        shop: str = "alpha",
        *,
        sku: str = "MUG-11OZ-WHT",
        lines: int = 1,
        quantity: int = 1,
        **fields: Any,
    ) -> None:
        """Add an order at Mirakl, created now."""
        order = build_order(
            MARKETPLACES[shop],
            order_id,
            created=self.clock.now(),
            lines=[Line(sku, quantity) for _ in range(lines)],
            **fields,
        )
        self.mirakl[shop].add_order(order)

    def consume(self) -> None:
        """Deliver the callbacks that are due, and apply every record of the log."""
        self.oms.callbacks.deliver_due(self.clock.now())
        while self.consumer.turn(0):
            pass

    def poll(self, seconds: float = 1) -> None:
        """Let `seconds` pass, poll every shop, and apply what the log holds."""
        self.clock.advance(seconds)
        for poller in self.pollers.values():
            poller.run()
        self.consume()

    def work(self, seconds: float = 0) -> int:
        """Let `seconds` pass, and make every call that is due. Returns how many turns of the worker that took."""
        self.clock.advance(seconds)
        turns = 0
        while self.worker.turn():
            turns += 1
            assert turns < 100, "some command is due again at once, without end"
        return turns

    def pass_time(self, **time: float) -> None:
        """Let this time pass. Every shop is polled each fifth minute. The worker and the housekeeping have turns in the
        first minute, in each minute in which a call or an order is due, and at the end."""
        ends = self.clock.now() + timedelta(**time)
        housekeeping = bootstrap.new_housekeeping(self.base)
        minutes = 0
        while self.clock.now() < ends:
            if minutes % MINUTES_BETWEEN_POLLS:
                self.clock.advance(60)
                self.consume()
            else:
                self.poll(60)
            if not minutes or self.is_something_due():
                self.work()
                housekeeping.turn()
            minutes += 1
        housekeeping.turn()
        self.work()

    def is_something_due(self) -> bool:
        """Whether a call is due, or an order has to be woken. If not, a turn of the worker and of the housekeeping does
        nothing, and takes longer than this query."""
        with self.store.reading() as connection:
            return bool(connection.execute(_DUE, {"now": self.clock.now()}).scalar())

    def imported(self, order_id: str = "1-A", shop: str = "alpha", **fields: Any) -> None:
        """Make an order that was imported into the OMS."""
        self.add(order_id, shop, state="SHIPPING", **fields)
        self.poll()
        self.work()
        assert self.state(order_id) == "imported"

    def fail(self, operation: str, kind: str, count: int = 1, *, shop: str = "alpha", **more: Any) -> None:
        """Let the next `count` calls of this operation fail in this way (simulators/faults.py)."""
        simulator = self.oms if operation == "order" else self.mirakl[shop]
        simulator.knobs.faults.append(Fault(operation, kind, count, hold_seconds=0, **more))

    def switch(self, shop: str = "alpha", *, effects: bool | None = None, paused: tuple[str, ...] = ()) -> None:
        """Turn all effects of a shop on or off (None: leave them as they are), and pause these groups and no others."""
        with self.store.transaction() as tx:
            shop_rows.set_switches(tx, shop, paused=paused, effects=effects)

    # -- What happened -------------------------------------------------------------------------------------------

    def reset_offsets(
        self, partition: int | None = None, whence: Whence = "stored", shops: Collection[str] = ("alpha",)
    ) -> list[ResetPosition]:
        """Set the offsets of the snapshots by hand, as after the restore of a backup."""
        return offsets.reset(
            self.store,
            self.orders,
            self.log,
            "orderflow",
            SNAPSHOTS,
            partition=partition,
            whence=whence,
            who="ana",
            why="restored from the copy of Sunday",
            at=self.clock.now(),
            shops=shops,
        )

    def row(self, order_id: str = "1-A") -> OrderRow:
        (row,) = order_rows.find(self.store, order_id)
        return row

    def state(self, order_id: str = "1-A") -> str:
        return self.row(order_id).state

    def attention(self, order_id: str = "1-A") -> list[str]:
        return [one.reason for one in self.row(order_id).attention]

    def commands(self, order_id: str = "1-A") -> list[sa.Row[Any]]:
        """The rows of an order's commands, the oldest first."""
        of_order = sa.select(s.commands).where(s.commands.c.order_key == self.row(order_id).key)
        with self.store.reading() as connection:
            return list(connection.execute(of_order.order_by(s.commands.c.id)))

    def command(self, order_id: str = "1-A") -> sa.Row[Any]:
        """The newest command of an order."""
        return self.commands(order_id)[-1]

    def effects(self, order_id: str = "1-A") -> list[str]:
        """The kinds of effects that our calls had on an order."""
        return [effect.kind for effect in self.ours(order_id)]

    def ours(self, order_id: str = "1-A") -> list[Effect]:
        """The effects that our calls had on an order, by the remotes' books."""
        return [effect for effect in self.books.effects(order_id=order_id) if effect.by == "api"]

    def journal(self, order_id: str = "1-A") -> list[journal_rows.JournalRow]:
        return journal_rows.of_order(self.store, self.row(order_id).key)

    def records(self, topic: str = SNAPSHOTS) -> list[sa.Row[Any]]:
        """The records of a topic, in the order of publication."""
        c = s.log_records.c
        found = sa.select(s.log_records).where(c.topic == topic).order_by(c.published_at, c.partition, c.offset)
        with self.store.reading() as connection:
            return list(connection.execute(found))


def mandatory(rig: Rig, shop: str) -> None:
    """Make tracking mandatory for every shipping type of the shop."""
    simulator = rig.mirakl[shop]
    types = tuple(replace(one, mandatory_tracking=True) for one in simulator.marketplace.shipping_types)
    simulator.marketplace = replace(simulator.marketplace, shipping_types=types)


@contextmanager
def with_orders_to_import(folder: Path, store_url: str, order_ids: Sequence[str]) -> Iterator[Rig]:
    """A rig on this store that has read these orders of alpha, all in SHIPPING. Its store is closed at the end."""
    rig = Rig(folder, store_url=store_url)
    for order_id in order_ids:
        rig.add(order_id, state="SHIPPING")
    rig.poll()
    yield rig
    rig.store.close()
