"""Whole lives per second: orders from waiting acceptance to shipped, against remotes that answer at once, beside DBOS.

Our part of a life is eight durable steps: three reads by the poller and a report of the OMS are applied in batches, as
the consumer does, and OR21, the import, OR23 and OR24 are made by a worker with as many threads as that of P4. The
orders of one batch end their lives before the next batch begins, as a worker does not wait for the orders of later
batches. The peer's part is six (peer_dbos.py). Both write to one PostgreSQL with fsync, one after the other, and
neither's remote costs anything. Ours has the metrics, the log lines, the outbox and the budgets of the service
(production.py); DBOS logs errors only. It is no benchmark of Kafka, of the decoding of records, of HTTP, or of how long
an order waits.
"""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO

from adapters.engines.postgres import Postgres
from adapters.messages.cloudevents import record_of
from adapters.messages.snapshots import decode_snapshot, snapshot_event, snapshot_of
from adapters.ports import Catalog, CustomerMessages, OmsOrder, OnCall
from adapters.remotes.http import CallOutcome
from adapters.store import orders as order_rows
from consumer import bootstrap
from consumer.applying.loop import BATCH
from consumer.calling.budget import Shop
from consumer.hooks import Hooks
from consumer.service import IDLE_SECONDS, WorkSignal
from statemachine.commands import Remote
from statemachine.events import Event
from statemachine.facts import Part, Tracking
from tests.bench.effects import THREADS, Rounds, timed
from tests.bench.lines import Line
from tests.bench.made import order_bytes
from tests.bench.production import opened, settings_of, turning
from tests.statemachine.lives import sent

SHOP = "alpha"
PEER = Path(__file__).with_name("peer_dbos.py")
PINS = Path("requirements/peer.txt")
#: The environment of the peer. The product never imports what is in it.
ENVIRONMENT = Path(".venv/peer")


class AtOnce:
    """A marketplace and an OMS that agree to everything at once, and cost nothing. Each call is reported, as a client
    does."""

    def __init__(self, on_call: OnCall) -> None:
        self._on_call = on_call

    def accept(self, order_id: str, decisions: Mapping[str, bool]) -> None:
        self._called(Remote.MIRAKL, "OR21")

    def send_tracking(self, order_id: str, tracking: Tracking, catalog: Catalog) -> None:
        self._called(Remote.MIRAKL, "OR23")

    def confirm_shipment(self, order_id: str) -> None:
        self._called(Remote.MIRAKL, "OR24")

    def customer_messages(self, order_id: str) -> CustomerMessages:
        self._called(Remote.MIRAKL, "M11")
        return CustomerMessages()

    def catalog(self) -> Catalog:
        return Catalog()

    def mandatory_tracking(self) -> frozenset[str]:
        return frozenset()

    left_out: frozenset[str] = frozenset()

    def payload(
        self, order: bytes, messages: Sequence[str], quantities: Mapping[str, int | None], external_ref: str = ""
    ) -> bytes:
        return order

    def import_order(self, payload: bytes) -> tuple[OmsOrder, ...]:
        self._called(Remote.OMS, "import_order")
        return (OmsOrder(Part(_oms_id(json.loads(payload)["order_id"]))),)

    def _called(self, system: Remote, operation: str) -> None:
        self._on_call(system, operation, CallOutcome.SUCCESS, 0.0, retry_after_seconds=0.0)


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


def ours(url: str, count: int, lines: IO[str], into: Rounds) -> None:
    """Carry so many orders through their lives, and note lives per second."""
    work = WorkSignal()
    done = Done(work)
    settings = settings_of(url, [SHOP], threads=THREADS)
    base = opened(settings, lines, ["worker"], done, work)
    now, orders, remote = base.clock.now(), base.orders, AtOnce(partial(base.hooks.remote_called, SHOP))
    budget = bootstrap.oms_budget(settings)
    shop = Shop(SHOP, remote, remote, 1, budget)  # type: ignore[arg-type]  # it has the methods that a worker calls
    turn = turning(base, bootstrap.new_worker(base, {SHOP: shop}))
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
            timed(len(batch), partial(turned, turn, work, done), Rounds())
    into.per_second.append(count / (time.perf_counter() - began))
    into.cpu_milliseconds.append((time.process_time() - cpu) / count * 1000)
    states = set(order_rows.states(base.store).values())
    base.store.close()
    assert {str(state) for state in states} == {"shipped"}, states


class Done(Hooks):
    """Counts the calls that were made and stored. After the last one it wakes the threads, which wait for work."""

    def __init__(self, work: WorkSignal) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._left = 0

    def expect(self, calls: int) -> None:
        self._left = calls

    def command_tried(self, kind: str, result: str) -> None:
        with self._lock:
            self._left -= 1
        if self.all():
            self._work.wake_all()

    def all(self) -> bool:
        return self._left <= 0


def turned(turn: Callable[[], bool], work: WorkSignal, done: Done) -> bool:
    """Make one call, or wait for one as a thread of the service does. Returns False when all are done."""
    since = work.times
    if not done.all() and not turn():
        work.wait(IDLE_SECONDS, since)
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


def measure(postgres: Postgres, count: int, rounds: int, lines: IO[str], tell: Callable[[str], None]) -> list[Line]:
    """Ours, and the peer's with fewer orders; the next round begins with the peer."""
    mine, theirs, ways = Rounds(), Rounds(), set()
    for number in range(rounds):
        for each in ("ours", "DBOS") if number % 2 == 0 else ("DBOS", "ours"):
            tell(f"P3, round {number + 1} of {rounds}: {each}")
            url = postgres.create_database(f"lives_{number}_{each.lower()}")
            if each == "ours":
                ours(url, count, lines, mine)
            else:
                ways.add(peer(url, max(100, count // 5), theirs))
    name = f"DBOS, the fastest of five ways ({', '.join(sorted(ways))})"
    return [
        Line("P3", "whole lives, remotes that answer at once", "/s", mine.per_second, name, theirs.per_second, ">= 5"),
        Line("P3", "CPU of a life", "ms", mine.cpu_milliseconds, name, theirs.cpu_milliseconds),
    ]
