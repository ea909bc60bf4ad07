"""The command line (docs/rules.md 34): names, options, exit codes and the JSON of the reading commands are a
contract."""

import json
import os
import pwd
import re
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn

import typer
import typer.core

from adapters.clock import SystemClock
from adapters.errors import ConfigError, OrderflowError, StoreUnavailable
from adapters.log.embedded import EmbeddedLog
from adapters.log.kafka import KafkaLog
from adapters.store import transaction as stores
from adapters.store import views
from adapters.store.copy import MOVED, move
from adapters.store.engine import sqlite_file
from adapters.store.facts_json import facts_to_json
from adapters.store.transaction import OrderRow, Store
from consumer import config, wiring
from consumer.apply import OrderWriter
from consumer.config import Settings, TopicsTable
from consumer.offsets import MISFITS
from consumer.operations import dead_letters, offsets, shops
from consumer.operations.explain import explain, known, timeline
from consumer.operations.orders import NotPossible, act, needs_words
from consumer.operations.verify import differences, redecided
from statemachine import diagram as diagrams
from statemachine.commands import Policy
from statemachine.facts import Facts
from statemachine.states import STATES

BAD_ANSWER: Final = 1
BAD_USE: Final = 2

CLOCK: Final = SystemClock()

EPILOG: Final = """\
\b
Examples:
  orderflow init                              write a first configuration
  orderflow run --config orderflow.toml       poll, decide, accept, import, ship
  orderflow orders list --attention           what needs a person
  orderflow orders explain ORDER              why is it there, what does it wait for

\b
Exit codes:
  0  good
  1  the answer is bad: no such order, nothing to decide, a difference found, an audit failed, or you said no
  2  the configuration or the use is wrong, or the store does not answer
"""


class _Commands(typer.core.TyperGroup):
    """Errors of ours become one text without a traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if any(arg.encode(errors="ignore").decode() != arg for arg in args):  # neither the store nor JSON takes it
            ctx.fail("an argument is no text in UTF-8")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except NotPossible as error:
            _fail(str(error), BAD_ANSWER)
        except StoreUnavailable as error:
            _fail(f"the store does not answer ({error}): see store.url in the configuration", BAD_USE)
        except OrderflowError as error:
            _fail(str(error), BAD_USE)


def _fail(text: str, code: int) -> NoReturn:
    for line in text.splitlines():
        typer.echo(f"orderflow: {_printable(line)}", err=True)
    raise typer.Exit(code)


def _group(text: str, **more: Any) -> typer.Typer:
    # Plain help: it reads the same on a terminal, in a pipe and in the docs.
    return typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None, **more)


app = _group(
    "Carries every order of a Mirakl seller from waiting acceptance to shipped, once, and shows why.",
    cls=_Commands,
    epilog=EPILOG,
    add_completion=False,
    pretty_exceptions_enable=False,
)
config_app = _group("The configuration: what holds, and what may be set.")
orders_app = _group("Orders: look at them, and decide about them.")
shops_app = _group("Shops, and the switches of their effects.")
letters_app = _group("What could not be used, as received.")
offsets_app = _group("How far the log was read, and what to do where it and the store have parted.")
events_app = _group("Events, as other teams publish and read them (docs/events).")
app.add_typer(config_app, name="config")
app.add_typer(orders_app, name="orders")
app.add_typer(shops_app, name="shops")
app.add_typer(letters_app, name="dead-letters")
app.add_typer(offsets_app, name="offsets")
app.add_typer(events_app, name="events")

Config = Annotated[Path, typer.Option("--config", help="The configuration file.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
OrderId = Annotated[str, typer.Argument(metavar="ORDER", help="Mirakl's order id.")]
OfShop = Annotated[str | None, typer.Option("--shop", help="The shop, where two have an order of this id.")]
ShopName = Annotated[str, typer.Argument(metavar="SHOP", help="The shop's name in the configuration.")]
Only = Annotated[Literal["accept", "import", "ship"] | None, typer.Option(help="This group of effects alone.")]
LetterIds = Annotated[list[int], typer.Argument(metavar="ID", help="One or several.")]
EventFiles = Annotated[list[str], typer.Argument(metavar="FILE", help="Files of events; - is standard input.")]
Reason = Annotated[str, typer.Option("--reason", metavar="WHY", help="Why; it is kept.")]
Who = Annotated[str | None, typer.Option("--who", help="Who decides; the system's user where not given.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]

FILE: Final = Path("orderflow.toml")


# -- The service -------------------------------------------------------------------------------------------------


@app.command()
def run(
    role: Annotated[
        Literal["all", "poller", "consumer", "worker", "web"], typer.Argument(help="What this process does.")
    ] = "all",
    file: Config = FILE,
) -> None:
    """Run the service until SIGTERM or Ctrl-C; a second one ends it at once.

    `all` is every role in one process, the only way on SQLite. With Kafka and PostgreSQL each role can be a process
    of its own, and have several: pollers share the shops, consumers the partitions, workers the calls.

    \b
    Examples:
      orderflow run --config orderflow.toml
      ORDERFLOW_WEB__PORT=9465 orderflow run worker --config orderflow.toml
    """
    from consumer import bootstrap  # noqa: PLC0415 - the service takes a second to import, a question must not

    bootstrap.run(config.load(file), bootstrap.ROLES if role == "all" else (role,))


@app.command()
def init(path: Annotated[Path, typer.Option(help="The file to write.")] = FILE) -> None:
    """Write a first configuration file.

    One that exists is left alone.

    \b
    Example:
      orderflow init --path orderflow.toml
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(config.example())
    except FileExistsError:
        _fail(f"{path} exists already", BAD_USE)
    except OSError as error:
        _fail(f"{path} cannot be written ({type(error).__name__})", BAD_USE)
    typer.echo(f"{path} is written. Put in your shops and their key files, then: orderflow run --config {path}")


