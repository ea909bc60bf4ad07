"""The store and its transactions. Every statement on the database is executed by one of the two.

`Store.transaction()` gives a Transaction, which the modules of the tables write through; `Store.reading()` gives a
connection for reads. All transactions take their locks in one order: progress by topic and partition, then orders by
key, then commands (docs/rules.md 29).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import sqlalchemy as sa

from adapters.store import engine


class Transaction:
    """One write transaction: its connection, and which of the two engines it is on (see bulk)."""

    def __init__(self, connection: sa.Connection, is_sqlite: bool) -> None:
        self.execute = connection.execute
        self.is_sqlite = is_sqlite


class Store:
    """The database of one service. Any thread may call."""

    def __init__(
        self,
        url: str,
        busy_seconds: float = engine.BUSY_SECONDS,
        *,
        password: Callable[[], str] | None = None,
        connections: int = 16,
    ) -> None:
        """`busy_seconds`: how long a write on SQLite waits for another process. `connections`: how many PostgreSQL may
        have at a time; `password` is read for each of them. Raises ConfigError.
        """
        self.engine = engine.open_engine(url, busy_seconds=busy_seconds, password=password, connections=connections)
        self.is_sqlite = engine.is_sqlite(url)
        # SQLite's own wait for a lock is unfair: of many threads of one process, some would wait for seconds.
        self._writing: AbstractContextManager[Any] = threading.Lock() if self.is_sqlite else nullcontext()
        # All statements of a read see the same moment. SQLite's do without an option.
        self._reading = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._of_thread = threading.local()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One write transaction: it is committed whole, or not at all where the body raises. Raises StoreUnavailable.

        Where the connection is lost during the commit itself, the transaction may have been committed all the same.
        So every caller has a fence or a unique id that makes it safe to try again.
        """
        with self.writing() as connection:
            yield Transaction(connection, self.is_sqlite)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """The connection of a write transaction. On SQLite it takes the write lock at its beginning.

        Raises RuntimeError for a second transaction inside the first, by the same thread: it would wait for itself.
        """
        with (
            self._once_per_thread(),
            self._writing,
            engine.translated(),
            self.engine.connect() as connection,
            connection.execution_options(writes=True).begin(),
        ):
            yield connection

    @contextmanager
    def _once_per_thread(self) -> Iterator[None]:
        if getattr(self._of_thread, "writes", False):
            raise RuntimeError("this thread has a write transaction open already")
        self._of_thread.writes = True
        try:
            yield
        finally:
            self._of_thread.writes = False

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """The connection of a read whose statements all see the same moment. Raises StoreUnavailable."""
        with (
            engine.translated(),
            self.engine.connect() as connection,
            connection.execution_options(**self._reading).begin(),
        ):
            yield connection

    def migrate(self) -> None:
        """Bring the schema to this version's."""
        with self.writing() as connection:
            engine.upgrade(connection)

    def schema_is_current(self) -> bool:
        """Whether the schema is what this version needs."""
        with self.reading() as connection:
            return engine.is_current(connection)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
