"""The product, running: both simulators, the service as a small seller would run it, and an audit of the books.

Everything is real but the remotes: HTTP on loopback, the file of settings, SQLite, the embedded log, the endpoint.
"""

import io
import json
import random
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

import structlog
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from adapters.engines.kafka import Kafka, create_topics
from adapters.engines.postgres import Postgres
from adapters.engines.processes import free_port
from adapters.errors import ConfigError
from adapters.simulators.audit import Told, audit
from adapters.simulators.orders import COMPANIES, KNOWN_SKUS, MARKETPLACES
from adapters.simulators.publisher import OmsPublisher
from adapters.simulators.serve import SimulatedWorld
from adapters.simulators.stories import Life
from adapters.store import transaction as stores
from adapters.store import views
from adapters.store.engine import without_password
from adapters.store.transaction import Store
from consumer import config
from consumer.bootstrap import Service, logging_through
from consumer.config import TopicsTable
from consumer.demo.fleet import Fleet
from consumer.retry import ALREADY_DONE, DONE, UNKNOWN
from consumer.wiring import open_store
from statemachine.states import STATES

OMS_KEY: Final = "simulated-oms-key"
CALLBACK_SECRET: Final = "simulated-callback-secret"  # noqa: S105 of a simulator
#: The demo has failed when nothing at all has moved for so long.
STALLED_SECONDS: Final = 30.0
LOOK_EVERY_SECONDS: Final = 0.25
TELL_EVERY_SECONDS: Final = 5.0
CHAOS_EVERY_SECONDS: Final = 6.0

_FILE: Final = """\
[web]
port = {port}
[worker]
grace_seconds = {grace}
retry_first_seconds = {retry}
retry_longest_seconds = 5
lease_seconds = 15
[oms]
base_url = "{oms_url}"
timeout_seconds = 5
"""
_EMBEDDED: Final = """
[store]
url = "sqlite:///orderflow.db"
"""
#: Who dies is missed soon: a demo has no patience.
_ENGINES: Final = """
[store]
url = {database_url}
{password}[log]
kind = "kafka"
[leases]
seconds = 8
[kafka]
bootstrap_servers = {bootstrap_servers}
group_id = "{prefix}orderflow"
session_timeout_ms = 6000
heartbeat_interval_ms = 1500
[topics]
snapshots = "{prefix}mirakl.order-snapshots"
oms_events = "{prefix}oms.order-events"
transitions = "{prefix}orderflow.transitions"
dead_letters = "{prefix}orderflow.dead-letters"
"""
DATABASE_PASSWORD_FILE: Final = "secrets/database.password"  # noqa: S105 a name
#: Of different counts, on purpose: nothing may rely on two topics being dealt alike.
PARTITIONS: Final = {"snapshots": 6, "oms_events": 4, "transitions": 3, "dead_letters": 1}
_SHOP: Final = """
[shops.{name}]
base_url = "{url}"
shop_id = {shop_id}
api_key_file = "secrets/{name}.key"
effects = "on"
poll_interval_seconds = {interval}
poll_overlap_seconds = {overlap}
timeout_seconds = 5
acceptance = "{acceptance}"
known_skus_file = "{name}.skus"
[shops.{name}.oms]
company_ref_id = {company}
api_key_file = "secrets/oms.key"
callback_secret_file = "secrets/callback.key"
"""


