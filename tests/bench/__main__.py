"""Every figure of docs/performance.md in one table, each beside its peer or its floor of the same run.

    make bench                         make bench ARGS="--quick"        python -m tests.bench --only P3,P4 --json
    make bench ARGS=--growth           make bench ARGS="--only P2 --orders 1000000"

P1: events that one consumer applies a second, on real engines, beside a bare kafka-python loop that parses their JSON.
P2 and P7: a large store beside a small one (growth.py). P3: whole lives beside DBOS (lives.py). P4: calls beside bare
httpx (effects.py). P5 and P6: event to request, and memory of each role (wire.py); how soon a worker hears of a command
(heard.py). P8: CPU of commands beside their imports (commands.py).

P1, P3 and P4 run with the metrics and the log lines of the service (production.py). A round begins with an empty
database, and the sides take turns, so that other work of the machine slows both alike. Compare the ratios of one run;
absolute figures of two machines cannot be compared. The last lines of the table are the machine's own noise.
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
from typing import IO
from uuid import uuid4

from kafka import KafkaConsumer, TopicPartition
from rich.console import Console
from rich.table import Table

from adapters.engines.kafka import Kafka
from adapters.engines.postgres import Postgres
from adapters.log.kafka import KafkaLog
from adapters.messages.cloudevents import record_of
from adapters.messages.snapshots import snapshot_event, snapshot_of
from adapters.ports import NewRecord
from consumer import bootstrap
from consumer.applying.loop import BATCH
from consumer.config import KafkaTable, TopicsTable
from consumer.service import LAG_EVERY_SECONDS
from tests.bench import commands, effects, growth, heard, lives, production, wire
from tests.bench.lines import Line, table
from tests.bench.made import order_bytes
from tests.bench.noise import Noise

PARTITIONS = 4
SHOP = "alpha"
#: The topic of the OMS, which a consumer reads too. It is empty.
OTHER_TOPIC = "bench.oms"

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
#: How many characters a line of the table has in a file.
WIDTH = 200
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


def applied(servers: list[str], url: str, lines: IO[str], topic: str, count: int) -> Pace:
    """One consumer as in production: decode, apply, outbox, metrics and log lines; one durable transaction a batch."""
    group = uuid4().hex  # a new one: from the beginning
    settings = production.settings_of(
        url,
        [SHOP],
        kafka=KafkaTable(bootstrap_servers=servers, group_id=group),
        topics=TopicsTable(snapshots=topic, oms_events=OTHER_TOPIC),
    )
    base = production.opened(settings, lines, ["consumer"])
    consumer = bootstrap.new_consumer(base)
    watch, seen, lag_measured_at = Watch(), 0, time.monotonic()
    while seen < count:  # as the loop of the service does
        base.hooks.loop_turned("consumer")
        seen = watch.saw(consumer.turn(1.0))
        if time.monotonic() - lag_measured_at >= LAG_EVERY_SECONDS:
            lag_measured_at = time.monotonic()
            base.hooks.lag_measured(*consumer.lag())
    pace = watch.pace()
    consumer.close()
    base.log.close()
    base.store.close()
    return pace


def measure(
    options: argparse.Namespace, folder: Path, lines: IO[str], tell: Callable[[str], None]
) -> tuple[list[Figure], int]:
    """A figure for each mix, and the size of an order."""
    figures = {mix: Figure(mix) for mix in MIXES}
    tell("starting Kafka and PostgreSQL")
    kafka = Kafka.start(folder / "kafka", heap_megabytes=1024)
    postgres = Postgres.start(folder / "postgres")
    servers = kafka.bootstrap_servers
    try:
        kafka.create_topics({OTHER_TOPIC: PARTITIONS} | {f"bench.{of}": PARTITIONS for of in TOPICS})
        sizes = [publish(servers, f"bench.{of}", of, options.events, tell) for of in TOPICS]
        for number in range(options.rounds):
            store = postgres.create_database(f"bench_{number}")
            small = f"sqlite:///{folder}/bench_{number}.db"
            for mix, figure in figures.items():
                tell(f"round {number + 1} of {options.rounds}: {mix}")
                reading = (f"bench.{TOPIC_OF[mix]}", options.events)
                if number % 2 == 0:
                    figure.bare.append(bare(servers, *reading))
                figure.applied.append(applied(servers, store, lines, *reading))
                if number % 2:
                    figure.bare.append(bare(servers, *reading))
                figure.sqlite.append(applied(servers, small, lines, *reading))
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
    parser.add_argument("--per-second", type=int, default=wire.PER_SECOND, help="events a second, for P5 and P6")
    parser.add_argument("--growth", action="store_true", help="all that growth.py measures, instead")
    parser.add_argument("--orders", type=int, default=200_000, help="of the large store, for P2, P7 and --growth")
    options = parser.parse_args()
    if options.quick:
        options.events, options.rounds, options.calls = 4000, 2, 1_000
        options.lives, options.orders, options.seconds = 500, 20_000, 20
    if options.events < 2 * BATCH:
        parser.error(f"--events: at least {2 * BATCH}, for the first batch does not count")
    for number in (signal.SIGTERM, signal.SIGHUP):  # what was started is stopped, as after Ctrl-C
        signal.signal(number, lambda *_: sys.exit(1))
    progress = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="orderflow-bench-") as folder,
        production.log_pipe(Path(folder) / "lines.log") as lines,
        production.garbage_collected(),
        progress.status("") as status,
    ):
        shown, as_json = results(options, Path(folder), lines, status.update)
    if options.json:
        json.dump(as_json, sys.stdout, indent=2)
        return
    Console(width=None if sys.stdout.isatty() else WIDTH).print(shown)


def results(
    options: argparse.Namespace, folder: Path, lines: IO[str], tell: Callable[[str], None]
) -> tuple[Table, object]:
    """What was found, as a table and for programs."""
    if options.growth:
        grown = growth.measure(options.orders, tell)
        return growth.table(grown), asdict(grown)
    found = measured(options, folder, lines, tell)
    return table(found), [line.as_json() for line in found]


def measured(options: argparse.Namespace, folder: Path, lines: IO[str], tell: Callable[[str], None]) -> list[Line]:
    """The lines of the figures that are asked for, in the order of their names, and the machine's noise."""
    wanted, found, noise = set(options.only.split(",")), [], Noise()
    if "P1" in wanted:
        found += lines_of(*measure(options, folder, lines, tell))
        noise.sample()
    if wanted & {"P3", "P4", "P5"}:
        postgres = Postgres.start(folder / "postgres_calls")
        try:
            if "P3" in wanted:
                found += lives.measure(postgres, options.lives, options.rounds, lines, tell)
                noise.sample()
            if "P4" in wanted:
                found += effects.measure(postgres, options.calls, options.rounds, folder, lines, tell)
                noise.sample()
            if "P5" in wanted:
                found += heard.measure(postgres, options.rounds, folder, tell)
                noise.sample()
        finally:
            postgres.stop()
    if wanted & {"P5", "P6"}:
        found += [
            line for line in wire.measure(folder, options.seconds, options.per_second, tell) if line.figure in wanted
        ]
        noise.sample()
    if "P8" in wanted:
        tell("P8")
        found += commands.measure(folder, 2 * options.rounds, lines)
        noise.sample()
    if wanted & {"P2", "P7"}:
        found += [line for line in growth.lines(growth.measure(options.orders, tell)) if line.figure in wanted]
        noise.sample()
    return [*sorted(found, key=lambda line: line.figure), *noise.lines()]


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
