"""The listening socket of a port that strangers can reach. It bounds how many connections are open, and for how long.

uvicorn has no limit for a connection that never sends a whole head. So the limits are here, below TLS and HTTP. They
also hold for a handshake that never ends, and for a client that does not take its answer.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final

#: How many connections may be open at one port.
MAX_CONNECTIONS: Final = 100
#: How long a client may take for its TLS handshake and the head of its request together.
HEAD_SECONDS: Final = 10.0
#: How long a connection may be open in all. It is longer than the body's limit and the longest publication together.
OPEN_SECONDS: Final = 90.0
#: How many bytes the kernel holds of what a client sends and the process has not read yet.
RECEIVE_BYTES: Final = 64 * 1024
#: How many connections the kernel holds that the process has not accepted yet.
BACKLOG: Final = 2048
#: How many connections are accepted in a row. Then the event loop reads what they have sent. It takes about five turns
#: of the loop to read a request, and meanwhile fewer than MAX_CONNECTIONS more may come, or a burst would end it.
AT_ONCE: Final = 8


class Connection(socket.socket):
    """An accepted connection, which tells its gate when it is closed."""

    def __init__(self, fileno: int, on_closed: Callable[["Connection"], None]) -> None:
        super().__init__(fileno=fileno)
        self.accepted_at = 0.0
        self.sent_its_head = False
        self.sent_its_request = False
        self._on_closed = on_closed

    def close(self) -> None:
        super().close()
        self._on_closed(self)

    def end(self) -> None:
        """End the connection. The transport of asyncio notices it and closes the socket."""
        with contextlib.suppress(OSError):  # the client has closed it already
            self.shutdown(socket.SHUT_RDWR)


class Gate(socket.socket):
    """A listening socket that accepts at most `max_connections` at a time.

    At the limit the oldest connection that has not sent its whole request makes room. An honest client sends all of it
    at once. If every connection has sent its request, a new one is closed at once.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        max_connections: int = MAX_CONNECTIONS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises OSError if the port cannot be opened."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        both = host == "::" and socket.has_dualstack_ipv6()  # as 0.0.0.0 is all addresses, :: is those of both kinds
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
        super().__init__(listening.family, listening.type, listening.proto, fileno=listening.detach())
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)  # accepted connections inherit it
        self.refused = 0  # connections that were closed because there was no room
        self._max_connections = max_connections
        self._in_a_row = 0
        self._monotonic = monotonic
        self._lock = threading.Lock()  # the event loop accepts and closes; tests and metrics read
        self._open: dict[Any, Connection] = {}  # by the client's address, oldest first

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection. Raises BlockingIOError if there is none, no room for one, or after AT_ONCE of them."""
        self._in_a_row = (self._in_a_row + 1) % (AT_ONCE + 1)
        if self._in_a_row == 0:
            raise BlockingIOError  # the event loop asks again in its next turn
        plain, address = super().accept()
        if len(self._open) >= self._max_connections and not self._make_room():
            plain.close()
            self.refused += 1
            raise BlockingIOError
        key = address[:2]
        connection = Connection(plain.detach(), lambda closed: self._forget(key, closed))
        connection.accepted_at = self._monotonic()
        with self._lock:
            self._open[key] = connection
        return connection, address

    def head_is_read(self, client: tuple[str, int] | None) -> None:
        """Note that the client with this address has sent the head of its request."""
        connection = self._open.get(client)
        if connection is not None:
            connection.sent_its_head = True

    def request_is_read(self, client: tuple[str, int] | None) -> None:
        """Note that the client with this address has sent its whole request."""
        connection = self._open.get(client)
        if connection is not None:
            connection.sent_its_request = True

    def end_overdue(self) -> None:
        """End the connections that have been open for too long. Called about once a second."""
        now = self._monotonic()
        with self._lock:
            connections = list(self._open.values())
        for connection in connections:
            if now - connection.accepted_at >= (OPEN_SECONDS if connection.sent_its_head else HEAD_SECONDS):
                connection.end()

    def _make_room(self) -> bool:
        """End the oldest connection whose request is not complete. False if every request is."""
        with self._lock:
            waiting = next(((key, one) for key, one in self._open.items() if not one.sent_its_request), None)
            if waiting is None:
                return False
            del self._open[waiting[0]]  # its transport closes it in the next turn of the event loop
        self.refused += 1
        waiting[1].end()
        return True

    def _forget(self, key: Any, connection: Connection) -> None:
        with self._lock:
            if self._open.get(key) is connection:
                del self._open[key]
