"""The wiring: settings to a running service. wiring.py, and this, alone know which adapter stands behind which port."""

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from typing import Any, Final
from uuid import uuid4

import structlog
import uvicorn

from adapters.clock import SystemClock
from adapters.errors import ConfigError, LogUnavailable, OrderflowError, RemoteError
from adapters.log.embedded import EmbeddedLog
from adapters.log.kafka import KafkaLog
from adapters.messages.oms_events import decode_oms
from adapters.messages.snapshots import decode_snapshot
from adapters.ports import Clock
from adapters.remotes.kornitx import KornitX
from adapters.remotes.mirakl import MiraklShop
from adapters.store import cursors as cursor_rows
from adapters.store import engine as database
from adapters.store import orders as order_rows
from adapters.store import shops as shop_rows
from adapters.store import transaction as stores
from adapters.store.budgets import BudgetWindow
from consumer import config
from consumer.apply import OrderWriter
from consumer.config import Settings, ShopTable
from consumer.hooks import NO_HOOKS, Applied, Hooks, Several
from consumer.leases import RELAY, Leases, poll_lease
from consumer.loop import Consumer
from consumer.metrics.recorder import Recorder
from consumer.metrics.stored import StoredGauges
from consumer.poller import Poller
from consumer.relay import Relay
from consumer.retry import Backoff
from consumer.secrets import shop_secrets
from consumer.web.app import application
from consumer.web.callbacks import CallbackEndpoint
from consumer.wiring import group_of, open_log, open_store, outbox_of
from consumer.worker import Shop, Worker, oms_account
from statemachine.events import Trigger
from statemachine.machine import EventResult

log = structlog.get_logger("orderflow")

ROLES: Final = ("poller", "consumer", "worker", "web")
#: Liveness fails when a loop has not turned for so long: longer than the longest single call.
BEAT_SECONDS: Final = 120
#: What is in hand is finished within this time after a stop.
STOP_SECONDS: Final = 17.0
#: Of these at least are for the web, whatever the loops took; closing takes the rest of 20 s at most.
WEB_SECONDS: Final = 1.0
#: How long an idle loop waits before it looks again, unless something wakes it.
IDLE_SECONDS: Final = 1.0
RELAY_IDLE_SECONDS: Final = 0.25
FAILED_SECONDS: Final = 1.0
TRIM_EVERY: Final = timedelta(hours=1)
REPLAN_AT_ONCE: Final = 500
LAG_EVERY_SECONDS: Final = 5.0


def run(settings: Settings, roles: Collection[str] = ROLES) -> None:
    """Run until SIGTERM or SIGINT; a second one ends the process at once. Raises ConfigError."""
    stopping = threading.Event()

    def stop(number: int, _frame: object) -> None:
        if stopping.is_set():
            os._exit(128 + number)  # nothing is waited for, no thread, no client
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    service = Service(settings, roles)
    collect_less_often()
    service.start()
    log.info(
        "running", roles=sorted(roles), shops=sorted(settings.shops), web=f"{settings.web.host}:{settings.web.port}"
    )
    stopping.wait()
    service.stop()
    log.info("stopped")


def collect_less_often() -> None:
    """For a process that applies: a batch makes tens of thousands of objects, hardly one of them in a cycle.

    Looking for cycles after every 700 of them took a tenth of the time (docs/performance.md).
    """
    gc.collect()
    gc.freeze()  # what is loaded by now stays: no need to visit it
    gc.set_threshold(100_000, 10, 10)


