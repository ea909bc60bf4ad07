"""Every figure of docs/performance.md in one table, each beside its peer or its floor of the same run.

    make bench                         make bench ARGS="--quick"        python -m tests.bench --only P3,P4 --json
    make bench ARGS=--growth           make bench ARGS="--only P2 --orders 1000000"

P1: events that one consumer applies a second, on real engines, beside a bare kafka-python loop that parses their JSON.
P2 and P7: a large store beside a small one (growth.py). P3: whole lives beside DBOS (lives.py). P4: calls beside bare
httpx (effects.py). P5 and P6: event to request, and memory of each role (wire.py). P8: CPU of commands beside their
imports (commands.py).

A round begins with an empty database, and the sides take turns, so that other work of the machine slows both alike.
Compare the ratios of one run; absolute figures of two machines cannot be compared.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from uuid import uuid4

import structlog
from kafka import KafkaConsumer, TopicPartition
from rich.console import Console

from adapters.clock import SystemClock
from adapters.engines.kafka import Kafka
from adapters.engines.postgres import Postgres
from adapters.log.kafka import KafkaLog
from adapters.messages.cloudevents import record_of
from adapters.messages.snapshots import seal_snapshot, snapshot_event, snapshot_of
from adapters.messages.transitions import OutboxTopics
from adapters.ports import NewRecord
from adapters.simulators.orders import ALPHA
from adapters.store import shops as shop_rows
from adapters.store.transaction import Store
from consumer.apply import OrderWriter
from consumer.garbage import collect_less_often
from consumer.loop import BATCH, Consumer
from tests.bench import commands, effects, growth, lives, wire
from tests.bench.lines import Line, table
from tests.bench.made import order_bytes

PARTITIONS = 4
SHOP = "alpha"


#: Mix -> what its events are about. A round has them in this order, on one database.
MIXES = {
    "new": "every event is the first of its order",
    "repeat": "every event is in the journal already",
    "update": "every event brings a later state of a known order",
}
#: For each topic: the state of its orders at Mirakl, and the time between their creation and the read.
TOPICS = {"new": ("WAITING_ACCEPTANCE", timedelta(minutes=1)), "update": ("SHIPPING", timedelta(hours=1))}
#: The least ratio of the rates, and the highest of the CPU times (P1).
TO_REACH = {"new": (0.28, 4.0), "repeat": (0.31, 2.5), "update": (0.20, 4.7)}
FIGURES = ("P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8")
#: Where a mix's events are.
TOPIC_OF = {"new": "new", "repeat": "new", "update": "update"}


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast some records were read, and what this process spent on each."""

    per_second: float
    cpu_microseconds: float


@dataclass(slots=True)
class Figure:
    """One mix: a pace for each round."""

    mix: str
    bare: list[Pace] = field(default_factory=list)
    applied: list[Pace] = field(default_factory=list)
    sqlite: list[Pace] = field(default_factory=list)


class Watch:
    """Measures the pace from the first records on, without the time in which a client waits for its connection."""

    def __init__(self) -> None:
        self._first = self._seen = 0
        self._began = self._cpu_began = 0.0

    def saw(self, count: int) -> int:
        """Note that `count` more records were read. Returns how many were read so far."""
        if count and not self._seen:
            self._first, self._began, self._cpu_began = count, time.perf_counter(), time.process_time()
        self._seen += count
        return self._seen

    def pace(self) -> Pace:
        count = self._seen - self._first
        seconds, cpu = time.perf_counter() - self._began, time.process_time() - self._cpu_began
        return Pace(count / seconds, cpu / count * 1e6)


# -- What is read ------------------------------------------------------------------------------------------------


def events(count: int, topic: str, state: str, after: timedelta) -> Iterator[tuple[NewRecord, int]]:
    """Snapshot events as the poller makes them, each with the size of its order."""
    read_at = datetime(2026, 3, 1, 12, tzinfo=UTC) + after
    for number in range(count):
        raw = order_bytes(number, state, read_at)
        order_id, snapshot = snapshot_of(raw, read_at)
        event = snapshot_event(SHOP, order_id, raw, snapshot.digest, snapshot.read_at)
        yield record_of(topic, event), len(raw)


