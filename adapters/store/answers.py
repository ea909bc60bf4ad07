"""A connection to PostgreSQL that ends if the server gives no answer.

PostgreSQL's own limits need a server that works. One that hangs keeps its connections open, and answers nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen

from adapters.store.engine import STATEMENT_SECONDS

T = TypeVar("T")

#: How long a statement waits for the server: longer than the server's own limit, whose error says more.
ANSWER_SECONDS: Final = STATEMENT_SECONDS + 5.0
#: How long the look at a connection waits that comes out of the pool. It is shorter, because a statement follows.
PING_SECONDS: Final = 5.0


class BoundedConnection(psycopg.Connection[Any]):
    """`answer_seconds` None: statements have no bound, as in a migration."""

    answer_seconds: float | None = ANSWER_SECONDS

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for the server. Raises OperationalError, and closes the connection, if it does not answer in time."""
        if timeout is not None or self.answer_seconds is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.answer_seconds)
        except psycopg.errors._WaitTimeout as error:
            self.pgconn.finish()  # the server may answer later, so no other statement can use it
            raise psycopg.errors.ConnectionTimeout("timeout: the server does not answer") from error


@contextmanager
def answered_within(connection: psycopg.Connection[Any], seconds: float | None) -> Iterator[None]:
    """Let statements of this connection wait for so long for the server."""
    before = getattr(connection, "answer_seconds", None)
    connection.answer_seconds = seconds  # type: ignore[attr-defined]  # every connection of ours has it
    try:
        yield
    finally:
        connection.answer_seconds = before  # type: ignore[attr-defined]


def bounded(ping: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return `ping`, which looks whether a connection works, with a bound of PING_SECONDS."""

    def bounded_ping(connection: Any) -> bool:
        with answered_within(connection, PING_SECONDS):
            return ping(connection)

    return bounded_ping
