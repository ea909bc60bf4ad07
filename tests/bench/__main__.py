"""Events applied per second on real engines, beside a bare kafka-python loop that parses the same JSON, in one run.

    make bench                         python -m tests.bench --events 20000 --rounds 3 --json

Every round reads the same records by both ways, one after the other, so that what else the machine does hits both.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import structlog
from kafka import KafkaConsumer, TopicPartition
from rich.console import Console
from rich.table import Table

from adapters import store as stores
from adapters.engines import Kafka, Postgres
from adapters.kafka import KafkaLog
from adapters.ports import NewRecord
from adapters.simulators.world import ALPHA, Line, build_order
from adapters.store import Store
from adapters.wire import decode_snapshot, snapshot_event, snapshot_of, to_structured
from consumer.apply import Orders
from consumer.clock import SystemClock
from consumer.loop import BATCH, Consumer
from consumer.outbox import Outbox

PARTITIONS = 4
SHOP = "alpha"


@dataclass(frozen=True, slots=True)
class Mix:
    """What the events are about."""

    name: str
    meaning: str
    states: tuple[str, ...]  # of each order, one event after the other


MIXES = (
    Mix("new", "every event is the first of its order", ("WAITING_ACCEPTANCE",)),
    Mix(
        "life",
        "each order in four states, one after the other",
        ("WAITING_ACCEPTANCE", "WAITING_DEBIT", "SHIPPING", "SHIPPED"),
    ),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """Events a second: of each round, and the median."""

    mix: str
    bytes: int
    bare: list[float]
    applied: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(a / b for a, b in zip(self.applied, self.bare, strict=True))


def order_bytes(number: int, state: str, at: datetime, run: str) -> bytes:
    """One order as OR11 would list it."""
    order = build_order(ALPHA, f"{run}{number:07d}-A", created=at, lines=[Line("MUG-11OZ-WHT")], state=state)
    order["last_updated_date"] = (at + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    order["customer"].pop("billing_address", None)
    return json.dumps(_without_empty(order)).encode()


def _without_empty(value: Any) -> Any:
    """The simulators' order has 3.5 kB, as a real one; without what is empty it comes near the 2 kB of the figure."""
    if isinstance(value, dict):
        return {name: _without_empty(one) for name, one in value.items() if one not in (None, "", [], {}, False, 0)}
    return [_without_empty(one) for one in value] if isinstance(value, list) else value


def events(mix: Mix, count: int, topic: str, run: str) -> Iterator[NewRecord]:
    """Snapshot events as the poller makes them; a page of each state before the next."""
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    orders = count // len(mix.states)
    for first in range(0, orders, 100):
        for step, state in enumerate(mix.states):
            read_at = start + timedelta(hours=step)
            for number in range(first, min(first + 100, orders)):
                raw = order_bytes(number, state, read_at, run)
                order_id, snapshot = snapshot_of(raw, read_at)
                event = snapshot_event(SHOP, order_id, raw, snapshot)
                value, headers = to_structured(event, base64=True)
                yield NewRecord(topic, event.extensions["partitionkey"].encode(), value, headers)


def bare(servers: list[str], topic: str, count: int) -> float:
    """The ceiling: poll, and parse each record's JSON."""
    consumer = KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, max_poll_records=BATCH)
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    seen, began = 0, 0.0
    while seen < count:
        for records in consumer.poll(timeout_ms=1000).values():
            began = began or time.perf_counter()
            for record in records:
                json.loads(record.value)
            seen += len(records)
    seconds = time.perf_counter() - began
    consumer.close()
    return count / seconds


def applied(servers: list[str], store: Store, topic: str, count: int) -> float:
    """One consumer as in production: decode, apply, outbox; one durable transaction a batch."""
    clock = SystemClock()
    log = KafkaLog(lambda: {"bootstrap_servers": servers})
    orders = Orders(store, {}, clock, outbox=Outbox("orderflow.transitions", "orderflow.dead-letters"))
    names = frozenset({SHOP})
    consumer = Consumer(
        log.reader(uuid4().hex, [topic]), orders, {topic: lambda value, headers: decode_snapshot(value, headers, names)}
    )
    seen, began = 0, 0.0
    while seen < count:
        turned = consumer.turn(1.0)
        if turned and not began:
            began, count = time.perf_counter(), count - turned  # the first batch waited for the group
            continue
        seen += turned
    seconds = time.perf_counter() - began
    consumer.close()
    log.close()
    return count / seconds


def measure(mix: Mix, count: int, rounds: int, kafka: Kafka, postgres: Postgres, tell: Callable[[str], None]) -> Figure:
    run = uuid4().hex[:6]
    topic = f"bench.{mix.name}.{run}"
    kafka.create_topics({topic: PARTITIONS})
    writer = KafkaLog(lambda: {"bootstrap_servers": kafka.bootstrap_servers})
    batch: list[NewRecord] = []
    published = size = 0
    for record in events(mix, count, topic, run):
        batch.append(record)
        size += len(record.value)
        if len(batch) == 1000:
            writer.publish(batch)
            published, batch = published + len(batch), []
            tell(f"{mix.name}: {published} published")
    writer.publish(batch)
    published += len(batch)
    writer.close()
    figure = Figure(mix.name, size // published, [], [])
    for number in range(rounds):
        tell(f"{mix.name}: round {number + 1} of {rounds}")
        store = Store(postgres.create_database(f"bench_{run}_{number}"))
        stores.migrate(store)
        with store.transaction() as tx:
            tx.bind_shop(SHOP, "https://alpha.example", ALPHA.shop_id, True, datetime.now(UTC))
        figure.bare.append(bare(kafka.bootstrap_servers, topic, published))
        figure.applied.append(applied(kafka.bootstrap_servers, store, topic, published))
        store.close()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="tests.bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory())
    console = Console(stderr=options.json)
    with tempfile.TemporaryDirectory(prefix="orderflow-bench-") as folder, console.status("starting engines") as status:
        kafka = Kafka.start(Path(folder) / "kafka", heap_megabytes=1024)
        postgres = Postgres.start(Path(folder) / "postgres")
        try:
            figures = [measure(mix, options.events, options.rounds, kafka, postgres, status.update) for mix in MIXES]
        finally:
            postgres.stop()
            kafka.stop()
    if options.json:
        json.dump([asdict(figure) | {"ratio": figure.ratio} for figure in figures], sys.stdout, indent=2)
        return
    table = Table("mix", "bytes", "bare loop /s", "applied /s", "ratio", title="Events a second, one consumer, durable")
    for mix, figure in zip(MIXES, figures, strict=True):
        table.add_row(
            mix.meaning, str(figure.bytes), _range(figure.bare), _range(figure.applied), f"{figure.ratio:.3f}"
        )
    Console().print(table)


def _range(values: list[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


if __name__ == "__main__":
    main()