def publish(servers: list[str], topic: str, of: str, count: int, tell: Callable[[str], None]) -> int:
    """Fill a topic. Returns how many bytes its orders have in the middle."""
    writer = KafkaLog(lambda: {"bootstrap_servers": servers})
    made, size = events(count, topic, *TOPICS[of]), 0
    for first in range(0, count, 1000):
        batch = list(islice(made, 1000))
        writer.publish([record for record, _ in batch])
        size += sum(length for _, length in batch)
        tell(f"{of}: {first + len(batch):,} of {count:,} published")
    writer.close()
    return size // count


# -- Who reads ---------------------------------------------------------------------------------------------------


def bare(servers: list[str], topic: str, count: int) -> Pace:
    """The ceiling: poll, and parse each record's JSON."""
    consumer = KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, max_poll_records=BATCH)
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    watch, seen = Watch(), 0
    while seen < count:
        polled = [record for records in consumer.poll(timeout_ms=1000).values() for record in records]
        for record in polled:
            json.loads(record.value)
        seen = watch.saw(len(polled))
    pace = watch.pace()
    consumer.close()
    return pace


def applied(servers: list[str], store: Store, topic: str, count: int) -> Pace:
    """One consumer as in production: decode, apply, outbox; one durable transaction a batch."""
    clock, names = SystemClock(), frozenset({SHOP})
    log = KafkaLog(lambda: {"bootstrap_servers": servers})
    orders = OrderWriter(store, {}, clock, outbox=OutboxTopics("orderflow.transitions", "orderflow.dead-letters"))
    decoders = {topic: lambda value, headers: seal_snapshot(value, headers, names)}
    reader = log.reader(uuid4().hex, [topic])  # a new group: from the beginning
    consumer = Consumer(reader, store, orders, decoders, clock)
    watch, seen = Watch(), 0
    while seen < count:
        seen = watch.saw(consumer.turn(1.0))
    pace = watch.pace()
    consumer.close()
    log.close()
    return pace


def ready(url: str) -> Store:
    """An empty store that knows the shop."""
    store = Store(url)
    store.migrate()
    with store.transaction() as tx:
        shop_rows.bind(tx, SHOP, "https://alpha.example", ALPHA.shop_id, effects=True, now=datetime.now(UTC))
    return store


def measure(options: argparse.Namespace, folder: Path, tell: Callable[[str], None]) -> tuple[list[Figure], int]:
    """A figure for each mix, and the size of an order."""
    figures = {mix: Figure(mix) for mix in MIXES}
    tell("starting Kafka and PostgreSQL")
    kafka = Kafka.start(folder / "kafka", heap_megabytes=1024)
    postgres = Postgres.start(folder / "postgres")
    servers = kafka.bootstrap_servers
    try:
        kafka.create_topics({f"bench.{of}": PARTITIONS for of in TOPICS})
        sizes = [publish(servers, f"bench.{of}", of, options.events, tell) for of in TOPICS]
        for number in range(options.rounds):
            store = ready(postgres.create_database(f"bench_{number}"))
            small = ready(f"sqlite:///{folder}/bench_{number}.db")
            for mix, figure in figures.items():
                tell(f"round {number + 1} of {options.rounds}: {mix}")
                reading = (servers, f"bench.{TOPIC_OF[mix]}", options.events)
                if number % 2 == 0:
                    figure.bare.append(bare(*reading))
                figure.applied.append(applied(servers, store, *reading[1:]))
                if number % 2:
                    figure.bare.append(bare(*reading))
                figure.sqlite.append(applied(servers, small, *reading[1:]))
            store.close()
            small.close()
    finally:
        postgres.stop()
        kafka.stop()
    return list(figures.values()), sizes[0]


