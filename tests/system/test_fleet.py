"""The whole service on real engines, every role in processes of its own: killed, stopped, and audited."""

import io
import json
import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import psycopg
import pytest
from kafka import KafkaAdminClient, KafkaConsumer
from rich.console import Console
from sqlalchemy import make_url

from adapters.engines.kafka import Kafka
from adapters.engines.processes import free_port
from adapters.simulators.orders import MARKETPLACES
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import orders as order_rows
from adapters.store import outbox as outbox_rows
from adapters.store.engine import without_password
from adapters.store.transaction import Store
from consumer import config
from consumer.config import Settings, TopicsTable
from consumer.demo.fleet import Fleet
from consumer.demo.full import full_demo
from consumer.demo.report import Outcome
from consumer.demo.settings import OMS_KEY, Engines, write_settings
from tests.engines import PASSWORD
from tests.support import http, wait
from tests.system.running import is_ready, orderflow, start, until_not_ready, value

pytestmark = pytest.mark.minutes

KILLED = ("consumer-0", "worker-0", "poller-0")
EARLY = ("new", "waiting_acceptance", "accepted")
STOPPED = ("consumer-1", "worker-1", "poller-1", "web-0")


class Run:
    """One full demo. In the middle of it some processes were killed, and others were asked to stop."""

    def __init__(self, folder: Path, servers: list[str], database_url: str) -> None:
        self.folder = folder
        self.out = io.StringIO()
        self.statuses: dict[str, int] = {}
        self.scrapes: dict[str, str] = {}
        self.store = Store(database_url)
        # So many orders have to be beyond the first states before each kill or stop, so that every role has work.
        self._todo = [(15, (*KILLED, *STOPPED), self._kill), (50, STOPPED, self._stop)]
        self.outcome: Outcome = full_demo(
            orders=100,
            folder=folder,
            console=Console(file=self.out, width=120),
            kafka_at=servers,
            postgres_at=database_url,
            on_look=self._on_look,
        )
        self.settings: Settings = config.load(folder / "orderflow.toml")
        self.logs = "".join(path.read_text(errors="replace") for path in folder.glob("*.log"))

    def _on_look(self, _seconds: float, fleet: Fleet) -> None:
        under_way = [state for state in order_rows.states(self.store).values() if state not in EARLY]
        if not self._todo or len(under_way) < self._todo[0][0]:
            return
        _, names, act = self._todo[0]
        if all(is_ready(fleet.members[name].port) for name in names) and act(fleet):
            del self._todo[0]

    def _kill(self, fleet: Fleet) -> bool:
        """Return False, and kill nobody, until each of the two pollers has one of the two shops.

        The poller that starts first has both shops for a few seconds.
        """
        self.scrapes = {
            name: http().get(f"http://127.0.0.1:{one.port}/metrics").text for name, one in fleet.members.items()
        }
        if self.leaders() != [1.0, 1.0]:
            return False
        for name in KILLED:
            fleet.kill(name)
        return True

    def leaders(self) -> list[float]:
        """How many shops each of the two pollers had when the metrics were scraped."""
        return [value(self.scrapes[f"poller-{number}"], 'orderflow_leader{role="poller"') for number in (0, 1)]

    def _stop(self, fleet: Fleet) -> bool:
        self.statuses = fleet.stop(*STOPPED)
        return True


