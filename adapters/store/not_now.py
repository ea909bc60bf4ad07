"""After which errors of the database the same statement may succeed later: a closed list.

Every other error belongs to what the statement carries: a value that an index or a type refuses, a missing right, a
table of another version. Repeated, it would stop everybody for the sake of one record.
"""

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from adapters.errors import Cause

#: By SQLSTATE, or by its class, which are its first two characters.
SQLSTATES: Final[Mapping[str, Cause]] = {
    "08": Cause.CONNECTION,  # connection exception
    "25006": Cause.READ_ONLY,  # the server is no longer the primary
    "40": Cause.LOCKED,  # transaction rollback: a deadlock, or a conflict with another transaction
    "53": Cause.BUSY,  # insufficient resources
    "53100": Cause.DISK_FULL,
    "55P03": Cause.LOCKED,  # lock_timeout
    "57": Cause.CONNECTION,  # operator intervention: the server starts, stops, or was told to end this session
    "57014": Cause.TIMEOUT,  # statement_timeout
}
#: By SQLite's primary result code.
SQLITE_CODES: Final[Mapping[int, Cause]] = {
    sqlite3.SQLITE_BUSY: Cause.LOCKED,
    sqlite3.SQLITE_LOCKED: Cause.LOCKED,
    sqlite3.SQLITE_NOMEM: Cause.BUSY,
    sqlite3.SQLITE_READONLY: Cause.READ_ONLY,
    sqlite3.SQLITE_INTERRUPT: Cause.TIMEOUT,
    sqlite3.SQLITE_IOERR: Cause.CONNECTION,
    sqlite3.SQLITE_FULL: Cause.DISK_FULL,
    sqlite3.SQLITE_CANTOPEN: Cause.CONNECTION,
    sqlite3.SQLITE_PROTOCOL: Cause.LOCKED,
}
#: By words in the text of an error that the PostgreSQL client raises before there is a session. It has no SQLSTATE.
CONNECTING: Final[Mapping[str, Cause]] = {
    "resolve": Cause.DNS,
    "translate host name": Cause.DNS,
    "not known": Cause.DNS,
    "refused": Cause.REFUSED,
    "ssl": Cause.TLS,
    "certificate": Cause.TLS,
    "timeout": Cause.TIMEOUT,
    "timed out": Cause.TIMEOUT,
    "authentication": Cause.LOGIN,
    "pg_hba": Cause.LOGIN,
    "does not exist": Cause.LOGIN,
}


def not_now(error: sa.exc.DBAPIError | sa.exc.TimeoutError) -> Cause | None:
    """Return why the same statement may succeed later. None: the closed lists do not have the error."""
    if isinstance(error, sa.exc.TimeoutError):  # no connection of the pool became free
        return Cause.BUSY
    original: Any = error.orig
    if sqlstate := getattr(original, "sqlstate", None):
        found = SQLSTATES.get(sqlstate) or SQLSTATES.get(sqlstate[:2])
        return found or (Cause.CONNECTION if error.connection_invalidated else None)
    code = getattr(original, "sqlite_errorcode", None)
    if code is not None:
        return SQLITE_CODES.get(code & 0xFF)
    if error.connection_invalidated or _is_of_the_connection(original):
        text = str(original).lower()
        return next((cause for words, cause in CONNECTING.items() if words in text), Cause.CONNECTION)
    return None


def _is_of_the_connection(original: Any) -> bool:
    """Whether the PostgreSQL client raised the error because it has no session, or because it lost the session."""
    is_sqlite = isinstance(original, sqlite3.Error)
    return not is_sqlite and type(original).__name__ in ("OperationalError", "InterfaceError", "ConnectionTimeout")
