"""The store and its transactions, through which every statement on the database is executed.

`Store.transaction()` gives a Transaction, which the modules of the tables write through; `Store.reading()` gives a
connection for reads. All transactions take their locks in one order: progress by topic and partition, leases and
shops, cursors, orders by key, commands, budgets (docs/rules.md 29).
"""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from adapters.errors import Cause, StoreUnavailable
from adapters.store import engine, migrating
from adapters.store import schema as s

#: The name of the lease that no process holds, which `takes_a_small_write` writes.
PROBE: Final = "probe"
#: Fails if another transaction holds a table against writes. Two of these statements do not disturb each other.
_LOCKS_NO_TABLE: Final = (
    f"LOCK TABLE {', '.join(sorted(table.name for table in s.metadata.sorted_tables))} IN ROW EXCLUSIVE MODE NOWAIT"
)


class Transaction:
    """One write transaction. `execute` runs a statement in it. bulk.py needs `is_sqlite`, as the engines differ.

    `by_text`: statements that are built once are executed by their text (texts.py). A test sets it, to compare.
    """

    def __init__(self, connection: sa.Connection, is_sqlite: bool) -> None:
        self.connection = connection
        self.execute = connection.execute
        self.is_sqlite = is_sqlite
        self.by_text = not is_sqlite


class Store:
    """The database of one service. Any thread may use it."""

    def __init__(
        self,
        url: str,
        busy_seconds: float = engine.BUSY_SECONDS,
        *,
        password: Callable[[], str] | None = None,
        connections: int = 16,
    ) -> None:
        """`busy_seconds`: how long a write on SQLite waits for another process. `connections`: the most connections to
        PostgreSQL at a time. `password` is called for each new connection. Raises ConfigError.
        """
        self.engine = engine.open_engine(url, busy_seconds=busy_seconds, password=password, connections=connections)
        self.is_sqlite = engine.is_sqlite(url)
        # SQLite's own wait for a lock is unfair: if many threads of a process write, some wait for seconds.
        self._writing: AbstractContextManager[Any] = threading.Lock() if self.is_sqlite else nullcontext()
        # All statements of a read see the same moment. SQLite needs no option for that.
        self._reading = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._of_thread = threading.local()
        self._file = engine.sqlite_file(url)
        self._file_identity: tuple[int, int] | None = None  # of the file that is open; None: not looked at yet

    @contextmanager
    def transaction(self, lock_seconds: float | None = None) -> Iterator[Transaction]:
        """Open a write transaction. It is committed at the end, or rolled back if the body raises.

        `lock_seconds`: how long it waits for a lock in PostgreSQL. None: `engine.LOCK_SECONDS`.
        Raises StoreUnavailable. If the connection is lost during the commit itself, the transaction may have been
        committed all the same. So every caller has a fence or a unique id that makes a second try safe.
        """
        with self.writing() as connection:
            if lock_seconds is not None and not self.is_sqlite:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round(lock_seconds * 1000)}")
            yield Transaction(connection, self.is_sqlite)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a write transaction and give its connection. On SQLite it takes the write lock at its beginning.

        Raises RuntimeError if this thread has a write transaction open already, because it would wait for itself.
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
    def reading(self, *, by_index: bool = False) -> Iterator[sa.Connection]:
        """Give a connection for reads, whose statements all see the same moment. Raises StoreUnavailable.

        `by_index`: PostgreSQL takes an index also if its statistics say that nearly all rows are wanted. They may be
        old, or of a table that had a few rows. For statements for which an index exists: the smallest one is taken,
        and how large an index is, PostgreSQL does not read from statistics.
        """
        with (
            engine.translated(reads=True),
            self.engine.connect() as connection,
            connection.execution_options(**self._reading, by_index=by_index).begin(),
        ):
            if by_index and not self.is_sqlite:
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            yield connection

    def takes_a_small_write(self) -> bool:
        """Whether the store takes a write of one small row now, and commits it.

        In PostgreSQL also: whether no session holds a whole table locked, because then no other write goes on.
        """
        try:
            with self.writing() as connection:
                if not self.is_sqlite:
                    connection.exec_driver_sql(_LOCKS_NO_TABLE)
                connection.execute(sa.delete(s.leases).where(s.leases.c.name == PROBE))
                now = datetime.now(UTC)
                connection.execute(sa.insert(s.leases).values(name=PROBE, holder="", token=0, until=now))
        except (StoreUnavailable, sa.exc.DBAPIError):  # also if another process writes the same row now
            return False
        return True

    def is_locked_in_part(self, error: Exception) -> bool:
        """Whether a transaction failed because somebody holds some rows locked, and other writes go on."""
        return isinstance(error, StoreUnavailable) and error.cause == Cause.LOCKED and self.takes_a_small_write()

    def migrate(self, revision: str = migrating.NEEDED) -> None:
        """Upgrade the schema to the one that this version needs, or to an earlier revision. A later one stays.

        Raises StoreUnavailable.
        """
        if not self.is_sqlite:
            migrating.upgrade_postgresql(self.engine, revision)
            return
        with self.writing() as connection:
            migrating.upgrade(connection, revision)

    def schema_fits(self) -> bool:
        """Whether the schema has what this version needs; that of a later version has it too.

        Raises ConfigError if a later version forbids this one to run, and StoreUnavailable.
        """
        with self.reading() as connection:
            return migrating.schema_fits(connection)

    def ping(self) -> None:
        """Ask the database for an answer. Raises StoreUnavailable."""
        with self.reading() as connection:
            connection.execute(sa.select(1))

    def try_a_write(self) -> None:
        """Write a row and take it back, in PostgreSQL; in SQLite only read, because a write waits for all others.

        Raises StoreUnavailable, with the cause READ_ONLY if the server is no longer the primary, or if the SQLite file
        was deleted or replaced: what is written then is lost with the process.
        """
        if self.is_sqlite:
            self.ping()
            self._check_file()
            return
        probe = {"name": f"{PROBE}/{uuid.uuid4().hex}", "holder": "", "token": 0, "until": datetime.now(UTC)}
        with engine.translated(reads=True), self.engine.connect() as connection, connection.begin() as transaction:
            connection.execute(sa.insert(s.leases).values(probe))
            transaction.rollback()

    def _check_file(self) -> None:
        found = engine.file_identity(self._file)
        self._file_identity = self._file_identity or found
        if found != self._file_identity:
            text = f"the file {self._file} was deleted or replaced while it was open: restart the service"
            raise StoreUnavailable(text, Cause.READ_ONLY)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