@app.command()
def migrate(
    *,
    file: Config = FILE,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 1 where it is not up to date.")
    ] = False,
    wait_seconds: Annotated[
        float,
        typer.Option("--wait", min=0, metavar="SECONDS", help="Wait so long for the database, or for the schema."),
    ] = 0,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help="Copy this SQLite store into the new, empty PostgreSQL."),
    ] = None,
) -> None:
    """Bring the store's schema up to date, or move a store from SQLite to PostgreSQL.

    On SQLite `run` does it too. On PostgreSQL it is done once, before the processes of a new version start; those of
    the version before go on beside it. With --from the configuration names the PostgreSQL to move to; the SQLite store
    is only read, and nothing is moved while anything runs on it (docs/sqlite-to-postgresql.md).

    \b
    Examples:
      orderflow migrate --config orderflow.toml
      orderflow migrate --check --wait 120          (before a process starts)
      orderflow migrate --from sqlite:///orderflow.db --config production.toml
    """
    if source is not None and (check or wait_seconds):
        raise typer.BadParameter("--from goes without --check and --wait")
    settings = config.load(file)
    store = wiring.open_store(settings)
    try:
        if source is not None:
            moved = _moved(store, source)
            typer.echo(f"Moved: {', '.join(f'{table} {rows}' for table, rows in moved.items())}.")
            typer.echo("Now `orderflow orders verify --all`, and put the SQLite file where nothing starts on it.")
            return
        if not _in_time(wait_seconds, lambda: _is_current(settings, store) if check else _migrated(store)):
            _fail(f"the store's schema is missing or not this version's; {_cure(file)}", BAD_ANSWER)
    finally:
        store.close()
    typer.echo("The store's schema is this version's.")


def _migrated(store: Store) -> bool:
    stores.migrate(store)
    return True


def _is_current(settings: Settings, store: Store) -> bool:
    """Makes nothing: SQLite would make an empty file."""
    return _missing_file(settings) is None and stores.schema_is_current(store)


def _missing_file(settings: Settings) -> Path | None:
    """SQLite's, where it is not there yet."""
    file = sqlite_file(settings.store.url)
    return file if file and not file.exists() else None


def _cure(file: Path) -> str:
    return f"run `orderflow migrate --config {file}`"


def _moved(store: Store, source: str) -> dict[str, int]:
    if not sys.stdout.isatty():
        return move(source, store, wiring.GROUP)
    from rich.progress import MofNCompleteColumn, Progress  # noqa: PLC0415 - only a terminal needs it

    with Progress(*Progress.get_default_columns(), MofNCompleteColumn()) as shown:
        tasks = {table.name: shown.add_task(table.name, total=None) for table in MOVED}
        return move(
            source,
            store,
            wiring.GROUP,
            lambda table, done, total: shown.update(tasks[table], completed=done, total=total),
        )


