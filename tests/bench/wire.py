"""From an event in Kafka to the request on the wire, and the memory of each role (P5, P6).

    make bench ARGS="--only P5,P6"      make bench ARGS="--only P5,P6 --seconds 3600"

Kafka, PostgreSQL, a remote that answers after 100 ms, and one process for each role run apart, for 50 shops. Snapshots
of orders that wait for acceptance are published at 100 a second. P5 is the time from just before an event is published
until the remote has read the head of its OR21. P6 is the resident memory of each process at the end, and the most that
it had in the first half of the load: a role that grows has more at the end.
"""

import subprocess
import threading
import time
from collections.abc import Callable, Sequence
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
from tests.bench.effects import MILLISECONDS, slow_remote
from tests.bench.lines import Line
from tests.bench.made import order_bytes

SHOPS = 50
PER_SECOND = 100
ROLES = ("web", "poller", "consumer", "worker")
TOPICS = {"mirakl.order-snapshots": 4, "oms.order-events": 4, "orderflow.transitions": 4, "orderflow.dead-letters": 1}
#: How long the processes may take to start, and the last requests to come.
PATIENCE_SECONDS = 60.0
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


def _record(number: int) -> tuple[NewRecord, str]:
    """A new order that waits for acceptance, and the path of the call that accepts it."""
    read_at = datetime.now(UTC)
    made = read_at - timedelta(minutes=1)
    raw = order_bytes(number, "WAITING_ACCEPTANCE", made, made)
    order_id, snapshot = snapshot_of(raw, read_at)
    event = snapshot_event(f"s{1 + number % SHOPS}", order_id, raw, snapshot.digest, read_at)
    return record_of("mirakl.order-snapshots", event), f"/api/orders/{order_id}/accept"


def _settings(folder: Path, database: str, servers: list[str], remote: str) -> Path:
    (folder / "key").touch(0o600)
    (folder / "key").write_text("key")
    text = _SETTINGS.format(database=database, servers=servers, remote=remote)
    shops = (_SHOP.format(number=number, remote=remote) for number in range(1, SHOPS + 1))
    (folder / "orderflow.toml").write_text(text + "".join(shops))
    return folder / "orderflow.toml"


def measure(folder: Path, seconds: int, tell: Callable[[str], None]) -> list[Line]:
    """Run the load for so many seconds. Raises AssertionError if a request is missing at the end."""
    with ExitStack() as stack:
        tell("P5, P6: starting Kafka, PostgreSQL and one process for each role")
        kafka = Kafka.start(folder / "kafka_wire")
        stack.callback(kafka.stop)
        kafka.create_topics(TOPICS)
        postgres = Postgres.start(folder / "postgres_wire")
        stack.callback(postgres.stop)
        remote, process = stack.enter_context(slow_remote(MILLISECONDS, "--tell"))
        requests = Requests(process)
        path = _settings(folder, postgres.url, kafka.bootstrap_servers, remote)
        store = Store(postgres.url)
        store.migrate()
        store.close()
        fleet = Fleet(path, folder)
        stack.callback(fleet.stop)
        fleet.start(dict.fromkeys(ROLES, 1))
        log = KafkaLog(lambda: {"bootstrap_servers": kafka.bootstrap_servers})
        stack.callback(log.close)
        for number in range(SHOPS):  # the first orders of each shop wait for the start, and for the catalogues
            log.publish([_record(number)[0]])
        assert requests.came([_record(number)[1] for number in range(SHOPS)]), fleet.logs()[-2000:]
        published: dict[str, float] = {}
        halves: list[dict[str, float]] = []
        for half in range(2):
            tell(f"P5, P6: {seconds} s of load, half {half + 1}")
            _load(log, SHOPS + half * (seconds // 2) * PER_SECOND, seconds // 2, published)
            halves.append({name: _megabytes(member.process.pid) for name, member in fleet.members.items()})
        missing = [] if requests.came(list(published)) else sorted(published.keys() - requests.at.keys())
        assert not missing, f"{missing[:5]} are missing: {fleet.logs()[-2000:]}"
    waited = [(requests.at[one] - at) * 1000 for one, at in published.items()]
    of_100 = quantiles(waited, n=100)
    what = f"event to request at {PER_SECOND}/s, processes apart, {len(waited):,} calls"
    found = [
        Line("P5", f"{what}: p50", "ms", [of_100[49]]),
        Line("P5", f"{what}: p99", "ms", [of_100[98]], to_reach="ours < 250"),
    ]
    for name, first in halves[0].items():
        role = fleet.members[name].role
        what = f"memory of {role}, {SHOPS} shops, after {seconds} s of load"
        found.append(Line("P6", what, "MB", [halves[1][name]], "after half of it", [first], "ours < 150"))
    return found


def _load(log: KafkaLog, first: int, seconds: int, published: dict[str, float]) -> None:
    """Publish orders at an even pace, and note when each was published."""
    began = time.monotonic()
    for number in range(seconds * PER_SECOND):
        time.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
        record, path = _record(first + number)
        published[path] = time.time()
        log.publish([record])


def _megabytes(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 1e6
