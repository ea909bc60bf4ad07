"""The parts of a process as the service makes them, for the benchmarks: with metrics, log lines, stored policies, the
outbox and the budgets of the OMS.

`opened` does what `consumer.bootstrap.build_parts` does, with the same constructors. It starts no thread and looks for
no topic, so that a benchmark without Kafka needs none.
"""

import subprocess
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from adapters.store import policies as policy_rows
from adapters.store.clock import StoreClock
from consumer import bootstrap, config, stores
from consumer.calling.worker import Worker
from consumer.config import LogTable, Settings, StoreTable, WorkerTable
from consumer.config.shops import OmsTable, ShopOmsTable, ShopTable
from consumer.garbage import collect_by_time, collect_less_often
from consumer.hooks import NO_HOOKS, Hooks, Several
from consumer.leases import Leases
from consumer.metrics.recorder import new_recorder
from consumer.service import Base, Beats, WorkSignal
from consumer.telemetry import LogHooks, configure_logging

#: No benchmark that uses this address calls it.
NOWHERE: Final = "http://127.0.0.1:9"
NO_FILE: Final = Path("none")
#: The OMS's budgets are counted as in the service, and never spent.
PLENTY: Final = 1_000_000_000


@contextmanager
def log_pipe(path: Path) -> Iterator[IO[str]]:
    """A pipe that takes log lines, as the standard output of a container. Another process copies them to `path`."""
    with path.open("wb") as file, subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file, text=True) as reader:
        assert reader.stdin is not None
        configure_logging(lambda _level: None, lambda: None, reader.stdin)  # until `opened` counts the lines too
        yield reader.stdin


@contextmanager
def garbage_collected() -> Iterator[None]:
    """Look for garbage as the service does: rarely by the number of objects, and by time in a thread."""
    collect_less_often()
    ended = threading.Event()
    thread = threading.Thread(target=collect_by_time, args=(ended.wait,))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def settings_of(
    store_url: str,
    shops: Collection[str],
    *,
    remote: str = NOWHERE,
    off: Collection[str] = (),
    threads: int = 8,
    key: Path = NO_FILE,
    **tables: Any,
) -> Settings:
    """The settings of a service with these shops. The effects of those in `off` are off. `tables`: more tables.

    `threads`: those of a worker, which may all call one account. `key`: the file of every key.
    """
    return Settings(
        store=StoreTable(url=store_url),
        log=LogTable(kind="kafka"),
        worker=WorkerTable(threads=threads, calls_per_account=threads),
        oms=OmsTable(base_url=remote, calls_per_hour=PLENTY, calls_per_day=PLENTY),
        shops={
            name: ShopTable(
                base_url=remote,
                shop_id=number,
                api_key_file=key,
                effects="off" if name in off else "on",
                oms=ShopOmsTable(company_ref_id=number, api_key_file=key),
            )
            for number, name in enumerate(shops, start=1)
        },
        **tables,
    )


def opened(
    settings: Settings,
    lines: IO[str],
    roles: Collection[str],
    hooks: Hooks = NO_HOOKS,
    work: WorkSignal | None = None,
) -> Base:
    """Open the store, and make what the parts of a process with these roles share. `lines` takes its log lines.

    `hooks` are called after those of the service. `work`: what wakes its threads. The caller closes store and log.
    """
    clock = StoreClock()
    recorder = new_recorder(settings, clock)
    store = stores.open_store(settings, roles)
    store.migrate()
    clock.read(store)
    bootstrap.bind_shops(settings, store, clock)
    with store.transaction() as tx:
        policy_rows.store(tx, config.policies(settings), clock.now())
    configure_logging(recorder.line_logged, recorder.line_lost, lines)
    return bootstrap.new_base(
        settings,
        clock=clock,
        hooks=Several(recorder, LogHooks(), Beats(clock), work or WorkSignal(), hooks),
        store=store,
        event_log=bootstrap.open_log(settings, store, clock),
        leases=Leases(store, clock, "bench", settings.leases.seconds),
    )


def turning(base: Base, worker: Worker) -> Callable[[], bool]:
    """A turn of the worker as a thread of the service has it: it shows first that its loop is alive."""

    def turn() -> bool:
        base.hooks.loop_turned("worker", threading.current_thread().name)
        return worker.turn()

    return turn