def _in_time(seconds: float, holds: Callable[[], bool]) -> bool:
    """Ask once a second until it holds; what the last one says or raises counts, asked when the time is over."""
    ends_at = CLOCK.monotonic() + seconds
    while True:
        is_last = CLOCK.monotonic() >= ends_at
        try:
            if holds():
                return True
            if is_last:
                return False
        except StoreUnavailable:
            if is_last:
                raise
        time.sleep(min(1.0, max(0.0, ends_at - CLOCK.monotonic())))


@app.command()
def diagram(
    overview: Annotated[bool, typer.Option("--overview", help="The usual way alone.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Every edge and its meaning, as Markdown.")] = False,
) -> None:
    """Print the state machine as a Mermaid diagram.

    \b
    Example:
      orderflow diagram --overview
    """
    if overview and table:
        raise typer.BadParameter("--overview and --table exclude each other")
    typer.echo(diagrams.markdown() if table else diagrams.overview() if overview else diagrams.mermaid())


@app.command()
def version() -> None:
    """Print the version.

    \b
    Example:
      orderflow version
    """
    typer.echo(version_of("orderflow"))


Count = Annotated[int, typer.Option(min=1, max=100_000, help="How many orders arrive; from 100 on every story occurs.")]
Speed = Annotated[float, typer.Option(min=0.05, max=20, help="How fast the simulated world turns.")]
Seed = Annotated[int, typer.Option(help="Another seed, other lives.")]


@app.command()
def demo(
    *,
    orders: Count = 200,
    speed: Speed = 1.0,
    seed: Seed = 1,
    folder: Annotated[Path | None, typer.Option(help="Keep its files here: settings, store, logs.")] = None,
    kafka: Annotated[bool, typer.Option("--kafka", help="On a real Kafka, started here.")] = False,
    postgres: Annotated[bool, typer.Option("--postgres", help="On a real PostgreSQL, started here.")] = False,
    kafka_at: Annotated[
        str, typer.Option(metavar="HOST:PORT,...", help="On this Kafka; topics of its own are made.")
    ] = "",
    postgres_at: Annotated[str, typer.Option(metavar="URL", help="On this PostgreSQL, in an empty database.")] = "",
    chaos: Annotated[bool, typer.Option("--chaos", help="With both: kill a process every few seconds.")] = False,
) -> None:
    """Run the whole service against simulated remotes, then audit their books.

    Two marketplaces and an OMS on this machine; nothing else is needed. The default takes about a minute.
    With --kafka --postgres (both, or neither) every role runs in processes of its own: two pollers, two consumers, two
    workers and the web; the OMS publishes straight to Kafka. It needs Java 17, Maven and PostgreSQL's programs.

    \b
    Examples:
      orderflow demo
      orderflow demo --orders 400 --speed 2 --seed 7
      orderflow demo --kafka --postgres --chaos
      orderflow demo --kafka-at 127.0.0.1:9092 --postgres-at postgresql+psycopg://me@127.0.0.1/demo
    """
    from consumer.demo import embedded as demos  # noqa: PLC0415 - as in `run`

    if bool(kafka or kafka_at) != bool(postgres or postgres_at):
        raise typer.BadParameter("--kafka and --postgres go together: many processes need both")
    if kafka or kafka_at:
        outcome = demos.full_demo(
            orders=orders,
            speed=speed,
            seed=seed,
            folder=folder,
            kafka_at=[one for one in kafka_at.split(",") if one],
            postgres_at=postgres_at,
            chaos=chaos,
        )
    elif chaos:
        raise typer.BadParameter("--chaos kills processes: it needs --kafka and --postgres")
    else:
        outcome = demos.demo(orders=orders, speed=speed, seed=seed, folder=folder)
    if not outcome.passed:
        raise typer.Exit(BAD_ANSWER)


