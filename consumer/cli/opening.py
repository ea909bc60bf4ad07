"""Opens the settings, the store and the log for a command, and says what time it is and who runs the command."""

import os
import pwd
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adapters.errors import ConfigError
from adapters.ports import Clock
from adapters.store.clock import StoreClock
from adapters.store.engine import sqlite_file
from adapters.store.policies import StoredPolicies
from adapters.store.transaction import Store
from consumer import config, stores
from consumer.cli.options import FILE
from consumer.config import Settings
from consumer.config.shops import ShopTable
from consumer.operations.errors import NotPossible, UnknownOrder
from statemachine.commands import Policy

if TYPE_CHECKING:
    from adapters.log.embedded import EmbeddedLog
    from adapters.log.kafka import KafkaLog
    from consumer.applying.apply import OrderWriter


def _system_user() -> str:
    """The name of the process's user. $USER is not read, because anybody can set it."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container the user may have no name
        return f"uid {os.getuid()}"


@dataclass(frozen=True, slots=True)
class Environment:
    """What a command takes from outside. A test hands in its own as the `obj` of typer's context."""

    clock: Clock = field(default_factory=StoreClock)
    user: str = field(default_factory=_system_user)
    transport: Any = None  # what clients of remotes send through; None: the network
    wait: Callable[[float], object] = time.sleep  # waits so many seconds between two looks of --watch

    @classmethod
    def of(cls, context: typer.Context) -> "Environment":
        """The environment that a test handed in, or else the real one."""
        found = context.obj
        return found if isinstance(found, Environment) else cls()


@dataclass(frozen=True, slots=True)
class Session:
    """The settings and the store of one command, the time, and who runs the command."""

    file: Path  # the configuration
    settings: Settings
    store: Store
    clock: Clock
    user: str
    group_id: str  # the consumer group
    transport: Any = None

    def name_of(self, who: str | None) -> str:
        """Who decides, for the store: the system's user, and the person that `--who` names."""
        return self.user if who in (None, self.user) else f"{who} as {self.user}"

    def policies(self) -> Mapping[str, Policy]:
        """Return the policy of each shop: that by which the service plans, if it has stored one."""
        policies = StoredPolicies(config.policies(self.settings))
        with self.store.reading() as connection:
            return policies.read(connection, self.settings.shops.keys())

    def shop_with_key(self, shop: str) -> tuple[ShopTable, Callable[[], str]]:
        """Return the settings of a shop, and what reads its key at Mirakl. Raises NotPossible and ConfigError."""
        from consumer.config import secrets  # noqa: PLC0415 - most commands need no secret

        table = self.settings.shops.get(shop)
        if table is None:
            raise NotPossible(f"the configuration has no shop {shop}")
        return table, secrets.secret(f"shops.{shop}.api_key_file", table.api_key_file)

    def order_writer(self) -> "OrderWriter":
        """Make the writer that applies a person's decisions, the same as the service uses for its events."""
        from consumer.applying.apply import OrderWriter  # noqa: PLC0415 - most commands only read

        policies, outbox = config.policies(self.settings), stores.outbox_of(self.settings)
        return OrderWriter(self.store, policies, self.clock, outbox=outbox)


def config_option(file: Path) -> str:
    """What a command that a text names needs to find the configuration; empty if it is in its usual place."""
    return "" if file == FILE else f" --config {shlex.quote(str(file))}"


def with_config(text: str, file: Path) -> str:
    """The text of a cure. If the configuration is not in its usual place, its commands also get `--config FILE`."""
    option = config_option(file)
    return re.sub(r"( --shop (?:'[^']*'|[^\s`']+))(?=[ `])", lambda found: found[1] + option, text) if option else text


@contextmanager
def opened(context: typer.Context, file: Path) -> Iterator[Session]:
    """Open the store that the configuration names. Nothing is created or migrated, since most commands only read.

    Raises ConfigError if there is no store yet, or if this version must not run on its schema.
    """
    environment, settings = Environment.of(context), config.load(file)
    if missing := missing_file(settings):
        raise ConfigError(f"{missing}: there is no store yet; {cure(file)}, or `orderflow run`, which creates it too")
    store = stores.open_store(settings)
    try:
        if not store.schema_fits():
            raise ConfigError(f"the store's schema is missing or older than this version's; {cure(file)}")
        if isinstance(environment.clock, StoreClock):
            environment.clock.read(store)
        yield Session(
            file=file,
            settings=settings,
            store=store,
            clock=environment.clock,
            user=environment.user,
            group_id=stores.group_of(settings),
            transport=environment.transport,
        )
    except UnknownOrder as error:
        raise error.with_options(config_option(file)) from error
    except NotPossible as error:
        raise NotPossible(with_config(str(error), file)) from error
    finally:
        store.close()


@contextmanager
def opened_with_log(context: typer.Context, file: Path) -> "Iterator[tuple[Session, EmbeddedLog | KafkaLog]]":
    """Open the store and the log."""
    from consumer import bootstrap  # noqa: PLC0415 - it imports the whole service

    with opened(context, file) as session:
        log = bootstrap.open_log(session.settings, session.store, session.clock)
        try:
            yield session, log
        finally:
            log.close()


def missing_file(settings: Settings) -> Path | None:
    """The path of the SQLite store if its file does not exist yet; else None, as for PostgreSQL."""
    file = sqlite_file(settings.store.url)
    return file if file and not file.exists() else None


def cure(file: Path) -> str:
    """The command that creates a missing store or updates an old schema, as part of an error text."""
    return f"run `orderflow migrate --config {file}`"
