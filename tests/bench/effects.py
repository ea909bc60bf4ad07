"""Calls per second of one worker process against remotes that answer after 100 ms, beside bare httpx in the same run.

    make bench ARGS="--only P4"

The worker has 128 threads: at 100 ms a call, 500 calls a second keep 50 of them on the wire, and the others wait for a
claim or for their result, which threads take and store together. The floor has 64: with more, httpx's pool takes more
CPU for each call than the worker does.

The calls are acceptances (OR21) of two shops on PostgreSQL. A round makes them three ways: bare httpx with 64
threads, the worker alone, and the worker beside 100,000 calls of a shop that is off.
"""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import sqlalchemy as sa

from adapters.clock import SystemClock
from adapters.engines.postgres import Postgres
from adapters.messages.cloudevents import record_of
from adapters.messages.snapshots import decode_snapshot, snapshot_event, snapshot_of
from adapters.store import shops as shop_rows
from adapters.store.transaction import Store
from consumer import clients
from consumer.apply import OrderWriter
from consumer.budget import Shop
from consumer.config_shops import OmsTable, ShopOmsTable, ShopTable
from consumer.retry import Backoff
from consumer.worker import Worker
from tests.bench.lines import Line
from tests.bench.made import order_bytes

SHOPS = ("alpha", "beta")
OFF = "gamma"
THREADS = 128
FLOOR_THREADS = 64
MILLISECONDS = 100
RESTING = 100_000
#: The keys of the accounts are given directly.
NO_FILE = Path("none")


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


def filled(url: str, remote: str, count: int) -> Store:
    """A store with so many acceptances that are due, shared between the shops."""
    store, now = Store(url, connections=THREADS + 8), datetime.now(UTC)
    store.migrate()
    with store.transaction() as tx:
        for number, shop in enumerate((*SHOPS, OFF)):
            shop_rows.bind(tx, shop, f"{remote}/{shop}", number, effects=shop != OFF, now=now)
    orders, read_at = OrderWriter(store, {}, SystemClock()), now - timedelta(minutes=5)
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
        orders.apply(batch)
    return store


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


def worker(store: Store, remote: str) -> Worker:
    def shop(name: str) -> Shop:
        table = ShopTable(
            base_url=remote, shop_id=1, api_key_file=NO_FILE, oms=ShopOmsTable(company_ref_id=1, api_key_file=NO_FILE)
        )
        oms = OmsTable(base_url=remote)
        mirakl = clients.mirakl_client(table, lambda: "key", clock, lambda *_, **__: None, connections=THREADS)
        return Shop(name, mirakl, clients.oms_client(oms, table, lambda: "key", lambda *_, **__: None), 1)

    clock = SystemClock()
    return Worker(
        store,
        OrderWriter(store, {}, clock),
        {name: shop(name) for name in (*SHOPS, OFF)},
        {},
        clock,
        grace=timedelta(minutes=2),
        backoff=Backoff(),
        calls_per_account=THREADS,
    )


def measure(postgres: Postgres, count: int, rounds: int, tell: Callable[[str], None]) -> list[Line]:
    found = {name: Rounds() for name in ("bare httpx", "worker", f"worker beside {RESTING:,} resting calls")}
    with slow_remote(MILLISECONDS) as (remote, _):
        for number in range(rounds):
            for name, into in found.items():
                tell(f"P4, round {number + 1} of {rounds}: {name}")
                if name.startswith("bare"):
                    bare(remote, count, into)
                    continue
                store = filled(postgres.create_database(f"effects_{number}_{len(name)}"), remote, count)
                if name != "worker":
                    rest(store)
                timed(count, worker(store, remote).turn, into)
                store.close()
    floor, alone, beside = found.values()
    name = f"bare httpx, {FLOOR_THREADS} threads"
    what = f"HTTP, {MILLISECONDS} ms remotes, {THREADS} threads"
    return [
        Line("P4", f"calls of a worker: {what}", "/s", alone.per_second, name, floor.per_second, "ours >= 500"),
        Line("P4", f"the same beside {RESTING:,} resting calls", "/s", beside.per_second, name, floor.per_second),
        Line("P4", "CPU of a call", "ms", alone.cpu_milliseconds, name, floor.cpu_milliseconds),
        Line("P4", "the same beside resting calls", "ms", beside.cpu_milliseconds, name, floor.cpu_milliseconds),
    ]
