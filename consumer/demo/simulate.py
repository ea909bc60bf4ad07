"""`orderflow simulate`: the simulators alone, for a service that a person starts beside them."""

import signal
import threading
from pathlib import Path

from rich.console import Console

from adapters.simulators.serve import SimulatedWorld
from consumer.demo.settings import CALLBACK_SECRET, OMS_KEY, write_settings
from consumer.service import stop_signals


def simulate(*, orders: int, speed: float, seed: int, folder: Path, port: int, host: str) -> None:
    """Run the simulators until Ctrl-C or SIGTERM, and write a configuration for a service into `folder`.

    `port` is where that service will listen for callbacks. `host` is where the simulators listen.
    """
    console, stopping = Console(), threading.Event()
    for number in stop_signals():
        signal.signal(number, lambda *_: stopping.set())
    world = SimulatedWorld.start(
        orders,
        seed=seed,
        speed=speed,
        callback_url=f"http://127.0.0.1:{port}/oms/callbacks/{{shop}}",
        callback_secret=CALLBACK_SECRET,
        oms_api_key=OMS_KEY,
        host=host,
    )
    path = write_settings(folder, world.mirakl_urls, world.oms_url, port, speed=speed, again=True)
    for name, url in (*world.mirakl_urls.items(), ("oms", world.oms_url)):
        console.print(f"{name}: {url}   books: {url}/_sim/books")
    console.print(f"In another terminal: orderflow run --config {path}\nCtrl-C ends the simulators.")
    stopping.wait()
    world.stop()
