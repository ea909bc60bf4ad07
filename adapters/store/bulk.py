"""Statements on many rows at once, which are the only statements that differ between SQLite and PostgreSQL.

The engines are also opened and locked in different ways: see engine.py, and `Store` in transaction.py.

PostgreSQL takes each column as one array, so the statement has the same text for any number of rows, and one round
trip carries all of them. SQLite has no arrays. There, a prepared statement is executed for each row, or the statement
lists the values.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from adapters.store.transaction import Transaction

Rows = Sequence[Mapping[str, Any]]


def insert(tx: Transaction, table: sa.Table) -> Any:
    """Return an INSERT that can have an ON CONFLICT clause. SQLAlchemy has a class of it for each engine."""
    return sqlite.insert(table) if tx.is_sqlite else postgresql.insert(table)


def do_nothing(statement: Any) -> Any:
    """ON CONFLICT DO NOTHING: a row that exists already stays as it is."""
    return statement.on_conflict_do_nothing()


def insert_rows(
    tx: Transaction,
    table: sa.Table,
    rows: Rows,
    on_conflict: Callable[[Any], Any] = lambda statement: statement,
) -> None:
    """Insert all rows with one statement; `on_conflict` adds its ON CONFLICT clause.

    On PostgreSQL this takes a fifth of the time of one statement for each row.
    """
    if not rows:
        return
    statement = insert(tx, table)
    if tx.is_sqlite:
        tx.execute(on_conflict(statement), list(rows))
        return
    unnested = _unnested(rows, {name: table.c[name] for name in rows[0]})
    statement = statement.from_select([column.name for column in unnested.c], sa.select(*unnested.c))
    tx.execute(on_conflict(statement))


def update_rows(
    tx: Transaction, rows: Rows, columns: Mapping[str, sa.Column[Any]], update: Callable[[Any], sa.Update]
) -> int:
    """Update the table with each of `rows`. Returns how many rows of the table changed.

    `update` builds the UPDATE from the values of a row, which it gets by name. `columns` gives for each name a column
    that has the type of the value.
    """
    if not rows:
        return 0
    if tx.is_sqlite:
        values = {name: sa.bindparam(f"_{name}", type_=column.type) for name, column in columns.items()}
        parameters = [{f"_{name}": row[name] for name in columns} for row in rows]
        return tx.execute(update(values), parameters).rowcount
    return tx.execute(update(_unnested(rows, columns).c)).rowcount


def update_each(
    tx: Transaction,
    rows: Rows,
    columns: Mapping[str, sa.Column[Any]],
    update: Callable[[Any], sa.Update],
    key: sa.Column[int],
) -> set[int]:
    """As `update_rows`. Returns the keys of the rows that changed. `rows` have the column `key` under its name."""
    if not rows:
        return set()
    if tx.is_sqlite:
        values = {name: sa.bindparam(f"_{name}", type_=column.type) for name, column in columns.items()}
        statement = update(values)
        return {row[key.name] for row in rows if tx.execute(statement, {f"_{n}": row[n] for n in columns}).rowcount}
    return set(tx.execute(update(_unnested(rows, columns).c).returning(key)).scalars())


def in_pairs(
    tx: Transaction, first: sa.ColumnElement[Any], second: sa.ColumnElement[Any], pairs: Collection[tuple[Any, Any]]
) -> sa.ColumnElement[bool]:
    """The condition that two columns hold one of these pairs of values.

    With a condition on pairs alone, SQLite uses no index and reads the whole table. So on SQLite the condition has the
    values of `first` as well.
    """
    ordered = sorted(pairs)
    if tx.is_sqlite:
        return sa.and_(first.in_(sorted({value for value, _ in ordered})), sa.tuple_(first, second).in_(ordered))
    arrays = [_array(column, [pair[n] for pair in ordered]) for n, column in enumerate((first, second))]
    found = sa.func.unnest(*arrays).table_valued("a", "b").render_derived(name="pairs")
    return sa.tuple_(first, second).in_(sa.select(found.c.a, found.c.b))


def among(tx: Transaction, column: sa.ColumnElement[Any], values: Collection[int]) -> sa.ColumnElement[bool]:
    """The condition that a column holds one of these values."""
    return column.in_(sorted(values)) if tx.is_sqlite else column == sa.any_(_array(column, sorted(values)))


def _unnested(rows: Rows, columns: Mapping[str, sa.Column[Any]]) -> Any:
    """The rows as a table of PostgreSQL: one array for each column."""
    arrays = [_array(column, [row[name] for row in rows]) for name, column in columns.items()]
    names = (sa.column(name, column.type) for name, column in columns.items())
    return sa.func.unnest(*arrays).table_valued(*names).render_derived(name="r")


def _array(column: Any, values: list[Any]) -> sa.ColumnElement[Any]:
    return sa.cast(sa.bindparam(None, values, type_=postgresql.ARRAY(column.type)), postgresql.ARRAY(column.type))
