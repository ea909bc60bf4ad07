"""How each engine is opened, and after which of its errors a retry can succeed.

SQLite serves one process. PostgreSQL serves any number of processes. There, a write transaction runs at READ COMMITTED:
each of its statements sees what was committed when the statement began. So rows are read under their lock, and updates
name the state that they expect. A transaction for reads runs at REPEATABLE READ (transaction.py).
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import sqlalchemy as sa

from adapters.errors import Cause, ConfigError, StoreUnavailable
from adapters.store.not_now import not_now

#: How long a write waits while another process writes the SQLite file, for example a command of the CLI.
BUSY_SECONDS: Final = 15
#: PostgreSQL ends a statement, a wait for a lock, and an idle transaction after these times.
STATEMENT_SECONDS: Final = 60
#: A wait for a lock ends soon: whatever needs what somebody holds for minutes is tried again, and the rest goes on.
LOCK_SECONDS: Final = 2
#: How long a transaction of many orders waits for a lock: of a batch of records, of results, of last looks. All wait.
SHARED_LOCK_SECONDS: Final = 0.25
IDLE_SECONDS: Final = 60
#: How long a thread waits for a connection of the pool.
POOL_SECONDS: Final = 30
#: A connection is closed if the server has not answered for this time.
SILENT_SECONDS: Final = 20
CONNECT_SECONDS: Final = 5
POSTGRESQL: Final = "postgresql+psycopg"


def is_sqlite(url: str) -> bool:
    """Whether this is the URL of a SQLite store."""
    return url.startswith("sqlite")


def sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLite store, `:memory:` included. None for PostgreSQL, and if the URL names no file."""
    path = url.partition(":///")[2].partition("?")[0]
    return Path(path) if is_sqlite(url) and path else None


def file_identity(file: Path | None) -> tuple[int, int] | None:
    """Device and number of a file, which stay while it is the same one. None: there is no such file."""
    try:
        found = file.stat() if file else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found else None


