"""From an event in Kafka to the request on the wire, and the memory of each role (P5, P6).

    make bench ARGS="--only P5,P6"      make bench ARGS="--only P6 --seconds 3600 --per-second 20"

Kafka, PostgreSQL, a remote that answers after 100 ms, and one process for each role run apart, for 50 shops. Snapshots
of orders that wait for acceptance are published at 100 a second, or as many as --per-second says. P5 is the time from
just before an event is published until the remote has read the head of its OR21. Its floor is the same of a process
that reads the same records, sends one request for each, and stores nothing (bare_wire.py); it runs before the roles
start. P6 is the resident memory of each process at the end, beside what it had after half of the load: a role that
grows has more at the end. Its lines of CPU say what one process of a role can take.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles

import psutil

from adapters.engines.kafka import Kafka
from adapters.engines.postgres import Postgres
from adapters.log.kafka import KafkaLog
from adapters.messages.cloudevents import record_of
from adapters.messages.snapshots import snapshot_event, snapshot_of
from adapters.ports import NewRecord
from adapters.store.transaction import Store
from consumer.demo.fleet import Fleet
from tests.bench import bare_wire
from tests.bench.effects import MILLISECONDS, slow_remote
from tests.bench.lines import Line
from tests.bench.made import order_bytes

SHOPS = 50
PER_SECOND = 100
ROLES = ("web", "poller", "consumer", "worker")
TOPICS = {"mirakl.order-snapshots": 4, "oms.order-events": 4, "orderflow.transitions": 4, "orderflow.dead-letters": 1}
#: How long the processes may take to start, and the last requests to come.
PATIENCE_SECONDS = 60.0
#: The floor has a topic of its own, orders of its own, and this many seconds of load.
FLOOR_TOPIC = "bench.floor"
FLOOR_FIRST = 90_000_000
FLOOR_SECONDS = 10
_SETTINGS = """
[store]
url = "{database}"
[log]
kind = "kafka"
[kafka]
bootstrap_servers = {servers}
[worker]
threads = 64
[oms]
base_url = "{remote}"
"""
_SHOP = """
[shops.s{number}]
base_url = "{remote}"
shop_id = {number}
api_key_file = "key"
effects = "on"
[shops.s{number}.oms]
company_ref_id = {number}
api_key_file = "key"
"""


class Requests:
    """When the remote read each request, by the path of the request. A thread reads what the remote prints."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.at: dict[str, float] = {}
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            seconds, path = line.split()
            self.at.setdefault(path.split("?")[0], float(seconds))

    def came(self, paths: Sequence[str]) -> bool:
        """Wait until all of these requests came. False after PATIENCE_SECONDS."""
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < ends_at:
            if self.at.keys() >= set(paths):
                return True
            time.sleep(0.1)
        return False


def _record(number: int, topic: str = "mirakl.order-snapshots") -> tuple[NewRecord, str]:
    """A new order that waits for acceptance, and the path of the call that accepts it."""
    read_at = datetime.now(UTC)
    made = read_at - timedelta(minutes=1)
    raw = order_bytes(number, "WAITING_ACCEPTANCE", made, made)
    order_id, snapshot = snapshot_of(raw, read_at)
    event = snapshot_event(f"s{1 + number % SHOPS}", order_id, raw, snapshot.digest, read_at)
    return record_of(topic, event), f"/api/orders/{order_id}/accept"


def _settings(folder: Path, database: str, servers: list[str], remote: str) -> Path:
    (folder / "key").touch(0o600)
    (folder / "key").write_text("key")
    text = _SETTINGS.format(database=database, servers=servers, remote=remote)
    shops = (_SHOP.format(number=number, remote=remote) for number in range(1, SHOPS + 1))
    (folder / "orderflow.toml").write_text(text + "".join(shops))
    return folder / "orderflow.toml"


