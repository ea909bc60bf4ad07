"""How soon an idle thread of a worker in another process looks after a command was opened (P5).

    make bench ARGS="--only P5"

The program is the worker's process: the service with one worker thread, which prints the time whenever it looks, and
makes no call. It looks by itself only after half a minute, so every look but the first was caused by a notice.

The times are from just before the commit that opens the command until the look begins. Both processes read the same
clock of the machine. The floor is a process that waits for the same notices with psycopg alone.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Final

import psycopg
import sqlalchemy as sa
from sqlalchemy import make_url

from adapters.clock import SystemClock
from adapters.engines.postgres import Postgres
from adapters.engines.processes import free_port
from adapters.store import notices
from adapters.store.transaction import Store
from consumer import config
from consumer.applying.apply import OrderWriter
from consumer.bootstrap import build_parts
from consumer.calling.worker import Worker
from consumer.demo.settings import write_settings
from consumer.polling.pollers import PollerPool
from consumer.service import Service
from consumer.telemetry import log_to_standard_error
from tests.bench.lines import Line
from tests.bench.production import NOWHERE
from tests.statemachine.lives import read, snapshot_event

#: How many commands are opened in a round, and the pause between two of them: the thread waits again by then.
OPENED: Final = 200
PAUSE_SECONDS: Final = 0.02
#: When the thread looks by itself: a notice that was lost shows as a time that long.
LATE_SECONDS: Final = 30.0
#: By then the thread that listens has connected.
START_SECONDS: Final = 1.0


class Looks(Worker):
    """Finds nothing to do, and prints when it looked."""

    def __init__(self) -> None:
        pass

    def rests(self, longest: float) -> float:
        return LATE_SECONDS

    def turn(self) -> bool:
        _print(time.time())
        return False


def _print(at: float) -> None:
    sys.stdout.write(f"{at}\n")
    sys.stdout.flush()


def measure(postgres: Postgres, rounds: int, folder: Path, tell: Callable[[str], None]) -> list[Line]:
    """Open commands for a worker's process and for the floor, in turns."""
    url = postgres.create_database("heard")
    store = Store(url)
    store.migrate()
    found: dict[str, list[Sequence[float]]] = {"service": [], "floor": []}
    for number in range(rounds):
        for name, into in found.items():
            tell(f"P5: notices, round {number + 1} of {rounds}: {name}")
            with _process(name, url, folder) as process:
                into.append(_waited(store, process, f"{name}-{number}"))
    store.close()
    what, peer = "a command is opened until an idle thread of another process looks", "psycopg alone"
    ours, floor = (
        [[quantiles(one, n=100)[part] for one in found[name]] for part in (49, 98)] for name in ("service", "floor")
    )
    return [
        Line("P5", f"{what}: p50", "ms", ours[0], peer, floor[0], "ours < 50"),
        Line("P5", f"{what}: p99", "ms", ours[1], peer, floor[1], "ours < 50"),
    ]


@contextmanager
def _process(name: str, url: str, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.bench.heard", name, url, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline()
            time.sleep(START_SECONDS)
            yield process
        finally:
            process.kill()


def _waited(store: Store, process: "subprocess.Popen[str]", of: str) -> list[float]:
    """How long it took until the process looked after each command that was opened, in milliseconds."""
    assert process.stdout is not None
    orders, waited = OrderWriter(store, {}, SystemClock()), []
    commits: list[float] = []
    note = partial(_note, commits)
    sa.event.listen(store.engine, "commit", note)
    for number in range(OPENED):
        name = f"{of}-{number}"
        orders.apply([replace(snapshot_event(read("SHIPPING")), event_id=name, order_id=name)])
        waited.append((float(process.stdout.readline()) - commits[-1]) * 1000)
        time.sleep(PAUSE_SECONDS)
    sa.event.remove(store.engine, "commit", note)
    return waited


def _note(commits: list[float], _connection: object) -> None:
    commits.append(time.time())


def service(url: str, folder: Path) -> None:
    """Run a worker's process that only looks."""
    own = Path(tempfile.mkdtemp(dir=folder))
    settings = config.load(write_settings(own, {"alpha": NOWHERE}, NOWHERE, free_port()))
    tables = {
        "store": settings.store.model_copy(update={"url": url}),
        "worker": settings.worker.model_copy(update={"threads": 1}),
    }
    parts = build_parts(settings.model_copy(update=tables))
    log_to_standard_error()
    nothing_else = PollerPool({}, 1, parts.base.clock)
    Service(replace(parts, worker=Looks(), consumer=None, housekeeping=None, relay=None, pollers=nothing_else)).start()
    sys.stdin.read()  # until the benchmark ends


def floor(url: str) -> None:
    """Listen, and print when a notice came."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"LISTEN {notices.CHANNEL}".encode())
        _print(time.time())
        for _ in connection.notifies():
            _print(time.time())


if __name__ == "__main__":
    if sys.argv[1] == "service":
        service(sys.argv[2], Path(sys.argv[3]))
    else:
        floor(sys.argv[2])
