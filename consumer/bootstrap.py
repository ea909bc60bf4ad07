"""The only wiring: settings to a running service. Nothing else knows which adapter stands behind which port."""

import fcntl
import logging
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Final

import structlog
import uvicorn

from adapters import store as stores
from adapters import views
from adapters.log import EmbeddedLog
from adapters.mirakl import MiraklShop
from adapters.oms import KornitX
from adapters.ports import ConfigError, OrderflowError, RemoteError
from adapters.store import DeadLetter, Store
from adapters.wire import decode_oms, decode_snapshot
from consumer import config
from consumer.apply import Applied, Orders
from consumer.clock import SystemClock
from consumer.config import Settings, ShopTable
from consumer.loop import Consumer
from consumer.metrics import Metrics
from consumer.poller import Poller
from consumer.retry import Backoff
from consumer.web.app import Intake, application
from consumer.worker import Shop, Worker
from statemachine.events import OMS_EVENT, SNAPSHOT
from statemachine.machine import NO_EDGE

log = structlog.get_logger("orderflow")

#: The consumer group of the log.
GROUP: Final = "orderflow"
#: Liveness fails when a loop has not turned for so long: longer than the longest single call.
BEAT_SECONDS: Final = 120
#: What is in hand is finished within this time after a stop.
STOP_SECONDS: Final = 20.0
#: How long an idle loop waits before it looks again, unless something wakes it.
IDLE_SECONDS: Final = 1.0
FAILED_SECONDS: Final = 1.0
TRIM_EVERY: Final = timedelta(hours=1)
REPLAN_AT_ONCE: Final = 500


def open_store(settings: Settings) -> Store:
    """The store, with its schema brought up to date. Raises ConfigError, StoreUnavailable."""
    store = Store(settings.store.url)
    stores.migrate(store)
    return store