@pytest.fixture(scope="module")
def run(kafka_servers: list[str], postgres_module_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    run = Run(tmp_path_factory.mktemp("fleet"), kafka_servers, postgres_module_url)
    yield run
    run.store.close()


def test_the_audit_passes_although_processes_were_killed(run: Run) -> None:
    assert run.outcome.findings == (), run.out.getvalue()
    assert run.outcome.settled
    for name in KILLED:
        assert f"{name} had died and was started again" in run.out.getvalue()


def test_a_process_that_is_stopped_under_load_ends_well_and_in_time(run: Run) -> None:
    """One that takes longer than 20 s ends itself, with the exit status 1 (service.END_SECONDS)."""
    assert run.statuses == dict.fromkeys(STOPPED, 0)


def test_a_process_that_stops_leaves_the_group_and_gives_its_leases_back(run: Run) -> None:
    """After the demo the group has no member, and no process holds a lease."""
    admin = KafkaAdminClient(bootstrap_servers=run.settings.kafka.bootstrap_servers)
    (group,) = admin.describe_groups([run.settings.kafka.group_id]).values()
    admin.close()
    assert not group["members"]
    with run.store.reading() as connection:
        now = "SELECT name FROM leases WHERE holder <> '' AND until > now()"
        held = connection.exec_driver_sql(now).scalars().all()
    assert held == []


def test_every_change_of_state_was_published_in_order(run: Run) -> None:
    """Each change is published at least once. The first copies of an order's events are in the order of their ids."""
    published: dict[str, list[int]] = {}
    for record in records(run.settings, run.settings.topics.transitions):
        event = json.loads(record)
        published.setdefault(event["correlationid"], []).append(int(event["id"]))
    with run.store.reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT o.shop || ':' || o.order_id, j.id FROM journal j JOIN orders o ON o.id = j.order_key"
            " WHERE j.before <> j.after ORDER BY j.id"
        ).all()
    moved: dict[str, list[int]] = {}
    for order, journal_id in rows:
        moved.setdefault(order, []).append(journal_id)
    assert {order: list(dict.fromkeys(ids)) for order, ids in published.items()} == moved
    assert len(moved) == 100


def test_the_outbox_is_empty_at_the_end_and_only_unreadable_orders_are_dead_lettered(run: Run) -> None:
    """For a few seconds the story `too_deep` shows an order as JSON that no parser reads. A poll may get this JSON."""
    assert outbox_rows.oldest(run.store, 10) == []
    readable = [one for one in dead_letter_rows.newest(run.store) if b'"measurement":[[[[' not in (one.value or b"")]
    assert readable == []


def test_the_fold_of_the_journal_is_what_is_stored(run: Run) -> None:
    done = orderflow("orders", "verify", "--all", "--config", str(run.folder / "orderflow.toml"))
    assert done.stdout.strip().splitlines()[-1] == "100 verified, 0 differ"
    assert done.returncode == 0


def test_offsets_fit_when_all_is_over(run: Run) -> None:
    done = orderflow("offsets", "list", "--json", "--config", str(run.folder / "orderflow.toml"))
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert len(found) == 6 + 4
    assert {one["lag"] for one in found} == {0}
    assert all(one["committed"] == one["position"] for one in found if one["position"])


def test_the_metrics_of_each_process_show_its_own_work(run: Run) -> None:
    assert (
        value(run.scrapes["consumer-0"], "orderflow_consumer_assigned_partitions ")
        + value(run.scrapes["consumer-1"], "orderflow_consumer_assigned_partitions ")
        == 6 + 4
    )
    assert run.leaders() == [1.0, 1.0], "two shops, two pollers, one each"
    assert sum(value(run.scrapes[f"worker-{n}"], 'orderflow_leader{role="relay"') for n in (0, 1)) == 1.0
    assert all(value(run.scrapes[name], "orderflow_progress_stopped") == 0 for name in ("consumer-0", "consumer-1"))


def test_nothing_personal_or_secret_is_logged_or_shown(run: Run) -> None:
    shown = run.logs + run.out.getvalue() + "".join(run.scrapes.values())
    assert "canary" not in shown.lower()
    for secret in (OMS_KEY, *(one.api_key for one in MARKETPLACES.values())):
        assert secret not in shown


def test_a_process_that_ends_badly_by_itself_fails_the_audit(
    kafka_servers: list[str], postgres_url: str, tmp_path: Path
) -> None:
    """All orders reach their end without web-0. The audit reports it, but not worker-0, which the fleet killed."""
    todo = ["worker-0", "web-0"]

    def on_look(_seconds: float, fleet: Fleet) -> None:
        if todo and all(is_ready(fleet.members[name].port) for name in todo):
            fleet.kill("worker-0")
            os.kill(fleet.members["web-0"].process.pid, signal.SIGKILL)  # without the fleet's knowledge, as in a crash
            fleet.members["web-0"].process.wait()
            todo.clear()

    out = io.StringIO()
    outcome = full_demo(
        orders=4,
        speed=2.0,
        folder=tmp_path,
        console=Console(file=out, width=120),
        kafka_at=kafka_servers,
        postgres_at=postgres_url,
        on_look=on_look,
    )
    last_lines = [log.read_text()[-500:] for log in tmp_path.glob("w*.log")]
    assert outcome.settled
    assert outcome.findings == ("web-0 (web) ended with exit status -9",), last_lines
    assert not outcome.passed
    assert "web-0 (web) ended with exit status -9" in out.getvalue()
    assert "Audit failed, 1 findings" in out.getvalue()


