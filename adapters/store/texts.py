"""Executes statements on PostgreSQL by their text, which SQLAlchemy compiles once.

For each execution SQLAlchemy looks up the text, makes a context and a result, and describes its columns: two thirds of
the time of a small statement, and a claim with its result has about twenty-five of them. Here the driver gets the text,
in the connection and the transaction of SQLAlchemy, and its errors go the way of all others. The expression stays the
one source of a statement: SQLite, where nothing is gained, executes the expression itself, and a test holds that both
ways write and read the same.

The statement has to be one that is built once (bulk.py), because its text is kept for ever.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from adapters.store import schema as s
from adapters.store.transaction import Transaction

Convert = Callable[[Any], Any] | None
_NOTHING: Final[Mapping[str, Any]] = {}


def read(tx: Transaction, statement: Any, values: Mapping[str, Any] = _NOTHING) -> list[Any]:
    """Execute a statement that returns rows, and return them. A row has its values by number and by name."""
    if not tx.by_text:
        return list(tx.execute(statement, values).all())
    text = _text_of(statement, tx.connection.dialect)
    cursor = _executed(tx.connection, text, values)
    found = [text.row(*one) for one in cursor.fetchall()] if not text.reads else text.converted(cursor.fetchall())
    cursor.close()
    return found


def write(tx: Transaction, statement: Any, values: Mapping[str, Any]) -> int:
    """Execute a statement that returns no rows. Returns how many rows it changed."""
    if not tx.by_text:
        return int(tx.execute(statement, values).rowcount)
    cursor = _executed(tx.connection, _text_of(statement, tx.connection.dialect), values)
    count: int = cursor.rowcount
    cursor.close()
    return count


@dataclass(frozen=True, slots=True)
class _Text:
    """A statement as the driver gets it. `values`: the parameters that each execution brings, with what makes of a
    value the one that the driver takes. `reads`: the same for the columns of a row, by number."""

    sql: str
    constants: Mapping[str, Any]
    values: tuple[tuple[str, Convert], ...]
    row: type[Any]
    reads: tuple[tuple[int, Callable[[Any], Any]], ...]

    def parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        found = {name: given[name] if convert is None else convert(given[name]) for name, convert in self.values}
        return {**found, **self.constants}

    def converted(self, rows: list[tuple[Any, ...]]) -> list[Any]:
        found = []
        for one in rows:
            values = [*one]
            for number, convert in self.reads:
                values[number] = convert(values[number])
            found.append(self.row(*values))
        return found


@cache
def _text_of(statement: Any, dialect: sa.Dialect) -> _Text:
    compiled = statement.compile(dialect=dialect)
    if compiled.insert_prefetch or compiled.update_prefetch or any(one.expanding for one in compiled.binds.values()):
        raise ValueError(f"a statement whose text or values SQLAlchemy makes at each execution: {compiled}")
    into = {name: one.type.dialect_impl(dialect).bind_processor(dialect) for name, one in compiled.binds.items()}
    fixed = {name: one.effective_value for name, one in compiled.binds.items() if not one.required}
    columns = list(statement.exported_columns) if statement.is_select or statement._returning else []
    out = [_reader(column.type, dialect) for column in columns]
    return _Text(
        compiled.string,
        {name: value if (convert := into[name]) is None else convert(value) for name, value in fixed.items()},
        tuple((name, convert) for name, convert in into.items() if name not in fixed),
        namedtuple("Row", [column.key for column in columns]),
        tuple((number, convert) for number, convert in enumerate(out) if convert is not None),
    )


def _reader(of: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> Convert:
    """What makes of a value of the driver the one that we read. PostgreSQL's instants have their zone already."""
    return None if isinstance(of, s.Instant) else of.dialect_impl(dialect).result_processor(dialect, None)


def _executed(connection: sa.Connection, text: _Text, values: Mapping[str, Any]) -> Any:
    """Return the cursor that has executed this text. Raises what SQLAlchemy raises for the same error."""
    sql, given = text.sql, values
    cursor = connection.connection.cursor()
    try:
        given = text.parameters(values)
    except Exception as error:
        connection._handle_dbapi_exception(error, sql, given, cursor, None)
    if connection._has_events or connection.engine._has_events:  # only tests listen
        for listener in connection.dispatch.before_cursor_execute:
            sql, given = listener(connection, cursor, sql, given, None, False)
    try:
        cursor.execute(sql, given)
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, connection.dialect.loaded_dbapi.Error):
            raise
        connection._handle_dbapi_exception(error, sql, given, cursor, None)
    return cursor
