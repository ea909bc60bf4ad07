"""How the schema is migrated, and whether this version may run on a schema.

A revision has a number, and names the oldest code that may run on it. The number of a version's code is that of the
revision that this version needs. So older code can run while and after a newer version migrates, can be started again,
and can replace the newer version. That ends when a revision names newer code as the oldest that may run.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from adapters.errors import Cause, ConfigError, StoreUnavailable
from adapters.store import schema as s
from adapters.store.engine import translated
from adapters.store.not_now import not_now

#: The revision that this version needs: the newest one in migrations/versions.
NEEDED: Final = "0023"
#: The number of the advisory lock that lets one process migrate at a time. No other program may use this number.
MIGRATION_LOCK: Final = 7_261_004_115
#: A statement of a migration waits this long for a lock. All who want the table meanwhile wait behind the statement.
LOCK_SECONDS: Final = 2.0
#: How long a revision that did not get its locks is tried again, and how long a process waits while another migrates.
PATIENCE_SECONDS: Final = 600.0
#: How long the table is left to others between two tries.
PAUSE_SECONDS: Final = 1.0


# -- May this version run? ---------------------------------------------------------------------------------------


def revision_of(connection: sa.Connection) -> str:
    """Return the revision of the schema; "" if there is none yet."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "")


def oldest_code(connection: sa.Connection) -> str:
    """Return the number of the oldest code that may run on the schema; "" if no revision names one."""
    if not sa.inspect(connection).has_table(s.schema_versions.name):
        return ""
    return str(connection.execute(sa.select(sa.func.max(s.schema_versions.c.oldest))).scalar() or "")


def schema_fits(connection: sa.Connection) -> bool:
    """Whether the schema has what this version needs. Raises ConfigError if a later one forbids this version to run."""
    oldest = oldest_code(connection)
    if oldest > NEEDED:
        raise ConfigError(
            f"store.url: a later version of orderflow migrated this store. Versions before its schema {oldest} must "
            f"not run on it, and this one has {NEEDED}: install a later version"
        )
    return revision_of(connection) >= NEEDED


# -- Migrate -----------------------------------------------------------------------------------------------------


def upgrade(connection: sa.Connection, revision: str = NEEDED) -> None:
    """Upgrade the schema to a revision, in the caller's transaction. A schema of a later revision stays as it is."""
    if revision_of(connection) < revision:
        _run(connection, revision)


def upgrade_postgresql(database: sa.Engine, revision: str = NEEDED) -> None:
    """Upgrade the schema on connections of its own, without a limit of the time that a statement takes.

    Each revision is a transaction of its own. A revision that does not get a lock within LOCK_SECONDS gives up, so that
    no call waits long behind it, and is tried again. If several processes start at once, one migrates, others wait.

    Raises StoreUnavailable, after PATIENCE_SECONDS also for locks that were never free.
    """
    ends_at = time.monotonic() + PATIENCE_SECONDS
    with translated(), _alone(database, ends_at), _connection(database) as connection:
        while revision_of(connection) < revision:
            connection.commit()  # alembic opens and commits a transaction for each revision, if none is open
            try:
                _run(connection, revision)
            except sa.exc.DBAPIError as error:
                if not_now(error) is not Cause.LOCKED or time.monotonic() > ends_at:
                    raise
                connection.rollback()
                time.sleep(PAUSE_SECONDS)


def _run(connection: sa.Connection, revision: str) -> None:
    from alembic import command  # noqa: PLC0415 - its import takes long, and nearly no command migrates
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


@contextmanager
def _connection(database: sa.Engine) -> Iterator[sa.Connection]:
    """A connection that does not go back to the pool, because it has limits of its own."""
    with database.connect() as connection:
        limits = {"statement_timeout": 0, "idle_in_transaction_session_timeout": 0, "lock_timeout": LOCK_SECONDS * 1000}
        for name, milliseconds in limits.items():
            connection.exec_driver_sql(f"SET {name} = {milliseconds:.0f}")
        connection.commit()
        driver: Any = connection.connection.driver_connection
        driver.answer_seconds = None  # the build of an index takes as long as it takes
        try:
            yield connection
        finally:
            connection.invalidate()


@contextmanager
def _alone(database: sa.Engine, ends_at: float) -> Iterator[None]:
    """Hold the advisory lock of migrations. It is asked for again and again, and not waited for in a transaction: a
    build of an index waits for every transaction that is open."""
    with _connection(database) as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        while not connection.execute(sa.select(sa.func.pg_try_advisory_lock(MIGRATION_LOCK))).scalar():
            if time.monotonic() > ends_at:
                raise StoreUnavailable("another process migrates", Cause.LOCKED)
            time.sleep(PAUSE_SECONDS / 5)
        yield  # the lock ends with the connection
