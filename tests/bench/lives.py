"""Whole lives per second: orders from waiting acceptance to shipped, against remotes that answer at once, beside DBOS.

Our part of a life is eight durable steps: three reads by the poller and a report of the OMS are applied in batches, as
the consumer does, and OR21, the import, OR23 and OR24 are made by a worker with 64 threads. The orders of one batch end
their lives before the next batch begins, as a worker does not wait for the orders of later batches. The peer's part is
six (peer_dbos.py). Both write to one PostgreSQL with fsync, one after the other, and neither's remote costs anything.
It is no benchmark of Kafka, of HTTP, or of how long an order waits.
"""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from adapters.clock import SystemClock
from adapters.engines.postgres import Postgres
from adapters.messages.cloudevents import record_of
from adapters.messages.snapshots import decode_snapshot, snapshot_event, snapshot_of
from adapters.ports import Catalog, CustomerMessages, OmsOrder
from adapters.store import orders as order_rows
from adapters.store import shops as shop_rows
from adapters.store.transaction import Store
from consumer.apply import OrderWriter
from consumer.budget import Shop
from consumer.hooks import Hooks
from consumer.loop import BATCH
from consumer.retry import Backoff
from consumer.worker import Worker
from statemachine.events import Event
from statemachine.facts import Part, Tracking
from tests.bench.effects import THREADS, Rounds, timed
from tests.bench.lines import Line
from tests.bench.made import order_bytes
from tests.statemachine.lives import sent

SHOP = "alpha"
PEER = Path(__file__).with_name("peer_dbos.py")
PINS = Path("requirements/peer.txt")
#: The environment of the peer. The product never imports what is in it.
ENVIRONMENT = Path(".venv/peer")


class AtOnce:
    """A marketplace and an OMS that agree to everything at once, and cost nothing."""

    def accept(self, order_id: str, decisions: Mapping[str, bool]) -> None: ...

    def send_tracking(self, order_id: str, tracking: Tracking, catalog: Catalog) -> None: ...

    def confirm_shipment(self, order_id: str) -> None: ...

    def customer_messages(self, order_id: str) -> CustomerMessages:
        return CustomerMessages()

    def catalog(self) -> Catalog:
        return Catalog()

    def payload(self, order: bytes, messages: Sequence[str], quantities: Mapping[str, int | None]) -> bytes:
        return order

    def import_order(self, payload: bytes) -> tuple[OmsOrder, ...]:
        return (OmsOrder(Part(_oms_id(json.loads(payload)["order_id"]))),)


def _oms_id(order_id: str) -> int:
    return 1 + int(order_id.partition("-")[0])


def read(number: int, state: str, read_at: datetime) -> Event:
    raw = order_bytes(number, state, read_at)
    order_id, snapshot = snapshot_of(raw, read_at)
    record = record_of("bench", snapshot_event(SHOP, order_id, raw, snapshot.digest, snapshot.read_at))
    event = decode_snapshot(record.value, record.headers, frozenset({SHOP}))
    assert event is not None
    return event


def dispatched(number: int, order_id: str) -> Event:
    said = sent(f"T-{number}", oms_id=_oms_id(order_id))
    return replace(said, shop=SHOP, order_id=order_id, event_id=f"{order_id}:sent")


def ours(url: str, count: int, into: Rounds) -> None:
    """Carry so many orders through their lives, and note lives per second."""
    store, now, clock = Store(url, connections=THREADS + 8), datetime.now(UTC), SystemClock()
    store.migrate()
    with store.transaction() as tx:
        shop_rows.bind(tx, SHOP, "https://alpha.example", 1, effects=True, now=now)
    orders, remote = OrderWriter(store, {}, clock), AtOnce()
    shop = Shop(SHOP, remote, remote, 1)  # type: ignore[arg-type]  # it has the methods that a worker calls
    done = Done()
    worker = Worker(
        store,
        orders,
        {SHOP: shop},
        {},
        clock,
        grace=timedelta(minutes=2),
        backoff=Backoff(),
        calls_per_account=THREADS,
        hooks=done,
    )
    first = [read(number, "WAITING_ACCEPTANCE", now - timedelta(minutes=9)) for number in range(count)]
    phases = [  # the events, and how many calls each of them causes
        (first, 1),
        ([read(number, "SHIPPING", now - timedelta(minutes=6)) for number in range(count)], 1),
        ([dispatched(number, event.order_id) for number, event in enumerate(first)], 2),
        ([read(number, "SHIPPED", now + timedelta(minutes=1)) for number in range(count)], 0),
    ]
    began, cpu = time.perf_counter(), time.process_time()
    for at in range(0, count, BATCH):
        for events, calls in phases:
            batch = events[at : at + BATCH]
            orders.apply(batch)
            done.expect(calls * len(batch))
            timed(len(batch), partial(turned, worker, done), Rounds())
    into.per_second.append(count / (time.perf_counter() - began))
    into.cpu_milliseconds.append((time.process_time() - cpu) / count * 1000)
    states = set(order_rows.states(store).values())
    store.close()
    assert {str(state) for state in states} == {"shipped"}, states


class Done(Hooks):
    """Counts the calls that were made and stored."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = 0

    def expect(self, calls: int) -> None:
        self._left = calls

    def command_tried(self, kind: str, result: str) -> None:
        with self._lock:
            self._left -= 1

    def all(self) -> bool:
        return self._left <= 0


def turned(worker: Worker, done: Done) -> bool:
    """Make one call, or wait a little for one that is due. Returns False when all are done."""
    if not done.all() and not worker.turn():
        time.sleep(0.005)
    return not done.all()


def peer_python() -> Path:
    """Make the peer's environment, unless it is there."""
    python = ENVIRONMENT / "bin/python"
    if not python.exists():
        uv = Path(".venv/bin/uv") if Path(".venv/bin/uv").exists() else Path("uv")
        subprocess.run([uv, "venv", "-q", ENVIRONMENT], check=True)
        subprocess.run([uv, "pip", "sync", "-q", "--python", python, "--require-hashes", PINS], check=True)
    return python


def peer(url: str, count: int, into: Rounds) -> str:
    """Let DBOS carry so many orders, and note the pace of its fastest way. Returns the name of that way."""
    command = [str(peer_python()), str(PEER), url, str(count), "16"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, tuple[float, float]] = json.loads(said)
    best = max(found, key=lambda way: found[way][0])
    into.per_second.append(found[best][0])
    into.cpu_milliseconds.append(found[best][1])
    return best


def measure(postgres: Postgres, count: int, rounds: int, tell: Callable[[str], None]) -> list[Line]:
    """Ours, and the peer's with fewer orders; the next round begins with the peer."""
    mine, theirs, ways = Rounds(), Rounds(), set()
    for number in range(rounds):
        for each in ("ours", "DBOS") if number % 2 == 0 else ("DBOS", "ours"):
            tell(f"P3, round {number + 1} of {rounds}: {each}")
            url = postgres.create_database(f"lives_{number}_{each.lower()}")
            if each == "ours":
                ours(url, count, mine)
            else:
                ways.add(peer(url, max(100, count // 5), theirs))
    name = f"DBOS, the fastest of three ways ({', '.join(sorted(ways))})"
    return [
        Line("P3", "whole lives, remotes that answer at once", "/s", mine.per_second, name, theirs.per_second, ">= 5"),
        Line("P3", "CPU of a life", "ms", mine.cpu_milliseconds, name, theirs.cpu_milliseconds),
    ]
