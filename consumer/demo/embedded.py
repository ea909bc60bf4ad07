"""The demo in one process: both simulators, the service on SQLite with every role, and an audit at the end.

Only the remotes are simulated. HTTP on loopback, the configuration file, SQLite, the embedded log and the endpoint for
callbacks are those of a small installation.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import structlog
from rich.console import Console

from adapters.engines.processes import free_port
from adapters.simulators.serve import SimulatedWorld
from consumer import bootstrap, config
from consumer.demo.desk import desk_of
from consumer.demo.report import STALLED_SECONDS, Outcome, folder_of, keep_or_drop, watch_and_audit
from consumer.demo.settings import CALLBACK_SECRET, OMS_KEY, write_settings
from consumer.service import Service
from consumer.telemetry import configure_logging

#: The demo's 200 orders arrive within 12 s, so that it is over in half a minute.
ORDERS_PER_SECOND: Final = 200 / 12


def demo(
    *,
    orders: int = 200,
    speed: float = 1.0,
    seed: int = 1,
    folder: Path | None = None,
    console: Console | None = None,
    callback_secret: str = CALLBACK_SECRET,
    stalled_seconds: float = STALLED_SECONDS,
    on_started: Callable[[SimulatedWorld, Service], None] = lambda _world, _service: None,
) -> Outcome:
    """Run the demo to its end.

    The simulated OMS signs its callbacks with `callback_secret`. `on_started` is called once everything runs: tests
    change something there that the audit then has to find.
    """
    console = console or Console()
    with ExitStack() as stack:
        kept = folder is not None
        folder = stack.enter_context(folder_of(folder))  # first, so that it ends when everything has stopped
        port = free_port()
        world = SimulatedWorld.start(
            orders,
            seed=seed,
            speed=speed,
            orders_per_second=ORDERS_PER_SECOND,
            callback_url=f"http://127.0.0.1:{port}/oms/callbacks/{{shop}}",
            callback_secret=callback_secret,
            oms_api_key=OMS_KEY,
            retry_interval_seconds=2.0 / speed,
        )
        stack.callback(world.stop)
        settings = config.load(write_settings(folder, world.mirakl_urls, world.oms_url, port, speed=speed))
        service = bootstrap.build(settings)
        log_file = stack.enter_context((folder / "orderflow.log").open("w"))
        recorder = service.parts.recorder
        configure_logging(recorder.line_logged, recorder.line_lost, log_file)
        stack.callback(structlog.reset_defaults)  # before the file is closed: the caller may go on logging
        stack.callback(service.stop)
        service.start()
        console.print(
            f"{orders} orders on two simulated marketplaces, speed {speed:g}, seed {seed}. "
            f"Metrics: http://127.0.0.1:{port}/metrics",
            soft_wrap=True,
        )
        desk = desk_of(settings, service.base.store)
        world.world.use(desk)
        stack.callback(world.stop)  # runs before the store is closed, because the stories read the store
        on_started(world, service)
        outcome = watch_and_audit(world, service.base.store, desk, console, stalled_seconds)
    keep_or_drop(folder, kept, outcome, console)
    return outcome