class Service:
    """One process with some roles or all: a poller per shop, the consumer, workers; and always its metrics."""

    def __init__(
        self,
        settings: Settings,
        roles: Collection[str] = ROLES,
        clock: Clock | None = None,
        holder: str | None = None,
        hooks: Hooks = NO_HOOKS,
    ) -> None:
        """`holder` names this process in leases; on SQLite, where it is alone, always the same.

        `hooks` are called after the service's own.
        """
        self.settings = settings
        self.roles = frozenset(roles)
        _can_run(settings, self.roles)
        self.clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._news = threading.Condition()  # something was applied, so a command may be due
        self._threads: list[threading.Thread] = []
        self._beats: dict[str, float] = {}
        self._closing: list[Callable[[], None]] = []
        self._trimmed_at = float("-inf")
        self._lag_told_at = float("-inf")
        self._polled: set[str] = set()  # shops whose last poll ended well
        self._keeps_house = False

        self.metrics = Recorder(
            {name: shop.poll_interval_seconds for name, shop in settings.shops.items()},
            version("orderflow"),
            self.clock,
            topics={Trigger.SNAPSHOT: settings.topics.snapshots, Trigger.OMS_EVENT: settings.topics.oms_events},
        )
        self.hooks = Several(self.metrics, _ServiceHooks(self), hooks)
        logging_through(self.metrics)
        self._secrets = {name: shop_secrets(name, shop) for name, shop in settings.shops.items()}
        # Before the schema is touched: the embedded log and Mirakl's call frequency suffer no second process.
        self._held = database.hold_alone(settings.store.url)
        self.store = open_store(settings, self.roles)
        self._with_schema()
        self._bind_shops()
        embedded = settings.log.kind == "embedded"
        self.log = open_log(settings, self.store, self.clock)
        self._closing.append(self.log.close)
        self._with_topics()
        self.holder = holder or ("embedded" if embedded else f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}")
        self.leases = Leases(self.store, self.clock, self.holder, settings.leases.seconds)
        self.policies = config.policies(settings)
        self.orders = OrderWriter(self.store, self.policies, self.clock, self.hooks, outbox_of(settings))
        self.relay = None if embedded else Relay(self.store, self.log, lambda: self.leases.kept(RELAY))
        self.consumer = self._make_consumer() if "consumer" in self.roles else None
        self.worker = self._make_worker() if "worker" in self.roles else None
        self.pollers = {name: self._make_poller(name) for name in settings.shops if "poller" in self.roles}
        budgets = {
            name: (oms_account(shop.oms.company_ref_id), _oms_budget(settings)) for name, shop in settings.shops.items()
        }
        for name in self.pollers:
            self.metrics.watch_lease("poller", name, partial(self.leases.holds, poll_lease(name)))
        if self.worker is not None:
            self.metrics.watch_lease(RELAY, "", partial(self.leases.holds, RELAY))
        self.metrics.watch_accounts(self.worker.accounts.by_key if self.worker else {})
        self.metrics.registry.register(StoredGauges(self.store, self.clock, budgets))
        self.web = self._make_web()

    # -- Parts ---------------------------------------------------------------------------------------------------

    def _with_schema(self) -> None:
        """SQLite is brought up to date here; PostgreSQL by `orderflow migrate`, once for all processes."""
        if self.store.is_sqlite:
            stores.migrate(self.store)
        elif not stores.schema_is_current(self.store):
            self.store.close()  # nobody gets to call `stop`
            raise ConfigError("the store's schema is missing or not this version's: run `orderflow migrate` first")

    def _with_topics(self) -> None:
        """Raises ConfigError for a topic that is not there. A broker that is not there may still come."""
        if not isinstance(self.log, KafkaLog):
            return
        names = self.settings.topics.model_dump()
        try:
            found = self.log.partitions(list(names.values()))
        except LogUnavailable as error:
            log.warning("log_unavailable", error=str(error))
            return
        for key, name in names.items():
            if name not in found:
                raise ConfigError(
                    f"topics.{key}: Kafka has no topic {name}, or this user may not see it. Make it first, with as "
                    "many partitions as there will ever be consumers (docs/production.md)"
                )

    def _bind_shops(self) -> None:
        switch = {"on": True, "off": False, None: None}
        with self.store.transaction() as tx:
            for name, shop in sorted(self.settings.shops.items()):  # in one order, or two starts lock each other out
                shop_rows.bind(
                    tx, name, shop.endpoint, shop.shop_id, effects=switch[shop.effects], now=self.clock.now()
                )

    def _plan_anew(self) -> None:
        """The policy may have changed while nothing ran, and that is no event."""
        for name in self.settings.shops:
            keys = order_rows.open_keys(self.store, name)
            for start in range(0, len(keys), REPLAN_AT_ONCE):
                self.leases.kept(RELAY)
                self.orders.replan(keys[start : start + REPLAN_AT_ONCE])

    def _make_consumer(self) -> Consumer:
        topics = self.settings.topics
        names = frozenset(self.settings.shops)
        ids = config.shop_ids(self.settings)
        decoders = {
            topics.snapshots: lambda value, headers: decode_snapshot(value, headers, names),
            topics.oms_events: lambda value, headers: decode_oms(value, headers, ids),
        }
        reader = self.log.reader(group_of(self.settings), list(decoders))
        return Consumer(reader, self.store, self.orders, decoders, self.clock, hooks=self.hooks)

    def _make_worker(self) -> Worker:
        table = self.settings.worker
        return Worker(
            self.store,
            self.orders,
            {name: self._worker_shop(name, shop) for name, shop in self.settings.shops.items()},
            self.policies,
            self.clock,
            grace=timedelta(seconds=table.grace_seconds),
            backoff=Backoff(table.retry_first_seconds, table.retry_longest_seconds),
            lease=timedelta(seconds=table.lease_seconds),
            hooks=self.hooks,
        )

    def _worker_shop(self, name: str, shop: ShopTable) -> Shop:
        oms_table = self.settings.oms
        oms = KornitX(
            base_url=oms_table.base_url,
            company_ref_id=shop.oms.company_ref_id,
            external_ref_prefix=shop.oms.external_ref_prefix,
            shipping_methods=shop.oms.shipping_methods,
            api_key=self._secrets[name].oms_key,
            auth_encoding=oms_table.auth_encoding,
            duplicate_codes=oms_table.duplicate_codes,
            rate_limit_codes=oms_table.rate_limit_codes,
            duplicate_message_regex=oms_table.duplicate_message_regex,
            rate_limit_message_regex=oms_table.rate_limit_message_regex,
            rate_limit_pause_seconds=oms_table.rate_limit_pause_seconds,
            timeout_seconds=oms_table.timeout_seconds,
            on_call=lambda *call: self.hooks.remote_called(name, *call),
        )
        self._closing.append(oms.close)
        mirakl = self._mirakl(name, shop, loop="")
        return Shop(name, mirakl, oms, shop.oms.company_ref_id, _oms_budget(self.settings))

    def _mirakl(self, name: str, shop: ShopTable, loop: str) -> MiraklShop:
        """A client of its own for each side: the poller's calls also say that its loop is alive."""

        def on_call(system: str, operation: str, outcome: str, seconds: float) -> None:
            self.hooks.remote_called(name, system, operation, outcome, seconds)
            if loop:
                self._beat(loop)

        mirakl = MiraklShop(
            base_url=shop.endpoint,
            shop_id=shop.shop_id,
            api_key=self._secrets[name].mirakl_key,
            on_call=on_call,
            clock=self.clock,
            timeout_seconds=shop.timeout_seconds,
            order_tax_mode=shop.order_tax_mode,
            other_carrier=shop.other_carrier,
        )
        self._closing.append(mirakl.close)
        return mirakl

    def _make_poller(self, name: str) -> Poller:
        shop = self.settings.shops[name]
        return Poller(
            name,
            self._mirakl(name, shop, loop=f"poller:{name}"),
            self.store,
            self.log,
            self.clock,
            topic=self.settings.topics.snapshots,
            lease=lambda: self.leases.kept(poll_lease(name)),
            set_aside=self.orders.set_aside,
            overlap=timedelta(seconds=shop.poll_overlap_seconds),
            hooks=self.hooks,
        )

    def _make_web(self) -> uvicorn.Server:
        app = application(
            endpoints={
                name: CallbackEndpoint(
                    name,
                    shop.oms.company_ref_id,
                    secret,
                    writer=self.log,
                    topic=self.settings.topics.oms_events,
                    keep=self.orders.set_aside,
                    hooks=self.hooks,
                    clock=self.clock,
                )
                for name, shop in self.settings.shops.items()
                if "web" in self.roles and (secret := self._secrets[name].callback_secret) is not None
            },
            registry=self.metrics.registry,
            hooks=self.hooks,
            what_is_stuck=self.what_is_dead,
            what_is_not_ready=self.what_is_not_ready,
        )
        return uvicorn.Server(
            uvicorn.Config(
                app,
                host=self.settings.web.host,
                port=self.settings.web.port,
                log_config=None,
                access_log=False,
                lifespan="off",
            )
        )

    # -- Running -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start every loop in a thread of its own, and return. Raises ConfigError where the port cannot be had."""
        self._serve()  # first: without its callbacks and metrics nothing may be called
        if self.consumer is not None:
            self._run("consumer", partial(self._consumer_loop, self.consumer))
        if self.worker is not None:
            for number in range(self.settings.worker.threads):
                name = f"worker:{number}"
                self._run(name, partial(self._loop, name, partial(self._work, self.worker)))
            self._run("housekeeping", partial(self._loop, "housekeeping", self._keep_house))
        for shop in self.pollers:
            self._run(f"poller:{shop}", partial(self._poll, shop))

    def stop(self) -> None:
        """Finish what is in hand, in STOP_SECONDS at most, give back what is held, and close everything.

        The web comes last: until then it says that it is not ready, and takes what was under way.
        """
        self._stopping.set()
        with self._news:
            self._news.notify_all()
        ends_at = time.monotonic() + STOP_SECONDS
        for thread in [one for one in self._threads if one.name != "web"]:
            thread.join(max(0.0, ends_at - time.monotonic()))
        self.web.should_exit = True
        for thread in [one for one in self._threads if one.name == "web"]:
            thread.join(max(WEB_SECONDS, ends_at - time.monotonic()))
        unfinished = [thread.name for thread in self._threads if thread.is_alive()]
        if unfinished:  # they end with the process; when the leases of their calls are over, others take them up
            log.warning("unfinished", loops=unfinished)
        try:
            self.leases.release_all()
        except OrderflowError as error:
            log.warning("leases_not_released", error=str(error))
        for close in self._closing:
            close()
        self.store.close()
        if self._held is not None:
            self._held.close()

    def _run(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        host, port = self.settings.web.host, self.settings.web.port
        try:
            listening = socket.create_server((host, port))
        except OSError as error:
            raise ConfigError(f"web: cannot listen on {host}:{port} ({error.strerror})") from error
        self._closing.append(listening.close)
        self._run("web", lambda: self.web.run(sockets=[listening]))

    def _loop(self, name: str, turn: Callable[[], float]) -> None:
        """Turn until stopped; `turn` returns how long to wait. An error is told, and the loop goes on."""
        while not self._stopping.is_set():
            self._beat(name)
            try:
                wait = turn()
            except OrderflowError as error:
                log.warning("loop_failed", loop=name, error=str(error))
                wait = FAILED_SECONDS
            except Exception as error:
                log.error("loop_broken", loop=name, error=type(error).__name__, where=_where(error))
                wait = FAILED_SECONDS
            if wait:
                self._stopping.wait(wait)

    def _consumer_loop(self, consumer: Consumer) -> None:
        """Turns until stopped, and then leaves the group, in the thread that joined it."""
        self._loop("consumer", partial(self._consume, consumer))
        consumer.close()

    def _consume(self, consumer: Consumer) -> float:
        consumer.turn(IDLE_SECONDS)
        if self.clock.monotonic() - self._lag_told_at >= LAG_EVERY_SECONDS:
            self._lag_told_at = self.clock.monotonic()
            self.hooks.lag_measured(*consumer.lag())
        return 0.0

    def _work(self, worker: Worker) -> float:
        """Idle threads look seldom; whatever is applied wakes one of them."""
        if not worker.turn() and not self._stopping.is_set():
            with self._news:
                self._news.wait(IDLE_SECONDS)
        return 0.0

    def _keep_house(self) -> float:
        """What one process does for all: plan anew after a change of policy, publish the outbox, trim the log."""
        if self.leases.take(RELAY) is None:
            self._keeps_house = False
            return self.leases.renew_seconds
        if not self._keeps_house:
            self._plan_anew()
            self._keeps_house = True
        self._trim()
        published = self.relay.turn() if self.relay else 0
        return 0.0 if published else RELAY_IDLE_SECONDS

    def _poll(self, name: str) -> None:
        """One shop's polls, each begun an interval after the last one began. A shop that hangs delays no other."""
        interval, loop = self.settings.shops[name].poll_interval_seconds, f"poller:{name}"
        due_at: float | None = None

        def turn() -> float:
            nonlocal due_at
            if self.leases.take_share(name, len(self.pollers)) is None:
                due_at = None
                return self.leases.renew_seconds
            now = self.clock.monotonic()
            if due_at is None:
                due_at = now + self._until_next_poll(name)
            if now < due_at:
                return min(due_at - now, self.leases.renew_seconds)
            due_at = now + max(interval, self._poll_once(name))
            return 0.0

        self._loop(loop, turn)

    def _poll_once(self, name: str) -> float:
        """Returns for how many seconds the remote asked not to be asked again."""
        try:
            outcome = self.pollers[name].run()
        except RemoteError as error:
            self.hooks.poll_failed(name, error.outcome)
            self._polled.discard(name)
            log.warning("poll_failed", shop=name, operation=error.operation, outcome=error.outcome)
            return error.retry_after_seconds or 0.0
        except OrderflowError as error:
            self.hooks.poll_failed(name, type(error).__name__)
            log.warning("poll_failed", shop=name, error=str(error))
            return 0.0
        if name not in self._polled:  # the first one, and the first after a failure
            log.info("polled", shop=name, new=outcome.new, changed=outcome.changed, same=outcome.same)
            self._polled.add(name)
        return 0.0

    def _until_next_poll(self, name: str) -> float:
        """Who takes a shop over, or starts again and again, must not list more often than Mirakl allows."""
        last = cursor_rows.find(self.store, name)
        if last is None:
            return 0.0
        interval = self.settings.shops[name].poll_interval_seconds
        return min(interval, max(0.0, interval - (self.clock.now() - last.succeeded_at).total_seconds()))

    def _trim(self) -> None:
        if isinstance(self.log, EmbeddedLog) and self.clock.monotonic() - self._trimmed_at > TRIM_EVERY.total_seconds():
            self._trimmed_at = self.clock.monotonic()
            self.log.trim(self.clock.now() - timedelta(days=self.settings.log.keep_days))

    # -- Probes --------------------------------------------------------------------------------------------------

    def _beat(self, loop: str) -> None:
        self._beats[loop] = self.clock.monotonic()
        self.hooks.loop_turned(loop.split(":", maxsplit=1)[0])

    def what_is_dead(self) -> str:
        """Progress, not dependencies: a remote or a store that is away must not restart us."""
        now = self.clock.monotonic()
        dead = [loop for loop, beat in self._beats.items() if now - beat > BEAT_SECONDS]
        return f"no turn for {BEAT_SECONDS} s: {', '.join(sorted(dead))}" if dead else ""

    def what_is_not_ready(self) -> str:
        if self._stopping.is_set():
            return "stopping"
        if self.consumer is not None and not self.consumer.has_assignment():
            return "the log has dealt no partitions to this consumer yet"
        try:
            return "" if stores.schema_is_current(self.store) else "the store's schema is not this version's"
        except OrderflowError:
            return "the store does not answer"

    def applied(self) -> None:
        """Wake an idle worker: a command may be due."""
        with self._news:
            self._news.notify()

    def page_published(self, shop: str) -> None:
        self._beat(f"poller:{shop}")


class _ServiceHooks(Hooks):
    """What the service itself does when something happens."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def event_applied(self, applied: Applied) -> None:
        self._service.applied()
        if applied.moved or applied.result == EventResult.NO_EDGE:
            tell = log.info if applied.moved else log.error
            tell(
                "transition" if applied.moved else "no_edge",
                shop=applied.order.shop,
                order_id=applied.order.order_id,
                from_state=applied.before,
                to_state=applied.order.state,
                trigger=applied.event.trigger,
                event_id=applied.event.event_id,
            )

    def page_published(self, shop: str) -> None:
        self._service.page_published(shop)


def _can_run(settings: Settings, roles: Collection[str]) -> None:
    """Raises ConfigError where these roles alone cannot do their work with this store and log."""
    if frozenset(roles) != frozenset(ROLES) and settings.store.is_sqlite:
        raise ConfigError(
            "store.url: SQLite serves one process with every role (`orderflow run all`); processes of one role each "
            'need PostgreSQL, and [log] kind = "kafka"'
        )


def _oms_budget(settings: Settings) -> tuple[BudgetWindow, ...]:
    return (
        BudgetWindow("hour", timedelta(hours=1), settings.oms.calls_per_hour),
        BudgetWindow("day", timedelta(days=1), settings.oms.calls_per_day),
    )


def _where(error: BaseException) -> str:
    """Where it happened, without the text of the error, which may quote data."""
    return "".join(traceback.format_tb(error.__traceback__)[-3:])


def logging_through(metrics: Recorder, stream: Any = None) -> None:
    """structlog: JSON on standard output, or coloured on a terminal; every line counted by its level."""

    def counted(_logger: object, level: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        metrics.line_logged(level)
        return event

    terminal = (stream or sys.stdout).isatty()
    renderer: Any = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            counted,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
    logging.getLogger("transitions").setLevel(logging.WARNING)  # INFO costs a factor of three
    for name in ("httpx", "httpcore", "uvicorn", "kafka"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # their lines hold addresses; what fails is told by us