# -- What it says ------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="tests.bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--events", type=int, default=20_000, help="in each topic")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a first look: few events, two rounds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", default=",".join(FIGURES), help="figures, such as P1,P4")
    parser.add_argument("--calls", type=int, default=3_000, help="of each way, for P4")
    parser.add_argument("--lives", type=int, default=2_000, help="orders, for P3; DBOS gets a fifth of them")
    parser.add_argument("--seconds", type=int, default=60, help="of load, for P5 and P6")
    parser.add_argument("--growth", action="store_true", help="all that growth.py measures, instead")
    parser.add_argument("--orders", type=int, default=200_000, help="of the large store, for P2, P7 and --growth")
    options = parser.parse_args()
    if options.quick:
        options.events, options.rounds, options.calls = 4000, 2, 1_000
        options.lives, options.orders, options.seconds = 500, 20_000, 20
    if options.events < 2 * BATCH:
        parser.error(f"--events: at least {2 * BATCH}, for the first batch does not count")
    structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory())
    for number in (signal.SIGTERM, signal.SIGHUP):  # what was started is stopped, as after Ctrl-C
        signal.signal(number, lambda *_: sys.exit(1))
    collect_less_often()
    progress = Console(stderr=True)
    if options.growth:
        with progress.status("") as status:
            grown = growth.measure(options.orders, status.update)
        json.dump(asdict(grown), sys.stdout, indent=2) if options.json else Console().print(growth.table(grown))
        return
    with tempfile.TemporaryDirectory(prefix="orderflow-bench-") as folder, progress.status("") as status:
        found = measured(options, Path(folder), status.update)
    if options.json:
        json.dump([line.as_json() for line in found], sys.stdout, indent=2)
        return
    Console().print(table(found))


def measured(options: argparse.Namespace, folder: Path, tell: Callable[[str], None]) -> list[Line]:
    """The lines of the figures that are asked for, in the order of their names."""
    wanted, found = set(options.only.split(",")), []
    if "P1" in wanted:
        found += lines_of(*measure(options, folder, tell))
    if wanted & {"P3", "P4"}:
        postgres = Postgres.start(folder / "postgres_calls")
        try:
            if "P3" in wanted:
                found += lives.measure(postgres, options.lives, options.rounds, tell)
            if "P4" in wanted:
                found += effects.measure(postgres, options.calls, options.rounds, tell)
        finally:
            postgres.stop()
    if wanted & {"P5", "P6"}:
        found += [line for line in wire.measure(folder, options.seconds, tell) if line.figure in wanted]
    if "P8" in wanted:
        tell("P8")
        found += commands.measure(folder, 2 * options.rounds)
    if wanted & {"P2", "P7"}:
        found += [line for line in growth.lines(growth.measure(options.orders, tell)) if line.figure in wanted]
    return sorted(found, key=lambda line: line.figure)


def lines_of(figures: list[Figure], size: int) -> list[Line]:
    """P1: the rates, and the CPU of the consumer's process; the engines' own is not in it."""
    found = []
    for figure in figures:
        name = f"{figure.mix}: {MIXES[figure.mix]}"
        bare_ones = ([one.per_second for one in figure.bare], [one.cpu_microseconds for one in figure.bare])
        ours = ([one.per_second for one in figure.applied], [one.cpu_microseconds for one in figure.applied])
        rate, cpu = TO_REACH[figure.mix]
        peer = f"bare loop, orders of {size} bytes"
        found.append(Line("P1", f"events of a consumer. {name}", "/s", ours[0], peer, bare_ones[0], f">= {rate}"))
        found.append(Line("P1", f"CPU of an event. {figure.mix}", "µs", ours[1], peer, bare_ones[1], f"<= {cpu}"))
        found.append(Line("P1", f"on SQLite. {figure.mix}", "/s", [one.per_second for one in figure.sqlite]))
    return found


if __name__ == "__main__":
    main()
