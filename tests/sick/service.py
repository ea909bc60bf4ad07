"""The whole service: engines, simulated remotes behind proxies, and seven processes. All that a sickness can touch."""

import json
import os
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg
import trustme
from kafka import KafkaAdminClient
from sqlalchemy import make_url

from adapters.engines.kafka import Kafka
from adapters.engines.postgres import Postgres
from adapters.engines.processes import free_port
from adapters.simulators.orders import COMPANIES
from adapters.simulators.publisher import OmsPublisher, company_url
from adapters.simulators.serve import SimulatedWorld
from adapters.store.transaction import Store
from consumer import config
from consumer.config import TopicsTable
from consumer.demo.fleet import Fleet, Member
from consumer.demo.settings import CALLBACK_SECRET, OMS_KEY, PARTITIONS, Engines, write_settings
from tests.sick.proxy import Proxy
from tests.sick.watch import ask
from tests.system.running import MAIN, PROGRAM, PYTHON

SHOPS = ("alpha", "beta")
#: The OMS sends a report five times. All five have to outlast the longest sickness.
RETRY_SECONDS = 15.0
STOP_SECONDS = 25.0
START_SECONDS = 90.0
#: The name of the harness's own sessions at PostgreSQL.
OURS = "sick"
REPOSITORY = Path(__file__).resolve().parents[2]


