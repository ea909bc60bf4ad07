"""Copies a SQLite store to PostgreSQL (`orderflow migrate --from`), in one transaction: all its tables but five.

The embedded log and its progress are not copied, because Kafka has topics of its own. The target's own migrations
fill `schema_versions`. Leases and budgets are not copied, because they describe the present moment only. So before a
copy every record of the embedded log has to be applied, and no call may be under way.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from adapters.errors import ConfigError, OrderflowError
from adapters.store import engine, migrating
from adapters.store import schema as s
from adapters.store.transaction import Store

NOT_COPIED: Final = frozenset({"log_records", "progress", "leases", "budgets", "schema_versions"})
#: Parents before children, for the foreign keys. A table that a later version adds is copied too.
COPIED: Final = tuple(table for table in s.metadata.sorted_tables if table.name not in NOT_COPIED)
#: Rows of one INSERT.
BATCH: Final = 1_000

#: The option that names the source, for the texts of errors.
_OPTION: Final = "--from"


class CopyRefused(OrderflowError):
    """The source or the target is not in the state that a copy needs. No row of them was changed."""


def copy_to_postgresql(
    source_url: str, target: Store, group: str, on_rows: Callable[[str, int, int], None] = lambda *_: None
) -> dict[str, int]:
    """Copy the store of `source_url` into `target`, whose schema is created if it is missing.

    Returns the number of copied rows, by table. `group` is the consumer group that read the embedded log. `on_rows` is
    called with the table's name, the number of its copied rows, and the number of all its rows. The source is locked
    against other writers and is not changed. Raises ConfigError, CopyRefused, StoreUnavailable.
    """
    if target.is_sqlite:
        raise ConfigError("store.url: is SQLite, but it has to name the PostgreSQL database to which the store moves")
    _check_url(source_url)
    lock = engine.hold_alone(source_url, _OPTION)
    source = Store(source_url)
    try:
        with source.writing() as old:
            _check_source(old, group)
            target.migrate()
            with target.writing() as new:
                _check_target(new)
                return {table.name: _copy(old, new, table, on_rows) for table in COPIED}
    except sa.exc.DatabaseError as error:  # its text may quote rows
        raise CopyRefused(f"{_OPTION}: cannot be read or written as it is ({type(error.orig).__name__})") from error
    finally:
        source.close()
        if lock is not None:
            lock.close()


def _check_url(source_url: str) -> None:
    """Raise ConfigError if the source is not the file of a SQLite store."""
    try:
        url = sa.make_url(source_url)
    except sa.exc.ArgumentError as error:
        raise ConfigError(f"{_OPTION}: is not a database URL; example: sqlite:///orderflow.db") from error
    if url.drivername != "sqlite" or not url.database or url.database == ":memory:" or url.query:
        raise ConfigError(f"{_OPTION}: has to be the file of a SQLite store; example: sqlite:///orderflow.db")
    if not Path(url.database).is_file():  # SQLite would create the file
        raise ConfigError(f"{_OPTION}: there is no file {url.database}")


def _check_source(old: sa.Connection, group: str) -> None:
    """Raise CopyRefused if the schema is not this version's, or if the copy would lose a record or a call's result."""
    if migrating.revision_of(old) != migrating.NEEDED:
        raise CopyRefused(
            f"{_OPTION}: its schema is missing or not this version's. Run this version on it once "
            "(`orderflow run`, with its old configuration), then move"
        )
    waiting = _not_applied(old, group)
    if waiting:
        by_partition = ", ".join(f"{topic}/{partition}: {count}" for (topic, partition), count in waiting.items())
        raise CopyRefused(
            f"{_OPTION}: {sum(waiting.values())} records of its log have not been applied yet ({by_partition}). Run "
            "the old service until it has caught up, stop it, then move"
        )
    leased = sa.select(sa.func.count()).select_from(s.commands).where(s.commands.c.state == "leased")
    count = old.execute(leased).scalar_one()
    if count:
        raise CopyRefused(
            f"{_OPTION}: {count} calls are under way, or were when the old service was killed. Run the old service "
            "until their results are stored, stop it with SIGTERM, then move"
        )


def _not_applied(old: sa.Connection, group: str) -> dict[tuple[str, int], int]:
    """Return how many records of the embedded log the group has not applied, by topic and partition."""
    record, progress = s.log_records.c, s.progress.c
    mine = sa.and_(
        progress.cluster == s.CLUSTER,
        progress.group_name == group,
        progress.topic == record.topic,
        progress.partition == record.partition,
    )
    statement = (
        sa.select(record.topic, record.partition, sa.func.count())
        .select_from(s.log_records.join(s.progress, mine, isouter=True))
        .where(record.offset >= sa.func.coalesce(progress.position, 0))
        .group_by(record.topic, record.partition)
        .order_by(record.topic, record.partition)
    )
    return {(topic, partition): count for topic, partition, count in old.execute(statement)}


def _check_target(new: sa.Connection) -> None:
    """Lock all tables, so that no service can write to them during the copy.

    Raises CopyRefused if a table other than `schema_versions` has rows.
    """
    preparer = new.dialect.identifier_preparer
    names = ", ".join(preparer.format_table(table) for table in s.metadata.sorted_tables)
    new.exec_driver_sql(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")
    for table in s.metadata.sorted_tables:
        if table is s.schema_versions:
            continue
        if new.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None:
            raise CopyRefused(
                f"store.url: the PostgreSQL database is not empty ({table.name} has rows). Move into a new "
                "database, on which no process has run yet"
            )


def _copy(old: sa.Connection, new: sa.Connection, table: sa.Table, on_rows: Callable[[str, int, int], None]) -> int:
    """Copy one table with its ids, and let ids of later rows begin above them. Returns the number of copied rows."""
    total = old.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
    done = 0
    on_rows(table.name, done, total)
    rows = old.execution_options(yield_per=BATCH).execute(sa.select(table).order_by(*table.primary_key))
    for batch in rows.mappings().partitions(BATCH):
        values: list[dict[str, Any]] = [dict(row) for row in batch]
        new.execute(sa.insert(table), values)
        done += len(values)
        on_rows(table.name, done, total)
    counter = table.autoincrement_column
    if counter is not None and done:
        sequence = sa.func.pg_get_serial_sequence(table.name, counter.name)
        new.execute(sa.select(sa.func.setval(sequence, sa.select(sa.func.max(counter)).scalar_subquery())))
    return done
