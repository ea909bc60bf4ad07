"""The demo on Kafka and PostgreSQL, every role in processes of its own."""

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from rich.console import Console

from adapters.engines.kafka import Kafka, create_topics
from adapters.engines.postgres import Postgres
from adapters.engines.processes import free_port
from adapters.errors import ConfigError
from adapters.simulators.publisher import OmsPublisher
from adapters.simulators.serve import SimulatedWorld
from adapters.simulators.stories import STORIES
from adapters.simulators.story import Story
from adapters.store import order_lists
from adapters.store.engine import without_password
from consumer import config
from consumer.config import TopicsTable
from consumer.demo.desk import desk_of
from consumer.demo.fleet import Fleet
from consumer.demo.report import STALLED_SECONDS, Outcome, folder_of, keep_or_drop, watch_and_audit
from consumer.demo.settings import OMS_KEY, PARTITIONS, Engines, write_settings
from consumer.stores import open_store

#: How often `--chaos` kills a process.
CHAOS_EVERY_SECONDS: Final = 6.0


def full_demo(
    *,
    orders: int = 200,
    speed: float = 1.0,
    seed: int = 1,
    folder: Path | None = None,
    console: Console | None = None,
    kafka_at: Sequence[str] = (),
    postgres_at: str = "",
    chaos: bool = False,
    stories: Mapping[str, Story] = STORIES,
    stalled_seconds: float = 2 * STALLED_SECONDS,
    on_started: Callable[[SimulatedWorld, Fleet], None] = lambda _world, _fleet: None,
    on_look: Callable[[float, Fleet], None] = lambda _seconds, _fleet: None,
) -> Outcome:
    """Run the demo to its end. The simulated OMS publishes to Kafka itself, so no callback is needed.

    Kafka and PostgreSQL are started here unless their addresses are given. A password in `postgres_at` is written to a
    file that only this user can read. `chaos` kills a poller, a consumer or a worker every few seconds. `on_started` is
    called once every process was started, and `on_look` several times a second, with the seconds since the start: tests
    use both to disturb processes and remotes.
    Raises EngineMissing if a program is missing, and ConfigError for an address that cannot be used or for a database
    that holds orders already.
    """
    console = console or Console()
    with ExitStack() as stack:
        kept = folder is not None
        folder = stack.enter_context(folder_of(folder))  # first, so that it ends when everything has stopped
        engines = _started_engines(stack, folder, console, kafka_at, postgres_at)
        publisher = OmsPublisher(engines.bootstrap_servers, f"{engines.prefix}oms.order-events")
        stack.callback(publisher.close)
        world = SimulatedWorld.start(
            orders,
            seed=seed,
            speed=speed,
            oms_api_key=OMS_KEY,
            retry_interval_seconds=2.0 / speed,
            send=publisher,
            stories=stories,
        )
        stack.callback(world.stop)
        path = write_settings(folder, world.mirakl_urls, world.oms_url, free_port(), speed=speed, engines=engines)
        store = open_store(config.load(path))
        stack.callback(store.close)
        store.migrate()
        if order_lists.latest(store, limit=1):
            raise ConfigError("the database of --postgres-at holds orders already; give the demo an empty one")
        fleet = Fleet(path, folder)
        stack.callback(fleet.stop)
        fleet.start()
        console.print(f"{orders} orders on two simulated marketplaces, speed {speed:g}, seed {seed}. Processes:")
        for member in fleet.members.values():
            console.print(f"  {member.name}: http://127.0.0.1:{member.port}/metrics   {member.log}", soft_wrap=True)
        on_started(world, fleet)
        supervisor = _Supervisor(fleet, console, on_look, random.Random(seed) if chaos else None)
        desk = desk_of(config.load(path), store)
        world.world.use(desk)
        stack.callback(world.stop)  # runs before the store is closed, because the stories read the store
        outcome = watch_and_audit(
            world, store, desk, console, stalled_seconds, on_look=supervisor.look_after, stop=supervisor.stop
        )
    keep_or_drop(folder, kept, outcome, console)
    return outcome


@dataclass(slots=True)
class _Supervisor:
    """Restarts processes that died. If there is `chaos`, it also kills some."""

    fleet: Fleet
    console: Console
    on_look: Callable[[float, Fleet], None]
    chaos: random.Random | None
    killed_at: float = 0.0

    def look_after(self, seconds: float) -> None:
        self.on_look(seconds, self.fleet)
        if self.chaos is not None and seconds - self.killed_at >= CHAOS_EVERY_SECONDS:
            self.killed_at = seconds
            self.fleet.kill(self.chaos.choice([one.name for one in self.fleet.members.values() if one.role != "web"]))
        for name in self.fleet.restart_dead():
            self.console.print(f"  {name} had died and was started again")

    def stop(self) -> list[str]:
        """Stop the processes. Returns a sentence for each process that ended with a wrong exit status."""
        self.fleet.stop()
        return self.fleet.bad_ends


def _started_engines(
    stack: ExitStack, folder: Path, console: Console, kafka_at: Sequence[str], postgres_at: str
) -> Engines:
    """Kafka, with the demo's topics, and PostgreSQL. An engine without an address is started in `folder`."""
    with console.status("starting Kafka and PostgreSQL; the first time, Kafka is fetched"):
        if postgres_at:
            url, password = _address(postgres_at)
        else:
            postgres = Postgres.start(folder / "postgres")
            stack.callback(postgres.stop)
            url, password = postgres.url, ""
        if kafka_at:
            servers, prefix = list(kafka_at), f"demo-{uuid4().hex[:8]}."
        else:
            kafka = Kafka.start(folder / "kafka")
            stack.callback(kafka.stop)
            servers, prefix = kafka.bootstrap_servers, ""
    topics = TopicsTable().model_dump()
    create_topics(servers, {prefix + topics[name]: count for name, count in PARTITIONS.items()})
    return Engines(servers, url, prefix, password)


def _address(postgres_at: str) -> tuple[str, str]:
    """The URL without its password, and the password. Raises ConfigError."""
    try:
        return without_password(postgres_at)
    except ValueError as error:
        raise ConfigError(f"--postgres-at: {error}") from error
