"""Statements on many rows at once, which differ between SQLite and PostgreSQL.

The engines also differ in how they are opened and locked (engine.py, transaction.py), and in the statements of
lanes.py, notices.py, clock.py and health.py.

PostgreSQL takes each column as one array, so the statement has the same text for any number of rows, and one round
trip carries all of them. SQLite has no arrays. There, a prepared statement is executed for each row, or the statement
lists the values.

A statement is built once for each engine, and gets its values by name each time: building one takes longer than
executing it. So what goes into a cache here are functions and tables of modules, never a lambda.

The dialect of an engine is imported where it is used: a command on SQLite would wait for that of PostgreSQL.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from adapters.store import texts
from adapters.store.transaction import Transaction

Rows = Sequence[Mapping[str, Any]]


def insert(tx: Transaction, table: sa.Table) -> Any:
    """Return an INSERT that can have an ON CONFLICT clause. SQLAlchemy has a class of it for each engine."""
    return _insert(table, is_sqlite=tx.is_sqlite)


def _insert(table: sa.Table, *, is_sqlite: bool) -> Any:
    if is_sqlite:
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415 - the module says why

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - as above

    return postgresql.insert(table)


def do_nothing(statement: Any) -> Any:
    """ON CONFLICT DO NOTHING: a row that exists already stays as it is."""
    return statement.on_conflict_do_nothing()


def _plain(statement: Any) -> Any:
    return statement


def insert_rows(tx: Transaction, table: sa.Table, rows: Rows, on_conflict: Callable[[Any], Any] = _plain) -> None:
    """Insert all rows with one statement; `on_conflict`, a function of a module, adds its ON CONFLICT clause.

    On PostgreSQL this takes a fifth of the time of one statement for each row.
    """
    if not rows:
        return
    names = tuple(rows[0])
    statement = _insertion(table, names, on_conflict, is_sqlite=tx.is_sqlite)
    if tx.is_sqlite:
        tx.execute(statement, list(rows))
    else:
        texts.write(tx, statement, _arrays(rows, names))


@cache
def _insertion(table: sa.Table, names: Sequence[str], on_conflict: Callable[[Any], Any], *, is_sqlite: bool) -> Any:
    statement = _insert(table, is_sqlite=is_sqlite)
    if is_sqlite:
        return on_conflict(statement)
    unnested = _unnested({name: table.c[name] for name in names})
    return on_conflict(statement.from_select(list(names), sa.select(*unnested.c)))


@dataclass(frozen=True, slots=True, eq=False)
class Update:
    """An UPDATE with the values of many rows. It is a constant of a module.

    `build` builds it from the values of a row, which it gets by name. `columns` gives for each name a column that has
    the type of the value. What all rows have in common are parameters of `build`'s own (sa.bindparam), without an
    underscore before the name. `key`: the table's key, which the rows have under its name; only for `update_each`.
    """

    columns: Mapping[str, sa.Column[Any]]
    build: Callable[[Any], sa.Update]
    key: sa.Column[int] | None = None


def update_rows(tx: Transaction, update: Update, rows: Rows, **common: object) -> int:
    """Update the table with each of `rows`. Returns how many rows of the table changed."""
    if not rows:
        return 0
    statement = _updating(update, is_sqlite=tx.is_sqlite)
    if tx.is_sqlite:
        return tx.execute(statement, [_of_row(row, update) | common for row in rows]).rowcount
    return texts.write(tx, statement, _arrays(rows, update.columns) | common)


def update_each(tx: Transaction, update: Update, rows: Rows, **common: object) -> set[int]:
    """As `update_rows`. Returns the keys of the rows that changed."""
    if not rows or update.key is None:
        return set()
    statement, key = _updating(update, is_sqlite=tx.is_sqlite), update.key.name
    if tx.is_sqlite:
        return {row[key] for row in rows if tx.execute(statement, _of_row(row, update) | common).rowcount}
    return {row[0] for row in texts.read(tx, statement, _arrays(rows, update.columns) | common)}


@cache
def _updating(update: Update, *, is_sqlite: bool) -> Any:
    if is_sqlite:
        return update.build({name: sa.bindparam(f"_{name}", type_=one.type) for name, one in update.columns.items()})
    statement = update.build(_unnested(update.columns).c)
    return statement if update.key is None else statement.returning(update.key)


def in_pairs(first: sa.ColumnElement[Any], second: sa.ColumnElement[Any], *, is_sqlite: bool) -> Any:
    """The condition that two columns hold one of the pairs of values that `pairs` makes parameters of.

    With a condition on pairs alone, SQLite uses no index and reads the whole table. So on SQLite the condition has the
    values of `first` as well.
    """
    if is_sqlite:
        values: sa.BindParameter[Any] = sa.bindparam("_pairs", expanding=True)
        return sa.and_(
            first.in_(sa.bindparam("_first", type_=first.type, expanding=True)), sa.tuple_(first, second).in_(values)
        )
    found = sa.func.unnest(_array("_first", first.type), _array("_second", second.type))
    pair = found.table_valued("a", "b").render_derived(name="pairs")
    return sa.tuple_(first, second).in_(sa.select(pair.c.a, pair.c.b))


def pairs(tx: Transaction, values: Collection[tuple[Any, Any]]) -> dict[str, Any]:
    """The parameters of a statement with `in_pairs`."""
    ordered = sorted(values)
    if tx.is_sqlite:
        return {"_first": sorted({first for first, _ in ordered}), "_pairs": ordered}
    return {"_first": [first for first, _ in ordered], "_second": [second for _, second in ordered]}


def among(column: sa.ColumnElement[Any], *, is_sqlite: bool) -> sa.ColumnElement[bool]:
    """The condition that a column holds one of the numbers that `numbers` makes a parameter of."""
    if is_sqlite:
        return column.in_(sa.bindparam("_numbers", type_=column.type, expanding=True))
    return column == sa.any_(_array("_numbers", column.type))


def among_many(column: sa.ColumnElement[Any], *, is_sqlite: bool) -> sa.ColumnElement[bool]:
    """As `among`, to compare very many rows with very many numbers: PostgreSQL makes a hash of the numbers, where it
    may go through all of them for each row of `among`."""
    if is_sqlite:
        return among(column, is_sqlite=True)
    return column.in_(sa.select(sa.func.unnest(_array("_numbers", column.type))))


def numbers(values: Collection[int]) -> dict[str, list[int]]:
    """The parameter of a statement with `among` or `among_many`."""
    return {"_numbers": sorted(values)}


def _of_row(row: Mapping[str, Any], update: Update) -> dict[str, Any]:
    return {f"_{name}": row[name] for name in update.columns}


def _arrays(rows: Rows, names: Collection[str]) -> dict[str, list[Any]]:
    return {f"_{name}": [row[name] for row in rows] for name in names}


def _unnested(columns: Mapping[str, sa.Column[Any]]) -> Any:
    """The rows as a table of PostgreSQL: one array for each column."""
    arrays = [_array(f"_{name}", column.type) for name, column in columns.items()]
    names = (sa.column(name, column.type) for name, column in columns.items())
    return sa.func.unnest(*arrays).table_valued(*names).render_derived(name="r")


def _array(name: str, of: sa.types.TypeEngine[Any]) -> sa.ColumnElement[Any]:
    array = sa.ARRAY(of)
    return sa.cast(sa.bindparam(name, type_=array), array)
