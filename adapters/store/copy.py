"""A store moves from SQLite to PostgreSQL: every row that will be needed, whole or not at all.

Not moved: the embedded log and its progress (Kafka's topics are others), leases and budgets (they are of the moment).
So nothing may wait in that log, and no call may be under way.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from adapters.errors import ConfigError, OrderflowError
from adapters.store import engine as database
from adapters.store import schema as s
from adapters.store.transaction import Store

LEFT: Final = frozenset({"log_records", "progress", "leases", "budgets"})
#: Parents before children. A table that a later version adds is moved too.
MOVED: Final = tuple(table for table in s.metadata.sorted_tables if table.name not in LEFT)
BATCH: Final = 1_000

SAID_BY: Final = "--from"


class NotMovable(OrderflowError):
    """The source or the target is not as it has to be. Nothing was changed."""


def move(
    source_url: str, target: Store, group: str, on_rows: Callable[[str, int, int], None] = lambda *_: None
) -> dict[str, int]:
    """Copy the store of `source_url` into `target`, which gets its schema where it has none. Returns rows by table.

    `group` is the one that read the embedded log; `on_rows` hears of (table, rows so far, rows in all). The source is
    held against every other writer, and stays as it was. Raises ConfigError, NotMovable, StoreUnavailable.
    """
    if target.is_sqlite:
        raise ConfigError("store.url: is SQLite; the configuration has to name the PostgreSQL to move to")
    _must_be_a_store(source_url)
    lock = database.hold_alone(source_url, SAID_BY)
    source = Store(source_url)
    try:
        with source.writing() as old:
            _must_be_movable(old, group)
            with target.writing() as new:
                database.upgrade(new)
                _must_be_empty(new)
                return {table.name: _copy(old, new, table, on_rows) for table in MOVED}
    except sa.exc.DatabaseError as error:  # its text may quote rows
        raise NotMovable(f"{SAID_BY}: cannot be read or written as it is ({type(error.orig).__name__})") from error
    finally:
        source.close()
        if lock is not None:
            lock.close()


def _must_be_a_store(source_url: str) -> None:
    try:
        url = sa.make_url(source_url)
    except sa.exc.ArgumentError as error:
        raise ConfigError(f"{SAID_BY}: is not a database URL; example: sqlite:///orderflow.db") from error
    if url.drivername != "sqlite" or not url.database or url.database == ":memory:" or url.query:
        raise ConfigError(f"{SAID_BY}: has to be the file of a SQLite store; example: sqlite:///orderflow.db")
    if not Path(url.database).is_file():  # SQLite would make one
        raise ConfigError(f"{SAID_BY}: there is no file {url.database}")


def _must_be_movable(old: sa.Connection, group: str) -> None:
    if not database.is_current(old):
        raise NotMovable(
            f"{SAID_BY}: its schema is missing or not this version's. Run this version on it once "
            "(`orderflow run`, with its old configuration), then move"
        )
    waiting = _not_applied(old, group)
    if waiting:
        told = ", ".join(f"{topic}/{partition}: {count}" for (topic, partition), count in waiting.items())
        raise NotMovable(
            f"{SAID_BY}: {sum(waiting.values())} records of its log have not been applied yet ({told}). Run the old "
            "service until it has caught up, stop it, then move"
        )
    c = s.commands.c
    leased = old.execute(sa.select(sa.func.count()).select_from(s.commands).where(c.state == "leased")).scalar_one()
    if leased:
        raise NotMovable(
            f"{SAID_BY}: {leased} calls are under way, or were when the old service was killed. Run it until they are "
            "settled, stop it with SIGTERM, then move"
        )


def _not_applied(old: sa.Connection, group: str) -> dict[tuple[str, int], int]:
    """Records of the embedded log behind the group's progress, by topic and partition."""
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


def _must_be_empty(new: sa.Connection) -> None:
    """No process of the new service writes from here on: it waits, or refuses to start."""
    preparer = new.dialect.identifier_preparer
    names = ", ".join(preparer.format_table(table) for table in s.metadata.sorted_tables)
    new.exec_driver_sql(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")
    for table in s.metadata.sorted_tables:
        if new.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None:
            raise NotMovable(
                f"store.url: the PostgreSQL database is not empty ({table.name} has rows). Move into a database of "
                "its own, before anything has run on it"
            )


def _copy(old: sa.Connection, new: sa.Connection, table: sa.Table, on_rows: Callable[[str, int, int], None]) -> int:
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
