"""Questions about the database itself: its rights, its settings, and the transactions that other sessions hold open."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from adapters.store import schema as s
from adapters.store.transaction import Store

RIGHTS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
#: Settings of PostgreSQL that have to be so, with what is lost otherwise.
SETTINGS: Final[Mapping[str, tuple[str, str]]] = {
    "synchronous_commit": ("on", "a crash loses transactions that were confirmed"),
    "server_encoding": ("UTF8", "names and addresses cannot be stored"),
}


@dataclass(frozen=True, slots=True)
class OldTransaction:
    """A transaction of another session. `seconds`: how long it has been open."""

    session: int
    application: str
    seconds: float


def missing_rights(store: Store) -> list[str]:
    """Return the rights that this user lacks, such as "UPDATE orders". Raises StoreUnavailable."""
    if store.is_sqlite:
        return [] if store.takes_a_small_write() else ["write"]
    tables = sorted(s.metadata.tables)
    columns = [
        sa.func.has_table_privilege(table, right).label(f"{right} {table}") for table in tables for right in RIGHTS
    ]
    with store.reading() as connection:
        row = connection.execute(sa.select(*columns)).one()
    return [name for name, has in row._mapping.items() if not has]


def is_standby(store: Store) -> bool:
    """Whether this PostgreSQL is a replica, which takes no write. Raises StoreUnavailable."""
    return not store.is_sqlite and bool(_value(store, sa.func.pg_is_in_recovery()))


def wrong_settings(store: Store) -> list[tuple[str, str, str]]:
    """Return name, value and harm of each setting that is less safe than in SETTINGS. Raises StoreUnavailable."""
    if store.is_sqlite:
        return []
    found = {name: str(_value(store, sa.func.current_setting(name))) for name in SETTINGS}
    stronger = {"synchronous_commit": ("on", "remote_apply", "remote_write")}
    return [
        (name, found[name], harm)
        for name, (right, harm) in SETTINGS.items()
        if found[name] not in stronger.get(name, (right,))
    ]


def old_transactions(store: Store, seconds: float) -> list[OldTransaction]:
    """Return the transactions of this database that have been open for more than `seconds`, oldest first. SQLite: none.

    While a transaction that has written, or that keeps a snapshot, is open, PostgreSQL keeps rows that others deleted.
    PostgreSQL shows when the transactions of another user began only to a superuser and to a user with the role
    pg_read_all_stats. For any other user they are left out. Raises StoreUnavailable.
    """
    if store.is_sqlite:
        return []
    query = sa.text(
        "SELECT pid, application_name, extract(epoch FROM clock_timestamp() - xact_start) AS seconds"
        " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND xact_start < clock_timestamp() - make_interval(secs => :seconds) ORDER BY xact_start"
    )
    with store.reading() as connection:
        rows = connection.execute(query, {"seconds": seconds})
        return [OldTransaction(row.pid, row.application_name, float(row.seconds)) for row in rows]


def blocking(store: Store, seconds: float) -> list[OldTransaction]:
    """Return the transactions, oldest first, that keep every other session from writing to one of our tables, and that
    have been open for more than `seconds`. SQLite: none.

    Such a lock is taken by LOCK TABLE, or by CREATE INDEX and ALTER TABLE in a transaction that was not ended. What the
    service itself does takes no such lock. A transaction of another user counts as open for `seconds` if PostgreSQL
    does not show us its beginning. Raises StoreUnavailable.
    """
    if store.is_sqlite:
        return []
    query = sa.text(
        "SELECT DISTINCT l.pid, coalesce(a.application_name, '') AS application_name,"
        " coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), :seconds) AS seconds"
        " FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.granted AND l.relation = ANY(CAST(:tables AS regclass[])) AND l.pid <> pg_backend_pid()"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"
        " AND coalesce(a.xact_start < clock_timestamp() - make_interval(secs => :seconds), true) ORDER BY seconds DESC"
    )
    tables = [table.name for table in s.metadata.sorted_tables]
    with store.reading() as connection:
        rows = connection.execute(query, {"seconds": seconds, "tables": tables})
        return [OldTransaction(row.pid, row.application_name, float(row.seconds)) for row in rows]


def _value(store: Store, expression: Any) -> Any:
    with store.reading() as connection:
        return connection.execute(sa.select(expression)).scalar_one()
