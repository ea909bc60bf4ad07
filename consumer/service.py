"""Runs the parts of one process: a thread for each loop, the probes, and an orderly stop.

bootstrap.py builds the parts.
"""

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import structlog

from adapters.errors import Cause, OrderflowError, PartitionsWait, StoreUnavailable
from adapters.log.embedded import EmbeddedLog
from adapters.log.kafka import KafkaLog
from adapters.ports import Clock
from adapters.store.clock import READ_EVERY_SECONDS, StoreClock
from adapters.store.notices import Notices
from adapters.store.transaction import Store
from consumer.applying.apply import OrderWriter
from consumer.applying.loop import Consumer
from consumer.calling.worker import Worker
from consumer.config import Settings
from consumer.config.types import place
from consumer.garbage import collect_by_time, collect_less_often
from consumer.hooks import BEAT_SECONDS, Applied, Hooks
from consumer.housekeeping.housekeeping import Housekeeping
from consumer.leases import Leases
from consumer.loop_watch import OWN_CAUSES, LoopWatch, thread_name
from consumer.metrics.recorder import Recorder
from consumer.polling.pollers import PollerPool
from consumer.relay import RelayLoop
from consumer.web.server import WebServer
from statemachine.commands import Policy

log = structlog.get_logger("orderflow")

#: How long the loops may take to finish the work in progress after a stop.
STOP_SECONDS: Final = 17.0
#: The web server may take what the loops left of STOP_SECONDS, and at least this time. A stop takes 20 s in all. The
#: other 2 s are for giving leases back and closing the clients.
WEB_STOP_SECONDS: Final = 1.0
#: This long after it was asked to stop, a process ends, whatever hangs: a client that does not close, or a call.
END_SECONDS: Final = 20.0
#: How long the last log line of such an end may take: the reader of the log may be what hangs.
END_LOGGING_SECONDS: Final = 0.5
#: How long an idle consumer or worker waits before it looks again, unless something wakes it.
IDLE_SECONDS: Final = 1.0
#: How long a loop waits after an error.
FAILED_SECONDS: Final = 1.0
LAG_EVERY_SECONDS: Final = 5.0
#: How long a process that starts tries to reach a database that does not answer. Then the process ends.
START_SECONDS: Final = 60.0
#: How long a process that starts waits between two such tries.
START_AGAIN_SECONDS: Final = 2.0


class Beats(Hooks):
    """Remembers when each thread of each loop last began a turn, for /live and for the metric of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beats: dict[tuple[str, str], float] = {}  # by loop and instance, of a poller its shop; monotonic
        self._turned: set[str] = set()  # the loops that have had a turn

    def loop_turned(self, loop: str, instance: str = "") -> None:
        self._beats[loop, instance] = self._clock.monotonic()
        self._turned.add(loop)

    def loop_rests(self, loop: str, instance: str) -> None:
        self._beats.pop((loop, instance), None)  # it waits for its next turn, which is no fault

    def page_read(self, shop: str) -> None:
        self.loop_turned("poller", shop)  # a long poll is not stuck while Mirakl answers, however slowly

    def page_published(self, shop: str) -> None:
        self.loop_turned("poller", shop)  # nor while it publishes pages

    def what_is_stuck(self) -> str:
        """Return the loops that have not turned for BEAT_SECONDS, in words; an empty text if there is none.

        Reports stuck loops only. An unreachable database or remote must not restart the pod.
        """
        now = self._clock.monotonic()
        stuck = sorted(thread_name(*at) for at, beat in self._copy() if now - beat > BEAT_SECONDS)
        return f"no turn for {BEAT_SECONDS} s: {', '.join(stuck)}" if stuck else ""

    def oldest(self, loop: str) -> float:
        """Return when this loop last began a turn, in seconds since 1970: of its threads the one that did so longest
        ago, because one stuck thread is a fault even if the others turn.

        If all of them rest, nothing is overdue, and the answer is the present instant. 0 before the first turn.
        """
        if loop not in self._turned:
            return 0.0
        now = self._clock.monotonic()
        beat = min((beat for (of, _), beat in self._copy() if of == loop), default=now)
        return self._clock.now().timestamp() - (now - beat)

    def _copy(self) -> list[tuple[tuple[str, str], float]]:
        return list(self._beats.items())  # because a loop that starts adds an entry meanwhile


class WorkSignal(Hooks):
    """Wakes idle worker threads when commands were opened."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        #: How often threads were woken. A thread notes it before it looks for work, and does not wait if it has grown.
        self.times = 0

    def event_applied(self, applied: Applied) -> None:
        if applied.opens:
            self.wake(1)

    def wait(self, seconds: float, since: int) -> None:
        """Wait until `times` is greater than `since`, but no longer than `seconds`."""
        with self._condition:
            if self.times == since:
                self._condition.wait(seconds)

    def wake(self, threads: int) -> None:
        """Wake so many of the threads that wait."""
        with self._condition:
            self.times += 1
            self._condition.notify(threads)

    def wake_all(self) -> None:
        with self._condition:
            self.times += 1
            self._condition.notify_all()


