"""`make watch`: the demo, with Debian's Prometheus beside it. Ctrl-C ends Prometheus."""

import argparse
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from rich.console import Console

from adapters.simulators.serve import SimulatedWorld
from consumer.demo.embedded import demo
from consumer.service import Service
from tests.watch.board import answers, draw
from tests.watch.prometheus import Prometheus, is_installed


def main() -> None:
    parser = argparse.ArgumentParser(prog="make watch", description=__doc__)
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--speed", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", type=Path, help="draw the dashboard into this file at the end (needs matplotlib)")
    options = parser.parse_args()
    if not is_installed():
        parser.error("Prometheus is not here: apt-get install prometheus")
    console = Console()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orderflow-watch-")))
        began = time.time()
        started: list[Prometheus] = []

        def beside(_world: SimulatedWorld, service: Service) -> None:
            prometheus = Prometheus.start(folder, {"demo-0": service.base.settings.web.port})
            stack.callback(prometheus.stop)
            started.append(prometheus)
            console.print(f"Prometheus: {prometheus.url}/alerts")

        demo(orders=options.orders, speed=options.speed, seed=options.seed, on_started=beside)
        (prometheus,) = started
        if options.picture:
            draw(answers(prometheus, start=began, end=time.time()), began, options.picture)
            return
        console.print(f"The demo has ended. Prometheus goes on until Ctrl-C: {prometheus.url}/graph")
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(60)


main()