def hold_alone(url: str, setting: str = "store.url") -> IO[str] | None:
    """Lock a SQLite store for this process, so that no second service runs on it, until the returned file is closed.

    Returns None if there is nothing to lock: for PostgreSQL, and for a store in memory. Commands of the CLI do not take
    the lock. Raises ConfigError, which names `setting`, if another process has the lock or if the folder is missing.
    """
    file = sqlite_file(url)
    if file is None or file.name == ":memory:":
        return None
    if not file.parent.is_dir():
        raise ConfigError(f"{setting}: there is no folder {file.parent}")
    lock = file.with_name(f"{file.name}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise ConfigError(f"{setting}: another orderflow runs on {file}; stop it first") from error
    return lock


def open_engine(
    url: str,
    *,
    busy_seconds: float = BUSY_SECONDS,
    password: Callable[[], str] | None = None,
    connections: int = 16,
) -> sa.Engine:
    """Return the engine of a URL. It connects when it is first used. `password` is called for every new connection.

    Raises ConfigError.
    """
    try:
        parsed = _parsed(url)
    except ValueError as error:
        raise ConfigError(f"store.url: {error}") from error
    if parsed.drivername == "sqlite":
        return _open_sqlite(parsed, busy_seconds)
    if parsed.drivername in ("postgresql", POSTGRESQL):
        return _open_postgresql(parsed.set(drivername=POSTGRESQL), password, connections)
    raise ConfigError(f"store.url: neither SQLite (sqlite:///FILE) nor PostgreSQL ({_EXAMPLE})")


_EXAMPLE: Final = f"{POSTGRESQL}://orderflow@db.example/orderflow"
#: The secrets that the driver reads from the query of a URL: the user's password, and that of a certificate's key.
_SECRETS: Final = frozenset({"password", "sslpassword"})


def _parsed(url: str) -> sa.URL:
    """Parse a URL. Raises ValueError, whose text does not quote the URL, because the URL may hold a password."""
    try:
        return sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:  # a plain ValueError: the port is no number
        raise ValueError(f"is not a database URL; examples: sqlite:///orderflow.db, {_EXAMPLE}") from error


def has_password(url: str) -> bool:
    """Whether the URL holds a password, beside the user or in the query. Raises ValueError if it is no URL."""
    parsed = _parsed(url)
    return parsed.password is not None or not _SECRETS.isdisjoint(parsed.query)


def without_password(url: str) -> tuple[str, str]:
    """Return the URL without the user's password, and the password, which is "" if there is none.

    The password of a certificate's key (`sslpassword`) stays in the URL. Raises ValueError if it is no URL.
    """
    parsed = _parsed(url)
    in_query = parsed.query.get("password", ())  # the driver prefers this password to the one beside the user
    password = in_query if isinstance(in_query, str) else "".join(in_query[-1:])
    # `URL.set(password=None)` leaves the password as it is. So `_replace` removes it.
    bare = parsed.difference_update_query(["password"])._replace(password=None)
    return bare.render_as_string(hide_password=False), password or str(parsed.password or "")


def _open_sqlite(url: sa.URL, busy_seconds: float) -> sa.Engine:
    engine = sa.create_engine(
        url, hide_parameters=True, connect_args={"timeout": busy_seconds, "check_same_thread": False}
    )
    sa.event.listen(engine, "connect", _sqlite_settings)
    sa.event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_settings(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # otherwise the driver sends BEGIN at the first write, too late
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _open_postgresql(url: sa.URL, password: Callable[[], str] | None, connections: int) -> sa.Engine:
    limits = {
        "statement_timeout": STATEMENT_SECONDS * 1000,
        "lock_timeout": LOCK_SECONDS * 1000,
        "idle_in_transaction_session_timeout": IDLE_SECONDS * 1000,
        "timezone": "UTC",
    }
    engine = sa.create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        pool_pre_ping=True,  # otherwise, after an outage, the first use of each old connection fails
        pool_recycle=1800,
        hide_parameters=True,  # error texts would quote them: people's names and addresses
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "orderflow",
            "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
            "keepalives_idle": SILENT_SECONDS // 2,
            "keepalives_interval": SILENT_SECONDS // 4,
            "keepalives_count": 2,
            "tcp_user_timeout": SILENT_SECONDS * 1000,
        },
    )
    sa.event.listen(engine, "connect", _postgresql_settings)
    sa.event.listen(engine, "checkin", _forget_read_only)
    sa.event.listen(engine, "do_connect", partial(_connect, password))
    from adapters.store.answers import bounded  # noqa: PLC0415 - a command on SQLite need not wait for the client

    engine.dialect.do_ping = bounded(engine.dialect.do_ping)  # type: ignore[method-assign, assignment]
    return engine


def _connect(password: Callable[[], str] | None, _dialect: Any, _record: Any, place: Any, settings: Any) -> Any:
    from adapters.store.answers import BoundedConnection  # noqa: PLC0415 - as above

    if password is not None:
        settings["password"] = password()
    return BoundedConnection.connect(*place, **settings)


def _postgresql_settings(connection: Any, _record: object) -> None:
    """Send arrays in binary. As text, Python has to escape every quote of every document, which took a third of the
    time of apply."""
    from psycopg.types.array import ListBinaryDumper  # noqa: PLC0415 - a command on SQLite need not wait for it

    connection.adapters.register_dumper(list, ListBinaryDumper)


def _forget_read_only(connection: Any, _record: object) -> None:
    """Let the next transaction begin without READ WRITE, which SQLAlchemy sets after each read. A standby refuses that
    with SQLSTATE 0A000, as it refuses a feature, so each batch would be taken for its cause. Without it a standby
    refuses the first write, with 25006."""
    if connection is not None and not connection.closed:
        connection.read_only = None


@contextmanager
def translated(*, reads: bool = False) -> Iterator[None]:
    """Turn errors of the database that `not_now` names into StoreUnavailable. Every other error is raised as it is: it
    belongs to what the statement carries, so that it would be raised again and again.

    `reads`: nothing is written, so every error of the database becomes StoreUnavailable.
    """
    try:
        yield
    except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
        cause = not_now(error)
        if cause is None and not reads:
            raise
        name = type(error.__cause__ or error).__name__  # not its text, which may quote data
        raise StoreUnavailable(name, cause or Cause.OTHER) from error
