"""Calls per second of one worker process against remotes that answer after 100 ms, beside bare httpx in the same run.

    make bench ARGS="--only P4"

The worker has 128 threads: at 100 ms a call, 500 calls a second keep 50 of them on the wire, and the others wait for a
claim or for their result, which threads take and store together. The floor has 64: with more, httpx's pool takes more
CPU for each call than the worker does.

The calls are acceptances (OR21) of two shops on PostgreSQL. A round makes them three ways: bare httpx with 64
threads, the worker alone, and the worker beside 100,000 calls of a shop that is off. The worker has the metrics, the
log lines and the clients of the service (production.py).
"""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO

import httpx
import sqlalchemy as sa

from adapters.engines.postgres import Postgres
from adapters.messages.cloudevents import record_of
from adapters.messages.snapshots import decode_snapshot, snapshot_event, snapshot_of
from adapters.store.transaction import Store
from consumer import bootstrap
from consumer.config.secrets import shop_secrets
from consumer.service import Base
from tests.bench.lines import Line
from tests.bench.made import order_bytes
from tests.bench.production import opened, settings_of, turning

SHOPS = ("alpha", "beta")
OFF = "gamma"
THREADS = 128
FLOOR_THREADS = 64
MILLISECONDS = 100
RESTING = 100_000


@dataclass(slots=True)
class Rounds:
    """Calls per second, and CPU of this process for each call, of each round."""

    per_second: list[float] = field(default_factory=list)
    cpu_milliseconds: list[float] = field(default_factory=list)


@contextlib.contextmanager
def slow_remote(milliseconds: int, *more: str) -> "Iterator[tuple[str, subprocess.Popen[str]]]":
    """Start slow_remote.py. Gives its address and its process."""
    command = [sys.executable, "-m", "tests.bench.slow_remote", str(milliseconds), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}", process
        finally:
            process.terminate()


def timed(count: int, one: Callable[[], bool], into: Rounds, number: int = THREADS) -> None:
    """Let the threads call `one` until it returns False, and note the pace."""

    def run() -> None:
        while one():
            pass

    threads = [threading.Thread(target=run) for _ in range(number)]
    began, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    into.per_second.append(count / (time.perf_counter() - began))
    into.cpu_milliseconds.append((time.process_time() - cpu) / count * 1000)


def bare(url: str, count: int, into: Rounds) -> None:
    limits = httpx.Limits(max_connections=FLOOR_THREADS, max_keepalive_connections=FLOOR_THREADS)
    left = iter(range(count))
    lock = threading.Lock()
    with httpx.Client(base_url=url, limits=limits) as client:

        def one() -> bool:
            with lock:
                number = next(left, None)
            if number is not None:
                client.put(f"/api/orders/{number}/accept", json={"order_lines": []}).raise_for_status()
            return number is not None

        timed(count, one, into, FLOOR_THREADS)


def filled(url: str, remote: str, count: int, folder: Path, lines: IO[str]) -> Base:
    """A service over a store with so many acceptances that are due, shared between the shops."""
    key = folder / "key"
    key.touch(0o600)
    key.write_text("key")
    settings = settings_of(url, (*SHOPS, OFF), remote=remote, off=[OFF], threads=THREADS, key=key)
    base = opened(settings, lines, ["worker"])
    read_at = base.clock.now() - timedelta(minutes=5)
    for first in range(0, count, 500):
        batch = []
        for number in range(first, min(first + 500, count)):
            raw = order_bytes(number, "WAITING_ACCEPTANCE", read_at)
            order_id, snapshot = snapshot_of(raw, read_at)
            record = record_of(
                "bench", snapshot_event(SHOPS[number % len(SHOPS)], order_id, raw, snapshot.digest, snapshot.read_at)
            )
            event = decode_snapshot(record.value, record.headers, frozenset(SHOPS))
            assert event is not None
            batch.append(event)
        base.orders.apply(batch)
    return base


def rest(store: Store) -> None:
    """Add the calls of the shop that is off. The database's statistics know nothing of them."""
    order = (
        "INSERT INTO orders (shop, order_id, state, facts, version, attention, content, first_seen_at, entered_at,"
        f" updated_at) SELECT '{OFF}', 'R-' || i, 'waiting_acceptance', '{{}}', 0, '[]', '', now(), now(), now()"
        f" FROM generate_series(1, {RESTING}) AS n(i)"
    )
    command = (
        "INSERT INTO commands (order_key, shop, kind, carries, round, state, basis, opened_at, next_at, give_up_at)"
        " SELECT id, shop, 'accept_order', 'accept', 0, 'open', '', now(), now() - interval '1 day', now()"
        f" FROM orders WHERE shop = '{OFF}'"
    )
    with store.writing() as connection:
        connection.execute(sa.text(order))
        connection.execute(sa.text(command))


def work(base: Base, count: int, into: Rounds) -> None:
    """Let a worker make all calls that are due, with its clients as the service makes them."""
    secrets = {name: shop_secrets(name, shop) for name, shop in base.settings.shops.items()}
    with contextlib.ExitStack() as closing:
        worker = bootstrap.new_worker(base, bootstrap.worker_shops(base, secrets, closing))
        timed(count, turning(base, worker), into)


def measure(
    postgres: Postgres, count: int, rounds: int, folder: Path, lines: IO[str], tell: Callable[[str], None]
) -> list[Line]:
    found = {name: Rounds() for name in ("bare httpx", "worker", f"worker beside {RESTING:,} resting calls")}
    with slow_remote(MILLISECONDS) as (remote, _):
        for number in range(rounds):
            for name, into in found.items():
                tell(f"P4, round {number + 1} of {rounds}: {name}")
                if name.startswith("bare"):
                    bare(remote, count, into)
                    continue
                base = filled(postgres.create_database(f"effects_{number}_{len(name)}"), remote, count, folder, lines)
                if name != "worker":
                    rest(base.store)
                work(base, count, into)
                base.store.close()
    floor, alone, beside = found.values()
    name = f"bare httpx, {FLOOR_THREADS} threads"
    what = f"HTTP, {MILLISECONDS} ms remotes, {THREADS} threads"
    return [
        Line("P4", f"calls of a worker: {what}", "/s", alone.per_second, name, floor.per_second, "ours >= 500"),
        Line("P4", f"the same beside {RESTING:,} resting calls", "/s", beside.per_second, name, floor.per_second),
        Line("P4", "CPU of a call", "ms", alone.cpu_milliseconds, name, floor.cpu_milliseconds),
        Line("P4", "the same beside resting calls", "ms", beside.cpu_milliseconds, name, floor.cpu_milliseconds),
    ]