def measure(folder: Path, seconds: int, per_second: int, tell: Callable[[str], None]) -> list[Line]:
    """Run the load for so many seconds. Raises AssertionError if a request is missing at the end."""
    with ExitStack() as stack:
        tell("P5, P6: starting Kafka, PostgreSQL and one process for each role")
        kafka = Kafka.start(folder / "kafka_wire")
        stack.callback(kafka.stop)
        kafka.create_topics(TOPICS | {FLOOR_TOPIC: bare_wire.PARTITIONS})
        postgres = Postgres.start(folder / "postgres_wire")
        stack.callback(postgres.stop)
        remote, process = stack.enter_context(slow_remote(MILLISECONDS, "--tell"))
        requests = Requests(process)
        path = _settings(folder, postgres.url, kafka.bootstrap_servers, remote)
        store = Store(postgres.url)
        store.migrate()
        store.close()
        log = KafkaLog(lambda: {"bootstrap_servers": kafka.bootstrap_servers})
        stack.callback(log.close)
        tell("P5: the floor")
        floor = _floor(log, kafka.bootstrap_servers[0], remote, requests)
        fleet = Fleet(path, folder)
        stack.callback(fleet.stop)
        fleet.start(dict.fromkeys(ROLES, 1))
        for number in range(SHOPS):  # the first orders of each shop wait for the start, and for the catalogues
            log.publish([_record(number)[0]])
        assert requests.came([_record(number)[1] for number in range(SHOPS)]), fleet.logs()[-2000:]
        published: dict[str, float] = {}
        halves: list[dict[str, float]] = []
        began, cpu = time.monotonic(), _cpu_seconds(fleet)
        for half in range(2):
            tell(f"P5, P6: {seconds} s of load, half {half + 1}")
            _load(log, SHOPS + half * (seconds // 2) * per_second, seconds // 2, per_second, published)
            halves.append({name: _megabytes(member.process.pid) for name, member in fleet.members.items()})
        took, used = time.monotonic() - began, _cpu_seconds(fleet)
        missing = [] if requests.came(list(published)) else sorted(published.keys() - requests.at.keys())
        assert not missing, f"{missing[:5]} are missing: {fleet.logs()[-2000:]}"
    p50, p99 = _waited(requests, published)
    what = f"event to request at {per_second}/s, processes apart, {len(published):,} calls"
    peer = "one process that stores nothing"
    found = [
        Line("P5", f"{what}: p50", "ms", [p50], peer, [floor[0]]),
        Line("P5", f"{what}: p99", "ms", [p99], peer, [floor[1]], "ours < 250"),
    ]
    for name, first in halves[0].items():
        role = fleet.members[name].role
        what = f"memory of {role}, {SHOPS} shops, after {seconds} s of load"
        found.append(Line("P6", what, "MB", [halves[1][name]], "after half of it", [first], "ours < 150"))
        cores = (used[name] - cpu[name]) / took
        found.append(Line("P6", f"CPU of {role}, {SHOPS} shops, {per_second} events a second", "cores", [cores]))
    return found


def _floor(log: KafkaLog, server: str, remote: str, requests: Requests) -> tuple[float, float]:
    """The median and the 99th of 100 parts of the time from an event to its request, without the service, in ms."""
    command = [sys.executable, "-m", "tests.bench.bare_wire", server, FLOOR_TOPIC, remote]
    published: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline()
            _load(log, FLOOR_FIRST, FLOOR_SECONDS, PER_SECOND, published, FLOOR_TOPIC)
            assert requests.came(list(published)), "the floor made too few requests"
        finally:
            process.terminate()
    return _waited(requests, published)


def _waited(requests: Requests, published: Mapping[str, float]) -> tuple[float, float]:
    """The median and the 99th of 100 parts of the time from the publication to the request, in ms."""
    of_100 = quantiles([(requests.at[one] - at) * 1000 for one, at in published.items()], n=100)
    return of_100[49], of_100[98]


def _load(
    log: KafkaLog,
    first: int,
    seconds: int,
    per_second: int,
    published: dict[str, float],
    topic: str = "mirakl.order-snapshots",
) -> None:
    """Publish orders at an even pace, and note when each was published."""
    began = time.monotonic()
    for number in range(seconds * per_second):
        time.sleep(max(0.0, began + number / per_second - time.monotonic()))
        record, path = _record(first + number, topic)
        published[path] = time.time()
        log.publish([record])


def _cpu_seconds(fleet: Fleet) -> dict[str, float]:
    """The CPU time of each process until now."""
    times = {name: psutil.Process(member.process.pid).cpu_times() for name, member in fleet.members.items()}
    return {name: one.user + one.system for name, one in times.items()}


def _megabytes(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 1e6