#: Answers a probe: what is wrong, in words; an empty text means that nothing is wrong.
Probe = Callable[[], str]


class LoopEnded(OrderflowError):
    """A loop of the process ended before the process was asked to stop. The text names the loop."""


class MakeServers(Protocol):
    """Makes the web servers of the process, with these probes."""

    def __call__(self, *, what_is_stuck: Probe, what_is_not_ready: Probe) -> Sequence[WebServer]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The objects that the parts of a process share."""

    settings: Settings
    clock: Clock
    hooks: Hooks
    store: Store
    log: EmbeddedLog | KafkaLog
    policies: Mapping[str, Policy]
    orders: OrderWriter
    leases: Leases


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that one process runs. A part that its roles do not need is None or empty."""

    base: Base
    roles: Collection[str]
    recorder: Recorder
    beats: Beats
    work: WorkSignal
    consumer: Consumer | None
    worker: Worker | None
    housekeeping: Housekeeping | None
    relay: RelayLoop | None
    pollers: PollerPool
    servers: MakeServers
    #: Closes clients, log, store and the lock of the SQLite file, in this order.
    closing: ExitStack


class Service:
    """Runs the loops and the web server of one process, and stops them."""

    def __init__(self, parts: Parts, *, stop_seconds: float = STOP_SECONDS) -> None:
        self.parts = parts
        self.base = parts.base
        self._stop_seconds = stop_seconds
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._watch = LoopWatch(parts.base.clock, parts.base.hooks)
        #: The threads that ended before the service was stopped, by name.
        self.ended: list[str] = []
        #: Called when a thread ends before the service is stopped. `run` sets it, and then ends the process.
        self.on_end: Callable[[], None] = lambda: None
        self._lag_measured_at = float("-inf")
        self._servers = parts.servers(what_is_stuck=parts.beats.what_is_stuck, what_is_not_ready=self.what_is_not_ready)

    # -- Start and stop ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start every loop in a thread of its own, and return. Raises ConfigError if a port cannot be opened."""
        parts = self.parts
        self._serve()  # first, so that no remote is called before callbacks are taken and metrics are served
        self._start_thread("garbage", partial(collect_by_time, self._stopping.wait))
        if isinstance(self.base.clock, StoreClock) and not self.base.store.is_sqlite:
            self._start_thread("clock", partial(self._read_clock, self.base.clock))
        if parts.consumer is not None:
            self._start_thread("consumer", partial(self._run_consumer, parts.consumer))
        if parts.worker is not None:
            if not self.base.store.is_sqlite:
                self._start_thread("notices", partial(self._listen, Notices(self.base.store)))
            for number in range(self.base.settings.worker.threads):
                self._start_loop("worker", partial(self._work, parts.worker), str(number))
        if parts.housekeeping is not None:
            self._start_loop("housekeeping", parts.housekeeping.turn)
        if parts.relay is not None:
            self._start_loop("relay", parts.relay.turn)
        for number in range(parts.pollers.threads):
            self._start_thread(thread_name("poller", str(number)), partial(self._poll, parts.pollers))

    def stop(self) -> None:
        """Finish the work in progress, give the leases back, and close everything, within 20 s.

        The web server stops last: until then /ready answers "stopping", and callbacks that arrive are taken.
        """
        self._stopping.set()
        self.parts.work.wake_all()
        ends_at = time.monotonic() + self._stop_seconds
        names = {server.name for server in self._servers}
        for thread in [one for one in self._threads if one.name not in names]:
            thread.join(max(0.0, ends_at - time.monotonic()))
        for server in self._servers:
            server.stop()
        web_ends_at = max(time.monotonic() + WEB_STOP_SECONDS, ends_at)
        for thread in [one for one in self._threads if one.name in names]:
            thread.join(max(0.0, web_ends_at - time.monotonic()))
        unfinished = [thread.name for thread in self._threads if thread.is_alive()]
        if unfinished:  # they end with the process; other workers take their commands when the commands' leases end
            log.warning("unfinished", loops=unfinished)
        try:
            self.base.leases.release_all()
        except OrderflowError as error:
            log.warning("leases_not_released", error=str(error))
        self.parts.closing.close()

    def _serve(self) -> None:
        for server in self._servers:
            server.listen()
            self.parts.closing.callback(server.close)
        for server in self._servers:
            self._start_thread(server.name, server.run)

    # -- Loops ---------------------------------------------------------------------------------------------------

    def _start_loop(self, loop: str, turn: Callable[[], float], instance: str = "") -> None:
        self._start_thread(thread_name(loop, instance), partial(self._loop, loop, turn, instance))

    def _start_thread(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=partial(self._noticed, name, target), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _noticed(self, name: str, target: Callable[[], None]) -> None:
        """Run a thread. If it ends before the service is stopped, the process ends too: it would do half of its work,
        and no probe would show it."""
        error = ""
        try:
            target()
        except BaseException as raised:
            error = type(raised).__name__
        if not self._stopping.is_set():
            self.ended.append(name)
            log.critical("loop_ended", loop=name, error=error)
            self.on_end()

    def _loop(self, loop: str, turn: Callable[[], float], instance: str = "") -> None:
        """Call `turn` until the service stops. `turn` returns how many seconds to wait. No error ends the loop."""
        while not self._stopping.is_set():
            if seconds := self._turn(loop, turn, instance):
                self._stopping.wait(seconds)

    def _turn(self, loop: str, turn: Callable[[], float], instance: str) -> float:
        """Call `turn`, whatever it raises. Returns how many seconds to wait then."""
        self.base.hooks.loop_turned(loop, instance)
        try:
            seconds = turn()
        except Exception as error:
            self._watch.failed(loop, instance, error)
            return 0.0 if isinstance(error, PartitionsWait) else FAILED_SECONDS
        self._watch.succeeded(loop, instance)
        return seconds

    def _poll(self, pool: PollerPool) -> None:
        """Give shops their turns until the service stops."""
        while not self._stopping.is_set():
            shop = pool.take()
            if shop is None:
                self._stopping.wait(min(IDLE_SECONDS, pool.seconds_to_next()))
                continue
            seconds = self._turn("poller", pool.pollers[shop].turn, shop)
            self.base.hooks.loop_rests("poller", shop)
            pool.give_back(shop, seconds)

    def _read_clock(self, clock: StoreClock) -> None:
        """Ask the database for the time again and again. No probe depends on this thread: while the database is away,
        the last read is valid."""
        while not self._stopping.wait(READ_EVERY_SECONDS):
            try:
                clock.read(self.base.store)
            except Exception as error:
                log.warning("clock_not_read", error=type(error).__name__)

    def _run_consumer(self, consumer: Consumer) -> None:
        self._loop("consumer", partial(self._consume, consumer))
        consumer.close()  # in the thread that joined the group

    def _consume(self, consumer: Consumer) -> float:
        consumer.turn(IDLE_SECONDS)
        now = self.base.clock.monotonic()
        if now - self._lag_measured_at >= LAG_EVERY_SECONDS:
            self._lag_measured_at = now
            self.base.hooks.lag_measured(*consumer.lag())
        return 0.0

    def _work(self, worker: Worker) -> float:
        since = self.parts.work.times
        if not worker.turn() and not self._stopping.is_set():
            self.parts.work.wait(worker.rests(IDLE_SECONDS), since)
        return 0.0

    def _listen(self, notices: Notices) -> None:
        """Wake worker threads when another process opens commands. No probe depends on this thread: workers look once a
        second anyway."""
        is_logged = False
        while not self._stopping.is_set():
            try:
                if opened := notices.wait(IDLE_SECONDS):
                    self.parts.work.wake(opened)
                is_logged = False
            except Exception as error:
                if not is_logged:
                    log.warning("not_listening", error=type(error).__name__)
                is_logged = True
                self._stopping.wait(FAILED_SECONDS)
        notices.close()

    # -- Probes --------------------------------------------------------------------------------------------------

    def what_is_not_ready(self) -> str:
        """Return the answer of /ready: why this process should get no requests, or an empty text if it should."""
        if self._stopping.is_set():
            return "stopping"
        if self.ended:
            return f"ended: {', '.join(self.ended)}"
        if failing := self._watch.what_fails(self._own_causes()):
            return failing
        if self.parts.consumer is not None and not self.parts.consumer.has_assignment():
            return "no partitions were assigned to this consumer yet"
        try:
            self.base.store.try_a_write()
        except StoreUnavailable as error:
            return "the store takes no writes" if error.cause == Cause.READ_ONLY else "the store does not answer"
        return ""

    def _own_causes(self) -> frozenset[Cause]:
        """The causes that lie in this process. A SQLite file is its own too, with the disk that holds the file."""
        own = {Cause.DISK_FULL, Cause.READ_ONLY} if self.base.store.is_sqlite else set()
        return OWN_CAUSES | own


# -- A process ---------------------------------------------------------------------------------------------------


def run(build: Callable[[], Service], *, end_seconds: float = END_SECONDS) -> None:
    """Run a service until SIGTERM, SIGINT or SIGHUP; a second signal ends the process at once.

    `end_seconds` after a stop has begun the process ends, whatever still hangs. Raises ConfigError, and
    StoreUnavailable if the store does not answer for START_SECONDS. Raises LoopEnded if a loop ended by itself, after
    stopping the others.
    """
    stopping = threading.Event()

    def stop(number: int, _frame: object) -> None:
        if stopping.is_set():
            os._exit(128 + number)  # does not wait for threads or clients
        stopping.set()
        end_within(end_seconds)  # from here on, because the build may hang too

    for number in stop_signals():
        signal.signal(number, stop)
    raise_descriptor_limit()
    service = built(build, stopping.wait, time.monotonic)
    if service is None:
        return
    collect_less_often()
    service.on_end = stopping.set
    service.start()
    settings = service.base.settings
    web = place(settings.web.host, settings.web.port)
    log.info("running", roles=sorted(service.parts.roles), shops=sorted(settings.shops), web=web)
    stopping.wait()
    end_within(end_seconds)
    service.stop()
    if service.ended:
        raise LoopEnded(f"a loop ended: {', '.join(service.ended)}")
    log.info("stopped")


def stop_signals() -> list[signal.Signals]:
    """Return the signals that stop this process. SIGHUP comes when its terminal closes; after `nohup` it does not."""
    stops_on_hangup = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *[signal.SIGHUP] * stops_on_hangup]


