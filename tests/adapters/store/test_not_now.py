"""Which errors of the database mean "later", and which belong to what was written: every SQLSTATE and SQLite code."""

import sqlite3

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import errors as pg

from adapters.errors import Cause, StoreUnavailable
from adapters.store.engine import translated
from adapters.store.not_now import SQLITE_CODES, not_now

STATES = sorted({state for each in vars(pg).values() if isinstance(state := getattr(each, "sqlstate", None), str)})
LATER_CLASSES = ("08", "40", "53", "57")
LATER = ("55P03", "25006")


def wrapped(original: Exception, *, lost: bool = False) -> sa.exc.DBAPIError:
    """The error as SQLAlchemy raises it."""
    found = sa.exc.DBAPIError.instance("INSERT", {}, original, psycopg.Error, connection_invalidated=lost)
    assert isinstance(found, sa.exc.DBAPIError)
    return found


def test_there_are_as_many_states_as_postgresql_documents() -> None:
    assert len(STATES) > 200


@pytest.mark.parametrize("sqlstate", STATES)
def test_a_sqlstate_means_later_only_if_the_closed_list_has_it(sqlstate: str) -> None:
    later = sqlstate[:2] in LATER_CLASSES or sqlstate in LATER
    error = wrapped(pg.lookup(sqlstate)())
    with pytest.raises(StoreUnavailable if later else sa.exc.DBAPIError), translated():
        raise error


@pytest.mark.parametrize("name", [name for name in dir(sqlite3) if name.startswith("SQLITE_")])
def test_a_code_of_sqlite_means_later_only_if_the_closed_list_has_it(name: str) -> None:
    code = getattr(sqlite3, name)
    original = sqlite3.OperationalError()
    original.sqlite_errorcode = code
    error = sa.exc.OperationalError("INSERT", {}, original)
    if name in {"SQLITE_FULL", "SQLITE_BUSY", "SQLITE_READONLY", "SQLITE_IOERR_FSYNC", "SQLITE_BUSY_SNAPSHOT"}:
        assert not_now(error) is not None
    if name in {"SQLITE_ERROR", "SQLITE_CONSTRAINT", "SQLITE_TOOBIG", "SQLITE_MISMATCH", "SQLITE_CORRUPT"}:
        assert not_now(error) is None
    assert (not_now(error) is not None) == (code & 0xFF in SQLITE_CODES)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('failed to resolve host "db": [Errno -2] Name or service not known', Cause.DNS),
        ("connection to server failed: Connection refused", Cause.REFUSED),
        ("connection failed: SSL error: certificate verify failed", Cause.TLS),
        ("connection timeout expired", Cause.TIMEOUT),
        ('FATAL:  password authentication failed for user "orderflow"', Cause.LOGIN),
        ("consuming input failed: server closed the connection unexpectedly", Cause.CONNECTION),
    ],
)
def test_an_error_before_there_is_a_session_names_its_cause(text: str, cause: Cause) -> None:
    assert not_now(wrapped(psycopg.OperationalError(text))) == cause


def test_an_error_that_ended_the_session_means_later() -> None:
    assert not_now(wrapped(pg.lookup("25P03")(), lost=True)) == Cause.CONNECTION


def test_a_value_that_the_client_refuses_never_means_later() -> None:
    assert not_now(wrapped(psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"))) is None


def test_a_pool_without_a_free_connection_means_later() -> None:
    assert not_now(sa.exc.TimeoutError()) == Cause.BUSY
