"""Notices: a process learns at once that another one opened commands (LISTEN and NOTIFY of PostgreSQL).

A notice is a hint. It is lost while nobody listens, or behind a pooler that gives each transaction another connection;
so a worker looks now and then all the same.
"""

from typing import TYPE_CHECKING, Any, Final, cast

import sqlalchemy as sa

from adapters.errors import Cause, StoreUnavailable
from adapters.store import engine
from adapters.store.transaction import Store, Transaction

if TYPE_CHECKING:
    import psycopg

#: The name of the channel in the database.
CHANNEL: Final = "orderflow_commands"


def opened(tx: Transaction, count: int) -> None:
    """Tell all who listen, when this transaction is committed, that so many commands were opened."""
    if not tx.is_sqlite:
        tx.execute(_NOTIFY, {"count": str(count)})


_NOTIFY: Final = sa.select(sa.func.pg_notify(CHANNEL, sa.bindparam("count", type_=sa.Text)))


class Notices:
    """Listens on a connection of its own. One thread uses it."""

    def __init__(self, store: Store) -> None:
        """The store is on PostgreSQL."""
        self._store = store
        self._connection: psycopg.Connection[Any] | None = None

    def wait(self, seconds: float) -> int:
        """Wait for a notice. Returns how many commands were opened; 0 if no notice came in time.

        Raises StoreUnavailable. The next call connects again.
        """
        import psycopg  # noqa: PLC0415 - a command on SQLite need not wait for it

        try:
            with engine.translated(reads=True):
                connection = self._connection or self._connect()
            return sum(int(notice.payload) for notice in connection.notifies(timeout=seconds, stop_after=1))
        except (psycopg.Error, OSError) as error:
            self.close()
            raise StoreUnavailable(type(error).__name__, Cause.CONNECTION) from error

    def _connect(self) -> "psycopg.Connection[Any]":
        borrowed = self._store.engine.raw_connection()
        self._connection = connection = cast("psycopg.Connection[Any]", borrowed.driver_connection)
        borrowed.detach()  # the pool has room for another one, and never gets this one back
        connection.autocommit = True
        connection.execute(f"LISTEN {CHANNEL}")
        return connection

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