@app.command()
def simulate(
    *,
    orders: Count = 200,
    speed: Speed = 0.2,
    seed: Seed = 1,
    folder: Annotated[Path, typer.Option(help="Where the configuration for a service goes.")] = Path("simulated"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where that service will listen for callbacks.")] = 9464,
) -> None:
    """Run the simulators alone, until Ctrl-C, and write a configuration for a service to try on them.

    \b
    Example:
      orderflow simulate --folder simulated
      orderflow run --config simulated/orderflow.toml     (in another terminal)
    """
    from consumer.demo.embedded import simulate as run_simulators  # noqa: PLC0415 - as in `run`

    run_simulators(orders=orders, speed=speed, seed=seed, folder=folder, port=port)


# -- Configuration -----------------------------------------------------------------------------------------------


@config_app.command("show")
def config_show(file: Config = FILE, as_json: Json = False) -> None:
    """Print what holds, and where each value comes from: environment, file or default.

    Secrets are in files, and only their paths are shown.

    \b
    Example:
      ORDERFLOW_WEB__PORT=9000 orderflow config show
    """
    values = _flat(config.load(file).model_dump(mode="json"))
    environment, written = _flat(config.origins()), _flat(tomllib.loads(file.read_text(encoding="utf-8")))

    def origin(key: str) -> str:
        return "environment" if key in environment else "file" if key in written else "default"

    rows = [{"key": key, "value": _redacted(key, value), "origin": origin(key)} for key, value in values.items()]
    _print_rows(rows, as_json)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON Schema of the configuration, for editors and checks.

    \b
    Example:
      orderflow config schema > orderflow.schema.json
    """
    _print_json(Settings.model_json_schema())


def _flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys."""
    found: dict[str, Any] = {}
    for name, value in tables.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _redacted(key: str, value: Any) -> Any:
    """Secrets belong into files; one that was written elsewhere is not repeated."""
    name = key.rsplit(".", maxsplit=1)[-1]
    if value and re.search("password|secret|token", name) and not name.endswith("_file"):
        return "(hidden)"
    return re.sub(r"//\S*@", "//(hidden)@", value) if isinstance(value, str) else value


# -- Looking at orders -------------------------------------------------------------------------------------------


@orders_app.command("list")
def orders_list(
    *,
    file: Config = FILE,
    shop: Annotated[str | None, typer.Option(help="Of this shop alone.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="In this state; may be given several times.")] = None,
    attention: Annotated[bool, typer.Option("--attention", help="Only what needs a person.")] = False,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List orders, the latest change first.

    \b
    Examples:
      orderflow orders list --attention
      orderflow orders list --shop alpha --state shipping --state imported --json
    """
    for one in sorted(set(state or ()) - set(STATES)):
        raise typer.BadParameter(f"{one} is no state; these are: {', '.join(STATES)}", param_hint="--state")
    with _opened(file) as (_, store):
        rows = views.orders(store, shop=shop, states=state or (), attention=attention, limit=limit + 1)
    _print_rows(_at_most(limit, [_summary(row) for row in rows]), as_json)


@orders_app.command("show")
def orders_show(
    order_id: OrderId,
    file: Config = FILE,
    shop: OfShop = None,
    received: Annotated[
        bool, typer.Option("--received", help="Also the order as received and the remotes' words: personal data.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what is known of an order, its calls, and everything that happened to it.

    \b
    Example:
      orderflow orders show 5f4dcc3b-A --received
    """
    with _opened(file) as (_, store):
        row = _order(store, order_id, shop)
        calls = [asdict(command) for command in views.commands(store, row.key)]
        events = [asdict(event) for event in timeline(views.journal(store, row.key))]
        body = views.received(store, row.key, row.content) if received else None
    concerns = [dict(zip(("reason", "detail", "since"), concern, strict=True)) for concern in row.attention]
    words = _words(row.facts) if received else []
    if as_json:
        facts = json.loads(facts_to_json(_without_words(row.facts)))
        more = {"received": _text(body), "words": words} if received else {}
        _print_json(
            _summary(row) | {"concerns": concerns, "facts": facts, "commands": calls, "timeline": events} | more
        )
        return
    _print_pairs(_summary(row) | known(row.facts))
    for title, rows in (("Attention", concerns), ("Calls", calls), ("Timeline", events), ("Words", words)):
        if rows:
            typer.echo(f"\n{title}")
            _print_rows(rows)
    if received:
        typer.echo("\nAs received")
        _print_bytes(body)


@orders_app.command("explain")
def orders_explain(order_id: OrderId, file: Config = FILE, shop: OfShop = None, as_json: Json = False) -> None:
    """Say why an order is where it is, since when, what it waits for, and what a person can do.

    \b
    Example:
      orderflow orders explain 5f4dcc3b-A
    """
    with _opened(file) as (settings, store):
        _explain(settings, store, _order(store, order_id, shop), as_json)


def _explain(settings: Settings, store: Store, row: OrderRow, as_json: bool = False) -> None:
    found = explain(
        row,
        views.journal(store, row.key),
        views.commands(store, row.key),
        shop=next((one for one in views.shops(store) if one.name == row.shop), None),
        policy=config.policies(settings).get(row.shop, Policy()),
        now=CLOCK.now(),
    )
    if as_json:
        _print_json(asdict(found))
        return
    pairs = asdict(found)
    for number, look in enumerate(pairs.pop("attention"), start=1):
        pairs[f"attention {number}"] = f"{look['reason']} {look['detail']}".strip() + f", since {_cell(look['since'])}"
        pairs[f"  meaning {number}"], pairs[f"  cure {number}"] = look["meaning"], look["cure"]
    _print_pairs(pairs)


@orders_app.command("verify")
def orders_verify(
    order_id: Annotated[str | None, typer.Argument(metavar="[ORDER]", help="Mirakl's order id.")] = None,
    *,
    file: Config = FILE,
    shop: OfShop = None,
    every: Annotated[bool, typer.Option("--all", help="Every order.")] = False,
    redecide: Annotated[bool, typer.Option("--redecide", help="Also what today's code would decide.")] = False,
    as_json: Json = False,
) -> None:
    """Rebuild an order from its journal and compare it with what is stored. Exit code 1 where they differ.

    \b
    Examples:
      orderflow orders verify 5f4dcc3b-A
      orderflow orders verify --all --redecide
    """
    if every == (order_id is not None):
        raise typer.BadParameter("give an ORDER or --all")
    with _opened(file) as (settings, store):
        policies = config.policies(settings) if redecide else {}
        rows = views.orders(store, shop=shop, limit=_ALL) if order_id is None else [_order(store, order_id, shop)]
        found = []
        for row in rows:
            entries = views.journal(store, row.key)
            today = redecided(row, entries, policies.get(row.shop, Policy())) if redecide else []
            found.append((row, differences(row, entries) + today))
    bad = sum(bool(wrong) for _, wrong in found)
    if as_json:
        _print_json(
            [
                {"shop": row.shop, "order_id": row.order_id, "ok": not wrong, "differences": wrong}
                for row, wrong in found
            ]
        )
    else:
        for row, wrong in found:
            for difference in wrong:
                typer.echo(_printable(f"{row.shop} {row.order_id}: {difference}"))
        typer.echo(f"{len(found)} verified, {bad} differ")
    if bad:
        raise typer.Exit(BAD_ANSWER)


_ALL: Final = 2**31


def _summary(row: OrderRow) -> dict[str, Any]:
    return {
        "shop": row.shop,
        "order_id": row.order_id,
        "state": row.state,
        "attention": list(dict.fromkeys(reason for reason, _, _ in row.attention)),
        "entered_at": row.entered_at,
        "updated_at": row.updated_at,
    }


def _words(facts: Facts) -> list[dict[str, Any]]:
    """What the remotes said to calls that they refused."""
    refused = [(no.kind, no.round, no.words) for no in facts.rejections]
    refused += [(end.kind, end.round, end.words) for end in facts.given_up]
    return [{"command": kind, "round": round_, "words": words} for kind, round_, words in refused]


def _without_words(facts: Facts) -> Facts:
    """A remote's words may quote the order."""
    return replace(
        facts,
        rejections=tuple(replace(no, words="") for no in facts.rejections),
        given_up=tuple(replace(end, words="") for end in facts.given_up),
    )


# -- Deciding about orders ---------------------------------------------------------------------------------------

_ACTS: Final = {
    "accept": "Accept an order, whatever the shop's policy says.",
    "refuse": "Refuse every line of an order. Mirakl tells the customer.",
    "hold": "Hold an order: nothing is sent until it is settled.",
    "settle": "Mark all that needs attention now as seen to; a held order goes on.",
    "retry": "Make a refused or given-up call once more, and one that waits for its next try at once.",
}


def _add_act(kind: str, text: str) -> None:
    def command(
        order_id: OrderId,
        *,
        reason: Reason,
        file: Config = FILE,
        shop: OfShop = None,
        who: Who = None,
        yes: Yes = False,
    ) -> None:
        with _opened(file) as (settings, store):
            row = _order(store, order_id, shop)
            _ask(f"{kind} {row.shop} {row.order_id}, which is {row.state}?", yes)
            orders = OrderWriter(store, config.policies(settings), CLOCK, outbox=wiring.outbox_of(settings))
            after = act(orders, row, kind, who=who or _user(), why=reason, at=CLOCK.now())
            _explain(settings, store, after)

    command.__doc__ = f"""{text}

    \b
    Example:
      orderflow orders {kind} 5f4dcc3b-A --reason "agreed with the warehouse"
    """
    orders_app.command(kind)(command)


for _kind, _text_of_kind in _ACTS.items():
    _add_act(_kind, _text_of_kind)


# -- Shops -------------------------------------------------------------------------------------------------------


@shops_app.command("list")
def shops_list(file: Config = FILE, as_json: Json = False) -> None:
    """List the shops, their switches, and how far their polls have come.

    \b
    Example:
      orderflow shops list
    """
    with _opened(file) as (_, store):
        _print_rows([asdict(shop) for shop in views.shops(store)], as_json)


@shops_app.command("pause")
def shops_pause(
    shop: ShopName, *, reason: Reason, file: Config = FILE, only: Only = None, who: Who = None, yes: Yes = False
) -> None:
    """Let a shop's effects rest: it is read, decided and shown, and nothing is sent.

    \b
    Example:
      orderflow shops pause alpha --only import --reason "the OMS is being moved"
    """
    with _opened(file) as (_, store):
        _ask(f"pause {only or 'every effect'} of {shop}?", yes)
        paused = shops.pause(store, CLOCK, shop, only=only, who=who or _user(), why=reason)
        _print_pairs(asdict(paused))


@shops_app.command("resume")
def shops_resume(
    shop: ShopName, *, reason: Reason, file: Config = FILE, only: Only = None, who: Who = None, yes: Yes = False
) -> None:
    """Let a shop's effects go on. A shop that began with its effects off begins to accept, import and ship.

    \b
    Example:
      orderflow shops resume alpha --reason "looked at what it would do"
    """
    with _opened(file) as (settings, store):
        table = settings.shops.get(shop)
        _ask(f"resume {only or 'every effect'} of {shop}?", yes)
        resumed = shops.resume(
            store,
            CLOCK,
            shop,
            only=only,
            who=who or _user(),
            why=reason,
            configured=table.effects if table else None,
        )
        _print_pairs(asdict(resumed))


# -- Dead letters ------------------------------------------------------------------------------------------------


@letters_app.command("list")
def letters_list(file: Config = FILE, limit: Limit = 100, as_json: Json = False) -> None:
    """List what could not be used, the newest first, without its content.

    \b
    Example:
      orderflow dead-letters list --json
    """
    with _opened(file) as (_, store):
        letters = [asdict(letter) for letter in views.dead_letters(store, limit=limit + 1)]
    for letter in letters:
        del letter["record_key"], letter["value"], letter["headers"]
    _print_rows(_at_most(limit, letters), as_json)


@letters_app.command("show")
def letters_show(
    letter_id: Annotated[int, typer.Argument(metavar="ID")], file: Config = FILE, as_json: Json = False
) -> None:
    """Show one dead letter with its content, which may hold personal data.

    \b
    Example:
      orderflow dead-letters show 17
    """
    with _opened(file) as (_, store):
        letters = views.dead_letters(store, letter_id)
    if not letters:
        _fail(f"there is no dead letter {letter_id}", BAD_ANSWER)
    letter = asdict(letters[0])
    value = letter.pop("value")
    letter["record_key"] = _text(letter["record_key"])
    if as_json:
        _print_json(letter | {"value": _text(value)})
        return
    _print_pairs(letter)
    typer.echo()
    _print_bytes(value)


@letters_app.command("replay")
def letters_replay(
    letter_ids: LetterIds,
    *,
    reason: Reason,
    file: Config = FILE,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Publish dead letters once more, byte for byte, after what was wrong has been mended.

    What still cannot be used is set aside again, under its old number.

    \b
    Example:
      orderflow dead-letters replay 17 18 --reason "beta is in the configuration now"
    """
    with _with_log(file) as (settings, store, log):
        _ask(f"replay {len(letter_ids)}?", yes)
        for letter_id in letter_ids:
            topic = dead_letters.replay(
                store,
                log,
                CLOCK,
                letter_id,
                shops=config.shop_ids(settings),
                topics=settings.topics,
                who=who or _user(),
                why=reason,
            )
            typer.echo(f"{letter_id} is published to {topic}")


@letters_app.command("discard")
def letters_discard(
    letter_ids: LetterIds,
    *,
    reason: Reason,
    file: Config = FILE,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Mark dead letters as seen to. They stay, and count as open no more.

    \b
    Example:
      orderflow dead-letters discard 17 --reason "a test of the OMS team"
    """
    with _opened(file) as (_, store):
        _ask(f"discard {len(letter_ids)}?", yes)
        for letter_id in letter_ids:
            dead_letters.discard(store, CLOCK, letter_id, who=who or _user(), why=reason)
            typer.echo(f"{letter_id} is discarded")


# -- Offsets -----------------------------------------------------------------------------------------------------


@offsets_app.command("list")
def offsets_list(file: Config = FILE, as_json: Json = False) -> None:
    """List how far each partition was applied, what the log holds, and whether the two fit.

    Exit code 1 where they do not: such a partition is not read on, until it is reset.

    \b
    Example:
      orderflow offsets list
    """
    with _with_log(file) as (settings, store, log):
        orders = OrderWriter(store, {}, CLOCK)
        found = offsets.partition_statuses(orders, log, wiring.group_of(settings), _consumed(settings))
    _print_rows([asdict(one) for one in found], as_json)
    if not as_json:
        for name in dict.fromkeys(one.misfit for one in found if one.misfit):
            typer.echo(f"{name}: {MISFITS[name]}")
    if any(one.misfit for one in found):
        raise typer.Exit(BAD_ANSWER)


@offsets_app.command("reset")
def offsets_reset(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic's name at Kafka.")],
    *,
    reason: Reason,
    partition: Annotated[int | None, typer.Option(min=0, help="This partition alone.")] = None,
    to: Annotated[
        Literal["stored", "earliest", "latest"],
        typer.Option(
            "--to", help="Where the store is, as far as the log has it; the oldest record; behind the newest."
        ),
    ] = "stored",
    file: Config = FILE,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """Set where a topic is read on after offsets and log have parted, and read every shop anew.

    Records that are read again do nothing twice. What the log has lost of Mirakl comes with the next polls; what it
    has lost of the OMS has to be published again by the OMS. Open orders count as ones whose import was attempted.

    \b
    Example:
      orderflow offsets reset mirakl.order-snapshots --reason "topic made anew after the disk was lost"
    """
    with _with_log(file) as (settings, store, log):
        if topic not in _consumed(settings):
            raise typer.BadParameter(f"one of {', '.join(_consumed(settings))}", param_hint="TOPIC")
        needs_words(reason)
        _ask(f"reset {topic} to {to}, and read {len(settings.shops)} shops anew?", yes)
        orders = OrderWriter(store, config.policies(settings), CLOCK, outbox=wiring.outbox_of(settings))
        moved = offsets.reset(
            orders,
            log,
            wiring.group_of(settings),
            topic,
            partition=partition,
            whence=to,
            who=who or _user(),
            why=reason,
            shops=settings.shops,
        )
    for one, was, now in moved:
        typer.echo(f"{one.topic}/{one.number}: {was} -> {now}")


def _consumed(settings: Settings) -> tuple[str, str]:
    return settings.topics.snapshots, settings.topics.oms_events


# -- Events ------------------------------------------------------------------------------------------------------


@events_app.command("publish")
def events_publish(
    names: EventFiles,
    *,
    file: Config = FILE,
    yes: Yes = False,
) -> None:
    """Publish events to the log, as the OMS or the poller would. Nothing is published where one of them is wrong.

    An event that was applied before does nothing twice, so all of a day can be published again.

    \b
    Example:
      orderflow events publish dispatched.json --config orderflow.toml
    """
    from consumer.operations import events as checks  # noqa: PLC0415 - as in `check`

    with _with_log(file) as (settings, _, log):
        shops = config.shop_ids(settings)
        records = [record for name in names for record in checks.records(_bytes(name), shops, settings.topics)]
        _ask(f"publish {len(records)} events?", yes)
        log.publish(records)
    typer.echo(f"published: {len(records)}")


@events_app.command("check")
def events_check(
    names: EventFiles,
    *,
    file: Annotated[Path | None, typer.Option("--config", help="Look the shops up in this configuration.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A warning is wrong too.")] = False,
    as_json: Json = False,
) -> None:
    """Read events as the service would, and say what each breaks. Nothing is sent or stored.

    A file holds an event, an array of events, or one event a line: CloudEvents in structured JSON, of any topic.
    Wrong: the service would set it aside. A warning: it is taken, but breaks the contract.

    \b
    Examples:
      orderflow events check dispatched.json
      orderflow events check --config orderflow.toml --strict --json events.jsonl
      jq -c .value captured.json | orderflow events check -
    """
    from consumer.operations import events as checks  # noqa: PLC0415 - building the models takes longer than most questions

    settings = config.load(file) if file else None
    topics = (settings.topics if settings else TopicsTable()).model_dump()
    checker = checks.Checker(config.shop_ids(settings) if settings else None)
    found = [(name, one) for name in names for one in checker.check(_bytes(name))]
    if as_json:
        _print_json([{"file": name, **checks.summary(one, topics)} for name, one in found])
    else:
        for name, one in found:
            for line in checks.lines(one, topics):
                typer.echo(_printable(f"{name} {one.number}: {line}"))
        wrong, warned = sum(bool(one.error) for _, one in found), sum(bool(one.warnings) for _, one in found)
        typer.echo(f"checked: {len(found)}, wrong: {wrong}, with warnings: {warned}")
    if any(one.error or (strict and one.warnings) for _, one in found):
        raise typer.Exit(BAD_ANSWER)


def _bytes(name: str) -> bytes:
    """What is in a file of events. Ends the command where there is nothing."""
    try:
        content = typer.get_binary_stream("stdin").read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        _fail(f"{name} cannot be read ({type(error).__name__})", BAD_USE)
    if not content.strip():
        _fail(f"{name} holds no event", BAD_USE)
    return content


# -- Shared ------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Settings, Store]]:
    """Settings and store. Nothing is made or migrated: a question must not change what it asks about."""
    settings = config.load(file)
    if missing := _missing_file(settings):
        raise ConfigError(f"{missing}: there is no store yet; {_cure(file)}")
    store = wiring.open_store(settings)
    try:
        if not stores.schema_is_current(store):
            raise ConfigError(f"the store's schema is missing or not this version's; {_cure(file)}")
        yield settings, store
    finally:
        store.close()


@contextmanager
def _with_log(file: Path) -> Iterator[tuple[Settings, Store, EmbeddedLog | KafkaLog]]:
    """And the log."""
    with _opened(file) as (settings, store):
        log = wiring.open_log(settings, store, CLOCK)
        try:
            yield settings, store, log
        finally:
            log.close()


def _order(store: Store, order_id: str, shop: str | None) -> OrderRow:
    """The one order of this id. Ends the command where there is none."""
    rows = views.find_orders(store, order_id, shop)
    if not rows:
        _fail(f"there is no order {order_id}" + (f" of shop {shop}" if shop else ""), BAD_ANSWER)
    if len(rows) > 1:
        _fail(f"{order_id} is an order of {' and '.join(sorted(row.shop for row in rows))}: say --shop", BAD_USE)
    return rows[0]


def _user() -> str:
    """The system's user; not $USER, which anybody sets."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        return f"uid {os.getuid()}"


def _ask(question: str, yes: bool) -> None:
    if not yes:
        typer.confirm(_printable(question), abort=True, err=True)


def _at_most(limit: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(rows) > limit:
        typer.echo(f"orderflow: there are more than {limit}; --limit shows more", err=True)
    return rows[:limit]


def _print_json(value: Any) -> None:
    """ASCII alone, so that no byte of a remote reaches a terminal as a command."""
    typer.echo(json.dumps(value, indent=2, default=lambda instant: instant.isoformat()))


def _print_rows(rows: Sequence[Mapping[str, Any]], as_json: bool = False) -> None:
    """A table with the keys as its head: by rich on a terminal, else plain columns, nothing cut."""
    if as_json or not rows:
        _print_json(rows) if as_json else typer.echo("none", err=True)
        return
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    if sys.stdout.isatty():
        _print_rich(cells)
        return
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_rich(cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for name in cells[0]:
        table.add_column(name, overflow="fold")
    for row in cells[1:]:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _print_pairs(pairs: Mapping[str, Any]) -> None:
    width = max(len(name) for name in pairs)
    for name, value in pairs.items():
        typer.echo(f"{name.replace('_', ' ').ljust(width)}  {_cell(value)}".rstrip())


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        case list() | tuple() | set() | frozenset():
            return " ".join(_cell(one) for one in value)
    return _printable(str(value))


def _printable(text: str) -> str:
    """What a remote wrote may hold control characters; a terminal would obey them."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _text(body: bytes | None) -> str | None:
    return body.decode(errors="backslashreplace") if body is not None else None


def _print_bytes(body: bytes | None) -> None:
    """Byte for byte into a pipe or file; made harmless on a terminal."""
    if sys.stdout.isatty():
        for line in (_text(body) or "").splitlines():
            typer.echo(_printable(line))
    else:
        sys.stdout.flush()
        typer.echo(body or b"")


def main() -> None:
    """The `orderflow` command."""
    app(prog_name="orderflow")