def end_within(seconds: float) -> None:
    """End the process after this time, if it has not ended by then."""
    end = threading.Timer(seconds, end_now)
    end.daemon = True
    end.start()


def end_now() -> None:
    """End the process with the exit status 1, because a stop took too long.

    Logs the names of the threads that still run: one of them waits for something that hangs.
    """
    names = sorted(thread.name for thread in threading.enumerate() if thread is not threading.current_thread())
    logging = threading.Thread(target=lambda: log.error("stop_forced", threads=names), daemon=True)
    logging.start()
    logging.join(END_LOGGING_SECONDS)
    os._exit(1)


def raise_descriptor_limit() -> None:
    """Let the process open as many files and connections as its hard limit allows. The soft limit is often 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def built(
    build: Callable[[], Service], stopped_within: Callable[[float], bool], monotonic: Callable[[], float]
) -> Service | None:
    """Build the service; if the store does not answer, try again for START_SECONDS.

    A database may start together with this process, or be busy for a moment. None: the process was asked to stop
    meanwhile. Raises ConfigError and StoreUnavailable.
    """
    ends_at = monotonic() + START_SECONDS
    while True:
        try:
            return build()
        except StoreUnavailable as error:
            if monotonic() >= ends_at:
                raise
            log.warning("store_unavailable", error=str(error))
        if stopped_within(START_AGAIN_SECONDS):
            return None