@dataclass(frozen=True, slots=True)
class Engines:
    """A Kafka and a PostgreSQL that run."""

    bootstrap_servers: list[str]
    database_url: str
    prefix: str = ""  # of topics and group, where the Kafka is not ours alone
    database_password: str = field(default="", repr=False)

    def as_toml(self) -> str:
        return _ENGINES.format(
            database_url=json.dumps(self.database_url),
            password=f'password_file = "{DATABASE_PASSWORD_FILE}"\n' if self.database_password else "",
            bootstrap_servers=json.dumps(self.bootstrap_servers),
            prefix=self.prefix,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a demo ended."""

    findings: tuple[str, ...]
    settled: bool
    seconds: float

    @property
    def passed(self) -> bool:
        return self.settled and not self.findings


def write_settings(
    folder: Path,
    world_urls: Mapping[str, str],
    oms_url: str,
    port: int,
    *,
    speed: float = 1.0,
    engines: Engines | None = None,
) -> Path:
    """orderflow.toml and its secrets for a service against these simulators.

    Raises ConfigError where the folder holds a configuration already: it may be a real one, with real keys.
    """
    path = folder / "orderflow.toml"
    if path.exists():
        raise ConfigError(f"{path} exists already; name another folder")
    (folder / "secrets").mkdir(parents=True, exist_ok=True)
    (folder / "secrets/oms.key").write_text(OMS_KEY)
    (folder / "secrets/callback.key").write_text(CALLBACK_SECRET)
    if engines is not None and engines.database_password:
        _write_secret(folder / DATABASE_PASSWORD_FILE, engines.database_password)
    text = _FILE.format(port=port, oms_url=oms_url, grace=1.5 / speed, retry=0.2 / speed)
    text += _EMBEDDED if engines is None else engines.as_toml()
    for name, url in world_urls.items():
        (folder / f"secrets/{name}.key").write_text(MARKETPLACES[name].api_key)
        (folder / f"{name}.skus").write_text("\n".join(KNOWN_SKUS[name]))
        text += _SHOP.format(
            name=name,
            url=url,
            shop_id=MARKETPLACES[name].shop_id,
            company=COMPANIES[name],
            interval=0.5 / speed,
            overlap=5 / speed,
            acceptance="known-skus" if name == "beta" else "all",
        )
    path.write_text(text)
    return path


def _write_secret(path: Path, secret: str) -> None:
    """For this user's eyes alone: unlike the simulators' keys it may open something real."""
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_text(secret, encoding="utf-8")


def told(store: Store) -> dict[tuple[str, str], Told]:
    """What our journal says of every order, for the audit."""
    found = {}
    for order in views.orders(store, limit=1_000_000):
        one = Told(order.state)
        claimed: dict[str, str] = {}  # the tries whose end is not told, by command and token
        for entry in views.journal(store, order.key):
            a_try, _, _ = entry.event_id.rpartition(":")
            if entry.note.get("step") == "claimed":
                claimed[a_try] = entry.note["command"]
            elif entry.note.get("step") == "result":
                claimed.pop(a_try, None)
                result, command = entry.note["result"], entry.note["command"]
                one.done[command] += result in (DONE, ALREADY_DONE)
                one.unsure[command] += result == UNKNOWN
        one.unsure.update(claimed.values())  # who was killed in the middle could not say how it ended
        found[order.shop, order.order_id] = one
    return found


def demo(
    *,
    orders: int = 200,
    speed: float = 1.0,
    seed: int = 1,
    folder: Path | None = None,
    console: Console | None = None,
    callback_secret: str = CALLBACK_SECRET,
    stalled_seconds: float = STALLED_SECONDS,
    meddle: Callable[[SimulatedWorld, Service], None] = lambda _world, _service: None,
) -> Outcome:
    """Run it to its end, in this one process. `meddle` is for tests: it may do behind the service's back what must be
    found out."""
    console = console or Console()
    with ExitStack() as stack:
        kept = folder is not None
        folder = folder or Path(tempfile.mkdtemp(prefix="orderflow-demo-"))
        port = free_port()
        world = SimulatedWorld.start(
            orders,
            seed=seed,
            speed=speed,
            callback_url=f"http://127.0.0.1:{port}/oms/callbacks/{{shop}}",
            callback_secret=callback_secret,
            oms_api_key=OMS_KEY,
            retry_interval_seconds=2.0 / speed,
        )
        stack.callback(world.stop)
        settings = config.load(write_settings(folder, world.mirakl_urls, world.oms_url, port, speed=speed))
        service = Service(settings)
        logging_through(service.metrics, stack.enter_context((folder / "orderflow.log").open("w")))
        stack.callback(structlog.reset_defaults)  # before the file is closed: whoever called us may log again
        stack.callback(service.stop)
        service.start()
        console.print(
            f"{orders} orders on two simulated marketplaces, speed {speed:g}, seed {seed}. "
            f"Metrics: http://127.0.0.1:{port}/metrics",
            soft_wrap=True,
        )
        meddle(world, service)
        outcome = _to_the_end(world, service.store, console, stalled_seconds)
    _keep_or_drop(folder, kept, outcome, console)
    return outcome


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
    stalled_seconds: float = 2 * STALLED_SECONDS,
    meddle: Callable[[float, Fleet], None] = lambda _seconds, _fleet: None,
) -> Outcome:
    """The same on Kafka and PostgreSQL, every role in processes of its own, and the OMS publishing straight to Kafka.

    Engines are started where no address is given; a password in `postgres_at` goes into a file of its own. `chaos`: a
    consumer, a worker or a poller is killed again and again. `meddle` is for tests: it is called at every look, with
    the seconds since the start. Raises EngineMissing.
    """
    console = console or Console()
    with ExitStack() as stack:
        kept = folder is not None
        folder = folder or Path(tempfile.mkdtemp(prefix="orderflow-demo-"))
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
        )
        stack.callback(world.stop)
        path = write_settings(folder, world.mirakl_urls, world.oms_url, free_port(), speed=speed, engines=engines)
        store = open_store(config.load(path))
        stack.callback(store.close)
        stores.migrate(store)
        if views.orders(store, limit=1):
            raise ConfigError("the database of --postgres-at holds orders already; give the demo an empty one")
        fleet = Fleet(path, folder)
        stack.callback(fleet.stop)
        fleet.start()
        console.print(f"{orders} orders on two simulated marketplaces, speed {speed:g}, seed {seed}. Processes:")
        for member in fleet.members.values():
            console.print(f"  {member.name}: http://127.0.0.1:{member.port}/metrics   {member.log}", soft_wrap=True)
        dice, killed_at = random.Random(seed), 0.0

        def tend(seconds: float) -> None:
            nonlocal killed_at
            meddle(seconds, fleet)
            if chaos and seconds - killed_at >= CHAOS_EVERY_SECONDS:
                killed_at = seconds
                fleet.kill(dice.choice([name for name, one in fleet.members.items() if one.role != "web"]))
            for name in fleet.tend():
                console.print(f"  {name} had died and was started again")

        def stop() -> list[str]:
            fleet.stop()
            return fleet.bad_ends

        outcome = _to_the_end(world, store, console, stalled_seconds, tend=tend, stop=stop)
    _keep_or_drop(folder, kept, outcome, console)
    return outcome


def _started_engines(
    stack: ExitStack, folder: Path, console: Console, kafka_at: Sequence[str], postgres_at: str
) -> Engines:
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
    try:
        return without_password(postgres_at)
    except ValueError as error:
        raise ConfigError(f"--postgres-at: {error}") from error


def _to_the_end(
    world: SimulatedWorld,
    store: Store,
    console: Console,
    stalled_seconds: float,
    *,
    tend: Callable[[float], None] = lambda _seconds: None,
    stop: Callable[[], list[str]] = list,
) -> Outcome:
    """Watch, then stop what runs, then audit: `stop` returns what was wrong with it."""
    began = time.monotonic()
    settled = _watch(world, store, console, stalled_seconds, tend)
    seconds = time.monotonic() - began
    findings = [*stop(), *audit(world.world.lives, world.books.effects(), told(store))]
    outcome = Outcome(tuple(findings), settled, seconds)
    _report(console, world, store, outcome)
    return outcome


def _keep_or_drop(folder: Path, kept: bool, outcome: Outcome, console: Console) -> None:
    if outcome.passed and not kept:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        console.print(f"Settings, store and logs: {folder}", soft_wrap=True)


# -- The live view -----------------------------------------------------------------------------------------------


def _watch(
    world: SimulatedWorld, store: Store, console: Console, stalled_seconds: float, tend: Callable[[float], None]
) -> bool:
    """Show what moves until all is settled, or nothing moves any more. Returns whether all is settled."""
    lives = world.world.lives
    progress = Progress(
        TextColumn("at their end"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
    task = progress.add_task("orders", total=len(lives))
    last_moved, last_look, last_told = time.monotonic(), None, 0.0
    began = last_moved
    live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
    with live or io.StringIO():
        while True:
            tend(time.monotonic() - began)
            states = views.states(store)
            at_end = sum(states.get((life.marketplace, life.order_id)) == life.ends for life in lives)
            look = (at_end, tuple(sorted(Counter(states.values()).items())), len(world.books.effects()))
            now = time.monotonic()
            if look != last_look:
                last_moved, last_look = now, look
            progress.update(task, completed=at_end)
            if live is not None:
                live.update(Group(_stock(states), progress))
            elif now - last_told >= TELL_EVERY_SECONDS:
                last_told = now
                counts = Counter(states.values())
                line = "  ".join(f"{state} {counts[state]}" for state in STATES if counts[state])
                console.print(line or "waiting for the first order", soft_wrap=True)
            if at_end == len(lives) and world.settled() and _is_quiet(store):
                return True
            if now - last_moved > stalled_seconds:
                return False
            time.sleep(LOOK_EVERY_SECONDS)


def _is_quiet(store: Store) -> bool:
    """No call is due or under way."""
    return not views.stored_counts(store).commands


def _stock(states: Mapping[tuple[str, str], str]) -> Table:
    shops = sorted({shop for shop, _ in states})
    counts = Counter((shop, state) for (shop, _), state in states.items())
    table = Table("state", *shops, title="Orders by state")
    for state in STATES:
        table.add_row(state, *(str(counts[shop, state] or "") for shop in shops))
    return table


# -- The end -----------------------------------------------------------------------------------------------------


def _report(console: Console, world: SimulatedWorld, store: Store, outcome: Outcome) -> None:
    effects = world.books.effects()
    by_us = Counter(effect.kind for effect in effects if effect.by == "api")
    by_others = Counter(effect.kind for effect in effects if effect.by not in ("api", "oms"))
    lives = world.world.lives
    table = Table("effect", "by us", "expected", "by others", title="Effects in the remotes' own books")
    for kind, wanted in _expected(lives).items():
        table.add_row(kind, str(by_us[kind]), wanted, str(by_others[kind] or ""))
    console.print(table)
    ends = Counter(views.states(store).values())
    attention = Counter(
        reason for o in views.orders(store, attention=True, limit=1_000_000) for reason, *_ in o.attention
    )
    console.print("States: " + ", ".join(f"{state} {count}" for state, count in ends.most_common()), soft_wrap=True)
    if attention:
        console.print(
            "For a person: " + ", ".join(f"{reason} {count}" for reason, count in attention.most_common()),
            soft_wrap=True,
        )
    for finding in outcome.findings[:40]:
        console.print(f"  {finding}", markup=False, soft_wrap=True)
    if not outcome.settled:
        console.print("[red]stalled[/red]: some order never came to its end")
    verdict = "[green]passed[/green]" if outcome.passed else f"[red]failed[/red], {len(outcome.findings)} findings"
    ending = ": every effect once and explained" if outcome.passed else ""
    console.print(f"Audit {verdict}{ending}. {len(lives)} orders, {outcome.seconds:.0f} s.")


def _expected(lives: Sequence[Life]) -> dict[str, str]:
    return {
        "accepted": str(sum(life.accepted_by == "api" for life in lives)),
        "imported": str(sum(life.imported for life in lives)),
        "tracking": "newest last",
        "shipped": str(sum(life.shipped_by == "api" for life in lives)),
    }


# -- Simulators alone --------------------------------------------------------------------------------------------


def simulate(*, orders: int, speed: float, seed: int, folder: Path, port: int) -> None:
    """Both simulators until Ctrl-C, with a file of settings for a service to run against them."""
    console, stopping = Console(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    world = SimulatedWorld.start(
        orders,
        seed=seed,
        speed=speed,
        callback_url=f"http://127.0.0.1:{port}/oms/callbacks/{{shop}}",
        callback_secret=CALLBACK_SECRET,
        oms_api_key=OMS_KEY,
    )
    path = write_settings(folder, world.mirakl_urls, world.oms_url, port, speed=speed)
    for name, url in (*world.mirakl_urls.items(), ("oms", world.oms_url)):
        console.print(f"{name}: {url}   books: {url}/_sim/books")
    console.print(f"Now, elsewhere: orderflow run --config {path}\nCtrl-C ends the simulators.")
    stopping.wait()
    world.stop()
