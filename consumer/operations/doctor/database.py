"""Checks of the store."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from adapters.errors import Cause, ConfigError, StoreUnavailable
from adapters.ports import Clock
from adapters.store import health
from adapters.store.clock import StoreClock
from adapters.store.engine import sqlite_file
from adapters.store.transaction import Store
from consumer.config import Settings
from consumer.config.secrets import store_password
from consumer.operations.doctor.findings import Found, fail, ok, skew, warn

#: A transaction that is open for longer is a warning.
OLD_TRANSACTION_SECONDS: Final = 3600.0
#: A lock on a whole table that is held for longer is a fault: consumers and workers stand still.
LOCK_SECONDS: Final = 10.0
#: How many connections the doctor takes: the subjects of shops look into the store too.
CONNECTIONS: Final = 4
_CURES: Final = {
    Cause.DNS: "store.url: correct the host",
    Cause.REFUSED: "store.url: correct host and port, or start the database",
    Cause.TIMEOUT: "look at the network and its policies between here and the database",
    Cause.LOGIN: "correct the user and the database in store.url, and the password in store.password_file",
    Cause.TLS: "correct the certificates, or sslmode in store.url",
    Cause.DISK_FULL: "free space on the database's disk",
    Cause.READ_ONLY: "name the primary in store.url",
}


@dataclass(frozen=True, slots=True)
class Database:
    """The store. `fits` gets the store if it can be used, else None. Other subjects wait until the checks here have
    set it."""

    settings: Settings
    machine: Clock  # the clock of this machine
    clock: Clock  # the clock by which calls are counted
    fits: "Future[Store | None]" = field(default_factory=Future)
    _opened: list[Store] = field(default_factory=list)

    def store(self) -> Store:
        """The store, opened at the first call. Raises ConfigError."""
        if not self._opened:
            url, password = self.settings.store.url, store_password(self.settings)
            self._opened.append(Store(url, 2.0, password=password, connections=CONNECTIONS))
        return self._opened[0]

    def ends(self) -> None:
        """Tell the subjects that still wait that nothing more is found out here."""
        if not self.fits.done():
            self.fits.set_result(None)

    def close(self) -> None:
        for store in self._opened:
            store.close()


def reach(patient: Database) -> list[Found]:
    """The database answers."""
    file = sqlite_file(patient.settings.store.url)
    if file is not None and not file.parent.is_dir():
        return fail(f"store.url: there is no folder {file.parent}", f"mkdir -p -m 700 {file.parent}")
    if file is not None and not file.exists():
        return fail(f"there is no store yet: {file}", "orderflow migrate")
    try:
        patient.store().ping()
    except StoreUnavailable as error:
        cure = _CURES.get(error.cause, "store.url: look at the database's own log")
        return fail(f"the database does not answer: {error.cause}", cure)
    except ConfigError as error:
        return fail(str(error), "correct it in the configuration")
    return ok(str(file) if file else "PostgreSQL answers")


def primary(patient: Database) -> list[Found]:
    """The database takes writes."""
    if health.is_standby(patient.store()):
        return fail("this PostgreSQL is a replica and takes no write", "store.url: name the primary")
    return ok("takes writes")


def schema(patient: Database) -> list[Found]:
    """The schema is that of this version, or of a later one that lets it run."""
    try:
        fits = patient.store().schema_fits()
    except ConfigError as error:
        return fail(str(error), "install a later version")
    if not fits:
        return fail("the schema is missing or older than this version's", "orderflow migrate")
    return ok("fits this version")


def rights(patient: Database) -> list[Found]:
    """This user may read and change every table."""
    missing = health.missing_rights(patient.store())
    if missing:
        cure = "let the user that ran `orderflow migrate` run the service too, or make it own the tables"
        return fail(f"this user may not: {', '.join(missing[:6])}{' ...' * (len(missing) > 6)}", cure)
    if isinstance(patient.clock, StoreClock):
        patient.clock.read(patient.store())  # before the other subjects count calls by it
    patient.fits.set_result(patient.store())
    return ok("every table can be read and changed")


def settings(patient: Database) -> list[Found]:
    """PostgreSQL keeps what it confirms, and stores any text."""
    found: list[Found] = []
    for name, value, harm in health.wrong_settings(patient.store()):
        found += fail(f"{name} is {value}: {harm}", "docs/production.md, PostgreSQL, says how it has to be")
    return found or ok("as they have to be")


def transactions(patient: Database) -> list[Found]:
    """No session keeps all others from writing for ten seconds, or holds a transaction open for an hour."""
    if locks := health.blocking(patient.store(), LOCK_SECONDS):
        text = f"session {locks[0].session} ({locks[0].application}) has locked a table for {locks[0].seconds:.0f} s"
        return fail(text, f"SELECT pg_terminate_backend({locks[0].session}): what it has done since is undone")
    old = health.old_transactions(patient.store(), OLD_TRANSACTION_SECONDS)
    if old:
        text = f"session {old[0].session} ({old[0].application}) holds a transaction for {old[0].seconds / 3600:.1f} h"
        return warn(text, f"SELECT pg_terminate_backend({old[0].session}): deleted rows are kept while it is open")
    return ok("none is old")


def clock(patient: Database) -> list[Found]:
    """The clock of this machine shows the time of the database."""
    of_store = StoreClock(patient.machine)
    of_store.read(patient.store())
    return skew(of_store.skew_seconds(), "the database")


#: Each check with what it needs.
CHECKS: Final[tuple[tuple[str, Callable[[Database], list[Found]], str], ...]] = (
    ("store.reach", reach, ""),
    ("store.primary", primary, "store.reach"),
    ("store.schema", schema, "store.reach"),
    ("store.rights", rights, "store.schema"),
    ("store.settings", settings, "store.reach"),
    ("store.transactions", transactions, "store.reach"),
    ("store.clock", clock, "store.reach"),
)