class Certificate:
    """The certificate of a server on this machine, and an authority for it."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(str(folder / "authority.pem"))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.show()

    def show(self, days: int = 30) -> None:
        """Show a certificate that ends in so many days, to those who connect from now on."""
        until = datetime.now(UTC) + timedelta(days=days)
        made = self._authority.issue_cert("localhost", not_before=until - timedelta(days=60), not_after=until)
        made.configure_cert(self.tls)


@dataclass
class Service:
    """`alpha` is told of dispatches through Kafka, `beta` by callbacks to the process web-0."""

    folder: Path
    kafka: Kafka
    postgres: Postgres
    simulated: SimulatedWorld
    proxies: Mapping[str, Proxy]  # alpha, beta, oms, database
    store: Store  # straight to the database
    settings_file: Path
    fleet: Fleet
    intake_port: int
    brokers: int
    certificate: Certificate  # of Mirakl of alpha
    guests: dict[str, Member] = field(default_factory=dict)  # processes that a sickness brings along
    held: ExitStack = field(default_factory=ExitStack)  # what a sickness holds, until it is healed
    _numbers: Iterator[int] = field(default_factory=count)
    _stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def start(cls, folder: Path, on_step: Callable[[str], None] = lambda _: None, *, brokers: int = 1) -> Self:
        """Start everything. Returns while the processes are still starting.

        With more than one broker, the last one alone has the topic of the transitions.
        """
        with ExitStack() as stack:
            on_step("Kafka and PostgreSQL")
            kafka = Kafka.start(folder / "kafka", brokers=brokers, heap_megabytes=512 if brokers == 1 else 384)
            stack.callback(kafka.stop)
            topics = TopicsTable().model_dump()
            if brokers > 1:
                _on_one_broker(kafka, topics["transitions"], PARTITIONS["transitions"], brokers)
            made = {topics[name]: count for name, count in PARTITIONS.items()}
            kafka.create_topics({name: made[name] for name in made if brokers == 1 or name != topics["transitions"]})
            postgres = Postgres.start(folder / "postgres")
            stack.callback(postgres.stop)
            on_step("the simulated remotes")
            publisher = OmsPublisher(kafka.bootstrap_servers, topics["oms_events"])
            stack.callback(publisher.close)
            intake_port = free_port()
            simulated = SimulatedWorld.start(
                0,
                callback_url=f"http://127.0.0.1:{intake_port}/oms/callbacks/{{shop}}",
                callback_secret=CALLBACK_SECRET,
                oms_api_key=OMS_KEY,
                retry_interval_seconds=RETRY_SECONDS,
                send=_Sender(publisher),
            )
            stack.callback(simulated.stop)
            url = make_url(postgres.url)
            assert url.host and url.port
            certificate = Certificate(folder)
            proxies = {
                shop: Proxy.to_url(at, certificate.tls if shop == "alpha" else None)
                for shop, at in simulated.mirakl_urls.items()
            }
            proxies |= {"oms": Proxy.to_url(simulated.oms_url), "database": Proxy(url.host, url.port)}
            for proxy in proxies.values():
                stack.callback(proxy.stop)
            database = url.set(port=proxies["database"].port).render_as_string()
            path = write_settings(
                folder,
                {shop: proxies[shop].url for shop in SHOPS},
                proxies["oms"].url,
                free_port(),
                engines=Engines(kafka.bootstrap_servers, database),
            )
            path.write_text(path.read_text() + f'[intake]\nport = {intake_port}\n[http]\nca_file = "authority.pem"\n')
            store = Store(url.update_query_dict({"application_name": OURS}).render_as_string())
            stack.callback(store.close)
            store.migrate()
            on_step("the processes")
            fleet = Fleet(path, folder)
            stack.callback(fleet.stop)
            fleet.start()
            service = cls(
                folder,
                kafka,
                postgres,
                simulated,
                proxies,
                store,
                path,
                fleet,
                intake_port,
                brokers,
                certificate,
                _stack=ExitStack(),
            )
            stack.callback(service.end_guests)
            stack.callback(service.held.close)
            service._stack = stack.pop_all()
            return service

    def stop(self) -> None:
        self._stack.close()

    # -- What a person has --------------------------------------------------------------------------------------

    def orderflow(self, *arguments: str, statuses: Collection[int] = (0,), code: Path | None = None) -> str:
        """Run a command of the command line, and return what it printed. Raises AssertionError for other statuses.

        `code`: a folder with another version of the code.
        """
        command = [*PROGRAM, *arguments, "--config", str(self.settings_file)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=120, cwd=code, env=_environment(code)
        )
        assert done.returncode in statuses, f"orderflow {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def orderflow_json(self, *arguments: str) -> Any:
        return json.loads(self.orderflow(*arguments, "--json"))

    # -- Processes that a sickness brings along -----------------------------------------------------------------

    def guest(
        self,
        role: str,
        *,
        first: str = "",
        stdout: int | None = None,
        code: Path | None = None,
    ) -> Member:
        """Start one more process of this role, and wait until it is ready.

        `first`: Python that runs before the program. `code`: a folder with another version of the code. `stdout`: a
        descriptor for its log; by default the log is a file.
        """
        name = f"guest-{next(self._numbers)}"
        port, log = free_port(), self.folder / f"{name}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [PYTHON, "-c", first + MAIN, "run", role, "--config", str(self.settings_file)],
                stdout=file if stdout is None else stdout,
                stderr=file,
                stdin=subprocess.DEVNULL,
                cwd=code,
                env=_environment(code) | {"ORDERFLOW_WEB__PORT": str(port)},
                start_new_session=True,
            )
        member = self.guests[name] = Member(name, role, port, log, process)
        ends_at = time.monotonic() + START_SECONDS
        while ask(name, port, "/ready")[0].status != 200:
            assert process.poll() is None, f"{name} ended: {log.read_text()[-1000:]}"
            assert time.monotonic() < ends_at, f"{name} is not ready: {log.read_text()[-1000:]}"
            time.sleep(0.2)
        return member

    def end_guests(self) -> dict[str, int]:
        """Ask every guest to stop. Returns their exit statuses."""
        for guest in self.guests.values():
            guest.process.terminate()
        statuses = {}
        for name, guest in self.guests.items():
            try:
                statuses[name] = guest.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                guest.process.kill()
                statuses[name] = guest.process.wait()
        self.guests.clear()
        return statuses

    def database(self) -> "psycopg.Connection[Any]":
        """A connection straight to the database, in which each statement is a transaction of its own."""
        plain = make_url(self.postgres.url).set(drivername="postgresql").render_as_string()
        return psycopg.connect(plain, autocommit=True, application_name=OURS)

    def settings(self) -> config.Settings:
        return config.load(self.settings_file)


def _environment(code: Path | None) -> dict[str, str]:
    return dict(os.environ) | ({"PYTHONPATH": f"{code}{os.pathsep}{REPOSITORY}"} if code else {})


def _on_one_broker(kafka: Kafka, topic: str, partitions: int, broker: int) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.create_topics({topic: {"assignments": {number: [broker] for number in range(partitions)}}})
    admin.wait_for_topics([topic])
    admin.close()


class _Sender:
    """How the simulated OMS sends its reports: those of alpha to Kafka, those of beta to the callback's address.

    The simulated OMS sends one report after the other. So a receiver that did not answer in time is not asked again for
    a while, and the reports of the other company do not wait for it.
    """

    def __init__(self, publisher: OmsPublisher) -> None:
        self._publisher = publisher
        self._client = httpx.Client(timeout=2, limits=httpx.Limits(max_keepalive_connections=0), trust_env=False)
        self._rests_until = 0.0

    def __call__(self, url: str, headers: dict[str, str], body: bytes) -> int:
        if url.endswith("/alpha"):
            return self._publisher(company_url(COMPANIES["alpha"]), headers, body)
        if time.monotonic() < self._rests_until:
            return 503
        try:
            return self._client.put(url, headers=headers, content=body).status_code
        except httpx.TimeoutException:
            self._rests_until = time.monotonic() + RETRY_SECONDS
            raise


def new_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="orderflow-sick-"))