def test_a_process_is_judged_by_its_exit_status_when_it_is_stopped_too(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path / "none.toml", tmp_path)  # without a configuration it ends with 2
    fleet.start({"poller": 2})
    fleet.kill("poller-1")
    fleet.members["poller-0"].process.wait(30)
    assert fleet.stop() == {"poller-0": 2, "poller-1": -signal.SIGKILL}
    assert fleet.bad_ends == ["poller-0 (poller) ended with exit status 2"]


def test_a_password_in_the_database_s_address_goes_into_one_file_and_nowhere_else(
    kafka_servers: list[str], postgres_url_with_password: str, tmp_path: Path
) -> None:
    bare = make_url(postgres_url_with_password)._replace(password=None).set(drivername="postgresql")
    wait_until_refused(bare.render_as_string())
    at = ["--kafka-at", ",".join(kafka_servers), "--postgres-at", postgres_url_with_password]
    done = orderflow("demo", "--orders", "4", "--speed", "2", "--folder", str(tmp_path), *at)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Audit passed" in done.stdout
    kept = tmp_path / "secrets" / "database.password"
    assert kept.read_text() == f"{PASSWORD}\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    shown = orderflow("config", "show", "--config", str(tmp_path / "orderflow.toml"))
    told = [done.stdout, done.stderr, shown.stdout, shown.stderr]
    told += [path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file() and path != kept]
    assert len(told) > 10
    for written in (PASSWORD, quote(PASSWORD), quote_plus(PASSWORD), quote(PASSWORD, safe="")):
        assert not any(written in text for text in told)


def wait_until_refused(url: str) -> None:
    """The server reads its rules again a moment after it was asked to do so."""
    ends_at = time.monotonic() + 10
    while time.monotonic() < ends_at:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            return
    raise AssertionError("the server asks for no password")


def test_a_second_signal_ends_a_process_at_once(tmp_path: Path) -> None:
    """Its poll hangs, so after the first signal it would wait for as long as a stop may take."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections, and sends nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        port = free_port()
        path = write_settings(tmp_path, {"alpha": url}, url, port)
        path.write_text(
            path.read_text()
            .replace("timeout_seconds = 5", "timeout_seconds = 25")
            .replace("lease_seconds = 15", "lease_seconds = 90")
        )
        process = start("run", "--config", str(path))
        try:
            silent.settimeout(30)
            connection, _ = silent.accept()  # the first poll
            process.send_signal(signal.SIGTERM)
            assert until_not_ready(port) == "stopping"
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 128 + signal.SIGTERM  # the poll hangs longer than that
            connection.close()
        finally:
            process.kill()
            process.wait()


def test_a_stop_is_in_time_though_no_broker_answers(kafka_alone: Kafka, postgres_url: str, tmp_path: Path) -> None:
    """It is asked to stop while requests wait for their answers. After 20 s the exit status would be 1."""
    kafka_alone.create_topics(dict.fromkeys(TopicsTable().model_dump().values(), 2))
    nowhere = f"http://127.0.0.1:{free_port()}"
    url, password = without_password(postgres_url)
    engines = Engines(kafka_alone.bootstrap_servers, url, database_password=password)
    path = write_settings(tmp_path, {"alpha": nowhere}, nowhere, free_port(), engines=engines)
    assert orderflow("migrate", "--config", str(path)).returncode == 0
    fleet = Fleet(path, tmp_path)
    fleet.start({"consumer": 1, "worker": 1, "poller": 1})
    try:
        wait(lambda: all(is_ready(one.port) for one in fleet.members.values()), "all are ready", 60)
        kafka_alone.freeze()
        wait(lambda: "loop_failed" in fleet.members["consumer-0"].log.read_text(), "the consumer notices", 60)
        assert set(fleet.stop().values()) == {0}
    finally:
        kafka_alone.thaw()
        for name in fleet.members:
            fleet.kill(name)


def records(settings: Settings, topic: str) -> Iterator[bytes]:
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=settings.kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=3000,
    )
    for record in consumer:
        yield record.value
    consumer.close()
