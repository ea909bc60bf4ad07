"""The commands that run the service, prepare its configuration and its store, and describe it."""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from adapters.errors import StoreUnavailable
from adapters.ports import Clock
from adapters.store.copy import COPIED, copy_to_postgresql
from adapters.store.transaction import Store
from consumer import config, stores
from consumer.cli.opening import Environment, cure, missing_file
from consumer.cli.options import FILE, Config
from consumer.cli.output import BAD_ANSWER, BAD_USE, fail
from consumer.config import Settings
from consumer.config.secrets import refuse_open_files
from statemachine import diagram as diagrams


def run(
    role: Annotated[
        Literal["all", "poller", "consumer", "worker", "web"], typer.Argument(help="What this process does.")
    ] = "all",
    file: Config = FILE,
) -> None:
    """Run the service until SIGTERM or Ctrl-C; a second one ends it at once.

    `all` runs every role in one process, as SQLite requires. With Kafka and PostgreSQL each role can run in processes
    of its own, also in several: pollers share the shops, consumers share the partitions, workers share the calls.

    \b
    Examples:
      orderflow run --config orderflow.toml
      ORDERFLOW_WEB__PORT=9465 orderflow run worker --config orderflow.toml
    """
    from consumer import bootstrap, service  # noqa: PLC0415 - they import every part of the service

    settings = config.load(file)
    refuse_open_files(settings)
    service.run(lambda: bootstrap.build(settings, bootstrap.ROLES if role == "all" else (role,)))


def init(path: Annotated[Path, typer.Option(help="The file to write.")] = FILE) -> None:
    """Write a first configuration file.

    An existing file is not changed.

    \b
    Example:
      orderflow init --path orderflow.toml
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(config.example())
    except FileExistsError:
        fail(f"{path} exists already", BAD_USE)
    except OSError as error:
        fail(f"{path} cannot be written ({type(error).__name__})", BAD_USE)
    typer.echo(f"{path} is written. Put in your shops and their key files, then: orderflow run --config {path}")


def migrate(
    context: typer.Context,
    *,
    file: Config = FILE,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 1 if the schema is not up to date.")
    ] = False,
    wait_seconds: Annotated[
        float,
        typer.Option("--wait", min=0, metavar="SECONDS", help="How long to wait for the database, or for the schema."),
    ] = 0,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help="Copy this SQLite store into an empty PostgreSQL."),
    ] = None,
) -> None:
    """Bring the store's schema up to date, or move a store from SQLite to PostgreSQL.

    On SQLite `run` does this too. On PostgreSQL migrate once, before the processes of a new version start. Processes of
    the version before go on, and may be started again, unless CHANGELOG.md says that they must be stopped.

    With --from, the configuration names the PostgreSQL to move to. The SQLite store is only read, and no process may
    run on it.

    See docs/sqlite-to-postgresql.md.

    \b
    Examples:
      orderflow migrate --config orderflow.toml
      orderflow migrate --check --wait 120          (before a process starts)
      orderflow migrate --from sqlite:///orderflow.db --config production.toml
    """

    if source is not None and (check or wait_seconds):
        raise typer.BadParameter("--from cannot be used with --check or --wait")
    settings = config.load(file)
    store = stores.open_store(settings)
    try:
        if source is not None:
            moved = _moved(store, source, stores.GROUP)
            typer.echo(f"Moved: {', '.join(f'{table} {rows}' for table, rows in moved.items())}.")
            typer.echo(
                "Now run `orderflow orders verify --all`, and move the SQLite file, so that no process starts on it."
            )
            return
        is_done = partial(_is_migrated, settings, store) if check else partial(_migrated, store)
        if not in_time(wait_seconds, is_done, Environment.of(context).clock):
            fail(f"the store's schema is missing or older than this version's; {cure(file)}", BAD_ANSWER)
    finally:
        store.close()
    typer.echo("The store's schema fits this version.")


def _migrated(store: Store) -> bool:
    store.migrate()
    return store.schema_fits()


def _is_migrated(settings: Settings, store: Store) -> bool:
    """Whether this version may start. Looks for SQLite's file first: to connect would create it."""
    return missing_file(settings) is None and store.schema_fits()


def _moved(store: Store, source: str, group_id: str) -> dict[str, int]:
    if not sys.stdout.isatty():
        return copy_to_postgresql(source, store, group_id)
    from rich.progress import MofNCompleteColumn, Progress  # noqa: PLC0415 - only a terminal needs it

    with Progress(*Progress.get_default_columns(), MofNCompleteColumn()) as shown:
        tasks = {table.name: shown.add_task(table.name, total=None) for table in COPIED}
        return copy_to_postgresql(
            source,
            store,
            group_id,
            lambda table, done, total: shown.update(tasks[table], completed=done, total=total),
        )


def in_time(seconds: float, holds: Callable[[], bool], clock: Clock) -> bool:
    """Call `holds` once a second until it is true, and a last time after `seconds`. Returns its last result.

    Raises StoreUnavailable if the last call does.
    """
    ends_at = clock.monotonic() + seconds
    while True:
        is_last = clock.monotonic() >= ends_at
        try:
            if holds():
                return True
            if is_last:
                return False
        except StoreUnavailable:
            if is_last:
                raise
        time.sleep(min(1.0, max(0.0, ends_at - clock.monotonic())))


def diagram(
    overview: Annotated[bool, typer.Option("--overview", help="Only the way of nearly every order.")] = False,
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