def _only_one(settings: Settings) -> IO[str] | None:
    """Hold the store for this process: the embedded log and Mirakl's call frequency suffer no second one.

    Raises ConfigError where another process runs on it, or its folder is not there. Commands of the CLI do not ask.
    """
    _, _, path = settings.store.url.partition(":///")
    if not path or path == ":memory:":
        return None
    file = Path(path)
    if not file.parent.is_dir():
        raise ConfigError(f"store.url: there is no folder {file.parent}")
    lock = file.with_name(f"{file.name}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise ConfigError(f"store.url: another orderflow runs on {file}") from error
    return lock


def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; a second one ends the process at once. Raises ConfigError."""
    stopping = threading.Event()

    def stop(number: int, _frame: object) -> None:
        if stopping.is_set():
            sys.exit(128 + number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    service = Service(settings)
    service.start()
    log.info("running", shops=sorted(settings.shops), web=f"{settings.web.host}:{settings.web.port}")
    stopping.wait()
    service.stop()
    log.info("stopped")


class Service:
    """One process with every role: poller per shop, consumer, workers, web."""

    def __init__(self, settings: Settings, clock: SystemClock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self._stopping = threading.Event()
        self._news = threading.Condition()  # something was applied, so a command may be due
        self._threads: list[threading.Thread] = []
        self._beats: dict[str, float] = {}
        self._closing: list[Callable[[], None]] = []
        self._trimmed_at = float("-inf")
        self._polled: set[str] = set()  # shops whose last poll ended well

        self.metrics = Metrics(
            {name: shop.poll_interval_seconds for name, shop in settings.shops.items()},
            version("orderflow"),
            self.clock,
            topics=(settings.topics.snapshots, settings.topics.oms_events),
        )
        logging_through(self.metrics)
        self._secrets = {name: _secrets(name, shop) for name, shop in settings.shops.items()}
        self._held = _only_one(settings)  # before the schema is touched
        self.store = open_store(settings)
        self._bind_shops()
        self.log = EmbeddedLog(self.store, self.clock)
        self.orders = Orders(self.store, config.policies(settings), self.clock, self._applied)
        self._plan_anew()
        self.consumer = self._make_consumer()
        self.worker = self._make_worker()
        self.pollers = {name: self._make_poller(name) for name in settings.shops}
        self.metrics.watch(self.store, self.worker.accounts)
        self.web = self._make_web()

    # -- Parts ---------------------------------------------------------------------------------------------------

    def _bind_shops(self) -> None:
        switch = {"on": True, "off": False, None: None}
        with self.store.transaction() as tx:
            for name, shop in self.settings.shops.items():
                tx.bind_shop(name, shop.endpoint, shop.shop_id, switch[shop.effects], self.clock.now())

    def _plan_anew(self) -> None:
        """The policy may have changed while nothing ran, and that is no event."""
        for name in self.settings.shops:
            keys = views.open_orders(self.store, name)
            for start in range(0, len(keys), REPLAN_AT_ONCE):
                self.orders.replan(keys[start : start + REPLAN_AT_ONCE])

    def _make_consumer(self) -> Consumer:
        topics = self.settings.topics
        names = frozenset(self.settings.shops)
        ids = config.shop_ids(self.settings)
        decoders = {
            topics.snapshots: lambda value, headers: decode_snapshot(value, headers, names),
            topics.oms_events: lambda value, headers: decode_oms(value, headers, ids),
        }
        topic_of = {SNAPSHOT: topics.snapshots, OMS_EVENT: topics.oms_events}
        reader = self.log.reader(GROUP, list(decoders))
        return Consumer(
            reader,
            self.orders,
            decoders,
            lambda *batch: self.metrics.batch(topic_of, *batch),
            on_stopped=self.metrics.stopped,
        )

    def _make_worker(self) -> Worker:
        table = self.settings.worker
        return Worker(
            self.orders,
            {name: self._worker_shop(name, shop) for name, shop in self.settings.shops.items()},
            self.clock,
            grace=timedelta(seconds=table.grace_seconds),
            backoff=Backoff(table.retry_first_seconds, table.retry_longest_seconds),
            on_result=lambda kind, result: self.metrics.commands.labels(kind, result).inc(),
        )

    def _worker_shop(self, name: str, shop: ShopTable) -> Shop:
        oms_table = self.settings.oms
        oms = KornitX(
            base_url=oms_table.base_url,
            company_ref_id=shop.oms.company_ref_id,
            api_key=self._secrets[name]["oms"],
            auth_encoding=oms_table.auth_encoding,
            duplicate_codes=oms_table.duplicate_codes,
            rate_limit_codes=oms_table.rate_limit_codes,
            duplicate_message_regex=oms_table.duplicate_message_regex,
            rate_limit_message_regex=oms_table.rate_limit_message_regex,
            rate_limit_pause_seconds=oms_table.rate_limit_pause_seconds,
            timeout_seconds=oms_table.timeout_seconds,
            on_call=lambda *call: self.metrics.called(name, *call),
        )
        self._closing.append(oms.close)
        mirakl = self._mirakl(name, shop, loop="")
        return Shop(name, mirakl, oms, shop.oms.company_ref_id, shop.oms.external_ref_prefix, shop.oms.shipping_methods)

    def _mirakl(self, name: str, shop: ShopTable, loop: str) -> MiraklShop:
        """A client of its own for each side: the poller's calls also say that its loop is alive."""

        def on_call(system: str, operation: str, outcome: str, seconds: float) -> None:
            self.metrics.called(name, system, operation, outcome, seconds)
            if loop:
                self._beat(loop)

        mirakl = MiraklShop(
            base_url=shop.endpoint,
            shop_id=shop.shop_id,
            api_key=self._secrets[name]["mirakl"],
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
            overlap=timedelta(seconds=shop.poll_overlap_seconds),
            on_run=self.metrics.polled,
            on_page=lambda: self._beat(f"poller:{name}"),
        )

    def _make_web(self) -> uvicorn.Server:
        app = application(
            intakes={
                name: Intake(shop.oms.company_ref_id, self._secrets[name].get("callback"))
                for name, shop in self.settings.shops.items()
            },
            writer=self.log,
            topic=self.settings.topics.oms_events,
            set_aside=self._set_aside,
            metrics=self.metrics,
            clock=self.clock,
            is_live=self.what_is_dead,
            is_ready=self.what_is_not_ready,
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
        self._run("consumer", lambda: self._loop("consumer", self._consume))
        for number in range(self.settings.worker.threads):
            self._run(f"worker:{number}", lambda name=f"worker:{number}": self._loop(name, self._work))  # type: ignore[misc]
        for name in self.pollers:
            self._run(f"poller:{name}", lambda name=name: self._poll(name))  # type: ignore[misc]

    def stop(self) -> None:
        """Finish what is in hand, and close everything."""
        self._stopping.set()
        self.web.should_exit = True
        with self.log.published:
            self.log.published.notify_all()
        with self._news:
            self._news.notify_all()
        for thread in self._threads:
            thread.join(STOP_SECONDS)
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

    def _consume(self) -> float:
        self.consumer.turn(IDLE_SECONDS)
        return 0.0

    def _work(self) -> float:
        """Idle threads look seldom; whatever is applied wakes one of them."""
        if not self.worker.turn() and not self._stopping.is_set():
            with self._news:
                self._news.wait(IDLE_SECONDS)
        return 0.0

    def _poll(self, name: str) -> None:
        """One shop's polls, each begun an interval after the last one began. A shop that hangs delays no other."""
        interval = self.settings.shops[name].poll_interval_seconds

        def turn() -> float:
            began = self.clock.monotonic()
            wait = interval
            try:
                outcome = self.pollers[name].run()
                if name not in self._polled:  # the first one, and the first after a failure
                    log.info("polled", shop=name, new=outcome.new, changed=outcome.changed, same=outcome.same)
                    self._polled.add(name)
            except RemoteError as error:
                self.metrics.poll_failures.labels(name, error.outcome).inc()
                self._polled.discard(name)
                log.warning("poll_failed", shop=name, operation=error.operation, outcome=error.outcome)
                wait = max(wait, error.retry_after_seconds or 0)
            except OrderflowError as error:
                self.metrics.poll_failures.labels(name, type(error).__name__).inc()
                log.warning("poll_failed", shop=name, error=str(error))
            self._trim()
            return max(0.0, wait - (self.clock.monotonic() - began))

        self._waiting_loop(f"poller:{name}", turn, self._until_next_poll(name))

    def _until_next_poll(self, name: str) -> float:
        """A process that starts again and again must not list more often than Mirakl allows."""
        last = views.cursor(self.store, name)
        if last is None:
            return 0.0
        interval = self.settings.shops[name].poll_interval_seconds
        return min(interval, max(0.0, interval - (self.clock.now() - last.succeeded_at).total_seconds()))

    def _waiting_loop(self, name: str, turn: Callable[[], float], first_wait: float) -> None:
        """A loop that may wait for longer than a beat may be old."""
        waits = iter([first_wait])

        def in_slices() -> float:
            left = next(waits, None) or turn()
            while left > 0 and not self._stopping.wait(min(left, BEAT_SECONDS / 4)):
                left -= BEAT_SECONDS / 4
                self._beat(name)
            return 0.0

        self._loop(name, in_slices)

    def _trim(self) -> None:
        if self.clock.monotonic() - self._trimmed_at > TRIM_EVERY.total_seconds():
            self._trimmed_at = self.clock.monotonic()
            self.log.trim(self.clock.now() - timedelta(days=self.settings.log.keep_days))

    def _set_aside(self, letter: DeadLetter) -> None:
        with self.store.transaction() as tx:
            tx.set_aside([letter], self.clock.now())

    # -- Probes --------------------------------------------------------------------------------------------------

    def _beat(self, loop: str) -> None:
        self._beats[loop] = self.clock.monotonic()
        self.metrics.beats(loop.split(":", maxsplit=1)[0])

    def what_is_dead(self) -> str:
        """Progress, not dependencies: a remote or a store that is away must not restart us."""
        now = self.clock.monotonic()
        dead = [loop for loop, beat in self._beats.items() if now - beat > BEAT_SECONDS]
        return f"no turn for {BEAT_SECONDS} s: {', '.join(sorted(dead))}" if dead else ""

    def what_is_not_ready(self) -> str:
        if self._stopping.is_set():
            return "stopping"
        try:
            return "" if stores.schema_is_current(self.store) else "the store's schema is not this version's"
        except OrderflowError:
            return "the store does not answer"

    # -- Telling -------------------------------------------------------------------------------------------------

    def _applied(self, one: Applied) -> None:
        with self._news:
            self._news.notify()
        self.metrics.applied(one)
        if one.moved or one.result == NO_EDGE:
            tell = log.info if one.moved else log.error
            tell(
                "transition" if one.moved else "no_edge",
                shop=one.order.shop,
                order_id=one.order.order_id,
                from_state=one.before,
                to_state=one.order.state,
                trigger=one.event.trigger,
                event_id=one.event.event_id,
            )


def _secrets(name: str, shop: ShopTable) -> dict[str, Callable[[], str]]:
    found = {
        "mirakl": config.secret(f"shops.{name}.api_key_file", shop.api_key_file),
        "oms": config.secret(f"shops.{name}.oms.api_key_file", shop.oms.api_key_file),
    }
    if shop.oms.callback_secret_file is not None:
        key = f"shops.{name}.oms.callback_secret_file"
        found["callback"] = config.secret(key, shop.oms.callback_secret_file)
    return found


def _where(error: BaseException) -> str:
    """Where it happened, without the text of the error, which may quote data."""
    return "".join(traceback.format_tb(error.__traceback__)[-3:])


def logging_through(metrics: Metrics, stream: Any = None) -> None:
    """structlog: JSON on standard output, or coloured on a terminal; every line counted by its level."""

    def counted(_logger: object, level: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        metrics.log_messages.labels(level).inc()
        return event

    out = stream or sys.stdout
    renderer: Any = structlog.dev.ConsoleRenderer() if out.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            counted,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(out),
    )
    logging.getLogger("transitions").setLevel(logging.WARNING)  # INFO costs a factor of three
    for name in ("httpx", "httpcore", "uvicorn"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # their lines hold addresses
